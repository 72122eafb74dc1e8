"""What describes a dataset goes with a run that made no case, and nothing else goes; it tells what wrote the folder."""

from __future__ import annotations

import re

import pytest

from tumorgen.dataset.raw import (
    HEALTHY_NAME,
    MIXTURE_NAME,
    Dataset,
    dataset_folder,
    dataset_json,
    find_written_dataset,
    remove_description,
    write_json,
)
from tumorgen.errors import TumorgenError

WRITTEN = {"settings.toml", "provenance.json"}


@pytest.mark.parametrize("foreign", ["mine.txt", "imagesTr/.hidden", "settings.toml.bak", "preview/mine.png"])
def test_beside_a_foreign_file_all_stays(tmp_path, foreign):
    dataset = Dataset(tmp_path)
    for name in (*WRITTEN, ".lock", "labelsTr/", foreign):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if name.endswith("/") else path.touch()
    before = sorted(tmp_path.rglob("*"))
    remove_description(dataset, WRITTEN)
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / foreign).unlink()
    if foreign.startswith("preview"):
        (tmp_path / "preview").rmdir()
    remove_description(dataset, WRITTEN)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]  # which is the holder's


@pytest.mark.parametrize(
    ("about", "told"),
    [
        (dataset_json(2, HEALTHY_NAME), "is a dataset of `healthy`; only those of synth, replay and robustness have a"),
        (dataset_json(2, MIXTURE_NAME), "is a dataset of `mix`; only those of synth, replay and robustness have a"),
        (dataset_json(2), "holds no manifest.csv"),
        ({"name": ["Liver"]}, "holds no manifest.csv"),
        ([], "holds no manifest.csv"),
        (None, "holds no manifest.csv"),
    ],
)
def test_what_has_no_manifest_is_called_what_it_is(tmp_path, about, told):
    if about is not None:
        write_json(about, tmp_path / "dataset.json")
    with pytest.raises(TumorgenError, match=f"^{re.escape(f'{tmp_path}: {told}')}"):
        find_written_dataset(tmp_path)
    (tmp_path / "manifest.csv").touch()
    assert find_written_dataset(tmp_path) == Dataset(tmp_path)


def test_an_id_is_taken_by_a_folder_and_by_no_archive_of_one(tmp_path):
    (tmp_path / "Dataset501_SynthLiver.tar.gz").touch()
    assert dataset_folder(tmp_path, 501, "SynthLiver") == tmp_path / "Dataset501_SynthLiver"
    (tmp_path / "Dataset501_Other").mkdir()
    with pytest.raises(TumorgenError, match="Dataset501_Other: has the id 501 already"):
        dataset_folder(tmp_path, 501, "SynthLiver")
