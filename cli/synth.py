"""`tumorgen synth`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from tumorgen.wording import few, plural, typed

from .bars import progress
from .common import (
    as_usage_error,
    made_in,
    report_failures,
    report_left_out,
    report_not_axial,
    report_without_voxel,
)
from .datasets import MANIFEST
from .estimate import print_estimate
from .kinds import FILE, NATURAL, POSITIVE, Once, Processes, SettingsFile, TableChoice
from .options import (
    COPIES,
    FORCE,
    JOBS,
    METHOD,
    RECIPE,
    RECIPES,
    SETTINGS,
    AnyScans,
    LateDefault,
    Method,
    NewDataset,
    SettingOption,
    block,
    new_dataset,
    option,
)
from .verbosity import say_note, sum_up, tell_step, telling

if TYPE_CHECKING:
    from tumorgen.dataset import Dataset
    from tumorgen.errors import Failure
    from tumorgen.generation import Cluster, Replay, RunReport, Shard, Writing
    from tumorgen.method import Settings
    from tumorgen.tables import Record, Source


W = TypeVar("W", bound="Writing")


@dataclass(frozen=True, slots=True)
class Drawing:
    """How many variants are drawn, and how: a recipe, what a file and the command line say on top, and the seed."""

    per_scan: int = option(20, "Variants of each scan.", type=POSITIVE)
    sizes: str | None = option(None, cls=SettingOption, setting="sizes", joined=",", metavar="SIZE[,SIZE...]")
    pattern: str | None = option(None, cls=SettingOption, setting="pattern", type=TableChoice(f"{METHOD}:PATTERNS"))
    intensity: str | None = option(
        None, cls=SettingOption, setting="intensity.model", type=TableChoice(f"{METHOD}:INTENSITIES")
    )
    without: tuple[str, ...] = option(
        (), "Switch a step off: vessel avoidance, deformation, ...", multiple=True, type=TableChoice(f"{METHOD}:STEPS")
    )
    recipe: str = option(f"{RECIPES}:DEFAULT_RECIPE", RECIPE, cls=LateDefault, type=TableChoice(f"{RECIPES}:RECIPES"))
    settings: Path | None = option(None, SETTINGS, type=SettingsFile(), cls=Once)
    seed: int = option(0, "Seed of everything drawn.", type=NATURAL)

    def load(self) -> Settings:
        """The settings with what the command line says on top."""
        from tumorgen.method import find_idle_settings, is_variation, override

        given = {"sizes": self.sizes, "pattern": self.pattern, "intensity": self.intensity}
        settings = override(Method(self.recipe, self.settings).load(), **given, without=self.without)
        if self.settings and not is_variation(self.settings):
            for why, keys in find_idle_settings(self.settings, settings).items():
                say_note(f"{self.settings}: no tumour depends on {few(keys)} ({why})")
        return settings


@dataclass(frozen=True, slots=True)
class Work:
    """Who does the work, and what is made besides the samples."""

    val_per_scan: int = option(2, "Variants of each held-out scan that nnU-Net validates on.", type=POSITIVE)
    jobs: int = option(-1, JOBS, type=Processes())
    scheduler: str | None = option(None, "Dask scheduler, tcp://host:8786: its workers do the work.", metavar="ADDRESS")
    shard: str | None = option(
        None, "Only the I-th of N shares, for batch schedulers; then `tumorgen merge`.", metavar="I/N", cls=Once
    )
    no_raw: bool = option(
        False,
        "Keep the rows alone, no images and labels: `tumorgen preprocess` renders from them.",
        is_flag=True,
    )
    estimate: bool = option(False, "Only say how long it will take and how much it will write.", is_flag=True)
    log_file: Path | None = option(None, "Append a JSON line per sample to it.", type=FILE)
    force: bool = option(False, FORCE, is_flag=True)

    def of(self, run: W, cluster: Cluster | None = None) -> W:
        """The run, done in this way."""
        return replace(
            run,
            val_per_scan=self.val_per_scan,
            jobs=self.jobs,
            cluster=cluster,
            force=self.force,
            copies=COPIES,
            start=progress("synth", "sample"),
            check=progress("compare what an interrupted run left", "sample"),
            compare=progress("compare scans that may have changed", "scan"),
            tell=tell_step,
        )

    def cluster(self) -> AbstractContextManager[Cluster | None]:
        """The cluster to work on, as long as the block lasts; None is this machine."""
        from tumorgen.generation import connect_cluster

        return connect_cluster(self.scheduler) if self.scheduler else nullcontext()


@click.command(
    epilog="""\b
