"""Boxes of voxels: what they share, hold and cover is what masks of the whole image say."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tumorgen.imaging.boxes import bounding_box, grow, overlap, paste, shape_of


def test_boxes():
    mask = np.zeros((6, 7, 8), bool)
    mask[2:4, 1:6, 3] = True
    box = bounding_box(mask)
    assert box == (slice(2, 4), slice(1, 6), slice(3, 4))
    assert shape_of(box) == (2, 5, 1)
    assert grow(box, (3, 1, 2), mask.shape) == (slice(0, 6), slice(0, 7), slice(1, 6))


BOXES = st.tuples(*[st.tuples(st.integers(0, 7), st.integers(1, 5)).map(lambda p: slice(p[0], p[0] + p[1]))] * 3)


@given(BOXES, BOXES)
def test_overlap_and_paste_are_those_of_the_image(first, second):
    one, other = np.zeros((12, 12, 12), bool), np.zeros((12, 12, 12), int)
    one[first] = True
    other[second] = np.arange(np.prod(shape_of(second))).reshape(shape_of(second)) + 1
    shared = one & (other > 0)
    windows = overlap(first, second)
    assert (windows is not None) == shared.any()
    if windows:
        assert shape_of(windows[0]) == shape_of(windows[1])
    target = np.zeros(shape_of(first), int)
    paste(target, first, other[second], second)
    np.testing.assert_array_equal(target, np.where(shared, other, 0)[first])
