"""Two sets side by side: bands, shares inside them, and what is too little to conclude from."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from discs import write_discs

from tumorgen.realism.comparing import (
    APPEARANCE,
    SCANS,
    SHAPE,
    compare_sets,
    compare_shares,
    lesion_frame,
    scan_frame,
)
from tumorgen.realism.measuring import MeasuredSet, measure_set
from tumorgen.realism.scans import find_labelled


def measured(folder: Path, name: str, patients: dict[str, str] | None = None, **options) -> MeasuredSet:
    write_discs(folder, 3, **options)
    return measure_set(name, folder, find_labelled(folder, patients or {})[0], jobs=1)


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> dict[str, MeasuredSet]:
    folder = tmp_path_factory.mktemp("sets")
    return {
        "real": measured(folder / "real", "real"),
        "alike": measured(folder / "alike", "synthetic", first_seed=100),
        "pale": measured(folder / "pale", "synthetic", first_seed=200, contrast_hu=15.0),
    }


def test_every_statistic_is_compared_in_every_bin_and_over_all(sets):
    found = compare_sets(sets["real"], sets["alike"])
    assert [(row.statistic, row.radius_bin) for row in found] == [
        *((name, radii) for name in (*APPEARANCE, *SHAPE) for radii in ("<5", "5-10", "10-20", ">20", "all")),
        *((name, "all") for name in SCANS),
    ]


def test_lesions_of_the_same_kind_lie_inside_the_band(sets):
    rows = {(row.statistic, row.radius_bin): row for row in compare_sets(sets["real"], sets["alike"])}
    row = rows["core_contrast_hu", "all"]
    assert (row.real_count, row.real_patients, row.synthetic_count) == (24, 3, 24)
    assert row.conclusive
    assert row.median_inside
    assert row.inside >= 0.75  # 0.9 is expected, of 24
    assert row.inside_from <= row.inside <= row.inside_to
    assert row.real_low < row.real_median_from <= row.real_median <= row.real_median_to < row.real_high


def test_lesions_of_another_kind_lie_outside_it(sets):
    row = next(row for row in compare_sets(sets["real"], sets["pale"]) if row.statistic == "contrast_hu")
    assert row.inside == 0
    assert not row.median_inside


def test_bin_without_real_lesions_has_no_band_and_no_share_inside(sets):
    row = next(row for row in compare_sets(sets["real"], sets["alike"]) if row.radius_bin == ">20")
    assert row.real_count == 0
    assert not row.conclusive
    assert all(math.isnan(x) for x in (row.real_low, row.real_median, row.inside, row.inside_from))


def test_shares_say_how_many_are_brighter_than_the_parenchyma(sets):
    real, pale = sets["real"], sets["pale"]
    rows = {(row.share, row.radius_bin): row for row in compare_shares(real, pale)}
    assert (rows["brighter", "all"].real, rows["brighter", "all"].synthetic) == (0, 1)
    assert rows["in_bin", "<5"].real + rows["in_bin", "5-10"].real == pytest.approx(1)
    assert rows["edge_over_5", "all"].real == 0  # no disc lies at the liver's edge
    assert rows["brighter", "all"].synthetic_count == 24


def test_lesions_of_a_patient_with_two_scans_weigh_half(tmp_path):
    found = measured(tmp_path, "real", {"p0": "one", "p1": "one"})
    frame = lesion_frame(found)
    assert set(frame[frame["patient"] == "p0"]["weight"]) == {0.5}
    assert set(frame[frame["patient"] == "p2"]["weight"]) == {1.0}
    assert scan_frame(found)["weight"].tolist() == [0.5, 0.5, 1.0]
    row = compare_sets(found, found)[4]
    assert (row.real_count, row.real_patients) == (24, 2)


def test_intervals_depend_on_the_seed_alone(sets):
    first, again, other = (compare_sets(sets["real"], sets["alike"], seed=seed)[4] for seed in (0, 0, 1))
    assert first == again
    assert (first.real_median, first.inside) == (other.real_median, other.inside)
