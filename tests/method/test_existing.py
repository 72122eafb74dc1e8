"""Tumours that are really there: no voxel of them changes, none counts as parenchyma, and the body stays whole."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from phantoms import ball_volume

from tumorgen.imaging.geometry import Volume
from tumorgen.labels import TUMOR
from tumorgen.method.recipes import RECIPES, load_recipe
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan, prepare_scan
from tumorgen.method.settings import Settings, Vessels


def scan_with_tumors(spacing_mm: tuple[float, float, float]) -> Scan:
    """The ball of liver, with two dark tumours that are really there: one inside, one that reaches its surface."""
    volume, liver = ball_volume(spacing_mm)
    z, y, x = np.meshgrid(
        *[(np.arange(n) - n // 2) * s for n, s in zip(liver.shape, spacing_mm, strict=True)], indexing="ij"
    )
    there = (z**2 + (y - 20) ** 2 + x**2 <= 12**2) | ((z + 50) ** 2 + y**2 + x**2 <= 14**2)
    label = np.where(liver, 1 + there.astype(np.uint8), 0).astype(np.uint8)
    hu = np.where(label == TUMOR, volume.array - 60, volume.array).astype(volume.array.dtype)
    return prepare_scan(Volume(hu, volume.geometry), label, Vessels(), "there")


@pytest.fixture(scope="module", params=[(2.0, 2.0, 2.0), (5.0, 1.6, 1.6)], ids=["2 mm", "5 mm slices"])
def there(request) -> Scan:
    return scan_with_tumors(request.param)


@pytest.mark.parametrize("recipe", RECIPES)
def test_no_voxel_of_a_real_tumour_changes(there, recipe):
    settings = replace(load_recipe(recipe), sizes=("tiny", "medium", "mix"))
    real, drawn = there.label == TUMOR, 0
    assert there.real_tumor_voxels == real.sum() > 0
    for variant in range(6):
        plan = draw_variant(there, settings, 0, variant)
        image, label = render(there, plan).apply(there)
        assert (label[real] == TUMOR).all()
        assert_array_equal(image[real], there.image.array[real])
        assert set(np.unique(label)) == {0, 1, 2}
        drawn += len(plan.tumors)
    assert drawn > 6


def test_satellites_keep_clear_too(there):
    real = there.label == TUMOR
    for variant in range(4):
        plan = draw_variant(there, Settings(sizes=("medium",), pattern="satellite"), 0, variant)
        image, _ = render(there, plan).apply(there)
        assert_array_equal(image[real], there.image.array[real])


def test_real_tumours_are_liver_but_no_parenchyma(there):
    assert (there.liver == (there.label > 0)).all()
    healthy = (there.label == 1)[there.roi]
    assert_array_equal(there.healthy_roi(), healthy)
    assert not (there.tissue.parenchyma & ~healthy).any()
    assert not (there.vessels & ~healthy).any()
    assert there.candidates.size == healthy.sum()
    assert there.mu_p_hu == pytest.approx(100, abs=1)  # as if nothing of them was in the mean


def test_depth_is_that_below_the_surface_of_the_whole_liver(there):
    """A place beside a real tumour in the middle of the liver is deep."""
    volume, liver = ball_volume(there.geometry.spacing_mm)
    whole = prepare_scan(volume, liver, Vessels(), "whole").sites
    assert there.sites.starts.size == pytest.approx(whole.starts.size, rel=0.25)
    assert (there.sites.kinds > 0).sum() == (whole.kinds > 0).sum()


def test_where_there_is_no_room_fewer_are_placed():
    volume, liver = ball_volume((4.0, 4.0, 4.0))
    label = liver.astype(np.uint8)
    label[::6, ::6, ::6] *= 2
    scan = prepare_scan(volume, label, Vessels(), "full")
    plan = draw_variant(scan, Settings(sizes=("large",)), 0, 0)
    assert (len(plan.tumors), plan.notes) == (0, "fewer_placed")


def test_a_mask_with_none_is_the_mask(there):
    volume, liver = ball_volume((4.0, 4.0, 4.0))
    plain = prepare_scan(volume, liver, Vessels(), "a")
    assert plain.real_tumor_voxels == 0
    marked = prepare_scan(volume, np.where(liver & (np.arange(35) == 17), 2, liver).astype(np.uint8), Vessels(), "a")
    assert marked.mask_sha256 != plain.mask_sha256  # another scan to every plan
