"""Lesions found and made up, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from tumorgen.evaluation.lesions import Lesion, find_lesions, radius_of


def row(text: str) -> np.ndarray:
    """A mask from a drawing of one row, two voxels deep and high: lesions along x."""
    return np.broadcast_to(np.array([c == "#" for c in text.replace("|", "")]), (2, 2, len(text))).copy()


def drawn(reference: str, prediction: str) -> tuple[tuple[Lesion, ...], tuple[Lesion, ...]]:
    return find_lesions(row(reference), row(prediction))


def test_components_have_26_neighbours():
    """Two voxels that share a corner are one lesion; two with a voxel between them are two."""
    mask = np.zeros((5, 5, 5), bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True
    (lesion,), _ = find_lesions(mask, np.zeros_like(mask))
    assert (lesion.voxels, lesion.center) == (2, (1.5, 1.5, 1.5))
    mask[4, 4, 4] = True
    assert [lesion.voxels for lesion in find_lesions(mask, mask)[0]] == [2, 1]


def test_nothing_at_all():
    assert drawn("....", "....") == ((), ())


def test_a_scan_without_lesion_has_false_positives():
    """On which the LiTS scorer stops."""
    lesions, made_up = drawn(".......", ".##..#.")
    assert lesions == ()
    assert [(lesion.voxels, lesion.detected_any, lesion.iou) for lesion in made_up] == [(8, False, 0), (4, False, 0)]


def test_hit_missed_and_made_up():
    lesions, made_up = drawn("####....####....", "###.........####")
    assert [lesion.detected_any for lesion in lesions] == [True, False]
    assert [lesion.iou for lesion in lesions] == [3 / 4, 0]
    assert [lesion.dsc for lesion in lesions] == [6 / 7, 0]
    assert [lesion.detected_iou for lesion in lesions] == [True, False]
    assert [lesion.center[2] for lesion in made_up] == [13.5]


def test_half_is_not_above_half():
    """As in LiTS, where an overlap of 0.5 or less is none."""
    (lesion,), made_up = drawn("####....", "##......")
    assert (lesion.iou, lesion.detected_any, lesion.detected_iou, made_up) == (0.5, True, False, ())


def test_a_touch_is_any_overlap_and_no_false_positive():
    (lesion,), made_up = drawn("####....", "...#####")
    assert (lesion.detected_any, lesion.iou, lesion.detected_iou, made_up) == (True, 1 / 8, False, ())


def test_fragments_of_one_lesion_count_together():
    """Neither half alone has an intersection over union above 0.5."""
    (lesion,), made_up = drawn("#########", "####.####")
    assert (lesion.iou, lesion.dsc, made_up) == (8 / 9, 16 / 17, ())


def test_lesions_under_one_prediction_are_found_together():
    lesions, _ = drawn("####.####", "#########")
    assert [lesion.iou for lesion in lesions] == [8 / 9, 8 / 9]
    assert all(lesion.detected_iou for lesion in lesions)


def test_lesions_under_too_large_a_prediction_are_missed_together():
    lesions, _ = drawn("##......##", "##########")
    assert [(lesion.iou, lesion.detected_any, lesion.detected_iou) for lesion in lesions] == [(4 / 10, True, False)] * 2


def test_a_lesion_goes_to_the_prediction_that_covers_most_of_it():
    """The second prediction has 1 of the first lesion and all of the second: each lesion has its own."""
    lesions, _ = drawn("#########.##", "#######.####")
    # the first is covered best by 7 of the first prediction; the second by 2 of the second, which itself overlaps the
    # second lesion by 2 and the first by 1
    assert [lesion.iou for lesion in lesions] == [7 / 9, 2 / 4]
    assert [lesion.detected_iou for lesion in lesions] == [True, False]


def test_a_prediction_goes_to_the_lesion_that_it_overlaps_most():
    """And the small lesion that it also covers has none left: touched, but matched to nothing."""
    lesions, made_up = drawn("############.#", "######.#######")
    assert [lesion.detected_any for lesion in lesions] == [True, True]
    assert [lesion.iou for lesion in lesions] == [11 / 14, 0]
    assert made_up == ()


@pytest.mark.parametrize("radius", [1.0, 5.0, 44.0])
def test_radius_of_a_ball(radius):
    assert radius_of(4 / 3 * np.pi * radius**3) == pytest.approx(radius)


masks = arrays(bool, (3, 6, 7), elements=st.booleans())


def by_definition(reference: np.ndarray, prediction: np.ndarray) -> tuple[list[float], list[float], int]:
    """The stated rule, step by step, on whole arrays: IoU and Dice of each lesion, and false positives."""
    every = np.ones((3, 3, 3))
    (truth, lesions), (found, predicted) = ndimage.label(reference, every), ndimage.label(prediction, every)
    shared = np.array(
        [
            [np.count_nonzero((truth == i) & (found == j)) for i in range(1, lesions + 1)]
            for j in range(1, predicted + 1)
        ]
    ).reshape(predicted, lesions)
    groups: dict[int, list[int]] = {}
    for i in range(lesions):
        if shared[:, i].any():
            groups.setdefault(int(shared[:, i].argmax()), []).append(i)
    merged = sorted(groups.values())
    iou, dice = [0.0] * lesions, [0.0] * lesions
    chosen = [int(np.argmax([row[g].sum() for g in merged])) if row.any() else -1 for row in shared]
    for number, parts in enumerate(merged):
        mine = np.isin(truth, np.add(parts, 1))
        matched = np.isin(found, [j + 1 for j, choice in enumerate(chosen) if choice == number])
        for i in parts:
            iou[i] = np.count_nonzero(mine & matched) / np.count_nonzero(mine | matched)
            dice[i] = 2 * np.count_nonzero(mine & matched) / (np.count_nonzero(mine) + np.count_nonzero(matched))
    return iou, dice, sum(not row.any() for row in shared)


@settings(max_examples=200)
@given(masks, masks)
def test_the_rule_is_followed(reference, prediction):
    iou, dice, made_up = by_definition(reference, prediction)
    lesions, found = find_lesions(reference, prediction)
    assert [lesion.iou for lesion in lesions] == iou
    assert [lesion.dsc for lesion in lesions] == dice
    assert len(found) == made_up


@settings(max_examples=50)
@given(masks)
def test_a_prediction_that_is_the_reference_finds_all(mask):
    lesions, made_up = find_lesions(mask, mask)
    assert all((lesion.iou, lesion.dsc, lesion.detected_iou) == (1, 1, True) for lesion in lesions)
    assert made_up == ()


def test_a_single_lesion_scores_as_simpleitk_has_it():
    first, second = np.zeros((2, 12, 12, 12), bool)
    first[2:8, 2:8, 2:8], second[3:9, 2:8, 3:8] = True, True
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (first, second)))
    (lesion,), _ = find_lesions(first, second)
    assert (lesion.iou, lesion.dsc) == pytest.approx((measures.GetJaccardCoefficient(), measures.GetDiceCoefficient()))


def test_noise_of_ten_thousand_components_takes_no_matrix():
    """A matrix of every lesion against every predicted one would have 10^9 cells."""
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 60, 160, 160)) < 0.025
    lesions, made_up = find_lesions(first, second)
    assert len(lesions) * len(made_up) > 5e8
