"""`tumorgen verify`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural

from .bars import progress
from .kinds import EXISTING_FOLDER
from .options import Folders, block, jobs_option
from .verbosity import say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.generation import Problem


@click.command(
    epilog="""\b
Examples:
  tumorgen verify nnUNet_raw/Dataset501_SynthLiver
  tumorgen verify nnUNet_raw/Dataset501_SynthLiver --replays -1     # render every sample again
  tumorgen verify nnUNet_raw/Dataset501_SynthLiver --preprocessed   # and what `tumorgen preprocess` made of it"""
)
@click.argument("dataset", type=EXISTING_FOLDER)
@block("folders", Folders)
@click.option("--replays", type=int, default=3, help="Samples to render again; -1 is all.")
@click.option(
    "--preprocessed",
    is_flag=True,
    help="Prove the cases in $nnUNet_preprocessed, too; nnU-Net itself makes as many of each configuration again.",
)
@jobs_option
@telling
def verify(dataset: Path, folders: Folders, replays: int, preprocessed: bool, jobs: int) -> None:
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
    for note in verdict.notes:
        say_note(note)
    checked = (
        f"{plural(verdict.samples, 'sample')} of {plural(verdict.scans, 'scan')}, {verdict.replayed} rendered again"
    )
    problems = list(verdict.problems)
    if preprocessed:
        more, cases = _verify_preprocessed(dataset, replays, jobs)
        problems += more
        checked += cases
    sum_up(
        dataset=dataset,
        samples=verdict.samples,
        scans=verdict.scans,
        rendered_again=verdict.replayed,
        problems=[{"file": problem.file, "reason": problem.reason} for problem in problems],
    )
    for problem in problems:
        click.echo(f"problem: {problem}", err=True)
    if problems:
        click.echo(f"{dataset}: {plural(len(problems), 'problem')} in {checked}", err=True)
        sys.exit(1)
    click.echo(f"{dataset}: sound ({checked})")


def _verify_preprocessed(dataset: Path, replays: int, jobs: int) -> tuple[Sequence[Problem], str]:
    """Problems of preprocessed cases, and how many were looked at, in words."""
    from tumorgen.preprocessing import verify_preprocessed

    found = verify_preprocessed(dataset, replays=replays, jobs=jobs, start=progress("preprocessed", "case"))
    sum_up(preprocessed_cases=found.cases, made_again_by_nnunet=found.compared)
    return found.problems, f"; {plural(found.cases, 'preprocessed case')}, {found.compared} made again by nnU-Net"
