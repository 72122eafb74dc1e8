"""`tumorgen worst`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural, typed

from .bars import progress
from .common import report_failures
from .datasets import MANIFEST
from .kinds import EXISTING, EXISTING_FOLDER, FILE, POSITIVE, Once
from .options import RECIPES, Folders, Method, block, jobs_option, option
from .verbosity import say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.benchmark import WorstReport

SHOWN = 10  # cells of the ranking


@dataclass(frozen=True, slots=True)
class OtherScans(Folders):
    """Scans for the new samples, other than those of the manifest."""

    images: Path | None = option(
        None, "Folder of the scans to use; with --masks, instead of the manifest's.", type=EXISTING, cls=Once
    )
    masks: Path | None = option(None, "Folder of their liver masks.", type=EXISTING, cls=Once)


@click.command(
    epilog="""\b
Examples:
  tumorgen worst evaluation/ nnUNet_raw/Dataset504_Robustness/manifest.csv
  tumorgen worst evaluation/ nnUNet_raw/Dataset504_Robustness/manifest.csv --cells 5 --count 500
  tumorgen worst evaluation/ manifest.csv --images ct/ --masks livers/      # new tumours in other patients
  tumorgen synth --from-manifest worst.csv --dataset-id 503 --name Worst    # then"""
)
@click.argument("evaluation", type=EXISTING_FOLDER)
@click.argument("manifest", type=MANIFEST)
@click.option("--output", type=FILE, default=Path("worst.csv"), help="The new manifest.")
@click.option("--count", type=POSITIVE, default=100, help="New samples.")
@click.option("--cells", type=POSITIVE, default=3, help="How many of the worst cells.")
@block("scans", OtherScans)
@block("method", Method, recipe=f"{RECIPES}:TABLE_1_RECIPE")
@jobs_option
@telling
def worst(
    evaluation: Path,
    manifest: Path,
    output: Path,
    count: int,
    cells: int,
    scans: OtherScans,
    method: Method,
    jobs: int,
) -> None:
    """Plan new samples around what a model did worst (section 5.5).

    EVALUATION is the folder that `evaluate` wrote, MANIFEST is the manifest of the samples it scored, or their dataset.
    A cell is one level of one dimension of the robustness benchmark, or a size class of any other dataset. Cells are
    ranked by mean tumour DSC. New samples are drawn around the worst: what was dialled lies between the neighbouring
    levels, and everything else is drawn as synth draws it of the same recipe: by default the paper's with all steps,
    which the benchmark dials.

    The new manifest is rendered by `tumorgen synth --from-manifest`.
    """
    from tumorgen.benchmark import WorstCases, plan_worst

    sources, missing = scans.sources()
    wanted = WorstCases(
        evaluation, manifest, output, method.load(), count=count, cells=cells, seed=method.seed, sources=sources
    )
    report = plan_worst(wanted, jobs=jobs, start=progress("worst", "scan"))
    sum_up(manifest=output, samples=len(report.records), cells=report.worst)
    _print_cells(report, output)
    report_failures([*missing, *report.failures], there=len(report.records))


def _print_cells(report: WorstReport, output: Path) -> None:
    click.echo(f"{'cell':<24}{'tumour DSC':>12}{'sensitivity':>13}{'samples':>9}")
    for number, cell in enumerate(report.cells[:SHOWN]):
        found = "-" if math.isnan(cell.sensitivity) else f"{cell.sensitivity:.3f}"
        name = f"{cell.dial.dimension} {cell.dial.level}"
        mark = "  <- worst" if number < report.worst else ""
        click.echo(f"{name:<24}{cell.tumor_dsc:>12.3f}{found:>13}{cell.cases:>9}{mark}")
    if report.unscored:
        say_note(f"{plural(report.unscored, 'sample')} of the manifest without a score, left out of these figures")
    if report.records:
        click.echo(
            f"{output}: {plural(len(report.records), 'sample')} planned around {plural(report.worst, 'cell')}\n"
            f"next:\n  tumorgen synth --from-manifest {typed(output)} --dataset-id 503 --name Worst"
        )
