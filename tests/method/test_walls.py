"""Walls: a tumour at the liver's edge pushes what is soft, and neither ribs nor what is on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import THICK, at, ball, distance_mm, offsets_mm, plan_of, scan_of
from plain_renderer import render_plainly

from tumorgen.method.mass_effect import Pull
from tumorgen.method.rendering import render
from tumorgen.method.scan import Scan
from tumorgen.method.walls import freedom_beside_bone

SPACINGS = {"isotropic": (1.0, 1.0, 1.0), "5 mm slices": THICK}
# It pushes up to 2 mm, and reaches 28 mm.
PUSHER = ball(12.0, gamma_max_mm=28.0, mass_effect_percent=60.0, bone_hu=180.0)


def chest(spacing, *, rib_hu: float = 600.0, dtype: str = "int16") -> Scan:
    """A liver that ends 16 mm from the middle in muscle, with a rib along z from 20 mm on, 10 mm wide."""
    shape = tuple(int(80 / s) // 2 * 2 + 1 for s in spacing)
    hu = np.random.default_rng(1).normal(100.0, 10.0, shape)
    scan = scan_of(hu, spacing)
    _, _, x = offsets_mm(scan, at(scan, ball()))
    hu[x > 16] -= 40
    hu[rib_of(scan)] += rib_hu - 60
    return scan_of(np.rint(hu).astype(dtype), spacing, x <= 16)


def rib_of(scan: Scan, rib_mm: float = 10.0) -> np.ndarray:
    _, y, x = offsets_mm(scan, at(scan, ball()))
    return (x >= 20) & (x < 27) & (np.abs(y) < rib_mm / 2)


@pytest.fixture(params=SPACINGS.values(), ids=SPACINGS)
def spacing(request: pytest.FixtureRequest):
    return request.param


@pytest.mark.parametrize("dtype", ["int16", "float64"])
def test_a_rib_stays_while_what_is_soft_moves(spacing, dtype):
    scan = chest(spacing, dtype=dtype)
    row = at(scan, PUSHER)
    rib, before = rib_of(scan), scan.image.array
    assert (distance_mm(scan, row)[rib] < row.gamma_max_mm).any()  # within reach
    pushed, _ = render(scan, plan_of(scan, replace(row, bone_hu=0.0))).apply(scan)
    held, label = render(scan, plan_of(scan, row)).apply(scan)
    assert (pushed != before)[rib].any()
    np.testing.assert_array_equal(held[rib], before[rib])
    moves = (held != before) & (label != 2)
    assert moves.any()
    assert freedom_beside_bone(scan, tuple(slice(0, n) for n in before.shape), 180.0)[moves].min() > 0


def test_it_is_2_mm_around_bone_that_stays_and_10_mm_where_all_is_free():
    scan = chest((1.0, 1.0, 1.0))
    freedom = freedom_beside_bone(scan, (slice(30, 50), slice(40, 41), slice(0, 80)), 180.0)
    along = freedom[10, 0]
    first = int(np.flatnonzero(rib_of(scan)[40, 40])[0])
    np.testing.assert_allclose(along[first - 14 : first + 1], np.clip((np.arange(14, -1, -1) - 2) / 8, 0, 1), atol=0.01)


def test_the_edge_of_the_liver_is_held_with_the_rib(spacing):
    scan = chest(spacing)
    row = at(scan, PUSHER)
    labels = [render(scan, plan_of(scan, replace(row, bone_hu=hu))).apply(scan)[1] > 0 for hu in (0.0, 180.0)]
    moved, held = ((label != scan.liver).sum() for label in labels)
    assert held < 0.6 * moved  # 4 mm from the rib it moves a quarter as far, and not where no rib is near


@pytest.mark.parametrize("clump_mm3", [0, 300])
def test_without_bone_the_bits_are_as_before(spacing, clump_mm3):
    scan = chest(spacing, rib_hu=60.0)
    hu = scan.image.array.copy()
    clump = np.flatnonzero(rib_of(scan, 3.0) & (distance_mm(scan, at(scan, ball())) < 25))
    hu.ravel()[clump[: int(clump_mm3 / np.prod(spacing))]] = 300  # noise makes no larger ones
    scan = scan_of(hu, spacing, scan.liver)
    row = at(scan, PUSHER)
    first, second = (render(scan, plan_of(scan, replace(row, bone_hu=b))).apply(scan) for b in (0.0, 180.0))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_the_liver_is_no_bone_however_bright():
    scan = chest((1.0, 1.0, 1.0))
    bright = scan_of(scan.image.array + np.int16(150), liver=scan.liver)
    everything = tuple(slice(0, n) for n in scan.geometry.shape)
    np.testing.assert_array_equal(
        freedom_beside_bone(bright, everything, 330.0), freedom_beside_bone(scan, everything, 180.0)
    )


def test_a_bone_far_away_changes_no_bit_of_the_pull():
    scan = chest((1.0, 1.0, 1.0))
    pull = Pull.of(at(scan, replace(PUSHER, gamma_max_mm=9.5)), scan.geometry)
    held = pull.held_by(freedom_beside_bone(scan, pull.box, 180.0))
    np.testing.assert_array_equal(held.moving, pull.moving)
    np.testing.assert_array_equal(held.source, pull.source)


@pytest.mark.parametrize(
    ("center", "dtype"), [((41.3, 33.0, 52.4), "int16"), ((2.0, 42.0, 46.0), "float32")], ids=["middle", "edge"]
)
def test_it_is_what_it_is_written_plainly(spacing, center, dtype):
    scan = chest(spacing, dtype=dtype)
    index = tuple(c / s for c, s in zip(center, spacing, strict=True))
    plan = plan_of(scan, at(scan, replace(PUSHER, sigma_e_mm=2.0, sigma_c_mm=0.9), index))
    for quick, plain in zip(render(scan, plan).apply(scan), render_plainly(scan, plan), strict=True):
        np.testing.assert_array_equal(quick, plain)


def test_bone_in_as_many_single_voxels_as_a_scan_can_hold_is_bone():
    hu = np.full((3, 3, 3), 100, np.int16)
    hu[::2, ::2, ::2] = 600
    scan = scan_of(hu, (10.0, 10.0, 10.0), hu < 600)  # a voxel is twice as large as the least bone
    freedom = freedom_beside_bone(scan, (slice(0, 3), slice(0, 3), slice(0, 3)), 180.0)
    np.testing.assert_array_equal(freedom, hu < 600)
