"""Rendering: equations 4 to 8 against closed forms and literal computations, and what must stay untouched."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from examples import (
    THICK,
    at,
    ball,
    distance_mm,
    flat_scan,
    literal_mask,
    plan_of,
    scan_of,
)
from phantoms import ball_scan
from scipy import ndimage

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.method.body import Body
from tumorgen.method.patch import Outcome
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.rendering import blend, cast_to_type, count_tumor_voxels, render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan, prepare_scan
from tumorgen.method.settings import Settings, Vessels
from tumorgen.tables.manifest import Files, Record, read_manifest, write_manifest

SHAPE = (41, 43, 45)


def literal_texture(scan: Scan, tumor: Tumor) -> np.ndarray:
    """T'' on the whole image; outside the tumour's box it is never asked for."""
    body = Body.of(tumor, scan.geometry, scan.mu_p_hu)
    whole = np.zeros(scan.geometry.shape)
    whole[body.box] = body.texture
    return whole


# --- Eq. 4 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma_c", [0.6, 0.9, 1.2])
def test_blending_is_equation_4(sigma_c):
    rng = np.random.default_rng(0)
    scan = scan_of(rng.normal(100, 10, SHAPE))
    tumor = at(scan, ball(8.0, half_axes=(6.3, 8.0, 9.6), sigma_c_mm=sigma_c))
    image, label = render(scan, plan_of(scan, tumor)).apply(scan)
    mask = literal_mask(scan, tumor)
    soft = ndimage.gaussian_filter(mask.astype(np.float64), sigma_c)  # t''
    expected = (1 - soft) * scan.image.array + soft * literal_texture(scan, tumor)
    np.testing.assert_array_equal(label == 2, mask)
    # The kernel ends at 3 sigma (0.3 % of its weight), the contrast is 50 HU and the noise 15: below half a HU.
    np.testing.assert_allclose(image, expected, atol=0.5)
    assert np.abs(image - scan.image.array)[mask].mean() > 30


