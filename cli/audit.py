"""`tumorgen audit`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural

from .bars import progress
from .common import note_places, report_failures
from .datasets import DATASET
from .kinds import EXISTING_FILE, FOLDER, NATURAL, Once
from .options import ANOTHER_OUTPUT, jobs_option, trust_option
from .verbosity import say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.realism import Audit, MeasuredSet, Verdict

GIVEAWAYS = 3  # that are printed of each classifier


@click.command(
    epilog="""\b
Examples:
  tumorgen audit nnUNet_raw/Dataset501_SynthLiver --real annotated/
  tumorgen audit nnUNet_raw/Dataset501_SynthLiver --real Dataset003_Liver --patients patients.csv
  tumorgen audit synthetic/ --real annotated/ --output audit/ --no-network    # about half the time"""
)
@click.argument("dataset", type=DATASET)
@click.option("--real", required=True, type=DATASET, cls=Once, help="Set of scans with real, annotated tumours.")
@click.option("--output", type=FOLDER, help="Folder for tables, figures and page.  [default: DATASET/audit]")
@click.option(
    "--patients",
    type=EXISTING_FILE,
    cls=Once,
    help="Table with columns `case` (a scan of either set) and `patient`.  [default: each scan is a patient of its own;"
    " samples of tumorgen are their scan's]",
)
@click.option(
    "--network/--no-network", default=True, help="Whether a small network is asked as well, if torch is there."
)
@click.option("--seed", type=NATURAL, default=0, help="Seed of resamples, folds, forests and networks.")
@trust_option
@jobs_option
@telling
def audit(
    dataset: Path,
    real: Path,
    output: Path | None,
    patients: Path | None,
    network: bool,
    seed: int,
    trust: str | None,
    jobs: int,
) -> None:
    """Compare a dataset's synthetic tumours with real ones, and see what gives them away.

    DATASET and REAL are nnU-Net raw folders (imagesTr and labelsTr, or imagesTs and labelsTs), by path or by name or
    number in $nnUNet_raw, or folders that hold images and labels; CT in HU, labels 0 background, 1 liver, 2 tumour.
    At best both have the same scans.

    Every lesion is measured: contrast, rim, edge, noise, place and shape. By radius, the synthetic median and the share
    of synthetic lesions inside the real 5 to 95 % band are told, with intervals over patients. Random forests, and a
    network where torch is at hand, are asked to tell both apart in patients whom they have not seen.

    The output is audit.html, audit.json, tables, figures, and a contact sheet of real beside synthetic lesions, once
    with names and once blind.
    """
    from tumorgen.dataset import Dataset
    from tumorgen.imaging import refuse_foreign_files, refuse_unwritable
    from tumorgen.realism import (
        AUDIT_PAGE,
        MARKS,
        audit_sets,
        refuse_case_folder,
        write_audit,
    )
    from tumorgen.tables import fit_patients, read_patients

    output = output or Dataset(dataset).audit
    refuse_case_folder(output)
    refuse_unwritable(output, ANOTHER_OUTPUT)
    refuse_foreign_files(output, MARKS, ANOTHER_OUTPUT)
    _look_at(real, dataset)
    named = read_patients(patients) if patients else {}
    known, drawn = _measure({"real": real, "synthetic": dataset}, named, trust or "", jobs)
    if patients:
        for note in fit_patients(patients, named, known.hosts | drawn.hosts).notes:
            say_note(note)
    found = audit_sets(known, drawn, seed=seed, network=network, jobs=jobs, start=progress("network", "fold"))
    write_audit(found, known, drawn, output)
    _print_audit(found)
    click.echo(f"{output}: {AUDIT_PAGE}, tables and figures")
    measured = len(known.scans) + len(drawn.scans)
    report_failures([*known.failures, *drawn.failures], there=measured)


def _look_at(real: Path, dataset: Path) -> None:
    """Refuse what is no set, or not of real tumours, and note odd places, before minutes are spent on the other set."""
    from tumorgen.imaging import list_volumes
    from tumorgen.realism import find_layout, refuse_synthetic

    refuse_synthetic(real, find_layout(real)[1])
    for folder in (real, dataset):
        for part in find_layout(folder):
            note_places(list_volumes(part).values())


