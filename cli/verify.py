"""`tumorgen verify`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tumorgen.wording import plural

from .bars import progress
from .kinds import EXISTING_FOLDER
from .options import Folders, block, jobs_option
from .verbosity import say_note, sum_up, telling


@click.command(
    epilog="""\b
Examples:
  tumorgen verify nnUNet_raw/Dataset501_SynthLiver
  tumorgen verify nnUNet_raw/Dataset501_SynthLiver --replays -1     # render every sample again"""
)
@click.argument("dataset", type=EXISTING_FOLDER)
@block("folders", Folders)
@click.option("--replays", type=int, default=3, help="Samples to render again; -1 is all.")
@jobs_option
@telling
def verify(dataset: Path, folders: Folders, replays: int, jobs: int) -> None:
    """Prove that a dataset is what its manifest says.

    All files are there and have the right checksums; geometry is that of the source; labels are only 0, 1 and 2; every
    voxel outside the recorded boxes equals the source bit for bit; no CT and no patient is on both sides of a fold;
    some samples are rendered again and come out with the same bits.
    """
    from tumorgen.generation import verify_dataset

    verdict = verify_dataset(
        dataset,
        images=folders.images,
        masks=folders.masks,
        reading=folders.reading,
        replays=replays,
        jobs=jobs,
        start=progress("verify", "sample"),
    )
    sum_up(
        dataset=dataset,
        samples=verdict.samples,
        scans=verdict.scans,
        rendered_again=verdict.replayed,
        problems=[{"file": problem.file, "reason": problem.reason} for problem in verdict.problems],
    )
    for note in verdict.notes:
        say_note(note)
    for problem in verdict.problems:
        click.echo(f"problem: {problem}", err=True)
    checked = (
        f"{plural(verdict.samples, 'sample')} of {plural(verdict.scans, 'scan')}, {verdict.replayed} rendered again"
    )
    if verdict.problems:
        click.echo(f"{dataset}: {plural(len(verdict.problems), 'problem')} in {checked}", err=True)
        sys.exit(1)
    click.echo(f"{dataset}: sound ({checked})")
