"""Entries of a table of samples, and tables written anew from their own rows: without reading what was drawn."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from examples import at, ball, flat_scan, plan_of

from tumorgen.checksums import sha256_of
from tumorgen.errors import TumorgenError
from tumorgen.method.rendering import render
from tumorgen.tables import joining
from tumorgen.tables.entries import Entry, join_entries, read_entries, sort_entries, with_patients
from tumorgen.tables.joining import digest_without_patients, join_tables, select_whole
from tumorgen.tables.manifest import (
    Dial,
    Files,
    Record,
    append_manifest,
    read_manifest,
    recover_manifest,
    tumors_path,
    write_manifest,
)

EARLIER = Path(__file__).parents[1] / "golden" / "0.1.0" / "dataset" / "manifest.csv"
NAMES = ("b", "b-2", "c.1", "001")
SCAN = flat_scan((21, 22, 23))


def record_of(case: str, variant: int, tumors: int) -> Record:
    drawn = [at(SCAN, ball(3.0, texture_seed=i), (10.0, 10.0, 6.0 + 8 * i)) for i in range(tumors)]
    plan = plan_of(SCAN, *drawn, case=case, variant=variant, sample=f"{case}_v{variant:04d}")
    files = Files(tumors, 12.5, "i.nii.gz", "m.nii.gz", "i", "l", "0" * 64, "1" * 64, "0.1", "2.0", "1.11")
    return Record(plan, render(SCAN, plan).outcomes, replace(files, source_fingerprint="2" * 64))


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [
        record_of(case.replace('"', ""), variant, tumors) for case in NAMES for variant, tumors in enumerate((2, 0, 1))
    ]


@pytest.fixture
def appended(records, tmp_path) -> Path:
    """Tables as processes append to them: in any order."""
    path = tmp_path / "manifest.csv"
    for record in reversed(records):
        append_manifest(record, path)
    return path


def tables(manifest: Path) -> tuple[bytes, bytes]:
    return manifest.read_bytes(), tumors_path(manifest).read_bytes()


def test_a_row_that_is_not_utf_8_is_told_in_one_line(appended):
    table = tumors_path(appended)
    lines = table.read_bytes().split(b"\n")
    table.write_bytes(b"\n".join([lines[0], b"\xff" + lines[1], *lines[2:]]))
    with pytest.raises(TumorgenError, match=r"tumors\.csv: cannot be read as a CSV table in UTF-8 .*save it as UTF-8"):
        select_whole([], [appended])


def test_an_entry_is_what_its_record_says(records, appended):
    assert read_entries(appended) == [Entry.of(record) for record in reversed(records)]
    assert read_entries(appended.with_name("none.csv")) == []


def test_tables_in_order_are_those_that_the_records_write(records, appended, tmp_path):
    join_tables(read_entries(appended), [appended], appended)
    write_manifest(records, tmp_path / "written.csv")
    assert tables(appended) == tables(tmp_path / "written.csv")


def test_what_was_cut_off_and_tumours_without_a_sample_are_dropped(records, appended, tmp_path):
    samples, tumors = tables(appended)
    appended.write_bytes(samples[:-20])  # the last sample's row
    tumors_path(appended).write_bytes(tumors + b"never_finished_v0000,0,")
    kept = read_entries(appended)
    join_tables(kept, [appended], appended)
    assert len(kept) == len(records) - 1
    write_manifest([r for r in records if r.plan.sample in {e.sample for e in kept}], tmp_path / "written.csv")
    assert tables(appended) == tables(tmp_path / "written.csv")


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
def test_a_last_row_whose_end_an_editor_took_away_counts_and_is_written_with_it(records, appended, tmp_path, ends):
    appended.write_bytes(appended.read_bytes().rstrip(b"\n").replace(b"\n", ends))
    assert read_entries(appended) == [Entry.of(record) for record in reversed(records)]
    assert recover_manifest(appended) == records[::-1]
    join_tables(select_whole(read_entries(appended), [appended]), [appended], appended)
    write_manifest(records, tmp_path / "written.csv")
    assert tables(appended) == tables(tmp_path / "written.csv")


@pytest.mark.parametrize("lost", [1, 2, 20, 64])
def test_a_last_row_without_its_last_cell_or_the_whole_of_it_does_not_count(records, appended, lost):
    appended.write_bytes(appended.read_bytes().rstrip(b"\n")[:-lost])
    assert len(read_entries(appended)) == len(recover_manifest(appended)) == len(records) - 1


def test_a_sample_whose_tumours_lost_their_rows_is_not_whole(records, appended):
    lines = tumors_path(appended).read_bytes().splitlines(keepends=True)
    lost = records[0].plan.sample  # appended last, with two tumours
    tumors_path(appended).write_bytes(b"".join(lines[:-1]))
    whole = select_whole(read_entries(appended), [appended])
    assert {entry.sample for entry in read_entries(appended)} - {entry.sample for entry in whole} == {lost}


def test_tables_of_shards_are_joined_and_a_patient_is_told(records, appended, tmp_path):
    shard = tmp_path / "1-of-2.csv"
    later = [record_of("z", variant, 1) for variant in range(2)]
    for record in (*later, records[0]):  # of what is in two tables, the first table's row stays
        append_manifest(record, shard)
    entries = with_patients(join_entries(read_entries(appended), read_entries(shard)), {"z": "a", "b": "a"})
    join_tables(entries, [appended, shard], appended)
    named = [replace(r, files=replace(r.files, patient="a")) if r.plan.case in "zb" else r for r in (*records, *later)]
    write_manifest(named, tmp_path / "written.csv")
    assert tables(appended) == tables(tmp_path / "written.csv")


@pytest.mark.parametrize("image", ["i.nii.gz", "CT, late.nii.gz"], ids=["plain", "with quotes"])
def test_a_digest_that_does_not_ask_whose_scans_are_asks_for_everything_else(records, tmp_path, image):
    path = tmp_path / "manifest.csv"

    def digest(**changes: object) -> str:
        named = [replace(r, files=replace(r.files, source_image=image, **changes)) for r in records]
        write_manifest(named, path)
        return digest_without_patients(path)

    before = digest()
    assert before == sha256_of(path)  # where no patient is named, it is the file's
    assert digest(patient="a") == before
    assert digest(patient="b") == before
    assert digest(image_sha256="2" * 64) != before
    assert digest(tumor_volume_mm3=13.0) != before


def test_a_digest_of_a_table_of_other_columns_is_that_of_its_file():
    assert digest_without_patients(EARLIER) == sha256_of(EARLIER)


def test_a_benchmarks_tables_keep_what_was_dialled(records, tmp_path):
    dialled = [replace(record, dial=Dial("size", "8")) for record in records]
    path = tmp_path / "manifest.csv"
    write_manifest(dialled, path)
    join_tables(read_entries(path)[1:], [path], path)
    assert read_manifest(path) == read_manifest(path)
    assert [record.dial for record in read_manifest(path)] == [Dial("size", "8")] * (len(records) - 1)


@pytest.mark.parametrize("saved", ["by an earlier version", "by a spreadsheet"])
def test_tables_of_other_columns_are_written_with_those_of_today(appended, tmp_path, saved):
    path = tmp_path / "other.csv"
    if saved == "by an earlier version":
        for source, target in ((EARLIER, path), (tumors_path(EARLIER), tumors_path(path))):
            shutil.copyfile(source, target)
    else:
        for source, target in ((appended, path), (tumors_path(appended), tumors_path(path))):
            target.write_bytes(source.read_bytes().replace(b"\n", b"\r\n"))
    before = recover_manifest(path)
    entries = select_whole(read_entries(path), [path])
    assert len(entries) == len(before)
    join_tables(entries, [path], path)
    write_manifest(before, tmp_path / "written.csv")
    assert tables(path) == tables(tmp_path / "written.csv")


def test_tumours_out_of_order_are_refused(appended):
    lines = tumors_path(appended).read_bytes().splitlines(keepends=True)
    tumors_path(appended).write_bytes(b"".join([*lines[:-2], lines[-1], lines[-2]]))
    with pytest.raises(TumorgenError, match=r"tumors\.csv: the tumours of sample 'b_v0000' are not numbered"):
        join_tables(read_entries(appended), [appended], appended)


@pytest.mark.parametrize(
    ("cell", "now", "said"),
    [
        (b"b_v0002,b,2", b"b_v0002,b,two", r"\.csv:\d+, column variant: 'two'"),
        (b"b_v0002,b,2", b"../b,b,2", "not safe as a file name"),
        (b"b_v0002,b,2", b"b_v0002,b,-2", "variant is -2"),
    ],
)
def test_an_entry_that_cannot_be_is_refused_with_its_place(appended, cell, now, said):
    appended.write_bytes(appended.read_bytes().replace(cell, now))
    with pytest.raises(TumorgenError, match=said):
        read_entries(appended)


def test_no_row_is_parsed_to_be_written(appended, monkeypatch):
    monkeypatch.setattr(joining, "recover_manifest", None)
    monkeypatch.setattr(joining, "write_manifest", None)
    entries = read_entries(appended)
    join_tables(entries, [appended], appended)
    assert [entry.sample for entry in read_entries(appended)] == [entry.sample for entry in sort_entries(entries)]
