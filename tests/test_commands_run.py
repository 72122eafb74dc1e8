"""Every command that README, docs and `--help` show is run, in a folder that holds what these lines assume.

Each line runs as it is shown, in this process, in a folder of its own. Numbers that only say how much are smaller, the
liver is found by a threshold instead of a network, and pictures are not drawn: other tests see to these. A line that is
new is run without being named here.
"""

from __future__ import annotations

import base64
import os
import shlex
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import joblib
import pytest
from documented_world import FEW_LEVELS, build_world, copy_world, tool
from matplotlib.figure import Figure
from test_documented_commands import SHOWN

LINES = sorted({shlex.join(words) for lines in SHOWN.values() for words in lines if "--help" not in words})
ELSEWHERE = {  # what needs more than a folder: the test that runs it, and a word of the line that is in it
    "synth --per-scan 1000 --scheduler tcp://host:8786": ("generation.test_cluster", "test_as_typed", "--scheduler")
}
SMALL = {"--shape": ["30", "45", "45"], "--spacing": ["8", "8", "8"]}
SMALLER = {"--per-scan": ["1"], "--count": ["1"], "--jobs": ["1"], **SMALL}
MORE = {
    "audit": ["--no-network"],  # tests/realism/test_audit_network.py
    "phantom": [word for name, values in SMALL.items() for word in (name, *values)],
    "preview": ["--count", "1"],
    "robustness": FEW_LEVELS,
    "synth": ["--per-scan", "1"],
    "turing make": ["--count", "5"],
}
NEW = {  # what a line makes, which is there for other lines
    "synth": "nnUNet_raw/Dataset501_*",
    "robustness": "nnUNet_raw/Dataset504_*",
    "turing make": "study",
    "fit": "mine.toml",
}
BEFORE = {"verify nnUNet_raw/Dataset501_SynthLiver --preprocessed": "preprocess -d 501"}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def save_nothing(_: Figure, target: Path | IO[Any], *, format: str = "png", **__: object) -> None:
    """Write a picture of one pixel, or of nothing."""
    if isinstance(target, Path):
        target.write_bytes(PIXEL)
    else:
        target.write(PIXEL if format == "png" else '<svg viewBox="0 0 1 1"></svg>')


def stand_in(folder: Path, patch: pytest.MonkeyPatch) -> None:
    """Stand in a folder that nnU-Net's variables name, too."""
    patch.chdir(folder)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        patch.setenv(name, str(folder / name))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(joblib, "cpu_count", lambda: 1)
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(Figure, "savefig", save_nothing)
        patch.setattr("webbrowser.open", lambda _: True)
        patch.setattr("tumorgen.turing.server.StudyServer.serve_forever", lambda _: None)
        patch.setattr("tumorgen.liver.open_model", lambda *_: nullcontext())
        patch.setattr("tumorgen.liver.load_model", lambda *_, **__: lambda ct: ct.array > 0)
        patch.setattr("tumorgen.realism.shape_tables.DRAWN", 4)
        patch.setattr("tumorgen.realism.shape_tables.ROUNDS", 1)
        patch.setattr("tumorgen.realism.telling.TREES", 3)
        patch.setattr("tumorgen.realism.telling.SHUFFLES", 1)
        stand_in(root, patch)
        build_world(root)
        yield root


def made_smaller(line: str) -> list[str]:
    """A line's words with numbers that cost less, and with paths that lie in the folder."""
    words, taken = shlex.split(line), []
    while words:
        word = words.pop(0)
        taken.append(word.removeprefix("/") if word.startswith(("/home/", "/shared/")) else word)
        if word in SMALLER:
            taken += SMALLER[word]
            del words[: len(SMALLER[word])]
    return [*taken, *_more(line)]


def _more(line: str) -> list[str]:
    known = next((more for command, more in MORE.items() if line.startswith(command)), [])
    return [] if set(known[:1]) & set(line.split()) or "--from-manifest" in line else known


def begin_anew(line: str, folder: Path) -> None:
    """Remove what a line is to make."""
    for command, made in NEW.items():
        for there in folder.glob(made) if line.startswith(command) else ():
            shutil.rmtree(there) if there.is_dir() else there.unlink()


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, marks=pytest.mark.slow if "preprocess" in line else ())  # plans are nnU-Net's
        for line in LINES
        if line not in ELSEWHERE
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_line_that_is_shown_runs(line, world, tmp_path, monkeypatch):
    folder = copy_world(world, tmp_path / "world")
    stand_in(folder, monkeypatch)
    begin_anew(line, folder)
    if line in BEFORE:
        assert tool(*shlex.split(BEFORE[line])).exit_code == 0
    result = tool(*made_smaller(line))
    assert result.exit_code == 0, f"tumorgen {line}: {result.output}{result.exception!r}"


@pytest.mark.parametrize("line", ELSEWHERE)
def test_a_line_that_needs_more_than_a_folder_is_run_by_another_test(line):
    module, name, word = ELSEWHERE[line]
    assert line in LINES
    assert word in line.split()
    file = Path(__file__).parent / f"{module.replace('.', '/')}.py"
    body = file.read_text(encoding="utf-8").partition(f"def {name}(")[2].partition("\n\n\n")[0]
    assert f'"{word}"' in body


def test_a_line_that_does_not_run_is_told(world, tmp_path, monkeypatch):
    stand_in(copy_world(world, tmp_path / "world"), monkeypatch)
    assert tool(*made_smaller("synth --settings none.toml")).exit_code == 2
    assert tool(*made_smaller("verify nnUNet_raw/Dataset999_None")).exit_code != 0
    assert made_smaller("synth --per-scan 20 --output /shared/x") == [
        "synth",
        "--per-scan",
        "1",
        "--output",
        "shared/x",
    ]
    assert made_smaller("synth") == ["synth", "--per-scan", "1"]
