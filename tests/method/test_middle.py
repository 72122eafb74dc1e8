"""Places model `middle`: the middle slices of the liver, away from its edge, whatever vessels there are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import THICK, scan_of
from phantoms import LIVER_RADIUS_MM, ball_scan
from scipy import ndimage

from tumorgen.method.middle import Middle
from tumorgen.method.recipes import load_recipe
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan
from tumorgen.method.settings import Places, override

MIDDLE = Places(model="middle")


def anywhere(positions: np.ndarray) -> np.ndarray:
    return np.ones(len(positions), bool)


def centers(scan: Scan, count: int, places: Places = MIDDLE) -> np.ndarray:
    """Voxels (z, y, x) of some centres."""
    rng = np.random.default_rng(1)
    return np.array([Middle.of(scan, places).draw(anywhere, rng) for _ in range(count)])


@pytest.fixture(scope="module", params=[(2.0, 2.0, 2.0), THICK], ids=["2 mm", "5 mm slices"])
def liver(request: pytest.FixtureRequest) -> Scan:
    """A ball of 60 mm with a vessel through its middle."""
    z, y, x = request.param
    return ball_scan((z, max(y, 2.0), max(x, 2.0)), noise_sd=3.0, vessel_radius_mm=6.0)


def test_centres_lie_in_the_middle_slices_and_5_mm_inside(liver):
    found = centers(liver, 200)
    spacing = np.array(liver.geometry.spacing_mm)
    depth = ndimage.distance_transform_edt(liver.liver, spacing)
    assert depth[tuple(found.T)].min() >= 5.0
    slices = np.flatnonzero(liver.liver.any(axis=(1, 2)))
    part = (found[:, 0] - slices[0]) / (slices[-1] - slices[0])
    step = 0.5 / (slices[-1] - slices[0])  # to the nearest slice
    assert part.min() >= 0.3 - step
    assert part.max() <= 0.7 + step
    assert part.min() < 0.37  # all of them are used
    assert part.max() > 0.63
    off_axis = np.hypot(*((found - np.array(liver.liver.shape) // 2) * spacing).T[1:])
    assert off_axis.max() > LIVER_RADIUS_MM - 13


def test_vessels_are_nothing_to_it(liver):
    z, y, _ = ((centers(liver, 400) - np.array(liver.liver.shape) // 2) * np.array(liver.geometry.spacing_mm)).T
    in_vessel = np.hypot(z, y) < 6
    # A tube of 6 mm in the middle 48 mm of a ball of 60: about 2 % of what is 5 mm inside.
    assert 0 < in_vessel.mean() < 0.08


def test_what_is_not_allowed_is_not_drawn(liver):
    size = liver.geometry.spacing_mm[2] * liver.geometry.shape[2]
    rng = np.random.default_rng(2)
    middle = Middle.of(liver, MIDDLE)
    left = [middle.draw(lambda p: p[:, 2] < size / 3, rng) for _ in range(20)]
    assert max(x for _, _, x in left) < liver.geometry.shape[2] / 3
    assert middle.draw(lambda p: np.zeros(len(p), bool), rng) is None


def test_the_only_place_is_found():
    """A cube of 11 voxels in a wide thin sheet: tries hardly ever hit its centre, so all voxels are looked at."""
    mask = np.zeros((13, 260, 260), bool)
    mask[6] = True
    mask[1:12, 30:41, 50:61] = True
    scan = scan_of(np.full(mask.shape, 100.0, np.float32), liver=mask)
    assert centers(scan, 3, replace(MIDDLE, inside_mm=6.0)).tolist() == 3 * [[6, 35, 55]]


def test_a_liver_too_thin_has_no_place_and_the_plan_says_so():
    mask = np.zeros((30, 40, 40), bool)
    mask[10:14, 5:35, 5:35] = True
    scan = scan_of(np.full(mask.shape, 100.0, np.float32), liver=mask)
    plan = draw_variant(scan, load_recipe("published"), 0, 0)
    assert plan.tumors == ()
    assert "fewer_placed" in plan.notes.split()


def test_the_plan_keeps_its_tumours_apart(liver):
    plan = draw_variant(liver, load_recipe("published"), 3, 1)
    places = np.array([tumor.center_mm for tumor in plan.tumors])
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)[~np.eye(len(places), dtype=bool)]
    assert len(places) > 1
    assert apart.min() > 8


def test_the_plan_does_not_say_that_vessels_were_avoided(liver):
    """Whatever the settings ask for: of places in the middle slices nobody asks about vessels."""
    asked = override(load_recipe("published"), sizes="tiny")
    asked = replace(asked, vessels=replace(asked.vessels, avoid=True))
    assert not draw_variant(liver, asked, 0, 0).vessels_avoided
    assert draw_variant(liver, replace(asked, places=Places()), 0, 0).vessels_avoided
