"""Label maps measured by themselves: how large, how many, where and of what shape lesions are needs no image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import Failure, TumorgenError
from ..figures import to_lps
from ..imaging import Triple, Volume, as_label_map, find_volumes, read_volume
from ..labels import LIVER, TUMOR
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from .lesions import find_lesions
from .shapes import LesionShape, TumorBurden, measure_burden, measure_shapes


@dataclass(frozen=True, slots=True)
class MeasuredLabels:
    """What a label map holds.

    Attributes
    ----------
    case, patient
        Its name, and whose it is: several of one patient weigh as one.
    spacing_mm
        Of its voxels (z, y, x).
    burden, shapes
        Of the scan, and of each lesion that is large enough to be measured.
    """

    case: str
    patient: str
    spacing_mm: Triple
    burden: TumorBurden
    shapes: tuple[LesionShape, ...]


def read_labels(path: Path, trust: str = "") -> Volume:
    """Read a label map as uint8, turned so that axial slices lie along its first axis.

    `trust` says which of two places holds, `sform` or `qform`, where those in its header contradict each other.

    Raises
    ------
    TumorgenError
        It cannot be read, holds other labels than 0, 1 (liver) and 2 (tumour), by number or by name, or no liver.
    """
    labels = to_lps(as_label_map(read_volume(path, trust), path))
    if not (labels.array == LIVER).any():
        raise TumorgenError(f"{path}: no liver (label {LIVER}) in it")
    return Volume(np.ascontiguousarray(labels.array), labels.geometry)


def measure_label_maps(
    folder: Path, patients: Mapping[str, str], *, trust: str = "", jobs: int = -1, start: Start = no_progress
) -> tuple[tuple[MeasuredLabels, ...], tuple[Failure, ...]]:
    """Measure the label maps of a folder over processes, in the order of their names; one that cannot be is a failure.

    `patients` says which patient a case is of, called after a case (`call_after_scans`); one that it does not name is a
    patient of its own. `trust` is that of `read_labels`.

    Raises
    ------
    TumorgenError
        The folder holds no volumes, or two of one name; none of them could be measured, or none has a lesion.
    """
    cases = [Case((case, path), case, about=(str(path),)) for case, path in find_volumes(folder).items()]
    work = partial(_measure, patients, Path.cwd(), trust)  # worker processes may have another working directory
    measured, failures = split_failures(map_cases(work, cases, jobs, start=start))
    refuse_without_lesions(folder, "label maps", [each.burden for each in measured], failures)
    return tuple(measured), failures


def refuse_without_lesions(
    folder: Path, what: str, burdens: Sequence[TumorBurden], failures: Sequence[Failure]
) -> None:
    """Refuse a folder of which nothing could be measured, or whose scans or label maps (`what`) have no lesion.

    Raises
    ------
    TumorgenError
        It says which of both.
    """
    if not burdens:
        raise TumorgenError(f"{folder}: none of its {what} could be measured; the first: {failures[0].reason}")
    if not any(burden.lesions for burden in burdens):
        small = sum(burden.too_small for burden in burdens)
        real = sum(burden.real for burden in burdens)
        also = f" ({small} too small to be measured)" if small else ""
        kind = "synthetic lesions beside real ones" if real else "lesions"
        raise TumorgenError(f"{folder}: no {kind} (label {TUMOR}) in any of its {what}{also}")


def _measure(patients: Mapping[str, str], folder: Path, trust: str, named: tuple[str, Path]) -> MeasuredLabels:
    """Measure a label map; a relative path is that from a folder."""
    case, path = named
    volume = read_labels(folder / path, trust)
    labels, spacing_mm = volume.array, volume.geometry.spacing_mm
    found = find_lesions(labels, spacing_mm)
    return MeasuredLabels(
        case,
        patients.get(case, case),
        spacing_mm,
        measure_burden(labels, spacing_mm, found),
        measure_shapes(labels, spacing_mm, found.lesions),
    )
