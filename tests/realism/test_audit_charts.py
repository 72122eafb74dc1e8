"""Figures of an audit say what they show, and show what there is of scans with large voxels."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from discs import write_discs

from tumorgen.realism import MeasuredSet, measure_folder
from tumorgen.realism.appearance import PROFILE_MM
from tumorgen.realism.audit_charts import draw_histograms, draw_profiles


@pytest.fixture(scope="module")
def discs(tmp_path_factory) -> MeasuredSet:
    """Four lesions in a scan."""
    return measure_folder("real", write_discs(tmp_path_factory.mktemp("discs"), 1, lesions=4), {}, jobs=1)


def with_profiles(found: MeasuredSet, profile: list[float]) -> MeasuredSet:
    """The set as if its lesions were of 5 to 10 mm and had this profile."""
    lesions = (
        replace(
            each,
            place=replace(each.place, radius_bin="5-10"),
            appearance=replace(each.appearance, profile_hu=tuple(profile)),
        )
        for each in found.lesions
    )
    return replace(found, name="synthetic", scans=(replace(found.scans[0], lesions=tuple(lesions)),))


def test_profiles_go_on_over_distances_that_no_voxel_has(discs: MeasuredSet) -> None:
    coarse = [float(mm) if number % 3 == 0 else math.nan for number, mm in enumerate(PROFILE_MM)]
    axes = draw_profiles(discs, with_profiles(discs, coarse)).axes[1]
    line = axes.lines[1]
    assert line.get_label() == "synthetic (n = 4)"
    np.testing.assert_array_equal(line.get_xdata(), PROFILE_MM[::3])
    np.testing.assert_array_equal(line.get_ydata(), PROFILE_MM[::3])


def test_profiles_of_a_patient_who_was_scanned_three_times_weigh_as_one(discs: MeasuredSet) -> None:
    """Three scans of a patient show one lesion, at 0 HU; another patient's scan has two lesions, at 10 HU."""
    first, second = (with_profiles(discs, [hu] * len(PROFILE_MM)).scans[0] for hu in (0.0, 10.0))
    thrice = [replace(first, scan=replace(first.scan, case=f"scan{n}"), lesions=first.lesions[:1]) for n in range(3)]
    place = replace(second.lesions[0].place, patient="other")
    twice = tuple(replace(each, place=place) for each in second.lesions[:2])
    once = replace(second, scan=replace(second.scan, case="other", patient="other"), lesions=twice)
    line = draw_profiles(discs, replace(discs, scans=(*thrice, once))).axes[1].lines[1]
    assert set(line.get_ydata()) == {10.0}


def test_profiles_say_where_voxels_are_too_coarse_for_any(discs: MeasuredSet) -> None:
    figure = draw_profiles(discs, with_profiles(discs, [math.nan] * len(PROFILE_MM)))
    labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
    assert labels[1] == "synthetic (n = 4): voxels too coarse"
    assert figure.axes[3].get_legend().get_texts()[1].get_text() == "synthetic (n = 0)"
    assert [len(axes.get_yticks()) > 0 for axes in (figure.axes[1], figure.axes[3])] == [True, False]


def test_histograms_say_whose_bars_are_whose_and_what_share_they_are(discs: MeasuredSet) -> None:
    figure = draw_histograms(discs, with_profiles(discs, []))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["real (n = 4)", "synthetic (n = 4)"]
    first = figure.axes[0]
    assert first.get_ylabel() == "share of lesions"
    assert first.yaxis.get_major_formatter()(0.25).endswith(" %")
    for bars in first.patches:
        assert bars.get_data().values.sum() == pytest.approx(1)
