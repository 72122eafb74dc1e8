"""Lesions of a label map: which components count, their boxes, areas and radii."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tumorgen.realism.lesions import LEAST_RADIUS_MM, find_lesions


def ball(shape: tuple[int, int, int], center: tuple[int, int, int], radius_mm: float, spacing_mm=(1.0, 1.0, 1.0)):
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    offsets = [(axis - c) * s for axis, c, s in zip(grid, center, spacing_mm, strict=True)]
    return sum(o**2 for o in offsets) <= radius_mm**2


def test_two_balls_are_two_lesions_with_their_boxes_centres_and_radii():
    labels = np.ones((30, 60, 60), np.uint8)
    labels[ball(labels.shape, (10, 20, 20), 6)] = 2
    labels[ball(labels.shape, (20, 45, 40), 4)] = 2
    first, second = find_lesions(labels, (1.0, 1.0, 1.0)).lesions
    assert (first.number, second.number) == (1, 2)
    assert first.center == (10, 20, 20)
    assert first.box == (slice(4, 17), slice(14, 27), slice(14, 27))
    assert first.radius_mm == pytest.approx(6, abs=0.1)  # a disc of voxels has its circle's area to a few per cent
    assert second.radius_mm == pytest.approx(4, abs=0.1)
    assert first.mask.shape == (13, 13, 13)
    assert first.voxels + second.voxels == np.count_nonzero(labels == 2)


def test_radius_is_that_of_the_largest_area_in_mm_whatever_the_slices():
    labels = np.ones((9, 80, 80), np.uint8)
    labels[ball(labels.shape, (4, 40, 40), 10, (5.0, 0.8, 0.8))] = 2
    (lesion,) = find_lesions(labels, (5.0, 0.8, 0.8)).lesions
    assert lesion.radius_mm == pytest.approx(10, abs=0.1)
    assert lesion.main_slices.tolist() == [3, 4, 5]  # 3/4 of the area 5 mm from the middle; at 10 mm a single voxel


def test_voxels_that_touch_by_a_corner_are_one_lesion():
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[1:5, 1:5, 1:5] = labels[5:9, 5:9, 5:9] = 2
    assert len(find_lesions(labels, (1.0, 1.0, 1.0)).lesions) == 1


def test_what_is_too_small_is_counted_and_left_out():
    labels = np.zeros((20, 40, 40), np.uint8)
    labels[2, 2:6, 2:6] = 2  # 16 voxels
    labels[2:12, 10:13, 10:13] = 2  # 90 voxels, but of 9 mm2: a radius of 1.7 mm
    labels[2:12, 20:30, 20:30] = 2
    found = find_lesions(labels, (1.0, 1.0, 1.0))
    assert math.sqrt(9 / math.pi) < LEAST_RADIUS_MM
    assert [lesion.number for lesion in found.lesions] == [3]
    assert found.too_small == 2


def test_a_few_stray_voxels_alone_are_no_lesions():
    labels = np.ones((4, 5, 9), np.uint8)
    labels[2, 2, 2:7:2] = 2
    found = find_lesions(labels, (1.0, 1.0, 1.0))
    assert (found.lesions, found.too_small) == ((), 3)


def test_a_scan_without_tumour_has_no_lesions():
    found = find_lesions(np.ones((4, 5, 6), np.uint8), (1.0, 1.0, 1.0))
    assert (found.lesions, found.too_small) == ((), 0)
