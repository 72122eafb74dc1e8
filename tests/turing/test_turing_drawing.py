"""Cases are drawn by patient, numbered and ordered so that nothing tells which are real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tumorgen.errors import TumorgenError
from tumorgen.seeds import stable_rng
from tumorgen.turing.drawing import Candidate, count_kinds, leave_enough, number_cases, order_cases, queue_patients


def candidate(case: str, patient: str) -> Candidate:
    return Candidate("real", case, patient, Path(f"{case}.nii.gz"), Path(f"{case}.nii.gz"))


def test_kinds_are_counted_as_in_the_paper():
    assert count_kinds(50, 0.4) == {"real": 20, "synthetic": 30}


@pytest.mark.parametrize(("count", "share"), [(50, 0.0), (50, 1.0), (1, 0.5), (4, 0.1)])
def test_a_study_has_both_kinds(count, share):
    with pytest.raises(TumorgenError, match="both kinds"):
        count_kinds(count, share)


def test_a_patient_is_drawn_once_and_each_sample_may_be():
    scans = [candidate(f"p{n}-{k}", f"p{n}") for n in range(20) for k in range(5)]
    drawn = [queue_patients(scans, stable_rng(seed, "x")) for seed in range(80)]
    for queue in drawn:
        assert sorted(cases[0].patient for cases in queue) == sorted({each.patient for each in scans})
    assert {cases[0].case for queue in drawn for cases in queue} == {each.case for each in scans}
    assert queue_patients(scans[::-1], stable_rng(3, "x")) == drawn[3]  # whatever the order of the files


def test_whose_case_cannot_be_shown_has_their_others_to_show_in_an_order_that_is_drawn():
    scans = [candidate(f"p{n}-{k}", f"p{n}") for n in range(3) for k in range(4)]
    drawn = [queue_patients(scans, stable_rng(seed, "x")) for seed in range(80)]
    for cases in (cases for queue in drawn for cases in queue):
        assert sorted(each.case for each in cases) == [f"{cases[0].patient}-{k}" for k in range(4)]
    assert {cases[1].case for queue in drawn for cases in queue} == {each.case for each in scans}


@pytest.mark.parametrize(
    ("number", "order"), [(2, "abcde"), (3, "abdec"), (4, "adebc"), (5, "deabc"), (9, "deabc"), (0, "abcde")]
)
def test_patients_whom_the_other_kind_needs_come_last(number, order):
    """Three of five are of both kinds, and the other kind has two more."""
    queue, other = ([[candidate(name, name)] for name in names] for names in ("abcde", "xcbay"))
    found = leave_enough(queue, other, number)
    assert "".join(cases[0].patient for cases in found) == order


def test_numbers_say_nothing_of_the_cases():
    """Over many seeds, real cases come first, in the middle and last alike: the mean number is that of chance."""
    first = [[int(name) for name in number_cases(50, stable_rng(seed, "n"))[:20]] for seed in range(200)]
    means = np.mean(first, axis=1)
    assert abs(means.mean() - 25.5) < 4 * means.std() / 200**0.5
    assert sorted(number_cases(12, stable_rng(0, "n"))) == [f"{n:03}" for n in range(1, 13)]


def test_each_reader_has_an_order_of_their_own():
    names = number_cases(30, stable_rng(0, "n"))
    orders = {name: order_cases(names, stable_rng(0, "order", name)) for name in ("anna", "ben")}
    assert orders["anna"] != orders["ben"]
    assert sorted(orders["anna"]) == sorted(orders["ben"]) == sorted(names)
