"""`tumorgen evaluate`."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural

from .bars import progress
from .common import as_usage_error, note_places
from .datasets import MANIFEST
from .kinds import EXISTING_FILE, EXISTING_FOLDER, FOLDER, NATURAL, Once
from .options import ANOTHER_OUTPUT, TRUST, block, jobs_option, option
from .verbosity import say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.errors import Failure
    from tumorgen.evaluation import CaseScore, ConfidenceInterval, Conventions, Evaluation, Summary

COMPARED = "compared"  # folder of the other model's tables, in that of the first


@dataclass(frozen=True, slots=True)
class Scoring:
    """How files are read and scored."""

    tolerance: float = option(
        2.0, "Distance in mm within which two surfaces agree (NSD).", type=click.FloatRange(min=0)
    )
    seed: int = option(0, "Seed of the bootstraps.", type=NATURAL)
    trust: str | None = option(None, **TRUST)
    label: tuple[str, ...] = option(
        (),
        "Label of the liver in PREDICTIONS, by number or name, if it is not 1; given several times, they are joined.",
        multiple=True,
        metavar="LABEL",
    )
    tumor_label: tuple[str, ...] = option(
        (),
        "With --label: label of the tumour there.  [default: what is one by its name]",
        "--tumour-label",
        multiple=True,
        metavar="LABEL",
        show_default=False,
    )

    @property
    def conventions(self) -> Conventions:
        """What the files to score mean, where it is not what they are by themselves."""
        from tumorgen.evaluation import Conventions
        from tumorgen.imaging import LabelChoice

        if self.tumor_label and not self.label:
            raise click.UsageError("--tumour-label goes with --label.")
        with as_usage_error():
            return Conventions(self.trust or "", LabelChoice(self.label, self.tumor_label) if self.label else None)


@dataclass(frozen=True, slots=True)
class Tables:
    """What says which files belong together."""

    manifest: Path | None = option(
        None,
        "Table that says which scan (`case`) a file (`sample`) comes from, and `dimension` and `level` where it is of"
        " the robustness benchmark.  [default: manifest.csv beside REFERENCE, if tumorgen wrote one]",
        type=MANIFEST,
        cls=Once,
    )
    patients: Path | None = option(
        None,
        "Table with columns `case` (a file, or a scan that the manifest names) and `patient`.  [default: each scan is a"
        " patient of its own]",
        type=EXISTING_FILE,
        cls=Once,
    )

    @property
    def names(self) -> dict[str, str]:
        """What the tables are called; nothing of one that was not given."""
        return {field.name: str(getattr(self, field.name) or "") for field in fields(self)}


@click.command(
    epilog="""\b
