"""What an evaluation found: a score per case, a score per lesion; as `cases.csv` and `lesions.csv`, and back.

Columns derive from the fields, so none is forgotten; what each means stands in `docs/evaluation.md`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from ..errors import TumorgenError
from ..imaging.files import whole_file
from ..tables.codec import cells_of, parse, read_text, rows_of, text_of

CASES = "cases.csv"
LESIONS = "lesions.csv"
SUMMARY = "summary.json"
REPORT = "report.html"

SCORED = "scored"
FAULTS = ("missing_prediction", "extra_prediction", "other_geometry", "unknown_labels", "unreadable")
KINDS = ("reference", "false_positive")
METRICS = ("liver_dsc", "liver_nsd", "tumor_dsc", "tumor_nsd")
RADIUS_BINS = ("<5", "5-10", "10-20", ">20")  # mm; 5 and 10 begin a bin, 20 ends one

T = TypeVar("T")


def radius_bin(radius_mm: float) -> str:
    """The bin that a radius in mm lies in: as the bins' names read, 5 and 10 begin one, 20 ends one."""
    if radius_mm < 5:
        return RADIUS_BINS[0]
    if radius_mm < 10:
        return RADIUS_BINS[1]
    return RADIUS_BINS[2] if radius_mm <= 20 else RADIUS_BINS[3]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseScore:
    """A case as a whole. Liver means label 1 and above, tumour label 2; lengths in mm.

    Attributes
    ----------
    case
        Name of the file, without its ending.
    patient
        What is resampled together: the manifest's `case` where the sample is listed, else `case`.
    dimension, level
        Of the robustness benchmark, from the manifest; empty if there are none, `healthy` for the control.
    status
        `scored`, or the fault: one of `FAULTS`.
    reason
        What is wrong, in one line; empty where the case is scored.
    reference_file, prediction_file
        The files as given; empty where there is none.
    liver_dsc, liver_nsd, tumor_dsc, tumor_nsd
        Dice similarity coefficient and normalised surface distance; nan where a case has a fault, and where both
        masks are empty, so that there is nothing to agree on.
    reference_tumor_mm3, predicted_tumor_mm3
        Volume of the tumour in either file; nan where a case has a fault.
    lesions
        Lesions of the reference: components of 26 neighbours.
    detected_any, detected_iou
        How many of them any predicted tumour voxel overlaps; how many are matched with an intersection over union
        above 0.5.
    false_positives
        Predicted lesions that overlap no lesion of the reference.
    """

    case: str
    patient: str
    dimension: str = ""
    level: str = ""
    status: str = SCORED
    reason: str = ""
    reference_file: str = ""
    prediction_file: str = ""
    liver_dsc: float = float("nan")
    liver_nsd: float = float("nan")
    tumor_dsc: float = float("nan")
    tumor_nsd: float = float("nan")
    reference_tumor_mm3: float = float("nan")
    predicted_tumor_mm3: float = float("nan")
    lesions: int = 0
    detected_any: int = 0
    detected_iou: int = 0
    false_positives: int = 0

    def __post_init__(self) -> None:
        _check("status", self.status, (SCORED, *FAULTS))

    @property
    def scored(self) -> bool:
        """Whether the case counts in the means."""
        return self.status == SCORED


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionScore:
    """A lesion of the reference, or a predicted one that overlaps none of them.

    Attributes
    ----------
    case, patient, dimension, level
        As of its case.
    kind
        `reference` or `false_positive`.
    lesion
        Number within the case and the kind, from 1.
    volume_mm3, radius_mm, radius_bin
        Its volume, the radius of the sphere of that volume, and the bin of `RADIUS_BINS` that it lies in.
    center_x_mm, center_y_mm, center_z_mm
        Centre of its voxels, LPS.
    detected_any, detected_iou, iou, dsc
        Whether any predicted tumour voxel overlaps it; whether it is matched with an intersection over union above
        0.5; that intersection over union, and the Dice of the same match. Of a false positive: False, False, 0, 0.
    """

    case: str
    patient: str
    dimension: str = ""
    level: str = ""
    kind: str
    lesion: int
    volume_mm3: float
    radius_mm: float
    radius_bin: str
    center_x_mm: float
    center_y_mm: float
    center_z_mm: float
    detected_any: bool = False
    detected_iou: bool = False
    iou: float = 0.0
    dsc: float = 0.0

    def __post_init__(self) -> None:
        _check("kind", self.kind, KINDS)
        _check("radius_bin", self.radius_bin, RADIUS_BINS)


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """An estimate with its 95 % confidence interval; `count` is what it rests on: cases, lesions or scans.

    Without any, value and limits are nan.
    """

    value: float
    low: float
    high: float
    count: int

    @property
    def defined(self) -> bool:
        """Whether there is an estimate; of a single patient it has no limits."""
        return not math.isnan(self.value)

    @property
    def limited(self) -> bool:
        """Whether the interval has limits."""
        return not math.isnan(self.low)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of all cases, faulty ones included, and of all lesions; in the order of the cases' names."""

    cases: tuple[CaseScore, ...]
    lesions: tuple[LesionScore, ...]


CASE_COLUMNS = tuple(field.name for field in fields(CaseScore))
LESION_COLUMNS = tuple(field.name for field in fields(LesionScore))


def _check(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise TumorgenError(f"unknown {name} {value!r}; it is one of {', '.join(known)}")


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write `cases.csv` and `lesions.csv`; each appears whole or not at all.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    _write(folder / CASES, CASE_COLUMNS, evaluation.cases)
    _write(folder / LESIONS, LESION_COLUMNS, evaluation.lesions)


def _write(path: Path, columns: Sequence[str], scores: Sequence[Any]) -> None:
    text = text_of(columns, (cells_of(score, columns) for score in scores))
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8", newline="")


def read_evaluation(folder: Path) -> Evaluation:
    """Read both tables of an evaluation back.

    Raises
    ------
    TumorgenError
        A table is missing or malformed, a cell does not hold its type or its domain, a case is there twice, a lesion
        has no case; said with file, line and column.
    """
    cases = tuple(_read(folder / CASES, CASE_COLUMNS, CaseScore))
    lesions = tuple(_read(folder / LESIONS, LESION_COLUMNS, LesionScore))
    known = {score.case for score in cases}
    if len(known) < len(cases):
        raise TumorgenError(f"{folder / CASES}: a case stands there twice")
    for lesion in lesions:
        if lesion.case not in known:
            raise TumorgenError(f"{folder / LESIONS}: case {lesion.case!r} is not in {CASES}")
    return Evaluation(cases, lesions)


def _read(path: Path, columns: Sequence[str], kind: type[T]) -> list[T]:
    return [parse(kind, row, where) for where, row in rows_of(path, read_text(path), columns)]
