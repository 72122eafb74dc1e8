"""Texture (Eq. 3): mean mu_t, standard deviation sigma_p everywhere, and the grain that eta and sigma_b make."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import THICK, at, ball, flat_scan
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from tumorgen.method.body import clip_to_image, tumor_grid
from tumorgen.method.plan import Tumor
from tumorgen.method.shape import Grid, grid_around
from tumorgen.method.texture import texture_hu, upscaling

SPACINGS = [(1.0, 1.0, 1.0), THICK, (0.6, 0.7, 1.6)]


def grid_of(spacing: tuple[float, float, float], voxels: int = 18) -> Grid:
    half = tuple(voxels / 2 * s for s in spacing)
    return grid_around((40.0, 41.0, 42.0), tuple(-h for h in half), half, spacing)


def many(tumor: Tumor, grid: Grid, seeds: int) -> np.ndarray:
    """Textures (seed, z, y, x) of a row, in units of sigma_t about mu_t."""
    drawn = np.stack([texture_hu(replace(tumor, texture_seed=seed), grid) for seed in range(seeds)])
    return (drawn - tumor.mu_t_hu) / tumor.sigma_t_hu


@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
@pytest.mark.parametrize("eta", [1.0, 1.1, 1.5, 3.0])
def test_mean_and_standard_deviation_are_those_of_the_row_at_every_voxel(spacing, eta):
    drawn = many(ball(eta=eta, mu_t_hu=62.0, sigma_t_hu=17.0), grid_of(spacing), 400)
    # Over all voxels and seeds: DESIGN asks for sigma_p within 5 %; half of it is far outside the sampling error.
    assert drawn.mean() == pytest.approx(0.0, abs=0.02)
    assert drawn.std() == pytest.approx(1.0, rel=0.025)
    # At one voxel 400 seeds know the mean to 0.05 and the standard deviation to 3.5 %. Five of these errors over 7000
    # voxels; a box whose rim or whose nodes are more or less grainy would show.
    assert np.abs(drawn.mean(axis=0)).max() < 0.26
    assert np.abs(drawn.std(axis=0) - 1).max() < 0.18
    for axis in range(3):  # planes average the error out: the first and the last are no other than the middle
        others = tuple(i for i in range(4) if i != axis + 1)
        assert np.abs(np.sqrt((drawn**2).mean(axis=others)) - 1).max() < 0.05


@pytest.mark.parametrize(("eta", "sigma"), [(1.0, 0.0), (1.1, 0.6), (1.5, 0.12), (1.3, 0.75), (2.7, 3.0)])
def test_the_gain_of_every_voxel_is_one(eta, sigma):
    operator, _ = upscaling(range(-9, 14), eta, sigma)
    assert operator.shape[0] == 23
    matrix = operator.checked().toarray()
    # Exact in theory; float32 and the weights that are dropped as negligible leave 1e-5.
    np.testing.assert_allclose(np.sqrt((matrix.astype(np.float64) ** 2).sum(axis=1)), 1.0, atol=1e-5)


@given(st.floats(1, 3), st.floats(0, 2), st.integers(-40, 40), st.integers(1, 9))
def test_a_voxel_has_the_same_weights_whatever_others_are_asked_for(eta, sigma, start, size):
    all_of_them, nodes = upscaling(range(-45, 55), eta, sigma)
    few, used = upscaling(range(start, start + size), eta, sigma)
    there = all_of_them.checked().toarray()[start + 45 : start + 45 + size]
    np.testing.assert_array_equal(few.checked().toarray(), there[:, used[0] - nodes[0] : used[-1] + 1 - nodes[0]])
    assert np.count_nonzero(few.checked().toarray()) == np.count_nonzero(there)


def test_the_values_are_normal():
    drawn = many(ball(eta=1.4), grid_of((1.0, 1.0, 1.0)), 60)[:, ::4, ::4, ::4].ravel()
    # 7500 nearly independent numbers: skewness and excess kurtosis are known to 0.03 and 0.06.
    assert abs((drawn**3).mean()) < 0.15
    assert (drawn**4).mean() == pytest.approx(3.0, abs=0.3)


def correlation(drawn: np.ndarray, axis: int, lag: int) -> float:
    """Correlation of voxels `lag` apart along an axis, over many seeds (first axis)."""
    n = drawn.shape[axis + 1]
    near, far = (np.take(drawn, np.arange(a, b), axis=axis + 1) for a, b in ((0, n - lag), (lag, n)))
    return float((near * far).mean() / (drawn**2).mean())


def literal(eta: float, spacing: tuple[float, float, float], seeds: int, voxels: int = 24) -> np.ndarray:
    """Equation 3 word for word: noise, cubic zoom, Gaussian of 0.6 mm; the rim, where scipy mirrors, is cut off."""
    drawn = []
    for seed in range(seeds):
        nodes = 1 + round((voxels + 11) / eta)
        noise = np.random.default_rng(seed).standard_normal((nodes,) * 3)
        size = round((nodes - 1) * eta) + 1
        scaled = ndimage.zoom(noise, size / nodes, order=3, mode="mirror")
        drawn.append(ndimage.gaussian_filter(scaled, [0.6 / s for s in spacing])[6:-6, 6:-6, 6:-6][:20, :20, :20])
    return np.stack(drawn)


@pytest.mark.parametrize("eta", [1.1, 1.3, 1.5])
@pytest.mark.parametrize("sigma", [0.12, 0.6, 0.75])
def test_the_filter_is_the_literal_one_but_for_its_gain(eta, sigma):
    # Zoom and blur are linear, so one row of unit impulses gives scipy's own filter of an axis, and no sampling error.
    nodes = 61  # 60 eta is a whole number, so that the zoom's factor is exactly eta
    size = round(60 * eta) + 1
    scaled = [ndimage.zoom(impulse, size / nodes, order=3, mode="mirror") for impulse in np.eye(nodes)]
    exact = ndimage.gaussian_filter1d(np.array(scaled), sigma, axis=1).T
    operator, _ = upscaling(range(18), eta, sigma)
    ours = operator.checked().toarray().astype(np.float64)
    first = round(20 * eta)  # where a node lies on a voxel, as on ours, far from the rim
    exact = exact[first : first + 18] / np.linalg.norm(exact[first : first + 18], axis=1, keepdims=True)
    # Weights below 5e-4 are dropped, beyond 4 sigma too.
    np.testing.assert_allclose(ours @ ours.T, exact @ exact.T, atol=1e-3)


@pytest.mark.parametrize("eta", [1.1, 1.3, 1.5])
def test_the_grain_is_that_of_the_literal_filters(eta):
    spacing = (1.0, 1.0, 1.0)
    ours = many(ball(eta=eta), grid_of(spacing), 30)
    reference = literal(eta, spacing, 30)
    for axis in range(3):
        for lag in (1, 2, 3):
            # Sampling error 0.003; more for scipy's zoom, whose factor is a ratio of whole numbers.
            assert correlation(ours, axis, lag) == pytest.approx(correlation(reference, axis, lag), abs=0.03)


@pytest.mark.parametrize("spacing", SPACINGS[:2], ids=["1 mm", "5 mm slices"])
def test_the_grain_coarsens_with_eta(spacing):
    etas = (1.0, 1.1, 1.3, 1.5, 2.0)
    for axis in range(3):
        found = [correlation(many(ball(eta=eta), grid_of(spacing), 20), axis, 1) for eta in etas]
        assert (np.diff(found) > 0.01).all(), found  # four sampling errors


def test_blur_is_in_mm():
    one = correlation(many(ball(), grid_of((1.0, 1.0, 1.0)), 20), 0, 1)
    half = correlation(many(ball(), grid_of((0.5, 1.0, 1.0)), 20), 0, 1)
    twice = correlation(many(ball(sigma_b_mm=1.2), grid_of((1.0, 1.0, 1.0)), 20), 0, 1)
    assert half == pytest.approx(twice, abs=0.02)  # 0.6 mm on 0.5 mm voxels is 1.2 mm on 1 mm voxels
    assert one < half - 0.1


def test_without_blur_and_coarsening_it_is_white_noise():
    drawn = many(ball(eta=1.0, sigma_b_mm=0.0), grid_of((1.0, 1.0, 1.0)), 20)
    assert all(abs(correlation(drawn, axis, 1)) < 0.015 for axis in range(3))  # five sampling errors


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), THICK])
def test_a_texture_is_that_of_its_seed_and_nothing_else(spacing):
    tumor, grid = ball(eta=1.37), grid_of(spacing)
    first = texture_hu(tumor, grid)
    assert first.shape == grid.shape
    np.testing.assert_array_equal(first, texture_hu(tumor, grid))
    np.testing.assert_array_equal(first, texture_hu(replace(tumor, shape_seed=77), grid))
    assert not np.array_equal(first, texture_hu(replace(tumor, texture_seed=3), grid))
    np.random.seed(5)  # noqa: NPY002 - the global state must play no part
    np.testing.assert_array_equal(first, texture_hu(tumor, grid))


def test_darker_and_noisier_rows_keep_their_pattern():
    grid = grid_of((1.0, 1.0, 1.0))
    first = texture_hu(ball(mu_t_hu=50.0, sigma_t_hu=10.0), grid)
    other = texture_hu(ball(mu_t_hu=-20.0, sigma_t_hu=30.0), grid)
    np.testing.assert_allclose((other + 20) / 30, (first - 50) / 10, atol=1e-5)  # float32


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), THICK], ids=["1 mm", "5 mm slices"])
def test_texture_does_not_depend_on_where_the_scan_ends(spacing):
    tumor = ball(8.0, half_axes=(6.1, 7.3, 9.2), sigma_e_mm=1.0, sigma_c_mm=0.8)
    shape = tuple(int(60 / s) for s in spacing)
    scan = flat_scan(shape, spacing)
    middle, corner = at(scan, tumor), at(scan, tumor, (1, 2, 0))
    textures, windows = [], []
    for placed in (middle, corner):
        grid = tumor_grid(placed, scan.geometry)
        textures.append(texture_hu(placed, grid))
        windows.append(clip_to_image(grid, scan.geometry.shape)[1])
    assert textures[0][windows[1]].size < textures[0][windows[0]].size  # the corner cuts the second one off
    np.testing.assert_array_equal(textures[0], textures[1])
