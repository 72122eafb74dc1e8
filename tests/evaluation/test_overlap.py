"""Dice and surface distance: closed forms, and other people's libraries on random masks."""

from __future__ import annotations

import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from surface_distance import metrics as deepmind

from tumorgen.errors import TumorgenError
from tumorgen.evaluation.overlap import dsc, nsd

EMPTY = np.zeros((4, 5, 6), bool)
SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8), (0.7, 1.3, 2.9)]

masks = arrays(bool, (4, 5, 3))
spacings = st.tuples(*[st.sampled_from((0.5, 0.8, 1.0, 2.5, 5.0))] * 3)


def box(start: tuple[int, int, int], size: tuple[int, int, int], shape=(40, 40, 40)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = True
    return mask


def ball(
    radius_mm: float, spacing_mm: tuple[float, float, float], shift_mm=(0.0, 0.0, 0.0), size_mm=60.0
) -> np.ndarray:
    axes = [
        (np.arange(round(size_mm / s)) - round(size_mm / s) / 2 + 0.5) * s - d
        for s, d in zip(spacing_mm, shift_mm, strict=True)
    ]
    return sum(np.square(axis) for axis in np.meshgrid(*axes, indexing="ij")) <= radius_mm**2


def random_pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two blobs that agree in part, cut by the edge of the image here and there."""
    first = ndimage.gaussian_filter(rng.standard_normal((13, 16, 18)), 1.5)
    second = first + rng.uniform(0, 1) * ndimage.gaussian_filter(rng.standard_normal(first.shape), 1.5)
    return first > 0.05, second > 0.05


# closed forms


@pytest.mark.parametrize("shift", [0, 1, 4, 10, 15])
def test_dice_of_shifted_boxes(shift):
    first, second = box((5, 5, 5), (10, 6, 8)), box((5 + shift, 5, 5), (10, 6, 8))
    assert dsc(first, second) == max(0, 10 - shift) / 10


@pytest.mark.parametrize("shift_mm", [0.0, 5.0, 12.0, 30.0])
def test_dice_of_two_balls(shift_mm):
    """Two balls of radius r, d apart: the lens is pi (4 r + d) (2 r - d)^2 / 12."""
    spacing, radius = (0.5, 0.4, 0.4), 12.0
    first, second = (ball(radius, spacing, (0, sign * shift_mm / 2, 0)) for sign in (-1, 1))
    lens = math.pi * (4 * radius + shift_mm) * max(0, 2 * radius - shift_mm) ** 2 / 12
    expected = lens / (4 / 3 * math.pi * radius**3)
    assert dsc(first, second) == pytest.approx(expected, abs=0.005)  # a voxel is 4 % of the radius, and errs both ways


@pytest.mark.parametrize("spacing_mm", SPACINGS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shifted_slab_is_within_the_tolerance_if_the_shift_is(spacing_mm, axis):
    """A slab across the whole image, shifted along its thickness: every point of its faces moves by the shift."""
    size, start = [40, 40, 40], [0, 0, 0]
    size[axis], start[axis] = 6, 10
    first, shift_mm = box(tuple(start), tuple(size)), 3 * spacing_mm[axis]
    second = np.roll(first, 3, axis)
    # the rim of the slab, where it is cut by the image, is shared but for 3 voxels at either end
    assert nsd(first, second, spacing_mm, shift_mm) == 1.0
    assert nsd(first, second, spacing_mm, shift_mm * 0.99) < 0.9


def test_surface_distance_of_concentric_balls_is_a_step_at_the_difference_of_radii():
    spacing = (0.8, 0.8, 0.8)
    large, small = ball(20.0, spacing), ball(17.0, spacing)
    diagonal = math.sqrt(3) * 0.8  # no surface of voxels is nearer to the ball's than that
    assert nsd(large, small, spacing, 3.0 + diagonal) == 1.0
    assert nsd(large, small, spacing, 3.0 - diagonal) == 0.0


def test_surface_distance_of_two_far_voxels():
    """Two voxels 3 apart along x, in voxels of 1, 1 and 2 mm: corners of the one lie 4 mm or more from the other's."""
    first, second = box((10, 10, 10), (1, 1, 1)), box((10, 10, 13), (1, 1, 1))
    spacing = (1.0, 1.0, 2.0)
    assert nsd(first, second, spacing, 3.9) == 0.0
    assert nsd(first, second, spacing, 4.0) == 0.5  # the near halves
    assert nsd(first, second, spacing, 6.0) == 1.0


def test_what_lies_at_the_tolerance_is_within_it_whatever_the_header_rounds():
    """A header's 0.8 mm is 0.800000011920929 as float32."""
    first, second = box((10, 10, 10), (8, 8, 8)), box((10, 10, 13), (8, 8, 8))
    for step in (0.8, float(np.float32(0.8))):
        assert nsd(first, second, (5.0, 0.8, step), 2.4) == 1.0


def test_surface_area_is_that_of_the_ball_in_any_voxels():
    """Half of a ball's surface is off by more than the tolerance where a cap of that half is cut away."""
    for spacing in SPACINGS[:2]:
        whole = ball(20.0, spacing)
        half = whole.copy()
        half[half.shape[0] // 2 :] = False
        # near: the half sphere twice, and the ring of the disc and of the other half within 2 mm of the circle
        sphere, disc = 4 * math.pi * 20**2, math.pi * 20**2
        ring = disc - math.pi * (20 - 2) ** 2
        expected = (sphere + ring + 2 * math.pi * 20 * 2) / (sphere + sphere / 2 + disc)
        assert nsd(whole, half, spacing, 2.0) == pytest.approx(expected, abs=0.05)  # half a voxel of 5 mm at the circle


# empty masks: the stated rule


@pytest.mark.parametrize("metric", [dsc, lambda a, b: nsd(a, b, (1, 1, 1))], ids=["dsc", "nsd"])
def test_rule_for_empty_masks(metric):
    some = box((1, 1, 1), (2, 2, 2), EMPTY.shape)
    assert math.isnan(metric(EMPTY, EMPTY))
    assert metric(EMPTY, some) == metric(some, EMPTY) == 0.0


@pytest.mark.parametrize("tolerance_mm", [-1.0, math.nan, math.inf])
def test_a_tolerance_is_a_length(tolerance_mm):
    with pytest.raises(TumorgenError, match="is not a distance"):
        nsd(EMPTY, EMPTY, (1, 1, 1), tolerance_mm)


# properties


@settings(max_examples=60)
@given(masks, masks, spacings, st.floats(0, 6))
def test_both_are_symmetric_and_between_nought_and_one(first, second, spacing_mm, tolerance_mm):
    for there, back in (
        (dsc(first, second), dsc(second, first)),
        (nsd(first, second, spacing_mm, tolerance_mm), nsd(second, first, spacing_mm, tolerance_mm)),
    ):
        assert there == pytest.approx(back, nan_ok=True)
        assert math.isnan(there) or 0 <= there <= 1


@settings(max_examples=30)
@given(masks.filter(np.any), spacings)
def test_a_mask_agrees_with_itself(mask, spacing_mm):
    assert dsc(mask, mask) == nsd(mask, mask, spacing_mm, 0.0) == 1.0


@settings(max_examples=30)
@given(masks, masks, spacings, st.tuples(*[st.integers(0, 3)] * 3))
def test_moving_both_changes_nothing(first, second, spacing_mm, by):
    """Whether they touch the edge of the image or not."""
    moved = [np.pad(mask, [(n, 3 - n) for n in by]) for mask in (first, second)]
    assert dsc(*moved) == pytest.approx(dsc(first, second), nan_ok=True)
    assert nsd(*moved, spacing_mm) == pytest.approx(nsd(first, second, spacing_mm), nan_ok=True)


@settings(max_examples=30)
@given(masks, masks, spacings, st.permutations(range(3)))
def test_turning_the_axes_changes_nothing(first, second, spacing_mm, axes):
    turned = [np.transpose(mask, axes) for mask in (first, second)]
    there = nsd(*turned, tuple(spacing_mm[axis] for axis in axes))
    assert there == pytest.approx(nsd(first, second, spacing_mm), nan_ok=True)


# other libraries


def test_dice_is_that_of_simpleitk():
    rng = np.random.default_rng(1)
    for _ in range(20):
        first, second = random_pair(rng)
        measures = sitk.LabelOverlapMeasuresImageFilter()
        measures.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (first, second)))
        assert dsc(first, second) == pytest.approx(measures.GetDiceCoefficient(), rel=1e-12)


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # the library's way to scipy's filters
def test_surface_distance_is_that_of_the_library_that_defines_it():
    """Its own distances: two distance transforms, and a sort; any spacing, any tolerance."""
    rng = np.random.default_rng(2)
    for _ in range(40):
        first, second = random_pair(rng)
        spacing, tolerance = tuple(rng.uniform(0.5, 5, 3)), rng.uniform(0, 4)
        distances = deepmind.compute_surface_distances(first, second, spacing)
        expected = deepmind.compute_surface_dice_at_tolerance(distances, tolerance)
        assert nsd(first, second, spacing, tolerance) == pytest.approx(expected, abs=1e-12)
