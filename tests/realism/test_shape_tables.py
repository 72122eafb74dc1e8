"""Tables of shape are found back from the tumours that were drawn from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tumorgen.method.recipes import load_recipe
from tumorgen.realism.bin_tables import LIMITS, prior_bin
from tumorgen.realism.shape_tables import MEASURES, Measure, RealShapes, correct, draw_shape, fit_shapes, rising, smooth

SPACING = (1.0, 1.0, 1.0)
LIFELIKE = load_recipe("lifelike")
START = prior_bin(LIFELIKE.real, 10.0)


def settings_with(**tables: tuple[float, ...]):
    return replace(LIFELIKE, real=replace(LIFELIKE.real, bins=(replace(START, **tables),)))


def measured(shapes, radius_mm: float) -> RealShapes:
    count = len(shapes)
    measures = {m.name: np.array([getattr(shape, m.name) for shape in shapes]) for m in MEASURES.values()}
    return RealShapes(np.full(count, radius_mm), np.tile(SPACING, (count, 1)), np.ones(count), measures)


def test_an_undeformed_tumour_measures_as_it_is_drawn():
    settings = settings_with(axis_ratio=(0.7, 0.7), elongation=(1.2, 1.2), irregularity=(0.0, 0.0), depth=(2.0, 2.0))
    shape = draw_shape(settings, 8.0, SPACING, 3)
    assert shape.radius_mm == pytest.approx(8, rel=0.02)
    assert shape.axis_ratio == pytest.approx(0.7, rel=0.03)
    assert shape.z_extent == pytest.approx(1.2, abs=1 / 16)  # a slice


def test_the_surface_of_the_liver_cuts_off_as_much_as_where_tumours_are_placed():
    ball = {"axis_ratio": (1.0, 1.0), "elongation": (1.0, 1.0), "irregularity": (0.0, 0.0)}
    whole, grazed, cut = (
        [draw_shape(settings_with(**ball, depth=(depth, depth)), 8.0, SPACING, seed) for seed in range(8)]
        for depth in (1.2, 0.8, 0.2)
    )
    volume_ml = 4 / 3 * np.pi * 8**3 / 1000
    cap = 0.2**2 * (3 - 0.2) / 4  # of a ball's volume, beyond a plane at 0.8 radii
    assert LIFELIKE.places.most_clipped == 0.15
    for shapes, kept in ((whole, 1), (grazed, 1 - cap), (cut, 0.85)):
        assert [shape.volume_ml for shape in shapes] == pytest.approx([kept * volume_ml] * 8, rel=0.025)
    assert all(shape.edge_share == 0 for shape in whole)
    assert all(shape.edge_share > 0 for shape in cut)
    assert np.mean([shape.elongation for shape in cut]) < np.mean([shape.elongation for shape in whole]) - 0.1


def test_a_flat_tumour_at_the_surface_lies_along_it():
    """The plane that cuts off least is the one along its long axes."""
    flat = {"axis_ratio": (1.0, 1.0), "elongation": (0.5, 0.5), "irregularity": (0.0, 0.0), "depth": (0.6, 0.6)}
    kept = [draw_shape(settings_with(**flat), 8.0, SPACING, seed).volume_ml for seed in range(40)]
    volume_ml = 4 / 3 * np.pi * 8**3 / 2 / 1000
    assert np.mean(np.array(kept) > 0.97 * volume_ml) > 0.8


def test_a_tumour_too_small_to_be_measured_is_none():
    assert draw_shape(LIFELIKE, 1.0, SPACING, 0) is None


def test_tables_give_tumours_that_measure_like_the_lesions():
    """The tables themselves are not found back: a long ellipse and a strongly deformed circle measure alike."""
    truth = {"axis_ratio": (0.55, 0.75, 0.9), "elongation": (0.6, 0.8, 1.0), "irregularity": (0.1, 0.2, 0.3)}
    drawn = [draw_shape(settings_with(**truth), 7.0, SPACING, 1000 + i) for i in range(150)]
    real = measured([each for each in drawn if each], 7.0)
    found = fit_shapes(real, START, LIMITS, LIFELIKE)
    again = [draw_shape(settings_with(**{t: getattr(found, t) for t in MEASURES}), 7.0, SPACING, i) for i in range(150)]
    for measure in MEASURES.values():
        shares = [0.1, 0.5, 0.9]
        values = measured([each for each in again if each], 7.0).quantiles(measure.name, shares)
        assert values == pytest.approx(real.quantiles(measure.name, shares), abs=0.13)  # a slice is 0.07; chance of 150


def test_correction_goes_the_way_of_the_difference():
    shapes = [draw_shape(LIFELIKE, 7.0, SPACING, i) for i in range(20)]
    real = measured(shapes, 7.0)
    longer = RealShapes(real.radius_mm, real.spacing_mm, real.weights, {"z_extent": real.measures["z_extent"] + 0.1})
    assert correct((0.8, 0.8, 0.8), Measure("z_extent", 1.0), real, shapes, (0.3, 2)) == pytest.approx((0.8,) * 3)
    assert correct((0.8, 0.8, 0.8), Measure("z_extent", 1.0), longer, shapes, (0.3, 2)) == pytest.approx((0.9,) * 3)
    assert correct((0.8, 0.8, 0.8), Measure("z_extent", -1.0), longer, shapes, (0.3, 0.75)) == pytest.approx((0.7,) * 3)


def test_tables_rise_and_lines_stay_lines():
    assert rising(np.array([1.0, 3.0, 2.0, 4.0])) == (1.0, 2.5, 2.5, 4.0)
    assert smooth(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx([1, 2, 3, 4])
    assert smooth(np.array([0.0, 0.0, 4.0, 0.0, 0.0])) == pytest.approx([0, 0.2, 3.6, 0.2, 0])
