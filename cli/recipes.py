"""`tumorgen recipes`."""

from __future__ import annotations

import click

from .common import as_usage_error


@click.command(
    epilog="""\b
Examples:
  tumorgen recipes                                         # what is bundled
  tumorgen recipes lifelike > mine.toml                    # to copy and change
  tumorgen synth --settings mine.toml
  tumorgen synth --recipe turing --settings severe"""
)
@click.argument("name", required=False)
def recipes(name: str | None) -> None:
    """List the bundled recipes and variations, or print the settings of one.

    A recipe is complete: `--recipe NAME`. A variation names a few settings and lies on top of a recipe: `--settings
    NAME`, which takes a file, too. The bundled ones were written for the recipe turing.
    """
    from tumorgen.method import DEFAULT_RECIPE, RECIPES, VARIATIONS, VARIED_RECIPE, find_settings

    if name:
        with as_usage_error():
            click.echo(find_settings(name).read_text(encoding="utf-8"), nl=False)
        return
    width = max(map(len, (*RECIPES, *VARIATIONS)))
    varied = f"variations (--recipe {VARIED_RECIPE} --settings NAME)"
    for title, listed in (("recipes (--recipe NAME)", RECIPES), (varied, VARIATIONS)):
        click.echo(f"{title}:")
        for each, meaning in listed.items():
            click.echo(f"  {each:<{width}}  {meaning}{'; the default' if each == DEFAULT_RECIPE else ''}")
