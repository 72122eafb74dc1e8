"""Paths as people give them: what was meant for a shell, and got past it, is no folder's name."""

from __future__ import annotations

import os
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tumorgen.cli import main
from tumorgen.cli.kinds import FILE, FOLDER, find_misread
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


def test_the_command_line_says_so(here):
    result = CliRunner().invoke(main, ["synth", "--output=~/raw"])
    assert result.exit_code == 2
    assert "Invalid value for '--output': '~/raw' begins with ~, which no shell has expanded" in result.stderr
