"""To a coarse grid and back: the numbers of torch's interpolation and of nnU-Net's own preprocessing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tumorgen.liver.grids import CoarseGrid, Samples, Window

WINDOW = Window(-250.0, 350.0, 40.0, 110.0)
SPACINGS = [(2.5, 0.75, 0.75), (5.0, 0.9, 0.9), (0.8, 1.5, 1.5), (4.0, 4.0, 4.0), (7.0, 5.0, 4.5)]


def scan(shape=(31, 52, 47), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1024, 1200, shape, dtype=np.int16)


@given(st.integers(1, 60), st.integers(1, 60))
def test_samples_are_those_of_torch(count, wanted):
    values = np.random.default_rng(count).normal(size=(1, 1, count)).astype(np.float32)
    expected = torch.nn.functional.interpolate(torch.from_numpy(values), wanted, mode="linear")[0, 0].numpy()
    found = Samples.between(count, wanted).along(values, 2)[0, 0]
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_network_sees_what_nnunet_would_show_it(spacing):
    from nnunetv2.preprocessing.normalization.default_normalization_schemes import CTNormalization
    from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
    from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

    hu = scan()
    properties = {"percentile_00_5": -250.0, "percentile_99_5": 350.0, "mean": 40.0, "std": 110.0}
    shape = compute_new_shape(hu.shape, spacing, (4.0, 4.0, 4.0))
    whole = CTNormalization(False, properties).run(hu[None].copy())
    expected = resample_torch_fornnunet(whole, shape, spacing, (4.0, 4.0, 4.0), force_separate_z=False)[0]
    grid = CoarseGrid.over(hu, spacing, (4.0, 4.0, 4.0))
    assert grid.coarse == tuple(shape)
    np.testing.assert_allclose(grid.take(hu, Window.of_plans(properties)), expected, atol=1e-4)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_answer_comes_back_as_nnunet_would_bring_it(spacing):
    hu = scan()
    grid = CoarseGrid.over(hu, spacing, (4.0, 4.0, 4.0))
    logits = np.random.default_rng(1).normal(size=(2, *grid.coarse)).astype(np.float32)
    whole = torch.nn.functional.interpolate(torch.from_numpy(logits)[None], hu.shape, mode="trilinear")[0].numpy()
    clear = np.abs(whole[1] - whole[0]) > 1e-5
    np.testing.assert_array_equal(grid.bring_back(logits[1] - logits[0])[clear], (whole[1] > whole[0])[clear])


def test_an_answer_in_one_corner_comes_back_there():
    hu = scan()
    grid = CoarseGrid.over(hu, (2.0, 1.0, 1.0), (4.0, 4.0, 4.0))
    lead = np.full(grid.coarse, -1.0, np.float32)
    lead[-1, -1, -1] = 3.0
    found = grid.bring_back(lead)
    whole = torch.nn.functional.interpolate(torch.from_numpy(lead)[None, None], hu.shape, mode="trilinear")[0, 0]
    np.testing.assert_array_equal(found, whole.numpy() > 0)
    assert found[-1, -1, -1]


def test_no_answer_is_none():
    grid = CoarseGrid.over(scan(), (2.0, 1.0, 1.0), (4.0, 4.0, 4.0))
    assert not grid.bring_back(np.full(grid.coarse, -1.0, np.float32)).any()


def test_what_is_zero_around_a_scan_is_cropped_as_nnunet_does():
    hu = np.zeros((20, 40, 44), np.int16)
    hu[3:17, 5:33, 8:40] = scan((14, 28, 32))
    grid = CoarseGrid.over(hu, (4.0, 2.0, 2.0), (4.0, 4.0, 4.0))
    assert grid.kept == (slice(3, 17), slice(5, 33), slice(8, 40))
    assert grid.take(hu, WINDOW).shape == grid.coarse == (14, 14, 16)
    found = grid.bring_back(np.ones(grid.coarse, np.float32))
    assert found[grid.kept].all()
    assert found.sum() == 14 * 28 * 32


def test_what_lies_between_slices_far_apart_is_in_none_of_them():
    """Slices of 12 mm see two of three planes of 4 mm, as they do in nnU-Net's own resampling."""
    grid = CoarseGrid.over(scan((9, 20, 20)), (12.0, 4.0, 4.0), (4.0, 4.0, 4.0))
    found = []
    for plane in range(grid.coarse[0]):
        lead = np.full(grid.coarse, -1.0, np.float32)
        lead[plane] = 100.0
        found.append(int(grid.bring_back(lead).any(axis=(1, 2)).sum()))
    assert set(found) == {0, 1}


@pytest.mark.parametrize("shape", [(1, 40, 40), (3, 2, 50)])
def test_a_scan_thinner_than_a_voxel_of_the_network_has_one(shape):
    grid = CoarseGrid.over(scan(shape), (1.0, 1.0, 1.0), (4.0, 4.0, 4.0))
    assert min(grid.coarse) == 1
    assert grid.take(scan(shape), WINDOW).shape == grid.coarse
    assert grid.bring_back(np.ones(grid.coarse, np.float32)).all()