Examples:
  tumorgen synth --per-scan 20                             # the scans of manifests/scans.csv
  tumorgen synth --images ct/ --masks livers/ --jobs 8 --sizes tiny,small
  tumorgen synth --recipe turing --without capsule         # the paper's tumours, of all steps but one
  tumorgen synth --images ct/ --masks segmentations/ --label liver       # masks that are label maps
  tumorgen synth --recipe turing --settings severe         # see: tumorgen recipes
  tumorgen synth --patients patients.csv                   # its columns: case, patient; folds keep patients apart
  tumorgen synth --pattern satellite --intensity portal --dataset-id 505 --name SynthSatellite
  tumorgen synth --settings settings.toml --seed 7
  tumorgen synth --per-scan 1000 --estimate                # how long, how much?
  tumorgen synth --from-manifest worst.csv --dataset-id 503 --name Worst
  tumorgen synth --shard 2/8                               # one of eight jobs; then: tumorgen merge
  tumorgen synth --per-scan 1000 --no-raw                  # a table; then: tumorgen preprocess"""
)
@block("scans", AnyScans)
@click.option(
    "--from-manifest",
    type=MANIFEST,
    cls=Once,
    help="Render the samples of this manifest instead, as `worst` writes it.",
)
@new_dataset()
@block("drawing", Drawing)
@block("work", Work)
@telling
def synth(scans: AnyScans, from_manifest: Path | None, new: NewDataset, drawing: Drawing, work: Work) -> None:
    """Put synthetic tumours into healthy scans: N variants of each, as an nnU-Net raw dataset with a manifest.

    The scans are those that liver-mask has listed, or two folders matched by case name. Running the same command again
    does only what is missing.

    With --from-manifest nothing is drawn: the samples are those of a manifest, of the very scans they were planned for.
    """
    from tumorgen.generation import Run, parse_shard, patients_there, replay_manifest, synthesize_dataset

    dataset = replace(new.dataset(), raw=not work.no_raw)
    with as_usage_error():
        settings = drawing.load()
        shard = parse_shard(work.shard) if work.shard else None
    began = time.monotonic()
    if from_manifest:
        _refuse_drawing()
        if work.no_raw:
            raise click.UsageError("--no-raw does not go with --from-manifest, which makes images of rows")
        report = replay_manifest(work.of(_replay(dataset, from_manifest, scans, work.log_file)))
        _print_report(report, new, None, time.monotonic() - began, report.records)
        report_failures(report.failures, there=len(report.entries))
        return
    sources, failures = scans.sources()
    with work.cluster() as cluster:
        run = Run(
            dataset,
            sources,
            settings,
            seed=drawing.seed,
            per_scan=drawing.per_scan,
            shard=shard,
            log_file=work.log_file,
            patients=scans.name_patients({s.case: s.study for s in sources}, partial(patients_there, dataset)),
        )
        run = replace(work.of(run, cluster), start=scans.telling(progress("synth", "sample")))
        if work.estimate:
            print_estimate(run)
            there = None
        else:
            report = synthesize_dataset(run)
            scans.tell_unlikely(report.entries)
            _print_report(report, new, shard, time.monotonic() - began)
            _print_unasked(report, sources, failures, drawing.per_scan)
            failures += report.failures
            there = len(report.entries)
    report_failures(failures, there=there)


