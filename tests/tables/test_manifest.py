"""The manifest: a lossless round trip, what an interrupted run leaves, and errors that say where."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import math
from dataclasses import replace
from pathlib import Path

import pytest
from examples import at, ball, flat_scan, plan_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tumorgen.errors import TumorgenError
from tumorgen.fields import Field, declared
from tumorgen.imaging.files import safe_name
from tumorgen.method.patch import Outcome
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.rendering import render
from tumorgen.tables.manifest import (
    SAMPLE_COLUMNS,
    TUMOR_COLUMNS,
    Files,
    Record,
    append_manifest,
    read_manifest,
    recover_manifest,
    sample_row,
    tumor_rows,
    tumors_path,
    write_manifest,
)

FILES = Files(2, 12.5, '/data/ü, "q".nii.gz', "m.nii.gz", "i", "l", "0" * 64, "1" * 64, "0.1", "2.0", "1.11")


def record_of(case: str = "liver", variant: int = 0, tumors: int = 2) -> Record:
    scan = flat_scan((21, 22, 23))
    drawn = [at(scan, ball(3.0, texture_seed=i), (10.0, 10.0, 6.0 + 8 * i)) for i in range(tumors)]
    plan = plan_of(scan, *drawn, case=case, variant=variant, sample=f"{case}_v{variant:04d}")
    outcomes = render(scan, plan).outcomes
    return Record(plan, outcomes, FILES)


@pytest.fixture
def manifest(tmp_path) -> Path:
    path = tmp_path / "manifest.csv"
    write_manifest([record_of("a", 0), record_of("a", 1)], path)
    return path


# --- round trip ------------------------------------------------------------------------------------------------------

NUMBERS = st.floats(allow_nan=False)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=20)
NAMES = st.one_of(
    TEXT, st.sampled_from(["001", "NA", "nan", "1e5", "-", "=1+1", "a,b", 'say "x"', "true", "ÄÖ", "肝臓"])
)
SAFE = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}[A-Za-z0-9]", fullmatch=True).map(safe_name)


def value_of(field: Field, texts: st.SearchStrategy[str] = NAMES) -> st.SearchStrategy:
    low, high = field.about.low, field.about.high
    if field.about.choices:
        return st.sampled_from(field.about.choices)
    if field.kind is str:
        return texts
    if field.kind is bool:
        return st.booleans()
    if field.kind is int:
        numbers = st.integers(-(2**63) if low is None else low, 2**64 - 1 if high is None else high)
        return numbers.map(lambda n: n | 1) if field.about.odd else numbers
    return NUMBERS if low is None else st.floats(low, high)


def values_of(kind: type, **given: st.SearchStrategy) -> st.SearchStrategy:
    return st.builds(kind, **{f.name: value_of(f) for f in declared(kind) if f.name not in given}, **given)


TUMORS = st.lists(values_of(Tumor), max_size=3).map(tuple)
PLANS = values_of(Plan, tumors=TUMORS, sample=SAFE, case=SAFE)
OUTCOMES = values_of(Outcome)


@settings(max_examples=60)
@given(data=st.data(), plan=PLANS, files=values_of(Files))
def test_row_round_trips(data, plan, files, tmp_path_factory):
    outcomes = tuple(data.draw(st.one_of(st.none(), OUTCOMES)) for _ in plan.tumors)
    record = Record(plan, outcomes, data.draw(st.sampled_from([files, None])))
    path = tmp_path_factory.mktemp("rows") / "manifest.csv"
    write_manifest([record], path)
    assert read_manifest(path) == [record]


@settings(max_examples=100)
@given(plan=PLANS)
def test_cells_are_the_shortest_that_read_back(plan):
    record = Record(plan, (None,) * len(plan.tumors), None)
    floats = {field.name for kind in (Plan, Tumor) for field in declared(kind) if field.kind is float}
    rows = [(plan, sample_row(record, Path("manifest.csv"))), *zip(plan.tumors, tumor_rows(record), strict=True)]
    for value, row in rows:
        for field in dataclasses.fields(value):
            if field.name in floats:
                number = getattr(value, field.name)
                assert float(row[field.name]) == number
                assert math.copysign(1, float(row[field.name])) == math.copysign(1, number)  # -0.0 too


def test_outcomes_of_nothing_round_trip(tmp_path):
    record = record_of()
    empty = replace(record.outcomes[0], mean_hu=math.nan, sd_hu=math.nan, contrast_hu=math.nan, volume_mm3=0.0)
    path = tmp_path / "manifest.csv"
    write_manifest([replace(record, outcomes=(empty, record.outcomes[1]))], path)
    (back,) = read_manifest(path)
    assert math.isnan(back.outcomes[0].mean_hu)
    assert back.outcomes[0].volume_mm3 == 0
    assert back.outcomes[1] == record.outcomes[1]


@pytest.mark.parametrize("case", ["001", "NA", "nan", "1e5", "null", "True", "0"])
def test_names_that_spreadsheets_mangle_stay_text(tmp_path, case):
    path = tmp_path / "manifest.csv"
    write_manifest([record_of(case)], path)
    assert read_manifest(path)[0].plan.case == case


def test_seeds_of_64_bits_stay_exact(tmp_path):
    record = record_of(tumors=1)
    tumor = replace(record.plan.tumors[0], shape_seed=2**64 - 1, texture_seed=2**53 + 1)
    record = replace(record, plan=replace(record.plan, tumors=(tumor,), seed=2**63 + 1))
    path = tmp_path / "manifest.csv"
    write_manifest([record], path)
    assert read_manifest(path) == [record]


def test_columns_derive_from_the_fields(manifest):
    drawn = [f.name for f in dataclasses.fields(Plan) if f.name != "tumors"]
    assert list(SAMPLE_COLUMNS) == drawn + [f.name for f in dataclasses.fields(Files)]
    kinds = (Tumor, Outcome)
    assert list(TUMOR_COLUMNS) == ["sample", "tumor"] + [f.name for kind in kinds for f in dataclasses.fields(kind)]
    with manifest.open(newline="") as file:
        assert next(csv.reader(file)) == list(SAMPLE_COLUMNS)
    with tumors_path(manifest).open(newline="") as file:
        assert next(csv.reader(file)) == list(TUMOR_COLUMNS)


def test_rows_are_ordered_by_case_and_variant(tmp_path):
    records = [record_of("b", 0), record_of("a", 10), record_of("a", 2)]
    path = tmp_path / "manifest.csv"
    write_manifest(records, path)
    assert [r.plan.sample for r in read_manifest(path)] == ["a_v0002", "a_v0010", "b_v0000"]


def test_appending_is_writing(tmp_path):
    records = [record_of("a", 0), record_of("a", 1, tumors=1)]
    for record in records:
        append_manifest(record, tmp_path / "one.csv")
    write_manifest(records, tmp_path / "two.csv")
    for name in ("one{}.csv", "two{}.csv"):
        assert (tmp_path / name.format("")).is_file()
        assert (tmp_path / name.format(".tumors")).is_file()
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()
    assert (tmp_path / "one.tumors.csv").read_bytes() == (tmp_path / "two.tumors.csv").read_bytes()


def test_the_table_of_tumours_has_its_name(tmp_path):
    assert tumors_path(tmp_path / "manifest.csv") == tmp_path / "tumors.csv"
    assert tumors_path(tmp_path / "Dataset501_X.csv") == tmp_path / "Dataset501_X.tumors.csv"


def test_a_spreadsheets_copy_reads_the_same(manifest):
    before = read_manifest(manifest)
    for path in (manifest, tumors_path(manifest)):
        text = path.read_text(encoding="utf-8").replace("true", "TRUE").replace("false", "FALSE")
        path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))  # Excel: a byte order mark, CRLF, TRUE
    assert read_manifest(manifest) == before


def test_columns_in_another_order_and_columns_of_ones_own(manifest):
    before = read_manifest(manifest)
    for path in (manifest, tumors_path(manifest)):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["my_note", *sorted(rows[0])])
            writer.writeheader()
            writer.writerows({**row, "my_note": "looks fine"} for row in rows)
    assert read_manifest(manifest) == before


def edit(path: Path, row: int, **cells: str) -> None:
    """Change cells of one row, counted from 0."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows[row].update(cells)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def drop(path: Path, *columns: str) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [c for c in rows[0] if c not in columns], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def test_a_row_edited_by_hand(manifest):
    edit(tumors_path(manifest), 1, center_x_mm=" 12.5 ", mu_t_hu="20", volume_mm3="")
    tumor, outcome = read_manifest(manifest)[0].plan.tumors[1], read_manifest(manifest)[0].outcomes[1]
    assert (tumor.center_x_mm, tumor.mu_t_hu) == (12.5, 20.0)
    assert type(tumor.mu_t_hu) is float
    assert outcome is None


