"""Options that several commands share, and choices that are the library's tables."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tumorgen.cli import main
from tumorgen.cli.kinds import Processes, TableChoice
from tumorgen.cli.options import SCANS, Folders, NewDataset, block, new_dataset, option
from tumorgen.fields import help_of
from tumorgen.liver.devices import DEVICES
from tumorgen.method.recipes import DEFAULT_RECIPE, RECIPES, TABLE_1_RECIPE
from tumorgen.method.settings import INTENSITIES, PATTERNS, SIZES, STEPS, Settings
from tumorgen.phantom.tissues import PHASES
from tumorgen.tables import scans


@dataclass(frozen=True)
class Pair:
    left: int = option(3, "One side.", type=click.IntRange(max=9))
    right: str | None = option(None, "The other.", "--other-side")


def test_a_block_reaches_the_command_as_one_value_and_keeps_its_place_among_the_options() -> None:
    @click.command()
    @click.option("--before")
    @block("pair", Pair, left=4)
    @click.option("--after")
    def command(before: str | None, pair: Pair, after: str | None) -> None:
        click.echo(f"{before} {pair} {after}")

    assert [option.name for option in command.params] == ["before", "left", "right", "after"]
    result = CliRunner().invoke(command, ["--other-side", "x", "--after", "y"])
    assert result.output == "None Pair(left=4, right='x') y\n"


@pytest.mark.parametrize(
    ("command", "option", "words"),
    [
        ("synth", "pattern", PATTERNS),
        ("synth", "intensity", INTENSITIES),
        ("synth", "without", tuple(STEPS)),
        ("liver-mask", "device", DEVICES),
        ("phantom", "phase", PHASES),
    ],
)
def test_choices_are_the_librarys_tables(command: str, option: str, words: tuple[str, ...]) -> None:
    (found,) = [parameter for parameter in main.commands[command].params if parameter.name == option]
    assert isinstance(found.type, TableChoice)
    assert found.type.choices == words
    result = CliRunner().invoke(main, [command, "--help"])
    assert all(word in result.output for word in words)


def test_help_of_a_setting_is_its_declaration() -> None:
    text = " ".join(CliRunner().invoke(main, ["synth", "--help"], terminal_width=110).output.split())
    for name in ("sizes", "pattern", "intensity.model"):
        assert help_of(Settings, name) in text
    assert text.count("[default: the recipe's]") == 3


@pytest.mark.parametrize(
    ("command", "default"),
    [("synth", DEFAULT_RECIPE), ("robustness", TABLE_1_RECIPE), ("worst", TABLE_1_RECIPE)],
)
def test_every_command_says_which_recipe_is_its_default(command: str, default: str) -> None:
    text = " ".join(CliRunner().invoke(main, [command, "--help"], terminal_width=110).output.split())
    meaning = "Which tumour model to use (`tumorgen recipes` lists them)."
    assert f"--recipe [{'|'.join(RECIPES)}] {meaning} [default: {default}]" in text
    (recipe,) = [parameter for parameter in main.commands[command].params if parameter.name == "recipe"]
    assert recipe.get_default(click.Context(main.commands[command])) == default


def test_the_table_of_scans_is_where_the_library_has_it() -> None:
    assert scans.SCANS == SCANS


def test_tables_are_not_on_the_way_of_help(tmp_path: Path) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from tumorgen.cli import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "print(*[name for name in sys.modules if name.startswith('tumorgen.') and 'cli' not in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {
        "tumorgen.errors",
        "tumorgen.interruptions",
        "tumorgen.wording",
        "tumorgen._version",
    }


@pytest.mark.parametrize(
    "wrong", [["--pattern", "stripes"], ["--intensity", "dim"], ["--without", "liver"], ["--sizes", "huge"]]
)
def test_a_word_that_is_not_there_is_a_usage_error(wrong: list[str]) -> None:
    result = CliRunner().invoke(main, ["synth", *wrong])
    assert result.exit_code == 2
    assert wrong[1] in result.stderr


def test_one_folder_of_two_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(click.UsageError, match="--images and --masks go together"):
        Folders(tmp_path, None).sources()
    assert Folders(None, None).sources() == ([], [])


@pytest.mark.parametrize("command", ["synth", "healthy", "robustness"])
def test_a_table_of_scans_beside_folders_of_scans_is_a_usage_error(command: str, tmp_path: Path) -> None:
    folders = ["--images", str(tmp_path), "--masks", str(tmp_path)]
    result = CliRunner().invoke(main, [command, *folders, "--scans", str(tmp_path / "scans.csv")])
    assert result.exit_code == 2
    assert "--scans FILE is instead of --images and --masks" in result.output


@pytest.mark.parametrize("command", ["synth", "healthy", "robustness", "mix"])
@pytest.mark.parametrize("told", [["--dataset-id", "600"], ["--name", "Foo"], ["--name", "Foo", "--dataset-id", "510"]])
def test_an_output_that_is_another_dataset_than_is_told_is_a_usage_error(
    command: str, told: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    needed = ["--real", "a"] if command == "mix" else []
    result = CliRunner().invoke(main, [command, *needed, "--output", "raw/Dataset510_Mine", *told])
    assert result.exit_code == 2
    assert f"--output raw/Dataset510_Mine and {' '.join(told[:2])} contradict each other" in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("", "named/Dataset501_SynthLiver"),
        ("--output raw", "raw/Dataset501_SynthLiver"),
        ("--output raw --dataset-id 7", "raw/Dataset007_SynthLiver"),
        ("--output raw/Dataset507_X", "raw/Dataset507_X"),
        ("--output raw/Dataset507_X --dataset-id 507 --name X", "raw/Dataset507_X"),
        ("--output Dataset507_X", "named/Dataset507_X"),
        ("--output Dataset508_Here", "Dataset508_Here"),
        ("--output raw/Dataset507", "raw/Dataset507/Dataset501_SynthLiver"),
    ],
)
def test_an_output_is_a_folder_of_datasets_or_by_its_name_the_dataset(
    given: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    @new_dataset()
    def command(new: NewDataset) -> None:
        click.echo(new.dataset().folder)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("nnUNet_raw", "named")
    (tmp_path / "Dataset508_Here").mkdir()
    assert CliRunner().invoke(command, given.split()).output == f"{folder}\n"


@pytest.mark.parametrize("jobs", ["0", "-2", "-5"])
def test_no_processes_and_fewer_are_a_usage_error(jobs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    needed = {"liver-mask": [".", "out"], "phantom": ["out"], "mix": ["--real", "a"]}
    for name in ("liver-mask", "phantom", "synth", "healthy", "robustness", "mix", "preprocess"):
        result = CliRunner().invoke(main, [name, *needed.get(name, []), "--jobs", jobs])
        assert result.exit_code == 2, name
        assert f"--jobs {jobs}: give a number of processes, or -1 for all cores" in result.output
    assert not (tmp_path / "out").exists()


def test_every_command_takes_the_same_for_a_number_of_processes() -> None:
    commands = {**main.commands, **main.commands["turing"].commands}  # type: ignore[attr-defined]
    kinds = [option.type for command in commands.values() for option in command.params if option.name == "jobs"]
    assert len(kinds) > 14
    assert all(isinstance(kind, Processes) for kind in kinds)


def test_nnunet_is_told_where_the_dataset_is_only_where_it_looks_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    new = NewDataset(None, 501, "SynthLiver")
    assert new.root == Path("nnUNet_raw")
    folders = [f"{name}={tmp_path / name}" for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")]
    assert new.export == f"export {' '.join(folders)}\n  "
    monkeypatch.setenv("nnUNet_preprocessed", "known")
    assert new.export == f"export {folders[0]} {folders[2]}\n  "
    monkeypatch.setenv("nnUNet_results", "known")
    assert new.export == f"export {folders[0]}\n  "
    monkeypatch.setenv("nnUNet_raw", str(tmp_path))
    assert (new.root, new.export) == (tmp_path, "")
    assert new.dataset().folder == tmp_path / "Dataset501_SynthLiver"


def test_no_two_commands_write_a_dataset_of_one_number_unless_they_are_told_to() -> None:
    numbers = {
        name: option.default
        for name, command in main.commands.items()
        for option in command.params
        if option.name == "dataset_id"
    }
    assert len(numbers) > 3
    assert len(set(numbers.values())) == len(numbers), numbers


def test_classes_are_listed_by_their_names() -> None:
    shown = " ".join(CliRunner().invoke(main, ["synth", "--help"]).output.split())
    assert all(name in shown for name in (*SIZES, "mix", "real"))
