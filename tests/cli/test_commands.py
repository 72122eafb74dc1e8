"""What comes along is listed, printed and taken by name, and `--help` lists every command once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner

from tumorgen.cli import SECTIONS, main
from tumorgen.method.recipes import DEFAULT_RECIPE, RECIPES, VARIATIONS, find_settings, load_recipe
from tumorgen.method.settings import load_settings

README = Path(__file__).parents[2] / "README.md"


def test_every_file_that_comes_along_has_a_name_and_a_meaning():
    stems = {Path(str(file)).stem for file in files("tumorgen.recipes").iterdir() if str(file).endswith(".toml")}
    assert stems == {*RECIPES, *VARIATIONS}


def test_recipes_lists_them_all_and_says_which_is_the_default():
    lines = CliRunner().invoke(main, ["recipes"]).stdout.splitlines()
    for name, meaning in {**RECIPES, **VARIATIONS}.items():
        (line,) = [line for line in lines if line.split()[0] == name]
        assert meaning in line
        assert line.endswith("the default") == (name == DEFAULT_RECIPE)


@pytest.mark.parametrize("name", [*RECIPES, *VARIATIONS])
def test_one_is_printed_as_its_file_has_it(name):
    result = CliRunner().invoke(main, ["recipes", name])
    assert result.stdout == find_settings(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [["recipes", "severest"], ["synth", "--settings", "severest"]])
def test_an_unknown_name_is_one_line_that_says_which_there_are(command):
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert "severest" in line
    assert "mild, multifocal, severe, no-tiny" in line


@pytest.mark.parametrize(
    ("recipe", "settings", "said"),
    [
        ("lifelike", "severe", "severe is about mass_effect and capsule, too, which lifelike does not use; it was"),
        ("turing", "severe", ""),
        ("lifelike", "mild", ""),  # which switches both off
        ("lifelike", "no-tiny", ""),
        ("paper", "[capsule]\nadded_hu = 90.0", "mine.toml: is about capsule, which paper has switched off; enabled"),
        ("paper", "[capsule]\nadded_hu = 90.0\nenabled = true", ""),
        ("paper", "[capsule]\nadded_hu = 90.0\nenabled = false", ""),
        ("paper", "capsule = 3", ""),  # which is refused
        (
            "lifelike",
            "[edge]\nsigma_c_mm = [2, 3]",
            "mine.toml: no tumour depends on edge.sigma_c_mm (edge.model is fitted",
        ),
        ("paper", "[edge]\nsigma_c_mm = [2, 3]", ""),
    ],
)
def test_a_file_that_does_not_what_it_is_about_is_told(tmp_path, monkeypatch, recipe, settings, said):
    monkeypatch.chdir(tmp_path)
    if settings not in VARIATIONS:
        Path("mine.toml").write_text(settings)
        settings = "mine.toml"
    done = CliRunner().invoke(main, ["synth", "--recipe", recipe, "--settings", settings])
    assert done.exit_code != 0  # no scans, whose table is read after the settings
    assert f"note: {said}" in done.stdout if said else "note" not in done.stdout


def test_settings_are_taken_by_name_unless_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (kind,) = [each.type for each in main.commands["synth"].params if each.name == "settings"]
    base = load_recipe("turing")
    assert load_settings(kind("severe"), base).pattern == "satellite"
    Path("severe").write_text('pattern = "single"\n')
    assert load_settings(kind("severe"), base).pattern == "single"


def test_help_lists_every_command_once_with_its_first_sentence_whole():
    listed = [command for commands in SECTIONS.values() for command in commands]
    assert sorted(command.name for command in listed) == sorted(main.commands)
    help_text = " ".join(CliRunner().invoke(main, ["--help"], terminal_width=100).output.split())
    for command in listed:
        sentence = command.help.split("\n\n")[0].split(". ")[0]
        assert " ".join(sentence.split()).removesuffix(".") in help_text
    assert "..." not in help_text.replace("COMMAND [ARGS]...", "")


def test_the_program_is_a_module_too():
    done = subprocess.run([sys.executable, "-m", "tumorgen", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"python -m tumorgen \S+\n", done.stdout)


def test_nnunet_knows_its_folders_after_the_readmes_line(tmp_path):
    """On an account where nothing is set."""
    (line,) = [line.strip() for line in README.read_text().splitlines() if line.startswith("    export nnUNet_raw=")]
    names = "nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"
    clean = {name: value for name, value in os.environ.items() if name not in names}
    script = f"cd {tmp_path} && {line} && env"
    done = subprocess.run(["bash", "-c", script], env=clean, capture_output=True, text=True, check=True)
    for name in names:
        assert f"{name}={tmp_path / name}" in done.stdout.splitlines()
