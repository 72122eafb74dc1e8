"""What is quick gives the bits of what is plain: renderer and writer against the method written down without haste.

A point on the surface to the last bit of float32 (one in some dozens of large tumours) may fall on either side, since
the two count its index from different voxels. The seeds here draw none.
"""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pytest
from examples import COINS, THICK, at, ball, plan_of
from nifti_files import by_simpleitk
from phantoms import ball_volume
from plain_renderer import render_plainly
from scipy import ndimage

from tumorgen.dataset.raw import Dataset
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.recipes import load_recipe
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan, load_scan, prepare_scan
from tumorgen.method.settings import Settings, Vessels
from tumorgen.tables.manifest import read_manifest
from tumorgen.tables.sources import match_sources

SEED = 1
SPACINGS = {"isotropic": (1.4, 1.4, 1.4), "5 mm slices": THICK, "thin slices": (0.9, 1.3, 1.3)}


def small_scan(spacing, dtype="int16") -> Scan:
    """A ball of liver with a vessel in it, and not much around it."""
    volume, liver = ball_volume(spacing, size_mm=124.0, vessel_radius_mm=4.0, dtype=dtype)
    return prepare_scan(volume, liver, Vessels(), "ball")


@pytest.fixture(scope="module", params=SPACINGS.values(), ids=SPACINGS)
def ball_of(request: pytest.FixtureRequest) -> Scan:
    return small_scan(request.param)


def check(scan: Scan, plan: Plan, *, labelled: bool = True) -> None:
    image, label = render(scan, plan).apply(scan)
    plain_image, plain_label = render_plainly(scan, plan)
    np.testing.assert_array_equal(label, plain_label)
    np.testing.assert_array_equal(image, plain_image)
    assert (image.dtype, label.dtype) == (plain_image.dtype, plain_label.dtype)
    assert (label == 2).any() == labelled


@pytest.mark.parametrize("size_class", ["tiny", "small", "medium"])
def test_tumours_of_a_class(ball_of, size_class):
    check(ball_of, draw_variant(ball_of, Settings(sizes=(size_class,), pattern="multifocal"), 3, 0))


def test_a_large_tumour_and_what_it_pushes():
    scan = small_scan(THICK)
    large = draw_variant(scan, Settings(sizes=("large",), pattern="single"), 1, 0)
    before = at(scan, ball(6.0, sigma_e_mm=1.5, sigma_c_mm=0.9), (14.0, 70.0, 60.0))
    check(scan, replace(large, tumors=(before, *large.tumors), tumors_requested=2))


def test_satellites_lie_on_what_their_main_tumour_left(ball_of):
    plan = draw_variant(ball_of, Settings(sizes=("small",), pattern="satellite"), 2, 0)
    assert len(plan.tumors) > 2
    check(ball_of, plan)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_voxels_of_any_type(dtype):
    scan = small_scan(SPACINGS["thin slices"], dtype)
    check(scan, draw_variant(scan, Settings(sizes=("small",), pattern="multifocal"), 0, 0))


@pytest.mark.parametrize(
    "changes",
    [
        {"sigma_e_mm": 0.0},
        {"sigma_c_mm": 0.0, "capsule_hu": 0.0},
        {"mass_effect_percent": 0.0},
        {"capsule_hu": 0.0},
        {"sigma_e_mm": 9.0, "deform_points": 7},  # torn into pieces
        {"mass_effect_percent": 95.0, "gamma_max_mm": 25.0},
        {"eta": 1.0, "sigma_b_mm": 0.0},
        {"eta": 2.7, "sigma_b_mm": 2.0},
    ],
    ids=lambda changes: " ".join(f"{name}={value:g}" for name, value in changes.items()),
)
def test_rows_with_a_step_off_or_turned_up(changes):
    scan = small_scan(SPACINGS["5 mm slices"])
    row = ball(
        8.0, half_axes=(7.0, 8.0, 9.6), sigma_e_mm=1.5, sigma_c_mm=0.9, capsule_hu=120.0, mass_effect_percent=30.0
    )
    check(scan, plan_of(scan, at(scan, replace(row, **changes), (11.7, 70.2, 81.6))))


