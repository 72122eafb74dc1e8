"""Predictions against references: files are matched by name, and the cases are scored in several processes.

A case with a fault has no scores, but a `status` and a `reason`; the other cases are scored all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import Failure, TumorgenError
from ..imaging import (
    Box,
    Geometry,
    LabelChoice,
    Volume,
    as_label_map,
    bounding_box,
    find_volumes,
    part_of,
    read_volume,
    relabel,
)
from ..labels import LIVER, TUMOR
from ..parallel import Case, Start, map_cases, no_progress
from .lesions import Lesion, find_lesions, radius_of
from .listings import Listing, Listings, find_listings
from .overlap import TOLERANCE_MM, dsc, nsd
from .scores import LESION_KINDS, CaseScore, Evaluation, LesionScore, radius_bin

CaseResult = tuple[CaseScore, tuple[LesionScore, ...]]


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a case, as given; None for one that is missing."""

    case: str
    listing: Listing
    reference: Path | None
    prediction: Path | None


@dataclass(frozen=True, slots=True)
class Conventions:
    """What the files to score mean, where it is not what they are by themselves.

    Attributes
    ----------
    trust
        Which of two places holds, `sform` or `qform`, where those in a file's header contradict each other.
    predicted
        Labels that are liver and tumour in predictions, where they are not 1 and 2 as in the references.
    """

    trust: str = ""
    predicted: LabelChoice | None = None


AS_WRITTEN = Conventions()


class _FaultError(Exception):
    """Why a case cannot be scored: one of `scores.FAULTS`, and a reason in one line."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = _printable(" ".join(reason.split()))


def _printable(text: str) -> str:
    """The text with question marks for bytes of a file's name that are not UTF-8, so that a table can hold it."""
    return text.encode("utf-8", "replace").decode()


def evaluate_predictions(
    predictions: Path,
    reference: Path,
    *,
    manifest: Path | None = None,
    patients: Path | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    conventions: Conventions = AS_WRITTEN,
    jobs: int = -1,
    start: Start = no_progress,
) -> Evaluation:
    """Score every case of two folders of label files: 0 background, 1 liver, 2 tumour.

    The manifest says which samples come from one scan, the table of patients which cases, or scans of the manifest, are
    of one patient; without them each case is a patient of its own.

    Raises
    ------
    TumorgenError
        A folder holds no volumes, or two of one name; or a table cannot be read, or lists none of the cases.
    """
    wanted, given = find_volumes(reference), find_volumes(predictions)
    listings = find_listings(wanted.keys() | given.keys(), manifest, patients)
    pairs = find_pairs(wanted, given, listings)
    # Worker processes may have another working directory.
    work = partial(score_pair, tolerance_mm=tolerance_mm, folder=Path.cwd(), conventions=conventions)
    results = map_cases(work, [Case(pair, pair.case) for pair in pairs], jobs, start=start)
    cases: list[CaseScore] = []
    lesions: list[LesionScore] = []
    for pair, result in zip(pairs, results, strict=True):
        if isinstance(result, Failure):
            result = replace(_case_of(pair), status="unreadable", reason=result.reason), ()
        case, found = result
        cases.append(case)
        lesions += found
    return Evaluation(tuple(cases), tuple(lesions), listings.checks)


def find_pairs(wanted: Mapping[str, Path], given: Mapping[str, Path], listings: Listings) -> list[Pair]:
    """Match references and predictions by case, whatever their format; sorted, and with cases that lack one of them."""
    return [
        Pair(case, listings.of(case), wanted.get(case), given.get(case))
        for case in sorted(wanted.keys() | given.keys())
    ]


def score_pair(pair: Pair, tolerance_mm: float, folder: Path, conventions: Conventions = AS_WRITTEN) -> CaseResult:
    """Score a case and its lesions; relative paths are those from a folder."""
    case = _case_of(pair)
    try:
        reference, prediction = _read_pair(pair, folder, conventions)
    except _FaultError as fault:
        return replace(case, status=fault.status, reason=fault.reason), ()
    box = bounding_box(np.logical_or(reference.array, prediction.array))
    labels = reference.array[box], prediction.array[box]
    lesions = tuple(_score_lesions(case, *labels, box, reference.geometry))
    return _score_case(case, *labels, reference.geometry, tolerance_mm, lesions), lesions


def _case_of(pair: Pair) -> CaseScore:
    """The case of two files before anything is measured."""
    return CaseScore(
        case=pair.case,
        patient=pair.listing.patient,
        dimension=pair.listing.dimension,
        level=pair.listing.level,
        tumors_listed=pair.listing.has_tumors,
        reference_file=_printable(str(pair.reference or "")),
        prediction_file=_printable(str(pair.prediction or "")),
    )


