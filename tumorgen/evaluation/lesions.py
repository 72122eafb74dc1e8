"""Lesions that were found and lesions that were made up: components of two masks, and which of them match.

The rule of matching is that of the LiTS challenge's scoring program (github.com/PatrickChrist/lits-challenge-scoring,
`detect_lesions`), as its documentation states it; the program differs in three ways. It joins voxels by their faces,
here all 26 neighbours count. It refuses a scan whose reference holds no lesion. And it confuses numbers of predicted
and of merged lesions where it takes their union, so that what it returns can depend on the order of the components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from ..imaging import Triple, label_components

LEAST_IOU = 0.5  # LiTS: detected if the intersection over union is above it


@dataclass(frozen=True, slots=True)
class Lesion:
    """A component of a mask: its voxels, its centre as a continuous index (z, y, x), and how it was found.

    `detected_any` says whether a voxel of the other mask lies in it. `iou` and `dsc` are those of its match, 0 if it
    has none.
    """

    voxels: int
    center: Triple
    detected_any: bool
    iou: float
    dsc: float

    @property
    def detected_iou(self) -> bool:
        """Whether the LiTS scorer calls it detected."""
        return self.iou > LEAST_IOU


@dataclass(frozen=True, slots=True)
class Components:
    """Components of 26 neighbours: an array (z, y, x) of their numbers from 1; voxels and centre (z, y, x) of each."""

    numbers: NDArray[Any]
    voxels: NDArray[np.int64]
    centers: NDArray[np.float64]


def find_components(mask: NDArray[np.bool_]) -> Components:
    """Find the components of a mask (z, y, x), in the order of their first voxel."""
    numbers = label_components(mask)
    found = cc3d.statistics(numbers)
    voxels = np.asarray(found["voxel_counts"], np.int64)[1:]
    return Components(numbers, voxels, np.asarray(found["centroids"], np.float64)[1:])


def find_lesions(
    reference: NDArray[np.bool_], prediction: NDArray[np.bool_]
) -> tuple[tuple[Lesion, ...], tuple[Lesion, ...]]:
    """Find the lesions of the reference, and the predicted ones that overlap none of them, in masks (z, y, x).

    Several lesions under one prediction, and several fragments of one lesion, are matched together:

    1. Each lesion of the reference goes to the predicted one that covers most of it; those that go to the same one
       are merged.
    2. Each predicted lesion goes to the merged lesion that it overlaps most; those that go to the same one are merged.
    3. A merged lesion is detected if intersection over union of the two is above 0.5, and then all its parts are.

    Ties go to the lesion that comes first.
    """
    truth, found = find_components(reference), find_components(prediction)
    pairs = _intersections(truth, found)
    shared, total = _match(pairs, truth.voxels, found.voxels)
    hit = np.isin(np.arange(len(truth.voxels)), pairs.first)
    made_up = np.setdiff1d(np.arange(len(found.voxels)), pairs.second)
    iou, dice = shared / (total - shared), 2 * shared / total
    return (
        tuple(_lesion(truth, i, bool(hit[i]), float(iou[i]), float(dice[i])) for i in range(len(hit))),
        tuple(_lesion(found, int(i), False, 0.0, 0.0) for i in made_up),
    )


def _lesion(parts: Components, index: int, hit: bool, iou: float, dice: float) -> Lesion:
    z, y, x = map(float, parts.centers[index])
    return Lesion(int(parts.voxels[index]), (z, y, x), hit, iou, dice)


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Components that overlap: index of the one, index of the other, voxels that they share.

    A list, ordered by both, not a matrix, since a noisy prediction can have ten thousands of components.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shared: NDArray[np.int64]


def _intersections(truth: Components, found: Components) -> _Pairs:
    """Which lesions and predicted lesions overlap."""
    both = (truth.numbers > 0) & (found.numbers > 0)
    first, second = (parts.numbers[both].astype(np.int64) - 1 for parts in (truth, found))
    return _add_up(first, second, np.ones(len(first), np.int64))


def _add_up(first: NDArray[np.int64], second: NDArray[np.int64], shared: NDArray[np.int64]) -> _Pairs:
    """Each pair once, with the sum of the voxels it shares; such sums are exact in bincount's float64."""
    many = int(second.max(initial=0)) + 1
    keys, place = np.unique(first * many + second, return_inverse=True)
    return _Pairs(keys // many, keys % many, np.bincount(place, shared, len(keys)).astype(np.int64))


def _favourites(pairs: _Pairs, count: int) -> NDArray[np.int64]:
    """For each of `count` first components the second that shares most with it, of equals the lowest; -1 for none."""
    order = np.lexsort((pairs.second, -pairs.shared, pairs.first))
    best = order[np.flatnonzero(np.diff(pairs.first[order], prepend=-1))]
    favourites = np.full(count, -1, np.int64)
    favourites[pairs.first[best]] = pairs.second[best]
    return favourites


def _match(
    pairs: _Pairs, lesions: NDArray[np.int64], predicted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Steps 1 and 2: for each lesion the voxels that its match shares, and the sum of those of both its sides.

    `lesions` and `predicted` are voxels of each. A merged lesion goes by the index of its first part.
    """
    count = len(lesions)
    cover = _favourites(pairs, count)
    _, first, place = np.unique(cover, return_index=True, return_inverse=True)
    leader = np.where(cover >= 0, first[place], np.arange(count))
    merged = _add_up(pairs.second, leader[pairs.first], pairs.shared)
    chosen = _favourites(merged, len(predicted))
    kept = chosen[merged.first] == merged.second
    shared = np.bincount(merged.second[kept], merged.shared[kept], count)
    sizes = np.bincount(leader, lesions, count) + np.bincount(chosen[chosen >= 0], predicted[chosen >= 0], count)
    return shared[leader].astype(np.int64), sizes[leader].astype(np.int64)


def radius_of(volume_mm3: float) -> float:
    """Radius in mm of the sphere of a volume."""
    return float(math.cbrt(3 * volume_mm3 / (4 * math.pi)))