@pytest.mark.parametrize("changes", [{}, {"mass_effect_percent": 30.0, "grain_mm": 7.3, "clump_mm": 3.1}], ids=str)
def test_a_tumour_of_coins(ball_of, changes):
    row = ball(8.0, sigma_e_mm=1.5, deform_points=3, sigma_c_mm=1.5, **COINS)
    index = tuple(n / 2 + 0.3 for n in ball_of.geometry.shape)
    check(ball_of, plan_of(ball_of, at(ball_of, replace(row, **changes), index)))


@pytest.mark.parametrize("index", [(0.0, 70.0, 70.0), (11.0, 20.0, 75.0)], ids=["scan's", "liver's"])
def test_a_tumour_across_an_edge(index):
    scan = small_scan(SPACINGS["5 mm slices"])
    if index[0] == 0:
        scan = replace(scan, inside=np.ones_like(scan.inside))
    row = ball(8.0, sigma_e_mm=1.5, sigma_c_mm=0.9, capsule_hu=120.0, mass_effect_percent=30.0)
    check(scan, plan_of(scan, at(scan, row, index)))


# On the scan's own noise: turned, deformed, uneven, with a darker middle.
UNEVEN = ball(
    6.0,
    half_axes=(5.5, 4.8, 7.0),
    sigma_e_mm=1.5,
    sigma_c_mm=0.9,
    turn_deg=35.0,
    texture_model="scan",
    heterogeneity_hu=8.0,
    grain_mm=3.1,
    necrosis_hu=-12.0,
    necrosis_extent=0.4,
)
PLACES_MM = {"inside": (26, 42, 20), "over a vessel": (26, 30, 24), "liver's edge": (26, 40, 38), "both": (30, 30, 38)}


