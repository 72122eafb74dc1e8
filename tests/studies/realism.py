"""Do synthetic tumours look real? Every recipe audited beside real tumours: `make realism ARGS="--real FOLDER"`.

No test; pytest leaves it alone. `docs/realism.md` says what comes out. The measures are those of `tumorgen audit`; here
are the hosts, the four recipes, and what stands on that page. What is done lies in a folder, so that the study may be
stopped and goes on with the same command.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
from realism_hosts import count_off_parenchyma, write_hosts
from realism_page import Findings, Record, draw_lines, page_text
from realism_pictures import write_pictures
from realism_places import compare_places, compare_real
from study import write_between_markers

from tumorgen.cli import main as tumorgen
from tumorgen.fields import to_plain
from tumorgen.method import RECIPES, load_recipe

PAGE = Path(__file__).parents[2] / "docs" / "realism.md"
MARKER, DRAWS_MARKER = "realism", "realism-draws"
DATASET = "Dataset500_Realism"


@dataclass(frozen=True, slots=True)
class Study:
    """What is compared with what, and where it lies."""

    real: Path
    labels: Path | None
    patients: Path | None
    shown: Path | None
    work: Path
    per_scan: int
    networks: tuple[str, ...]
    jobs: int

    @property
    def hosts(self) -> Path:
        """Annotated scans, and what of their livers is healthy."""
        return self.work / "hosts"

    @property
    def found(self) -> Path:
        """Livers of the same scans, as `liver-mask` finds them."""
        return self.work / "found"

    def results(self, recipe: str) -> Path:
        """Where a recipe's audit lies."""
        return self.folder(recipe) / f"audit-of-{self.per_scan}{'' if recipe in self.networks else '-without-network'}"

    def folder(self, recipe: str) -> Path:
        """Where a recipe's samples lie; one that has been changed has another."""
        settings = repr(to_plain(load_recipe(recipe)))
        return self.work / f"{recipe}-{hashlib.sha256(settings.encode()).hexdigest()[:8]}"


def run(*words: object) -> None:
    """Run a command of tumorgen; what it writes to its output is not wanted here."""
    tumorgen.main([str(word) for word in words], standalone_mode=False)


def once(path: Path, make: Callable[[], Any]) -> Any:
    """What a JSON file holds; made and written where there is none."""
    if not path.exists():
        found = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))


def synthesize(
    recipe: str, images: Path, masks: Path, output: Path, per_scan: int, jobs: int, *, seed: int = 0
) -> Path:
    """Draw a recipe's tumours into scans; the dataset."""
    drawn = ("--recipe", recipe, "--per-scan", per_scan, "--dataset-id", 500, "--name", "Realism", "--seed", seed)
    run("synth", "--images", images, "--masks", masks, "--output", output, "--jobs", jobs, *drawn)
    return output / DATASET


def audit_recipe(study: Study, recipe: str, names: Sequence[str]) -> Findings:
    """Draw a recipe's tumours into the hosts, and compare them with the real ones."""
    click.echo(f"{recipe}:", err=True)
    folder, jobs = study.folder(recipe), study.jobs
    results = study.results(recipe)
    if not (results / "audit.json").exists():
        dataset = synthesize(recipe, study.hosts / "images", study.hosts / "masks", folder, study.per_scan, jobs)
        patients = ("--patients", study.patients) if study.patients else ()
        network = "--network" if recipe in study.networks else "--no-network"
        run("audit", dataset, "--real", study.real, *patients, "--output", results, "--jobs", jobs, network)
    places = {}
    if study.labels:
        labels, drawn = study.labels, folder / DATASET / "labelsTr"
        places = once(results / "places.json", lambda: compare_places(labels, drawn, study.patients, jobs))
    centers = {
        whose: once(results / f"centers-{whose}.json", lambda masks=masks: count_off(study, recipe, names, masks))
        for whose, masks in (("experts", study.hosts / "masks"), ("liver-mask", study.found))
    }
    return Findings(recipe, json.loads((results / "audit.json").read_text(encoding="utf-8")), places, centers)


