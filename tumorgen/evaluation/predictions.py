"""Predictions against references: files matched by name, each case scored in a process of its own.

What is wrong with a case is its score's `status` and `reason`; it costs no other case its scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Failure, TumorgenError
from ..imaging.boxes import Box, bounding_box
from ..imaging.files import find_volumes
from ..imaging.geometry import Geometry, Volume
from ..imaging.reading import read_volume
from ..labels import LIVER, TUMOR
from ..parallel import Case, Start, map_cases, no_progress
from ..tables.codec import read_text, rows_of
from .lesions import Lesion, find_lesions, radius_of
from .overlap import TOLERANCE_MM, dsc, nsd
from .scores import CaseScore, Evaluation, LesionScore, radius_bin

_BLOCK = 1 << 24  # voxels looked at together
_TOLD = 6  # unknown labels that are looked for; five are told, the sixth says that there are more

CaseResult = tuple[CaseScore, tuple[LesionScore, ...]]


@dataclass(frozen=True, slots=True)
class Listing:
    """What a manifest says of a sample: its patient and, in the robustness benchmark, what was dialled how far."""

    patient: str
    dimension: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """The files of a case, as given; None for the one that is not there."""

    case: str
    listing: Listing
    reference: Path | None
    prediction: Path | None


class _FaultError(Exception):
    """Why a case cannot be scored: a word of `scores.FAULTS`, and a line."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = _printable(" ".join(reason.split()))


