"""Components of masks, beside scipy's."""

import numpy as np
import pytest
from scipy import ndimage

from tumorgen.imaging import label_components, largest_component, without_specks


@pytest.fixture(params=[(seed, order) for seed in range(20) for order in "CF"])
def mask(request):
    """A mask of odd and even sizes, sparse or dense."""
    seed, order = request.param
    rng = np.random.default_rng(seed)
    return np.asarray(rng.random(rng.integers(1, 12, 3)) < rng.uniform(0.05, 0.5), order=order)


def by_scipy(mask):
    return ndimage.label(mask, structure=np.ones((3, 3, 3)))[0]


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3, 3), (3, 3, 3), (7, 1, 1), (5, 4, 9), (2, 2, 2), (0, 3, 3)])
def test_as_many_single_voxels_as_a_mask_can_hold_are_a_component_each(shape):
    mask = np.zeros(shape, bool)
    mask[::2, ::2, ::2] = True
    numbers = label_components(mask)
    assert numbers.shape == shape
    np.testing.assert_array_equal(numbers[mask], np.arange(1, mask.sum() + 1))
    assert not numbers[~mask].any()


def test_components_and_their_order_are_those_of_scipy(mask):
    np.testing.assert_array_equal(label_components(mask), by_scipy(mask))


def test_a_part_of_a_larger_mask_is_numbered_by_itself_and_left_as_it_was():
    whole = np.zeros((9, 9, 9), bool)
    whole[2, 2, 2:5:2] = True
    whole[8] = True
    before = whole.copy()
    assert label_components(whole[2:3, 2:3, 2:5]).tolist() == [[[1, 0, 2]]]
    np.testing.assert_array_equal(whole, before)


def test_the_largest_component_and_those_that_are_no_specks_are_scipys(mask):
    numbers = by_scipy(mask)
    voxels = np.bincount(numbers.ravel()) * (np.arange(numbers.max() + 1) > 0)
    largest = largest_component(mask)
    assert largest.sum() == voxels.max()
    assert len(set(numbers[largest])) == (1 if mask.any() else 0)
    for least in (1, 2, 5):
        np.testing.assert_array_equal(without_specks(mask, least), (voxels >= least)[numbers] & mask)


def test_single_voxels_can_be_the_largest_component_or_no_specks():
    mask = np.zeros((3, 3, 3), bool)
    mask[::2, ::2, ::2] = True
    assert largest_component(mask).sum() == 1
    np.testing.assert_array_equal(without_specks(mask, 1), mask)
    assert not without_specks(mask, 2).any()