def test_what_came_out_may_be_missing(manifest):
    plans = [r.plan for r in read_manifest(manifest)]
    drop(manifest, *(f.name for f in dataclasses.fields(Files)))
    drop(tumors_path(manifest), *(f.name for f in dataclasses.fields(Outcome)))
    records = read_manifest(manifest)
    assert [r.plan for r in records] == plans
    assert all(r.files is None and set(r.outcomes) == {None} for r in records)


# --- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("table", "row", "cells", "message"),
    [
        ("tumors", 2, {"radius_mm": "wide"}, r"tumors\.csv:4, column radius_mm: 'wide' is not of type float"),
        ("tumors", 0, {"shape_seed": "1.5"}, r"tumors\.csv:2, column shape_seed: '1\.5' is not of type int"),
        ("tumors", 0, {"eta": ""}, r"tumors\.csv:2, column eta: '' is not of type float"),
        ("tumors", 1, {"radius_mm": "-4"}, r"tumors\.csv:3: radius_mm is -4\.0; a value from .* is needed"),
        ("tumors", 1, {"mu_t_hu": "nan"}, r"tumors\.csv:3: mu_t_hu is nan"),
        ("tumors", 1, {"center_x_mm": "inf"}, r"tumors\.csv:3: center_x_mm is inf; a finite number is needed"),
        ("tumors", 1, {"deform_points": "4"}, r"tumors\.csv:3: deform_points is 4; an odd number"),
        ("tumors", 1, {"tumor": "0"}, r"tumors\.csv:3: tumor is '0', not 1"),
        ("tumors", 3, {"sample": "b_v0000"}, r"tumors\.csv:5: sample 'b_v0000' is not in manifest\.csv"),
        ("tumors", 3, {"volume_mm3": "big"}, r"tumors\.csv:5, column volume_mm3: 'big' is not of type float"),
        ("manifest", 1, {"variant": "one"}, r"manifest\.csv:3, column variant: 'one' is not of type int"),
        (
            "manifest",
            1,
            {"vessels_avoided": "yes"},
            r"manifest\.csv:3, column vessels_avoided: 'yes' is not of type bool",
        ),
        ("manifest", 1, {"sample": "a_v0000"}, r"manifest\.csv:3: sample 'a_v0000' is there twice"),
        ("manifest", 0, {"tumors_placed": "x"}, r"manifest\.csv:2, column tumors_placed: 'x' is not of type int"),
    ],
)
def test_errors_say_where(manifest, table, row, cells, message):
    edit(manifest.with_name(f"{table}.csv"), row, **cells)
    with pytest.raises(TumorgenError, match=message):
        read_manifest(manifest)


