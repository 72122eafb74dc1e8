"""Arguments as people give them: what was meant for a shell names no folder, and what is given twice is not lost."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tumorgen.cli import main
from tumorgen.cli.kinds import EXISTING, FILE, FOLDER, Once, find_misread
from tumorgen.cli.options import NewDataset

MISREAD = [
    ('"real"', "has quotes around it"),
    ("'/data/real'", "has quotes around it"),
    ("~/raw", "begins with ~"),
    ("~someone/raw", "begins with ~"),
    ("$HOME/raw", "holds a variable"),
    ("${nnUNet_raw}/x", "holds a variable"),
    ("%USERPROFILE%/raw", "holds a variable"),
    (" real", "has a blank at an end"),
    ("real ", "has a blank at an end"),
    ("real\n", "has a blank at an end"),
    ("real;other", "has a semicolon in it"),
    pytest.param(
        "C:\\data\\raw", "is a path of Windows", marks=pytest.mark.skipif(os.name == "nt", reason="it is one")
    ),
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    return tmp_path


@pytest.mark.parametrize(("text", "why"), MISREAD)
def test_what_no_shell_has_read_is_said_and_no_folder_is_made(here, monkeypatch, text, why):
    for kind in (FOLDER, FILE):
        with pytest.raises(click.BadParameter, match=why):
            kind.convert(text, None, None)
    monkeypatch.setenv("nnUNet_raw", text)
    with pytest.raises(click.UsageError, match=rf"the environment's nnUNet_raw is .*{why}.*; or give --output"):
        _ = NewDataset(None, 501, "SynthLiver").root
    assert NewDataset(here / "out", 501, "SynthLiver").root == here / "out"
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["real", "real/", "./real", "does/not/exist/yet", "a folder", "a$", "50%", "a~b", "link", "."]
)
def test_other_names_are_taken(here, text):
    (here / "real").mkdir()
    (here / "link").symlink_to("real")
    assert find_misread(text) == ""
    assert find_misread(str(here / text)) == ""
    assert FOLDER.convert(text, None, None) == Path(text)


@pytest.mark.parametrize("name", ["a $cost", "~old", "one;two", "last "])
def test_what_is_there_is_what_it_is_called(here, name):
    (here / name).mkdir()
    assert find_misread(name) == ""
    assert find_misread(f"{name}/new") == ""


@pytest.mark.parametrize("text", ["./we;ird", "we;ird/", ".//we;ird", "{here}//we;ird", "we;ird//in", "./we;ird/./in"])
def test_what_is_there_is_found_however_its_path_is_written(here, text):
    (here / "we;ird" / "in").mkdir(parents=True)
    for kind in (FOLDER, EXISTING):
        assert kind.convert(text.format(here=here), None, None).is_dir()
    assert find_misread(text.format(here=here) + "/new") == ""
    assert "semicolon" in find_misread("./a;new")


def test_the_command_line_says_so(here):
    result = CliRunner().invoke(main, ["synth", "--output=~/raw"])
    assert result.exit_code == 2
    assert "Invalid value for '--output': '~/raw' begins with ~, which no shell has expanded" in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("synth --sizes tiny --sizes large,small", "--sizes is given twice; write --sizes tiny,large,small."),
        ("synth --pattern single --pattern single", "--pattern is given twice; it takes one value."),
        ("synth --shard 1/3 --shard 2/3 --shard 3/3", "--shard is given several times; it takes one value."),
        ("synth --settings mild --settings no-tiny", "--settings is given twice; it takes one value."),
        ("healthy --images . --images ..", "--images is given twice; it takes one value."),
        ("audit . --real . --real ..", "--real is given twice; it takes one value."),
        ("preprocess -d 501 -d 502", "--dataset-id is given twice; it takes one value."),
    ],
)
def test_what_is_given_twice_is_not_lost(here, words, said):
    done = CliRunner().invoke(main, words.split())
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1] == f"Error: {said}"


def test_every_input_that_is_one_file_or_folder_is_refused_when_there_are_two():
    """Two outputs, seeds or names are what scripts do that set one and let it be overruled."""
    inputs = {"images", "masks", "scans", "patients", "settings", "real", "synthetic", "compare", "labels", "answers"}
    commands = {**main.commands, **main.commands["turing"].commands}
    found = [
        (name, option.name, isinstance(option, Once))
        for name, command in commands.items()
        for option in command.params
        if option.name in inputs and not option.multiple and isinstance(option, click.Option)
    ]
    assert [(name, option) for name, option, once in found if not once] == [("liver-mask", "scans")]  # which it writes
    assert len(found) > 30
