"""Datasets as people name them: by a path that is there, else by name or number in nnU-Net's folder of raw datasets."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tumorgen.cli import main
from tumorgen.cli.datasets import DATASET, MANIFEST, find_dataset
from tumorgen.tables import SAMPLES

RAW, NAME = Path("nnUNet_raw"), "Dataset501_SynthLiver"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with raw datasets, one of which has a manifest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    for name in ("Dataset003_Liver", NAME, "Dataset510_One", "Dataset510_Other", "elsewhere"):
        (RAW / name).mkdir(parents=True)
    (RAW / NAME / SAMPLES).touch()
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize("named", [str(RAW / NAME), f"{NAME}/", NAME, "501", "0501"])
def test_a_dataset_has_a_path_a_name_and_a_number(named: str) -> None:
    assert DATASET.convert(named, None, None) == RAW / NAME
    assert MANIFEST.convert(named, None, None) == RAW / NAME / SAMPLES


def test_names_are_looked_for_where_nnunet_looks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "other" / "Dataset003_Liver").mkdir(parents=True)
    monkeypatch.setenv("nnUNet_raw", "other")
    assert DATASET.convert("3", None, None) == Path("other", "Dataset003_Liver")
    with pytest.raises(click.BadParameter, match="no dataset of the number 501 in other; there are 3"):
        DATASET.convert("501", None, None)
    assert find_dataset(Path("501"), Path("other"), RAW) == RAW / NAME
    monkeypatch.setenv("nnUNet_raw", "~/other")
    with pytest.raises(click.BadParameter, match=r"begins with ~.*; or give the folder"):
        DATASET.convert("501", None, None)
    assert DATASET.convert(str(RAW), None, None) == RAW


def test_a_path_that_is_there_goes_first() -> None:
    Path("501").mkdir()
    Path(NAME).touch()
    assert DATASET.convert("501", None, None) == Path("501")
    with pytest.raises(click.BadParameter, match="is a file"):
        DATASET.convert(NAME, None, None)
    assert MANIFEST.convert(NAME, None, None) == Path(NAME)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("777", "no dataset of the number 777 in nnUNet_raw; there are 3, 501 and 510"),
        ("510", "nnUNet_raw has several datasets of the number 510: Dataset510_One, Dataset510_Other"),
        (
            "Dataset9",
            "Dataset9: no such folder, nor below nnUNet_raw, which has Dataset003_Liver, Dataset501_SynthLiver",
        ),
        ("/no/Dataset501", "/no/Dataset501: no such folder."),
        ("~/Dataset501", "begins with ~, which no shell has expanded"),
        ("x" * 300, "no such folder"),
        ("", "does not exist"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(named: str, told: str) -> None:
    for words in (["verify", named], ["remove", named, "--case", "a"], ["replay", named, "--output", "o"]):
        done = run(*words)
        assert done.exit_code == 2
        assert told in " ".join(done.stderr.split())
        assert "Invalid value for" in done.stderr


def test_where_there_is_nothing_at_all() -> None:
    with pytest.raises(click.UsageError, match="no dataset of the number 7 in none; there is none at all"):
        find_dataset(Path("7"), Path("none"))
    with pytest.raises(click.UsageError, match=r"x: no such folder, nor below none.$"):
        find_dataset(Path("x"), Path("none"))


@pytest.mark.parametrize("named", ["777", "Dataset9", "elsewhere"])
def test_preprocess_takes_the_same_names_and_what_nnunet_trains_on(named: str) -> None:
    done = run("preprocess", "-d", named)
    assert done.exit_code == 2
    assert {"777": "there are 3, 501", "Dataset9": "no such folder", "elsewhere": "is not called DatasetXXX_Name"}[
        named
    ] in " ".join(done.stderr.split())


def test_preprocess_looks_in_a_folder_that_is_called_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_raw", "~/other")
    assert "begins with ~, which no shell has expanded; write the folder out; or give --raw" in " ".join(
        run("preprocess", "-d", "501").stderr.split()
    )
    assert "number 777 in nnUNet_raw; there are 3, 501 and 510" in run("preprocess", "--raw", RAW.name, "-d777").stderr
    assert run("preprocess", "--output", RAW.name).exit_code == 2


def test_a_dataset_without_a_manifest_is_none_to_replay() -> None:
    done = run("replay", "3", "--output", "o")
    assert done.exit_code == 2
    assert "nnUNet_raw/Dataset003_Liver: holds no manifest.csv" in done.stderr


def test_a_table_of_something_else_is_no_manifest() -> None:
    Path("scans.csv").write_text("case,image,mask,status\na,a.nii.gz,a.nii.gz,ok\n")
    done = run("replay", "scans.csv", "--output", "o")
    assert done.exit_code == 1
    assert done.stderr == "Error: scans.csv: is no manifest of samples, such as manifest.csv of a dataset\n"
