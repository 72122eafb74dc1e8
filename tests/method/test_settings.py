"""Settings: the paper's values, the TOML round trip, and every value that is refused."""

from __future__ import annotations

import tomllib
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from phantoms import ball_scan

from tumorgen.errors import TumorgenError
from tumorgen.fields import dump_toml, from_plain, help_of, to_plain
from tumorgen.method.recipes import find_settings, load_recipe
from tumorgen.method.sampling import draw_plan
from tumorgen.method.settings import (
    CONTRASTS,
    INTENSITIES,
    MIX,
    PATTERNS,
    REAL,
    STEPS,
    Settings,
    Size,
    load_settings,
    override,
)


def test_defaults_are_table_1():
    s = Settings()
    assert (s.vessels.offset_hu, s.vessels.sigma_a_base, s.vessels.sigma_a_per_hu) == (15.0, 0.5, 0.025)
    assert (s.intensity.model, s.intensity.lowest_hu, s.intensity.least_contrast_hu) == ("paper", 30.0, 10.0)
    assert s.intensity.fallback_contrast_hu == 40.0
    assert (s.texture.eta, s.texture.sigma_b_mm) == ((1.1, 1.5), 0.6)
    assert s.shape.half_axes == (0.75, 1.25)
    assert s.edge.sigma_c_mm == (0.6, 1.2)
    assert (s.mass_effect.strength_percent, s.mass_effect.reach) == (30.0, 1.3)
    c = s.capsule
    assert (c.low, c.high, c.added_hu, c.sigma_d_mm) == (0.4, 0.7, 120.0, 0.8)
    assert s.vessels.avoid
    assert s.shape.elastic
    assert s.edge.blur
    assert s.mass_effect.enabled
    assert c.enabled


def test_defaults_are_the_size_table():
    assert dict(Settings().classes) == {
        "tiny": Size(4, (3, 10), (0.5, 1)),
        "small": Size(8, (3, 10), (1, 2)),
        "medium": Size(16, (2, 5), (3, 6)),
        "large": Size(32, (1, 3), (5, 10)),
    }
    assert dict(Settings().mix) == {"tiny": (3, 10), "small": (5, 10), "medium": (2, 5), "large": (1, 3)}
    assert Settings().sizes == ("tiny", "small", "medium", "large", "mix")


@pytest.mark.parametrize(("model", "low", "mean", "high"), [("portal", -98, -11, 61), ("arterial", -44, 26, 146)])
def test_clinical_ranges(model, low, mean, high):
    contrast = CONTRASTS[model]
    assert (contrast.low_hu, contrast.mean_hu, contrast.high_hu) == (low, mean, high)
    assert low <= contrast.mode_hu <= high
    assert (low + contrast.mode_hu + high) / 3 == pytest.approx(mean)


def test_settings_are_values():
    assert Settings() == Settings()
    with pytest.raises(FrozenInstanceError):
        Settings().pattern = "single"
    first = Settings()
    first.classes["tiny"] = Size(5, (1, 1), (0, 0))
    assert Settings().classes["tiny"].radius_mm == 4  # a mapping of its own


# --- TOML ------------------------------------------------------------------------------------------------------------


def loaded(tmp_path, text: str) -> Settings:
    path = tmp_path / "s.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path)


def test_defaults_round_trip(tmp_path):
    assert loaded(tmp_path, dump_toml(Settings())) == Settings()
    assert loaded(tmp_path, "") == Settings()


def low_high(low: float, high: float) -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(st.floats(low, high), st.floats(low, high)).map(lambda p: (min(p), max(p)))


