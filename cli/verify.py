"""`tumorgen verify`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural

from .bars import progress
from .common import as_usage_error
from .datasets import DATASET
from .kinds import FILE, NATURAL, Once
from .options import Folders, block, jobs_option, option
from .verbosity import say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.generation import Problem, Scope


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is looked into."""

    sample: str = option(
        "", "Look into so many samples, 200, or a share, 5%.", metavar="N|P%", show_default=False, cls=Once
    )
    seed: int = option(0, "Seed of which samples these are.", type=NATURAL)
    quick: bool = option(False, "Compare checksums alone: read no scan, render nothing.", is_flag=True)
    done: Path | None = option(
        None,
        "File that keeps what was found sound: the same command goes on after it, and reads no scan again whose samples"
        " were all sound.",
        type=FILE,
    )


@click.command(
    epilog="""\b
Examples:
  tumorgen verify nnUNet_raw/Dataset501_SynthLiver
  tumorgen verify 501                                               # the dataset of this number in $nnUNet_raw
  tumorgen verify nnUNet_raw/Dataset501_SynthLiver --replays -1     # render every sample again: the full proof
  tumorgen verify nnUNet_raw/Dataset501_SynthLiver --sample 5% --seed 3
  tumorgen verify nnUNet_raw/Dataset501_SynthLiver --quick          # checksums of the files alone
  tumorgen verify nnUNet_raw/Dataset501_SynthLiver --replays -1 --done sound.txt    # goes on after an interruption
  tumorgen verify nnUNet_raw/Dataset501_SynthLiver --preprocessed   # and what `tumorgen preprocess` made of it"""
)
@click.argument("dataset", type=DATASET)
@block("folders", Folders)
@click.option("--replays", type=int, default=3, help="Samples to render again; -1 is all.")
@block("extent", Extent)
@click.option(
    "--preprocessed",
    is_flag=True,
    help="Prove the cases in $nnUNet_preprocessed, too; nnU-Net itself makes as many of each configuration again.",
)
@jobs_option
@telling
def verify(dataset: Path, folders: Folders, replays: int, extent: Extent, preprocessed: bool, jobs: int) -> None:
    """Prove that a dataset is what its manifest says.

    DATASET is a folder, or the name or number of a dataset in $nnUNet_raw (or ./nnUNet_raw).

    All files are there and have the right checksums; geometry is that of the source; labels are only 0, 1 and 2; every
    voxel outside the recorded boxes equals the source bit for bit; no CT and no patient is on both sides of a fold;
    some samples are rendered again and come out with the same bits.

    With --sample some of the samples are looked into. With --quick their files are compared with the checksums in the
    manifest, and nothing else of them. Names, tables, provenance and folds are checked in any case.
    """
    from tumorgen.generation import verify_dataset

    scope = _scope_of(extent, preprocessed=preprocessed)
    verdict = verify_dataset(
        dataset,
        images=folders.images,
        masks=folders.masks,
        reading=folders.reading,
        replays=replays,
        scope=scope,
        jobs=jobs,
        start=progress("verify", "sample"),
    )
    for note in verdict.notes:
        say_note(note)
    checked = (
        f"{plural(verdict.samples, 'sample')} of {plural(verdict.scans, 'scan')}, {verdict.replayed} rendered again"
        f"{verdict.scope}"
    )
    problems = list(verdict.problems)
    if preprocessed:
        more, cases = _verify_preprocessed(dataset, folders, replays, jobs)
        problems += more
        checked += cases
    sum_up(
        dataset=dataset,
        samples=verdict.samples,
        scans=verdict.scans,
        rendered_again=verdict.replayed,
        scope=verdict.scope.removeprefix(", "),
        problems=[{"file": problem.file, "reason": problem.reason} for problem in problems],
    )
    for problem in problems:
        click.echo(f"problem: {problem}", err=True)
    if problems:
        click.echo(f"{dataset}: {plural(len(problems), 'problem')} in {checked}", err=True)
        sys.exit(1)
    click.echo(f"{dataset}: sound ({checked})")


def _scope_of(extent: Extent, *, preprocessed: bool) -> Scope:
    """How much is verified, of samples; preprocessed cases are proved all or not at all."""
    from tumorgen.generation import Scope

    if preprocessed and (extent.quick or extent.sample or extent.done):
        raise click.UsageError("--preprocessed proves all cases: give it without --quick, --sample and --done.")
    with as_usage_error():
        return Scope(extent.sample, extent.seed, quick=extent.quick, done=extent.done)


def _verify_preprocessed(dataset: Path, folders: Folders, replays: int, jobs: int) -> tuple[Sequence[Problem], str]:
    """Problems of preprocessed cases, and how many were looked at, in words."""
    from tumorgen.preprocessing import verify_preprocessed

    found = verify_preprocessed(
        dataset,
        images=folders.images,
        masks=folders.masks,
        reading=folders.reading,
        replays=replays,
        jobs=jobs,
        start=progress("preprocessed", "case"),
    )
    sum_up(preprocessed_cases=found.cases, made_again_by_nnunet=found.compared)
    return found.problems, f"; {plural(found.cases, 'preprocessed case')}, {found.compared} made again by nnU-Net"