def half_scan(spacing, dtype="int16", liver_mm=41.0) -> Scan:
    """A piece of liver, 56 mm a side, that ends in x in fat, with a vessel along x."""
    shape = tuple(round(56 / s) for s in spacing)
    z, y, x = np.meshgrid(*[np.arange(n) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")
    liver = np.hypot(x + 60, y - 28) < 60 + liver_mm
    noise = ndimage.gaussian_filter(
        np.random.default_rng(3).normal(0, 30, shape), [0.6 if s < 2 else 0 for s in spacing]
    )
    hu = np.where(liver, 100.0, -80.0 if np.dtype(dtype).kind != "u" else 20.0) + noise
    hu[liver & (np.hypot(z - 28, y - 28) <= 4)] += 60
    hu = np.rint(hu.clip(0 if np.dtype(dtype).kind == "u" else -1000)) if np.dtype(dtype).kind in "iu" else hu
    return prepare_scan(
        Volume(hu.astype(dtype), Geometry(shape, spacing, (-70.0, -60.0, 30.0))), liver, Vessels(), "half"
    )


def put(scan: Scan, tumor: Tumor, position_mm) -> Tumor:
    """A tumour at a position (z, y, x) in mm from the first voxel."""
    return at(scan, tumor, tuple(mm / s for mm, s in zip(position_mm, scan.geometry.spacing_mm, strict=True)))


@pytest.fixture(scope="module", params=SPACINGS.values(), ids=SPACINGS)
def half(request: pytest.FixtureRequest) -> Scan:
    return half_scan(request.param)


@pytest.mark.parametrize("place", PLACES_MM)
def test_on_the_scans_own_noise(half, place):
    check(half, plan_of(half, put(half, UNEVEN, PLACES_MM[place])))


@pytest.mark.parametrize(
    "changes",
    [
        {"sigma_e_mm": 0.0, "heterogeneity_hu": 0.0, "necrosis_hu": 0.0},
        {"sigma_c_mm": 0.0},
        {"sigma_c_mm": 2.5, "necrosis_extent": 0.0},
        {"capsule_hu": 120.0},
        {"mass_effect_percent": 30.0},
        {"radius_mm": 0.5, "half_axis_z_mm": 0.6, "half_axis_y_mm": 0.5, "half_axis_x_mm": 0.4, "sigma_e_mm": 0.0},
        {"label_inset_mm": 0.3, "label_jitter_mm": 0.5},
        {"label_inset_mm": 2.0, "sigma_c_mm": 0.0},
        {"texture_model": "paper", "label_jitter_mm": 0.8, "mass_effect_percent": 30.0},
    ],
    ids=lambda changes: " ".join(f"{name}={value}" for name, value in changes.items()),
)
def test_rows_on_the_scans_own_noise_with_a_step_off_or_on(changes):
    scan = half_scan(SPACINGS["5 mm slices"], "float32")
    row = put(scan, replace(UNEVEN, **changes), PLACES_MM["over a vessel"])
    check(scan, plan_of(scan, row), labelled=row.radius_mm > 1)


@pytest.mark.parametrize("spacing", ["isotropic", "5 mm slices"])
def test_tumours_on_each_other_and_across_the_scans_end(spacing):
    scan = half_scan(SPACINGS[spacing], liver_mm=100.0)
    places = [(28, 28, 24), (28, 32, 30), (2, 28, 28), (28, 28, 54)]
    rows = [put(scan, replace(UNEVEN, shape_seed=n), mm) for n, mm in enumerate(places)]
    pushing = replace(rows[1], mass_effect_percent=30.0, mu_t_hu=80.0)
    check(scan, plan_of(scan, *rows, pushing, replace(rows[0], shape_seed=9, mu_t_hu=20.0)))


@pytest.mark.parametrize("dtype", ["float64", "uint16"])
def test_voxels_of_any_type_on_the_scans_own_noise(dtype):
    scan = half_scan(SPACINGS["isotropic"], dtype)
    check(scan, plan_of(scan, put(scan, UNEVEN, PLACES_MM["both"])))


def test_a_sample_of_the_default_recipe():
    scan = half_scan(SPACINGS["5 mm slices"])
    check(scan, draw_variant(scan, load_recipe("lifelike"), 5, 0))


def test_files_of_a_run_hold_what_simpleitk_writes_of_it(tmp_path):
    """From a command's first step to the last: chunks, planes held or not, processes; byte for byte below gzip."""
    volume, liver = ball_volume((2.5, 1.6, 1.6), size_mm=124.0, vessel_radius_mm=4.0)
    image, mask = tmp_path / "images" / "a.nii.gz", tmp_path / "masks" / "a.nii.gz"
    write_volume(volume, image)
    write_volume(Volume(liver, volume.geometry), mask)
    dataset, settings = Dataset(tmp_path / "D"), Settings(sizes=("tiny", "medium"))
    sources, _ = match_sources(image, mask)
    synthesize_dataset(Run(dataset, sources, settings, per_scan=4, seed=SEED, jobs=2))
    scan = load_scan(image, mask, case="a")
    records = read_manifest(dataset.manifest)
    assert len(records) == 4
    for record in records:
        plain = render_plainly(scan, draw_variant(scan, settings, SEED, record.plan.variant))
        for array, file in zip(plain, (record.files.image_file, record.files.label_file), strict=True):
            written = gzip.decompress((dataset.folder / file).read_bytes())
            assert written == by_simpleitk(Volume(array, scan.geometry), tmp_path)


def test_a_real_scan(data):
    image, mask = (data / "acrin042" / name for name in ("ct.nii.gz", "liver_pseudo.nii.gz"))
    scan = load_scan(image, mask)
    check(scan, draw_variant(scan, Settings(sizes=("small",)), 0, 0))
