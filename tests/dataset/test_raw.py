"""What describes a dataset: it goes with a run that made no case, and nothing else goes."""

from __future__ import annotations

import pytest

from tumorgen.dataset.raw import Dataset, remove_description

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