Examples:
  tumorgen evaluate predictions/ references/
  tumorgen evaluate predictions/ labels/ --patients patients.csv      # its columns: case, patient
  tumorgen evaluate totalsegmentator/ labels/ --label liver
  tumorgen evaluate new/ labels/ --compare old/ --output new-against-old/"""
)
@click.argument("predictions", type=EXISTING_FOLDER)
@click.argument("reference", type=EXISTING_FOLDER)
@block("tables", Tables)
@click.option(
    "--compare",
    type=EXISTING_FOLDER,
    cls=Once,
    help="Predictions of another model, which are subtracted in paired differences.",
)
@click.option("--output", type=FOLDER, default="evaluation", help="Folder for tables and report.")
@block("scoring", Scoring)
@jobs_option
@telling
def evaluate(
    predictions: Path,
    reference: Path,
    tables: Tables,
    compare: Path | None,
    output: Path,
    scoring: Scoring,
    jobs: int,
) -> None:
    """Score a model's label files against references: 0 background, 1 liver, 2 tumour, unless --label says otherwise.

    Files of the two folders are matched by name. The output is cases.csv, lesions.csv, summary.json and report.html.

    Per case: DSC, and NSD at the tolerance, of liver (tumours included) and tumour. Where both masks are empty a score
    is undefined: it is counted, but in no mean. Where one of them is empty the score is 0.

    Per lesion (component of 26 neighbours): found by any overlap, and by an intersection over union above 0.5 as the
    LiTS scorer has it; false positives, which overlap no lesion, per scan.

    Overall: means, sensitivity by radius, specificity on scans without tumour, with 95 % intervals over patients,
    however many scans each has.

    A case that is missing, extra, unreadable, on another grid or has other labels is listed and counted, but in no
    mean. The exit code is then 1.
    """
    from tumorgen.evaluation import (
        REPORT,
        SUMMARY,
        evaluate_predictions,
        manifest_beside,
        summarize,
        write_summary,
    )
    from tumorgen.figures import images_beside, write_report

    _refuse_output(output)
    tables = replace(tables, manifest=tables.manifest or manifest_beside(reference))
    tolerance, conventions = scoring.tolerance, scoring.conventions
    note_places(_files(reference, predictions, compare))
    score = partial(evaluate_predictions, reference=reference, tolerance_mm=tolerance, conventions=conventions)
    score = partial(score, manifest=tables.manifest, patients=tables.patients, jobs=jobs)
    found = score(predictions, start=progress("evaluate", "case"))
    other = score(compare, start=progress("compare", "case")) if compare else None
    summary = summarize(found, other=other, seed=scoring.seed, tolerance_mm=tolerance, **tables.names)
    _write_tables(found, other, output)
    write_summary(summary, output / SUMMARY)
    images = images_beside(reference, found)
    write_report(found, summary, output / REPORT, other=other, images=images, conventions=conventions)
    _print_summary(summary)
    if scoring.label and not scoring.tumor_label and not any(case.predicted_tumor_mm3 for case in found.cases):
        say_note("no prediction has a label that is called a tumour; if one is, --tumour-label says which")
    if other:
        _print_comparison(summary, found, other)
    _print_cases([found, other] if other else [found], output)


def _refuse_output(output: Path) -> None:
    """Refuse, before the work, a folder that cannot be written to, a dataset's, or one with files of others."""
    from tumorgen.dataset import refuse_inside_dataset
    from tumorgen.evaluation import MARKS, TABLE_MARKS
    from tumorgen.imaging import refuse_foreign_files, refuse_unwritable

    refuse_inside_dataset(output)
    refuse_unwritable(output, ANOTHER_OUTPUT)
    refuse_foreign_files(output, MARKS, ANOTHER_OUTPUT)
    refuse_foreign_files(output / COMPARED, TABLE_MARKS, ANOTHER_OUTPUT)


def _write_tables(found: Evaluation, other: Evaluation | None, output: Path) -> None:
    """Write the tables of both models; those of another model that an earlier run has left are removed."""
    from tumorgen.evaluation import remove_evaluation, write_evaluation

    write_evaluation(found, output)
    if other:
        write_evaluation(other, output / COMPARED)
    else:
        remove_evaluation(output / COMPARED)


def _files(*folders: Path | None) -> Iterator[Path]:
    """The volumes of some folders."""
    from tumorgen.imaging import list_volumes

    for folder in folders:
        yield from list_volumes(folder).values() if folder else ()


def _print_summary(summary: Summary) -> None:
    """Print the main figures, each with its interval and what it rests on."""
    from tumorgen.evaluation import NAMES, SCORED

    means = {metric: None if math.isnan(mean.value) else mean.value for metric, mean in summary.means.items()}
    sum_up(patients=summary.patients, means=means)
    names = {metric: _in_column(name) for metric, name in NAMES.items()}
    tables = [table for table in (summary.patients_table, summary.manifest) if table]
    alone = "each case counted as one; --patients says which belong together"
    known = f"as {' and '.join(tables)} {'says' if len(tables) == 1 else 'say'}" if tables else alone
    click.echo(f"{plural(summary.patients, 'patient')}, {known}")
    for note in summary.notes:
        say_note(note)
    if not summary.cases[SCORED]:
        click.echo("no case is scored, so there are no figures")
        return
    click.echo()
    click.echo(f"{'':<28}{'value':>7}{'95 % interval':>18}{'of':>7}")
    for metric, interval in summary.means.items():
        _print_row(names[metric], interval, summary.undefined.get(metric, 0))
    for rule, bins in summary.sensitivity.items():
        for radius, interval in bins.items():
            _print_row(names[f"sensitivity_{rule}"] + ("" if radius == "all" else f", {radius} mm"), interval)
    _print_row("specificity", summary.specificity)
    click.echo()


