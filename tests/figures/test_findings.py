"""What a reader wants to know first, from scores that are written down here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scored import benchmark, case, evaluation, faulty

from tumorgen.evaluation.summary import summarize
from tumorgen.figures.findings import cell_name, levels_without_score, where_it_fails, worst_cases


def test_levels_below_a_half_are_told_worst_first():
    line = where_it_fails(benchmark({("size", "2"): 0.1, ("size", "8"): 0.5, ("texture", "1"): 0.3}))
    # Wilson's interval for 1 and 3 of 10.
    assert line == (
        "Fails, finding fewer than half of the lesions, at size 2 mm: 0.10 [0.02, 0.40]; texture 1: 0.30 [0.11, 0.60]."
    )


def test_no_more_than_three_are_spelled_out():
    line = where_it_fails(benchmark({("size", str(level)): level / 10 for level in range(5)}))
    assert "size 0 mm: 0.00" in line
    assert "size 2 mm: 0.20" in line
    assert "size 3 mm" not in line
    assert line.endswith("; and 2 more.")


def test_without_failure_the_weakest_level_is_told():
    line = where_it_fails(benchmark({("size", "2"): 0.6, ("size", "8"): 1.0}))
    assert line == "Finds at least half of the lesions at every level; weakest at size 2 mm: 0.60 [0.31, 0.83]."


def test_tumours_in_healthy_scans_are_told():
    found = {("size", "8"): 1.0}
    assert "healthy" not in where_it_fails(benchmark(found, healthy=0.6))
    line = where_it_fails(benchmark(found, healthy=0.2))
    assert line.endswith(" Predicts tumours in most healthy scans: specificity 0.20 [0.06, 0.51].")


def test_without_a_benchmark_there_is_nothing_to_tell():
    assert where_it_fails(summarize(evaluation(case("a")))) == ""


@pytest.mark.parametrize(
    ("dimension", "level", "name"),
    [
        ("size", "2", "size 2 mm"),
        ("intensity", "-40", "intensity \u221240 HU"),
        ("texture", "1.3", "texture 1.3"),
        ("location", "left-lobe", "location left-lobe"),
        ("size", "large", "size large"),  # a word has no unit
        ("other", "nan", "other nan"),
        ("d" * 99, "l" * 99, f"{'d' * 39}\u2026 {'l' * 39}\u2026"),
    ],
)
def test_levels_are_told_with_their_units(dimension, level, name):
    assert cell_name(dimension, level) == name


def test_levels_of_which_no_case_is_scored_are_known():
    def at(level: str) -> dict[str, str]:
        return {"dimension": "size", "level": level}

    cases = [
        replace(faulty("a", "unreadable"), **at("2")),
        case("b", **at("8")),
        replace(faulty("c", "unreadable"), **at("8")),
        faulty("d", "extra_prediction"),  # of no level
    ]
    assert levels_without_score(evaluation(*cases)) == [("size", "2")]


def test_worst_cases_are_those_that_missed_everything_then_by_dice_then_by_false_positives():
    cases = [
        case("good", found=(2, 2), tumor_dsc=0.9),
        case("bad", found=(1, 0), tumor_dsc=0.2),
        case("missed", tumor_dsc=0.3),
        case("bad and loud", found=(1, 0), tumor_dsc=0.2, false_positives=3),
        case("agreed that there is none", clean=True, tumor_dsc=float("nan")),
        faulty("faulty", "unreadable"),
    ]
    found = [each.case for each in worst_cases(evaluation(*cases), 10)]
    assert found == ["missed", "bad and loud", "bad", "good"]
    assert [each.case for each in worst_cases(evaluation(*cases), 2)] == found[:2]
