"""The mass effect by itself: the box it moves, where voxels are read from, what counts as noise."""

from __future__ import annotations

import numpy as np
import pytest
from examples import at, ball, distance_mm, flat_scan, offsets_mm

from tumorgen.method.mass_effect import Pull, noise_of, pull_factor, squared_slope

SPACING = (1.6, 0.8, 1.1)


@pytest.mark.parametrize("center", [(15.0, 22.0, 20.0), (14.7, 21.6, 20.2), (0.0, 43.0, 38.9)], ids=str)
def test_voxels_within_gamma_max_are_read_from_where_equation_5_says(center):
    scan = flat_scan((30, 44, 40), SPACING)
    tumor = at(scan, ball(7.0, mass_effect_percent=40.0), center)
    pull = Pull.of(tumor, scan.geometry)
    whole = np.zeros(scan.geometry.shape, bool)
    whole[pull.box] = pull.moving
    gamma = distance_mm(scan, tumor)
    clear = np.abs(gamma - tumor.gamma_max_mm) > 1e-4  # float32
    np.testing.assert_array_equal(whole[clear], (gamma < tumor.gamma_max_mm)[clear])
    factor = pull_factor(gamma[whole] ** 2, tumor.gamma_max_mm, 40.0)
    for axis, offsets in enumerate(offsets_mm(scan, tumor)):
        expected = center[axis] + offsets[whole] * factor / SPACING[axis] - pull.box[axis].start
        np.testing.assert_allclose(pull.source[axis], expected, atol=2e-4)  # mm are rounded in a row, indices float32


@pytest.mark.parametrize("without", ["mass_effect_percent", "gamma_max_mm"])
def test_without_it_nothing_moves(without):
    scan = flat_scan((30, 44, 40), SPACING)
    pull = Pull.of(at(scan, ball(7.0, **{"mass_effect_percent": 40.0, without: 0.0})), scan.geometry)
    assert not pull.moving.any()
    assert pull.source.shape == (3, 0)


@pytest.mark.parametrize("shape", [(6, 7, 8), (1, 7, 8), (2, 2, 2), (1, 1, 1)])
def test_squared_slope_is_numpys_gradient(shape):
    values = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    along = [np.gradient(values, axis=axis) for axis in range(3) if shape[axis] > 1]
    np.testing.assert_allclose(squared_slope(values), np.sum(np.square(along), axis=0), rtol=1e-5, atol=1e-6)


def test_white_noise_is_noise_and_a_step_is_not():
    hu = np.random.default_rng(0).normal(100, 10, (24, 24, 24)).astype(np.float32)
    noise = noise_of(hu, 10.0)
    assert noise.std() > 9.0
    hu[:, :, 12:] += 400
    step = noise_of(hu, 10.0)
    assert np.abs(step[:, :, 11:13]).max() < 1.0
    np.testing.assert_array_equal(step[:, :, :6], noise[:, :, :6])


def test_no_noise_where_there_is_none():
    assert not noise_of(np.full((5, 5, 5), 70, np.float32), 0.0).any()
