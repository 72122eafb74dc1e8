"""Boxes of voxels: three slices (z, y, x), half-open, never negative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice, slice]
EMPTY: Box = slice(0, 0), slice(0, 0), slice(0, 0)


class Boxed(Protocol):
    """Voxels (z, y, x) that can be read box by box: an array, or an object that makes them when they are read."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of voxels along each axis."""
        ...

    def __getitem__(self, box: Box, /) -> NDArray[Any]:
        """Voxels of a box."""
        ...


def whole_box(shape: Sequence[int]) -> Box:
    """The box of all voxels of an image of a shape (z, y, x)."""
    z, y, x = (slice(0, n) for n in shape)
    return z, y, x


def bounding_box(mask: NDArray[np.bool_]) -> Box:
    """Smallest box that holds all of a mask (z, y, x); for an empty mask its first voxel, so that no box is empty."""
    over = np.logical_or.reduce
    over_z = over(mask, axis=0)
    if not over_z.any():
        return slice(0, 1), slice(0, 1), slice(0, 1)
    along = over(mask, axis=(1, 2)), over(over_z, axis=1), over(over_z, axis=0)
    z, y, x = (slice(int(a.argmax()), a.size - int(a[::-1].argmax())) for a in along)
    return z, y, x


def part_of(box: Box, window: Box) -> Box:
    """The part of the image that a window of an array covers, where the array covers a box of the image."""
    z, y, x = (slice(b.start + w.start, b.start + w.stop) for b, w in zip(box, window, strict=True))
    return z, y, x


def grow(box: Box, margin: Sequence[int], shape: tuple[int, int, int]) -> Box:
    """A box with a margin in voxels (z, y, x), clipped to an image of a shape."""
    z, y, x = (
        slice(max(0, s.start - int(m)), min(n, s.stop + int(m))) for s, m, n in zip(box, margin, shape, strict=True)
    )
    return z, y, x


def overlap(first: Box, second: Box) -> tuple[Box, Box] | None:
    """What two boxes of one image share, as a window of the first and of the second; None if they share nothing."""
    windows = []
    for a, b in zip(first, second, strict=True):
        start, stop = max(a.start, b.start), min(a.stop, b.stop)
        if start >= stop:
            return None
        windows.append((slice(start - a.start, stop - a.start), slice(start - b.start, stop - b.start)))
    (z, k), (y, j), (x, i) = windows
    return (z, y, x), (k, j, i)


def hull(first: Box, second: Box) -> Box:
    """Smallest box that holds two boxes of one image; an empty box adds nothing."""
    if not all(shape_of(first)) or not all(shape_of(second)):
        return first if all(shape_of(first)) else second
    z, y, x = (slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))
    return z, y, x


def window(outer: Box, inner: Box) -> Box:
    """A box within another, as slices of an array that covers the outer box; an empty box stays empty."""
    if not all(shape_of(inner)):
        return EMPTY
    z, y, x = (slice(b.start - a.start, b.stop - a.start) for a, b in zip(outer, inner, strict=True))
    return z, y, x


def shape_of(box: Box) -> tuple[int, int, int]:
    """Voxels of a box along each axis."""
    z, y, x = (s.stop - s.start for s in box)
    return z, y, x


def paste(target: NDArray[Any], box: Box, source: NDArray[Any], source_box: Box) -> None:
    """Copy the voxels that two boxes share from the array that covers `source_box` to the one that covers `box`."""
    windows = overlap(box, source_box)
    if windows:
        target[windows[0]] = source[windows[1]]