def _measure(folders: Mapping[str, Path], named: Mapping[str, str], trust: str, jobs: int) -> tuple[MeasuredSet, ...]:
    """Measure sets by their names, a patient of several of them being called alike."""
    from tumorgen.realism import join_sets, measure_folder

    return join_sets(
        *(
            measure_folder(name, folder, named, trust=trust, jobs=jobs, start=progress(name, "scan"))
            for name, folder in folders.items()
        )
    )


def _print_audit(found: Audit) -> None:
    """Print what the sets hold, how they compare, what tells them apart, and what to keep in mind."""
    from tumorgen.realism import STATISTIC_NAMES

    sum_up(
        lesions={"real": found.real.lesions, "synthetic": found.synthetic.lesions},
        medians_outside=[f"{row.statistic}, {row.radius_bin}" for row in found.outside],
        auc={each.classifier: each.auc.value if each.auc.defined else None for each in found.verdicts},
    )
    for name, facts in (("real", found.real), ("synthetic", found.synthetic)):
        click.echo(
            f"{name}: {plural(facts.lesions, 'lesion')}, {plural(facts.scans, 'scan')},"
            f" {plural(facts.patients, 'patient')} ({facts.too_small} too small,"
            f" {plural(facts.scans_without_lesions, 'scan')} without)"
        )
    click.echo(f"\n{'over all sizes':<38}{'real':>8}{'5 to 95 %':>18}{'synthetic':>11}{'inside':>8}")
    for row in found.overall:
        band = f"{row.real_low:z.2f} to {row.real_high:z.2f}"
        mark = "  too few" if not row.conclusive else "" if row.median_inside else " *"
        name = STATISTIC_NAMES[row.statistic]
        click.echo(
            f"{name:<38}{row.real_median:>z8.2f}{band:>18}{row.synthetic_median:>z11.2f}{row.inside:>z8.2f}{mark}"
        )
    _explain_marks(found)
    if found.conclusive:
        outside = f"{len(found.outside)} of {len(found.conclusive)} medians"
        click.echo(f"{outside}, all and by radius, lie outside the real band")
    for statistic in dict.fromkeys(row.statistic for row in found.outside):
        radii = ", ".join(row.radius_bin for row in found.outside if row.statistic == statistic)
        click.echo(f"  {STATISTIC_NAMES[statistic]}: {radii}")
    for verdict in found.verdicts:
        _print_verdict(verdict)
    click.echo()
    for note in found.notes:
        say_note(note)


def _explain_marks(found: Audit) -> None:
    """Print what stands behind the rows."""
    from tumorgen.realism import LEAST_LESIONS

    if any(row.conclusive and not row.median_inside for row in found.overall):
        click.echo("* the synthetic median lies outside the real band")
    if not all(row.conclusive for row in found.overall):
        click.echo(f"too few: fewer than {LEAST_LESIONS} real lesions or no synthetic one, so nothing is concluded")


def _print_verdict(verdict: Verdict) -> None:
    """Print how well a classifier tells the sets apart, and the first few things that it goes by."""
    from tumorgen.realism import STATISTIC_NAMES

    limits = f"{verdict.auc.low:z.2f} to {verdict.auc.high:z.2f}" if verdict.auc.limited else "no interval"
    told = f"AUC {verdict.auc.value:z.2f} ({limits})" if verdict.auc.defined else "no AUC over patients"
    by_lesion = f", {verdict.auc_by_lesion:z.2f} with lesions left out" if verdict.auc_by_lesion >= 0 else ""
    few = "" if verdict.conclusive else f": too few to conclude ({plural(verdict.auc.count, 'real lesion')})"
    click.echo(f"\n{verdict.classifier}: {told}{by_lesion}{few}")
    for each in verdict.giveaways[:GIVEAWAYS]:
        medians = f"{each.synthetic_median:z.2f} against {each.real_median:z.2f}"
        click.echo(f"  {STATISTIC_NAMES[each.statistic]}: {medians}, AUC {each.alone:z.2f} alone")
