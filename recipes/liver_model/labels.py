"""Label maps of several sources in one small vocabulary, on one grid: (z, y, x), LPS, isotropic.

z runs to the head, y to the back and x to the patient's left, as in the phantoms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Triple

GRID_MM = 3.0  # finer than any model of the recipe works at, so that nearest neighbours do no harm

LabelMap = NDArray[np.uint8]


class Tissue(IntEnum):
    """The tissue of a voxel of a label map; the tissues from `FAT` on never come from a map, only from filling."""

    AIR = 0
    LIVER = 1
    SPLEEN = 2
    KIDNEY = 3
    GALLBLADDER = 4
    STOMACH = 5
    AORTA = 6
    VENA_CAVA = 7
    PORTAL_VEIN = 8
    ARTERY = 9
    PANCREAS = 10
    SOFT = 11  # oesophagus, adrenals, uterus: soft tissue without features of its own
    BOWEL = 12
    COLON = 13
    BLADDER = 14
    HEART = 15
    LUNG = 16
    BONE = 17
    MUSCLE = 18
    FAT = 19
    SUBCUTANEOUS_FAT = 20
    SKIN = 21
    MARROW = 22
    CARTILAGE = 23
    CORD = 24
    GAS = 25
    FLUID = 26
    LIVER_VESSEL = 27
    LIVER_LESION = 28
    LUNG_VESSEL = 29
    DIAPHRAGM = 30
    TABLE = 31
    MYOCARDIUM = 32
    PERICARDIUM = 33
    ASCITES = 34


LIVER_PARTS = (Tissue.LIVER, Tissue.LIVER_VESSEL, Tissue.LIVER_LESION)  # the labels that a model has to call liver

Numbers = Mapping[Tissue, Iterable[int]]

TOTAL: Numbers = {  # TotalSegmentator's 117 classes (organs.json), which visible_human shares in part
    Tissue.LIVER: [5],
    Tissue.SPLEEN: [1],
    Tissue.KIDNEY: [2, 3],
    Tissue.GALLBLADDER: [4],
    Tissue.STOMACH: [6],
    Tissue.AORTA: [52],
    Tissue.VENA_CAVA: [62, 63, 67, 68],
    Tissue.PORTAL_VEIN: [64],
    Tissue.ARTERY: [54, 55, 56, 57, 58, 65, 66],
    Tissue.PANCREAS: [7],
    Tissue.SOFT: [8, 9, 15, 17, 22],
    Tissue.BOWEL: [18, 19],
    Tissue.COLON: [20],
    Tissue.BLADDER: [21],
    Tissue.HEART: [51, 61],
    Tissue.LUNG: [10, 11, 12, 13, 14, 16],
    Tissue.BONE: [25, *range(26, 51), *range(69, 79), 91, *range(92, 117)],
    Tissue.MUSCLE: range(80, 90),
    Tissue.CARTILAGE: [117],
    Tissue.CORD: [79],
}
HUMAN_ATLAS: Numbers = {  # the heart is hollow there and the bowel approximate; both serve as they are
    tissue: [n for n in numbers if n in {1, 2, 3, 5, 7, 18, 20, 21, 51, 77}] for tissue, numbers in TOTAL.items()
} | {Tissue.SOFT: [52, 200, 201]}
SPL: Numbers = {  # names.ctbl
    Tissue.LIVER: [3],
    Tissue.SPLEEN: [4],
    Tissue.PANCREAS: [6],
    Tissue.AORTA: [7],
    Tissue.VENA_CAVA: [8, 11, *range(81, 87), 128, 129],
    Tissue.PORTAL_VEIN: [12, 117],
    Tissue.LIVER_VESSEL: [151, 152, 153],
    Tissue.COLON: [9],
    Tissue.GALLBLADDER: [10],
    Tissue.STOMACH: [13],
    Tissue.ARTERY: [*range(16, 26), 29, *range(71, 77), 126, 127, 227],
    Tissue.KIDNEY: [51, 52],
    Tissue.SOFT: [111, 112, 141, 142, 145, 146],
    Tissue.MUSCLE: [32, 131, 133, *range(135, 141), 143, 231, 233, *range(235, 242)],
    Tissue.BONE: [2, 299, *range(301, 308), *range(401, 413), *range(501, 506), 600, *range(681, 693), 700],
    Tissue.CARTILAGE: range(551, 560),
}
AMOS: Numbers = {
    Tissue.SPLEEN: [1],
    Tissue.KIDNEY: [2, 3],
    Tissue.GALLBLADDER: [4],
    Tissue.SOFT: [5, 11, 12],
    Tissue.LIVER: [6],
    Tissue.STOMACH: [7],
    Tissue.AORTA: [8],
    Tissue.VENA_CAVA: [9],
    Tissue.PANCREAS: [10],
    Tissue.BOWEL: [13],
}
BTCV: Numbers = {
    Tissue.SPLEEN: [1],
    Tissue.KIDNEY: [2, 3],
    Tissue.GALLBLADDER: [4],
    Tissue.LIVER: [5],
    Tissue.STOMACH: [6],
    Tissue.AORTA: [7],
    Tissue.PANCREAS: [8],
}


@dataclass(frozen=True, slots=True)
class Source:
    """A source of label maps: files of the data folder, and the meaning of their numbers.

    Attributes
    ----------
    pattern
        Files, as a pattern below the data folder.
    numbers
        Tissue -> label values.
    of_scan
        The real scan with this anatomy; the maps are left out together with it.
    """

    pattern: str
    numbers: Numbers
    of_scan: str = ""


SOURCES = {
    "example_ct": Source("example_ct/organs.nii.gz", TOTAL, of_scan="example_ct"),
    "visible_human": Source("labels/visible_human/*.nii.gz", HUMAN_ATLAS),
    "spl_atlas": Source("labels/spl_atlas/atlas.nii.gz", SPL),
    "amos": Source("labels/amos/*.nii.gz", AMOS),
    "btcv": Source("labels/btcv/*.nii.gz", BTCV),
}


@dataclass(frozen=True, slots=True)
class MapFile:
    """A label map that exists: its name, its file and its source."""

    name: str
    path: Path
    source: Source


def find_maps(
    data: Path, without: Iterable[str] = (), leave_out: str = "", tell: Callable[[str], None] = lambda _: None
) -> list[MapFile]:
    """The label maps below a folder, without the excluded sources and the anatomy of a scan that is left out.

    Parameters
    ----------
    data
        The folder, in the layout of `SOURCES`.
    without
        Names of sources.
    leave_out
        A real scan that is tested on.
    tell
        Called with a line for each source that is skipped, with the reason.
    """
    found = []
    for name, source in SOURCES.items():
        paths = sorted(data.glob(source.pattern))
        if name in without:
            tell(f"{name}: left out, as asked")
        elif leave_out and source.of_scan == leave_out:
            tell(f"{name}: left out, its scan is tested on")
        elif not paths:
            tell(f"{name}: skipped, no {source.pattern} in {data}")
        else:
            found += [MapFile(f"{name}_{path.name.split('.')[0]}", path, source) for path in paths]
    return found


def read_map(path: Path, numbers: Numbers, spacing_mm: float = GRID_MM) -> LabelMap:
    """A label map in the vocabulary, turned to LPS and resampled to an isotropic spacing, borders kept smooth.

    Each tissue's indicator is interpolated and the largest share wins, so that thick slices leave no steps.

    Raises
    ------
    TumorgenError
        The map holds no liver.
    """
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), "LPS")
    known = sitk.GetArrayFromImage(image)
    tissues = tissue_table(numbers, int(known.max()))[known]
    if not (tissues == Tissue.LIVER).any():
        raise TumorgenError(f"{path}: no liver in this label map; is it of another source?")
    z, y, x = image.GetSpacing()[::-1]
    return resample_labels(tissues, (z, y, x), spacing_mm)


def tissue_table(numbers: Numbers, highest: int = 0) -> NDArray[np.uint8]:
    """The tissue of each number of a source, up to the highest that occurs."""
    table = np.zeros(max(highest, *(n for ns in numbers.values() for n in ns)) + 1, np.uint8)
    for tissue, values in numbers.items():
        table[list(values)] = tissue
    return table


def resample_labels(tissues: LabelMap, spacing_in_mm: Triple, spacing_mm: float) -> LabelMap:
    """Labels (z, y, x) on an isotropic grid whose first voxel begins where theirs does."""
    spans = [n * s for n, s in zip(tissues.shape, spacing_in_mm, strict=True)]
    shape = [max(1, round(span / spacing_mm)) for span in spans]
    axes = [tents(n, s, size, spacing_mm) for n, s, size in zip(tissues.shape, spacing_in_mm, shape, strict=True)]
    best = np.full(shape, 0.5, np.float32)  # a tissue with less than half of a voxel leaves it to the background
    result = np.zeros(shape, np.uint8)
    boxes = find_objects(tissues)
    for number in np.unique(tissues)[np.unique(tissues) > 0]:
        box = boxes[number - 1]
        share = np.asarray(tissues[box] == number, np.float32)
        parts = [weights[:, along] for weights, along in zip(axes, box, strict=True)]
        rows = [np.flatnonzero(part.any(axis=1)) for part in parts]
        for axis in (2, 1, 0):
            share = np.moveaxis(np.tensordot(parts[axis][rows[axis]], share, (1, axis)), 0, axis)
        place = tuple(slice(int(row[0]), int(row[-1]) + 1) for row in rows)
        result[place][share > best[place]] = number
        np.maximum(best[place], share, out=best[place])
    return result


def tents(n_in: int, spacing_in: float, n_out: int, spacing_out: float) -> NDArray[np.float32]:
    """Weights (n_out, n_in) of resampling an axis: linear between coarse voxels, an average over fine ones."""
    centres_in = (np.arange(n_in) + 0.5) * spacing_in
    centres_out = (np.arange(n_out) + 0.5) * spacing_out
    near = np.clip(centres_out, centres_in[0], centres_in[-1])
    weights = np.maximum(0, 1 - np.abs(near[:, None] - centres_in) / max(spacing_in, spacing_out))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)
