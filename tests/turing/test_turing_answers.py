"""Each answer is on disk at once, whatever happens next; what is no answer is refused."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from tumorgen.errors import TumorgenError
from tumorgen.turing.answers import Answer, answers_file, append_answer, read_answers

SURE = Answer("001", "real", 3, 1.5, -20.0, 3.25, 12.5, "2026-01-01T10:00:00Z")
UNSURE = Answer("002", "unsure", None, None, None, None, 4.0, "2026-01-01T10:01:00Z")


def test_answers_read_back_as_they_were_given(tmp_path):
    path = answers_file(tmp_path, "anna")
    for each in (SURE, UNSURE, SURE):
        append_answer(path, each)
    assert read_answers(path, {"001", "002"}) == [SURE, UNSURE, SURE]


def test_an_answer_is_on_disk_when_it_is_given(tmp_path, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(os.fstat(file).st_size), fsync(file))[1])
    path = answers_file(tmp_path, "anna")
    append_answer(path, SURE)
    assert path.stat().st_size in synced


def test_half_a_row_of_a_power_cut_goes_and_the_rest_stays(tmp_path):
    path = answers_file(tmp_path, "anna")
    append_answer(path, SURE)
    with path.open("a") as file:
        file.write("002,re")
    assert read_answers(path, {"001", "002"}) == [SURE]
    append_answer(path, UNSURE)
    assert read_answers(path, {"001", "002"}) == [SURE, UNSURE]


@pytest.mark.parametrize(("cases", "case"), [(("001", "010"), "001"), (("001", "1"), "1"), (("012", "001"), "001")])
def test_a_number_without_its_zeros_is_that_of_its_case(tmp_path, cases, case):
    """As a spreadsheet saves the table of a reader who has looked at it."""
    path = answers_file(tmp_path, "anna")
    append_answer(path, replace(SURE, case="1"))
    assert [each.case for each in read_answers(path, cases)] == [case]


@pytest.mark.parametrize("cases", [("01", "001"), ("010", "011"), ("a", "")])
def test_a_number_that_may_be_several_cases_or_none_is_refused(tmp_path, cases):
    path = answers_file(tmp_path, "anna")
    append_answer(path, replace(SURE, case="1"))
    with pytest.raises(TumorgenError, match="case '1' is none of this study's"):
        read_answers(path, cases)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"answer": "fake"}, "unknown answer"),
        ({"confidence": 4}, "confidence"),
        ({"confidence": None}, "has a confidence"),
        ({"answer": "unsure"}, "has none"),
        ({"x_mm": None}, "three coordinates"),
        ({"y_mm": float("nan")}, "y_mm"),
        ({"seconds": -1.0}, "seconds"),
        ({"seconds": float("inf")}, "seconds"),
    ],
)
def test_what_is_no_answer_is_refused(wrong, said):
    with pytest.raises(TumorgenError, match=said):
        replace(SURE, **wrong)


def test_answers_to_another_study_are_refused(tmp_path):
    path = answers_file(tmp_path, "anna")
    append_answer(path, SURE)
    with pytest.raises(TumorgenError, match=r"anna\.csv:2: case '001' is none of this study's"):
        read_answers(path, {"017"})


@pytest.mark.parametrize("name", ["../key/cases", "a/b", "", "con", ".hidden", "x" * 61])
def test_a_reader_is_no_path(tmp_path, name):
    with pytest.raises(TumorgenError, match="not safe as a file name"):
        answers_file(tmp_path, name)
