"""Tumours have voxels: what is too small for the slices is left out and counted, and nothing of it is rendered."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from examples import at, ball, plan_of, scan_of
from numpy.testing import assert_array_equal
from phantoms import ball_scan

from tumorgen.labels import TUMOR
from tumorgen.method.labelled import least_radius_mm, render_labelled
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.settings import Settings


@pytest.mark.parametrize(
    ("spacing_mm", "radius_mm"),
    [
        ((1.0, 1.0, 1.0), 0.0),
        ((5.0, 0.8, 0.8), 1.0),  # five parts of 1 mm: three fill more than half
        ((10.0, 1.0, 1.0), 2.9),  # seven parts of 10 / 7 mm, of which five, to 2 x 10 / 7 mm, are more than half
        ((8.0, 2.0, 2.0), 1.9),
        ((10.0, 2.0, 2.0), 3.0),
    ],
)
def test_the_least_radius_fills_half_of_a_voxel(spacing_mm, radius_mm):
    assert least_radius_mm(spacing_mm) == pytest.approx(radius_mm)


@pytest.mark.parametrize("spacing_mm", [(3.0, 3.0, 3.0), (5.0, 0.8, 0.8), (8.0, 2.0, 2.0), (10.0, 1.0, 1.0)])
def test_a_ball_of_that_radius_is_labelled_and_a_smaller_one_is_not(spacing_mm):
    scan = scan_of(np.full((9, 41, 41), 100, np.int16), spacing_mm)
    least = least_radius_mm(spacing_mm)
    for radius_mm, labelled in ((least + 0.01, True), (least - 0.11, False)):
        (outcome,) = render(scan, plan_of(scan, at(scan, ball(radius_mm)))).outcomes
        assert outcome.has_voxels == labelled == (outcome.volume_mm3 > 0)


def test_a_tumour_without_a_voxel_is_left_out_and_counted():
    scan = scan_of(np.full((9, 41, 41), 100, np.int16), (10.0, 1.0, 1.0))
    tiny, large = at(scan, ball(2.0)), at(scan, ball(8.0), (4.0, 10.0, 10.0))
    assert (render(scan, plan_of(scan, tiny)).apply(scan)[0] != 100).any()  # it would change the image all the same
    plan, patch = render_labelled(scan, plan_of(scan, tiny, large, tiny))
    assert (plan.tumors, plan.tumors_without_voxel, plan.tumors_requested) == ((large,), 2, 3)
    alone = render(scan, plan_of(scan, large))
    for got, wanted in zip(patch.apply(scan), alone.apply(scan), strict=True):
        assert_array_equal(got, wanted)
    assert patch.outcomes == alone.outcomes


def test_where_none_is_left_the_scan_is_as_it_was():
    scan = scan_of(np.full((9, 41, 41), 100, np.int16), (10.0, 1.0, 1.0))
    plan, patch = render_labelled(scan, plan_of(scan, at(scan, ball(2.0))))
    image, label = patch.apply(scan)
    assert (plan.tumors, plan.tumors_without_voxel) == ((), 1)
    assert (image == 100).all()
    assert (label == 1).all()


@pytest.mark.parametrize("spacing_mm", [(1.5, 1.5, 1.5), (5.0, 1.6, 1.6)])
def test_a_plan_whose_tumours_all_have_voxels_is_rendered_as_it_is(spacing_mm):
    scan = ball_scan(spacing_mm)
    plan = draw_variant(scan, Settings(sizes=("small",)), 0, 0)
    same, patch = render_labelled(scan, plan)
    assert same == plan
    assert patch.outcomes == render(scan, plan).outcomes


def test_every_tumour_of_thick_slices_has_a_voxel():
    scan = ball_scan((10.0, 2.0, 2.0))
    sizes = replace(Settings().classes["tiny"], radius_mm=2.5, sigma_e_mm=(0.3, 0.8))
    settings = Settings(sizes=("tiny",), classes={**Settings().classes, "tiny": sizes})
    without = 0
    for variant in range(8):
        plan, patch = render_labelled(scan, draw_variant(scan, settings, 0, variant))
        without += plan.tumors_without_voxel
        _, label = patch.apply(scan)
        for tumor, outcome in zip(plan.tumors, patch.outcomes, strict=True):
            assert outcome.volume_mm3 > 0
            assert (label[outcome.box] == TUMOR).any(), tumor
    assert without > 0


def test_the_page_tells_the_least_radii():
    page = (Path(__file__).parents[2] / "docs" / "usage.md").read_text(encoding="utf-8")
    slices = [float(mm) for mm in re.findall(r"([\d.]+) mm", re.search(r"^\| slices \| (.*)", page, re.MULTILINE)[1])]
    rows = re.findall(r"^\| least radius, ([\d.]+) mm in plane \|(.*)\|$", page, re.MULTILINE)
    assert len(rows) == 2
    for plane, cells in rows:
        told = [float(cell) for cell in cells.split("|")]
        assert told == [least_radius_mm((mm, float(plane), float(plane))) for mm in slices]
