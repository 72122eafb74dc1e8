"""`tumorgen fit`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural

from .bars import progress
from .common import report_failures
from .datasets import DATASET, typed_dataset
from .kinds import EXISTING_FILE, EXISTING_FOLDER, FILE, Once
from .options import ANOTHER_OUTPUT, jobs_option, trust_option
from .verbosity import say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.errors import Failure
    from tumorgen.realism import Fit, MeasuredLabels, MeasuredSet


@click.command(
    epilog="""\b
Examples:
  tumorgen fit nnUNet_raw/Dataset003_Liver --output mine.toml
  tumorgen fit real/ --patients patients.csv --output mine.toml --plot mine.png
  tumorgen fit real/ --labels more_labels/ --output mine.toml   # more label maps than images
  tumorgen fit --labels more_labels/ --output sizes.toml        # label maps alone
  tumorgen synth --settings mine.toml"""
)
@click.argument("real", type=DATASET, required=False)
@click.option("--output", type=FILE, required=True, help="The recipe to write, a TOML file for `synth --settings`.")
@click.option(
    "--labels",
    type=EXISTING_FOLDER,
    cls=Once,
    help="Folder of label maps to learn sizes, numbers, places and shapes from.  [default: the labels of REAL]",
)
@click.option(
    "--patients",
    type=EXISTING_FILE,
    cls=Once,
    help="Table with columns `case` (a scan) and `patient`.  [default: each scan is a patient of its own; samples of"
    " tumorgen are their scan's]",
)
@click.option(
    "--alone", is_flag=True, help="Blend bins of few lesions with lesions of all sizes, not with the recipe lifelike."
)
@click.option("--plot", type=FILE, help="Picture (PNG) of the tables beside the measured values.")
@trust_option
@jobs_option
@telling
def fit(
    real: Path | None,
    output: Path,
    labels: Path | None,
    patients: Path | None,
    alone: bool,
    plot: Path | None,
    trust: str | None,
    jobs: int,
) -> None:
    """Learn from annotated tumours what synthetic ones are to be like, and write a recipe for synth.

    REAL is a dataset of nnU-Net (imagesTr, labelsTr), by path or by name or number in $nnUNet_raw, or a folder with
    `images` and `labels`; labels are 0 background, 1 liver, 2 tumour. From the label maps come sizes, numbers, places
    and shapes; contrast, edge and heterogeneity come from the images. Without REAL they are those of the recipe
    lifelike.

    The recipe is complete and readable. Its tables hold quantiles: sizes, numbers, and in each of four bins of radii
    all that tumours of that size are like. A table of n lesions is n2 / (n2 + 64) of what was measured (n2 = n times n)
    and the rest of the recipe lifelike: one half for eight lesions, 0.93 for thirty. Values are held within limits that
    the file states. Several scans of a patient weigh as one.
    """
    from tumorgen.method import load_recipe
    from tumorgen.realism import draw_fit, fit_recipe, lesion_frame, no_looks, write_recipe

    if not (real or labels):
        raise click.UsageError("Give REAL, a folder of images and labels, or --labels, or both.")
    if plot and plot.suffix.lower() != ".png":
        raise click.UsageError(f"--plot {str(plot)!r} does not end in .png, and the picture is a PNG.")
    _refuse_outputs(output, plot)
    seen, measured, failures = _measure(real, labels, patients, trust or "", jobs)
    found = fit_recipe(
        measured,
        lesion_frame(seen) if seen else no_looks(),
        load_recipe("lifelike"),
        alone=alone,
        jobs=jobs,
        start=progress("tables", "bin"),
    )
    write_recipe(found, output, _command(real, output, labels, patients, trust, alone=alone))
    if plot:
        draw_fit(found, plot, " and ".join(_name_folder(folder) for folder in (real, labels) if folder))
    _print_fit(found, seen, sum(each.burden.too_small for each in measured), output)
    report_failures([*(seen.failures if seen else ()), *failures], there=len(measured))


def _refuse_outputs(output: Path, plot: Path | None) -> None:
    """Refuse, before the work, files that cannot be written, and those of others that would be lost."""
    from tumorgen.figures import PICTURE_MARKS
    from tumorgen.imaging import refuse_foreign_files, refuse_unwritable
    from tumorgen.realism import refuse_other_recipe

    refuse_unwritable(output.parent, ANOTHER_OUTPUT)
    refuse_other_recipe(output, ANOTHER_OUTPUT)
    if plot:
        refuse_unwritable(plot.parent, "choose another --plot")
        refuse_foreign_files(plot.parent, {plot.name: PICTURE_MARKS}, "choose another --plot")


def _print_fit(found: Fit, seen: MeasuredSet | None, too_small: int, output: Path) -> None:
    """Say what a recipe rests on, and what is odd about it."""
    from tumorgen.realism import describe_looks

    facts = {"lesions": len(found.shapes), "label_maps": len(found.counts), "lesions_with_image": len(found.looks)}
    sum_up(settings=output, **facts, too_small=too_small)
    small = f" ({too_small} too small)" if too_small else ""
    click.echo(
        f"{output}: sizes, numbers, places and shapes of {plural(len(found.shapes), 'lesion')} in"
        f" {plural(len(found.counts), 'label map')}{small}; contrast, edge and heterogeneity of"
        f" {plural(len(found.looks), 'lesion')}"
    )
    for note in describe_looks(seen) if seen else ():
        say_note(note)


def _measure(
    real: Path | None, labels: Path | None, patients: Path | None, trust: str, jobs: int
) -> tuple[MeasuredSet | None, tuple[MeasuredLabels, ...], tuple[Failure, ...]]:
    """Measure the set, if there is one, and the label maps; with what of these could not be."""
    from tumorgen.realism import (
        call_after_scans,
        find_labelled,
        find_layout,
        measure_folder,
        measure_label_maps,
        refuse_synthetic,
    )
    from tumorgen.tables import fit_patients, read_patients

    if labels:
        refuse_synthetic(labels, labels)
    if real:
        refuse_synthetic(real, find_layout(real)[1])
    named = read_patients(patients) if patients else {}
    seen, whose = None, call_after_scans(named)
    if real:
        seen = measure_folder("real", real, named, trust=trust, jobs=jobs, start=progress("looks", "scan"))
        whose |= {scan.case: scan.patient for scan in find_labelled(real, named)[0]}
    folder = labels or find_layout(Path(real or ""))[1]
    measured, failures = measure_label_maps(
        folder, whose, trust=trust, jobs=jobs, start=progress("shapes", "label map")
    )
    if patients:
        scans = {each.case: each.case for each in measured} | (seen.hosts if seen else {})
        for note in fit_patients(patients, named, scans).notes:
            say_note(note)
    return seen, measured, failures


def _name_folder(folder: Path) -> str:
    """What a folder is called in a title; one of label maps, as `labelsTr`, with the folder that it lies in."""
    *_, last = parts = folder.resolve().parts
    return "/".join(parts[-2:]) if last.startswith("labels") else last


def _command(
    real: Path | None, output: Path, labels: Path | None, patients: Path | None, trust: str | None, *, alone: bool
) -> str:
    """The line that was typed, without what changes no recipe."""
    words: Iterable[object] = (
        *("tumorgen", "fit"),
        *((typed_dataset("real"),) if real else ()),
        *(("--labels", labels) if labels else ()),
        *(("--patients", patients) if patients else ()),
        *(("--alone",) if alone else ()),
        *(("--trust", trust) if trust else ()),
        *("--output", output),
    )
    return shlex.join(map(str, words))
