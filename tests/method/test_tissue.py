"""What a liver consists of: local mean of the parenchyma, and what is foreign in it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import ndimage

from tumorgen.method.tissue import Tissue, find_foreign, measure_background, smooth_hu, subtract_background

SPACING = (2.0, 1.0, 1.0)
SHAPE = (40, 80, 80)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 15, SHAPE).astype(np.float32)


def tube() -> np.ndarray:
    """A vessel of 3 mm radius along z."""
    y, x = np.ogrid[: SHAPE[1], : SHAPE[2]]
    return np.broadcast_to((y - 40) ** 2 + (x - 30) ** 2 <= 9, SHAPE)


@pytest.fixture(scope="module")
def taken() -> Tissue:
    hu = 100 + noise() + 60 * tube()
    return Tissue.of(hu, np.ones(SHAPE, bool), (100.0, 15.0), SPACING)


def test_a_vessel_is_foreign_and_parenchyma_is_not(taken):
    core = ndimage.binary_erosion(tube(), iterations=1)
    far = ~ndimage.binary_dilation(tube(), iterations=4)
    assert taken.foreign[core].mean() > 0.99
    assert taken.foreign[far].mean() < 0.002
    assert not (taken.foreign & taken.parenchyma).any()
    assert taken.parenchyma[far].mean() > 0.99


def test_voxels_may_lie_in_any_order_in_memory(taken):
    """Nibabel's arrays have z's neighbours, not x's, beside each other."""
    hu, liver = 100 + noise() + 60 * tube(), np.ones(SHAPE, bool)
    turned = Tissue.of(np.asfortranarray(hu), np.asfortranarray(liver), (100.0, 15.0), SPACING)
    assert_array_equal(turned.foreign, taken.foreign)
    assert_array_equal(turned.parenchyma, taken.parenchyma)


def test_what_is_smaller_than_60_mm3_is_no_piece():
    hu = np.full(SHAPE, 100.0, np.float32) + noise()
    hu[20:22, 40:43, 40:43] += 200  # 36 mm3, whatever the smoothing makes of it
    everywhere = np.ones(SHAPE, bool)
    background = measure_background(hu, everywhere, 100.0, SPACING)
    spot = find_foreign(smooth_hu(hu, 100.0, SPACING), background, everywhere, 2.0)
    assert find_foreign(smooth_hu(hu, 100.0, SPACING), background, everywhere, 0.1).sum() == 0
    assert spot[20:22, 40:43, 40:43].all()  # smoothing spreads it over more than 60 mm3


def test_the_background_follows_the_parenchyma_and_not_what_is_foreign():
    slope = np.broadcast_to(np.linspace(90, 110, SHAPE[2], dtype=np.float32), SHAPE)
    background = measure_background(slope + 100 * tube(), ~tube(), 100.0, SPACING)
    inner = (slice(10, 30), slice(20, 60), slice(20, 60))
    np.testing.assert_allclose(background.in_box(inner), slope[inner], atol=1.5)


def test_where_no_parenchyma_is_near_the_background_is_mu_p():
    nothing = np.zeros(SHAPE, bool)
    background = measure_background(noise(), nothing, 87.0, SPACING)
    assert (background.in_box((slice(0, 40), slice(0, 80), slice(0, 80))) == 87).all()


def test_a_box_of_the_background_is_cut_from_the_whole_and_goes_on_beyond_it():
    background = measure_background(noise(), np.ones(SHAPE, bool), 0.0, SPACING)
    whole = -subtract_background(np.zeros(SHAPE, np.float32), background)
    part = background.in_box((slice(5, 17), slice(-3, 30), slice(60, 85)))
    np.testing.assert_array_equal(part[:, 3:, :20], whole[5:17, :30, 60:])
    np.testing.assert_array_equal(part[:, :3], part[:, 3:4].repeat(3, axis=1))
