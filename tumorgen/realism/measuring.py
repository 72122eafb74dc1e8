"""A set of scans measured: every lesion's place, shape and look, pictures of it, and what each scan holds.

Rules. A scan without lesions counts in the numbers of lesions per scan, and nowhere else. So does a lesion too small to
be measured (`lesions`), which is counted apart. What of a lesion cannot be measured (`appearance`) is nan, and is left
out of the statistic that it belongs to and of no other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import Failure, TumorgenError
from ..evaluation import RADIUS_BINS, radius_bin
from ..fields import About
from ..figures import to_lps
from ..imaging import Geometry, Triple, Volume, read_volume, refuse_no_tissue
from ..labels import LIVER
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from .appearance import GREY_HIGH_HU, GREY_LEVELS, GREY_LOW_HU, GREY_STEP_HU, Appearance, measure_appearance
from .drawn import find_drawn
from .label_maps import read_labels, refuse_without_lesions
from .lesions import Lesion
from .scans import LabelledScan, join_patients
from .shapes import LesionShape, TumorBurden, measure_burden, measure_shapes

SETS = ("real", "synthetic")
COARSE = 1.2  # a scan's steps over those of the grid: from here on it is called coarse
FARTHEST_MM = 2.0  # that an outline is moved
VIEW_SLICES = 3
VIEW_PIXELS = 48  # at least, along each side
VIEW_MM, VIEW_RADII = 40.0, 4.2  # side of a view at least, and over the lesion's radius


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Axial slices around a lesion, for pictures and networks.

    Attributes
    ----------
    grey
        Grey levels, uint8 (slice, y, x): the slice with most of the lesion first, then those with half of its largest
        area or more that lie farthest from it.
    labels
        Label map of the first of them, uint8 (y, x).
    spacing_mm
        Of its pixels (y, x).
    """

    grey: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    spacing_mm: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionPlace:
    """Which lesion it is."""

    set: Annotated[str, About("whose set it belongs to", choices=SETS)]
    scan: Annotated[str, About("name of the scan")]
    host: Annotated[str, About("name of the scan that it was drawn into; the scan itself where it is real")]
    patient: Annotated[str, About("whose scan that is; several scans of a patient weigh as one")]
    lesion: Annotated[
        int, About("number of the component within the scan, from 1, real ones beside synthetic ones not counted")
    ]
    radius_bin: Annotated[
        str, About("`<5`, `5-10`, `10-20` or `>20` of the in-plane radius; 20 ends a bin", "mm", choices=RADIUS_BINS)
    ]
    center_x_mm: Annotated[float, About("x of the mean of its voxels in space, LPS", "mm")]
    center_y_mm: Annotated[float, About("y of the same", "mm")]
    center_z_mm: Annotated[float, About("z of the same", "mm")]


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredLesion:
    """A lesion with all that is measured of it.

    `aligned` is what it looks like with its outline moved to the middle of its edge: how far outside or inside of it
    the annotator draws plays no part then.
    """

    place: LesionPlace
    shape: LesionShape
    appearance: Appearance
    aligned: Appearance
    view: View


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredScan:
    """A scan, its lesions, and what is odd about its grey levels: kinds of oddity, and in words what this scan has."""

    scan: LabelledScan
    burden: TumorBurden
    lesions: tuple[MeasuredLesion, ...]
    greys: Mapping[str, str]

    @property
    def note(self) -> str:
        """What is odd about the grey levels, in words."""
        return "; ".join(self.greys.values())


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredSet:
    """A set of scans, measured."""

    name: str
    folder: Path
    scans: tuple[MeasuredScan, ...]
    failures: tuple[Failure, ...]

    @property
    def hosts(self) -> dict[str, str]:
        """The scan that each of its scans was made from, by name; of a scan that is there as it was taken, itself."""
        return {each.scan.case: each.scan.host for each in self.scans}

    @property
    def lesions(self) -> tuple[MeasuredLesion, ...]:
        """The lesions of all scans."""
        return tuple(lesion for scan in self.scans for lesion in scan.lesions)


