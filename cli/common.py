"""What several commands share: options, the progress bar, and how failures are told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

FOLDER = click.Path(path_type=Path, file_okay=False)
EXISTING = click.Path(path_type=Path, exists=True)

jobs_option = click.option("--jobs", type=int, default=-1, show_default=True, help="Processes; -1 is all cores.")


def progress(description: str, unit: str) -> Callable[[int], Callable[[int], None]]:
    """Return a function that opens a progress bar of a length, and that returns how to move it on."""

    def start(total: int) -> Callable[[int], None]:
        from tqdm import tqdm

        bar = tqdm(total=total, desc=description, unit=unit, dynamic_ncols=True, disable=not total)
        if context := click.get_current_context(silent=True):
            context.call_on_close(bar.close)  # so that what ends the command stands on a line of its own

        def move(step: int) -> None:
            bar.update(step)
            if bar.n >= total:
                bar.close()

        return move

    return start


@contextmanager
def as_usage_error() -> Iterator[None]:
    """What the library refuses in this block is the command line's fault: exit code 2."""
    from tumorgen.errors import TumorgenError

    try:
        yield
    except TumorgenError as error:
        raise click.UsageError(" ".join(str(error).split())) from error


def given_scans(images: Path | None, masks: Path | None, scans: Path) -> tuple[list[Any], list[Any]]:
    """Scans of two folders, or those that liver-mask has listed; and what is missing."""
    from tumorgen.tables.scans import read_scans
    from tumorgen.tables.sources import match_sources, sources_of_scans

    if (images is None) != (masks is None):
        raise click.UsageError("--images and --masks go together.")
    if images and masks:
        return match_sources(images, masks)
    return sources_of_scans(read_scans(scans))


def plural(count: int, noun: str) -> str:
    """`1 scan`, `2 scans`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def tell_failures(failures: Iterable[Any], *, debug: bool) -> None:
    """List what could not be done, by reason, and exit with 1 if there is anything."""
    from tumorgen.errors import by_reason

    reasons = by_reason(failures)
    for reason in reasons:
        for line in reason.told():
            click.echo(f"failed: {line}", err=True)
        if debug and reason.details:
            click.echo(reason.details, err=True)
    if reasons:
        count = sum(len(reason.failures) for reason in reasons)
        told = f", for {plural(len(reasons), 'reason')}" if count > len(reasons) else ""
        click.echo(
            f"{count} failed{told}; everything else is written. Mend them and run the same command again.", err=True
        )
        sys.exit(1)


def is_debug() -> bool:
    """Whether the group was given `--debug`."""
    return bool(click.get_current_context().find_root().params.get("debug"))
