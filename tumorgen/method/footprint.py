"""Footprints: the voxels that a tumour would cover, wherever its centre lies, and what they are.

Arrays and spacings are (z, y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from ..imaging import Triple
from .plan import Tumor
from .reach import Outline
from .shape import FINE_MM, Form, extent_mm, level
from .sites import OTHER, OUTSIDE

_LOOKED_AT = 2048  # voxels of a tumour's box that are looked at, give or take rounding, where there are more
_FEW = 2**14  # voxels under a tumour at some places, below which it is no matter how many are looked at
_ROUGHLY = 8  # of more than these, every so many-th is looked at before all are
_ROUGH_DOUBT = 0.15  # how far off a share of these may be
_DOUBT = (
    0.01  # how far off a share may be where not all voxels are looked at; by up to _CLOSE in a few of 10,000 livers
)
_CLOSE = 0.05  # to the most that may lie outside: there all voxels are looked at

Shares = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Footprint:
    """The voxels that a tumour covers, or an even part of them where they are many.

    Attributes
    ----------
    offsets
        Indices (m, 3) relative to the voxel that the centre lies in.
    spacing_mm
        Size of a voxel.
    steps
        Of how many voxels along each axis one is looked at.
    form
        What the tumour's shape depends on.
    """

    offsets: NDArray[np.int64]
    spacing_mm: Triple
    steps: tuple[int, int, int]
    form: Form

    @staticmethod
    def of(tumor: Tumor, spacing_mm: Triple) -> Footprint:
        """Footprint of a tumour before any mass effect: where at least half of a voxel is tumour."""
        return _footprint(Form.of(tumor), spacing_mm)

    @property
    def doubt(self) -> float:
        """How far off the shares may be, since not all voxels are looked at."""
        return _DOUBT if max(self.steps) > 1 else 0.0

    @cached_property
    def outline(self) -> Outline:
        """How far the tumour reaches from its centre in each direction."""
        z, y, x = (k * s for k, s in zip(self.steps, self.spacing_mm, strict=True))
        return Outline(self.offsets * np.array(self.spacing_mm), (z, y, x))

    def shares(self, kinds: NDArray[np.uint8], centers: NDArray[np.int64], most_outside: float) -> Shares:
        """What the tumour would lie on at some places.

        Parameters
        ----------
        kinds
            What each voxel is (`Sites.kinds`).
        centers
            Indices (n, 3) of the voxels that its centre would lie in, not counting the margin of `kinds`.
        most_outside
            Part outside the liver above which nobody wants to know more.

        Returns
        -------
        outside, other
            Part of the tumour outside the liver, at most, and on liver that is no parenchyma, at each place (n).
        """
        if len(centers) * len(self.offsets) < _FEW:
            outside, other = _shares(kinds, centers, self.offsets)
        else:
            outside, other = _shares(kinds, centers, self.offsets[::_ROUGHLY])
            wanted = outside <= most_outside + _ROUGH_DOUBT
            outside[wanted], other[wanted] = _shares(kinds, centers[wanted], self.offsets)
        return outside + self.doubt, other

    def fits(self, kinds: NDArray[np.uint8], center: NDArray[np.int64], outside: float, most_outside: float) -> bool:
        """Whether no more of the tumour than may lies outside the liver at a place (3,), where about `outside` does.

        Where it is close and not all voxels were looked at, all are.
        """
        if max(self.steps) > 1 and most_outside - _CLOSE < outside <= most_outside:
            outside = float(_shares(kinds, center[None], _all_offsets(self.form, self.spacing_mm))[0][0])
        return outside <= most_outside


@lru_cache(maxsize=2)
def _all_offsets(form: Form, spacing_mm: Triple) -> NDArray[np.int64]:
    """Offsets of all voxels of a tumour: up to some millions, so few are kept."""
    return _looked_at(form, spacing_mm, (1, 1, 1))


@lru_cache(maxsize=64)
def _footprint(form: Form, spacing_mm: Triple) -> Footprint:
    low, high, _ = extent_mm(form)
    step_mm = (math.prod(b - a for a, b in zip(low, high, strict=True)) / _LOOKED_AT) ** (1 / 3)
    z, y, x = (max(1, round(step_mm / s)) for s in spacing_mm)
    return Footprint(_looked_at(form, spacing_mm, (z, y, x)), spacing_mm, (z, y, x), form)


def _looked_at(form: Form, spacing_mm: Triple, steps: tuple[int, int, int]) -> NDArray[np.int64]:
    """Offsets (m, 3) of a tumour's voxels, of so many along each axis one; that of the centre, if there is none."""
    low, high, _ = extent_mm(form)
    parts = [ceil(s / FINE_MM - 1e-6) // 2 * 2 + 1 if k == 1 else 1 for s, k in zip(spacing_mm, steps, strict=True)]
    rows = [
        np.arange(floor(a / (s * k)), ceil(b / (s * k)) + 1) * k
        for a, b, s, k in zip(low, high, spacing_mm, steps, strict=True)
    ]
    covered = _covered(form, rows, parts, spacing_mm)
    offsets = np.stack([row[i] for row, i in zip(rows, np.nonzero(covered), strict=True)], axis=1)
    return offsets if len(offsets) else np.zeros((1, 3), np.int64)


def _covered(form: Form, rows: list[NDArray[np.int64]], parts: list[int], spacing_mm: Triple) -> NDArray[np.bool_]:
    """Voxels of a grid of rows, each cut into parts along each axis, of which at least half is tumour."""
    z, y, x = (
        ((row[:, None] + (np.arange(k) - (k - 1) / 2) / k) * s).ravel().astype(np.float32)
        for row, k, s in zip(rows, parts, spacing_mm, strict=True)
    )
    inside = level(form, (z, y, x)) <= 1
    if max(parts) == 1:
        return inside
    (n, i), (m, j), (w, k) = ((row.size, k) for row, k in zip(rows, parts, strict=True))
    covered: NDArray[np.bool_] = inside.reshape(n, i, m, j, w, k).mean(axis=(1, 3, 5)) >= 0.5
    return covered


def _shares(kinds: NDArray[np.uint8], centers: NDArray[np.int64], offsets: NDArray[np.int64]) -> Shares:
    """Parts of some offsets that are outside and other tissue, around each centre."""
    found = kinds.ravel().take(_indices_around(kinds.shape, centers + 1, offsets))
    outside, other = (np.add.reduce(found == kind, axis=1, dtype=np.uint32) for kind in (OUTSIDE, OTHER))
    return outside / len(offsets), other / len(offsets)


def _indices_around(
    shape: tuple[int, ...], centers: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Flat indices (n, m) of some offsets around each centre; beyond the array, of the voxel nearest to there."""
    strides = np.array([shape[1] * shape[2], shape[2], 1])
    flat: NDArray[np.int64] = (centers @ strides)[:, None] + offsets @ strides
    first, last = centers + offsets.min(axis=0), centers + offsets.max(axis=0)
    beyond = ((first < 0) | (last >= shape)).any(axis=1)
    if beyond.any():
        z, y, x = (center[:, None] + offset for center, offset in zip(centers[beyond].T, offsets.T, strict=True))
        flat[beyond] = np.ravel_multi_index((z, y, x), shape, mode="clip")
    return flat