COUNTS = st.tuples(st.integers(1, 50), st.integers(1, 50)).map(lambda p: (min(p), max(p)))
BASE = Settings()
DRAWN = st.builds(
    Settings,
    pattern=st.sampled_from(PATTERNS),
    sizes=st.lists(st.sampled_from([*BASE.classes, MIX, REAL]), min_size=1, unique=True).map(tuple),
    real=st.sampled_from([load_recipe("lifelike").real, replace(load_recipe("lifelike").real, shared=0.0)]),
    vessels=st.builds(replace, st.just(BASE.vessels), avoid=st.booleans(), sigma_a_base=st.floats(0, 10)),
    intensity=st.builds(
        replace, st.just(BASE.intensity), model=st.sampled_from(INTENSITIES), lowest_hu=st.floats(-90, 90)
    ),
    texture=st.builds(replace, st.just(BASE.texture), eta=low_high(1, 10), sigma_b_mm=st.floats(0, 20)),
    shape=st.builds(replace, st.just(BASE.shape), elastic=st.booleans(), half_axes=low_high(1, 5)),
    edge=st.builds(replace, st.just(BASE.edge), sigma_c_mm=low_high(0, 20)),
    mass_effect=st.builds(
        replace, st.just(BASE.mass_effect), strength_percent=st.floats(0, 99), reach=st.floats(0.1, 5)
    ),
    classes=st.dictionaries(
        st.text("abcxyz-ü 0", min_size=1, max_size=6),
        st.builds(Size, st.floats(1, 40), COUNTS, low_high(0, 20)),
        max_size=3,
    ).map(lambda extra: {**BASE.classes, **extra}),
    mix=st.dictionaries(st.sampled_from(list(BASE.classes)), COUNTS, min_size=1),
)


@limits(max_examples=80)
@given(DRAWN)
def test_settings_round_trip(settings):
    assert from_plain(Settings, tomllib.loads(dump_toml(settings))) == settings
    assert from_plain(Settings, to_plain(settings)) == settings


def test_every_setting_is_in_the_file():
    def leaves(value: object, data: object) -> None:
        for field in fields(value):
            part = getattr(value, field.name)
            if is_dataclass(part):
                leaves(part, data[field.name])
            else:
                assert field.name in data

    leaves(Settings(), tomllib.loads(dump_toml(Settings())))


def test_a_part_of_a_class_can_be_changed_alone(tmp_path):
    s = loaded(tmp_path, "[classes.small]\nradius_mm = 9\n")
    assert s.classes["small"] == Size(9.0, (3, 10), (1, 2))
    assert type(s.classes["small"].radius_mm) is float
    assert s.classes["tiny"] == Settings().classes["tiny"]


def test_a_class_of_ones_own(tmp_path):
    text = 'sizes = ["huge"]\n[classes.huge]\nradius_mm = 50\ncount = [1, 2]\nsigma_e_mm = [8, 12]\n'
    assert loaded(tmp_path, text).classes["huge"] == Size(50.0, (1, 2), (8.0, 12.0))
    with pytest.raises(TumorgenError, match=r"classes\.huge: sigma_e_mm missing"):
        loaded(tmp_path, text.replace("sigma_e_mm = [8, 12]", ""))


