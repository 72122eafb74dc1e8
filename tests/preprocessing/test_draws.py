"""What nnU-Net draws at random: the same voxels are drawn here."""

from __future__ import annotations

import numpy as np

from tumorgen.preprocessing.draws import draw_intensities, draw_places


def test_places_are_those_that_nnunet_draws():
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

    rng = np.random.default_rng(0)
    label = rng.integers(-1, 2, (30, 60, 60)).astype(np.int8)  # 36,000 of liver: more than are drawn at least
    label[3:5, 7:9, 11:14] = 2
    ours = draw_places(label, (1, 2))
    theirs = DefaultPreprocessor._sample_foreground_locations(label[None].astype(np.float32), [1, 2])
    assert list(ours) == list(theirs) == [1, 2]
    for value in (1, 2):
        assert ours[value].dtype == theirs[value].dtype
        assert np.array_equal(ours[value], theirs[value])
    assert len(ours[1]) == 10_000
    assert len(ours[2]) == 12


def test_a_label_without_voxels_has_no_places():
    assert draw_places(np.ones((2, 3, 4), np.int8), (1, 2))[2] == []


def test_intensities_are_those_that_nnunet_draws_and_cutting_down_to_the_foreground_changes_none():
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    rng = np.random.default_rng(0)
    hu, label = rng.integers(-100, 300, (12, 20, 20)).astype(np.int16), np.zeros((12, 20, 20), np.uint8)
    label[3:9, 4:15, 5:16] = rng.integers(0, 3, (6, 11, 11))
    drawn, _ = DatasetFingerprintExtractor.collect_foreground_intensities(
        label[None].astype(np.float32), hu[None].astype(np.float32), num_samples=5000
    )
    box = slice(2, 10), slice(4, 15), slice(5, 20)
    ours = draw_intensities(hu[box], label[box], 5000)
    assert ours.dtype == hu.dtype  # half the memory of nnU-Net's
    assert np.array_equal(ours, drawn[0])
    as_floats = draw_intensities(hu[box].astype(np.float64), label[box], 5000)
    assert as_floats.dtype == drawn[0].dtype
    assert np.array_equal(as_floats, drawn[0])
    assert draw_intensities(hu, np.zeros_like(label), 10).size == 0
