"""Recipes: whose tumours are drawn. Each is a complete TOML file of settings, which users copy and change.

They lie in `manifests/recipes/` of the sources, and are installed with the package.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

from ..fields import check_choice
from .settings import Settings, load_settings

RECIPES = ("lifelike", "paper", "turing", "published")
DEFAULT_RECIPE = "turing"


@cache
def load_recipe(name: str = DEFAULT_RECIPE) -> Settings:
    """Settings of a recipe.

    Parameters
    ----------
    name
        `lifelike`: as real tumours measure; `paper`: what the paper trains on; `turing`: all steps of section 3, which
        the paper shows to radiologists; `published`: what the authors' released code is described to do.

    Raises
    ------
    TumorgenError
        There is no such recipe.
    """
    check_choice("recipe", (name,), RECIPES)
    with as_file(files("tumorgen.recipes") / f"{name}.toml") as path:
        return load_settings(path)
