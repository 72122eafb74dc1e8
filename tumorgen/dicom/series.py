"""DICOM: which CT series lie in a folder, whether their slices make a volume, and that volume.

What a header says about the patient is never looked at: only a list of attributes is read (`dicom.slices`), and of
their text only known words are repeated. What would put a voxel in a wrong place is refused, not repaired: missing
slices, gantry tilt, mixed spacing. Files are not trusted: headers are read from their first bytes alone, and plain
voxels without any library. Only compressed voxels reach ITK's GDCM, after their size has been checked.

DICOM PS3.3: C.7.6.2 image plane, C.8.2.1 CT image, C.11.1 modality LUT. Points are (x, y, z) in LPS mm, as everywhere.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError, printable
from ..imaging import EXTENSIONS, LONGEST_CASE, Geometry, Volume, limit_bytes, list_images, safe_name, write_volume
from ..wording import plural
from .acquisitions import differing, find_acquisitions
from .sandbox import decompress_slices
from .slices import ALIKE, DAMAGED, NO_UID, Slice, find_slices, to_hu

LEAST_SLICES = 10  # fewer are a localizer, a bolus track or a biopsy; a liver of 15 cm has 15 slices of 10 mm
SAME_PLACE_MM = 1e-3  # apart, at most, are slices at one place
OFF_GRID_MM = 0.1  # of a slice from where a regular series has it: positions are often rounded to 0.1 mm
AXIAL = np.cos(np.radians(30))  # of a slice's normal along the body: what is farther off is a reformat
_UID = re.compile(r"[0-9]+(\.[0-9]+){5,}")  # in the name of a folder, which many archives call so

SERIES_FLAGS = {
    "copied_slices": "slices of the series are there twice",
    "damaged_beside": "damaged DICOM files lie in its folder",
    "derived": "not an original, but derived from other images",
    "lossy": "its voxels were compressed with loss",
    "acquisitions": "it may be of several acquisitions behind one another",
    "no_uid": "its UID was taken out, so that all of its folder is taken for it",
}

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Series:
    """A CT series that is a case.

    Attributes
    ----------
    case
        Name of the case.
    folder
        The deepest folder that has all of its slices.
    key
        16 digits of the SHA-256 of its UID (or folder): a series with a UID has the same key wherever it lies.
    slices
        In the order of the volume.
    copies
        Files that seem to hold a slice a second time, at its place: the slice, and its copy. Reading compares them.
    geometry
        Where its voxels are; None if there is a problem.
    flags
        Word of `SERIES_FLAGS` -> the sentence.
    problem
        Why it cannot be read; empty if it can.
    study
        16 digits of the SHA-256 of the UID of its study; empty if not all of its slices say it.
    """

    case: str
    folder: Path
    key: str
    slices: tuple[Slice, ...]
    copies: tuple[tuple[Slice, Slice], ...] = ()
    geometry: Geometry | None = None
    flags: Mapping[str, str] | None = None
    problem: str = ""
    study: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a folder.

    Attributes
    ----------
    volumes, series
        By case name.
    skipped
        A line for each kind of file that was skipped.
    numbered
        Case -> folder of those series whose names have digits of their keys; UIDs are left out of it.
    """

    volumes: Mapping[str, Path]
    series: Mapping[str, Series]
    skipped: tuple[str, ...] = ()
    numbered: Mapping[str, str] = field(default_factory=dict)

    def refuse_empty(self, source: Path) -> None:
        """Refuse a folder without scans.

        Raises
        ------
        TumorgenError
            There is neither a volume nor a series in it.
        """
        if not self.volumes and not self.series:
            raise TumorgenError(
                f"{source}: no volumes in it ({', '.join(EXTENSIONS)}),"
                " and no DICOM series of axial CT slices in it or below"
            )


def find_scans(source: Path) -> Found:
    """Volumes in a folder (or one file; `list_images`), and CT series in it and below.

    The slices of a series are put together wherever below the folder they lie. A case has the name of the folder of its
    series, without a UID in it; where several would have one name, eight digits of the key are added. Folders that are
    links are not entered, and DICOMDIR files are not read.

    Raises
    ------
    TumorgenError
        There is nothing at that path, two scans have one case name, or a case has several channels.
    """
    volumes = list_images(source)
    if not source.is_dir():
        return Found(volumes, {})
    skipped: Counter[tuple[Path, str]] = Counter()
    groups: dict[str, list[Slice]] = {}
    for one in find_slices(source, skipped, {path.parent for path in volumes.values()} - {source}):
        groups.setdefault(one.series, []).append(one)
    series = []
    for group in groups.values():
        series += _series_of_slices(group, skipped)
    damaged = Counter({folder: count for (folder, reason), count in skipped.items() if reason == DAMAGED})
    series = [_flag_damage(one, damaged) for one in series]
    named = _name_series(series, volumes)
    lines = [f"{_show_folder(at, source)}: {plural(count, 'file')}, {why}" for (at, why), count in skipped.items()]
    numbered = {one.case: _UID.sub("UID", _show_folder(one.folder, source)) for one in named if _is_numbered(one)}
    return Found(volumes, {one.case: one for one in named}, tuple(sorted(lines)), numbered)


