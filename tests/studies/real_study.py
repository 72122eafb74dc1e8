"""Which synthetic tumours teach a network to find real ones? `make study ARGS="--real FOLDER"`.

No test; pytest leaves it alone. `docs/study.md` says what it shows and what it does not.

A unit is one training: of a kind of tumours (a recipe, or the real ones), with a seed, without a patient. Each is
written as a line of JSON as soon as it is done. The same command does what is missing, so the study can be run in
pieces.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import joblib
import numpy as np
from networks import build_unet, train_network
from real_cases import Case, Fold, folds_of, read_cases
from real_page import page_text, summary_lines, write_figure
from real_patches import IGNORED, SLICES, RealTumors, SyntheticTumors, Tumors, draw_batches, real_example
from real_scores import SLICES_FOR_THRESHOLD, best_threshold, judge_case, predict_example
from study import PAGE, write_between_markers

from tumorgen.errors import TumorgenError
from tumorgen.fields import to_plain
from tumorgen.method.recipes import RECIPES, load_recipe

REAL = "real"  # the kind of tumours that are none of a recipe
MARKER = "real study"


@dataclass(frozen=True)
class Setting:
    """What is trained; the defaults take two CPU cores an hour for two seeds and four patients."""

    steps: int = 1200
    batch: int = 8
    patch: int = 96
    features: tuple[int, ...] = (16, 32, 64, 128, 128)


@dataclass(frozen=True, slots=True)
class Unit:
    """One training: the kind of tumours it learns from, its seed, and the patient who is left out."""

    kind: str
    seed: int
    fold: Fold

    @property
    def key(self) -> tuple[str, int, str]:
        """What tells it from any other of a study."""
        return self.kind, self.seed, self.fold.patient


def units_of(kinds: Sequence[str], seeds: int, cases: Sequence[Case]) -> list[Unit]:
    """All trainings, in an order that compares the kinds as early as can be."""
    return [Unit(kind, seed, fold) for seed in range(seeds) for fold in folds_of(cases) for kind in kinds]


def tumors_of(unit: Unit, rng: np.random.Generator) -> Tumors:
    """Where the tumours of a training come from."""
    if unit.kind == REAL:
        return RealTumors(unit.fold.training)
    return SyntheticTumors.in_cases(unit.fold.training, load_recipe(unit.kind), rng)


def run_unit(unit: Unit, setting: Setting, about: str) -> dict[str, Any]:
    """Train on one core, choose a threshold, judge the scans of the patient who was left out."""
    import torch

    torch.set_num_threads(1)
    began, busy = time.monotonic(), time.process_time()
    patient = int.from_bytes(hashlib.sha256(unit.fold.patient.encode()).digest()[:4], "big")
    places, draws = np.random.default_rng([unit.seed, patient]).spawn(2)
    tumors = tumors_of(unit, draws)
    network = build_unet(SLICES, 2, setting.features, dimensions=2, seed=unit.seed)
    train_network(
        network, draw_batches(tumors, setting.batch, setting.patch, places), setting.steps, ignored_label=IGNORED
    )
    trained = time.monotonic()
    threshold = choose_threshold(network, tumors)
    judged = [
        judge_case(case.name, case.patient, predict_example(network, real_example(case)), threshold)
        for case in unit.fold.tested
    ]
    return {
        "about": about,
        "kind": unit.kind,
        "seed": unit.seed,
        "patient": unit.fold.patient,
        "threshold": threshold,
        "training_seconds": round(trained - began, 1),
        "testing_seconds": round(time.monotonic() - trained, 1),
        "cpu_seconds": round(time.process_time() - busy, 1),
        "cases": [figures.as_plain() for figures in judged],
    }


def choose_threshold(network: Any, tumors: Tumors) -> float:
    """Choose it on the training scans, with tumours of the kind that was learned: new ones where they are synthetic."""
    predictions = []
    for number in range(len(tumors.patients)):
        tumors.renew(number)
        predictions.append(predict_example(network, tumors.example(number), SLICES_FOR_THRESHOLD))
    return best_threshold(predictions)


def digest_of(kind: str, setting: Setting, cases: Sequence[Case]) -> str:
    """What a training's result depends on, its seed and patient apart: results of another setting are not mixed in."""
    drawn = None if kind == REAL else to_plain(load_recipe(kind))
    scans = [(case.name, case.patient, case.image.shape, int(case.label.sum())) for case in cases]
    return hashlib.sha256(repr((asdict(setting), drawn, scans)).encode()).hexdigest()[:12]


