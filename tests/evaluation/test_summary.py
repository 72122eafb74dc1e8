"""What an evaluation amounts to: from scores that are written down here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from scored import case, evaluation, faulty, lesion

from tumorgen.evaluation.intervals import ConfidenceInterval
from tumorgen.evaluation.scores import FAULTS, METRICS, RADIUS_BINS
from tumorgen.evaluation.summary import Difference, Summary, summarize, write_summary


def test_faults_are_counted_and_in_no_mean():
    found = summarize(evaluation(case("a"), case("b"), *(faulty(f"f{i}", name) for i, name in enumerate(FAULTS))))
    assert found.cases == {"total": 7, "scored": 2, **dict.fromkeys(FAULTS, 1)}
    assert all(found.means[metric].count == 2 for metric in METRICS)
    assert found.means["false_positives_per_scan"].count == 2
    assert found.patients == 2


def test_undefined_scores_are_left_out_and_counted():
    found = summarize(evaluation(case("a", tumor_dsc=0.8), case("b", tumor_dsc=math.nan), case("c", tumor_dsc=0.4)))
    assert found.means["tumor_dsc"].value == pytest.approx(0.6)
    assert found.means["tumor_dsc"].count == 2
    assert found.undefined == {"liver_dsc": 0, "liver_nsd": 0, "tumor_dsc": 1, "tumor_nsd": 0}


def test_sensitivity_by_radius_and_rule():
    one = case("a")
    lesions = (
        lesion(one, 3, detected_any=True, detected_iou=True),
        lesion(one, 4, detected_any=True),
        lesion(one, 7),
        lesion(one, 30, detected_any=True, detected_iou=True),
        lesion(one, 30, kind="false_positive"),  # no lesion of the reference
    )
    found = summarize(evaluation(one, lesions=lesions)).sensitivity
    assert list(found["any"]) == ["all", *RADIUS_BINS]
    assert {name: (x.value, x.count) for name, x in found["any"].items() if x.defined} == {
        "all": (3 / 4, 4),
        "<5": (1.0, 2),
        "5-10": (0.0, 1),
        ">20": (1.0, 1),
    }
    assert (found["any"]["10-20"].defined, found["any"]["10-20"].count) == (False, 0)
    assert found["iou"]["<5"].value == 0.5


def test_specificity_is_of_scans_without_tumour():
    found = summarize(
        evaluation(
            case("tumour", predicted_tumor_mm3=0.0),
            case("clean", clean=True),
            case("alarm", clean=True, predicted_tumor_mm3=1.0, false_positives=3),
            case("clean 2", clean=True),
        )
    )
    assert (found.specificity.value, found.specificity.count) == (2 / 3, 3)
    assert found.means["false_positives_per_scan"].value == 3 / 4


def test_a_scan_in_which_the_manifest_lists_tumours_is_none_without_tumour():
    cases = case("a", clean=True), case("b", clean=True, tumors_listed=True)
    assert [one.lost_its_tumors for one in cases] == [False, True]
    assert summarize(evaluation(*cases)).specificity.count == 1


def test_variants_of_a_patient_narrow_no_interval():
    """Every estimate, of six patients once and of each nine times over."""

    def study(variants: int) -> Summary:
        cases, lesions = [], []
        for number in range(6):
            for variant in range(variants):
                one = case(
                    f"{number}_{variant}",
                    patient=f"p{number}",
                    clean=number < 4,
                    predicted_tumor_mm3=float(number % 2),
                    false_positives=number % 3,
                    tumor_dsc=number / 8,
                    liver_dsc=1 - number / 16,
                )
                cases.append(one)
                lesions.append(lesion(one, 2, detected_any=number > 2, dsc=number / 16))
        return summarize(evaluation(*cases, lesions=tuple(lesions)))

    once, often = study(1), study(9)
    for part in ("means", "sensitivity", "specificity"):
        assert _limits(getattr(often, part)) == pytest.approx(_limits(getattr(once, part)), abs=1e-9)


def _limits(part: Mapping | ConfidenceInterval) -> list[float]:
    """Every value and limit in a part of a summary, in order."""
    if isinstance(part, ConfidenceInterval):
        return [number for number in (part.value, part.low, part.high) if not math.isnan(number)]
    return [number for inner in part.values() for number in _limits(inner)]


def test_comparison_is_this_minus_the_other_case_by_case():
    mine = [case(f"c{i}", tumor_dsc=0.5 + 0.01 * i, found=(2, 1), false_positives=1) for i in range(8)]
    theirs = [replace(one, tumor_dsc=one.tumor_dsc - 0.01 * (i + 1)) for i, one in enumerate(mine)]
    theirs = [replace(one, detected_any=1, false_positives=2) for one in reversed(theirs)]
    found = summarize(evaluation(*mine), other=evaluation(*theirs, faulty("x", "unreadable"))).compare
    assert found["tumor_dsc"].difference.value == pytest.approx(0.045)
    assert found["tumor_dsc"].difference.low > 0
    assert (found["tumor_dsc"].p_value, found["tumor_dsc"].n) == (pytest.approx(2 / 2**8), 8)
    assert found["liver_dsc"] == Difference(ConfidenceInterval(0.0, 0.0, 0.0, 8), p_value=1.0, n=8)
    assert found["sensitivity_any"].difference.value == 0.5  # one more of two lesions
    assert found["sensitivity_any"].difference.count == 16
    assert found["sensitivity_iou"].difference.value == 0.0
    assert found["false_positives_per_scan"].difference.value == -1.0


def test_comparison_leaves_out_what_is_not_in_both():
    mine = (case("a"), case("b", tumor_dsc=math.nan), case("c"), faulty("d", "unreadable"))
    theirs = (case("a"), case("b"), faulty("c", "missing_prediction"), case("d"))
    found = summarize(evaluation(*mine), other=evaluation(*theirs)).compare
    assert found["tumor_dsc"].difference.count == 1
    assert found["liver_dsc"].difference.count == 2


def test_comparison_of_variants_counts_patients():
    mine = [case(f"{i}_{v}", patient=f"p{i}", liver_dsc=0.5 + 0.01 * i) for i in range(4) for v in range(25)]
    theirs = [replace(one, liver_dsc=0.4) for one in mine]
    found = summarize(evaluation(*mine), other=evaluation(*theirs)).compare["liver_dsc"]
    assert (found.n, found.p_value) == (4, pytest.approx(2 / 2**4))


def test_no_comparison_and_no_dimensions():
    found = summarize(evaluation(case("a")))
    assert not found.compare
    assert not found.dimensions


def test_dimensions_hold_every_level_and_the_control():
    cells = [
        ("control", "healthy"),
        ("size", "44"),
        ("size", "5.5"),
        ("size", "11"),
        ("location", "left"),
        ("location", "dome"),
    ]
    cases = [
        case(f"{patient}_{i:02}", patient=patient, dimension=d, level=level, clean=d == "control", tumor_dsc=i / 10)
        for patient in ("p", "q")
        for i, (d, level) in enumerate(cells)
    ]
    lesions = tuple(lesion(one, detected_any=one.level != "5.5") for one in cases if one.dimension != "control")
    found = summarize(evaluation(*cases, lesions=lesions)).dimensions
    assert {name: list(levels) for name, levels in found.items()} == {
        "control": ["healthy"],
        "size": ["5.5", "11", "44"],  # by number
        "location": ["left", "dome"],  # in the order of the cases
    }
    assert found["size"]["11"]["tumor_dsc"] == ConfidenceInterval(0.3, 0.3, 0.3, 2)
    assert found["size"]["5.5"]["sensitivity_any"].value == 0.0
    assert found["size"]["44"]["sensitivity_any"].value == 1.0
    assert found["control"]["healthy"]["specificity"].count == 2
    assert found["control"]["healthy"]["sensitivity_any"].count == 0


def test_one_seed_one_summary_and_another_metric_changes_no_other():
    study = evaluation(*(case(f"c{i}", liver_dsc=i / 16, tumor_dsc=i / 16) for i in range(12)))
    assert summarize(study) == summarize(study)
    assert summarize(study).means != summarize(study, seed=1).means
    other = evaluation(*(replace(one, liver_dsc=0.5) for one in study.cases))
    assert summarize(other).means["tumor_dsc"] == summarize(study).means["tumor_dsc"]


def test_summary_of_nothing_scored_is_json(tmp_path):
    """No estimate, no nan: a browser reads it."""
    write_summary(summarize(evaluation(faulty("a", "unreadable"))), tmp_path / "summary.json")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    found = json.loads((tmp_path / "summary.json").read_text(), parse_constant=refuse)
    assert found["compare"] is None
    assert found["dimensions"] is None
    assert found["means"]["liver_dsc"] == {"value": None, "low": None, "high": None, "count": 0}


def test_rules_say_the_tolerance_in_force():
    rules = summarize(evaluation(case("a")), tolerance_mm=1.5).rules
    assert "within 1.5 mm" in rules["nsd"]
    assert all("{" not in text for text in rules.values())