def join_sets(*sets: MeasuredSet) -> tuple[MeasuredSet, ...]:
    """The sets, a patient of several of them by one name (`join_patients`)."""
    named = join_patients(*([each.scan for each in found.scans] for found in sets))
    return tuple(
        replace(found, scans=tuple(_of_patient(each, names[each.scan.case]) for each in found.scans))
        for found, names in zip(sets, named, strict=True)
    )


def _of_patient(found: MeasuredScan, patient: str) -> MeasuredScan:
    lesions = tuple(replace(each, place=replace(each.place, patient=patient)) for each in found.lesions)
    return replace(found, scan=replace(found.scan, patient=patient), lesions=lesions)


def measure_set(
    name: str,
    folder: Path,
    scans: Sequence[LabelledScan],
    *,
    trust: str = "",
    jobs: int = -1,
    start: Start = no_progress,
) -> MeasuredSet:
    """Measure the scans of a set over processes; one that cannot be read is a failure.

    `trust` says which of two places holds, `sform` or `qform`, where those in a file's header contradict each other.

    Raises
    ------
    TumorgenError
        None of them could be measured, or none has a lesion.
    """
    work = partial(measure_scan, name, Path.cwd(), trust=trust)  # worker processes may have another working directory
    cases = [Case(scan, scan.case, about=(str(scan.image), str(scan.label))) for scan in scans]
    measured, failures = split_failures(map_cases(work, cases, jobs, start=start))
    refuse_without_lesions(folder, "scans", [scan.burden for scan in measured], failures)
    return MeasuredSet(name, folder, tuple(measured), failures)


def measure_scan(name: str, folder: Path, scan: LabelledScan, trust: str = "") -> MeasuredScan:
    """Measure a scan of a set; relative paths are those from a folder, and `trust` is that of `measure_set`.

    Raises
    ------
    TumorgenError
        A file cannot be read, both do not lie on one grid, the image is no CT in HU, the labels are not 0, 1 and 2, or
        tumours that were drawn cannot be told from those that are really there.
    """
    image, labels = _read(folder / scan.image, folder / scan.label, trust)
    hu, spacing = image.array, image.geometry.spacing_mm
    found, own = find_drawn(Volume(labels, image.geometry), scan.drawn, scan.label)
    shapes = measure_shapes(labels, spacing, found.lesions)
    lesions = tuple(
        MeasuredLesion(
            _place(name, scan, lesion, image.geometry),
            shape,
            *_measure_looks(hu, labels, lesion, spacing),
            cut_view(hu, labels, lesion, (spacing[1], spacing[2])),
        )
        for lesion, shape in zip(found.lesions, shapes, strict=True)
    )
    return MeasuredScan(scan, measure_burden(own, spacing, found), lesions, describe_greys(hu, labels))


def _read(image_file: Path, label_file: Path, trust: str) -> tuple[Volume, NDArray[np.uint8]]:
    """Read image and labels, turned so that axial slices lie along the first axis."""
    image, labels = to_lps(read_volume(image_file, trust)), read_labels(label_file, trust)
    if difference := image.geometry.difference(labels.geometry):
        raise TumorgenError(f"{label_file}: is not on the grid of {image_file}: {difference}")
    refuse_other_values(image.array, labels.array, image_file)
    return Volume(np.ascontiguousarray(image.array), image.geometry), labels.array


def refuse_other_values(image: NDArray[Any], labels: NDArray[np.uint8], where: Path) -> None:
    """Refuse an image that is no CT in HU, of which a window may be all that is left.

    Raises
    ------
    TumorgenError
        Nothing in it is as bright as tissue, or its liver is nothing that a window of soft tissue shows.
    """
    refuse_no_tissue(float(image.max()), str(where))
    liver = float(np.median(image[labels >= LIVER]))
    if not GREY_LOW_HU < liver < GREY_HIGH_HU:
        raise TumorgenError(f"{where}: not a CT in HU: its liver has a median of {liver:g}; offset, or normalised?")


def _measure_looks(
    hu: NDArray[Any], labels: NDArray[Any], lesion: Lesion, spacing_mm: Triple
) -> tuple[Appearance, Appearance]:
    """What a lesion looks like by its label, and with its outline moved to the middle of its edge, if that is known."""
    labelled = measure_appearance(hu, labels, lesion, spacing_mm)
    middle_mm = labelled.edge_middle_mm
    if math.isnan(middle_mm):
        return labelled, labelled
    outward_mm = min(max(middle_mm, -FARTHEST_MM), FARTHEST_MM)
    return labelled, measure_appearance(hu, labels, lesion, spacing_mm, outward_mm=outward_mm)