@pytest.mark.parametrize("cell", ["nan", "-3", "inf"])
def test_a_sample_row_out_of_its_domain_is_refused(manifest, cell):
    edit(manifest, 0, sigma_p_hu=cell)
    with pytest.raises(TumorgenError, match=r"manifest\.csv:2: sigma_p_hu"):
        read_manifest(manifest)


@pytest.mark.parametrize(("table", "column"), [("manifest", "case"), ("tumors", "eta"), ("tumors", "tumor")])
def test_a_missing_column_is_named(manifest, table, column):
    drop(manifest.with_name(f"{table}.csv"), column)
    with pytest.raises(TumorgenError, match=rf"{table}\.csv: columns missing: {column}"):
        read_manifest(manifest)


def test_a_missing_table_of_tumours_is_named(manifest):
    manifest.with_name("tumors.csv").unlink()
    with pytest.raises(TumorgenError, match=r"tumors\.csv: no such file$"):
        read_manifest(manifest)


@pytest.mark.parametrize("change", [lambda line: line.rsplit(",", 3)[0], lambda line: line + ",1,2"])
def test_a_row_of_another_length_is_refused(manifest, change):
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join([lines[0], lines[1], change(lines[2])]) + "\n")
    with pytest.raises(TumorgenError, match=r"manifest\.csv:3: not as many cells as columns"):
        read_manifest(manifest)


