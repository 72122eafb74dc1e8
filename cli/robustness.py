"""`tumorgen robustness`."""

from __future__ import annotations

import os
import time
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
  tumorgen robustness                                        # the scans of manifests/scans.csv
  tumorgen robustness --images ct/ --masks livers/ --dataset-id 502
  tumorgen robustness --levels size=4,8,16 --levels intensity=-60,-20,20
  tumorgen robustness --benchmark levels.toml --dataset-id 512 --name Severe"""
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
@click.option("--name", default="Robustness", show_default=True, help="Name of the dataset.")
@click.option(
    "--levels", multiple=True, metavar="DIMENSION=LEVELS", help="Levels of a dimension, e.g. size=4,8,16; repeatable."
)
@click.option("--benchmark", type=EXISTING, help="TOML file with levels and the default tumour.")
@click.option("--settings", type=EXISTING, help="TOML file with parameters of the method, as for synth.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of everything drawn.")
@jobs_option
@click.option("--force", is_flag=True, help="Begin even where the disk has not the room.")
def robustness(**options: Any) -> None:
    """Make a test set that dials one thing at a time: location, size, shape, intensity, texture (section 5.5).

    Of each healthy scan a control without tumour, and a variant with one tumour for each of five levels of five
    dimensions. The variants of a dimension share everything but what is dialled. Running the same command again does
    only what is missing.
    """
    from tumorgen.benchmark.dials import Benchmark, with_levels
    from tumorgen.benchmark.run import make_benchmark
    from tumorgen.dataset.raw import TEST, Dataset, dataset_folder
    from tumorgen.fields import load_toml
    from tumorgen.generation.run import Run
    from tumorgen.method.settings import Settings, load_settings

    root = options["output"] or Path(os.environ.get("nnUNet_raw") or "nnUNet_raw")
    with as_usage_error():
        dataset = Dataset(dataset_folder(root, options["dataset_id"], options["name"]), TEST)
        base = load_toml(Benchmark, options["benchmark"]) if options["benchmark"] else Benchmark()
        benchmark = with_levels(base, options["levels"])
        settings = load_settings(options["settings"]) if options["settings"] else Settings()
    sources, missing = given_scans(options["images"], options["masks"], options["scans"])
    began = time.monotonic()
    run = Run(
        dataset,
        sources,
        settings,
        seed=options["seed"],
        jobs=options["jobs"],
        force=options["force"],
        copies=Path("manifests"),
        start=progress("robustness", "sample"),
    )
    report = make_benchmark(run, benchmark)
    _summarise(report, time.monotonic() - began)
    tell_failures([*missing, *report.failures], debug=is_debug())


def _summarise(report: Any, seconds: float) -> None:
    from tumorgen.benchmark.run import departures

    dataset, samples = report.dataset, len(report.records)
    scans = len({record.plan.case for record in report.records})
    kept = samples - report.made
    click.echo(
        f"{dataset.folder}: {plural(samples, 'sample')} of {plural(scans, 'scan')},"
        f" {report.made} made in {seconds:.1f} s" + (f", {kept} were there" if kept else "")
    )
    for level in departures(report.records):
        told = [
            f"{level.clipped} cut by the liver's edge by more than a tenth" if level.clipped else "",
            f"{level.on_vessels} on vessels" if level.on_vessels else "",
        ]
        click.echo(
            f"note: {level.dimension} {level.level}: of {plural(level.samples, 'tumour')},"
            f" {' and '.join(text for text in told if text)} (see tumors.csv)"
        )
    if samples:
        click.echo(
            f"next, with a model of dataset 501:\n"
            f"  nnUNetv2_predict -i {dataset.images} -o predictions -d 501 -c 3d_fullres\n"
            f"  tumorgen evaluate predictions {dataset.labels} --manifest {dataset.manifest}"
        )
