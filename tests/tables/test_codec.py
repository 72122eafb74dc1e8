"""Tables as text: cells that no spreadsheet computes, and that read back the same."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tumorgen.tables.codec import neutral, plain, rows_of, text_of
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


@pytest.mark.parametrize(("cell", "text"), [(" 12.5 ", "12.5"), ("'5", "5"), ("'\\q\\x4", "\\q\\x4"), ("'", "")])
def test_what_hands_have_typed(cell, text):
    assert plain(cell) == text


@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=4))
def test_tables_round_trip_a_row_a_line(cells):
    rows = [dict(zip("abc", row, strict=True)) for row in cells]
    text = text_of("abc", rows)
    assert text.count("\n") == 1 + len(rows)  # so that a row that was cut off is known by its missing line end
    assert [row for _, row in rows_of(PATH, text, ["a"])] == rows
    text.encode()  # whatever a file name was, the table is UTF-8


def test_ordinary_tables_keep_their_bytes():
    golden = Path(__file__).parents[1] / "golden"
    for path in sorted(golden.glob("*.csv")):
        content = path.read_text(encoding="utf-8")
        columns = next(csv.reader(io.StringIO(content)))
        rows = [row for _, row in rows_of(path, content, columns)]
        assert text_of(columns, rows) == content
    assert (golden / "plans.tumors.csv").read_text().startswith(",".join(TUMOR_COLUMNS))