def _print_comparison(summary: Summary, found: Evaluation, other: Evaluation) -> None:
    """Print the differences between two models, if there are any, by the names of both."""
    from tumorgen.evaluation import NAMES, name_models

    mine, theirs = name_models(found, other)
    if not any(row.difference.count for row in summary.compare.values()):
        click.echo(f"no case is scored both in {mine} and in {theirs}, so there are no differences")
        return
    click.echo(f"{mine} minus {theirs}:")
    click.echo(f"{'':<28}{'value':>7}{'95 % interval':>18}{'of':>7}{'p':>8}")
    for metric, row in summary.compare.items():
        _print_row(_in_column(NAMES[metric]), row.difference, p_value=row.p_value)
    click.echo()


def _in_column(name: str) -> str:
    """A metric's name as its column is wide."""
    return name.removeprefix("lesions ")


def _print_cases(evaluations: Sequence[Evaluation], output: Path) -> None:
    """Print what is to be known of single cases, and exit with 1 if some have a fault; the first evaluation counts."""
    from tumorgen.errors import by_reason
    from tumorgen.evaluation import REPORT, name_models

    first = evaluations[0].cases
    if lost := sum(case.lost_its_tumors for case in first):
        say_note(
            f"in {plural(lost, 'case')} the manifest lists tumours, and the reference has no voxel of any"
            " (too small for the slices): not counted as scans without tumour"
        )
    models = name_models(*evaluations) if len(evaluations) > 1 else ("",)
    faults = [[case for case in each.cases if not case.scored] for each in evaluations]
    faulty = []
    for model, cases in zip(models, faults, strict=True):
        whose = {"model": model} if model else {}
        faulty += [{**whose, "case": case.case, "status": case.status, "reason": case.reason} for case in cases]
        for status, failures in _by_status(cases).items():
            for line in (line for reason in by_reason(failures) for line in reason.lines()):
                click.echo(f"{status}{f' in {model}' if model else ''}: {line}", err=True)
    scored = sum(case.scored for case in first)
    sum_up(output=output, scored=scored, faults=faulty)
    click.echo(f"{output}: {plural(scored, 'case')} scored, {plural(len(faulty), 'fault')}; look at {output / REPORT}")
    if faulty:
        click.echo("cases with a fault are left out of all figures", err=True)
        sys.exit(1)


def _by_status(faults: Sequence[CaseScore]) -> dict[str, list[Failure]]:
    """Cases that could not be scored, by what is wrong with them."""
    from tumorgen.errors import Failure

    told: dict[str, list[Failure]] = {}
    for case in faults:
        file = f"{os.sep}{case.case}."  # a name alone may be a letter that is in any word
        path = case.reason.partition(": ")[0]
        about = (path, file) if file in path else (file,)
        told.setdefault(case.status, []).append(Failure(case.case, case.reason, 1, about=about))
    return told


def _print_row(name: str, interval: ConfidenceInterval, undefined: int = 0, p_value: float = math.nan) -> None:
    told = (interval.value, interval.low, interval.high)
    value, low, high = ("-" if math.isnan(x) else f"{x:z.3f}" for x in told)  # what rounds to 0 has no sign
    note = f"  ({undefined} more undefined)" if undefined else "" if math.isnan(p_value) else f"{p_value:>8.2g}"
    click.echo(f"{name:<28}{value:>7}{f'{low} to {high}':>18}{interval.count:>7}{note}")
