"""`tumorgen healthy`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from .common import (
    EXISTING,
    FOLDER,
    as_usage_error,
    given_scans,
    is_debug,
    jobs_option,
    plural,
    progress,
    tell_failures,
)


@click.command(
    epilog="""\b
Examples:
  tumorgen healthy                                         # the scans of manifests/scans.csv
  tumorgen healthy --images ct/ --masks livers/ --dataset-id 502
\b
Then train with tumours drawn on the fly:
  export nnUNet_extTrainer=$(tumorgen trainer-path)
  nnUNetv2_plan_and_preprocess -d 502 && nnUNetv2_train 502 3d_fullres 0 -tr nnUNetTrainerTumorgen"""
)
@click.option("--images", type=EXISTING, help="Folder of healthy CTs; with --masks, instead of manifests/scans.csv.")
@click.option("--masks", type=EXISTING, help="Folder of their liver masks, of the same case names.")
@click.option(
    "--scans",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("manifests/scans.csv"),
    show_default=True,
    help="What liver-mask wrote.",
)
@click.option("--output", type=FOLDER, help="Folder of raw datasets  [default: $nnUNet_raw, else ./nnUNet_raw]")
@click.option("--dataset-id", type=click.IntRange(1, 999), default=502, show_default=True, help="nnU-Net's number.")
@click.option("--name", default="HealthyLiver", show_default=True, help="Name of the dataset.")
@jobs_option
def healthy(**options: Any) -> None:
    """Write healthy scans as an nnU-Net raw dataset for nnUNetTrainerTumorgen, which draws tumours while it trains.

    Labels are background, liver and tumor; no voxel is a tumour yet. Folds are grouped by scan. Running the same
    command again does only what is missing.
    """
    from tumorgen.dataset.raw import Dataset, dataset_folder
    from tumorgen.training.healthy import write_healthy_dataset

    root = options["output"] or Path(os.environ.get("nnUNet_raw") or "nnUNet_raw")
    number = options["dataset_id"]
    with as_usage_error():
        dataset = Dataset(dataset_folder(root, number, options["name"]))
    sources, missing = given_scans(options["images"], options["masks"], options["scans"])
    written = write_healthy_dataset(sources, dataset, jobs=options["jobs"], start=progress("healthy", "scan"))
    click.echo(f"{dataset.folder}: {plural(len(written.cases), 'healthy scan')}, {written.made} written now")
    if written.cases and not written.has_splits:
        click.echo("note: one scan only, so it cannot be held out from itself and no splits_final.json is written")
    if written.cases:
        setting = "" if os.environ.get("nnUNet_raw") == str(root) else f"export nnUNet_raw={root.resolve()}\n  "
        click.echo(
            f"next:\n  {setting}export nnUNet_extTrainer=$(tumorgen trainer-path)\n"
            f"  nnUNetv2_plan_and_preprocess -d {number} &&"
            f" nnUNetv2_train {number} 3d_fullres 0 -tr nnUNetTrainerTumorgen"
        )
    tell_failures([*missing, *written.failures], debug=is_debug())
