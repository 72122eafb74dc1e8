"""Liver masks: from what a network calls liver to one mask per scan, checked, with a row in the table of scans.

What looks wrong is flagged and kept: whether a scan is worth having is for its owner to say. Which network it is does
not matter here; `tumorgen.liver` makes one of an nnU-Net model.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from .boxes import bounding_box
from .errors import TumorgenError
from .scans import SCANS, ScanRow, read_scans, record_scan
from .volume import Geometry, Volume, read_ct, resolved, write_volume

VOLUME_ML = (500.0, 4000.0)  # a child's liver to a very large one; the 95 % range of adults is about 900 to 2200
MEAN_HU = (0.0, 200.0)  # severe steatosis without contrast, to the brightest hepatic phase
DROPPED = 0.05  # of the liver; more than that in other pieces is no speckle, and one of them may be the liver

FLAGS = {
    "empty": "no liver in it",
    "volume_low": f"less than {VOLUME_ML[0]:g} ml",
    "volume_high": f"more than {VOLUME_ML[1]:g} ml",
    "hu_low": f"mean below {MEAN_HU[0]:g} HU",
    "hu_high": f"mean above {MEAN_HU[1]:g} HU",
    "cut_by_edge": "the edge of the scan cuts the liver",
    "pieces_dropped": f"pieces of more than {DROPPED:.0%} of the liver were dropped",
}
_SIDES = {  # the letter that an axis runs towards, as in LPS: (where its first voxel lies, where its last one does)
    "L": ("right", "left"),
    "R": ("left", "right"),
    "P": ("front", "back"),
    "A": ("back", "front"),
    "S": ("bottom", "top"),
    "I": ("top", "bottom"),
}

Mask = NDArray[np.bool_]
Segment = Callable[[Volume], Mask]


@dataclass(frozen=True, slots=True)
class Findings:
    """What a mask shows: volume, mean and standard deviation in HU (None of nothing), flags with a sentence each."""

    liver_ml: float
    hu_mean: float | None
    hu_sd: float | None
    flags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Failure:
    """A scan without a usable liver, and why."""

    name: str
    reason: str
    details: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the scans: their rows, how many of them were made now, notes, and what failed."""

    rows: tuple[ScanRow, ...]
    made: int
    notes: tuple[str, ...]
    failures: tuple[Failure, ...]

    def having(self, status: str) -> list[ScanRow]:
        """Rows of a status."""
        return [row for row in self.rows if row.status == status]


def largest_component(found: Mask) -> Mask:
    """The largest piece of a mask (z, y, x); pieces that touch at a corner are one, as in nnU-Net's own clean-up."""
    return np.asarray(cc3d.largest_k(found, k=1, connectivity=26, binary_image=True), dtype=bool)


def fill_holes(mask: Mask) -> Mask:
    """Fill what a mask (z, y, x) encloses in three dimensions.

    Not slice by slice: within a slice the liver also encloses what is not liver, such as the caval vein behind the
    caudate lobe or the gallbladder in its fossa, and no tumour may land there.
    """
    return np.asarray(ndimage.binary_fill_holes(mask), dtype=bool)


def clean(found: Mask) -> tuple[Mask, float]:
    """The largest piece without its holes, and the volume of the pieces that were dropped, as a fraction of it."""
    if not found.any():
        return found, 0.0
    mask = np.zeros_like(found)
    box = bounding_box(found)
    largest = largest_component(found[box])
    dropped = np.count_nonzero(found[box]) / np.count_nonzero(largest) - 1
    mask[box] = fill_holes(largest)
    return mask, dropped


def touched_sides(mask: Mask, geometry: Geometry) -> list[str]:
    """Sides of the scan that a mask (z, y, x) reaches, as the patient has them: `top`, `left`, ..."""
    towards = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(geometry.direction)[::-1]
    return [
        _SIDES[letter][end]
        for axis, letter in enumerate(towards)
        for end, index in enumerate((0, -1))
        if mask.take(index, axis=axis).any()
    ]


def check(mask: Mask, ct: Volume, dropped: float = 0.0) -> Findings:
    """Measure a liver and say what is not plausible about it.

    Parameters
    ----------
    mask
        The liver (z, y, x).
    ct
        The scan, in HU, on the same grid.
    dropped
        Volume of the pieces that were taken away, as a fraction of the liver's.
    """
    if not mask.any():
        return Findings(0.0, None, None, {"empty": "the model finds no liver in it"})
    hu = ct.array[mask].astype(np.float64)
    ml, mean, sd = hu.size * ct.geometry.voxel_volume_mm3 / 1000, float(hu.mean()), float(hu.std())
    volume, brightness = f"the liver has {ml:.0f} ml", f"the liver has {mean:.0f} HU on average"
    sides = touched_sides(mask, ct.geometry)
    wrong = {
        "volume_low": f"{volume}, less than {VOLUME_ML[0]:g}" if ml < VOLUME_ML[0] else "",
        "volume_high": f"{volume}, more than {VOLUME_ML[1]:g}" if ml > VOLUME_ML[1] else "",
        "hu_low": f"{brightness}, less than {MEAN_HU[0]:g}" if mean < MEAN_HU[0] else "",
        "hu_high": f"{brightness}, more than {MEAN_HU[1]:g}" if mean > MEAN_HU[1] else "",
        "cut_by_edge": f"the edge of the scan cuts the liver ({', '.join(sides)})" if sides else "",
        "pieces_dropped": f"other pieces of {dropped:.0%} of its volume were dropped" if dropped > DROPPED else "",
    }
    return Findings(ml, mean, sd, {flag: why for flag, why in wrong.items() if why})


