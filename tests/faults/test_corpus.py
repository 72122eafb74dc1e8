"""Files that are broken, hostile or odd, by the hundred: one line each, bounded memory and time, no other's loss."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from corpus import Fault, make, sound, table, try_all, verdict

from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.imaging.claims import DEFLATE, LIMIT, limit_bytes
from tumorgen.imaging.files import extension_of
from tumorgen.imaging.reading import read_volume
from tumorgen.liver.masks import mask_scans
from tumorgen.method.settings import Settings
from tumorgen.tables.scans import read_scans
from tumorgen.tables.sources import match_sources

MUTATIONS = 300


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[list[Fault], Path]:
    folder = tmp_path_factory.mktemp("corpus")
    sound(folder / "sound")
    return make(folder / "faults", MUTATIONS), folder


def test_each_gets_one_line_in_bounded_memory_and_time(corpus):
    faults, folder = corpus
    found, peak = try_all(faults, folder / "sound" / "masks" / "good.nii.gz")
    wrong = {f"{f.kind}: {f.path.name!r}": why for f in faults if (why := verdict(f, found[str(f.path)]))}
    assert wrong == {}
    assert len(faults) >= 300 + MUTATIONS
    assert peak < 1024  # MiB; a gzip bomb of the corpus unpacks to 300, a header of it asks for 140 trillion
    assert f"| all | {len(faults)} | {len(faults)} |" in table(faults, found)


@pytest.fixture(scope="module")
def folders(corpus) -> Path:
    """One sound scan among all that are not, each with a mask that is."""
    faults, folder = corpus
    run = folder / "run"
    _, mask = sound(run)
    for fault in faults[: -MUTATIONS + 50]:
        if fault.path.parent == folder / "faults" and extension_of(fault.path) and not fault.path.is_dir():
            target = run / "images" / fault.path.name
            if fault.path.is_symlink() or not fault.path.is_file():
                fault.path.rename(target)
            else:
                os.link(fault.path, target)
            os.link(mask, run / "masks" / f"{fault.path.name.removesuffix(extension_of(fault.path))}.nii.gz")
    return run


def bytes_of(dataset: Dataset, case: str) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(dataset.folder.glob(f"*Tr/{case}_*"))}


def test_a_run_over_all_of_them_costs_the_sound_scan_nothing(folders, tmp_path):
    settings = Settings(sizes=("tiny",))
    before = set(folders.rglob("*"))
    sources, missing = match_sources(folders / "images", folders / "masks")
    assert missing == []
    assert len(sources) > 300
    among = synthesize_dataset(Run(Dataset(tmp_path / "among"), sources, settings, per_scan=2, jobs=1))
    alone = synthesize_dataset(
        Run(Dataset(tmp_path / "alone"), [s for s in sources if s.case == "good"], settings, per_scan=2, jobs=1)
    )
    good = bytes_of(alone.dataset, "good")
    assert len(good) == 4
    assert bytes_of(among.dataset, "good") == good
    assert len(among.failures) > 300
    for failure in among.failures:
        assert failure.details == "", failure  # no error but those that users can mend
        assert failure.reason.isprintable()
    assert set(folders.rglob("*")) == before
    assert {p.name for p in tmp_path.iterdir()} == {"among", "alone"}


def test_liver_mask_over_all_of_them_says_why_in_its_table(folders, tmp_path):
    sources = match_sources(folders / "images", folders / "masks")[0]
    images = {source.case: source.image for number, source in enumerate(sources) if number % 5 == 0}
    images["good"] = folders / "images" / "good.nii.gz"
    report = mask_scans(images, tmp_path / "m", lambda: lambda ct: ct.array > 0, table=tmp_path / "scans.csv")
    assert all(failure.details == "" for failure in report.failures)
    rows = {row.case: row for row in read_scans(tmp_path / "scans.csv")}
    assert set(rows) == set(images)
    assert rows["good"].status != "failed"
    assert all(row.reason for row in rows.values() if row.status == "failed")
    assert sum(row.status == "failed" for row in rows.values()) > 60


# --- the limit -------------------------------------------------------------------------------------------------------


def test_the_limit_is_settable(tmp_path, monkeypatch):
    image, _ = sound(tmp_path)
    assert read_volume(image).array.nbytes == 40 * 40 * 28 * 2
    monkeypatch.setenv(LIMIT, "0.00005")
    with pytest.raises(TumorgenError, match=r"0\.0 GiB; no CT is that large \(where one is, set TUMORGEN_MAX_GIB"):
        read_volume(image)
    monkeypatch.setenv(LIMIT, "0.1")
    read_volume(image)


@pytest.mark.parametrize("text", ["", "much", "nan", "0", "-1", "inf", "1e30"])
def test_a_limit_that_is_none_is_refused(monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(TumorgenError, match=r"TUMORGEN_MAX_GIB is .*; a number of GiB above zero is needed"):
        limit_bytes()


def test_no_stream_packs_more_than_is_said():
    import zlib

    packed = len(zlib.compress(bytes(50_000_000), 9))
    assert 1000 < 50_000_000 / packed < DEFLATE
