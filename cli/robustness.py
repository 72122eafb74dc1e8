"""`tumorgen robustness`."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural, typed

from .bars import progress
from .common import (
    as_usage_error,
    made_in,
    report_failures,
    report_left_out,
    report_not_axial,
    report_without_voxel,
)
from .estimate import print_estimate
from .kinds import EXISTING, Once
from .options import COPIES, RECIPES, Method, NewDataset, Scans, block, force_option, jobs_option, new_dataset, option
from .verbosity import say_note, sum_up, tell_step, telling

if TYPE_CHECKING:
    from tumorgen.benchmark import Benchmark
    from tumorgen.generation import RunReport


@dataclass(frozen=True, slots=True)
class Dials:
    """What is dialled, and how far."""

    levels: tuple[str, ...] = option(
        (), "Levels of a dimension, e.g. size=4,8,16; repeatable.", multiple=True, metavar="DIMENSION=LEVELS"
    )
    benchmark: Path | None = option(None, "TOML file with levels and the default tumour.", type=EXISTING, cls=Once)

    def load(self) -> Benchmark:
        """The benchmark of the file, with the levels of the command line on top."""
        from tumorgen.benchmark import Benchmark, with_levels
        from tumorgen.fields import load_toml

        return with_levels(load_toml(Benchmark, self.benchmark) if self.benchmark else Benchmark(), self.levels)


@click.command(
    epilog="""\b
Examples:
  tumorgen robustness                                        # the scans of manifests/scans.csv
  tumorgen robustness --images ct/ --masks livers/ --dataset-id 504
  tumorgen robustness --estimate                             # how long, how much?
  tumorgen robustness --levels size=4,8,16 --levels intensity=-60,-20,20 --dataset-id 516 --name RobustnessMine
  tumorgen robustness --benchmark levels.toml --dataset-id 517 --name RobustnessFile"""
)
@block("scans", Scans)
@new_dataset(dataset_id=504, name="Robustness")
@block("dials", Dials)
@block("method", Method, recipe=f"{RECIPES}:TABLE_1_RECIPE")
@click.option("--estimate", is_flag=True, help="Only say how long it will take and how much it will write.")
@jobs_option
@force_option
@telling
def robustness(
    scans: Scans,
    new: NewDataset,
    dials: Dials,
    method: Method,
    estimate: bool,
    jobs: int,
    force: bool,
) -> None:
    """Make a test set that dials one thing at a time: location, size, shape, intensity, texture (section 5.5).

    Each healthy scan gives a control without tumour, and a variant with one tumour for each of five levels of five
    dimensions. The variants of a dimension differ only in what is dialled. What is dialled are the paper's parameters,
    so the steps are the paper's too unless --recipe or --settings say otherwise. Running the same command again does
    only what is missing.
    """
    from tumorgen.benchmark import benchmark_run, make_benchmark
    from tumorgen.dataset import TEST
    from tumorgen.generation import Run, patients_there

    dataset = replace(new.dataset(), part=TEST)
    with as_usage_error():
        wanted, settings = dials.load(), method.load()
    sources, missing = scans.sources()
    began = time.monotonic()
    run = Run(
        dataset,
        sources,
        settings,
        seed=method.seed,
        jobs=jobs,
        force=force,
        copies=COPIES,
        patients=scans.name_patients({s.case: s.study for s in sources}, partial(patients_there, dataset)),
        start=scans.telling(progress("robustness", "sample")),
        check=progress("compare what an interrupted run left", "sample"),
        compare=progress("compare scans that may have changed", "scan"),
        tell=tell_step,
    )
    if estimate:
        print_estimate(benchmark_run(run, wanted))
        report_failures(missing, there=None)
        return
    report = make_benchmark(run, wanted)
    scans.tell_unlikely(report.entries)
    _print_report(report, time.monotonic() - began)
    report_failures([*missing, *report.failures], there=len(report.entries))


def _print_report(report: RunReport, seconds: float) -> None:
    from tumorgen.benchmark import find_departures

    dataset, samples, records = report.dataset, len(report.entries), report.records
    scans = len({entry.case for entry in report.entries})
    sum_up(dataset=dataset.folder, samples=samples, scans=scans, made=report.made)
    click.echo(
        f"{dataset.folder}: {plural(samples, 'sample')} of {plural(scans, 'scan')},"
        f" {made_in(report.made, seconds, samples - report.made)}"
    )
    for note in report.notes:
        say_note(note)
    report_not_axial(report.entries)
    report_left_out(report.entries)
    report_without_voxel(records)
    for level in find_departures(records):
        clipped = [f"{level.clipped} cut by the liver's edge by more than a tenth"] if level.clipped else []
        on_vessels = [f"{level.on_vessels} on vessels"] if level.on_vessels else []
        say_note(
            f"{level.dimension} {level.level}: of {plural(level.samples, 'tumour')},"
            f" {' and '.join(clipped + on_vessels)} (see tumors.csv)"
        )
    if samples:
        click.echo(
            f"next, with a model of dataset 501, fold 0 (all five folds: without -f 0):\n"
            f"  nnUNetv2_predict -i {typed(dataset.images)} -o predictions -d 501 -c 3d_fullres -f 0\n"
            f"  tumorgen evaluate predictions {typed(dataset.labels)} --manifest {typed(dataset.manifest)}"
        )