def mask_scan(case: str, image: Path, mask_file: Path, segment: Segment) -> ScanRow:
    """Find the liver in one scan, write its mask, and say what it looks like.

    Raises
    ------
    TumorgenError
        The scan is no CT that can be read, or the mask cannot be written.
    """
    ct = read_ct(image)
    mask, dropped = clean(segment(ct))
    findings = check(mask, ct, dropped)
    write_volume(Volume(mask, ct.geometry), mask_file)
    shape, spacing = ct.geometry.shape, ct.geometry.spacing_mm
    return ScanRow(
        case=case,
        image=str(image),
        mask=str(mask_file),
        shape_z=shape[0],
        shape_y=shape[1],
        shape_x=shape[2],
        spacing_z_mm=spacing[0],
        spacing_y_mm=spacing[1],
        spacing_x_mm=spacing[2],
        liver_ml=round(findings.liver_ml, 1),
        hu_mean=_rounded(findings.hu_mean),
        hu_sd=_rounded(findings.hu_sd),
        status="failed" if "empty" in findings.flags else "check" if findings.flags else "ok",
        flags=";".join(findings.flags),
        reason="; ".join(findings.flags.values()),
    )


def mask_scans(
    images: Mapping[str, Path],
    output: Path,
    load: Callable[[], Segment],
    *,
    table: Path = SCANS,
    overwrite: bool = False,
    start: Callable[[int], Callable[[int], None]] = lambda _total: lambda _step: None,
) -> Report:
    """Write `output/<case>.nii.gz` for each scan, and its row into the table as soon as it is done.

    Scans whose row and mask are there are left alone. A scan that cannot be done costs no other: its row says why.

    Parameters
    ----------
    images
        Case name -> file of the CT.
    output
        Folder of the masks.
    load
        Makes what finds the liver; called once, and only where there is something to do.
    table
        The table of scans; rows of other cases stay in it.
    overwrite
        Do all of them again.
    start
        Called with the number of scans to do; what it returns is called with 1 after each.

    Raises
    ------
    TumorgenError
        `output` is where the images are, the table cannot be read or written, or `load` fails.
    """
    refuse_same_folder(images.values(), output)
    images = {case: path.absolute() for case, path in images.items()}  # as users know them: links are not followed
    masks = {case: output.absolute() / f"{case}.nii.gz" for case in images}
    known = {row.case: row for row in read_scans(table)} if table.exists() else {}
    rows = {} if overwrite else {c: known[c] for c in images if c in known and _is_done(known[c], images[c], masks[c])}
    todo = [case for case in images if case not in rows]
    notes = [
        f"case {case} was another scan in {table} ({known[case].image}); its row is replaced"
        for case in todo
        if case in known and known[case].image != str(images[case])
    ]
    failures = []
    _make_folder(output)
    if todo:
        segment = load()
        move = start(len(todo))
        for case in todo:
            rows[case], failure = _attempt(case, images[case], masks[case], segment)
            failures += [failure] if failure else []
            record_scan(rows[case], table)
            move(1)
    return Report(tuple(rows[case] for case in images), len(todo) - len(failures), tuple(notes), tuple(failures))


def refuse_same_folder(images: Iterable[Path], output: Path) -> None:
    """Refuse to write masks where the images are: they may have the same names, and nnU-Net would take them for cases.

    Raises
    ------
    TumorgenError
        `output` is the folder of an image.
    """
    if resolved(output) in {folder for path in images for folder in (resolved(path.parent), resolved(path).parent)}:
        raise TumorgenError(f"{output}: holds the images; masks need a folder of their own")


def _make_folder(folder: Path) -> None:
    """Make a folder now rather than after the first scan has been segmented in vain."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TumorgenError(f"{folder}: cannot be made ({error.strerror})") from error


def _is_done(row: ScanRow, image: Path, mask: Path) -> bool:
    return row.status != "failed" and (row.image, row.mask) == (str(image), str(mask)) and mask.is_file()


def _attempt(case: str, image: Path, mask: Path, segment: Segment) -> tuple[ScanRow, Failure | None]:
    try:
        row = mask_scan(case, image, mask, segment)
    except Exception as error:  # whatever a hostile file provokes, it must not cost another scan its mask
        known = isinstance(error, TumorgenError)
        reason = " ".join((str(error) if known else f"{type(error).__name__}: {error}").split())
        row = ScanRow(case=case, image=str(image), status="failed", reason=reason)
        return row, Failure(case, reason, "" if known else traceback.format_exc())
    return row, Failure(case, f"{image}: {row.reason}") if row.status == "failed" else None


def _rounded(value: Any) -> float | None:
    return None if value is None else round(value, 1)
