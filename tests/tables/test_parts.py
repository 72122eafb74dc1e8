"""Parts of a manifest: the records of some samples, read where their rows stand."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from phantoms import write_balls

from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.method.settings import Settings
from tumorgen.tables import parts
from tumorgen.tables.manifest import Record, read_manifest, tumors_path
from tumorgen.tables.parts import part_manifest
from tumorgen.tables.sources import match_sources


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of three samples of each of two scans."""
    root = write_balls(tmp_path_factory.mktemp("made"), 2, "liver", (6.0, 4.0, 4.0))
    sources, _ = match_sources(root / "images", root / "masks")
    run = Run(Dataset(root / "Dataset501_X"), sources, Settings(sizes=("tiny",)), per_scan=3, jobs=1)
    return synthesize_dataset(run).dataset.manifest


@pytest.fixture
def copy(manifest, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(manifest.parent.parent)
    copied = tmp_path / "kept.csv"
    copied.write_bytes(manifest.read_bytes())
    tumors_path(copied).write_bytes(tumors_path(manifest).read_bytes())
    return copied


def named(manifest: Path) -> dict[str, Record]:
    return {record.plan.sample: record for record in read_manifest(manifest)}


@pytest.mark.parametrize("at_once", [1, 4, 500])
def test_all_records_are_those_of_the_whole_manifest(manifest, monkeypatch, at_once):
    monkeypatch.setattr(parts, "_AT_ONCE", at_once)
    assert list(part_manifest(manifest).records()) == read_manifest(manifest)


def test_a_part_is_read_from_its_rows_alone(manifest, monkeypatch):
    whole, parted = named(manifest), part_manifest(manifest)
    part = parted.part(["liver_1_v0001", "liver_1_v0002", "liver_0_v0000"])
    assert part.known is None
    assert [len(spans) for spans in (part.spans, part.tumor_spans)] == [2, 2]  # what is adjacent is one span
    assert part.read() == [whole[sample] for sample in part.samples]


def test_rows_in_whatever_order_are_found(copy):
    whole = named(copy)
    header, *rows = copy.read_bytes().splitlines(keepends=True)
    copy.write_bytes(b"".join([header, *reversed(rows)]))
    parted = part_manifest(copy)
    assert parted.known is None
    assert list(parted.records()) == [whole[sample] for sample in sorted(whole, reverse=True)]


@pytest.mark.parametrize("kind", ["other columns", "no line end", "compressed"])
def test_tables_that_others_have_saved_are_read_whole(copy, kind):
    whole = read_manifest(copy)
    if kind == "other columns":
        header, *rows = copy.read_text().splitlines()
        copy.write_text("\n".join([f"{header},mine", *(f"{row},1" for row in rows)]) + "\n")
    elif kind == "no line end":
        copy.write_bytes(copy.read_bytes()[:-1])
    else:
        packed = copy.with_name("kept.csv.gz")
        packed.write_bytes(gzip.compress(copy.read_bytes()))
        tumors_path(packed).write_bytes(gzip.compress(tumors_path(copy).read_bytes()))
        copy = packed
    parted = part_manifest(copy)
    assert parted.known is not None
    assert list(parted.records()) == whole
    assert parted.part(["liver_1_v0001"]).read() == [whole[4]]


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("kept.csv", lambda rows: [*rows, rows[1]]),  # a sample twice
        ("kept.csv", lambda rows: rows[:-1]),  # tumours of no sample
        ("kept.csv", lambda rows: [*rows[:2], rows[2].replace(b"tiny", b"\xff\xfe"), *rows[3:]]),
        ("kept.tumors.csv", lambda rows: [rows[0], rows[2], rows[1], *rows[3:]]),  # not numbered in order
        ("kept.tumors.csv", lambda rows: [*rows[:2], rows[2].replace(b",tiny,", b",tiny,x"), *rows[3:]]),
        ("kept.tumors.csv", lambda rows: [*rows[:2], b"liver_0_v0000,1,tiny\n", *rows[3:]]),
        ("kept.tumors.csv", lambda rows: []),
    ],
)
def test_what_is_wrong_is_told_as_of_the_whole_manifest(copy, table, change):
    path = copy.with_name(table)
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(TumorgenError) as whole:
        read_manifest(copy)
    with pytest.raises(TumorgenError) as parted:
        list(part_manifest(copy).records())
    assert str(parted.value) == str(whole.value)
