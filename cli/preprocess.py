"""`tumorgen preprocess`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural

from .bars import progress
from .common import made_in, report_failures
from .kinds import FOLDER
from .options import Folders, block, find_raw_folder, force_option, jobs_option
from .verbosity import say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.preprocessing import PreprocessReport


@click.command(
    epilog="""\b
Examples:
  tumorgen preprocess -d 501                               # all configurations, as nnU-Net's own command does
  tumorgen preprocess -d 501 -c 3d_fullres --jobs 4
  tumorgen preprocess -d 501 --plans nnUNetResEncUNetMPlans
\b
Then:
  nnUNetv2_train 501 3d_fullres 0"""
)
@click.option("-d", "--dataset-id", type=click.IntRange(1, 999), default=501, help="nnU-Net's number of the dataset.")
@click.option(
    "-c",
    "--configuration",
    "configurations",
    multiple=True,
    metavar="NAME",
    help="2d, 3d_fullres or 3d_lowres; may be given several times.  [default: all that are planned]",
)
@click.option(
    "--plans",
    default="nnUNetPlans",
    metavar="NAME",
    help="Name of the plans. They are made if they are not there: nnUNetPlans, nnUNetResEncUNetMPlans (L, XL).",
)
@click.option("--output", type=FOLDER, help="Folder of raw datasets  [default: $nnUNet_raw, else ./nnUNet_raw]")
@block("folders", Folders)
@jobs_option
@force_option
@telling
def preprocess(
    dataset_id: int,
    configurations: tuple[str, ...],
    plans: str,
    output: Path | None,
    folders: Folders,
    jobs: int,
    force: bool,
) -> None:
    """Preprocess a dataset for nnU-Net's training, in the place of nnUNetv2_plan_and_preprocess.

    What nnU-Net would write is left in $nnUNet_preprocessed: fingerprint and plans by its own planner, and each case.
    A healthy scan is resampled once; of its variants, what their tumours touch. Running the same command again does
    only what is missing.
    """
    from tumorgen.preprocessing import Preprocessing, preprocess_dataset

    began = time.monotonic()
    run = Preprocessing(
        find_raw_folder(output, dataset_id),
        configurations,
        plans,
        images=folders.images,
        masks=folders.masks,
        reading=folders.reading,
        jobs=jobs,
        force=force,
        start=lambda step: progress(step, "sample"),
    )
    report = preprocess_dataset(run)
    _print_report(report, time.monotonic() - began)
    if report.configurations and not report.failures:
        chosen = "3d_fullres" if "3d_fullres" in report.configurations else report.configurations[0]
        named = "" if plans == "nnUNetPlans" else f" -p {plans}"
        click.echo(f"next:\n  nnUNetv2_train {dataset_id} {chosen} 0{named}")
    report_failures(report.failures)


def _print_report(report: PreprocessReport, seconds: float) -> None:
    count = len(report.configurations)
    sum_up(folder=report.folder, samples=report.samples, configurations=report.configurations, made=report.made)
    lost = sum(failure.samples for failure in report.failures)
    made = made_in(report.made, seconds, max(0, (report.samples - lost) * count - report.made))
    click.echo(
        f"{report.folder}: {plural(report.samples, 'sample')} in {', '.join(report.configurations)}; cases: {made}"
    )
    for note in report.notes:
        say_note(note)
    if report.whole:
        say_note(
            f"{plural(report.whole, 'sample')} resampled whole: tumours change what nnU-Net crops, or hold all of"
            " the brightest or darkest voxels"
        )
