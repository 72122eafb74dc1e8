"""Annotated scans of the study on real tumours: reading them, patients as folds, and their livers without tumours.

Arrays are (z, y, x), slices along z; HU and mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import edt
import numpy as np
from numpy.typing import NDArray

from tumorgen.errors import TumorgenError
from tumorgen.imaging.boxes import bounding_box, grow
from tumorgen.imaging.reading import read_volume
from tumorgen.labels import TUMOR
from tumorgen.method.scan import Scan
from tumorgen.method.settings import Settings
from tumorgen.realism.scans import find_labelled
from tumorgen.tables import fit_names, read_patients
from tumorgen.training.arrays import prepare_arrays
from tumorgen.wording import plural

MARGIN_MM = 20.0  # kept around the liver
AROUND_TUMORS_MM = 6.0  # no synthetic tumour where a real one may still darken the liver
CLIPPED_ABOVE_HU = -500.0  # a scan whose least value is higher is clipped, and its air with it
AIR_HU = -1000


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A scan cut down to its liver: HU, and label 0 background, 1 liver, 2 tumour."""

    name: str
    patient: str
    image: NDArray[np.int16]
    label: NDArray[np.uint8]
    spacing_mm: tuple[float, float, float]


def read_cases(folder: Path, patients: Path | None = None) -> list[Case]:
    """Read every case that has an image and a label; a table says whose scans they are, as in `audit`."""
    named = read_patients(patients) if patients else {}
    scans, _ = find_labelled(folder, named)
    if patients:
        fit_names(patients, named, {scan.case: scan.host for scan in scans})
    if len({scan.patient for scan in scans}) < 2:
        raise TumorgenError(f"{folder}: {plural(len(scans), 'scan')} of a single patient; there is none to test on")
    return [read_case(scan.image, scan.label, scan.case, scan.patient) for scan in scans]


def read_case(image: Path, label: Path, name: str, patient: str) -> Case:
    """Read a scan and its label, and cut them down to the liver; air that was clipped is air again."""
    scan, given = read_volume(image), read_volume(label)
    difference = scan.geometry.difference(given.geometry)
    if difference:
        raise TumorgenError(f"{label}: does not fit {image}: {difference}")
    spacing = scan.geometry.spacing_mm
    margin = [round(MARGIN_MM / mm) for mm in spacing]
    box = grow(bounding_box(given.array > 0), margin, scan.geometry.shape)
    hu = np.rint(scan.array[box]).astype(np.int16)
    if hu.min() > CLIPPED_ABOVE_HU:
        hu[hu == hu.min()] = AIR_HU
    label_of_liver = np.minimum(given.array[box], 1).astype(np.uint8)  # an organ more is liver, as `evaluate` counts it
    label_of_liver[given.array[box] == TUMOR] = TUMOR
    return Case(name, patient, hu, label_of_liver, spacing)


@dataclass(frozen=True, slots=True)
class Fold:
    """A patient who is left out, the cases to train on and those to test on."""

    patient: str
    training: Sequence[Case]
    tested: Sequence[Case]


def folds_of(cases: Sequence[Case]) -> list[Fold]:
    """One fold for each patient with a tumour: with all scans of that patient, and none of them to train on."""
    ill = {case.patient for case in cases if (case.label == TUMOR).any()}
    return [
        Fold(
            patient,
            [case for case in cases if case.patient != patient],
            [case for case in cases if case.patient == patient],
        )
        for patient in sorted(ill)
    ]


def healthy_part(case: Case) -> NDArray[np.bool_]:
    """The liver without the tumours and what is around them."""
    tumor = case.label == TUMOR
    if not tumor.any():
        return case.label > 0
    far = edt.edt(~tumor, anisotropy=case.spacing_mm, parallel=1) > AROUND_TUMORS_MM
    healthy: NDArray[np.bool_] = (case.label > 0) & far
    return healthy


def host_of(case: Case, settings: Settings) -> Scan:
    """A case made ready for the settings' tumours in the healthy part of its liver."""
    return prepare_arrays(
        case.image, healthy_part(case), case.spacing_mm, case=case.name, settings=settings, clipped=True
    )
