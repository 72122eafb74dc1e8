"""Tumours for arrays: one engine with `synth`, in whole cases and in patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from phantoms import ball_volume

from tumorgen.errors import TumorgenError
from tumorgen.imaging.mask_labels import LabelChoice
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
    with pytest.raises(TumorgenError, match="not a CT in HU"):
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


def test_a_label_map_is_refused_or_chosen_from(case):
    image, liver, scan = case
    organs = np.where(liver, 5, 0).astype(np.int16)
    organs[0] = 1
    spacing, rng = scan.geometry.spacing_mm, np.random.default_rng(1)
    with pytest.raises(TumorgenError, match=r"^label: holds 1, 5: a label map, no mask"):
        add_tumors(image, organs, spacing, rng, SMALL)
    _, label = add_tumors(image, organs, spacing, rng, SMALL, labels=LabelChoice(("5",)))
    assert_array_equal(label > 0, organs == 5)
    assert (label == TUMOR).any()


def test_real_tumours_are_refused_or_kept(case):
    image, liver, scan = case
    z, y, x = (n // 2 for n in liver.shape)
    there = liver.astype(np.float32)  # as transforms of other frameworks make labels
    there[z - 1 : z + 2, y - 3 : y + 4, x - 3 : x + 4] = 2
    spacing, rng = scan.geometry.spacing_mm, np.random.default_rng(1)
    with pytest.raises(TumorgenError, match="label 2 is a tumour that is really there"):
        prepare_arrays(image, there, spacing)
    kept = prepare_arrays(image, there, spacing, labels=LabelChoice(("1",), ("2",)))
    assert kept.real_tumor_voxels == (there == 2).sum()
    for new, label in (
        add_tumors(image, there, spacing, rng, SMALL, labels=LabelChoice(("1",), ("2",))),
        patch_with_tumors(kept, tuple(slice(0, n) for n in liver.shape), rng, SMALL),
    ):
        assert_array_equal(new[there == 2], image[there == 2])
        assert (label[there == 2] == TUMOR).all()
        assert (label == TUMOR).sum() > kept.real_tumor_voxels


def test_no_tumour_without_a_voxel_changes_an_image():
    """On slices of 10 mm, where half of those drawn are too small."""
    volume, liver = ball_volume((10.0, 3.0, 3.0), noise_sd=1.0)
    speck = replace(SMALL.classes["tiny"], radius_mm=2.0, sigma_e_mm=(0.1, 0.2))
    settings = Settings(sizes=("tiny",), classes={**SMALL.classes, "tiny": speck})
    for seed in range(4):
        rng = np.random.default_rng(seed)
        new, label = add_tumors(volume.array, liver, (10.0, 3.0, 3.0), rng, settings)
        assert (new != volume.array).any() == (label == TUMOR).any()


def scaled(hu: np.ndarray) -> np.ndarray:
    return (hu - hu.min()) / (hu.max() - hu.min())


def with_nan(hu: np.ndarray) -> np.ndarray:
    hu = hu.copy()
    hu[0, 0, 0] = np.nan
    return hu


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (scaled, "image: not a CT in HU: its lowest value is 0, so there is no air"),
        (lambda hu: scaled(hu) * 255, "image: not a CT in HU: its lowest value is 0, so there is no air"),
        (lambda hu: (hu - hu.mean()) / hu.std(), "image: not a CT in HU: its lowest value is -"),
        (lambda hu: scaled(hu) * 300 - 350, "image: not a CT in HU: its highest value is -50, so there is no tissue"),
        (with_nan, "image: holds NaN or infinite voxels"),
        (lambda hu: hu[None], r"the image has the shape \(1, "),
        (lambda hu: hu[:0], r"the image has the shape \(0, "),
    ],
)
@pytest.mark.parametrize("function", [add_tumors, prepare_arrays])
def test_an_image_that_is_no_ct_in_hu_is_refused_as_in_synth(case, change, reason, function):
    image, liver, scan = case
    rng = (np.random.default_rng(0),) if function is add_tumors else ()
    with pytest.raises(TumorgenError, match=reason):
        function(change(image), liver, scan.geometry.spacing_mm, *rng)


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (1.0, 1.0), (1.0, float("nan"), 1.0), (1.0, 1.0, -1.0), 1.0])
def test_sizes_of_a_voxel_that_are_none_are_refused(case, spacing):
    image, liver, _ = case
    with pytest.raises(TumorgenError, match="three sizes of a voxel"):
        add_tumors(image, liver, spacing, np.random.default_rng(0))


def test_another_generator_and_the_name_of_a_recipe_are_refused(case):
    image, liver, scan = case
    spacing, box = scan.geometry.spacing_mm, (slice(0, 9),) * 3
    for others in (np.random.RandomState(0), 0):
        with pytest.raises(TypeError, match=r"a numpy\.random\.Generator is needed"):
            add_tumors(image, liver, spacing, others)
        with pytest.raises(TypeError, match=r"a numpy\.random\.Generator is needed"):
            patch_with_tumors(scan, box, others)
    with pytest.raises(TypeError, match=r"settings are a str, but Settings are needed, as load_recipe\(name\) gives"):
        add_tumors(image, liver, spacing, np.random.default_rng(0), "paper")
    with pytest.raises(TypeError, match="settings are a str"):
        prepare_arrays(image, liver, spacing, settings="paper")


@pytest.mark.parametrize("recipe", ["lifelike", "paper"])
def test_tumours_do_not_depend_on_the_order_of_the_voxels_in_memory(recipe):
    """Nibabel's arrays are laid out the other way round: their voxels of noise once stayed foreign tissue."""
    volume, liver = ball_volume((2.0, 2.0, 2.0), vessel_radius_mm=4.0)
    settings = replace(load_recipe(recipe), sizes=("small",))
    same, turned = (
        add_tumors(image, mask, (2.0, 2.0, 2.0), np.random.default_rng(0), settings)
        for image, mask in ((volume.array, liver), (np.asfortranarray(volume.array), np.asfortranarray(liver)))
    )
    for one, other in zip(same, turned, strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("made", [list, lambda image: np.ma.masked_less(image, -500)], ids=["list", "masked"])
def test_an_image_that_is_no_plain_array_is_refused(case, made):
    image, liver, scan = case
    with pytest.raises(TypeError, match=r"the image is a \w+, but a plain numpy array is needed"):
        add_tumors(made(image), liver, scan.geometry.spacing_mm, np.random.default_rng(0))


@pytest.mark.parametrize(
    "along_z",
    [slice(-20, -1), slice(0, 10**6), slice(0, 20, 2), slice(9, 9), slice(None, 9), slice(9, None), (0, 20), 3],
)
def test_a_box_that_is_not_inside_the_case_is_refused(case, along_z):
    """Numpy counts -20 from the end: such a patch came without tumours."""
    scan = case[2]
    with pytest.raises(TumorgenError, match=r"three slices \(z, y, x\) with start and stop inside a case of \("):
        patch_with_tumors(scan, (along_z, slice(0, 9), slice(0, 9)), np.random.default_rng(0), SMALL)
    with pytest.raises(TumorgenError, match="three slices"):
        patch_with_tumors(scan, (slice(0, 9),) * 2, np.random.default_rng(0), SMALL)
