"""`python -m liver_model`: see `make liver-model` and docs/liver-model.md."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tumorgen.errors import TumorgenError

from .settings import SETTINGS

ROOT = Path(__file__).parents[2]
FOLDER = click.Path(path_type=Path, file_okay=False)
Command = Callable[..., Any]


def common(command: Command) -> Command:
    """Options of every command that trains."""
    for option in (
        click.option("--setting", type=click.Choice(list(SETTINGS)), default="full", show_default=True),
        click.option("--data", type=FOLDER, default=ROOT.parent / "shared" / "data", help="Scans and label maps."),
        click.option("--work", type=FOLDER, default=Path("liver-model"), show_default=True, help="What is made."),
        click.option("--without", multiple=True, help="A source not to use, as in --without btcv; may be repeated."),
        click.option("--device", type=click.Choice(["auto", "cuda", "cpu"]), default="auto", show_default=True),
        click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Processes."),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True),
        click.option("--minutes", type=click.FloatRange(0.1), help="Of training, at most; instead of the setting's."),
    ):
        command = option(command)
    return command


@click.group()
def main() -> None:
    """The small liver model: from data to model folder."""


@main.command()
@common
@click.option("--leave-out", default="", help="A real scan that is neither trained on nor painted from.")
@click.option("--only-cases", is_flag=True, help="Write the training cases and stop.")
@click.option("--output", type=FOLDER, help="Model folder  [default: WORK/model]")
def build(leave_out: str, only_cases: bool, output: Path | None, **options: Any) -> None:
    """Write training cases, train, and write the model folder; what is there is kept."""
    made = build_model(leave_out=leave_out, only_cases=only_cases, output=output, **options)
    click.echo(f"done: {made}")


@main.command()
@common
@click.option("--scan", "scans", multiple=True, help="Real scans to leave out, one at a time  [default: all]")
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help="Page whose table is to be replaced.")
def leave_one_out(scans: tuple[str, ...], page: Path | None, **options: Any) -> None:
    """Train without each real scan in turn and measure on it, on phantoms and on painted CTs of another seed."""
    from .cases import real_there
    from .labels import find_maps
    from .measure import held_out, measure, put, table

    data, work, seed = options["data"], options["work"], options["seed"]
    setting = SETTINGS[options["setting"]]
    scores = []
    for number, scan in enumerate(scans or real_there(data)):
        folder = work / f"without_{scan}"
        model = build_model(leave_out=scan, only_cases=False, output=None, **{**options, "work": folder})
        maps = find_maps(data, options["without"], scan)
        cases = held_out(data, scan, maps, 0 if number else setting.held_out_phantoms, seed)
        scores += measure(model, cases, work / "pictures", options["jobs"])
    text = table(scores)
    click.echo(text)
    if page:
        put(text, page)


@main.command(name="measure")
@click.argument("model", type=FOLDER)
@click.option("--data", type=FOLDER, default=ROOT.parent / "shared" / "data")
@click.option("--scan", default="", help="A real scan that the model has not seen.")
@click.option("--without", multiple=True)
@click.option("--count", type=click.IntRange(0), default=8, show_default=True, help="Phantoms, and painted CTs.")
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
    """Measure a model folder on scans that it has not seen: which those are, only you know."""
    from .labels import find_maps
    from .measure import held_out, measure, table

    click.echo(table(measure(model, held_out(data, scan, find_maps(data, without, scan), count, seed), pictures, jobs)))


@main.command(hidden=True)
@click.argument("setting")
@click.argument("jobs", type=int)
def plan(setting: str, jobs: int) -> None:
    """nnU-Net's planning and preprocessing, in the environment that `train` sets."""
    from .train import plan_and_preprocess, setting_of

    plan_and_preprocess(setting_of(setting), jobs)


def build_model(
    *,
    setting: str,
    data: Path,
    work: Path,
    without: tuple[str, ...],
    device: str,
    jobs: int,
    seed: int,
    minutes: float | None,
    leave_out: str,
    only_cases: bool,
    output: Path | None,
) -> Path:
    """Cases, training, export; returns the model folder, or the dataset's where only cases are wanted."""
    from .cases import write_dataset
    from .export import export
    from .train import DATASET, setting_of, train

    chosen = setting_of(setting)
    dataset = work.absolute() / "nnUNet_raw" / DATASET
    write_dataset(dataset, data, chosen, seed=seed, without=without, leave_out=leave_out, jobs=jobs, tell=click.echo)
    if only_cases:
        return dataset
    if device == "auto":
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    timed = replace(chosen, minutes=minutes) if minutes else chosen
    trained = train(work.absolute(), setting, timed, device, jobs)
    model = output or work / "model"
    size = export(trained, model)
    click.echo(f"{model}: {size / 1e6:.2f} MB")
    return model


if __name__ == "__main__":
    try:
        main()
    except TumorgenError as error:
        raise SystemExit(f"error: {error}") from error
