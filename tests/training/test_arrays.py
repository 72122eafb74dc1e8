"""Tumours for arrays: one engine with `synth`, in whole cases and in patches."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from phantoms import ball_volume

from tumorgen.errors import TumorgenError
from tumorgen.labels import TUMOR
from tumorgen.method.measured import needed_by
from tumorgen.method.recipes import load_recipe
from tumorgen.method.sampling import draw_plan
from tumorgen.method.scan import MEASURED_LATER
from tumorgen.method.settings import Settings
from tumorgen.training.arrays import add_tumors, patch_with_tumors, prepare_arrays
from tumorgen.training.patches import draw_any_class

SMALL = Settings(sizes=("tiny", "small"))


@pytest.fixture(scope="module", params=[(2.0, 2.0, 2.0), (5.0, 1.6, 1.6)], ids=["2 mm", "5 mm slices"])
def case(request):
    volume, liver = ball_volume(request.param, dtype="float32")
    return volume.array, liver, prepare_arrays(volume.array, liver, request.param)


def test_arrays_in_arrays_out(case):
    image, liver, scan = case
    before = image.copy()
    new, label = add_tumors(image, liver, scan.geometry.spacing_mm, np.random.default_rng(1), SMALL)
    assert_array_equal(image, before)
    assert new.dtype == image.dtype
    assert new.shape == label.shape == image.shape
    assert set(np.unique(label)) == {0, 1, 2}
    air = image < -500
    assert_array_equal(new[air], image[air])
    assert (label == TUMOR).sum() > 20
    assert (new != image)[label == TUMOR].mean() > 0.99


def test_the_same_generator_gives_the_same_arrays(case):
    image, liver, scan = case
    first, again = (
        add_tumors(image, liver, scan.geometry.spacing_mm, np.random.default_rng(7), SMALL) for _ in range(2)
    )
    assert_array_equal(first[0], again[0])
    assert_array_equal(first[1], again[1])


def test_it_is_the_engine_of_synth(case):
    """A case that was prepared from arrays gives what `draw_plan` and `render` give, draw for draw."""
    _, _, scan = case
    rng = np.random.default_rng(3)
    size_class = SMALL.sizes[int(rng.integers(2))]
    assert draw_any_class(scan, SMALL, np.random.default_rng(3)) == draw_plan(scan, SMALL, rng, size_class)


def test_a_patch_has_tumours_where_there_is_liver_and_is_healthy_elsewhere(scan):
    middle = tuple(slice(n // 2 - 20, n // 2 + 20) for n in scan.geometry.shape)
    image, label = patch_with_tumors(scan, middle, np.random.default_rng(0), SMALL)
    assert image.shape == label.shape == (40, 40, 40)
    assert (label == TUMOR).any()
    corner = (slice(0, 5),) * 3
    image, label = patch_with_tumors(scan, corner, np.random.default_rng(0), SMALL)
    assert_array_equal(image, scan.image.array[corner])
    assert not label.any()


def test_what_is_not_hu_is_refused(case):
    image, liver, scan = case
    with pytest.raises(TumorgenError, match="not HU"):
        add_tumors(image + 2000, liver, scan.geometry.spacing_mm, np.random.default_rng(0))


@pytest.mark.parametrize("recipe", ["lifelike", "paper"])
def test_what_tumours_need_is_measured_at_once(recipe):
    volume, liver = ball_volume((4.0, 4.0, 4.0))
    settings = load_recipe(recipe)
    scan = prepare_arrays(volume.array, liver, (4.0, 4.0, 4.0), settings=settings)
    known = [name for name in MEASURED_LATER if name in vars(scan)]
    assert set(needed_by(settings)) <= set(known)
    patch_with_tumors(scan, scan.roi, np.random.default_rng(0), settings)
    assert [name for name in MEASURED_LATER if name in vars(scan)] == known