def read_series(series: Series) -> Volume:
    """Read a series in HU: int16 or int32 where slope and intercept are whole numbers, else float32.

    Raises
    ------
    TumorgenError
        The series has a problem, a slice cannot be read, or a copy of a slice has other voxels. The message holds no
        value of a header.
    """
    if series.problem or series.geometry is None:
        raise TumorgenError(f"{series.folder}: {series.problem}")
    try:
        return Volume(_read_voxels(series), series.geometry)
    except TumorgenError as error:
        raise TumorgenError(f"{series.folder}: {error}") from None
    except Exception as error:  # GDCM's and the system's messages may hold what is in the header
        raise TumorgenError(f"{series.folder}: a slice cannot be read ({type(error).__name__})") from None


def convert_series(series: Series, path: Path) -> None:
    """Write a series as an image: voxels and geometry, and nothing else of its headers.

    Raises
    ------
    TumorgenError
        The series cannot be read (`read_series`), or the image cannot be written.
    """
    write_volume(read_series(series), path)


def _series_of_slices(slices: Sequence[Slice], skipped: Counter[tuple[Path, str]]) -> list[Series]:
    """The series that slices make, in a list; the list is empty where they are too few or not axial."""
    is_axial = [bool(one.problem) or abs(_normal(one)[2]) >= AXIAL for one in slices]
    across = [one for one, axial in zip(slices, is_axial, strict=True) if not axial]
    rest = [one for one, axial in zip(slices, is_axial, strict=True) if axial]
    reason = "not axial"
    if rest and len(rest) < LEAST_SLICES:
        across, reason = [*across, *rest], f"a CT series of fewer than {LEAST_SLICES} axial slices"
    for one in across:
        skipped[one.path.parent, reason] += 1
    if len(rest) < LEAST_SLICES:
        return []
    studies = {one.study for one in rest}
    study = _digest_uid(*studies) if len(studies) == 1 and all(studies) else ""
    folder = Path(os.path.commonpath([one.path.parent for one in rest]))
    return [_check_series(Series("", folder, _digest_uid(rest[0].series), tuple(rest), study=study))]