@pytest.mark.parametrize("name", ["manifest.csv", "tumors.csv"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00rubbish", b'sample,"unclosed\n', b"\x1f\x8b\x08\x00"])
def test_what_is_no_table_is_refused(manifest, name, content):
    path = manifest.with_name(name)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TumorgenError, match=name.replace(".", r"\.")):
        read_manifest(manifest)


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    for write in (lambda p: write_manifest([record_of()], p), lambda p: append_manifest(record_of(), p)):
        with pytest.raises(TumorgenError, match="cannot be written"):
            write(tmp_path / "file" / "manifest.csv")


# --- what an interrupted run leaves ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, list[Record]]:
    """Three samples, as a run appends them."""
    path = tmp_path_factory.mktemp("whole") / "manifest.csv"
    records = [record_of("e", variant, tumors=variant) for variant in range(3)]
    for record in records:
        append_manifest(record, path)
    return path, records


def cut(whole: Path, folder: Path, samples: int | None, tumors: int | None) -> Path:
    """Both tables, cut off after so many bytes."""
    path = folder / "manifest.csv"
    path.write_bytes(whole.read_bytes()[:samples])
    tumors_path(path).write_bytes(tumors_path(whole).read_bytes()[:tumors])
    return path


@pytest.mark.parametrize("name", ["manifest.csv", "Dataset501_X.csv"])
def test_compressed_tables_are_read_by_the_same_code(manifest, tmp_path, name):
    packed = tmp_path / "packed" / f"{name}.gz"
    packed.parent.mkdir()
    assert tumors_path(packed).name == f"{tumors_path(packed.with_suffix('')).name}.gz"
    for source, target in ((manifest, packed), (tumors_path(manifest), tumors_path(packed))):
        target.write_bytes(gzip.compress(source.read_bytes()))
    assert read_manifest(packed) == read_manifest(manifest)
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(TumorgenError, match=r"\.csv\.gz: cannot be read \("):
        read_manifest(packed)


def test_nothing_to_recover(tmp_path):
    assert recover_manifest(tmp_path / "manifest.csv") == []


def test_a_whole_manifest_is_recovered_whole(whole):
    path, records = whole
    assert recover_manifest(path) == records == read_manifest(path)


def test_a_torn_row_of_samples_is_dropped_wherever_it_is_torn(whole, tmp_path):
    path, records = whole
    text = path.read_bytes()
    starts = [i + 1 for i, byte in enumerate(text) if byte == ord("\n")]
    for end in range(starts[1] + 1, len(text), 17):
        if (text[:end][-1] & 0xC0) == 0xC0:
            continue  # in the middle of a letter: below
        done = sum(start <= end for start in starts) - 1
        assert recover_manifest(cut(path, tmp_path, end, None)) == records[:done]


def test_tumours_of_a_sample_that_was_not_finished_are_dropped(whole, tmp_path):
    path, records = whole
    text, rows = path.read_bytes(), tumors_path(path).read_bytes()
    last_sample = text.rstrip(b"\n").rfind(b"\n") + 1
    last_tumors = rows.rstrip(b"\n").rfind(b"\n") + 1
    for end in (None, last_tumors, last_tumors + 30):
        assert recover_manifest(cut(path, tmp_path, last_sample, end)) == records[:-1]


def test_a_torn_header_is_nothing(whole, tmp_path):
    assert recover_manifest(cut(whole[0], tmp_path, 40, 40)) == []
    assert recover_manifest(cut(whole[0], tmp_path, 0, 0)) == []


def test_a_row_torn_within_a_letter_is_dropped(whole, tmp_path):
    path, records = whole
    text = path.read_bytes()
    inside = text.rindex("ü".encode()) + 1
    assert recover_manifest(cut(path, tmp_path, inside, None)) == records[:-1]


def test_a_damaged_row_in_the_middle_is_an_error(whole, tmp_path):
    path = cut(whole[0], tmp_path, None, None)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[1][:50] + "\n", *lines[2:]]), encoding="utf-8")
    with pytest.raises(TumorgenError, match=r"manifest\.csv:2"):
        recover_manifest(path)
