"""`tumorgen synth`."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from .estimate import tell_estimate

if TYPE_CHECKING:
    from tumorgen.generation.run import Run

TABLE = click.Path(path_type=Path, exists=True, dir_okay=False)
# What decides which samples there are; a manifest has decided.
DRAWING = ("per_scan", "sizes", "pattern", "intensity", "without", "settings", "seed", "scheduler", "shard", "estimate")
STEPS = ("vessels", "elastic", "edge-blur", "mass-effect", "capsule")


@click.command(
    epilog="""\b
Examples:
  tumorgen synth --per-scan 20 --sizes tiny,small          # the scans of manifests/scans.csv
  tumorgen synth --images ct/ --masks livers/ --jobs 8
  tumorgen synth --images ct/ --masks livers/ --without mass-effect --without capsule
  tumorgen synth --pattern satellite --intensity portal --dataset-id 502 --name SynthSevere
  tumorgen synth --settings settings.toml --seed 7
  tumorgen synth --per-scan 1000 --estimate                # how long, how much?
  tumorgen synth --from-manifest worst.csv --dataset-id 503 --name Worst
  tumorgen synth --shard 2/8                               # one of eight jobs; then: tumorgen merge"""
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
@click.option("--from-manifest", type=TABLE, help="Render the samples of this manifest instead, as `worst` writes it.")
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
@click.option("--scheduler", metavar="ADDRESS", help="Dask scheduler, tcp://host:8786: its workers do the work.")
@click.option("--shard", metavar="I/N", help="Only the I-th of N shares, for batch schedulers; then `tumorgen merge`.")
@click.option("--estimate", is_flag=True, help="Only say how long it will take and how much it will write.")
@click.option(
    "--log-file", type=click.Path(path_type=Path, dir_okay=False), help="Append a JSON line per sample to it."
)
@click.option("--force", is_flag=True, help="Begin even where the disk has not the room.")
def synth(**options: Any) -> None:
    """Put synthetic tumours into healthy scans: N variants of each, as an nnU-Net raw dataset with a manifest.

    The scans are those that liver-mask has listed, or two folders matched by case name. Running the same command again
    does only what is missing.

    With --from-manifest nothing is drawn: the samples are those of a manifest, of the very scans they were planned for.
    """
    from tumorgen.dataset.raw import Dataset, dataset_folder
    from tumorgen.generation.run import Run
    from tumorgen.generation.shards import parse_shard

    root = options["output"] or Path(os.environ.get("nnUNet_raw") or "nnUNet_raw")
    with as_usage_error():
        dataset = Dataset(dataset_folder(root, options["dataset_id"], options["name"]))
        settings = _settings(options)
        shard = parse_shard(options["shard"]) if options["shard"] else None
    if options["from_manifest"]:
        _refuse_drawing()
        tell_failures(_render(dataset, options), debug=is_debug())
        return
    sources, missing = given_scans(options["images"], options["masks"], options["scans"])
    with _cluster(options["scheduler"]) as cluster:
        run = Run(
            dataset,
            sources,
            settings,
            seed=options["seed"],
            per_scan=options["per_scan"],
            shard=shard,
            cluster=cluster,
            log_file=options["log_file"],
            **_writing(options),
        )
        if options["estimate"]:
            tell_estimate(run)
            failures = []
        else:
            failures = _synthesize(run, options["dataset_id"])
    tell_failures([*missing, *failures], debug=is_debug())


def _refuse_drawing() -> None:
    context = click.get_current_context()
    for name in (*DRAWING, "scans"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} does not go with --from-manifest: its rows say it all.")


def _render(dataset: Any, options: dict[str, Any]) -> list[Any]:
    """Make a training set of the rows of a manifest."""
    from tumorgen.generation.replay import Replay, replay_manifest

    began = time.monotonic()
    wanted = Replay(
        dataset,
        options["from_manifest"],
        images=options["images"],
        masks=options["masks"],
        training=True,
        **_writing(options),
    )
    report = replay_manifest(wanted)
    _summarise(report, time.monotonic() - began, None)
    _next(report, options["dataset_id"], None)
    return list(report.failures)


def _writing(options: dict[str, Any]) -> dict[str, Any]:
    """What is said alike of a run that draws and of one that renders a manifest."""
    return {
        "val_per_scan": options["val_per_scan"],
        "jobs": options["jobs"],
        "force": options["force"],
        "copies": Path("manifests"),
        "start": progress("synth", "sample"),
    }


def _synthesize(run: Run, dataset_id: int) -> list[Any]:
    from tumorgen.generation.synth import synthesize_dataset

    began = time.monotonic()
    report = synthesize_dataset(run)
    _summarise(report, time.monotonic() - began, run.shard)
    _next(report, dataset_id, run.shard)
    return list(report.failures)


def _cluster(address: str | None) -> AbstractContextManager[Any]:
    from tumorgen.generation.cluster import connected

    return connected(address) if address else nullcontext()


def _settings(options: dict[str, Any]) -> Any:
    from tumorgen.method.settings import Settings, load_settings, override

    base = load_settings(options["settings"]) if options["settings"] else Settings()
    return override(
        base,
        sizes=options["sizes"],
        pattern=options["pattern"],
        intensity=options["intensity"],
        without=options["without"],
    )


def _summarise(report: Any, seconds: float, shard: Any) -> None:
    samples = len(report.records)
    tumors = sum(len(record.plan.tumors) for record in report.records)
    kept = samples - report.made
    click.echo(
        f"{report.dataset.folder}{f', shard {shard}' if shard else ''}: {plural(samples, 'sample')}"
        f" with {plural(tumors, 'tumour')}, {report.made} made in {seconds:.1f} s"
        + (f", {kept} were there" if kept else "")
    )
    short = sum("fewer_placed" in record.plan.notes.split() for record in report.records)
    if short:
        click.echo(
            f"note: in {plural(short, 'sample')} the liver had no room for every tumour drawn (see manifest.csv)"
        )
    covered = sum("vessels_unavoidable" in record.plan.notes.split() for record in report.records)
    if covered:
        click.echo(f"note: in {plural(covered, 'sample')} a tumour found no place clear of vessels (see tumors.csv)")
    if samples and not report.has_splits and not shard:
        click.echo(
            "note: one scan only, so no split by patient is possible and no splits_final.json is written;"
            " nnU-Net's own validation will be optimistic"
        )


def _next(report: Any, dataset_id: int, shard: Any) -> None:
    if shard:
        click.echo(f"next, when all {shard.count} shards are done:\n  tumorgen merge {report.dataset.folder}")
        return
    if not report.records:
        return
    root = report.dataset.folder.parent
    setting = "" if os.environ.get("nnUNet_raw") == str(root) else f"export nnUNet_raw={root.resolve()}\n  "
    click.echo(
        f"next:\n  tumorgen verify {report.dataset.folder}\n  {setting}"
        f"nnUNetv2_plan_and_preprocess -d {dataset_id} && nnUNetv2_train {dataset_id} 3d_fullres 0"
    )