def test_blend_weights():
    np.testing.assert_allclose(
        blend(np.float32([100, 100, 100]), np.float32([0, 0.25, 1]), np.float32([40, 40, 40])), [100, 85, 40]
    )


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), THICK], ids=["1 mm", "5 mm slices"])
def test_only_liver_changes_when_the_mass_effect_is_off(spacing):
    shape = tuple(int(46 / s) for s in spacing)
    liver = np.zeros(shape, bool)
    liver[:, :, : shape[2] // 2] = True
    scan = scan_of(np.random.default_rng(1).normal(90, 8, shape), spacing, liver)
    edge = (float(shape[0] // 2), float(shape[1] // 2), shape[2] / 2 - 2.0)
    tumor = at(scan, ball(8.0, sigma_e_mm=2.0, sigma_c_mm=1.2, capsule_hu=120.0), edge)
    patch = render(scan, plan_of(scan, tumor))
    image, label = patch.apply(scan)
    changed = image != scan.image.array
    assert changed.any()
    assert not (changed & ~liver).any()
    np.testing.assert_array_equal(label > 0, liver)
    assert 0.2 < patch.outcomes[0].clipped_fraction < 0.6


def test_mean_and_noise_inside_are_those_of_the_row():
    scan = ball_scan(noise_sd=10.0)
    found = []
    for seed in range(12):
        tumor = at(scan, ball(16.0, mu_t_hu=55.0, sigma_t_hu=12.0, texture_seed=seed))
        found.append(render(scan, plan_of(scan, tumor)).outcomes[0])
    # 17 000 voxels, correlated over a few: mean known to 0.4 HU, standard deviation to 2 %, each; twelve of them.
    assert np.mean([o.mean_hu for o in found]) == pytest.approx(55.0, abs=0.5)
    assert np.mean([o.sd_hu for o in found]) == pytest.approx(12.0, rel=0.03)
    assert found[0].contrast_hu == pytest.approx(found[0].mean_hu - scan.mu_p_hu, abs=0.01)


@pytest.mark.parametrize(("switched_off", "gamma_max"), [("capsule_hu", 10.4), ("mass_effect_percent", 18.0)])
def test_a_step_that_is_off_leaves_the_grain(switched_off, gamma_max):
    scan = flat_scan((51, 51, 51))
    tumor = at(scan, ball(8.0, sigma_c_mm=0.8, capsule_hu=120.0, mass_effect_percent=30.0, gamma_max_mm=gamma_max))
    first, second = (
        render(scan, plan_of(scan, t)).apply(scan)[0] for t in (tumor, replace(tumor, **{switched_off: 0.0}))
    )
    core = distance_mm(scan, tumor) < 3  # neither capsule nor blur reaches it, and texture is laid on after the warp
    np.testing.assert_allclose(first[core], second[core], atol=1e-3)


# --- purity ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planned(any_scan) -> tuple[Scan, Plan]:
    """A sample with every step on."""
    return any_scan, draw_variant(any_scan, Settings(sizes=("small",)), 3, 0)


def bits(scan: Scan, plan: Plan) -> tuple[bytes, bytes]:
    image, label = render(scan, plan).apply(scan)
    return image.tobytes(), label.tobytes()


def test_rendering_leaves_the_scan_alone(planned):
    scan, plan = planned
    before = scan.image.array.tobytes(), scan.liver.tobytes(), scan.vessels.tobytes()
    bits(scan, plan)
    assert (scan.image.array.tobytes(), scan.liver.tobytes(), scan.vessels.tobytes()) == before


def test_the_same_bits_twice_and_from_four_threads(planned):
    scan, plan = planned
    first = bits(scan, plan)
    np.random.seed(1)  # noqa: NPY002 - the global state must play no part
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: bits(scan, plan), range(4))) == [first] * 4


def test_a_plan_read_back_renders_the_same_bits(planned, tmp_path):
    scan, plan = planned
    outcomes = render(scan, plan).outcomes
    files = Files(len(outcomes), 1.5, "a", "b", "c", "d", "e", "f", "1", "2", "3")
    write_manifest([Record(plan, outcomes, files)], tmp_path / "manifest.csv")
    (record,) = read_manifest(tmp_path / "manifest.csv")
    assert bits(scan, record.plan) == bits(scan, plan)
    assert record.outcomes == outcomes


def test_outside_boxes_is_bit_identical(planned):
    scan, plan = planned
    patch = render(scan, plan)
    image, label = patch.apply(scan)
    outside = np.ones(image.shape, bool)
    for block, outcome in zip(patch.blocks, patch.outcomes, strict=True):
        outside[block.box] = False
        assert outcome.box == block.box
    assert (~outside).any()
    assert outside.any()
    np.testing.assert_array_equal(image[outside], scan.image.array[outside])
    np.testing.assert_array_equal(label[outside], scan.liver[outside])
    assert (image.dtype, label.dtype) == (scan.image.array.dtype, np.uint8)


def test_what_is_unchanged_inside_a_box_is_bit_identical():
    # float64 voxels that no float32 holds: a round trip through it would show.
    hu = np.random.default_rng(8).normal(100, 10, SHAPE)
    scan = scan_of(hu)
    patch = render(scan, plan_of(scan, at(scan, ball(8.0, sigma_c_mm=0.6))))
    image, _ = patch.apply(scan)
    changed = image != hu
    assert changed.sum() < 0.6 * patch.blocks[0].image.size
    assert (hu[patch.blocks[0].box].astype(np.float32) != hu[patch.blocks[0].box]).mean() > 0.9


def test_a_cropped_scan_gives_the_same_tumour():
    hu = np.random.default_rng(9).normal(100, 12, (50, 52, 54))
    whole = scan_of(hu)
    crop = (slice(12, 50), slice(0, 45), slice(9, 48))
    x, y, z = whole.geometry.to_mm((12, 0, 9))
    cut = scan_of(np.ascontiguousarray(hu[crop]), origin_mm=(x, y, z))
    options = {"half_axes": (7.1, 6.2, 8.7), "sigma_e_mm": 1.0, "sigma_c_mm": 0.8, "capsule_hu": 120.0}
    tumor = at(whole, ball(8.0, mass_effect_percent=30.0, **options), (15.0, 40.0, 30.0))  # near two faces of the crop
    in_whole = render(whole, plan_of(whole, tumor, sigma_p_hu=10.0)).apply(whole)
    in_cut = render(cut, plan_of(cut, tumor, sigma_p_hu=10.0)).apply(cut)
    np.testing.assert_array_equal(in_whole[1][crop], in_cut[1])
    # The local mean that tells noise from anatomy reaches 3 voxels: that far from the cut faces all is equal, but for
    # float32 coordinates that count from another corner.
    core = (slice(4, -4), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(in_whole[0][crop][core], in_cut[0][core], atol=0.01)


@pytest.mark.parametrize("mass_effect_percent", [0.0, 60.0])
def test_a_voxel_that_tumours_share_counts_once_and_a_real_tumours_counts_not(mass_effect_percent):
    real = np.zeros(SHAPE, bool)
    real[4:8, 4:8, 4:8] = True
    scan = flat_scan(SHAPE)
    scan = scan.with_voxels(scan.hu, np.where(real, 2, scan.inside).astype(np.uint8))
    tumor = ball(8.0, mass_effect_percent=mass_effect_percent)
    patch = render(scan, plan_of(scan, at(scan, tumor), at(scan, tumor, (20, 20, 28)), at(scan, tumor, (22, 20, 20))))
    labelled = (patch.apply(scan)[1] == 2) & ~real
    assert count_tumor_voxels(scan, patch) == labelled.sum()
    assert sum(outcome.volume_mm3 for outcome in patch.outcomes) > labelled.sum() > patch.outcomes[0].volume_mm3
    assert count_tumor_voxels(scan, render(scan, plan_of(scan))) == 0


# --- edited rows -----------------------------------------------------------------------------------------------------


def test_a_moved_row_renders_elsewhere():
    scan = flat_scan((41, 41, 61))
    tumor = at(scan, ball(8.0, half_axes=(6.0, 7.0, 8.0), sigma_e_mm=1.5, sigma_c_mm=0.8, capsule_hu=120.0))
    moved = replace(tumor, center_x_mm=tumor.center_x_mm + 12.0)
    first, second = (render(scan, plan_of(scan, t)).apply(scan) for t in (tumor, moved))
    for before, after in zip(first, second, strict=True):
        np.testing.assert_allclose(np.roll(before, 12, axis=2), after, atol=1e-3)


def test_a_row_is_moved_along_the_scans_own_axes():
    turned = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)  # x of the image runs along y in space
    scan = flat_scan(SHAPE, direction=turned)
    tumor = at(scan, ball(6.0))
    moved = replace(tumor, center_y_mm=tumor.center_y_mm + 5.0)
    first, second = (render(scan, plan_of(scan, t)).apply(scan)[1] for t in (tumor, moved))
    np.testing.assert_array_equal(np.roll(first, 5, axis=2), second)


def test_a_darker_row_renders_darker():
    scan = flat_scan(SHAPE)
    tumor = at(scan, ball(8.0, sigma_c_mm=0.8, mu_t_hu=60.0))
    first, second = (render(scan, plan_of(scan, t)) for t in (tumor, replace(tumor, mu_t_hu=20.0)))
    assert first.outcomes[0].mean_hu - second.outcomes[0].mean_hu == pytest.approx(40 * 0.93, abs=3)  # but for the edge
    np.testing.assert_array_equal(first.apply(scan)[1], second.apply(scan)[1])


def test_center_voxel_is_where_the_centre_lies():
    scan = flat_scan(SHAPE, (2.0, 1.0, 1.5))
    outcome = render(scan, plan_of(scan, at(scan, ball(), (10.4, 20.6, 30.0)))).outcomes[0]
    assert (outcome.center_z_voxel, outcome.center_y_voxel, outcome.center_x_voxel) == (10, 21, 30)


@pytest.mark.parametrize("index", [(-0.6, 20, 20), (20, 42.6, 20), (20, 20, 45.0)])
def test_a_centre_outside_the_scan_is_refused(index):
    scan = flat_scan(SHAPE)
    inside = at(scan, ball())
    with pytest.raises(TumorgenError, match=r"example_v0000, tumour 1: centre .* lies outside the scan"):
        render(scan, plan_of(scan, inside, at(scan, ball(), index)))


@pytest.mark.parametrize("index", [(-0.5, -0.5, -0.5), (40.49, 42.49, 44.49), (0, 20, 44)])
def test_a_centre_at_the_scans_edge_renders(index):
    scan = scan_of(np.random.default_rng(0).normal(100, 10, SHAPE))
    tumor = ball(8.0, sigma_e_mm=2.0, sigma_c_mm=1.0, capsule_hu=120.0, mass_effect_percent=99.0)
    outcome = render(scan, plan_of(scan, at(scan, tumor, index))).outcomes[0]
    assert outcome.volume_mm3 > 0
    assert outcome.clipped_fraction > 0.3


def test_another_scan_is_refused():
    scan = scan_of(np.random.default_rng(0).normal(100, 10, SHAPE))
    plan = plan_of(scan, at(scan, ball()))
    array, place = scan.image.array, scan.geometry
    one_voxel, one_liver = array.copy(), scan.liver.copy()
    one_voxel[3, 4, 5] += 1
    one_liver[3, 4, 5] = False

    def other(array=array, liver=scan.liver, **geometry):
        return prepare_scan(Volume(array, replace(place, **geometry)), liver, Vessels(), "example")

    render(other(), plan)
    with pytest.raises(TumorgenError, match="its voxels or geometry differ"):
        render(other(one_voxel), plan)
    with pytest.raises(TumorgenError, match="another liver mask"):
        render(other(liver=one_liver), plan)
    with pytest.raises(TumorgenError, match="planned for shape"):
        render(other(spacing_mm=(1.0, 1.0, 1.01)), plan)
    with pytest.raises(TumorgenError, match="planned for shape"):
        render(other(array[1:], scan.liver[1:], shape=(40, 43, 45)), plan)
    with pytest.raises(TumorgenError, match="geometry differ"):
        render(other(origin_mm=(0.0, 0.0, 0.0)), plan)


# --- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_the_image_keeps_its_type(dtype):
    scan = scan_of(np.full(SHAPE, 100, dtype))
    image, label = render(scan, plan_of(scan, at(scan, ball(sigma_c_mm=0.8, sigma_t_hu=0.0)))).apply(scan)
    assert image.dtype == dtype
    assert label.dtype == np.uint8
    assert image[20, 21, 22] == 50
    reference = flat_scan(SHAPE)
    expected = render(reference, plan_of(reference, at(reference, ball(sigma_c_mm=0.8, sigma_t_hu=0.0)))).apply(
        reference
    )
    # Integers are rounded, not cut: never more than half a HU away, and zero on average.
    apart = image.astype(float) - expected[0]
    assert np.abs(apart).max() <= 0.5 + 1e-4
    assert abs(apart.mean()) < 0.01


def test_values_stay_within_the_type():
    values = np.float32([-40000.0, -1.5, -0.5, 0.4, 0.6, 2.5, 70000.0])
    assert cast_to_type(values, np.dtype("int16")).tolist() == [-32768, -2, 0, 0, 1, 2, 32767]
    assert cast_to_type(values, np.dtype("uint16")).tolist() == [0, 0, 0, 0, 1, 2, 65535]
    assert cast_to_type(values, np.dtype("float32")).tolist() == values.tolist()


def test_a_dark_tumour_does_not_wrap_round_in_unsigned_voxels():
    scan = scan_of(np.full(SHAPE, 60, np.uint16))
    image, _ = render(scan, plan_of(scan, at(scan, ball(mu_t_hu=-50.0, sigma_t_hu=30.0)))).apply(scan)
    assert image.max() < 200


# --- several tumours, and what is measured ---------------------------------------------------------------------------


def test_tumours_render_in_order_each_on_the_one_before():
    scan = flat_scan(SHAPE)
    dark = at(scan, ball(8.0, mu_t_hu=20.0, sigma_t_hu=0.0))
    bright = at(scan, ball(6.0, mu_t_hu=80.0, sigma_t_hu=0.0), (20.0, 21.0, 29.0))
    over, under = (render(scan, plan_of(scan, *pair)) for pair in ((dark, bright), (bright, dark)))
    both = literal_mask(scan, dark) & literal_mask(scan, bright)
    assert both.any()
    assert (over.apply(scan)[0][both] == 80).all()
    assert (under.apply(scan)[0][both] == 20).all()
    for patch in (over, under):
        image, label = patch.apply(scan)
        np.testing.assert_array_equal(label == 2, literal_mask(scan, dark) | literal_mask(scan, bright))
        assert set(np.unique(image)) == {20, 80, 100}


def test_a_third_tumour_is_rendered_on_what_both_before_it_left():
    scan = flat_scan(SHAPE)
    dark = at(scan, ball(9.0, mu_t_hu=20.0, sigma_t_hu=0.0))
    bright = at(scan, ball(8.0, mu_t_hu=80.0, sigma_t_hu=0.0), (20.0, 21.0, 25.0))
    third = at(scan, ball(1.0, gamma_max_mm=12.0, mass_effect_percent=30.0, mu_t_hu=50.0, sigma_t_hu=0.0))
    image, _ = render(scan, plan_of(scan, dark, bright, third, sigma_p_hu=0.0)).apply(scan)
    deep = ndimage.binary_erosion(literal_mask(scan, bright), iterations=3) & (distance_mm(scan, third) > 3)
    assert deep.sum() > 100
    assert (image[deep] == 80).all()  # the dark one lies below the bright one, also where the third moves them


def test_a_row_that_changes_nothing_is_measured_all_the_same():
    scan = flat_scan(SHAPE)
    tumor = at(scan, ball(8.0))
    first, again = render(scan, plan_of(scan, tumor, tumor)).outcomes
    assert again.volume_mm3 == first.volume_mm3
    assert again.mean_hu == first.mean_hu
    assert again.clipped_fraction == 0


def test_tumours_far_apart_do_not_depend_on_their_order():
    scan = scan_of(np.random.default_rng(2).normal(100, 10, (30, 30, 90)))
    tumors = [
        at(scan, ball(5.0, sigma_c_mm=0.8, mass_effect_percent=30.0, texture_seed=i), (15.0, 15.0, x))
        for i, x in enumerate((20.0, 65.0))
    ]
    assert bits(scan, plan_of(scan, *tumors)) == bits(scan, plan_of(scan, *tumors[::-1]))


def test_an_empty_plan_is_the_healthy_scan(scan):
    image, label = render(scan, plan_of(scan)).apply(scan)
    np.testing.assert_array_equal(image, scan.image.array)
    np.testing.assert_array_equal(label, scan.liver)


def test_outcomes_are_those_of_image_and_label():
    hu = np.random.default_rng(11).normal(100, 10, SHAPE)
    liver = np.indices(SHAPE)[2] < 26
    vessels_at = (slice(None), slice(18, 24), slice(14, 20))
    hu[vessels_at] += 80
    scan = scan_of(hu, (1.0, 0.9, 1.1), liver)
    tumor = at(scan, ball(8.0, half_axes=(7.0, 8.0, 9.0), sigma_c_mm=0.7))
    patch = render(scan, plan_of(scan, tumor))
    image, label = patch.apply(scan)
    here = label == 2
    outcome: Outcome = patch.outcomes[0]
    assert outcome.volume_mm3 == pytest.approx(here.sum() * 0.99, abs=0.001)
    assert outcome.equivalent_radius_mm == pytest.approx((3 * here.sum() * 0.99 / (4 * np.pi)) ** (1 / 3), abs=1e-4)
    assert outcome.mean_hu == pytest.approx(image[here].mean(), abs=1e-3)
    assert outcome.sd_hu == pytest.approx(image[here].std(), abs=1e-3)
    vessels = np.zeros(SHAPE, bool)
    vessels[scan.roi] = scan.vessels
    assert outcome.vessel_overlap == pytest.approx(vessels[here].mean(), abs=1e-4)
    assert 0.05 < outcome.vessel_overlap < 0.5
    full = literal_mask(scan, tumor)
    np.testing.assert_array_equal(here, full & liver)
    assert outcome.clipped_fraction == pytest.approx(1 - here.sum() / full.sum(), abs=1e-4)


def test_a_tumour_off_the_liver_leaves_no_label():
    liver = np.indices(SHAPE)[2] < 10
    scan = scan_of(np.full(SHAPE, 100.0), liver=liver)
    patch = render(scan, plan_of(scan, at(scan, ball(6.0), (20.0, 20.0, 35.0))))
    outcome = patch.outcomes[0]
    assert outcome.volume_mm3 == 0
    assert np.isnan(outcome.mean_hu)
    assert np.isnan(outcome.sd_hu)
    assert outcome.clipped_fraction == 1.0
    np.testing.assert_array_equal(patch.apply(scan)[0], scan.image.array)


def test_geometry_of_a_plan_is_compared_within_header_rounding():
    scan = flat_scan(SHAPE, (0.7, 0.7, 0.7))
    plan = plan_of(scan, at(scan, ball()))
    plan.check_fits(
        Geometry(SHAPE, (float(np.float32(0.7)), 0.7, 0.7)), plan.source_image_sha256, plan.source_mask_sha256
    )


def test_label_and_blended_image_agree_on_thick_slices():
    # The label is where at least half of a voxel is tumour, and the hard-edged blend weight is that very fraction.
    scan = flat_scan((13, 51, 51), THICK)
    tumor = at(scan, ball(12.0, half_axes=(10.0, 12.0, 14.0), sigma_t_hu=0.0, mu_t_hu=0.0))
    image, label = render(scan, plan_of(scan, tumor)).apply(scan)
    np.testing.assert_array_equal(label == 2, 1 - image / 100 >= 0.5)
    partial = np.unique(image)
    assert partial.size > 3  # thick slices have partial volumes
