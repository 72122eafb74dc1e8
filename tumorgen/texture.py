"""Texture of a tumour (Eq. 3): noise on a coarse grid, scaled up with cubic interpolation, blurred, true to sigma_p.

All three steps are linear and separable, so each axis has one small matrix. Each of its rows is divided by its norm:
done literally, interpolation and blur leave 0.37 to 0.49 of the standard deviation; divided by the filter's exact gain,
every voxel has mean mu_t and standard deviation sigma_t, and the grain is what the filters make of it.

The grid of the noise is endless in all directions; node (0, 0, 0) lies on the voxel of the tumour's centre. So the
texture depends neither on where the image ends nor on which other steps are switched on, and only the nodes that a
tumour's voxels need are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from .plan import Tumor
from .separable import Floats, Operator, apply_separable, endless_cubic_weights
from .shape import Grid

_NEGLIGIBLE = 5e-4  # weights below this fraction of a row's norm change some hundredths of a HU
_TRUNCATE = 4.0
_STREAM = 64  # log2 of how far the streams of two planes are apart


def texture(tumor: Tumor, grid: Grid) -> Floats:
    """Texture T'' in HU on all voxels (z, y, x) of the grid (Eq. 3)."""
    voxels = [range(-below, size - below) for size, below in zip(grid.shape, grid.below, strict=True)]
    operators, nodes = upscaling(voxels, tumor.eta, [tumor.sigma_b_mm / s for s in grid.spacing_mm])
    finished = apply_separable(operators, white_noise(tumor.texture_seed, nodes))
    finished *= np.float32(tumor.sigma_t_hu)
    finished += np.float32(tumor.mu_t_hu)
    return finished


def upscaling(voxels: Sequence[range], eta: float, sigmas: Sequence[float]) -> tuple[list[Operator], list[range]]:
    """Operators (voxels, nodes) of axes: cubic interpolation from nodes eta voxels apart, Gaussian blur, unit gain.

    Voxels are counted from that of node 0; `sigmas` are the blurs in voxels. Each row has norm 1, so unit white noise
    on the nodes gives unit variance everywhere; and it does not depend on which other voxels are asked for. With the
    operators come the nodes that each reads.
    """
    sizes = [len(v) for v in voxels]
    radius = int(np.ceil(_TRUNCATE * max(sigmas)))
    around = np.arange(-radius, radius + 1)
    sigma = np.repeat(sigmas, sizes)[:, None]
    blur = np.exp(-0.5 * (around / np.maximum(sigma, 1e-6)) ** 2)
    blur[np.abs(around) > np.ceil(_TRUNCATE * sigma)] = 0.0
    weights, first = endless_cubic_weights(
        (np.concatenate([np.arange(v.start, v.stop) for v in voxels]) - radius) / eta, 1 / eta, blur
    )
    square = weights**2
    kept = square >= _NEGLIGIBLE**2 * square.sum(axis=1, keepdims=True)
    weights /= np.sqrt(np.sum(square, axis=1, where=kept, keepdims=True))
    columns = (first[:, None] + np.arange(weights.shape[1]))[kept]
    starts = np.zeros(len(weights) + 1, np.int32)
    np.cumsum(np.count_nonzero(kept, axis=1), out=starts[1:])
    begins = np.cumsum([0, *sizes])
    of_axis = starts[begins]
    lowest, highest = (ufunc.reduceat(columns, of_axis[:-1]) for ufunc in (np.minimum, np.maximum))
    values, columns = weights[kept].astype(np.float32), (columns - np.repeat(lowest, np.diff(of_axis))).astype(np.int32)
    operators, nodes = [], []
    for low, high, (begin, end) in zip(lowest.tolist(), highest.tolist(), pairwise(begins), strict=True):
        operators.append(Operator(values, columns, starts[begin : end + 1], high + 1 - low))
        nodes.append(range(low, high + 1))
    return operators, nodes


def white_noise(seed: int, nodes: Sequence[range]) -> Floats:
    """Noise N(0, 1) on some nodes (z, y, x) of the endless grid that belongs to a seed.

    Each plane of nodes has a stream of its own, and is filled from its middle outwards: however much of it is drawn, a
    node gets the same number.
    """
    planes, rows, columns = nodes
    half = max(abs(n) for r in (rows, columns) for n in (r[0], r[-1]))
    drawn = np.empty((len(planes), (2 * half + 1) ** 2), np.float32)
    bits = np.random.PCG64(seed)
    rng, start = np.random.Generator(bits), bits.state
    for plane, row in zip(planes, drawn, strict=True):
        bits.state = start
        bits.advance(plane % 2**32 << _STREAM)
        rng.standard_normal(out=row, dtype=np.float32)
    place = _from_the_middle(half)[rows[0] + half : rows[-1] + half + 1, columns[0] + half : columns[-1] + half + 1]
    return drawn[:, place]


@lru_cache(maxsize=128)
def _from_the_middle(half: int) -> NDArray[np.int32]:
    """Number of each point of a square (2 half + 1 a side), counted from its middle, ring by ring."""
    along = np.abs(np.arange(-half, half + 1))
    rings = np.maximum(along[:, None], along[None, :])
    numbers = np.empty(rings.size, np.int32)
    numbers[np.argsort(rings, axis=None, kind="stable")] = np.arange(rings.size, dtype=np.int32)
    return numbers.reshape(rings.shape)
