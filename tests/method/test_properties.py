"""Properties that hold for any scan, any liver and any tumour that the settings or a hand may ask for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import ball, plan_of
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.method.plan import Plan
from tumorgen.method.recipes import load_recipe
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan, prepare_scan
from tumorgen.method.settings import SCAN, SIZES, STEPS, Settings, Size, Texture, Vessels, override

QUICK = limits(max_examples=60)
SPACING = st.sampled_from([0.5, 0.7, 0.8, 0.976, 1.0, 1.5, 2.0, 3.0, 5.0, 6.0])


def odd_liver(kind: str, shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Livers that no anatomy book shows but that masks have."""
    liver = np.zeros(shape, bool)
    middle = tuple(n // 2 for n in shape)
    if kind == "full":
        liver[:] = True
    elif kind == "one voxel":
        liver[middle] = True
    elif kind == "corner voxel":
        liver[-1, 0, -1] = True
    elif kind == "sheet":
        liver[middle[0]] = True
    elif kind == "thread":
        liver[middle[0], middle[1]] = True
    elif kind == "cut by the edge":
        liver[: middle[0], middle[1] :, :] = True
    elif kind == "specks":
        liver[rng.random(shape) < 0.02] = True
        liver[middle] = True
    else:
        grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
        liver[sum(g**2 for g in grid) < 0.8] = True
        liver[middle] = True
    return liver


KINDS = ["full", "one voxel", "corner voxel", "sheet", "thread", "cut by the edge", "specks", "ball"]


@st.composite
def scans(draw) -> Scan:
    spacing = draw(st.tuples(SPACING, SPACING, SPACING))
    shape = tuple(draw(st.integers(2, max(3, min(28, int(45 / s))))) for s in spacing)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    hu = rng.normal(draw(st.sampled_from([5.0, 45.0, 100.0, 140.0])), draw(st.sampled_from([0.0, 8.0, 25.0])), shape)
    liver = odd_liver(draw(st.sampled_from(KINDS)), shape, rng)
    hu = hu.clip(-40, 250)  # the mean of a lone voxel must be a liver's
    hu[~liver] = draw(st.sampled_from([-1000.0, -80.0, 90.0]))
    dtype = draw(st.sampled_from(["int16", "int32", "float32", "float64"]))
    angles = draw(st.sampled_from([(0, 0, 0), (180, 0, 0), (20, -13, 7), (90, 0, 90)]))
    direction = tuple(Rotation.from_euler("zyx", angles, degrees=True).as_matrix().ravel().tolist())
    origin = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    array = (np.rint(hu) if dtype.startswith("int") else hu).astype(dtype)
    # b decides whether there is no vessel, some noise that passes for one, or hardly anything else.
    vessels = Vessels(offset_hu=draw(st.sampled_from([500.0, 15.0, 0.0, -500.0])))
    return prepare_scan(Volume(array, Geometry(shape, spacing, origin, direction)), liver, vessels, "odd")


RADII = {name: Size(r, (1, 3), (0.1 * r, 0.3 * r)) for name, r in (("speck", 0.5), ("small", 3.0), ("big", 12.0))}
SETTINGS = st.builds(
    lambda pattern, sizes, intensity, without: override(
        Settings(
            sizes=sizes,
            pattern=pattern,
            classes={**SIZES, **RADII},
            mix={"speck": (0, 2), "small": (1, 2)},
        ),
        intensity=intensity,
        without=tuple(without),
    ),
    st.sampled_from(["classes", "single", "multifocal", "satellite"]),
    st.sampled_from([("small",), ("big",), ("speck",), ("mix",)]),
    st.sampled_from(["paper", "portal", "arterial"]),
    st.sets(st.sampled_from(list(STEPS))),
).filter(lambda s: s.pattern != "satellite" or s.sizes[0] in ("small", "big"))  # a tenth of a speck is no tumour


def surroundings(scan: Scan, reach_mm: float) -> np.ndarray:
    """The liver and what is in the boxes around its voxels."""
    size = [2 * int(np.ceil(reach_mm / s)) + 1 for s in scan.geometry.spacing_mm]
    return ndimage.maximum_filter(scan.liver, size)


def check(scan: Scan, plan: Plan) -> None:
    """What holds for every rendering."""
    before = scan.image.array.copy()
    patch = render(scan, plan)
    image, label = patch.apply(scan)
    np.testing.assert_array_equal(scan.image.array, before)
    assert (image.dtype, image.shape) == (before.dtype, before.shape)
    assert np.isfinite(image).all()
    assert label.dtype == np.uint8
    assert set(np.unique(label)) <= {0, 1, 2}

    outside = np.ones(image.shape, bool)
    for block in patch.blocks:
        outside[block.box] = False
    np.testing.assert_array_equal(image[outside], before[outside])
    np.testing.assert_array_equal(label[outside], scan.liver[outside])

    still = all(t.mass_effect_percent == 0 for t in plan.tumors)
    if still:
        # On the scan's own noise the liver's edge is smoothed (a Gaussian of 1.5 mm that ends at 3 mm).
        smooth = any(t.texture_model == SCAN for t in plan.tumors)
        near = surroundings(scan, 3.0) if smooth else scan.liver
        assert (near[label == 2]).all()
        np.testing.assert_array_equal(label[~near], 0)
        assert (label[scan.liver] > 0).all()
        np.testing.assert_array_equal(image[~near], before[~near])

    assert len(patch.outcomes) == len(plan.tumors)
    total = (label == 2).sum() * scan.geometry.voxel_volume_mm3
    for outcome in patch.outcomes:
        assert 0 <= outcome.vessel_overlap <= 1
        assert 0 <= outcome.clipped_fraction <= 1
        assert np.isnan(outcome.mean_hu) == (outcome.volume_mm3 == 0)
    if len(plan.tumors) == 1:
        (outcome,) = patch.outcomes
        assert outcome.volume_mm3 == pytest.approx(total, abs=1e-3)
        if total:
            inside = image[label == 2].astype(np.float64)
            assert outcome.mean_hu == pytest.approx(inside.mean(), abs=1e-3)
            assert outcome.contrast_hu == pytest.approx(inside.mean() - plan.mu_p_hu, abs=2e-3)


@QUICK
@given(scans(), SETTINGS, st.integers(0, 2**64 - 1), st.integers(0, 99))
def test_any_liver_gets_its_tumours(scan, settings, seed, variant):
    plan = draw_variant(scan, settings, seed, variant)
    assert 1 <= len(plan.tumors) <= plan.tumors_requested
    for tumor in plan.tumors:
        index = scan.geometry.to_index(tumor.center_mm)
        assert scan.liver[tuple(round(i) for i in index)]
    if len(plan.tumors) < plan.tumors_requested:
        assert "fewer_placed" in plan.notes
    check(scan, plan)
    assert draw_variant(scan, settings, seed, variant) == plan


@QUICK
@given(scans(), st.integers(0, 2**64 - 1), st.integers(0, 99))
def test_any_liver_gets_tumours_of_the_default_recipe(scan, seed, variant):
    plan = draw_variant(scan, load_recipe("lifelike"), seed, variant)
    assert len(plan.tumors) == plan.tumors_requested or "fewer_placed" in plan.notes
    check(scan, plan)


@QUICK
@given(scans(), st.integers(0, 1000), st.sampled_from(["single", "classes"]))
def test_places_in_parenchyma_are_as_the_settings_ask_for(scan, seed, pattern):
    lifelike = replace(load_recipe("lifelike"), pattern=pattern, texture=Texture(model="paper"))  # a staircase's edge
    plan = draw_variant(scan, lifelike, seed, 0)
    patch = render(scan, plan)
    for tumor, outcome in zip(plan.tumors, patch.outcomes, strict=True):
        voxel = tuple(
            round(i) - s.start for i, s in zip(scan.geometry.to_index(tumor.center_mm), scan.roi, strict=True)
        )
        assert scan.tissue.parenchyma[voxel]
        assert outcome.clipped_fraction <= lifelike.places.most_clipped
    total = (patch.apply(scan)[1] == 2).sum() * scan.geometry.voxel_volume_mm3
    assert sum(o.volume_mm3 for o in patch.outcomes) == pytest.approx(total, rel=1e-6, abs=0.01)


@QUICK
@given(scans(), SETTINGS, st.integers(0, 1000))
def test_tumours_of_a_sample_share_no_voxel(scan, settings, seed):
    if settings.pattern == "satellite":
        settings = replace(settings, pattern="classes")
    plan = draw_variant(scan, settings, seed, 0)
    patch = render(scan, plan)
    label = patch.apply(scan)[1]
    total = (label == 2).sum() * scan.geometry.voxel_volume_mm3
    assert sum(o.volume_mm3 for o in patch.outcomes) == pytest.approx(total, rel=1e-6, abs=0.01)


@QUICK
@given(scans(), st.integers(0, 1000))
def test_no_vessel_lies_within_r_unless_it_is_noted(scan, seed):
    plan = draw_variant(scan, Settings(sizes=("small",), classes=RADII, mix={}), seed, 0)
    inside = np.argwhere(scan.vessels) + [s.start for s in scan.roi]
    if not inside.size or "vessels_unavoidable" in plan.notes:
        return
    for tumor in plan.tumors:
        offset = (inside - scan.geometry.to_index(tumor.center_mm)) * scan.geometry.spacing_mm
        assert np.sqrt((offset**2).sum(axis=1).min()) > tumor.radius_mm - 1e-3  # centres are rounded to 1e-4 mm


# Rows that no settings would draw but that a hand may write: all of them within the domains.
ROWS = st.builds(
    lambda radius, half, **rest: ball(radius, half_axes=half, **rest),
    st.floats(0.1, 15),
    st.tuples(*[st.floats(0.1, 15)] * 3),
    sigma_e_mm=st.sampled_from([0.0, 1.0, 5.0, 100.0]),
    deform_points=st.sampled_from([3, 5, 15]),
    shape_seed=st.integers(0, 2**64 - 1),
    texture_seed=st.integers(0, 2**64 - 1),
    mu_t_hu=st.sampled_from([-1000.0, 0.0, 50.0, 4000.0]),
    sigma_t_hu=st.sampled_from([0.0, 15.0, 1000.0]),
    eta=st.sampled_from([1.0, 1.3, 10.0]),
    sigma_b_mm=st.sampled_from([0.0, 0.6, 6.0]),
    sigma_c_mm=st.sampled_from([0.0, 0.9, 5.0]),
    mass_effect_percent=st.sampled_from([0.0, 30.0, 99.0]),
    gamma_max_mm=st.sampled_from([0.0, 0.1, 10.0, 30.0]),
    capsule_low=st.floats(0, 1),
    capsule_high=st.floats(0, 1),
    capsule_hu=st.sampled_from([0.0, 120.0, -1000.0]),
    sigma_d_mm=st.sampled_from([0.0, 0.8, 5.0]),
    turn_deg=st.sampled_from([0.0, 33.0, -360.0]),
    texture_model=st.sampled_from(["paper", "scan"]),
    heterogeneity_hu=st.sampled_from([0.0, 10.0, 1000.0]),
    grain_mm=st.sampled_from([0.0, 2.5, 50.0]),
    necrosis_hu=st.sampled_from([0.0, -20.0, 1000.0]),
    necrosis_extent=st.sampled_from([0.0, 0.5, 5.0]),
    label_inset_mm=st.sampled_from([0.0, 0.3, 20.0]),
    label_jitter_mm=st.sampled_from([0.0, 0.5, 20.0]),
)


@QUICK
@given(scans(), st.lists(ROWS, min_size=1, max_size=2), st.data())
def test_any_row_within_the_domains_renders(scan, rows, data):
    placed = []
    for row in rows:
        index = tuple(data.draw(st.floats(-0.49, n - 0.51)) for n in scan.geometry.shape)
        x, y, z = scan.geometry.to_mm(index)
        placed.append(replace(row, center_x_mm=x, center_y_mm=y, center_z_mm=z))
    check(scan, plan_of(scan, *placed))