def _read_pair(pair: Pair, folder: Path, conventions: Conventions) -> tuple[Volume, Volume]:
    """Read both label files of a case, which must lie on the same grid."""
    if pair.prediction is None:
        raise _FaultError("missing_prediction", f"{pair.reference}: there is no prediction of this name")
    if pair.reference is None:
        raise _FaultError("extra_prediction", f"{pair.prediction}: there is no reference of this name")
    reference = _read_labels(folder / pair.reference, conventions.trust)
    prediction = _read_labels(folder / pair.prediction, conventions.trust, conventions.predicted)
    difference = reference.geometry.difference(prediction.geometry)
    if difference:
        raise _FaultError("other_geometry", f"{pair.prediction}: is not on the reference's grid: {difference}")
    return reference, prediction


def _read_labels(path: Path, trust: str = "", chosen: LabelChoice | None = None) -> Volume:
    """Read the labels 0, 1 and 2 of a file, up to rounding, or what is chosen for 1 and 2, as uint8 (z, y, x)."""
    try:
        volume = read_volume(path, trust)
    except (TumorgenError, OSError, MemoryError) as error:
        raise _FaultError("unreadable", str(error) or f"{path}: does not fit into memory") from error
    try:
        return relabel(volume, path, chosen) if chosen else as_label_map(volume, path)
    except TumorgenError as error:
        raise _FaultError("unknown_labels", str(error)) from error


def _score_case(
    case: CaseScore,
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    geometry: Geometry,
    tolerance_mm: float,
    lesions: tuple[LesionScore, ...],
) -> CaseScore:
    """Score a case by its labels (z, y, x) and lesions; the liver is label 1 and above, tumour included, as in LiTS."""
    livers = reference >= LIVER, prediction >= LIVER
    tumors = reference == TUMOR, prediction == TUMOR
    true = [lesion for lesion in lesions if lesion.kind == "reference"]
    return replace(
        case,
        liver_dsc=dsc(*livers),
        liver_nsd=nsd(*livers, geometry.spacing_mm, tolerance_mm),
        tumor_dsc=dsc(*tumors),
        tumor_nsd=nsd(*tumors, geometry.spacing_mm, tolerance_mm),
        reference_tumor_mm3=float(np.count_nonzero(tumors[0]) * geometry.voxel_volume_mm3),
        predicted_tumor_mm3=float(np.count_nonzero(tumors[1]) * geometry.voxel_volume_mm3),
        lesions=len(true),
        detected_any=sum(lesion.detected_any for lesion in true),
        detected_iou=sum(lesion.detected_iou for lesion in true),
        false_positives=len(lesions) - len(true),
    )


def _score_lesions(
    case: CaseScore, reference: NDArray[np.uint8], prediction: NDArray[np.uint8], box: Box, geometry: Geometry
) -> Iterator[LesionScore]:
    """Score the lesions of the reference, then false positives; labels (z, y, x) are those of a box of the scan."""
    tumors = reference == TUMOR, prediction == TUMOR
    inner = bounding_box(np.logical_or(*tumors))
    corner = [float(edge.start) for edge in part_of(box, inner)]
    for kind, found in zip(LESION_KINDS, find_lesions(*(tumor[inner] for tumor in tumors)), strict=True):
        for number, lesion in enumerate(found, start=1):
            yield _score_lesion(case, kind, number, lesion, corner, geometry)


def _score_lesion(
    case: CaseScore, kind: str, number: int, lesion: Lesion, corner: list[float], geometry: Geometry
) -> LesionScore:
    """Score a lesion whose centre is relative to a corner, an index (z, y, x) of the scan."""
    z, y, x = (inside + start for inside, start in zip(lesion.center, corner, strict=True))
    center_x_mm, center_y_mm, center_z_mm = geometry.to_mm((z, y, x))
    volume_mm3 = lesion.voxels * geometry.voxel_volume_mm3
    radius_mm = radius_of(volume_mm3)
    return LesionScore(
        case=case.case,
        patient=case.patient,
        dimension=case.dimension,
        level=case.level,
        kind=kind,
        lesion=number,
        volume_mm3=volume_mm3,
        radius_mm=radius_mm,
        radius_bin=radius_bin(radius_mm),
        center_x_mm=center_x_mm,
        center_y_mm=center_y_mm,
        center_z_mm=center_z_mm,
        detected_any=lesion.detected_any,
        detected_iou=lesion.detected_iou,
        iou=lesion.iou,
        dsc=lesion.dsc,
    )