def compare_with_others(study: Study) -> Record | None:
    """What is told of real lesions of other patients, if there are more label maps."""
    if not study.labels:
        return None
    folders = study.real, study.labels, study.patients
    return once(study.work / "others.json", lambda: compare_real(*folders, study.jobs))


def audit_draw(study: Study, recipe: str, seed: int) -> Findings:
    """What forests say of a recipe's tumours, drawn with a seed."""
    folder = study.folder(recipe) / f"seed-{seed}"
    results = folder / f"audit-of-{study.per_scan}"
    if not (results / "audit.json").exists():
        images, masks = study.hosts / "images", study.hosts / "masks"
        dataset = synthesize(recipe, images, masks, folder, study.per_scan, study.jobs, seed=seed)
        patients = ("--patients", study.patients) if study.patients else ()
        words = ("--output", results, "--jobs", study.jobs, "--no-network")
        run("audit", dataset, "--real", study.real, *patients, *words)
    return Findings(recipe, json.loads((results / "audit.json").read_text(encoding="utf-8")), {}, {})


def count_off(study: Study, recipe: str, names: Sequence[str], masks: Path) -> list[int]:
    """How many tumours the hosts get, and how many of their centres lie in what is no parenchyma."""
    settings = load_recipe(recipe)
    images = [study.hosts / "images" / f"{name}.nii.gz" for name in names]
    counts = [count_off_parenchyma(image, masks / image.name, settings, study.per_scan) for image in images]
    return [sum(each) for each in zip(*counts, strict=True)]


def find_livers(study: Study, names: Sequence[str]) -> None:
    """Have `liver-mask` find the livers of the hosts, once."""
    if not all((study.found / f"{name}.nii.gz").exists() for name in names):
        run("liver-mask", study.hosts / "images", study.found, "--scans", study.found / "scans.csv")


@cache
def show_recipe(study: Study, recipe: str) -> Path:
    """Draw a recipe's tumours into the scans that pictures show."""
    shown = study.shown or study.hosts
    return synthesize(recipe, shown / "images", shown / "masks", study.folder(recipe) / "shown", 8, study.jobs)


@click.command(help="Audit the tumours of each recipe beside real ones.")
@click.option(
    "--real", type=click.Path(path_type=Path, exists=True), required=True, help="Scans with tumours (label 2)."
)
@click.option("--labels", type=click.Path(path_type=Path, exists=True), help="More label maps, for places and shapes.")
@click.option("--patients", type=click.Path(path_type=Path, exists=True), help="Table of `case` and `patient`.")
@click.option(
    "--shown", type=click.Path(path_type=Path, exists=True), help="`images` and `masks` of scans that may be shown."
)
@click.option("--recipes", default=",".join(RECIPES), show_default=True)
@click.option("--per-scan", type=click.IntRange(1), default=20, show_default=True, help="Samples of each scan.")
@click.option(
    "--networks", default=",".join(RECIPES), show_default=True, help="Recipes about which a network is asked: minutes."
)
@click.option(
    "--draws",
    type=click.IntRange(0),
    default=0,
    help="Audit so many draws of the first recipe, by forests, and no more.",
)
@click.option("--work", type=click.Path(path_type=Path), default=Path("realism-study"), show_default=True)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True)
@click.option("--write", is_flag=True, help="Also write the tables and the figures into docs/.")
def main(recipes: str, networks: str, draws: int, write: bool, **given: Any) -> None:
    study = Study(networks=tuple(networks.split(",")), **given)
    names = write_hosts(study.real, study.hosts)
    if draws:
        text = draw_lines([audit_draw(study, recipes.split(",")[0], seed) for seed in range(draws)])
        click.echo("\n".join(text))
        if write:
            write_between_markers(PAGE, text, DRAWS_MARKER)
        return
    find_livers(study, names)
    found = [audit_recipe(study, recipe, names) for recipe in recipes.split(",")]
    text = page_text(found, compare_with_others(study))
    click.echo("\n".join(text))
    if write:
        audits = {each.recipe: study.results(each.recipe) for each in found}
        write_pictures(audits, {each.recipe: show_recipe(study, each.recipe) for each in found}, PAGE.parent)
        write_between_markers(PAGE, text, MARKER)


if __name__ == "__main__":
    main()
