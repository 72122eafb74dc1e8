"""What an evaluation found: a score per case, a score per lesion; as `cases.csv` and `lesions.csv`, and back.

Columns are the fields of `CaseScore` and `LesionScore`.
"""

from __future__ import annotations

import math
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

from ..errors import TumorgenError, as_unwritable
from ..fields import About, check_domains, columns
from ..tables import NameCheck, parse_row, read_text, rows_of, write_records

CASES = "cases.csv"
LESIONS = "lesions.csv"
SUMMARY = "summary.json"
REPORT = "report.html"
TABLE_MARKS = {CASES: ("tumor_nsd", "detected_iou"), LESIONS: ("detected_iou", "radius_bin")}
MARKS = {**TABLE_MARKS, SUMMARY: ("tumorgen_version", "specificity"), REPORT: ("<title>Evaluation", "tumorgen")}

SCORED = "scored"
FAULTS = ("missing_prediction", "extra_prediction", "other_geometry", "unknown_labels", "unreadable")
LESION_KINDS = ("reference", "false_positive")
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


def level_number(level: str) -> float:
    """A benchmark's level as a number, 0 for a word: a stable sort by it leaves words in their order."""
    try:
        return float(level)
    except ValueError:
        return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evaluated:
    """What is evaluated: a case and, with a manifest, what is known of its sample."""

    case: Annotated[str, About("name of the label file, without its ending")]
    patient: Annotated[
        str,
        About(
            "who is resampled as one: as `--patients` says, else the first scan of the same patient or CT as the"
            " manifest says, else the file's name"
        ),
    ]
    dimension: Annotated[
        str, About("what the robustness benchmark has dialled, from the manifest; empty where there is none")
    ] = ""
    level: Annotated[str, About("how far it is dialled; `healthy` for the control")] = ""

    def __post_init__(self) -> None:
        check_domains(self)


def _agreement(what: str) -> About:
    return About(f"{what}; `nan` where both masks are empty, and where the case has a fault")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseScore(_Evaluated):
    """A case as a whole. Liver means label 1 and above, tumour label 2; lengths in mm."""

    status: Annotated[
        str,
        About(
            f"`{SCORED}`, or the fault: {', '.join(f'`{one}`' for one in FAULTS)}; a case with a fault has no scores",
            choices=(SCORED, *FAULTS),
        ),
    ] = SCORED
    reason: Annotated[str, About("what is wrong, in one line; empty where the case is scored")] = ""
    tumors_listed: Annotated[
        bool,
        About("whether the manifest says that tumours were placed in it: then it is no scan without tumour"),
    ] = False
    reference_file: Annotated[str, About("file of the reference, as given; empty where there is none")] = ""
    prediction_file: Annotated[str, About("file of the prediction, as given; empty where there is none")] = ""
    liver_dsc: Annotated[float, _agreement("Dice of the liver, tumours included")] = math.nan
    liver_nsd: Annotated[float, _agreement("normalised surface distance of the liver at the tolerance")] = math.nan
    tumor_dsc: Annotated[float, _agreement("Dice of the tumour")] = math.nan
    tumor_nsd: Annotated[float, _agreement("normalised surface distance of the tumour at the tolerance")] = math.nan
    reference_tumor_mm3: Annotated[
        float, About("volume of the reference's tumour; `nan` where the case has a fault", "mm3")
    ] = math.nan
    predicted_tumor_mm3: Annotated[
        float, About("volume of the predicted tumour; `nan` where the case has a fault", "mm3")
    ] = math.nan
    lesions: Annotated[int, About("lesions of the reference: components of 26 neighbours")] = 0
    detected_any: Annotated[int, About("how many lesions of the reference a predicted tumour voxel lies in")] = 0
    detected_iou: Annotated[
        int, About("how many lesions of the reference are matched with an intersection over union above 0.5")
    ] = 0
    false_positives: Annotated[int, About("predicted lesions that overlap none of the reference")] = 0

    @property
    def scored(self) -> bool:
        """Whether the case counts in the means."""
        return self.status == SCORED

    @property
    def lost_its_tumors(self) -> bool:
        """Whether it is scored, has tumours by the manifest, and no voxel of them in the reference."""
        return self.scored and self.tumors_listed and self.reference_tumor_mm3 == 0


def _center_along(axis: str) -> About:
    return About(f"{axis} of the mean of its voxels in space, LPS", "mm")


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionScore(_Evaluated):
    """A lesion of the reference, or a predicted one that overlaps none of them."""

    kind: Annotated[
        str, About("`reference`, or `false_positive`: predicted where the reference has none", choices=LESION_KINDS)
    ]
    lesion: Annotated[int, About("number within the case and the kind, from 1")]
    volume_mm3: Annotated[float, About("its volume", "mm3")]
    radius_mm: Annotated[float, About("radius of the sphere of that volume", "mm")]
    radius_bin: Annotated[
        str, About("`<5`, `5-10`, `10-20` or `>20`; 5 and 10 begin a bin, 20 ends one", "mm", choices=RADIUS_BINS)
    ]
    center_x_mm: Annotated[float, _center_along("x")]
    center_y_mm: Annotated[float, _center_along("y")]
    center_z_mm: Annotated[float, _center_along("z")]
    detected_any: Annotated[bool, About("whether a predicted tumour voxel lies in it")] = False
    detected_iou: Annotated[bool, About("whether it is matched with an intersection over union above 0.5")] = False
    iou: Annotated[float, About("intersection over union of that match; 0 where nothing is matched to it")] = 0.0
    dsc: Annotated[float, About("Dice of the same match; 0 where nothing is matched to it")] = 0.0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Scores of all cases, faulty ones included, and of all lesions; in the order of the cases' names.

    `checks` say how the names in the tables that were given fit the cases.
    """

    cases: tuple[CaseScore, ...]
    lesions: tuple[LesionScore, ...]
    checks: tuple[NameCheck, ...] = ()


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write `cases.csv` and `lesions.csv`; each appears whole or not at all.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    write_records(folder / CASES, CaseScore, evaluation.cases)
    write_records(folder / LESIONS, LesionScore, evaluation.lesions)


def remove_evaluation(folder: Path) -> None:
    """Remove the two tables that `write_evaluation` has left in a folder, and the folder if it is empty then.

    A folder that has a summary of its own stays: it is not the other model's of an evaluation, but one by itself.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    if not folder.is_dir() or (folder / SUMMARY).exists():
        return
    with as_unwritable(folder):
        for name in (CASES, LESIONS):
            (folder / name).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


def read_evaluation(folder: Path) -> Evaluation:
    """Read both tables of an evaluation back.

    Raises
    ------
    TumorgenError
        A table is missing or malformed, a cell does not hold its type or its domain, a case is there twice, a lesion
        has no case; said with file, line and column.
    """
    cases = _read(folder / CASES, CaseScore, unique="case")
    lesions = _read(folder / LESIONS, LesionScore)
    known = {score.case for score in cases}
    for lesion in lesions:
        if lesion.case not in known:
            raise TumorgenError(f"{folder / LESIONS}: case {lesion.case!r} is not in {CASES}")
    return Evaluation(cases, lesions)


def _read(path: Path, kind: type[T], *, unique: str = "") -> tuple[T, ...]:
    """Read a table that has all of its columns: an older evaluation is better done again than guessed at."""
    rows = rows_of(path, read_text(path), columns(typing.cast(type, kind)), unique=unique)
    return tuple(parse_row(kind, row, where) for where, row in rows)
