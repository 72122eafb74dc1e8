"""Preprocessed cases with tumours in whatever is cut out of them: what is measured, views, places, seeds.

The dataset here is a stand-in with nnU-Net's `load_case`; `test_trainer` has nnU-Net's own.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from phantoms import ball_volume
from scipy import stats

from tumorgen.errors import TumorgenError
from tumorgen.imaging.boxes import bounding_box
from tumorgen.labels import TUMOR
from tumorgen.method.measured import measured_arrays, needed_by
from tumorgen.method.recipes import load_recipe
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import MEASURED_LATER
from tumorgen.method.settings import Settings, Vessels
from tumorgen.training import measuring, preprocessed
from tumorgen.training.arrays import prepare_arrays
from tumorgen.training.frame import Frame, Normalization
from tumorgen.training.measuring import measure_case, measure_cases, recall_scan
from tumorgen.training.preprocessed import TumorCases, fixed_tumors, fresh_tumors

SPACING = (4.0, 2.5, 2.5)
CLIPPED = Normalization(mean_hu=95.0, sd_hu=25.0, low_hu=-20.0, high_hu=170.0)
FRAME = Frame(CLIPPED, SPACING)
SMALL = Settings(sizes=("tiny", "small"))


class Cases(SimpleNamespace):
    """Two normalised balls of liver, held in memory, with nnU-Net's interface; label -1 in one corner."""

    def load_case(self, identifier):
        volume, liver = ball_volume(SPACING, seed=int(identifier[-1]))
        seg = liver[None].astype(np.int16)
        seg[:, :3, :3, :3] = -1
        if identifier.startswith("real"):
            seg[:, liver.shape[0] // 2] *= TUMOR
        if identifier.startswith("empty"):
            seg[:] = 0
        locations = np.insert(np.argwhere(liver)[:50], 0, 0, axis=1)
        properties = {"spacing": list(SPACING), "class_locations": {1: locations, 2: []}}
        return CLIPPED.to_values(volume.array)[None], seg, None, properties


@pytest.fixture
def cases(tmp_path):
    (tmp_path / "source").mkdir()
    return Cases(identifiers=["ball_0", "ball_1"], source_folder=str(tmp_path / "source"))


def with_tumors(cases, tmp_path, draw=None, **options):
    skip = measure_cases(cases, tmp_path / "measured", FRAME, SMALL, 1)
    return TumorCases(cases, tmp_path / "measured", FRAME, SMALL, draw or fresh_tumors(SMALL), tuple(skip), **options)


def seeded(seed: int) -> None:
    """As nnU-Net's workers are seeded, by numpy's global state."""
    np.random.seed(seed)  # noqa: NPY002


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What no test seeds by itself comes out the same each time."""
    seeded(0)


def test_measured_once_and_again_when_something_has_changed(cases, tmp_path):
    folder = tmp_path / "measured"
    measure_case(cases, "ball_0", folder, FRAME, SMALL)
    written = (folder / "ball_0.json").stat().st_mtime_ns
    measure_case(cases, "ball_0", folder, FRAME, SMALL)
    assert (folder / "ball_0.json").stat().st_mtime_ns == written
    other = Settings(vessels=Vessels(offset_hu=20.0))
    measure_case(cases, "ball_0", folder, FRAME, other)
    assert (folder / "ball_0.json").stat().st_mtime_ns != written
    (tmp_path / "source" / "ball_0.b2nd").write_bytes(b"new")
    changed = (folder / "ball_0.json").read_text()
    measure_case(cases, "ball_0", folder, FRAME, other)
    assert (folder / "ball_0.json").read_text() != changed


def test_what_is_stored_is_what_was_measured(cases, tmp_path):
    tumors = with_tumors(cases, tmp_path)
    data, seg, _, _ = cases.load_case("ball_0")
    direct = prepare_arrays(CLIPPED.to_hu(data[0]), seg[0], SPACING, case="ball_0", clipped=True)
    scan = tumors.scan("ball_0", data, seg)
    for name in ("candidates", "clearance_mm", "vessels"):
        assert_array_equal(getattr(scan, name), getattr(direct, name))
        assert isinstance(getattr(scan, name), np.memmap), "worker processes would each have a copy"
    assert (scan.mu_p_hu, scan.sigma_p_hu, scan.sigma_a, scan.roi) == (
        direct.mu_p_hu,
        direct.sigma_p_hu,
        direct.sigma_a,
        direct.roi,
    )
    assert draw_variant(scan, SMALL, 0, 0) == draw_variant(direct, SMALL, 0, 0)


@pytest.mark.parametrize("recipe", ["lifelike", "paper"])
def test_what_tumours_need_besides_is_stored_and_not_measured_at_every_load(cases, tmp_path, recipe):
    settings = replace(load_recipe(recipe), sizes=("tiny",))
    folder = tmp_path / "measured"
    measure_cases(cases, folder, FRAME, settings, 1)
    tumors = TumorCases(cases, folder, FRAME, settings, fresh_tumors(settings))
    data, seg, _, _ = cases.load_case("ball_0")
    stored = tumors.scan("ball_0", data, seg)
    direct = prepare_arrays(CLIPPED.to_hu(data[0]), seg[0], SPACING, case="ball_0", clipped=True)
    known = [name for name in MEASURED_LATER if name in vars(stored)]
    assert tuple(known) == needed_by(settings)
    for name, array in measured_arrays(direct, known).items():
        again = measured_arrays(stored, known)[name]
        assert_array_equal(again, array)
        assert isinstance(again, np.memmap) or again.nbytes < 100, "worker processes would each have a copy"
    plan = draw_variant(stored, settings, 0, 0)
    assert plan == draw_variant(direct, settings, 0, 0)
    for first, second in zip(render(stored, plan).blocks, render(direct, plan).blocks, strict=True):
        assert_array_equal(first.image, second.image)
    assert [name for name in MEASURED_LATER if name in vars(stored)] == known, "measured anew"


def test_settings_that_need_something_else_measure_it(cases, tmp_path):
    folder, lifelike = tmp_path / "measured", replace(load_recipe("lifelike"), sizes=("tiny",))
    measure_cases(cases, folder, FRAME, SMALL, 1)
    with pytest.raises(TumorgenError, match="nothing was measured"):
        TumorCases(cases, folder, FRAME, lifelike, fresh_tumors(lifelike))
    measure_cases(cases, folder, FRAME, lifelike, 1)
    TumorCases(cases, folder, FRAME, lifelike, fresh_tumors(lifelike))


def test_the_clipping_hardly_moves_the_statistics(cases):
    """Both are of the bulk of the liver, which lies well within half a percent of each end. Vessels: at the liver's rim
    the filter of Eq. 1 sees -20 HU where there was air of -1000, which brings a few voxels of them back."""
    volume, liver = ball_volume(SPACING, vessel_radius_mm=4.0)
    clipped = CLIPPED.to_hu(CLIPPED.to_values(volume.array))
    whole, cut = (prepare_arrays(hu, liver, SPACING, clipped=True) for hu in (volume.array.astype(np.float32), clipped))
    assert cut.mu_p_hu == pytest.approx(whole.mu_p_hu, abs=0.5)
    assert cut.sigma_p_hu == pytest.approx(whole.sigma_p_hu, rel=0.02)
    assert (cut.vessels != whole.vessels).sum() <= 0.05 * whole.vessels.sum()


def test_a_cut_is_the_cut_of_the_rendered_case(cases, tmp_path):
    tumors = with_tumors(cases, tmp_path, fixed_tumors(SMALL, 0))
    seeded(0)
    data, seg, _, properties = tumors.load_case("ball_0")
    plain, healthy, _, _ = cases.load_case("ball_0")
    whole, label = np.array(data[:]), np.array(seg[:])
    scan = prepare_arrays(CLIPPED.to_hu(plain[0]), healthy[0], SPACING, case="ball_0", clipped=True)
    expected = [render(scan, draw_variant(scan, SMALL, 0, variant)).apply(scan) for variant in range(6)]
    (image,) = [image for image, truth in expected if np.array_equal(truth, np.maximum(label[0], 0))]
    # Values beyond the clipping have no way back; rounding of float32 in HU is 1e-5, in units of 25 HU less.
    assert_allclose(whole[0], CLIPPED.to_values(image), atol=1e-5)

    box = tuple(slice(n // 3, 2 * n // 3) for n in scan.geometry.shape)
    assert_array_equal(seg[(slice(None), *box)], label[(slice(None), *box)])
    # As in `test_patches`: corners of the blurs.
    assert_allclose(data[(slice(None), *box)], whole[(slice(None), *box)], atol=0.05 / 25)
    assert data.shape == plain.shape
    assert properties["spacing"] == list(SPACING)


def test_what_tumours_leave_keeps_its_bits(cases, tmp_path):
    tumors = with_tumors(cases, tmp_path)
    seeded(1)
    data, seg, _, _ = tumors.load_case("ball_0")
    plain, healthy, _, _ = cases.load_case("ball_0")
    new, label = data[:], seg[:]
    changed = np.zeros(label.shape, bool)
    for block in render(scan := tumors.scan("ball_0", plain, healthy), data._read.__self__.plan).blocks:
        changed[(slice(None), *block.box)] = True
    assert scan.case == "ball_0"
    assert_array_equal(new[~changed], plain[~changed])
    assert_array_equal(label[~changed], healthy[~changed])
    assert (label[:, :3, :3, :3] == -1).all()
    assert new.min() >= (CLIPPED.low_hu - CLIPPED.mean_hu) / CLIPPED.sd_hu - 1e-6
    assert set(np.unique(label)) == {-1, 0, 1, 2}


def test_oversampling_finds_the_tumours(cases, tmp_path):
    """nnU-Net centres a patch on one of these voxels: most of them must be tumour."""
    tumors = with_tumors(cases, tmp_path)
    seeded(2)
    hits = []
    for _ in range(5):
        _, seg, _, properties = tumors.load_case("ball_1")
        places = properties["class_locations"]
        assert places[TUMOR].shape[1] == 4
        assert len(places[1]) == 50
        label = seg[:]
        hits += [label[tuple(place)] == TUMOR for place in places[TUMOR]]
    assert np.mean(hits) > 0.7


def test_every_load_draws_anew_and_a_seed_repeats_it(cases, tmp_path):
    tumors = with_tumors(cases, tmp_path)

    def labels(seed):
        seeded(seed)
        return [np.array(tumors.load_case("ball_0")[1][:]) for _ in range(3)]

    first, again, other = labels(5), labels(5), labels(6)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first[0], other[0])


def test_workers_of_different_seeds_draw_one_distribution_and_never_the_same(cases, tmp_path):
    """Four seeds of 30 loads each, as four workers have them, against 120 loads of a fifth: radii, HU and places of
    the tumours, and how many a plan has; two-sample tests, each at a level of 1 in 1000."""
    tumors = with_tumors(cases, tmp_path)
    scan = tumors.scan("ball_0", *cases.load_case("ball_0")[:2])

    def plans(seed, count):
        seeded(seed)
        return [tumors.drawn(scan) for _ in range(count)]

    many, one = [plan for seed in range(4) for plan in plans(seed, 30)], plans(9, 120)
    assert len({plan.tumors for plan in many + one}) == 240
    assert stats.ks_2samp(*([len(plan.tumors) for plan in each] for each in (many, one))).pvalue > 0.001
    for name in ("radius_mm", "half_axis_z_mm", "sigma_e_mm", "mu_t_hu", "center_z_mm", "center_y_mm", "center_x_mm"):
        # The first of each plan: the others of a plan keep clear of it, so they are not independent.
        values = ([getattr(plan.tumors[0], name) for plan in each] for each in (many, one))
        assert stats.ks_2samp(*values).pvalue > 0.001, name


def test_validation_has_the_tumours_of_the_first_variants(cases, tmp_path):
    """Of five at least, as many of each size class: six of two classes, five of one."""
    tumors = with_tumors(cases, tmp_path, fixed_tumors(SMALL, 3))
    seeded(0)
    plans = {tumors.load_case("ball_0")[0]._read.__self__.plan for _ in range(80)}
    assert sorted(plan.variant for plan in plans) == [0, 1, 2, 3, 4, 5]
    assert Counter(plan.size_class for plan in plans) == {"tiny": 3, "small": 3}
    one = fixed_tumors(replace(SMALL, sizes=("real",)), 3)
    scan = tumors.scan("ball_0", *cases.load_case("ball_0")[:2])
    assert {one(scan).variant for _ in range(80)} == {0, 1, 2, 3, 4}


def test_cases_with_tumours_or_without_a_liver_stay_as_they_are(tmp_path):
    (tmp_path / "source").mkdir()
    names = ["ball_0", "real_1", "empty_2"]
    mixed = Cases(identifiers=names, source_folder=str(tmp_path / "source"))
    skip = measure_cases(mixed, tmp_path / "measured", FRAME, SMALL, 2)
    assert set(skip) == {"real_1", "empty_2"}
    assert "has tumours" in skip["real_1"]
    tumors = TumorCases(mixed, tmp_path / "measured", FRAME, SMALL, fresh_tumors(SMALL), tuple(skip))
    assert tumors.identifiers == names
    for name in skip:
        for given, own in zip(tumors.load_case(name)[:2], mixed.load_case(name)[:2], strict=True):
            assert_array_equal(given, own)


def test_a_case_that_a_mixture_lists_often_is_measured_once(cases, tmp_path, monkeypatch):
    often = Cases(identifiers=["ball_0"] * 3 + ["ball_1"], source_folder=cases.source_folder)
    asked, recall = [], measuring.recall_scan
    for module in (measuring, preprocessed):
        monkeypatch.setattr(module, "recall_scan", lambda case, *rest: asked.append(case) or recall(case, *rest))
    tumors = with_tumors(often, tmp_path)
    assert asked == ["ball_0", "ball_1"] * 2
    assert tumors.identifiers == often.identifiers


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_measurement_that_cannot_be_stored_ends_the_training(cases, tmp_path, jobs):
    """Else a full disk would leave cases without tumours, and the training would go on."""
    (tmp_path / "measured").write_text("a file, where the folder is to be")
    with pytest.raises(TumorgenError, match=r"ball_0: cannot be measured: .*cannot be written"):
        measure_cases(cases, tmp_path / "measured", FRAME, SMALL, jobs)


def test_a_case_that_cannot_be_read_ends_the_training(cases, tmp_path, monkeypatch):
    def damaged(self, identifier):
        raise OSError(f"{identifier} is damaged")

    monkeypatch.setattr(Cases, "load_case", damaged)
    with pytest.raises(TumorgenError, match="ball_0: cannot be measured: OSError: ball_0 is damaged"):
        measure_cases(cases, tmp_path / "measured", FRAME, SMALL, 1)


def test_only_boxes_can_be_cut(cases, tmp_path):
    data = with_tumors(cases, tmp_path).load_case("ball_0")[0]
    with pytest.raises(IndexError):
        data[0]
    with pytest.raises(IndexError):
        data[:, ::2]


def test_nothing_measured_is_said(cases, tmp_path):
    with pytest.raises(TumorgenError, match="nothing was measured for ball_0"):
        TumorCases(cases, tmp_path / "measured", FRAME, SMALL, fresh_tumors(SMALL))
    measure_cases(cases, tmp_path / "measured", FRAME, SMALL, 1)
    (tmp_path / "measured" / "ball_0_vessels.npy").write_bytes(b"cut off")
    about = json.loads((tmp_path / "measured" / "ball_0.json").read_text())["about"]
    assert recall_scan("ball_0", tmp_path / "measured", about) is None


def test_the_box_of_a_tumour_is_all_that_is_read(cases, tmp_path):
    """A case of clinical size is never read whole: `load_case` reads nothing, a cut reads it and its tumours."""
    tumors = with_tumors(cases, tmp_path)
    read = []

    class Spy:
        def __init__(self, array):
            self.array, self.shape, self.dtype = array, array.shape, array.dtype

        def __getitem__(self, key):
            read.append(np.prod([len(range(*part.indices(n))) for part, n in zip(key, self.shape, strict=True)]))
            return self.array[key]

    plain = cases.load_case("ball_0")
    spied = Cases(identifiers=cases.identifiers, source_folder=cases.source_folder)
    spied.load_case = lambda identifier: (Spy(plain[0]), Spy(plain[1]), None, plain[3])
    tumors.dataset = spied
    data, seg, _, _ = tumors.load_case("ball_0")
    assert read == []
    z, y, x = bounding_box(plain[1][0] > 0)
    corner = (slice(None), *(slice(s.start, s.start + 8) for s in (z, y, x)))
    data[corner], seg[corner]
    assert max(read) < plain[0].size / 3
