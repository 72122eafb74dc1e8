"""One liver of what a network finds: the largest piece, its holes, and what hangs on by a neck; on boxes and balls."""

import numpy as np
import pytest
from scipy import ndimage

from tumorgen.imaging import largest_component
from tumorgen.liver.cleaning import NECK_MM, clean_mask, cut_necks, fill_holes

SHAPE = (24, 40, 40)
SPACING = (5.0, 5.0, 5.0)
WHOLE = (slice(4, 20), slice(10, 30), slice(10, 30))  # 16 x 20 x 20
FINE = (2.5, 1.0, 1.0)


def box(place=WHOLE) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[place] = True
    return mask


def balls(*, neck_mm: float, part_mm: float = 15.0, spacing=FINE) -> tuple[np.ndarray, np.ndarray]:
    """A ball of 30 mm with a smaller one beside it, joined by a rod of a radius; and the smaller one's voxels."""
    shape = [round(mm / s) for mm, s in zip((80, 80, 140), spacing, strict=True)]
    z, y, x = (np.arange(n) * s for n, s in zip(shape, spacing, strict=True))
    away = np.hypot((z - 40)[:, None, None], (y - 40)[None, :, None])
    liver = np.hypot(away, x - 40) < 30
    part = np.hypot(away, x - 80 - part_mm) < part_mm
    rod = (away < neck_mm) & (x > 40) & (x < 80 + part_mm)
    return liver | part | rod, part


def test_the_largest_piece_stays():
    found = box()
    found[:3, :3, :3] = True
    np.testing.assert_array_equal(largest_component(found), box())


def test_pieces_that_touch_at_a_corner_are_one():
    found = np.zeros((4, 4, 4), bool)
    found[:2, :2, :2] = found[2:, 2:, 2:] = True
    assert largest_component(found).sum() == 16


def test_as_many_stray_voxels_as_a_scan_can_hold_are_cleaned_to_one():
    found = np.zeros((3, 3, 3), bool)
    found[::2, ::2, ::2] = True
    assert clean_mask(found, SPACING).mask.sum() == 1


def test_a_cavity_is_filled():
    found = box()
    found[10:12, 15:18, 15:18] = False
    np.testing.assert_array_equal(fill_holes(found), box())


def test_a_vessel_that_leaves_the_liver_is_not_filled():
    found = box()
    found[10:, 15:18, 15:18] = False  # in every slice a hole, in space a channel to the top
    np.testing.assert_array_equal(fill_holes(found), found)


def test_a_hole_that_opens_at_the_arrays_edge_is_none():
    found = np.ones((5, 6, 7), bool)
    found[0, 3, 3] = False
    np.testing.assert_array_equal(fill_holes(found), found)


@pytest.mark.parametrize("seed", range(5))
def test_holes_are_those_of_scipy(seed):
    mask = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(20, 25, 30)), 2) > -0.02
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


def test_clean_drops_and_says_how_much():
    found = box()
    found[10:12, 15:18, 15:18] = False
    found[0, :8, :8] = True
    cleaned = clean_mask(found, SPACING)
    np.testing.assert_array_equal(cleaned.mask, box())
    assert cleaned.dropped == pytest.approx(64 / (16 * 20 * 20 - 18))
    assert cleaned.cut_ml == 0


def test_clean_of_nothing_is_nothing():
    cleaned = clean_mask(np.zeros(SHAPE, bool), SPACING)
    assert not cleaned.mask.any()
    assert (cleaned.dropped, cleaned.cut_ml) == (0, 0)


def test_clean_leaves_what_it_is_given():
    found = box()
    found[0, 0, 0] = True
    clean_mask(found, SPACING)
    assert found[0, 0, 0]


@pytest.mark.parametrize("spacing", [FINE, (1.0, 1.0, 1.0), (5.0, 0.8, 0.8)])
def test_what_hangs_on_by_a_thin_neck_is_cut_off(spacing):
    found, part = balls(neck_mm=NECK_MM - 1.5, spacing=spacing)
    cleaned = clean_mask(found, spacing)
    assert not (cleaned.mask & part).any()
    lost = found & ~cleaned.mask
    assert cleaned.cut_ml == pytest.approx(lost.sum() * np.prod(spacing) / 1000)
    assert lost[..., : round(68 / spacing[2])].sum() == 0  # the liver itself, up to where the neck leaves it


def test_what_a_wide_neck_joins_stays():
    found, _ = balls(neck_mm=NECK_MM + 2)
    np.testing.assert_array_equal(cut_necks(found, FINE), found)


def test_a_thin_tip_is_no_part_that_hangs_on():
    found, _ = balls(neck_mm=NECK_MM - 1.5, part_mm=NECK_MM - 1.5)
    np.testing.assert_array_equal(cut_necks(found, FINE), found)


def test_a_liver_that_the_scan_cuts_is_not_thought_thin_there():
    """Beside the scan's edge no background begins: half of a rod of 7 mm still has room for the ball."""
    found, _ = balls(neck_mm=NECK_MM + 2)
    cut = np.ascontiguousarray(found[16:])  # through the middle of both balls and of what joins them
    np.testing.assert_array_equal(cut_necks(cut, FINE), cut)


@pytest.mark.parametrize("shell_mm", [3.0, 6.0, 9.0])
def test_a_shell_around_a_tumour_that_was_left_out_is_no_neck(shell_mm):
    """Two lobes that only the rim of a large enclosed tumour joins are one liver."""
    z, y, x = (np.arange(n) * s for n, s in zip((48, 120, 210), FINE, strict=True))
    squares = (((z - 60) / 50) ** 2)[:, None, None] + (((y - 60) / 50) ** 2)[None, :, None]
    whole = squares + ((x - 105) / 95) ** 2 < 1
    tumor = np.hypot(np.hypot((z - 60)[:, None, None], (y - 60)[None, :, None]), x - 105) < 50 - shell_mm
    np.testing.assert_array_equal(clean_mask(whole & ~tumor, FINE).mask, whole)