def _replay(dataset: Dataset, manifest: Path, scans: AnyScans, log_file: Path | None) -> Replay:
    """What renders the samples of a manifest as training cases."""
    from tumorgen.generation import Replay, patients_there
    from tumorgen.tables import list_cases, list_patients

    return Replay(
        dataset,
        manifest,
        images=scans.images,
        masks=scans.masks,
        reading=scans.reading,
        training=True,
        log_file=log_file,
        patients=scans.name_patients(
            dict.fromkeys(list_cases(manifest) if scans.patients else (), ""),
            lambda: patients_there(dataset) | list_patients(manifest),
        ),
    )


def _refuse_drawing() -> None:
    context = click.get_current_context()
    names = [field.name for field in fields(Drawing)]
    options = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    for name in (*names, "scans", "skip_check", "real_tumors", "scheduler", "shard", "estimate"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{options[name]} does not go with --from-manifest, whose rows decide that.")


def _print_report(
    report: RunReport, new: NewDataset, shard: Shard | None, seconds: float, rendered: Sequence[Record] = ()
) -> None:
    """Say what a run did; `rendered` are samples whose rows were rendered as they stand."""
    samples = len(report.entries)
    tumors = sum(entry.tumors_placed or 0 for entry in report.entries)
    sum_up(dataset=report.dataset.folder, samples=samples, tumors=tumors, made=report.made)
    click.echo(
        f"{report.dataset.folder}{f', shard {shard}' if shard else ''}: {plural(samples, 'sample')}"
        f" with {plural(tumors, 'tumour')}, {made_in(report.made, seconds, samples - report.made)}"
    )
    if not report.dataset.raw:
        say_note("images and labels are not kept: `tumorgen preprocess` renders them, `tumorgen replay` makes files")
    for note in report.notes:
        say_note(note)
    faint = sum("faint_drawn" in entry.notes.split() for entry in report.entries)
    if faint:
        say_note(
            f"{plural(faint, 'sample')} of scans so noisy that hardly any tumour would be visible: fainter ones are"
            " drawn than least_visible says (faint_drawn in manifest.csv)"
        )
    short = sum("fewer_placed" in entry.notes.split() for entry in report.entries)
    if short:
        say_note(f"in {plural(short, 'sample')} the liver had no room for every tumour drawn (see manifest.csv)")
    report_not_axial(report.entries)
    report_left_out(report.entries)
    report_without_voxel(rendered)
    real = {entry.case: entry.real_tumor_voxels or 0 for entry in report.entries}
    if any(real.values()):
        say_note(
            f"in {plural(sum(map(bool, real.values())), 'scan')} tumours are really there, {sum(real.values()):,}"
            " voxels: they stay labelled 2, and synthetic ones keep clear of them (real_tumor_voxels in manifest.csv)"
        )
    covered = sum("vessels_unavoidable" in entry.notes.split() for entry in report.entries)
    if covered:
        say_note(f"in {plural(covered, 'sample')} a tumour lies on vessels; no place was clear (see tumors.csv)")
    _print_next_steps(report, new, shard)


def _print_unasked(report: RunReport, sources: Sequence[Source], failures: Sequence[Failure], per_scan: int) -> None:
    """Say how many samples this run was not asked for, but an earlier one: of other scans, or of more variants."""
    given = {source.case for source in sources} | {failure.name for failure in failures if not failure.left_out}
    others = [entry.case for entry in report.entries if entry.case not in given]
    if others:
        say_note(
            f"{plural(len(others), 'sample')} in the dataset, of {plural(len(set(others)), 'other scan')}, not of"
            " those given; `tumorgen remove` takes them out"
        )
    more = sum(entry.case in given and entry.variant >= per_scan for entry in report.entries)
    if more:
        say_note(
            f"an earlier run asked for more than --per-scan {per_scan}, and what it made is kept:"
            f" {plural(more, 'sample')} more; for fewer, choose another --dataset-id"
        )


def _print_next_steps(report: RunReport, new: NewDataset, shard: Shard | None) -> None:
    folder = report.dataset.folder
    if shard:
        click.echo(f"next, when all {shard.count} shards are done:\n  tumorgen merge {typed(folder)}")
    elif report.entries:
        new.say_next(folder)
