"""Recipes: whose tumours are drawn. Each is a complete TOML file of settings, which users copy and change.

Variations name a few settings alone, and lie on top of a recipe. The files of both are in `manifests/recipes/` of the
sources, and are installed with the package.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

from ..fields import check_choice, read_toml, to_plain
from .settings import MIDDLE, MIX, PAPER, PARENCHYMA, PUBLISHED, SCAN, STEPS, Settings, load_settings

# Names and what they stand for.
RECIPES: Mapping[str, str] = MappingProxyType(
    {
        "lifelike": "as real tumours measure",
        "paper": "what the paper trains on: Table 1 without mass effect and capsule",
        "turing": "all steps of the paper's section 3, which it shows to radiologists",
        "published": "what the authors' released code is described to do",
    }
)
VARIATIONS: Mapping[str, str] = MappingProxyType(
    {
        "mild": "one small tumour, no mass effect, no capsule (section 3.2)",
        "multifocal": "two to five small tumours, spread over the liver (section 3.2)",
        "severe": "a large, irregular tumour with a cluster of satellites (section 3.2)",
        "no-tiny": "an ablation: no tiny tumours (Table 4)",
    }
)
_ABOUT: Mapping[str, tuple[str, ...]] = MappingProxyType({"severe": ("mass_effect", "capsule")})  # without naming them
# Settings that are drawn from only where another one has a value: how their names begin, those others, the value.
_ONLY_WITH: tuple[tuple[tuple[str, ...], tuple[str, ...], str], ...] = (
    (("intensity.lowest_", "intensity.least_", "intensity.fallback_"), ("intensity.model",), PAPER),
    (("published.drop_hu",), ("intensity.model",), PUBLISHED),
    (("published.level",), ("intensity.model", "texture.model"), PUBLISHED),
    (("published.",), ("texture.model",), PUBLISHED),
    (("texture.necrosis",), ("texture.model",), SCAN),
    (("texture.eta", "texture.sigma_b_mm"), ("texture.model",), PAPER),
    (("shape.half_axes",), ("shape.model",), PAPER),
    (("edge.sigma_c_mm",), ("edge.model",), PAPER),
    (("places.most_", "places.gap_mm"), ("places.model",), PARENCHYMA),
    (("places.slices", "places.inside_mm"), ("places.model",), MIDDLE),
    (("multifocal.",), ("pattern",), "multifocal"),
    (("satellite.",), ("pattern",), "satellite"),
)
DEFAULT_RECIPE = "lifelike"
# All that version 0.1.0 knew, and what the robustness benchmark dials: `Settings()`, but that bone stays where it is.
TABLE_1_RECIPE = "turing"
VARIED_RECIPE = TABLE_1_RECIPE  # which the variations were written for


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
    check_choice("recipe", (name,), tuple(RECIPES))
    return load_settings(find_settings(name))


def find_settings(name: str) -> Path:
    """The file of a bundled recipe or variation.

    Raises
    ------
    TumorgenError
        There is none of that name.
    """
    check_choice("settings", (name,), (*RECIPES, *VARIATIONS))
    return Path(str(files("tumorgen.recipes") / f"{name}.toml"))


def is_variation(path: Path) -> bool:
    """Whether a file is that of a bundled variation."""
    return path.stem in VARIATIONS and path == find_settings(path.stem)


def find_idle_steps(path: Path, settings: Settings) -> tuple[str, ...]:
    """Steps that a file of settings is about, and that what it was laid on top of leaves switched off.

    A file that switches a step off itself means it. What bundled variations are about besides is known.

    Raises
    ------
    TumorgenError
        The file cannot be read.
    """
    given, about = read_toml(path), _ABOUT.get(path.stem, ()) if is_variation(path) else ()
    steps = [section for section, switch in STEPS.values() if switch == "enabled"]
    named = {step for step in steps if isinstance(given.get(step), Mapping) and "enabled" not in given[step]}
    return tuple(step for step in steps if step in named.union(about) and not getattr(settings, step).enabled)


def find_idle_settings(path: Path, settings: Settings) -> Mapping[str, tuple[str, ...]]:
    """Settings of a file that nothing is drawn from: their names, by why they are not.

    A copy of a recipe lists all settings, so only those count that no recipe has with this value.

    Raises
    ------
    TumorgenError
        The file cannot be read.
    """
    now, found = _flat(to_plain(settings)), dict[str, tuple[str, ...]]()
    for key in _flat(read_toml(path)):
        why = _why_idle(key, settings, now)
        if why and all(now[key] != _flat_recipe(name).get(key) for name in RECIPES):
            found[why] = (*found.get(why, ()), key)
    return found


def _why_idle(key: str, settings: Settings, now: Mapping[str, object]) -> str:
    """Why nothing is drawn from a setting, by its dotted name; empty where something is."""
    sizes = {*settings.sizes, *(settings.mix if MIX in settings.sizes else ())}
    section, _, name = key.partition(".")
    if (section == "mix" and MIX not in sizes) or (section == "classes" and name.partition(".")[0] not in sizes):
        return f"sizes: {', '.join(settings.sizes)}"
    for begins, others, value in _ONLY_WITH:
        if key.startswith(begins):
            away = value not in [now[other] for other in others]
            return " and ".join(f"{other} is {now[other]}, not {value}" for other in others) if away else ""
    return ""


def nearest_recipe(settings: Settings) -> str:
    """Name of the recipe that the fewest settings differ from; of several alike the one of Table 1."""
    flat = _flat(to_plain(settings))
    for name in RECIPES:  # which are read as they are needed
        if not _differences(_flat_recipe(name), flat):
            return name
    return min(RECIPES, key=lambda name: (len(_differences(_flat_recipe(name), flat)), name != TABLE_1_RECIPE))


def find_differences(old: Settings, new: Settings) -> dict[str, tuple[object, object]]:
    """Find what differs between two settings: dotted name -> (old, new), None where there is no such key."""
    return _differences(_flat(to_plain(old)), _flat(to_plain(new)))


def _differences(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    return {key: (before.get(key), after.get(key)) for key in {**before, **after} if before.get(key) != after.get(key)}


@cache
def _flat_recipe(name: str) -> Mapping[str, object]:
    return _flat(to_plain(load_recipe(name)))


def _flat(nested: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in nested.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return flat
