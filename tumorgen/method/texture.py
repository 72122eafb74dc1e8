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

import numpy as np
from numpy.typing import NDArray

from .operators import Floats, Operator, apply_separable
from .plan import Tumor
from .shape import Grid
from .splines import endless_cubic_weights

_NEGLIGIBLE = 5e-4  # weights below this fraction of a row's norm change some hundredths of a HU
_TRUNCATE = 4.0
_AT_ONCE = 64  # voxels on either side whose weights are made together
_SLAB = 4  # planes that share a stream
_STREAM = 64  # log2 of how far the streams of two slabs are apart


def texture_hu(tumor: Tumor, grid: Grid) -> Floats:
    """Texture T'' in HU on all voxels (z, y, x) of the grid (Eq. 3)."""
    voxels = [range(-below, size - below) for size, below in zip(grid.shape, grid.below, strict=True)]
    filters = [upscaling(v, tumor.eta, tumor.sigma_b_mm / s) for v, s in zip(voxels, grid.spacing_mm, strict=True)]
    finished = apply_separable([f for f, _ in filters], white_noise(tumor.texture_seed, [n for _, n in filters]))
    finished *= np.float32(tumor.sigma_t_hu)
    finished += np.float32(tumor.mu_t_hu)
    return finished


def upscaling(voxels: range, eta: float, sigma: float) -> tuple[Operator, range]:
    """Operator (voxels, nodes) of an axis: cubic interpolation from nodes eta voxels apart, Gaussian blur, unit gain.

    Voxels are counted from that of node 0; `sigma` is the blur in voxels. Each row has norm 1, so unit white noise on
    the nodes gives unit variance everywhere; and it does not depend on which other voxels are asked for. With the
    operator come the nodes that it reads.
    """
    reach = -(-max(-voxels.start, voxels.stop, 1) // _AT_ONCE) * _AT_ONCE
    weights, columns, starts = _upscaling(reach, eta, sigma)
    starts = starts[voxels.start + reach : voxels.stop + reach + 1]
    used = columns[starts[0] : starts[-1]]
    low, high = int(used.min()), int(used.max())
    return Operator(weights[starts[0] : starts[-1]], used - low, starts - starts[0], high + 1 - low), range(
        low, high + 1
    )


@lru_cache(maxsize=256)
def _upscaling(reach: int, eta: float, sigma: float) -> tuple[Floats, NDArray[np.int32], NDArray[np.int32]]:
    """Weights, their nodes and where each row begins among them, of the voxels from -reach to reach.

    They are kept: eta has two decimals, so that soon every tumour finds its own.
    """
    radius = int(np.ceil(_TRUNCATE * sigma))
    blur = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sigma, 1e-6)) ** 2)
    first_taps = (np.arange(-reach, reach) - radius) / eta
    weights, first = endless_cubic_weights(first_taps, 1 / eta, np.broadcast_to(blur, (2 * reach, blur.size)))
    square = weights**2
    kept = square >= _NEGLIGIBLE**2 * square.sum(axis=1, keepdims=True)
    weights /= np.sqrt(np.sum(square, axis=1, where=kept, keepdims=True))
    starts = np.zeros(2 * reach + 1, np.int32)
    np.cumsum(np.count_nonzero(kept, axis=1), out=starts[1:])
    columns = first[:, None] + np.arange(weights.shape[1])
    return weights[kept].astype(np.float32), columns[kept].astype(np.int32), starts


def white_noise(seed: int, nodes: Sequence[range]) -> Floats:
    """Noise N(0, 1) on some nodes (z, y, x) of the endless grid that belongs to a seed.

    Each four planes of nodes have a stream of their own, and are filled from their middle outwards: however much of
    them is drawn, a node gets the same number.
    """
    planes, rows, columns = nodes
    half = max(abs(n) for r in (rows, columns) for n in (r[0], r[-1]))
    slabs = range(planes[0] // _SLAB, planes[-1] // _SLAB + 1)
    drawn = np.empty((len(slabs), (2 * half + 1) ** 2, _SLAB), np.float32)
    bits = np.random.PCG64(seed)
    rng, start = np.random.Generator(bits), bits.state
    for slab, numbers in zip(slabs, drawn, strict=True):
        bits.state = start
        bits.advance(slab % 2**32 << _STREAM)
        rng.standard_normal(out=numbers, dtype=np.float32)
    place = _from_the_middle(half)[rows[0] + half : rows[-1] + half + 1, columns[0] + half : columns[-1] + half + 1]
    noise = drawn.take(place, axis=1).transpose(0, 3, 1, 2).reshape(-1, *place.shape)
    return noise[planes[0] - slabs[0] * _SLAB :][: len(planes)]


@lru_cache(maxsize=128)
def _from_the_middle(half: int) -> NDArray[np.int32]:
    """Number of each point of a square (2 half + 1 a side), counted from its middle, ring by ring."""
    along = np.abs(np.arange(-half, half + 1))
    rings = np.maximum(along[:, None], along[None, :])
    numbers = np.empty(rings.size, np.int32)
    numbers[np.argsort(rings, axis=None, kind="stable")] = np.arange(rings.size, dtype=np.int32)
    return numbers.reshape(rings.shape)
