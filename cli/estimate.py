"""What `synth --estimate` and `robustness --estimate` say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural

from .verbosity import sum_up

if TYPE_CHECKING:
    from tumorgen.generation import Run


def print_estimate(run: Run) -> None:
    """Say how long a run will take and how much it will write, per class and in total."""
    from tumorgen.generation import estimate_run

    dataset, found = run.dataset, estimate_run(run)
    sum_up(
        samples=found.samples,
        seconds_needed=round(found.seconds),
        bytes_needed=round(found.bytes),
        bytes_free=found.free_bytes,
    )
    if not found.samples:
        click.echo(f"{dataset.folder}: every sample is there already")
        return
    click.echo(f"one variant of each class of {found.case}, made on this machine:\n")
    click.echo(f"{'class':<16}{'samples':>8}{'s each':>9}{'MB each':>9}{'GB':>9}")
    for each in found.classes:
        gb = each.samples * each.bytes / 1e9
        click.echo(f"{each.name:<16}{each.samples:>8}{each.seconds:>9.2f}{each.bytes / 1e6:>9.1f}{gb:>9.2f}")
    click.echo(f"{'total':<16}{found.samples:>8}{'':>18}{found.bytes / 1e9:>9.2f}\n")
    prepared = (
        f"including {found.prepare_seconds:.1f} s for each of {plural(found.preparations, 'preparation')} of a scan"
    )
    click.echo(f"about {duration(found.seconds)} with {plural(found.processes, 'core')}, {prepared}")
    if found.least_radius_mm:
        click.echo(
            f"voxels of {found.slice_mm:g} mm hold tumours of about {found.least_radius_mm:g} mm radius and more;"
            " what is drawn smaller may fill half of no voxel, and is left out"
        )
    short = "; not enough: the run will not start" if found.bytes > found.free_bytes else ""
    click.echo(f"{found.free_bytes / 1e9:.1f} GB are free at {dataset.folder}{short}")


def duration(seconds: float) -> str:
    """`42 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
