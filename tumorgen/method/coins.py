"""Texture model `published`: what is taken off the scan, a smooth texture made of tossed coins.

For every voxel of 1 mm a coin is tossed with a chance that varies smoothly in space; the coins are blurred, brought to
a level, and clipped to [0, 1]. Written from a description of the authors' released code (docs/method.md), not from it.

All is in mm from the tumour's centre, on endless grids, and is read at the centres of the scan's voxels: it depends
neither on their size nor on where the image ends. The coins of a cube half as wide as their blur are drawn together:
their share of heads is normal, with the coins' mean and variance, which is what the blur would make of them. Arrays are
(z, y, x).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .operators import ONE, Floats, Operator, apply_separable
from .plan import Tumor, rounded
from .shape import Grid
from .texture import white_noise

COUNTED_ABOVE = 0.12  # the level is the mean of the blurred coins that are above
NOISE_SD = 4.0  # blurred noise in a volume like a scan's reaches 3.7 to 4.9 standard deviations from its mean
CUBE = 0.5  # edge of the cubes, over the coins' blur
_LEAST_MM = 2.0  # of both blurs: no row may ask for more cubes than the tumour has cubic mm
_TRUNCATE = 3.0


def coins_hu(tumor: Tumor, grid: Grid, mu_p: float) -> Floats:
    """What a tumour of texture model `published` adds on all voxels of the grid, in HU: mu_t - mu_p in the mean.

    Parameters
    ----------
    tumor
        The tumour.
    grid
        Voxels that are asked for.
    mu_p
        Mean of the parenchyma, HU.
    """
    blur_mm = max(tumor.grain_mm, _LEAST_MM)
    cube_mm = CUBE * blur_mm
    along = zip(grid.offset_mm, grid.spacing_mm, grid.shape, strict=True)
    filters = [gaussian_rows((o + s * np.arange(n)) / cube_mm, blur_mm / cube_mm, 1) for o, s, n in along]
    heads = heads_of_cubes(tumor, [cubes for _, cubes in filters], cube_mm)
    texture = apply_separable([each for each, _ in filters], heads)
    texture *= np.float32(1 / mean_above(tumor, blur_mm))
    if tumor.texture_level:
        np.minimum(texture, np.float32(1 / tumor.texture_level), out=texture)  # the level times this is 1
    texture *= np.float32(tumor.mu_t_hu - mu_p)
    return texture


def heads_of_cubes(tumor: Tumor, cubes: list[range], cube_mm: float) -> Floats:
    """Share of the coins of each cube (z, y, x) that show heads; cubes are counted from the tumour's centre."""
    clump = max(tumor.clump_mm, _LEAST_MM) / cube_mm
    filters = [gaussian_rows(np.arange(along.start, along.stop) / clump, 1.0, 2) for along in cubes]
    chance = apply_separable([each for each, _ in filters], white_noise(tumor.texture_seed, [n for _, n in filters]))
    chance *= np.float32(tumor.chance_span / (2 * NOISE_SD))
    chance += np.float32(tumor.least_chance + tumor.chance_span / 2)
    np.maximum(chance, np.float32(tumor.least_chance), out=chance)
    np.minimum(chance, np.float32(min(tumor.least_chance + tumor.chance_span, 1.0)), out=chance)
    heads = white_noise(tumor.texture_seed ^ 1, cubes)  # noise of its own
    heads *= np.sqrt(chance * (1 - chance) * np.float32(cube_mm**-3))
    heads += chance
    return heads


def mean_above(tumor: Tumor, blur_mm: float) -> float:
    """Mean of the blurred coins that are above 0.12, over all of the endless texture.

    Blurred coins are very nearly normal; their mean is that of the chance, and their variance that of the blurred
    chance and of the coins about it.
    """
    mean = tumor.least_chance + tumor.chance_span / 2
    chance = (tumor.chance_span / (2 * NOISE_SD)) ** 2
    clump = max(tumor.clump_mm, _LEAST_MM) ** 2
    kept = (clump / (clump + blur_mm**2)) ** 1.5
    coins = (mean * (1 - mean) - chance) / (8 * math.pi**1.5 * blur_mm**3)
    sd = math.sqrt(max(chance * kept + coins, 1e-12))
    below = (COUNTED_ABOVE - mean) / sd
    above = 0.5 * math.erfc(below / math.sqrt(2))
    density = math.exp(-0.5 * below**2) / math.sqrt(2 * math.pi)
    return max(rounded(mean + sd * density / max(above, 1e-6)), 1e-4)


def gaussian_rows(places: NDArray[np.floating[Any]], sigma: float, order: int) -> tuple[Operator, range]:
    """Operator (places, points) whose rows are Gaussians around places among points one apart.

    A row's sum (order 1) or norm (order 2) is 1. It does not depend on which others are asked for; its weights are
    whole 2^-24ths, the same on every machine. With the operator come the points that it reads.
    """
    radius = math.ceil(_TRUNCATE * sigma)
    around = np.arange(-radius, radius + 1, dtype=np.int32)
    points: NDArray[np.int32] = np.rint(places).astype(np.int32)[:, None] + around
    weights = np.exp(-0.5 * ((points - places[:, None]) / sigma) ** 2)
    weights = np.rint(weights / np.linalg.norm(weights, order, axis=1, keepdims=True) * ONE) / ONE
    first, last = int(points.min()), int(points.max())
    starts = np.arange(0, points.size + 1, 2 * radius + 1, dtype=np.int32)
    operator = Operator(weights.astype(np.float32).ravel(), (points - first).ravel(), starts, last - first + 1)
    return operator, range(first, last + 1)