def _digest_uid(uid: str) -> str:
    return hashlib.sha256(uid.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _check_series(series: Series) -> Series:
    """A series whose slices are in order, with its geometry, or with its problem."""
    problem = _slices_problem(series.slices)
    if problem:
        return replace(series, problem=problem)
    first = series.slices[0]
    normal = _normal(first)
    along = [float(np.dot(one.position_mm, normal)) for one in series.slices]
    ordered = [one for _, one in sorted(zip(along, series.slices, strict=True), key=_in_order)]
    kept, copies = _without_copies(ordered)
    if len(kept) < LEAST_SLICES:
        return replace(series, problem=f"fewer than {LEAST_SLICES} of its slices lie apart")
    problem, doubt = find_acquisitions(kept)
    problem = problem or _grid_problem(np.array([one.position_mm for one in kept]), normal)
    copied = f"{plural(len(copies), 'slice')} of the series there twice, with the same voxels"
    flags = {
        "copied_slices": (bool(copies), copied),
        "derived": (_any_has(kept, "derived"), "the series is not an original, but derived from other images"),
        "lossy": (_any_has(kept, "lossy"), "the series was compressed with loss"),
        "no_uid": (first.series.startswith(NO_UID), "the series has no UID, so all of its folder was taken for it"),
        "acquisitions": (bool(doubt), doubt),
    }
    return replace(
        series,
        slices=tuple(kept),
        copies=tuple(copies),
        geometry=None if problem else _geometry(kept, normal),
        flags={flag: sentence for flag, (is_so, sentence) in flags.items() if is_so},
        problem=problem,
    )


def _any_has(slices: Iterable[Slice], flag: str) -> bool:
    return any(flag in one.flags for one in slices)


def _slices_problem(slices: Sequence[Slice]) -> str:
    """Why slices cannot be of one volume, as far as each has to be like the others."""
    faults = Counter(one.problem for one in slices if one.problem)
    if faults:
        fault, count = faults.most_common(1)[0]
        return f"{count} of {plural(len(slices), 'slice')} with {fault}; export the series again"
    first = slices[0]
    studies = {one.study for one in slices if one.study}
    if len(studies) > 1:  # no scanner does that: the UID of the series was taken out, or was made one by an anonymiser
        return f"its slices are of {len(studies)} studies, so perhaps of several patients; split it into series"
    shapes = {one.shape for one in slices}
    if len(shapes) > 1:
        sizes = " and ".join(f"{rows} x {columns}" for rows, columns in sorted(shapes)[:3])
        return f"its slices are of different sizes ({sizes}); split it into series"
    if not all(np.allclose(one.orientation, first.orientation, rtol=0, atol=ALIKE) for one in slices):
        return "its slices lie in different directions; split it into series"
    if not all(np.allclose(one.spacing_mm, first.spacing_mm, rtol=0, atol=ALIKE) for one in slices):
        return "its slices have pixels of different sizes; split it into series"
    size = 4 * len(slices) * first.shape[0] * first.shape[1]
    if size > limit_bytes() or len(slices) > np.iinfo(np.int16).max:
        return f"{plural(len(slices), 'slice')} of {first.shape[0]} x {first.shape[1]} voxels are more than the limit"
    return ""


def _in_order(placed: tuple[float, Slice]) -> tuple[float, str, float]:
    """What slices are ordered by: their place, and at one place the acquisition that came first."""
    along, one = placed
    return round(along / SAME_PLACE_MM), one.taking.number, one.taking.seconds or 0.0


def _without_copies(ordered: Sequence[Slice]) -> tuple[list[Slice], list[tuple[Slice, Slice]]]:
    """Slices in order, the first at each place; and those that lie where one of these does."""
    kept: dict[tuple[int, ...], Slice] = {}
    copies = []
    for one in ordered:
        place = tuple(round(value / SAME_PLACE_MM) for value in one.position_mm)
        twin = kept.setdefault(place, one)
        if twin is not one:
            copies.append((twin, one))
    return list(kept.values()), copies


def _grid_problem(positions: Array, normal: Array) -> str:
    """Why slices at positions (n, 3) in mm, in order along their normal, are no grid; empty if they are one."""
    along = positions @ normal
    steps = np.diff(along)
    same = int(np.count_nonzero(steps < SAME_PLACE_MM))
    if same:
        return f"{plural(same, 'slice')} beside another one, at one height (several reconstructions?); split it"
    problem = _spacing_problem(steps)
    return problem or _shift_problem(positions, along, normal)


def _spacing_problem(steps: Array) -> str:
    """Missing slices, or a spacing that changes; empty where steps are regular up to rounding."""
    count = len(steps)
    regular = np.arange(count + 1) * steps.mean()
    typical = float(np.median(steps))
    if np.abs(np.cumsum([0.0, *steps]) - regular).max() <= min(OFF_GRID_MM, typical / 4):
        return ""
    times = steps / typical
    whole = np.maximum(np.round(times), 1)
    gaps = np.flatnonzero(whole > 1)
    if gaps.size and np.abs(times - whole).max() <= 0.1 and not any(b - a == 1 for a, b in pairwise(gaps)):
        missing = int((whole - 1).sum())
        return (
            f"{plural(missing, 'slice')} missing, at {plural(gaps.size, 'place')}"
            f" ({typical:.4g} mm apart elsewhere); export it again"
        )
    return (
        f"its slices are unevenly spaced, {steps.min():.4g} to {steps.max():.4g} mm;"
        " split it into series, or resample it first (dcm2niix)"
    )


def _shift_problem(positions: Array, along: Array, normal: Array) -> str:
    """Gantry tilt: slices that do not lie behind each other, as a grid's do; empty where they do."""
    shift = positions - np.outer(along, normal)
    shift -= shift[0]
    if np.linalg.norm(shift, axis=1).max() <= OFF_GRID_MM:
        return ""
    share = (along - along[0]) / (along[-1] - along[0])
    if np.linalg.norm(shift - np.outer(share, shift[-1]), axis=1).max() <= OFF_GRID_MM:
        angle = np.degrees(np.arctan2(np.linalg.norm(shift[-1]), along[-1] - along[0]))
        return f"its gantry was tilted by {angle:.1f} degrees, so its voxels are no grid; resample it first (dcm2niix)"
    return f"its slices are shifted against each other by up to {np.linalg.norm(shift, axis=1).max():.1f} mm"


def _normal(one: Slice) -> Array:
    """Unit vector (x, y, z) normal to a slice; right-handed with the slice's x and y."""
    across = np.cross(one.orientation[:3], one.orientation[3:])
    return np.asarray(across / np.linalg.norm(across))


def _geometry(slices: Sequence[Slice], normal: Array) -> Geometry:
    first, last = slices[0], slices[-1]
    x = np.array(first.orientation[:3]) / np.linalg.norm(first.orientation[:3])
    y = np.cross(normal, x)
    step = float(np.dot(np.subtract(last.position_mm, first.position_mm), normal)) / (len(slices) - 1)
    direction = tuple(float(value) for value in np.column_stack([x, y, normal]).ravel() + 0.0)  # no -0
    shape = (len(slices), *first.shape)
    return Geometry(shape, (step, *first.spacing_mm), first.position_mm, direction)


def _flag_damage(series: Series, damaged: Mapping[Path, int]) -> Series:
    count = sum(damaged.get(folder, 0) for folder in {one.path.parent for one in series.slices})
    if not count:
        return series
    reason = f"{plural(count, 'file')} beside the series cannot be read, and may be slices of it"
    return replace(series, flags={**(series.flags or {}), "damaged_beside": reason})


def _name_series(series: Sequence[Series], volumes: Mapping[str, Path]) -> list[Series]:
    """Series with case names that differ from each other's and from the volumes', not only in capital letters."""
    plain = [_UID.sub("series", one.folder.absolute().name) or "case" for one in series]
    plain = [safe_name(name) for name in plain]
    taken = Counter([*(name.lower() for name in plain), *(case.lower() for case in volumes)])
    named = []
    for one, name in zip(series, plain, strict=True):
        alone = taken[name.lower()] == 1 and not _UID.search(one.folder.absolute().name)
        named.append(replace(one, case=name if alone else f"{safe_name(name, LONGEST_CASE - 9)}{_number_of(one)}"))
    final = Counter([*(one.case.lower() for one in named), *(case.lower() for case in volumes)])
    twice = [one for one in named if final[one.case.lower()] > 1]
    if twice:
        raise TumorgenError(f"{twice[0].folder}: two scans would be case {twice[0].case!r}; rename a folder or a file")
    return sorted(named, key=lambda one: one.case)


def _number_of(series: Series) -> str:
    return f"-{series.key[:8]}"


def _is_numbered(series: Series) -> bool:
    return series.case.endswith(_number_of(series))


def _show_folder(folder: Path, source: Path) -> str:
    return printable(str(folder if folder == source else folder.relative_to(source)))


def _read_voxels(series: Series) -> Array:
    """HU (z, y, x) of all slices of a series; copies of slices are compared with them."""
    slices = series.slices
    whole = all(one.slope.is_integer() and one.intercept.is_integer() for one in slices)
    hu = np.empty((len(slices), *slices[0].shape), np.int32 if whole else np.float32)
    files = [*slices, *(copy for _, copy in series.copies)]
    unpacked = decompress_slices([one.path for one in files if not one.stored], slices[0].shape)
    with closing(unpacked):  # type: ignore[type-var]  # a generator has a close
        for into, one in zip(hu, slices, strict=True):
            into[:] = to_hu(one) if one.stored else next(unpacked)
        others = []
        for original, copy in series.copies:
            again = to_hu(copy) if copy.stored else next(unpacked)
            if not np.array_equal(hu[slices.index(original)], again.astype(hu.dtype)):
                others.append((original, copy))
    _refuse_other_voxels(others)
    small = np.iinfo(np.int16)
    return hu.astype(np.int16) if whole and hu.min() >= small.min and hu.max() <= small.max else hu


def _refuse_other_voxels(others: Sequence[tuple[Slice, Slice]]) -> None:
    """Refuse slices at the place of other ones, whose voxels differ.

    Raises
    ------
    TumorgenError
        There are any; it says what else tells them apart.
    """
    if not others:
        return
    if any(one.instance and one.instance == other.instance for one, other in others):
        raise TumorgenError("two files say that they are the same slice, but their voxels differ; export it again")
    by = differing(*others[0])
    raise TumorgenError(
        f"{plural(len(others), 'slice')} at the place of another one, with other voxels (several phases or"
        f" reconstructions in one series?{f' They differ in {by}' if by else ''}); split it into series"
    )
