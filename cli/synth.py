"""`tumorgen synth`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from .common import EXISTING, FOLDER, as_usage_error, is_debug, jobs_option, plural, progress, tell_failures

STEPS = ("vessels", "elastic", "edge-blur", "mass-effect", "capsule")


@click.command(
    epilog="""\b
Examples:
  tumorgen synth --per-scan 20 --sizes tiny,small          # the scans of manifests/scans.csv
  tumorgen synth --images ct/ --masks livers/ --jobs 8
  tumorgen synth --images ct/ --masks livers/ --without mass-effect --without capsule
  tumorgen synth --pattern satellite --intensity portal --dataset-id 502 --name SynthSevere
  tumorgen synth --settings settings.toml --seed 7"""
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
@click.option("--dataset-id", type=click.IntRange(1, 999), default=501, show_default=True, help="nnU-Net's number.")
@click.option("--name", default="SynthLiver", show_default=True, help="Name of the dataset.")
@click.option("--per-scan", type=click.IntRange(min=1), default=20, show_default=True, help="Variants of each scan.")
@click.option("--sizes", help="Size classes, shared out evenly over a scan's variants  [default: all five]")
@click.option("--pattern", help="classes (the paper's size table), single, multifocal or satellite  [default: classes]")
@click.option("--intensity", help="paper (Table 1), portal or arterial (section 3.2)  [default: paper]")
@click.option(
    "--without", type=click.Choice(STEPS), multiple=True, help="Switch a step off: vessel avoidance, deformation, ..."
)
@click.option("--settings", type=EXISTING, help="TOML file with any of the method's parameters.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of everything drawn.")
@click.option(
    "--val-per-scan",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Variants of each held-out scan that nnU-Net validates on.",
)
@jobs_option
def synth(**options: Any) -> None:
    """Put synthetic tumours into healthy scans: N variants of each, as an nnU-Net raw dataset with a manifest.

    The scans are those that liver-mask has listed, or two folders matched by case name. Running the same command again
    does only what is missing.
    """
    from tumorgen.dataset import Dataset, dataset_folder
    from tumorgen.synth import synth as run

    began = time.monotonic()
    root = options["output"] or Path(os.environ.get("nnUNet_raw") or "nnUNet_raw")
    with as_usage_error():
        dataset = Dataset(dataset_folder(root, options["dataset_id"], options["name"]))
        settings = _settings(options)
    sources, missing = _sources(options["images"], options["masks"], options["scans"])
    report = run(
        sources,
        dataset,
        settings,
        seed=options["seed"],
        per_scan=options["per_scan"],
        val_per_scan=options["val_per_scan"],
        jobs=options["jobs"],
        copies=Path("manifests"),
        start=progress("synth", "sample"),
    )
    _summarise(report, time.monotonic() - began)
    _next(report, root, options["dataset_id"])
    tell_failures([*missing, *report.failures], debug=is_debug())


def _sources(images: Path | None, masks: Path | None, scans: Path) -> tuple[list[Any], list[Any]]:
    from tumorgen.generate import match_sources, sources_of_scans
    from tumorgen.scans import read_scans

    if (images is None) != (masks is None):
        raise click.UsageError("--images and --masks go together.")
    if images and masks:
        return match_sources(images, masks)
    return sources_of_scans(read_scans(scans))


def _settings(options: dict[str, Any]) -> Any:
    from tumorgen.settings import Settings, load_settings, override

    base = load_settings(options["settings"]) if options["settings"] else Settings()
    return override(
        base,
        sizes=options["sizes"],
        pattern=options["pattern"],
        intensity=options["intensity"],
        without=options["without"],
    )


def _summarise(report: Any, seconds: float) -> None:
    samples = len(report.records)
    tumors = sum(len(record.plan.tumors) for record in report.records)
    kept = samples - report.made
    click.echo(
        f"{report.dataset.folder}: {plural(samples, 'sample')} with {plural(tumors, 'tumour')},"
        f" {report.made} made in {seconds:.1f} s" + (f", {kept} were there" if kept else "")
    )
    short = sum("fewer_placed" in record.plan.notes.split() for record in report.records)
    if short:
        click.echo(
            f"note: in {plural(short, 'sample')} the liver had no room for every tumour drawn (see manifest.csv)"
        )
    covered = sum("vessels_unavoidable" in record.plan.notes.split() for record in report.records)
    if covered:
        click.echo(f"note: in {plural(covered, 'sample')} a tumour found no place clear of vessels (see tumors.csv)")
    if samples and not report.has_splits:
        click.echo(
            "note: one scan only, so no split by patient is possible and no splits_final.json is written;"
            " nnU-Net's own validation will be optimistic"
        )


def _next(report: Any, root: Path, dataset_id: int) -> None:
    if not report.records:
        return
    setting = "" if os.environ.get("nnUNet_raw") == str(root) else f"export nnUNet_raw={root.resolve()}\n  "
    click.echo(
        f"next:\n  tumorgen verify {report.dataset.folder}\n  {setting}"
        f"nnUNetv2_plan_and_preprocess -d {dataset_id} && nnUNetv2_train {dataset_id} 3d_fullres 0"
    )
