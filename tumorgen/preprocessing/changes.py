"""What a variant changes in its scan, as boxes that do not overlap, each with what is in it afterwards.

Arrays are (z, y, x) of the scan.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from ..imaging import Box, bounding_box, grow, hull, overlap, part_of, paste, shape_of, window
from ..method import Block

_MOST_JOINED = 1.2  # times the voxels of two boxes that the box around both may have
_MARGIN = 6  # voxels around a change in which zeros that join are looked for


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """A box of the scan, and its HU (the scan's data type) and labels (uint8) when the variant's tumours are in it."""

    box: Box
    hu: NDArray[Any]
    label: NDArray[np.uint8]


def merge_blocks(hu: NDArray[Any], label: NDArray[np.uint8], blocks: Sequence[Block]) -> list[Change]:
    """Blocks of a patch, of which later ones cover earlier ones, as changes that do not overlap."""
    boxes: list[Box] = []
    for block in blocks:
        _add_box(boxes, block.box)
    return [_lay_blocks(box, hu, label, blocks) for box in boxes]


def _add_box(boxes: list[Box], box: Box, *, may_join: bool = True) -> None:
    """Add a box to some that do not overlap: joined to one that it overlaps, or cut where too much would be joined.

    Joining shortens the list, and pieces, which get smaller with each cut, are never joined: so it ends.
    """
    other = next((other for other in boxes if overlap(box, other)), None)
    if other is None:
        boxes.append(box)
        return
    joined = hull(box, other)
    little = math.prod(shape_of(joined)) <= _MOST_JOINED * sum(math.prod(shape_of(each)) for each in (box, other))
    if may_join and little:
        boxes.remove(other)
        _add_box(boxes, joined)
        return
    for piece in _cut_off(box, other):
        _add_box(boxes, piece, may_join=False)


def _cut_off(box: Box, other: Box) -> list[Box]:
    """What of a box lies outside another that it overlaps, as boxes that do not overlap."""
    pieces, rest = [], list(box)
    for axis, (mine, theirs) in enumerate(zip(box, other, strict=True)):
        for part in (slice(mine.start, theirs.start), slice(theirs.stop, mine.stop)):
            if part.start < part.stop:
                pieces.append(_with_part(rest, axis, part))
        rest[axis] = slice(max(mine.start, theirs.start), min(mine.stop, theirs.stop))
    return pieces


def _with_part(box: Sequence[slice], axis: int, part: slice) -> Box:
    z, y, x = (part if number == axis else each for number, each in enumerate(box))
    return z, y, x


def _lay_blocks(box: Box, hu: NDArray[Any], label: NDArray[np.uint8], blocks: Sequence[Block]) -> Change:
    changed = Change(box, hu[box].copy(), label[box].copy())
    for block in blocks:
        paste(changed.hu, box, block.image, block.box)
        paste(changed.label, box, block.label, block.box)
    return changed


@contextmanager
def laid_over(target: NDArray[Any], blocks: Sequence[tuple[Box, NDArray[Any]]]) -> Iterator[None]:
    """Have an array hold other values in some boxes, which may overlap, for as long as the block lasts."""
    before = [(box, target[box].copy()) for box, _ in blocks]
    try:
        for box, values in blocks:
            target[box] = values
        yield
    finally:
        for box, values in before:
            target[box] = values


def narrowed(box: Box, before: NDArray[Any], after: NDArray[Any]) -> tuple[Box, NDArray[Any]] | None:
    """The part of a box in which something differs, and what is in it afterwards; None where nothing does."""
    differing = before != after
    if not differing.any():
        return None
    inner = bounding_box(differing)
    return part_of(box, inner), after[inner]


def find_altering(hu: NDArray[Any], outside: NDArray[np.bool_] | None, changes: Sequence[Change]) -> list[Change]:
    """Changes by which nnU-Net finds other voxels outside the body in a variant than in its scan; or none.

    To nnU-Net, zeros from which one comes to the image's border over zeros (by faces) lie outside. They stay the same
    exactly if those that changes hold stay zero, and no new zero lies at the border or has one of them beside it.

    Parameters
    ----------
    hu
        The scan.
    outside
        Its zeros that lie outside; None where there are none.
    changes
        What the variant changes.
    """
    return [change for change in changes if not _keeps_outside(hu, outside, change)]


def _keeps_outside(hu: NDArray[Any], outside: NDArray[np.bool_] | None, change: Change) -> bool:
    new = (change.hu == 0) & (hu[change.box] != 0)
    if outside is not None and bool((outside[change.box] & (change.hu != 0)).any()):
        return False
    if not new.any():
        return True
    z, y, x = hu.shape
    around = grow(change.box, (1, 1, 1), (z, y, x))
    beside = np.zeros(shape_of(around), bool)
    inner = window(around, change.box)
    for axis in range(3):
        at_border = np.zeros(hu.shape[axis], bool)
        at_border[[0, -1]] = True
        shape = [1, 1, 1]
        shape[axis] = -1
        if bool((new & at_border[change.box[axis]].reshape(shape)).any()):
            return False
        for step in (-1, 1):
            _mark_beside(beside, new, inner, axis, step)
    return outside is None or not bool((outside[around] & beside).any())


def changed_outside(
    hu: NDArray[Any], outside: NDArray[np.bool_] | None, changes: Sequence[Change], altering: Sequence[Change]
) -> NDArray[np.bool_] | None:
    """What lies outside the body of a variant, found beside its changes alone; None where that does not tell.

    Zeros that join over faces lie outside together, or none of them does. Where those that join a voxel which has
    become zero, or has been one, all lie near its change, they are told apart there; all others are what they were.
    Changes that are not `altering` (`find_altering`) need no look: where zeros of theirs join another's, they are told
    apart with those.
    """
    found = np.zeros(hu.shape, bool) if outside is None else outside.copy()
    for change in altering:
        around = margin_of(change, hu.shape)
        before, after = hu[around] == 0, _laid_in(hu, around, changes) == 0
        mine = window(around, change.box)
        seeds = np.zeros(before.shape, bool)
        seeds[mine] = (before != after)[mine]
        affected = _joined(before | after, seeds)
        if (affected & _margin(around, hu.shape, border=False)).any():
            return None
        border = _margin(around, hu.shape, border=True)
        found[around][affected] = _joined(after, after & border)[affected]
    return found


def margin_of(change: Change, shape: Sequence[int]) -> Box:
    """The box in which zeros are looked at for a change."""
    z, y, x = shape
    return grow(change.box, (_MARGIN,) * 3, (z, y, x))


def _laid_in(hu: NDArray[Any], box: Box, changes: Sequence[Change]) -> NDArray[Any]:
    """What is in a box of a variant."""
    voxels = hu[box].copy()
    for change in changes:
        paste(voxels, box, change.hu, change.box)
    return voxels


def _joined(voxels: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The voxels that seeds among them are joined to over faces."""
    found = voxels & seeds
    if not found.any():
        return np.zeros_like(voxels)
    names, count = cc3d.connected_components(voxels, connectivity=6, return_N=True)
    held = np.zeros(count + 1, bool)
    held[names[found]] = True
    joined: NDArray[np.bool_] = held[names]
    return joined


def _margin(box: Box, shape: Sequence[int], *, border: bool) -> NDArray[np.bool_]:
    """The outermost voxels of a box, on the sides that are the image's border, or on those that are not."""
    outermost = np.zeros(shape_of(box), bool)
    for axis, (part, n) in enumerate(zip(box, shape, strict=True)):
        for index, is_border in ((0, part.start == 0), (-1, part.stop == n)):
            if is_border == border:
                outermost[(slice(None),) * axis + (index,)] = True
    return outermost


def _mark_beside(beside: NDArray[np.bool_], new: NDArray[np.bool_], inner: Box, axis: int, step: int) -> None:
    """Mark what lies a step along an axis from new zeros; what that would lead out of the array is at the border."""
    moved = list(inner)
    first, last = moved[axis].start + step, moved[axis].stop + step
    clipped = slice(max(0, first), min(beside.shape[axis], last))
    moved[axis] = clipped
    source: list[slice] = [slice(None)] * 3
    source[axis] = slice(clipped.start - first, clipped.stop - first)
    beside[tuple(moved)] |= new[tuple(source)]