def _place(name: str, scan: LabelledScan, lesion: Lesion, geometry: Geometry) -> LesionPlace:
    x, y, z = geometry.to_mm(lesion.center)
    return LesionPlace(
        set=name,
        scan=scan.case,
        host=scan.host,
        patient=scan.patient,
        lesion=lesion.number,
        radius_bin=radius_bin(lesion.radius_mm),
        center_x_mm=x,
        center_y_mm=y,
        center_z_mm=z,
    )


def cut_view(hu: NDArray[Any], labels: NDArray[Any], lesion: Lesion, spacing_mm: tuple[float, float]) -> View:
    """Cut the slices out that show a lesion best, a square in mm around its middle; black where the scan ends."""
    first = lesion.box[0].start + int(lesion.area_mm2.argmax())
    slices = [first, *sorted(lesion.main_slices.tolist(), key=lambda z: -abs(z - first))[: VIEW_SLICES - 1]]
    plane = lesion.mask[first - lesion.box[0].start]
    side = max(VIEW_MM, VIEW_RADII * lesion.radius_mm)
    corners, sizes = [], []
    for along, edge, spacing in zip(np.nonzero(plane), lesion.box[1:], spacing_mm, strict=True):
        size = max(VIEW_PIXELS, round(side / spacing) + 2)
        corners.append(round(float(along.mean()) + edge.start) - size // 2)
        sizes.append(size)
    grey = np.stack([_cut(hu[z], corners, sizes, GREY_LOW_HU) for z in slices])
    levels = np.rint((np.clip(grey, GREY_LOW_HU, GREY_HIGH_HU) - GREY_LOW_HU) / GREY_STEP_HU)
    return View(levels.astype(np.uint8), _cut(labels[first], corners, sizes, 0).astype(np.uint8), spacing_mm)


def _cut(plane: NDArray[Any], corners: Sequence[int], sizes: Sequence[int], outside: float) -> NDArray[np.float64]:
    """A rectangle of a slice, which may reach beyond it."""
    cut = np.full(sizes, outside, np.float64)
    ends = [min(c + n, length) for c, n, length in zip(corners, sizes, plane.shape, strict=True)]
    starts = [max(c, 0) for c in corners]
    there = tuple(slice(a, b) for a, b in zip(starts, ends, strict=True))
    here = tuple(slice(a - c, b - c) for a, b, c in zip(starts, ends, corners, strict=True))
    cut[here] = plane[there]
    return cut


def describe_greys(hu: NDArray[Any], labels: NDArray[Any]) -> dict[str, str]:
    """What is odd about a scan's grey levels, in words, by kind: steps coarser than the grid's, an end within the grid.

    A kind reads on after "3 of 40 scans".
    """
    inside = hu[labels >= LIVER]
    found = {}
    if inside.size >= 100 * GREY_LEVELS and (step := _step_of(inside)) > COARSE * GREY_STEP_HU:
        coarser = f"coarser than the {GREY_STEP_HU:.2f} HU that all are compared on"
        found[f"in steps {coarser}"] = f"in steps of {step:.1f} HU, {coarser}"
    ends = float(hu.min()), float(hu.max())
    if ends[0] > GREY_LOW_HU or ends[1] < GREY_HIGH_HU:
        within = f"within the {GREY_LOW_HU:g} to {GREY_HIGH_HU:g} HU compared"
        found[f"with values that end {within}"] = f"its values end at {ends[0]:g} and {ends[1]:g} HU, {within}"
    return found


def _step_of(hu: NDArray[Any]) -> float:
    """Mean distance of neighbouring grey levels in the middle nine tenths of voxels, of which there must be some."""
    low, high = np.percentile(hu, (5, 95))
    distinct = np.unique(hu[(hu >= low) & (hu <= high)])
    return float(distinct[-1] - distinct[0]) / max(1, distinct.size - 1)
