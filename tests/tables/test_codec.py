"""Tables as text: cells that no spreadsheet computes, and that read back the same."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tumorgen.errors import TumorgenError
from tumorgen.fields import blank_columns, required_columns
from tumorgen.tables import codec
from tumorgen.tables.codec import neutral, parse_row, plain, read_text, rows_of, text_of
from tumorgen.tables.manifest import TUMOR_COLUMNS

ANY = st.text(st.characters(), max_size=30)
RISKY = st.builds(str.__add__, st.sampled_from(["=", "+", "-", "@", "\t", "\r", "\n", "'", " ", "\\", "\uff1d"]), ANY)
NUMBERS = st.one_of(st.integers(), st.floats()).map(repr)
CELLS = st.one_of(ANY, RISKY, NUMBERS)
PATH = Path("table.csv")


@given(CELLS)
@example("=HYPERLINK(1)")
@example("'=1")
@example("''")
@example("'\\x3d")
@example("-\\x3d1\n")
@example(" ")
@example("\ud800")
def test_a_cell_reads_back_the_same(text):
    assert plain(neutral(text)) == text


@given(CELLS)
def test_no_cell_is_a_formula(text):
    cell = neutral(text)
    assert cell[:1] not in ("=", "@", "\t", "\r", "\n", " ", "\uff1d", "\uff0b", "\uff0d", "\uff20")
    assert "\n" not in cell
    assert "\r" not in cell
    if cell[:1] in ("+", "-"):
        float(cell)  # a number, which computes nothing


@given(NUMBERS)
def test_numbers_stay_numbers(number):
    assert neutral(number) == number


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("+49 30", "'+49 30"),
        ("-rf", "'-rf"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("\t=1", "'\\x09=1"),
        ("\r=1", "'\\x0d=1"),
        ("'tis", "''tis"),
        ("=a\\b", "'=a\\\\b"),
        ("/data/new\nline.nii", "'/data/new\\x0aline.nii"),
        ("-1.5e-3", "-1.5e-3"),
        ("-inf", "-inf"),
        ("-5", "-5"),
        ("", ""),
        ("/data/scan (2).nii.gz", "/data/scan (2).nii.gz"),
        ("C:\\data\\new.nii", "C:\\data\\new.nii"),
        ("a=b", "a=b"),
    ],
)
def test_what_is_written(text, cell):
    assert neutral(text) == cell
    assert plain(cell) == text


def test_a_packed_table_is_not_unpacked_without_end(tmp_path, monkeypatch):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" * 25))
    monkeypatch.setattr(codec, "LONGEST_UNPACKED", 100)
    assert read_text(path) == "a,b\n" * 25
    monkeypatch.setattr(codec, "LONGEST_UNPACKED", 99)
    with pytest.raises(TumorgenError, match=r"t\.csv\.gz: has more than .* unpacked"):
        read_text(path)


@pytest.mark.parametrize(("cell", "text"), [(" 12.5 ", "12.5"), ("'5", "5"), ("'\\q\\x4", "\\q\\x4"), ("'", "")])
def test_what_hands_have_typed(cell, text):
    assert plain(cell) == text


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=4))
def test_tables_round_trip_a_row_a_line(cells):
    rows = [dict(zip("abc", row, strict=True)) for row in cells]
    text = text_of("abc", rows)
    assert text.count("\n") == 1 + len(rows)  # so that a row that was cut off is known by its missing line end
    assert [row for _, row in rows_of(PATH, text, ["a"])] == [row for row in rows if any(row.values())]
    text.encode()  # whatever a file name was, the table is UTF-8


def test_ordinary_tables_keep_their_bytes():
    golden = Path(__file__).parents[1] / "golden"
    for path in sorted(golden.glob("*.csv")):
        content = path.read_text(encoding="utf-8")
        columns = next(csv.reader(io.StringIO(content)))
        rows = [row for _, row in rows_of(path, content, columns)]
        assert text_of(columns, rows) == content
    assert (golden / "plans.tumors.csv").read_text().startswith(",".join(TUMOR_COLUMNS))


# ---- as spreadsheets and hands save them


@dataclass(frozen=True)
class Lump:
    name: str
    count: int
    size_mm: float
    note: str = ""
    origin: str | None = None


BLANK = blank_columns(Lump)
HEADER = "name,count,size_mm,note,origin"
LUMPS = [Lump("a", 1, 2.5), Lump("b", 2, 3.0, "odd", "left")]


def read(text: str) -> list[Lump]:
    rows = rows_of(PATH, text, required_columns(Lump), unique="name", blank=BLANK)
    return [parse_row(Lump, row, where) for where, row in rows]


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\na,1,2.5,,\nb,2,3,odd,left\n",
        f"{HEADER}\r\na,1,2.5\r\nb,2,3,odd,left\r\n",  # empty cells at the end left out
        f"{HEADER},\na,1,2.5,,,\nb,2,3,odd,left,\n",  # or put there
        f"{HEADER}\na,1,2.5,,,,,\n,,,,\nb,2,3,odd,left\n,,,,\n\n \n",  # rows of nothing
        f"{HEADER}\na,1.0,2.5\nb,2.,3.00,odd,left\n",
        " name , count,size_mm,note,origin \n a , 1 , 2.5 \nb,2,3,odd,left",
    ],
)
def test_what_spreadsheets_leave_out_and_put_in_changes_nothing(text):
    assert read(text) == LUMPS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADER}\na,1\n", r"table.csv:2: not as many cells as columns; cut off\?"),
        (f"{HEADER}\na,1,2.5,,,more\n", r"table.csv:2: not as many cells as columns"),
        (f"{HEADER}\n,1,2.5\n,2,2.5\n", r"table.csv:3: name '' is there twice"),
        (f"{HEADER},count\na,1,2.5,,,3\n", "table.csv: column 'count' is there twice"),
        (HEADER.replace(",", ";"), "its cells are parted by semicolons; save it parted by commas, with decimal points"),
        ('"name";"count";size_mm\r\n"a";1;2,5\r\n', "its cells are parted by semicolons"),
        ("name\tcount\tsize_mm\na\t1\t2.5\n", "its cells are parted by tabs"),
        ("name|count|size_mm\na|1|2.5\n", "its cells are parted by bars"),
        ("name;count\na;1\n", "columns missing: name, count, size_mm"),
        (f'{HEADER}\na,1,"2,5"\n', "column size_mm: '2,5' has a decimal comma; save the table with decimal points"),
        (
            f"{HEADER}\na,1.23457E+18,2\n",
            "column count: '1.23457E\\+18' is not of type int: a spreadsheet has rounded it",
        ),
        (f"{HEADER}\na,1.5,2\n", "column count: '1.5' is not of type int$"),
    ],
)
def test_what_cannot_be_taken_is_said(text, message):
    with pytest.raises(TumorgenError, match=message):
        read(text)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (HEADER.encode("utf-16"), r"it is UTF-16 \('Unicode text'\); save it as that"),
        (b"\xfe\xff" + HEADER.encode("utf-16-be"), "it is UTF-16"),
        (b"PK\x03\x04" + bytes(40), "it is a workbook of a spreadsheet"),
        (f"{HEADER}\nM\u00fcller,1,2".encode("cp1252"), r"\(.*\); save it as UTF-8"),
    ],
)
def test_other_encodings_are_named(tmp_path, content, reason):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(TumorgenError, match=f"{path}: cannot be read as a CSV table in UTF-8.*{reason}"):
        read_text(path)
