"""`tumorgen preprocess`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.errors import UnplannedError
from tumorgen.wording import plural, typed

from .bars import progress
from .common import as_usage_error, made_in, report_failures
from .datasets import DATASET_NAME, find_dataset
from .estimate import duration
from .kinds import EXISTING_FOLDER, Once
from .options import Folders, NewDataset, block, force_option, jobs_option, raw_root
from .verbosity import say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.preprocessing import Preprocessing, PreprocessReport


@click.command(
    epilog="""\b
Examples:
  tumorgen preprocess -d 501                               # all configurations, as nnU-Net's own command does
  tumorgen preprocess -d 501 -c 3d_fullres --jobs 4
  tumorgen preprocess -d 501 --plans nnUNetResEncUNetMPlans
  tumorgen preprocess -d 501 --estimate                    # how long, how much?
\b
Then:
  nnUNetv2_train 501 3d_fullres 0"""
)
@click.option(
    "-d",
    "--dataset-id",
    "name",
    type=DATASET_NAME,
    cls=Once,
    default="501",
    metavar="DATASET",
    help="nnU-Net's number of the dataset, its name, or its folder.",
)
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
@click.option(
    "--raw",
    type=EXISTING_FOLDER,
    help="Folder of raw datasets that holds the dataset  [default: $nnUNet_raw, else ./nnUNet_raw]",
)
@block("folders", Folders)
@click.option("--estimate", is_flag=True, help="Only say how long it will take and how much it will write.")
@jobs_option
@force_option
@telling
def preprocess(
    name: Path,
    configurations: tuple[str, ...],
    plans: str,
    raw: Path | None,
    folders: Folders,
    estimate: bool,
    jobs: int,
    force: bool,
) -> None:
    """Preprocess a dataset for nnU-Net's training, in the place of nnUNetv2_plan_and_preprocess.

    What nnU-Net would write is left in $nnUNet_preprocessed: fingerprint and plans by its own planner, and each case.
    A healthy scan is resampled once; of its variants, what their tumours touch. Running the same command again does
    only what is missing.
    """
    began = time.monotonic()
    folder = find_dataset(name, raw_root(raw, "--raw"))
    dataset = NewDataset.of_folder(folder.absolute())
    if dataset is None:
        raise click.UsageError(f"{folder}: is not called DatasetXXX_Name; nnU-Net trains on no other.")

    from tumorgen.preprocessing import Preprocessing, preprocess_dataset  # which takes seconds to import

    run = Preprocessing(
        folder,
        configurations,
        plans,
        images=folders.images,
        masks=folders.masks,
        reading=folders.reading,
        jobs=jobs,
        force=force,
        start=lambda step: progress(step, "sample"),
    )
    with as_usage_error(UnplannedError):
        if estimate:
            _print_estimate(run)
            return
        report = preprocess_dataset(run)
    _print_report(report, time.monotonic() - began)
    if report.configurations and not report.failures:
        chosen = "3d_fullres" if "3d_fullres" in report.configurations else report.configurations[0]
        named = "" if plans == "nnUNetPlans" else f" -p {typed(plans)}"
        click.echo(f"next:\n  nnUNetv2_train {dataset.dataset_id} {chosen} 0{named}")
    report_failures(report.failures, there=_count_there(report))


def _count_there(report: PreprocessReport) -> int:
    """How many samples have their cases, from this run or an earlier one."""
    return max(0, report.samples - sum(failure.samples for failure in report.failures))


def _print_estimate(run: Preprocessing) -> None:
    from tumorgen.preprocessing import estimate_preprocessing

    found = estimate_preprocessing(run)
    sum_up(samples=found.samples, seconds_needed=round(found.seconds), bytes_needed=round(found.bytes))
    if not found.samples:
        click.echo(f"{run.folder}: every case is there already")
        return
    planned = f"{duration(found.planning_seconds)} for fingerprint and plans, " if found.planning_seconds else ""
    click.echo(
        f"samples of {found.case}, made on this machine in {', '.join(found.configurations)}: {planned}"
        f"{found.scan_seconds:.1f} s for a scan, {found.sample_seconds:.2f} s and {found.sample_bytes / 1e6:.1f} MB"
        " for a sample"
    )
    short = "; not enough" if found.bytes > found.free_bytes else ""
    click.echo(
        f"{plural(found.samples, 'sample')} of {plural(found.scans, 'scan')}: about {duration(found.seconds)} with"
        f" {plural(found.processes, 'core')}, {found.bytes / 1e9:.2f} GB;"
        f" {found.free_bytes / 1e9:.1f} GB are free{short}"
    )


def _print_report(report: PreprocessReport, seconds: float) -> None:
    count = len(report.configurations)
    sum_up(folder=report.folder, samples=report.samples, configurations=report.configurations, made=report.made)
    made = made_in(report.made, seconds, max(0, _count_there(report) * count - report.made))
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
