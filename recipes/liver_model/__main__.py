"""`python -m liver_model`: see `make liver-model` and docs/liver-model.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tumorgen.errors import TumorgenError
from tumorgen.liver.devices import DEVICES, pick_device

from .settings import SETTINGS, Setting

if TYPE_CHECKING:
    from .cases import Fold

ROOT = Path(__file__).parents[2]
FOLDER = click.Path(path_type=Path, file_okay=False)
Command = Callable[..., Any]


def common(command: Command) -> Command:
    """Options of every command that trains."""
    for option in (
        click.option("--setting", type=click.Choice(list(SETTINGS)), default="full", show_default=True),
        click.option("--data", type=FOLDER, default=ROOT.parent / "shared" / "data", help="Scans and label maps."),
        click.option(
            "--work", type=FOLDER, default=Path("liver-model"), show_default=True, help="Folder of the results."
        ),
        click.option("--without", multiple=True, help="Source to leave out, e.g. btcv; may be repeated."),
        click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True),
        click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Number of processes."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True),
        click.option("--minutes", type=click.FloatRange(0.1), help="Longest training, instead of the setting's."),
    ):
        command = option(command)
    return command


@click.group()
def main() -> None:
    """The small liver model: from data to model folder."""


@main.command()
@common
@click.option("--only-cases", is_flag=True, help="Write the training cases and stop.")
@click.option("--output", type=FOLDER, help="Model folder  [default: WORK/model]")
def build(only_cases: bool, output: Path | None, **options: Any) -> None:
    """Write training cases, train, and write the model folder; existing results are kept."""
    recipe = Recipe(**options)
    trainings = recipe.cases()
    if not only_cases:
        model = output or recipe.work / "model"
        size = recipe.model(trainings, "all", model)
        click.echo(f"{model}: {size / 1e6:.2f} MB")


@main.command()
@common
@click.option("--scan", "scans", multiple=True, help="Real scans to leave out, one at a time  [default: all]")
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help="Page whose table to replace.")
def leave_one_out(scans: tuple[str, ...], page: Path | None, **options: Any) -> None:
    """Train without each real scan in turn and measure on it, on phantoms and on painted CTs of another seed."""
    from .labels import find_maps
    from .measure import held_out, measure, put, table

    recipe = Recipe(**options)
    trainings = recipe.cases()
    there = [fold.name.removeprefix("without_") for fold in trainings if fold.name.startswith("without_")]
    absent = [scan for scan in scans if scan not in there]
    if absent:
        raise TumorgenError(f"no real scan {absent[0]!r} here; there are {', '.join(there) or 'none'}")
    scores = []
    for number, scan in enumerate(scans or there):
        model = recipe.work / f"without_{scan}"
        recipe.model(trainings, model.name, model)
        maps = find_maps(recipe.data, recipe.without, scan)
        count = 0 if number else recipe.chosen.held_out
        cases = held_out(recipe.data, scan, maps, count, recipe.seed)
        scores += measure(model, cases, recipe.work / "pictures", recipe.jobs)
    text = table(scores)
    click.echo(text)
    if page:
        put(text, page)


@main.command(name="measure")
@click.argument("model", type=FOLDER)
@click.option("--data", type=FOLDER, default=ROOT.parent / "shared" / "data")
@click.option("--scan", default="", help="A real scan that the model has not seen.")
@click.option("--without", multiple=True)
@click.option(
    "--count",
    type=click.IntRange(0),
    default=8,
    show_default=True,
    help="Number of painted CTs; 0 also leaves out the phantoms.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--pictures", type=FOLDER)
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True)
def measure_model(
    model: Path,
    data: Path,
    scan: str,
    without: tuple[str, ...],
    count: int,
    seed: int,
    pictures: Path | None,
    jobs: int,
) -> None:
    """Measure a model folder on scans that it has not seen; the command cannot check that it has not.

    Without `--scan` these are the livers with tumours, which no training sees.
    """
    from itertools import chain

    from .labels import find_maps
    from .measure import held_out, lesions, measure, table

    cases = held_out(data, scan, find_maps(data, without, scan), count, seed)
    click.echo(table(measure(model, cases if scan else chain(lesions(data), cases), pictures, jobs)))


@main.command(hidden=True)
@click.argument("setting", type=click.Choice(list(SETTINGS)))
@click.argument("jobs", type=int)
def plan(setting: str, jobs: int) -> None:
    """nnU-Net's planning and preprocessing, in the environment that `train` sets."""
    from .train import plan_and_preprocess

    plan_and_preprocess(SETTINGS[setting], jobs)


@dataclass(frozen=True)
class Recipe:
    """The options of a command, and its steps, each of which keeps existing results."""

    setting: str
    data: Path
    work: Path
    without: tuple[str, ...]
    device: str
    jobs: int
    seed: int
    minutes: float | None

    @property
    def chosen(self) -> Setting:
        """The setting, with the training time of `--minutes`."""
        chosen = SETTINGS[self.setting]
        return replace(chosen, minutes=self.minutes) if self.minutes else chosen

    def cases(self) -> list[Fold]:
        """Write the training cases."""
        from .cases import write_dataset
        from .train import DATASET

        folder = self.work.absolute() / "nnUNet_raw" / DATASET
        return write_dataset(
            folder, self.data, self.chosen, seed=self.seed, without=self.without, jobs=self.jobs, tell=click.echo
        )

    def model(self, trainings: list[Fold], name: str, output: Path) -> int:
        """Train the base, continue from it, write the mean of both as a model folder and return its size in bytes."""
        from .export import export
        from .train import prepare, train

        device, work = pick_device(self.device), self.work.absolute()
        prepare(work, self.setting, self.chosen, self.jobs)
        base = train(work, 0, self.chosen, device, self.jobs)
        number = [fold.name for fold in trainings].index(name)
        return export(train(work, number, self.chosen, device, self.jobs, base), output, base)


if __name__ == "__main__":
    try:
        main()
    except TumorgenError as error:
        raise SystemExit(f"error: {error}") from error