def read_results(path: Path, digests: dict[str, str]) -> list[dict[str, Any]]:
    """Lines of trainings of the same setting, recipe and scans; of other ones, and cut-off lines, none."""
    if not path.exists():
        return []
    results = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            result = json.loads(line)
        except json.JSONDecodeError:  # the command was killed while it wrote the line
            continue
        if digests.get(result["kind"]) == result["about"]:
            results.append(result)
    return results


def do_missing(
    units: Iterable[Unit], results: Sequence[dict[str, Any]], setting: Setting, digests: dict[str, str], jobs: int
) -> Iterator[dict[str, Any]]:
    """Run the trainings that have no result, some at a time; each comes as soon as it is done."""
    done = {(result["kind"], result["seed"], result["patient"]) for result in results}
    work = [joblib.delayed(run_unit)(unit, setting, digests[unit.kind]) for unit in units if unit.key not in done]
    yield from joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")(work)


def append_line(path: Path, result: dict[str, Any]) -> None:
    """Append a result; what a killed command left of a line is closed first."""
    with path.open("a+", encoding="utf-8") as file:
        file.seek(0)
        text = file.read()
        file.write(("\n" if text and not text.endswith("\n") else "") + json.dumps(result) + "\n")


@click.command(help="Train on the tumours of each recipe and on real ones, test on real ones of other patients.")
@click.option(
    "--real", type=click.Path(path_type=Path, exists=True), required=True, help="Scans with tumours (label 2)."
)
@click.option(
    "--patients",
    type=click.Path(path_type=Path, exists=True),
    help="Table of `case` (a scan) and `patient`; without it each scan is a patient of its own.",
)
@click.option("--kinds", default=",".join((REAL, *RECIPES)), show_default=True, help="Recipes, and real tumours.")
@click.option("--seeds", type=click.IntRange(1), default=2, show_default=True, help="Trainings of each.")
@click.option("--steps", type=click.IntRange(1), default=Setting.steps, show_default=True)
@click.option("--jobs", type=click.IntRange(1), default=1, show_default=True, help="Trainings at a time, a core each.")
@click.option("--results", type=click.Path(path_type=Path), default=Path("real-study.jsonl"), show_default=True)
@click.option("--train/--no-train", default=True, help="Whether missing ones are trained; else what is there is told.")
@click.option("--write", is_flag=True, help="Also write the tables and the figure into docs/study.md.")
def main(
    real: Path,
    patients: Path | None,
    kinds: str,
    seeds: int,
    steps: int,
    jobs: int,
    results: Path,
    train: bool,
    write: bool,
) -> None:
    setting, names = Setting(steps=steps), kinds.split(",")
    try:
        cases = read_cases(real, patients)
    except TumorgenError as error:
        raise click.ClickException(str(error)) from error
    units = units_of(names, seeds, cases)
    digests = {kind: digest_of(kind, setting, cases) for kind in names}
    wanted = {unit.key for unit in units}
    done = [r for r in read_results(results, digests) if (r["kind"], r["seed"], r["patient"]) in wanted]
    click.echo(f"{len(done)} of {len(units)} trainings are done; {results} has them", err=True)
    for result in do_missing(units, done, setting, digests, jobs) if train else ():
        append_line(results, result)
        done.append(result)
        figures = ", ".join(f"{case['case']} {case['average_precision']:.2f}" for case in result["cases"])
        click.echo(f"{result['kind']}, seed {result['seed']}: average precision {figures}", err=True)
    done.sort(key=lambda result: (names.index(result["kind"]), result["seed"], result["patient"]))
    click.echo("\n".join(summary_lines(done)))
    if write:
        write_figure(done, PAGE.parent)
        write_between_markers(PAGE, page_text(done), MARKER)


if __name__ == "__main__":
    main()
