"""`tumorgen preview`."""

from __future__ import annotations

from pathlib import Path

import click

from tumorgen.wording import plural

from .bars import progress
from .common import report_failures
from .datasets import DATASET
from .kinds import FOLDER
from .options import Folders, block, jobs_option
from .verbosity import say_note, sum_up, telling


@click.command(
    "preview",
    epilog="""\b
Examples:
  tumorgen preview nnUNet_raw/Dataset501_SynthLiver
  tumorgen preview nnUNet_raw/Dataset501_SynthLiver --count -1 --output pictures/   # every sample
  tumorgen preview Dataset501_SynthLiver --images ct/ --masks livers/               # the scans have moved""",
)
@click.argument("dataset", type=DATASET)
@click.option("--output", type=FOLDER, help="Folder for the pictures  [default: DATASET/preview]")
@click.option(
    "--count",
    type=click.IntRange(min=-1),
    default=10,
    help="Samples to draw, spread evenly over the dataset; -1 is all.",
)
@block("folders", Folders)
@jobs_option
@telling
def preview(dataset: Path, output: Path | None, count: int, folders: Folders, jobs: int) -> None:
    """Draw a dataset: a PNG sheet per sample, source beside synthetic, and one overview.

    DATASET is a folder, or the name or number of a dataset in $nnUNet_raw (or ./nnUNet_raw).

    A sheet shows the whole liver and a close-up of each of the largest tumours, in three planes as radiologists see
    them, true to the scan's spacing, with the label's outlines; tumours that are really there have a colour of their
    own. The overview has histograms of radii and contrast, tumours per sample and per size class, and a grid of
    samples.
    """
    from tumorgen.figures import preview_dataset

    drawn = preview_dataset(
        dataset,
        output,
        count=count,
        images=folders.images,
        masks=folders.masks,
        reading=folders.reading,
        jobs=jobs,
        start=progress("preview", "sheet"),
    )
    sum_up(output=drawn.folder, sheets=len(drawn.sheets), overview=drawn.overview)
    for reason in dict.fromkeys(reason for _, reason in drawn.without_healthy):
        remedy = "" if "--images" in reason else "; --images and --masks say where the scans are now"
        say_note(f"drawn without the source scan: {reason}{remedy}")
    click.echo(f"{drawn.folder}: {plural(len(drawn.sheets), 'sheet')} and {drawn.overview.name}")
    report_failures(drawn.failures, there=len(drawn.sheets), nothing="no sheet was drawn")
