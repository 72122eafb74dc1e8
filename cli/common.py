"""What several commands do: how the command line's faults, what was made and what failed are reported."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.errors import TumorgenError
from tumorgen.wording import few, plural

from .verbosity import say_note, sum_up

if TYPE_CHECKING:
    from tumorgen.errors import Failure
    from tumorgen.tables import Entry, Record


@contextmanager
def as_usage_error(kind: type[TumorgenError] = TumorgenError) -> Iterator[None]:
    """What the library refuses in this block, or of it one kind, is the command line's fault: exit code 2."""
    try:
        yield
    except kind as error:
        raise click.UsageError(" ".join(str(error).split())) from error


def note_places(files: Iterable[Path]) -> None:
    """Say of which files the header does not say where they lie, and what was assumed."""
    from tumorgen.imaging import ASSUMED, says_place

    lost = [path for path in files if not says_place(path)]
    if lost:
        more = f" and {plural(len(lost) - 1, 'other file')}" if len(lost) > 1 else ""
        say_note(f"{lost[0]}{more}: {ASSUMED}")


def note_renamed(volumes: Mapping[str, Path]) -> None:
    """Say which cases have not the names of their files, because those are not safe everywhere; case name -> file."""
    from tumorgen.errors import printable
    from tumorgen.imaging import case_name, raw_name

    renamed = [
        f"{printable(path.name)} is case {case}"
        for case, path in volumes.items()
        if case == case_name(path) != raw_name(path)
    ]
    if renamed:
        say_note(
            f"names of cases keep letters a to z, digits, `.`, `_` and `-` alone: {few(renamed, most=3)}; tables keep"
            " the names of files as they are, so rename files that are called after patients before you go on"
        )


def made_in(made: int, seconds: float, kept: int, hint: str = "") -> str:
    """How many were made in what time, and how many were there, with a hint of what would make these anew."""
    return f"{made} made in {seconds:.1f} s" + (f", {kept} were there{hint}" if kept else "")


def report_failures(
    failures: Iterable[Failure],
    *,
    there: int | None,
    nothing: str = "nothing was written",
    closing: str = "",
) -> None:
    """List what could not be done, by reason, and exit with 1 if there is anything; what is left out is no failure.

    `there` is the number of cases that there are now, from this run or an earlier one; None: nothing was to be written.
    `nothing` is what is said where there is none. `closing` is what the last line says instead of all that, for
    commands that are not simply run again.
    """
    from tumorgen.errors import by_reason

    failures = list(failures)
    told = [{"name": f.name, "samples": f.samples, "reason": f.reason, "left_out": f.left_out} for f in failures]
    sum_up(failures=told)
    for reason in by_reason(failure for failure in failures if failure.left_out):
        for line in reason.lines():
            click.echo(f"left out: {line}")
    reasons = by_reason(failure for failure in failures if not failure.left_out)
    for reason in reasons:
        for line in reason.lines():
            click.echo(f"failed: {line}", err=True)
        if is_debug() and reason.details:
            click.echo(reason.details, err=True)
    if reasons:
        count = sum(len(reason.failures) for reason in reasons)
        whole = "all " if count > 1 and there == 0 else ""
        several = f", for {plural(len(reasons), 'reason')}" if count > len(reasons) else ""
        rest = "" if there is None else "; everything else is written" if there else f": {nothing}"
        last = closing or f"{rest}. Fix these and run the same command again."
        click.echo(f"{whole}{count} failed{several}{last}", err=True)
        sys.exit(1)


def report_left_out(entries: Iterable[Entry]) -> None:
    """Say how many tumours no voxel would be labelled with, so that they were left out, and what has none for that."""
    short = [entry for entry in entries if entry.tumors_without_voxel]
    left_out, bare = sum(entry.tumors_without_voxel for entry in short), sum(not entry.tumors_placed for entry in short)
    if left_out:
        without = (
            f"; {plural(bare, 'sample')} {'has' if bare == 1 else 'have'} no tumour at all for that" if bare else ""
        )
        say_note(
            f"{plural(left_out, 'tumour')} {'was' if left_out == 1 else 'were'} left out, too small for the slices to"
            f" fill half a voxel (tumors_without_voxel in manifest.csv){without}"
        )


def report_not_axial(entries: Iterable[Entry]) -> None:
    """Say of which scans tumours were drawn along other axes than the patient's."""
    from tumorgen.imaging import describe_not_axial

    cases = {entry.case for entry in entries if "not_axial" in entry.notes.split()}
    if cases:
        say_note(f"{describe_not_axial(sorted(cases))} (not_axial in manifest.csv)")


def report_without_voxel(records: Iterable[Record]) -> None:
    """Say how many tumours of rows that were rendered as they stand label no voxel."""
    rendered = [outcome for record in records for outcome in record.outcomes if outcome and not outcome.has_voxels]
    if rendered:
        say_note(
            f"{plural(len(rendered), 'tumour')} changed the image without labelling a voxel, as the rows ask for"
            " (volume_mm3 is 0 in tumors.csv)"
        )


def is_debug() -> bool:
    """Whether the group was given `--debug`."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get("debug"))