def test_a_mixture_has_those_classes_alone_that_are_named(tmp_path):
    """Not what the recipe mixes besides: a file that leaves a class out, as `no-tiny` does, does without it."""
    assert loaded(tmp_path, "[mix]\ntiny = [1, 2]\n").mix == {"tiny": (1, 2)}
    assert "tiny" not in load_settings(find_settings("no-tiny"), load_recipe("turing")).mix
    assert "given whole" in help_of(Settings, "mix")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[texture]\ngrain = 1", r"unknown setting 'texture\.grain'; choose from model, necrosis"),
        ("colour = 3", "unknown setting 'colour'; choose from pattern, sizes"),
        ("[classes.small]\nradius = 3", r"unknown setting 'classes\.small\.radius'"),
        ('[texture]\neta = "rough"', r"texture\.eta: a list is needed, not 'rough'"),
        ("[texture]\neta = [1.1]", r"texture\.eta: 2 values are needed, not 1"),
        ("[texture]\neta = [1.1, true]", r"texture\.eta: True is not of type float"),
        ("texture = 3", "texture: a table is needed, not 3"),
        ("classes = 3", "classes: a table is needed, not 3"),
        ("[classes]\nsmall = 3", r"classes\.small: a table is needed, not 3"),
        ("mix = [1]", "mix: a table is needed"),
        ("[mix]\ntiny = [1.5, 2]", r"mix\.tiny: 1\.5 is not of type int"),
        ("[vessels]\navoid = 1", r"vessels\.avoid: 1 is not of type bool"),
        ('[vessels]\noffset_hu = "x"', r"vessels\.offset_hu: 'x' is not of type float"),
        ("[shape]\ndeform_points = 5.0", r"shape\.deform_points: 5\.0 is not of type int"),
        ("pattern = 3", "pattern: 3 is not of type str"),
        ("sizes = 'tiny'", "sizes: a list is needed"),
        ("[texture", "not a TOML file"),
        ("a = 1\na = 2", "not a TOML file"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path, text, message):
    with pytest.raises(TumorgenError, match=rf"s\.toml: {message}"):
        loaded(tmp_path, text)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(TumorgenError, match="cannot be read"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(TumorgenError, match="cannot be read"):
        load_settings(tmp_path)
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(TumorgenError, match="not a TOML file"):
        load_settings(tmp_path / "b.toml")


DOMAIN_ERRORS = [
    ("pattern", "spots", "unknown pattern 'spots'; choose from classes"),
    ("sizes", [], "sizes is empty"),
    ("sizes", ["tiny", "tiny"], "sizes 'tiny' is there twice"),
    ("sizes", ["huge"], "unknown size class 'huge'; choose from tiny, small, medium, large, mix"),
    ("intensity.model", "venous", "unknown intensity.model 'venous'"),
    ("intensity.least_contrast_hu", -1.0, "intensity.least_contrast_hu is -1.0; a value from 0 to 1000 is needed"),
    ("intensity.fallback_contrast_hu", 5.0, "intensity contrast is 10 to 5"),
    ("vessels.sigma_a_base", -0.1, "vessels.sigma_a_base is -0.1; a value from 0 to 10 is needed"),
    ("vessels.sigma_a_per_hu", 1.5, "vessels.sigma_a_per_hu"),
    ("texture.eta", [0.9, 1.2], "texture.eta is 0.9 to 1.2; an interval within 1 to 10"),
    ("texture.eta", [1.5, 1.1], "texture.eta is 1.5 to 1.1"),
    ("texture.eta", [1.1, float("nan")], "texture.eta"),
    ("texture.eta", [1.1, float("inf")], "texture.eta"),
    ("texture.sigma_b_mm", 21.0, "texture.sigma_b_mm"),
    ("shape.half_axes", [0.0, 1.0], "shape.half_axes"),
    ("shape.deform_points", 4, "shape.deform_points is 4; an odd number from 3 to 15"),
    ("shape.deform_points", 1, "deform_points is 1"),
    ("shape.deform_points", 17, "deform_points is 17"),
    ("satellite.deform_points", 6, "deform_points is 6"),
    ("edge.sigma_c_mm", [-1.0, 1.0], "edge.sigma_c_mm"),
    ("mass_effect.strength_percent", 100.0, "mass_effect.strength_percent"),
    ("mass_effect.strength_percent", -1.0, "mass_effect.strength_percent"),
    ("mass_effect.reach", 0.0, "mass_effect.reach"),
    ("capsule.low", 0.8, "capsule.low to capsule.high is 0.8 to 0.7"),
    ("capsule.high", 1.1, "capsule.high is 1.1; a value from 0 to 1"),
    ("capsule.least_radius_mm", -1.0, "capsule.least_radius_mm"),
    ("capsule.sigma_d_mm", -1.0, "capsule.sigma_d_mm"),
    ("multifocal.count", [0, 3], "multifocal.count"),
    ("satellite.count", [-1, 3], "satellite.count"),
    ("satellite.count", [5, 3], "satellite.count"),
    ("satellite.radius", [0.0, 0.3], "satellite.radius"),
    ("satellite.distance", [-1.0, 1.0], "satellite.distance"),
    ("satellite.sigma_e_factor", 6.0, "satellite.sigma_e_factor"),
    ("classes.small.radius_mm", 0.2, "classes.small.radius_mm"),
    ("classes.small.radius_mm", 101.0, "classes.small.radius_mm"),
    ("classes.small.count", [0, 3], "classes.small.count"),
    ("classes.small.sigma_e_mm", [2.0, 1.0], "classes.small.sigma_e_mm"),
    ("classes.mix", {"radius_mm": 5.0, "count": [1, 1], "sigma_e_mm": [0.0, 0.0]}, "call the class something else"),
    ("mix.huge", [1, 2], "unknown mix 'huge'"),
    ("mix.tiny", [3, 2], "mix.tiny"),
    ("mix", {"tiny": [0, 0]}, "all its counts are zero"),
]


def nested(name: str, value: object) -> dict[str, object]:
    for part in reversed(name.split(".")):
        value = {part: value}
    return value


@pytest.mark.parametrize(("name", "value", "message"), DOMAIN_ERRORS, ids=[f"{n}-{v}" for n, v, _ in DOMAIN_ERRORS])
def test_a_value_outside_its_domain_is_refused(name, value, message):
    with pytest.raises(TumorgenError) as error:
        from_plain(Settings, nested(name, value))
    assert message in str(error.value)


@pytest.mark.parametrize(
    "given",
    [
        {"vessels": {"offset_hu": float("nan")}},
        {"intensity": {"lowest_hu": float("nan")}},
        {"intensity": {"lowest_hu": -5000.0}},
        {"capsule": {"added_hu": float("nan")}},
        {"capsule": {"added_hu": 5000.0}},
        {"classes": {"small": {"sigma_e_mm": [0.0, 900.0]}}},
        {"classes": {"large": {"radius_mm": 100.0}}, "shape": {"half_axes": [1.0, 5.0]}},
        {"classes": {"tiny": {"radius_mm": 0.5}}, "shape": {"half_axes": [0.1, 1.0]}},
        {"pattern": "satellite", "sizes": ["tiny"], "satellite": {"radius": [0.01, 0.02]}},
        {"shape": {"half_axes": [0.1, 5.0]}},
        {"mass_effect": {"reach": 5.0}},
        {"pattern": "satellite", "satellite": {"sigma_e_factor": 5.0}},
    ],
    ids=str,
)
def test_what_is_taken_can_be_drawn(given):
    # What cannot be drawn must be refused here, before a run has begun.
    try:
        settings = from_plain(Settings, given)
    except TumorgenError:
        return
    assert "nan" not in str(given), "taken, and silently wrong"
    scan = ball_scan((6.0, 6.0, 6.0), noise_sd=5.0)
    for seed in range(8):
        for size_class in settings.sizes:
            draw_plan(scan, settings, np.random.default_rng(seed), size_class)


# --- the command line ------------------------------------------------------------------------------------------------


def test_nothing_to_override():
    assert override(Settings()) == Settings()


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_switched_off_alone(step):
    changed = override(Settings(), without=(step,))
    section, switch = STEPS[step]
    assert getattr(getattr(changed, section), switch) is False
    assert replace(changed, **{section: replace(getattr(changed, section), **{switch: True})}) == Settings()


def test_all_steps_are_switched_off():
    off = override(Settings(), without=tuple(STEPS))
    switches = [off.vessels.avoid, off.shape.elastic, off.edge.blur, off.mass_effect.enabled, off.capsule.enabled]
    assert not any(switches)


def test_override():
    s = override(Settings(), sizes=" tiny, mix,", pattern="multifocal", intensity="portal")
    assert (s.sizes, s.pattern, s.intensity.model) == (("tiny", "mix"), "multifocal", "portal")
    assert s.intensity.lowest_hu == 30.0


def test_satellites_have_a_large_main_tumour_unless_sizes_are_given():
    assert override(Settings(), pattern="satellite").sizes == ("large",)
    assert override(Settings(), pattern="satellite", sizes="medium").sizes == ("medium",)
    assert override(Settings(sizes=("small",)), pattern="satellite").sizes == ("small",)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sizes": "huge"}, "size class 'huge'"),
        ({"sizes": " , "}, "empty"),
        ({"pattern": "x"}, "pattern"),
        ({"intensity": "x"}, "intensity"),
    ],
)
def test_override_refuses_what_settings_refuse(changed, message):
    with pytest.raises(TumorgenError, match=message):
        override(Settings(), **changed)
