"""Taking away what is foreign under a tumour: a vessel, a cyst or fat must not shine through it.

Its residual is replaced by that of parenchyma nearby, voxel for voxel, so that noise stays noise: of the same strength,
and as correlated as the scanner made it. Two noises are never blended by weights, which would weaken both. Arrays are
(z, y, x).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging import Box, Triple, bounding_box, grow, overlap, part_of, shape_of, window
from .operators import Floats, blur_mirrored
from .scan import Scan
from .tissue import SMOOTH_MM, near_mu_p

_NOTICED = 0.02  # weight up to which what is foreign stays: a vessel would change by a HU
_SWITCH = 0.5  # weight from which on a voxel's noise is borrowed
_DEEP = 0.95  # share of liver around a voxel from which on what is dark there is no edge
_RADII = 3.0  # of the blur that parts what is foreign from noise, in its standard deviations
_DISTANCES_MM = (4.0, 6.0, 8.0, 11.0, 15.0, 20.0, 27.0, 36.0)  # at which noise is borrowed
_DIRECTIONS = 12
_SAMPLED, _ENOUGH, _MOST = 200, 0.98, 6  # voxels that a place is judged by, how many must do, and how many are used

Indices = NDArray[np.intp]  # (3, n)


def clear_foreign(scan: Scan, box: Box, hu: Floats, weight: Floats, liver: NDArray[Any]) -> None:
    """Take away, in place, what is foreign under a tumour, as far as the tumour's weight says.

    What is dark at the liver's edge stays: there the liver itself ends, and with it the tumour.

    Parameters
    ----------
    scan
        The scan, whose tissue says what is foreign; noise is borrowed from it.
    box, hu
        Voxels of the scan, and what earlier tumours have left of them, HU.
    weight
        How much of each voxel is tumour, in [0, 1].
    liver
        How much of it is liver.
    """
    windows = overlap(box, scan.roi)
    if windows is None:
        return
    here, there = windows
    foreign = _widened(scan, there) & (weight[here] > np.float32(_NOTICED))
    if not foreign.any():
        return
    inner = bounding_box(foreign)
    cut, region = part_of(here, inner), part_of(there, inner)
    values, smooth = _smoothed(scan, part_of(scan.roi, region))
    background = scan.tissue.background.in_box(region)
    cleared = foreign[inner] & ((liver[cut] >= _DEEP) | (smooth > background))
    change = (background - smooth) * weight[cut]
    borrowed = cleared & (weight[cut] > np.float32(_SWITCH))
    own = (values - smooth)[borrowed]
    change[borrowed] += _borrow_noise(scan, region, borrowed, own) - own
    np.add(hu[cut], change, out=hu[cut], where=cleared)


def _widened(scan: Scan, region: Box) -> NDArray[np.bool_]:
    """What is foreign in a box of the scan's region, and the voxels beside it in plane: blur reaches them."""
    around = grow(region, (0, 1, 1), shape_of(scan.roi))
    foreign = scan.tissue.foreign[around]
    widened = foreign.copy()
    widened[:, 1:] |= foreign[:, :-1]
    widened[:, :-1] |= foreign[:, 1:]
    widened[:, :, 1:] |= foreign[:, :, :-1]
    widened[:, :, :-1] |= foreign[:, :, 1:]
    return widened[window(around, region)]


def _smoothed(scan: Scan, box: Box) -> tuple[Floats, Floats]:
    """HU in a box of the scan, and the same smoothed so far that noise is parted from what is foreign."""
    radii = [math.ceil(_RADII * SMOOTH_MM / s) for s in scan.geometry.spacing_mm]
    around = grow(box, radii, scan.geometry.shape)
    hu = np.asarray(scan.hu[around]).astype(np.float32)
    sigmas = [SMOOTH_MM / s for s in scan.geometry.spacing_mm]
    smooth = blur_mirrored(near_mu_p(hu, scan.mu_p_hu), sigmas, radii)
    inner = window(around, box)
    return hu[inner], smooth[inner]


def _borrow_noise(scan: Scan, region: Box, wanted: NDArray[np.bool_], own: Floats) -> Floats:
    """The residual of parenchyma nearby for the wanted voxels of a box; their own noise where there is none."""
    noise = own.copy()
    if not own.size:
        return noise
    places = np.array(np.nonzero(wanted)) + np.array([[s.start] for s in region])
    left = np.arange(places.shape[1])
    for shift in _best_shifts(scan, places):
        moved = places[:, left] + shift[:, None]
        usable = _is_parenchyma(scan, moved)
        noise[left[usable]] = _residual(scan, moved[:, usable])
        left = left[~usable]
        if not left.size:
            break
    return noise


def _best_shifts(scan: Scan, places: Indices) -> NDArray[np.intp]:
    """Shifts to borrow from: the nearest that nearly all of the voxels can use and the next, or those that most can."""
    shifts = _shifts(scan.geometry.spacing_mm)
    sampled = places[:, :: max(1, places.shape[1] // _SAMPLED)]
    shares: list[float] = []
    for first in range(0, len(shifts), _DIRECTIONS):
        moved = sampled[:, None] + shifts[first : first + _DIRECTIONS].T[:, :, None]
        usable = _is_parenchyma(scan, moved.reshape(3, -1)).reshape(_DIRECTIONS, -1)
        shares += (usable.sum(axis=1) / sampled.shape[1]).tolist()
        if max(shares) >= _ENOUGH:
            number = next(n for n, share in enumerate(shares) if share >= _ENOUGH)
            return shifts[number : number + _MOST]
    return shifts[np.argsort(-np.array(shares), kind="stable")[:_MOST]]


@lru_cache(maxsize=32)
def _shifts(spacing_mm: Triple) -> NDArray[np.intp]:
    """Shifts (n, 3) in voxels, in plane, from near to far; noise changes least within a slice."""
    found = []
    for ring, distance in enumerate(_DISTANCES_MM):
        for number in range(_DIRECTIONS):
            angle = 2 * math.pi * (number + 0.5 * (ring % 2)) / _DIRECTIONS
            _, y, x = spacing_mm
            found.append((0, round(distance * math.sin(angle) / y), round(distance * math.cos(angle) / x)))
    return np.array(found, np.intp)


def _is_parenchyma(scan: Scan, places: Indices) -> NDArray[np.bool_]:
    """Whether places (3, n) of the scan's region are parenchyma; those beyond it are not."""
    parenchyma = scan.tissue.parenchyma
    limits = np.array(parenchyma.shape)[:, None]
    inside: NDArray[np.bool_] = np.logical_and.reduce((places >= 0) & (places < limits))
    z, y, x = places if inside.all() else np.where(inside, places, 0)
    inside &= parenchyma[z, y, x]
    return inside


def _residual(scan: Scan, places: Indices) -> Floats:
    """What places (3, n) of the scan's region have above the background, HU."""
    if not places.size:
        return np.empty(0, np.float32)
    low, high = places.min(axis=1), places.max(axis=1) + 1
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    box: Box = (z, y, x)
    picked = tuple(places - low[:, None])
    hu = np.asarray(scan.hu[part_of(scan.roi, box)])[picked].astype(np.float32)
    residual: Floats = hu - scan.tissue.background.in_box(box)[picked]
    return residual