def _printable(text: str) -> str:
    """Text that a table can hold: bytes of a file's name that are no UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode()


def evaluate_predictions(
    predictions: Path,
    reference: Path,
    *,
    manifest: Path | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    jobs: int = -1,
    start: Start = no_progress,
) -> Evaluation:
    """Score every case of two folders of label files: 0 background, 1 liver, 2 tumour.

    The manifest says which samples come from one patient; without it each case is a patient of its own.

    Raises
    ------
    TumorgenError
        A folder holds no volumes or two of one name, or the manifest cannot be read or lists none of the cases.
    """
    pairs = find_pairs(predictions, reference, read_listings(manifest) if manifest else {})
    if manifest and not any(pair.listing.patient for pair in pairs):
        raise TumorgenError(f"{manifest}: lists none of the cases, {pairs[0].case} for one; is it another dataset's?")
    # Worker processes may have another working directory.
    work = partial(score_pair, tolerance_mm=tolerance_mm, folder=Path.cwd())
    results = map_cases(work, [Case(pair, pair.case) for pair in pairs], jobs, start=start)
    cases: list[CaseScore] = []
    lesions: list[LesionScore] = []
    for pair, result in zip(pairs, results, strict=True):
        case, found = (_unscored(pair, "unreadable", result.reason), ()) if isinstance(result, Failure) else result
        cases.append(case)
        lesions += found
    return Evaluation(tuple(cases), tuple(lesions))


def read_listings(manifest: Path) -> dict[str, Listing]:
    """What a manifest says of each sample; of its columns `sample` and `case` must be there.

    Raises
    ------
    TumorgenError
        The table cannot be read, a column is missing, a sample is there twice, or a cell that must not be is empty.
    """
    listings: dict[str, Listing] = {}
    for where, row in rows_of(manifest, read_text(manifest), ("sample", "case"), unique="sample"):
        sample, patient = row["sample"].strip(), row["case"].strip()
        if not sample or not patient:
            raise TumorgenError(f"{where}: sample or case is empty")
        listings[sample] = Listing(patient, row.get("dimension", "").strip(), row.get("level", "").strip())
    return listings


def manifest_beside(reference: Path) -> Path | None:
    """The manifest of the dataset that a folder of labels belongs to; None where there is none."""
    manifest = reference.absolute().parent / "manifest.csv"
    if not manifest.is_file():
        return None
    with manifest.open(encoding="utf-8-sig", errors="replace") as file:
        columns = file.readline().strip().split(",")
    return manifest if {"sample", "case"} <= set(columns) else None


def find_pairs(predictions: Path, reference: Path, listings: Mapping[str, Listing]) -> list[Pair]:
    """Files of two folders that have one name, whatever their format; cases by name, those in one folder included.

    Raises
    ------
    TumorgenError
        A folder holds no volumes, or two of one name.
    """
    wanted, given = find_volumes(reference), find_volumes(predictions)
    return [
        Pair(case, listings.get(case, Listing("")), wanted.get(case), given.get(case))
        for case in sorted(wanted.keys() | given.keys())
    ]


def score_pair(pair: Pair, tolerance_mm: float, folder: Path) -> CaseResult:
    """Scores of a case and of its lesions; of its paths, relative ones are looked for in a folder."""
    try:
        reference, prediction = _read_pair(pair, folder)
    except _FaultError as fault:
        return _unscored(pair, fault.status, fault.reason), ()
    box = _foreground(reference.array, prediction.array)
    labels = reference.array[box], prediction.array[box]
    lesions = tuple(_score_lesions(_about(pair), *labels, box, reference.geometry))
    measured = _measure(*labels, reference.geometry, tolerance_mm, lesions)
    return CaseScore(**_about(pair), **_files(pair), **measured), lesions


def _unscored(pair: Pair, status: str, reason: str) -> CaseScore:
    return CaseScore(**_about(pair), **_files(pair), status=status, reason=reason)


def _about(pair: Pair) -> dict[str, Any]:
    return {
        "case": pair.case,
        "patient": pair.listing.patient or pair.case,
        "dimension": pair.listing.dimension,
        "level": pair.listing.level,
    }


def _files(pair: Pair) -> dict[str, Any]:
    return {
        "reference_file": _printable(str(pair.reference or "")),
        "prediction_file": _printable(str(pair.prediction or "")),
    }


def _read_pair(pair: Pair, folder: Path) -> tuple[Volume, Volume]:
    """Both label files of a case, on one grid."""
    if pair.prediction is None:
        raise _FaultError("missing_prediction", f"{pair.reference}: there is no prediction of this name")
    if pair.reference is None:
        raise _FaultError("extra_prediction", f"{pair.prediction}: there is no reference of this name")
    reference, prediction = read_labels(folder / pair.reference), read_labels(folder / pair.prediction)
    difference = reference.geometry.difference(prediction.geometry)
    if difference:
        raise _FaultError("other_geometry", f"{pair.prediction}: is not on the reference's grid: {difference}")
    return reference, prediction


def read_labels(path: Path) -> Volume:
    """Labels 0, 1 and 2 of a file, of whatever data type, as uint8 (z, y, x)."""
    try:
        volume = read_volume(path)
    except (TumorgenError, OSError, MemoryError) as error:
        raise _FaultError("unreadable", str(error) or f"{path}: does not fit into memory") from error
    unknown = _strange(volume.array)
    if unknown:
        told = ", ".join(f"{value:g}" for value in unknown[: _TOLD - 1]) + (", ..." if len(unknown) >= _TOLD else "")
        raise _FaultError("unknown_labels", f"{path}: holds the labels {told}; only 0, 1 and 2 are known")
    return Volume(volume.array.astype(np.uint8, copy=False), volume.geometry)


def _strange(array: NDArray[Any]) -> list[float]:
    """Some values that are no label, at least six if there are as many; no file costs more memory than its voxels."""
    found: set[float] = set()
    flat = array.reshape(-1)
    if array.dtype == np.uint8 and flat.max() <= TUMOR:
        return []
    for first in range(0, flat.size, _BLOCK):
        block = flat[first : first + _BLOCK]
        found |= set(np.unique(block[(block != 0) & (block != LIVER) & (block != TUMOR)])[:_TOLD].tolist())
        if len(found) >= _TOLD:
            break
    return sorted(found)


def _foreground(*labels: NDArray[np.uint8]) -> Box:
    """Box that holds what is not background in any; one voxel where nothing is."""
    return bounding_box(np.logical_or(*labels))


def _measure(
    reference: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    geometry: Geometry,
    tolerance_mm: float,
    lesions: tuple[LesionScore, ...],
) -> dict[str, Any]:
    """Scores of a case; liver is label 1 and above, tumour included, as in LiTS."""
    livers = reference >= LIVER, prediction >= LIVER
    tumors = reference == TUMOR, prediction == TUMOR
    volumes = [np.count_nonzero(tumor) * geometry.voxel_volume_mm3 for tumor in tumors]
    true = [lesion for lesion in lesions if lesion.kind == "reference"]
    return {
        "liver_dsc": dsc(*livers),
        "liver_nsd": nsd(*livers, geometry.spacing_mm, tolerance_mm),
        "tumor_dsc": dsc(*tumors),
        "tumor_nsd": nsd(*tumors, geometry.spacing_mm, tolerance_mm),
        "reference_tumor_mm3": float(volumes[0]),
        "predicted_tumor_mm3": float(volumes[1]),
        "lesions": len(true),
        "detected_any": sum(lesion.detected_any for lesion in true),
        "detected_iou": sum(lesion.detected_iou for lesion in true),
        "false_positives": len(lesions) - len(true),
    }


def _score_lesions(
    about: Mapping[str, Any], reference: NDArray[np.uint8], prediction: NDArray[np.uint8], box: Box, geometry: Geometry
) -> Iterator[LesionScore]:
    """Scores of the lesions of the reference, then of false positives; labels are those of a box."""
    tumors = reference == TUMOR, prediction == TUMOR
    inner = _foreground(*(tumor.view(np.uint8) for tumor in tumors))
    corner = [float(outer.start + s.start) for outer, s in zip(box, inner, strict=True)]
    for kind, found in zip(("reference", "false_positive"), find_lesions(*(t[inner] for t in tumors)), strict=True):
        for number, lesion in enumerate(found, start=1):
            yield LesionScore(**about, kind=kind, lesion=number, **_describe(lesion, corner, geometry))


def _describe(lesion: Lesion, corner: list[float], geometry: Geometry) -> dict[str, Any]:
    """Size, place and match of a lesion whose centre is told from a corner of voxels (z, y, x)."""
    volume = lesion.voxels * geometry.voxel_volume_mm3
    radius = radius_of(volume)
    z, y, x = (c + start for c, start in zip(lesion.center, corner, strict=True))
    center = geometry.to_mm((z, y, x))
    return {
        "volume_mm3": volume,
        "radius_mm": radius,
        "radius_bin": radius_bin(radius),
        **dict(zip(("center_x_mm", "center_y_mm", "center_z_mm"), center, strict=True)),
        "detected_any": lesion.detected_any,
        "detected_iou": lesion.detected_iou,
        "iou": lesion.iou,
        "dsc": lesion.dsc,
    }
