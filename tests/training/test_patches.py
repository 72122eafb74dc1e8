"""Tumours in a box of a scan: equal to what is cut from the whole, in a region, and where to look for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import BALL, at, plan_of
from numpy.testing import assert_allclose, assert_array_equal
from phantoms import ball_scan

from tumorgen.labels import TUMOR
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_plan, draw_variant
from tumorgen.method.settings import Settings
from tumorgen.training.patches import draw_any_class, draw_tumor_voxels, keep_touching, render_box

SMALL = Settings(sizes=("tiny", "small"))


@pytest.fixture(scope="module", params=[(2.0, 2.0, 2.0), (5.0, 1.6, 1.6)], ids=["2 mm", "5 mm slices"])
def ball(request):
    return ball_scan(request.param, dtype="float32")


@pytest.mark.parametrize("pattern", ["classes", "satellite"])
@pytest.mark.parametrize("seed", range(3))
def test_a_rendered_box_equals_the_box_of_the_whole(ball, pattern, seed):
    settings = Settings(sizes=("mix",) if pattern == "classes" else ("medium",), pattern=pattern)
    plan = draw_variant(ball, settings, seed, 0)
    image, label = render(ball, plan).apply(ball)
    box = tuple(slice(n // 3, n // 2) for n in ball.geometry.shape)
    part, part_label = ball.image.array.copy(), ball.liver.astype(np.uint8)
    for block in render_box(ball, plan, box):
        part[block.box], part_label[block.box] = block.image, block.label
    assert_array_equal(part_label[box], label[box])
    # Beyond three standard deviations a blur is cut off, in a cube: its corners reach further than is asked for.
    assert_allclose(part[box], image[box], atol=0.05)


def test_what_is_far_from_a_box_is_not_rendered(scan):
    plan = draw_variant(scan, Settings(sizes=("tiny",)), 0, 0)
    z, y, x = (round(c) for c in scan.geometry.to_index(plan.tumors[0].center_mm))
    kept = keep_touching(plan, scan.geometry, (slice(z, z + 1), slice(y, y + 1), slice(x, x + 1))).tumors
    assert plan.tumors[0] in kept
    assert len(kept) < len(plan.tumors)
    assert keep_touching(plan, scan.geometry, (slice(0, 1),) * 3).tumors == ()
    assert keep_touching(plan, scan.geometry, tuple(slice(0, n) for n in scan.geometry.shape)) == plan


def test_tumours_lie_in_the_region(any_scan):
    region = tuple(slice(n // 2, n // 2 + n // 4) for n in any_scan.geometry.shape)
    for seed in range(5):
        plan = draw_any_class(any_scan, Settings(sizes=("tiny",)), np.random.default_rng(seed), region)
        assert plan.tumors
        for tumor in plan.tumors:
            index = any_scan.geometry.to_index(tumor.center_mm)
            assert all(s.start - 0.01 <= i <= s.stop - 0.99 for i, s in zip(index, region, strict=True))


def test_a_region_without_room_places_fewer_and_says_so(scan):
    middle = tuple(slice(n // 2, n // 2 + 2) for n in scan.geometry.shape)
    plan = draw_plan(scan, Settings(sizes=("small",)), np.random.default_rng(0), "small", region=middle)
    assert len(plan.tumors) == 1
    assert "fewer_placed" in plan.notes
    outside = (slice(0, 2),) * 3
    assert draw_plan(scan, Settings(), np.random.default_rng(0), "tiny", region=outside).tumors == ()


def test_the_region_of_everything_is_no_region(any_scan):
    everything = tuple(slice(0, n) for n in any_scan.geometry.shape)
    drawn = [draw_plan(any_scan, SMALL, np.random.default_rng(5), "small", region=r) for r in (None, everything)]
    assert drawn[0] == drawn[1]


def test_voxels_to_look_at_lie_in_tumours():
    """Most of them: deformation moves the surface, and the liver's edge cuts. Uniform in the core of 0.6 half-axes, so
    that the mean distance to the centre is 3/4 of that."""
    scan = ball_scan((1.0, 1.0, 1.0))
    plan = draw_variant(scan, Settings(sizes=("small", "medium")), 4, 1)
    _, label = render(scan, plan).apply(scan)
    voxels = draw_tumor_voxels(plan, scan.geometry, np.random.default_rng(0), 2000)
    assert (label[tuple(voxels.T)] == TUMOR).mean() > 0.8
    one = draw_variant(scan, Settings(sizes=("medium",), pattern="single"), 0, 0)
    away = draw_tumor_voxels(one, scan.geometry, np.random.default_rng(0), 4000) - scan.geometry.to_index(
        one.tumors[0].center_mm
    )
    relative = np.linalg.norm(away / one.tumors[0].half_axes_mm, axis=1)
    assert relative.mean() == pytest.approx(0.45, abs=0.01)  # 4000 draws of a standard deviation of 0.12


def test_voxels_to_look_at_lie_in_ellipsoids_that_are_turned():
    """Three times as long as wide, and turned by 60 degrees: the core of 0.6 half-axes lies within, to half a voxel."""
    scan = ball_scan((1.0, 1.0, 1.0))
    turned = replace(BALL, half_axis_z_mm=6.0, half_axis_y_mm=5.0, half_axis_x_mm=15.0, turn_deg=60.0)
    tumor = at(scan, turned)
    _, label = render(scan, plan_of(scan, tumor)).apply(scan)
    voxels = draw_tumor_voxels(plan_of(scan, tumor), scan.geometry, np.random.default_rng(0), 2000)
    assert (label[tuple(voxels.T)] == TUMOR).all()


def test_no_tumour_gives_no_voxel(scan):
    plan = replace(draw_variant(scan, SMALL, 0, 0), tumors=())
    assert draw_tumor_voxels(plan, scan.geometry, np.random.default_rng(0)).shape == (0, 3)
