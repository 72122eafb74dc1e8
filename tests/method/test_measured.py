"""What is measured later in a scan: each part becomes arrays and comes back from them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from phantoms import ball_scan

from tumorgen.method.measured import measure_for, measured_arrays, measured_from, needed_by
from tumorgen.method.recipes import RECIPES, load_recipe
from tumorgen.method.scan import MEASURED_LATER
from tumorgen.method.settings import Settings


def test_what_the_recipes_need():
    assert needed_by(load_recipe("lifelike")) == ("tissue", "sites")
    assert needed_by(load_recipe("paper")) == needed_by(Settings()) == ("by_clearance",)
    for name in RECIPES:
        assert set(needed_by(load_recipe(name))) <= set(MEASURED_LATER)


@pytest.mark.parametrize("name", MEASURED_LATER)
def test_arrays_and_back(name):
    scan = ball_scan((3.0, 3.0, 3.0), vessel_radius_mm=6.0)
    arrays = measured_arrays(scan, [name])
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    back = measured_from(arrays)
    assert list(back) == [name]
    again = measured_arrays(replace(scan).knowing(**back), [name])
    assert list(again) == list(arrays)
    for key, array in arrays.items():
        np.testing.assert_array_equal(again[key], array)
        assert again[key].dtype == array.dtype


def test_nothing_is_measured_before_it_is_asked_for():
    scan = ball_scan((4.0, 4.0, 4.0))
    assert not set(MEASURED_LATER) & set(vars(scan))
    assert measured_arrays(scan, []) == {}
    assert not set(MEASURED_LATER) & set(vars(scan))
    assert measured_from({"candidates": np.zeros(1)}) == {}


def test_all_that_is_needed_is_measured_at_once():
    scan = ball_scan((4.0, 4.0, 4.0))
    assert measure_for(scan, load_recipe("lifelike")) is scan
    assert {"tissue", "sites"} <= set(vars(scan))
    assert "by_clearance" not in vars(scan)
