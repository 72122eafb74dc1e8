"""Resampling: what nnU-Net's own functions make of an image and a label map, for any box of the result."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import ndimage

from tumorgen.imaging import Box, whole_box
from tumorgen.preprocessing.resampling import (
    UNCHANGED,
    Resampling,
    cubic_weights,
    find_ranges,
    reached_labels,
    resample_labels,
)

# Old shape, new shape, and the axis along which slices are taken as they are.
GRIDS = {
    "finer": ((14, 30, 34), (23, 41, 45), None),
    "coarser": ((24, 40, 34), (17, 31, 20), None),
    "in plane alone": ((14, 30, 34), (14, 41, 45), None),
    "twice as fine, where labels tie": ((12, 20, 22), (24, 40, 44), None),
    "half as fine": ((24, 20, 22), (12, 10, 11), None),
    "thick slices": ((9, 30, 34), (23, 41, 45), 0),
    "thick slices, few wanted": ((12, 30, 34), (5, 20, 17), 0),
    "thick slices, another axis": ((30, 34, 9), (41, 45, 23), 2),
    "thick slices, as they are in plane": ((9, 30, 34), (23, 30, 34), 0),
    "as it is": ((9, 30, 34), (9, 30, 34), None),
    "more than is worked out at once": ((20, 70, 80), (30, 130, 150), None),
    "more than is worked out at once, thick slices": ((20, 70, 80), (70, 130, 150), 0),
}
CLIP = -1, 1.5
FLOAT32 = 1e-6  # sd; nnU-Net sums in another order, which changes the last bit of a float32


def noise(shape: tuple[int, ...]) -> np.ndarray:
    """Texture with some of it clipped, as CT normalisation does: the spline overshoots there and is clipped again."""
    return np.clip(ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(shape), 0.6) * 2, *CLIP).astype(
        np.float32
    )


def labels(shape: tuple[int, ...], smooth: float) -> np.ndarray:
    """-1, 0, 1, 2 in patches; where smooth is 0, in every voxel anew, so that four and more meet everywhere."""
    field = ndimage.gaussian_filter(np.random.default_rng(1).random(shape), smooth)
    return np.digitize(field, np.quantile(field, [0.25, 0.5, 0.75])).astype(np.int8) - 1


@pytest.fixture(params=list(GRIDS), scope="module")
def grid(request):
    return Resampling(*GRIDS[request.param])


def by_nnunet(grid: Resampling, values: np.ndarray, order: int) -> np.ndarray:
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg

    separate = grid.apart is not None
    return resample_data_or_seg(values[None], grid.new, order == 1, grid.apart, order, separate, order_z=0)[0]


def test_an_image_is_resampled_as_nnunet_does_it(grid):
    image = noise(grid.old)
    ours = grid.resample(image, find_ranges(image, grid.apart))
    theirs = by_nnunet(grid, image, 3)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("smooth", [0, 1.0])
def test_labels_are_resampled_voxel_for_voxel_as_nnunet_does_it(grid, smooth):
    label = labels(grid.old, smooth)
    assert (resample_labels(grid, label, whole_box(grid.new)) == by_nnunet(grid, label.astype(np.float32), 1)).all()


def boxes(shape: tuple[int, ...], count: int) -> Iterator[Box]:
    rng = np.random.default_rng(2)
    for _ in range(count):
        start = [int(rng.integers(0, n)) for n in shape]
        z, y, x = (slice(a, int(rng.integers(a, n)) + 1) for a, n in zip(start, shape, strict=True))
        yield z, y, x


def test_a_box_of_labels_is_what_the_whole_is_there(grid):
    label = labels(grid.old, 0)
    everything = resample_labels(grid, label, whole_box(grid.new))
    for box in boxes(grid.new, 5):
        assert (resample_labels(grid, label, box) == everything[box]).all()


def test_a_changed_image_is_the_resampled_one_and_what_the_change_adds(grid):
    """Everywhere: what is left out where the change does not reach is nothing to speak of."""
    image = noise(grid.old)
    ranges = find_ranges(image, grid.apart)
    for box in boxes(grid.old, 3):
        changed = image.copy()
        changed[box] = np.clip(-image[box], *CLIP)
        changed[ranges_kept(image, grid)] = image[ranges_kept(image, grid)]
        where, added = grid.spread((changed - image)[box].astype(float), box)
        result = grid.resample(image)
        result[where] += added
        np.testing.assert_allclose(grid.clip(result, ranges), by_nnunet(grid, changed, 3), rtol=0, atol=FLOAT32)


def ranges_kept(image: np.ndarray, grid: Resampling) -> np.ndarray:
    """The voxels that hold the limits which nnU-Net clips to: of the image, or of each of its slices."""
    axes = tuple(axis for axis in range(3) if axis != grid.apart)
    return (image == image.min(axis=axes, keepdims=True)) | (image == image.max(axis=axes, keepdims=True))


def test_what_a_changed_box_does_not_reach_is_as_it_was(grid):
    image, label = noise(grid.old), labels(grid.old, 0)
    z, y, x = (slice(n // 3, n // 3 + 4) for n in grid.old)
    changed, relabelled = image.copy(), label.copy()
    changed[z, y, x], relabelled[z, y, x] = np.clip(-image[z, y, x], *CLIP), 2
    outside = np.ones(grid.new, bool)
    outside[grid.spread((changed - image)[z, y, x].astype(float), (z, y, x))[0]] = False
    difference = np.abs(by_nnunet(grid, changed, 3) - by_nnunet(grid, image, 3))
    assert difference[outside].max(initial=0) <= UNCHANGED + np.finfo(np.float32).eps * 2  # and the last bit of each
    outside = np.ones(grid.new, bool)
    outside[reached_labels(grid, (z, y, x))] = False
    same = by_nnunet(grid, relabelled.astype(np.float32), 1) == by_nnunet(grid, label.astype(np.float32), 1)
    assert same[outside].all()


def test_the_weights_of_a_voxel_add_up_to_one_and_fall_off():
    weights = cubic_weights(40, 61)
    assert weights is not None
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-12)
    middle = np.abs(weights[30])
    assert middle[:5].max() < 1e-6 < 0.3 < middle.max()


def test_a_box_that_no_new_slice_is_taken_from_changes_nothing():
    grid = Resampling((12, 30, 34), (5, 20, 17), 0)
    untaken = next(z for z in range(12) if z not in grid.slices)
    box = slice(untaken, untaken + 1), slice(3, 9), slice(3, 9)
    assert grid.spread(np.ones((1, 6, 6)), box)[0][0] == slice(0, 0)
    assert reached_labels(grid, box)[0] == slice(0, 0)
