"""Recipes: which there are, which is the default, and which one settings are of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tumorgen.method import recipes
from tumorgen.method.recipes import (
    DEFAULT_RECIPE,
    RECIPES,
    TABLE_1_RECIPE,
    find_differences,
    load_recipe,
    nearest_recipe,
)
from tumorgen.method.settings import STEPS, Settings, override


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
