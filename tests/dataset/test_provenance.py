"""What a dataset was made with, and from what; what else is not the same dataset."""

from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path

import pytest
from phantoms import ball_volume

from tumorgen.dataset import provenance
from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.fields import to_plain
from tumorgen.generation import pool, worker
from tumorgen.generation.run import Run, RunReport
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.settings import Settings
from tumorgen.tables.sources import match_sources

SETTINGS = Settings(sizes=("tiny",))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    volume, liver = ball_volume((4.0, 4.0, 4.0))
    write_volume(volume, tmp_path / "images" / "ball.nii.gz")
    write_volume(Volume(liver, volume.geometry), tmp_path / "masks" / "ball.nii.gz")
    return tmp_path


def make(root: Path, **options) -> RunReport:
    sources, _ = match_sources(root / "images", root / "masks")
    return synthesize_dataset(Run(Dataset(root / "D"), sources, SETTINGS, **{"per_scan": 2, "jobs": 1, **options}))


def test_it_names_versions_settings_seed_and_sources(root) -> None:
    record = make(root, seed=7).records[0]
    found = json.loads((root / "D" / "provenance.json").read_text())
    assert found["versions"] == provenance.versions()
    assert {name: metadata.version(name) for name in provenance.LIBRARIES}.items() <= found["versions"].items()
    assert found["seed"] == 7
    assert found["settings"] == json.loads(json.dumps(to_plain(SETTINGS)))
    assert found["sources"]["ball"]["image_sha256"] == record.plan.source_image_sha256
    assert "--seed 7 --per-scan 2" in found["command"]
    assert str(root) not in json.dumps(found)


def test_other_versions_are_refused(root, monkeypatch) -> None:
    make(root, per_scan=1)
    now = provenance.versions()
    monkeypatch.setattr(provenance, "versions", lambda: {**now, "isal": "0.0.1"})
    with pytest.raises(TumorgenError, match=r"was begun with isal .*, this is 0\.0\.1"):
        make(root)
    monkeypatch.setattr(provenance, "versions", lambda: {**now, "python": "4.0.0"})
    assert make(root).made == 1


def test_a_full_disk_ends_the_run_in_one_line_and_the_same_command_does_the_rest(root, monkeypatch) -> None:
    real, calls = pool.append_manifest, []

    def full(self, plan, patch, batch):
        calls.append(plan)
        if len(calls) == 2:
            try:
                raise OSError(28, "No space left on device")
            except OSError as error:
                raise TumorgenError("image: cannot be written (No space left on device)") from error
        return real_write(self, plan, patch, batch)

    real_write = worker.Prepared.write
    monkeypatch.setattr(worker.Prepared, "write", full)
    with pytest.raises(TumorgenError, match=r"No space left on device.; what is finished stays"):
        make(root, per_scan=4)
    monkeypatch.undo()
    assert real is pool.append_manifest
    assert make(root, per_scan=4).made < 4


def test_a_folder_that_vanishes_stays_away(root, monkeypatch) -> None:
    real = pool.append_manifest

    def vanish(record, journal):
        real(record, journal)
        shutil.rmtree(root / "D")

    monkeypatch.setattr(pool, "append_manifest", vanish)
    with pytest.raises(TumorgenError, match="vanished"):
        make(root)
    assert not (root / "D").exists()


def test_the_log_has_a_line_per_sample(root) -> None:
    make(root, log_file=root / "log.jsonl")
    begin, *samples = [json.loads(line) for line in (root / "log.jsonl").read_text().splitlines()]
    assert begin["status"] == "begin"
    assert [line["sample"] for line in samples] == ["ball_v0000", "ball_v0001"]
    sizes = [sum(p.stat().st_size for p in (root / "D").rglob(f"ball_v000{n}*")) for n in (0, 1)]
    assert [line["bytes"] for line in samples] == sizes
