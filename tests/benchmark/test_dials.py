"""The benchmark: of one tumour one thing is dialled, and nothing else changes."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from functools import partial

import numpy as np
import pytest
from phantoms import ball_scan

from tumorgen.benchmark.dials import CONTROL, DIMENSIONS, Benchmark, Default, benchmark_sampler, with_levels
from tumorgen.benchmark.regions import REGIONS, Regions
from tumorgen.errors import TumorgenError
from tumorgen.fields import dump_toml, load_toml
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan
from tumorgen.method.settings import Annotation, Settings, override
from tumorgen.tables.manifest import Dial

HALF_AXES = {"half_axis_z_mm", "half_axis_y_mm", "half_axis_x_mm"}
# What a dial turns, and what follows from it.
CHANGED = {
    "location": {"center_x_mm", "center_y_mm", "center_z_mm"},
    "size": {"radius_mm", "sigma_e_mm", "gamma_max_mm", *HALF_AXES},
    "shape": {"sigma_e_mm"},
    "intensity": {"mu_t_hu"},
    "texture": {"eta"},
}


@pytest.fixture(scope="module")
def scan() -> Scan:
    return ball_scan((4.0, 3.0, 3.0), vessel_radius_mm=4.0)


@pytest.fixture(scope="module")
def plans(scan) -> dict[Dial, Plan]:
    return drawn(scan)


def drawn(scan: Scan, benchmark: Benchmark | None = None, settings: Settings | None = None, seed: int = 0):
    benchmark = benchmark or Benchmark()
    draw = benchmark_sampler(benchmark, scan, settings or Settings(), seed)
    return {dial: draw(variant) for variant, dial in enumerate(benchmark.dials())}


def of(plans: dict[Dial, Plan], dimension: str) -> list[Tumor]:
    found = [plan.tumors for dial, plan in plans.items() if dial.dimension == dimension]
    assert all(len(tumors) == 1 for tumors in found)
    return [tumors[0] for tumors in found]


def test_labels_are_an_annotators_where_the_settings_ask_for_it(scan):
    settings = replace(Settings(), annotation=Annotation(0.7, 0.2))
    plans = drawn(scan, Benchmark(location=(), shape=(), texture=(), size=(8.0,), intensity=(40.0,)), settings)
    assert {(t.label_inset_mm, t.label_jitter_mm) for plan in plans.values() for t in plan.tumors} == {(0.7, 0.2)}


def test_twenty_five_variants_and_a_control(plans):
    assert len(plans) == 26
    assert [sum(dial.dimension == name for dial in plans) for name in DIMENSIONS] == [5] * 5
    assert next(iter(plans)) == CONTROL
    assert plans[CONTROL].tumors == ()
    assert [plan.variant for plan in plans.values()] == list(range(26))
    assert plans[CONTROL].sample == "ball_v0000"


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_one_thing_at_a_time(plans, dimension):
    """Common random numbers: the variants of a dimension differ in what is dialled and what follows from it alone."""
    tumors = of(plans, dimension)
    for name in (f.name for f in fields(Tumor)):
        values = [getattr(tumor, name) for tumor in tumors]
        # A coordinate may be the same in two regions; whatever else is dialled is another at every level.
        assert (len(set(values)) > 1) == (name in CHANGED[dimension])
        assert dimension == "location" or len(set(values)) in (1, 5)
    assert len({tumor.center_mm for tumor in tumors}) == (5 if dimension == "location" else 1)


def test_what_is_dialled_is_what_the_level_says(plans, scan):
    for dial, plan in plans.items():
        if dial == CONTROL or dial.dimension == "location":
            continue
        (tumor,) = plan.tumors
        value = {
            "size": tumor.radius_mm,
            "shape": tumor.sigma_e_mm,
            "intensity": tumor.mu_t_hu - scan.mu_p_hu,
            "texture": tumor.eta,
        }[dial.dimension]
        assert value == pytest.approx(float(dial.level), abs=1e-4)  # what is drawn is rounded to 1e-4


def test_all_else_is_at_the_default(plans, scan):
    for dial, plan in plans.items():
        for tumor in plan.tumors:
            if dial.dimension != "size":
                assert tumor.radius_mm == 16.0
            if dial.dimension not in ("size", "shape"):
                assert tumor.sigma_e_mm == 4.5
            if dial.dimension != "intensity":
                assert tumor.mu_t_hu == pytest.approx(scan.mu_p_hu - 40, abs=1e-4)
            if dial.dimension != "texture":
                assert tumor.eta == 1.3
            assert tumor.sigma_c_mm == pytest.approx(0.9)  # the middle of U(0.6, 1.2)


def test_size_scales_the_whole_tumour(plans):
    for tumor in of(plans, "size"):
        reference = of(plans, "size")[2]
        assert reference.radius_mm == 16
        scale = tumor.radius_mm / 16
        for name in CHANGED["size"]:
            assert getattr(tumor, name) == pytest.approx(scale * getattr(reference, name), abs=2e-4)  # both rounded


def test_each_location_is_in_its_region(plans, scan):
    regions = Regions.of(scan)
    voxels = {scan.voxel(n): n for n in range(scan.candidates.size)}
    for dial, plan in plans.items():
        if dial.dimension == "location":
            index = scan.geometry.to_index(plan.tumors[0].center_mm)
            candidate = voxels[tuple(int(i) for i in np.rint(index))]
            assert [name for name in REGIONS if regions.members[name][candidate]] == [dial.level]


def test_dimensions_have_draws_of_their_own(plans):
    """So that the default, a level of four dimensions, is four tumours and no file is there twice."""
    seeds = {name: of(plans, name)[0].texture_seed for name in DIMENSIONS}
    assert len(set(seeds.values())) == 5
    defaults = [plans[Dial("size", "16")], plans[Dial("shape", "4.5")], plans[Dial("texture", "1.3")]]
    assert len({plan.tumors[0].center_mm for plan in defaults}) > 1


def test_the_same_seed_draws_the_same_and_another_something_else(plans, scan):
    assert drawn(scan) == plans
    assert drawn(scan, seed=1)[Dial("size", "8")].tumors != plans[Dial("size", "8")].tumors


def test_other_levels_change_no_tumour_that_stays(plans, scan):
    other = drawn(scan, with_levels(Benchmark(), ["size=4,8", "location=left", "texture="]))
    assert len(other) == 1 + 2 + 1 + 5 + 5
    for dial, plan in other.items():
        if dial != Dial("size", "4"):
            assert plan.tumors == plans[dial].tumors


def test_another_scan_has_other_tumours(plans, scan):
    other = drawn(replace(scan, case="other"))
    assert not {p.tumors for p in other.values() if p.tumors} & {p.tumors for p in plans.values()}


def test_a_tumour_of_synth_is_none_of_the_benchmarks(plans, scan):
    seeds = {tumor.texture_seed for v in range(5) for tumor in draw_variant(scan, Settings(), 0, v).tumors}
    assert not seeds & {plan.tumors[0].texture_seed for plan in plans.values() if plan.tumors}


def test_a_size_that_its_place_is_not_clear_for_is_noted(plans, scan):
    """The place is drawn for r = 16 mm; the larger ones share it, and reach the vessel in the middle of the ball."""
    notes = {dial.level: plan.notes for dial, plan in plans.items() if dial.dimension == "size"}
    assert notes["2"] == notes["16"] == ""
    assert notes["44"] == "vessels_unavoidable"


def test_steps_are_switched_off_as_in_synth(scan):
    off = override(Settings(), without=("elastic", "capsule", "mass-effect", "vessels"))
    for plan in drawn(scan, settings=off).values():
        assert not plan.vessels_avoided
        assert plan.notes == ""
        for tumor in plan.tumors:
            assert (tumor.sigma_e_mm, tumor.capsule_hu, tumor.mass_effect_percent) == (0, 0, 0)


def test_the_sampler_travels_to_another_process(scan):
    sampler = pickle.loads(pickle.dumps(partial(benchmark_sampler, Benchmark())))
    assert sampler(scan, Settings(), 0)(7) == drawn(scan)[Dial("size", "8")]


def test_toml_round_trip(tmp_path):
    benchmark = Benchmark(Default(contrast_hu=-30.0), size=(4.0, 8.0), location=("left", "right"), texture=())
    (tmp_path / "b.toml").write_text(dump_toml(benchmark))
    assert load_toml(Benchmark, tmp_path / "b.toml") == benchmark


def test_levels_read_back_to_the_same_number():
    assert float(Benchmark(size=(4 / 3,)).dials()[6].level) == 4 / 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("weight=3", "DIMENSION=LEVEL"),
        ("size", "DIMENSION=LEVEL"),
        ("size=small", "numbers are needed"),
        ("size=0.1", "size: radius_mm is 0.1"),
        ("size=nan", "size: radius_mm is nan"),
        ("texture=0.5", "texture: eta is 0.5"),
        ("shape=-1", "shape: sigma_e_mm is -1"),
        ("size=8,8", r"size 8\.0 is there twice"),
        ("location=hilum", "unknown location 'hilum'; choose from dome, tip"),
    ],
)
def test_levels_that_no_tumour_has_are_refused(given, message):
    with pytest.raises(TumorgenError, match=message):
        with_levels(Benchmark(), [given])


def test_a_dimension_that_is_given_twice_is_refused():
    with pytest.raises(TumorgenError, match="levels 'size=8': size is given twice"):
        with_levels(Benchmark(), ["size=4", "texture=2", "size=8"])


def test_a_benchmark_without_levels_is_refused():
    with pytest.raises(TumorgenError, match="at least one level"):
        with_levels(Benchmark(), [f"{name}=" for name in DIMENSIONS])
