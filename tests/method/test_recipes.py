"""Recipes: which there are, which is the default, and which one settings are of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tumorgen.method import recipes
from tumorgen.method.recipes import (
    DEFAULT_RECIPE,
    RECIPES,
    TABLE_1_RECIPE,
    find_differences,
    find_idle_settings,
    find_settings,
    load_recipe,
    nearest_recipe,
)
from tumorgen.method.sampling import draw_plan
from tumorgen.method.settings import STEPS, Settings, load_settings, override


def test_lifelike_is_the_default_and_settings_are_those_of_table_1():
    assert DEFAULT_RECIPE == "lifelike"
    assert load_recipe() == load_recipe("lifelike")
    with_bones = replace(Settings().mass_effect, bone_hu=180.0)  # which the mass effect leaves where they are
    assert load_recipe(TABLE_1_RECIPE) == replace(Settings(), mass_effect=with_bones)


def test_differences_are_told_by_their_dotted_names():
    old, new = Settings(), override(Settings(), without=("capsule",), sizes="tiny")
    assert find_differences(old, old) == {}
    assert find_differences(old, new) == {
        "sizes": (["tiny", "small", "medium", "large", "mix"], ["tiny"]),
        "capsule.enabled": (True, False),
    }


@pytest.mark.parametrize("name", RECIPES)
def test_settings_are_of_the_recipe_that_they_were_made_from(name):
    recipe = load_recipe(name)
    for changed in (
        recipe,
        override(recipe, sizes="tiny,small", intensity="portal"),
        override(recipe, pattern="satellite", without=("elastic",)),
    ):
        assert load_recipe(nearest_recipe(changed)) == recipe


def test_recipes_after_the_one_that_settings_are_of_are_not_read(monkeypatch):
    read, flat = [], recipes._flat_recipe
    monkeypatch.setattr(recipes, "_flat_recipe", lambda name: read.append(name) or flat(name))
    assert nearest_recipe(load_recipe("paper")) == "paper"
    assert read == ["lifelike", "paper"]


def test_of_recipes_that_are_alike_it_is_that_of_table_1():
    """Without a capsule alone, settings are as far from `turing` as from `paper`."""
    assert nearest_recipe(override(Settings(), without=("capsule",))) == "turing"


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("step", STEPS)
def test_any_step_of_any_recipe_can_be_switched_off(name, step):
    section, switch = STEPS[step]
    recipe = load_recipe(name)
    off = override(recipe, without=(step,))
    assert getattr(getattr(off, section), switch) is False
    assert replace(off, **{section: getattr(recipe, section)}) == recipe


@pytest.mark.parametrize("name", RECIPES)
def test_satellites_have_a_large_main_tumour_whatever_the_recipe(name):
    recipe = load_recipe(name)
    assert override(recipe, pattern="satellite").sizes == ("large",)
    assert override(recipe, pattern="satellite", sizes="real").sizes == ("real",)


IDLE = {
    "[intensity]\nlowest_hu = 33.0\nleast_contrast_hu = 12.0\nfallback_contrast_hu = 33.0": ("lifelike", "published"),
    "[published]\nlevel = [0.51, 0.52]\ndrop_hu = [70.0, 80.0]\nclump_mm = [4.0, 5.0]": ("lifelike", "paper"),
    "[texture]\neta = [1.2, 1.3]\nsigma_b_mm = 0.7": ("lifelike", "published"),
    "[texture]\nnecrosis = [0.1, 0.2]\nnecrosis_above_mm = 3.0\nnecrosis_extent = [0.5, 0.55]": ("paper", "published"),
    "[shape]\nhalf_axes = [0.9, 1.1]": ("lifelike",),
    "[edge]\nsigma_c_mm = [2.0, 3.0]": ("lifelike",),
    "[places]\nmost_clipped = 0.5\nmost_foreign = [0.4, 0.4]\ngap_mm = 9.0": ("paper", "published"),
    "[places]\nslices = [0.45, 0.55]\ninside_mm = 15.0": ("lifelike", "paper"),
    "[multifocal]\ncount = [7, 8]": ("lifelike", "paper", "published"),
    "[satellite]\ncount = [7, 8]": ("lifelike", "paper", "published"),
    "[mix]\ntiny = [7, 8]": ("lifelike", "paper", "published"),
    "[classes.large]\nradius_mm = 21": ("lifelike", "paper", "published"),
}


@pytest.mark.parametrize("text", IDLE)
@pytest.mark.parametrize("recipe", ["lifelike", "paper", "published"])
def test_settings_that_nothing_is_drawn_from_are_found(tmp_path, quiet, recipe, text):
    """What is said to be idle changes no tumour, and what is not does."""
    (path := tmp_path / "mine.toml").write_text(text + "\n")
    base = replace(load_recipe(recipe), sizes=("medium",))
    mine = load_settings(path, base)
    drawn, changed = (draw_plan(quiet, s, np.random.default_rng(0), "medium").tumors for s in (base, mine))
    looks = [
        [replace(t, eta=1.1, sigma_b_mm=0.6) if recipe != "paper" else t for t in each] for each in (drawn, changed)
    ]
    found = find_idle_settings(path, mine)
    if recipe in IDLE[text]:
        assert len([key for keys in found.values() for key in keys]) == text.count("=")
        assert looks[0] == looks[1]
    else:
        assert not found
        assert looks[0] != looks[1]


@pytest.mark.parametrize("name", RECIPES)
def test_a_copy_of_a_recipe_has_no_idle_settings(name):
    """Though it lists them all, on top of another one or with a class of its own."""
    path = find_settings(name)
    assert not find_idle_settings(path, load_settings(path, load_recipe()))
    assert not find_idle_settings(path, override(load_settings(path), sizes="tiny", intensity="portal"))
