"""What nnU-Net's plans make of a case: normalisation and its way back, spacing, what cannot be trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from tumorgen.errors import TumorgenError
from tumorgen.method.recipes import load_recipe
from tumorgen.method.settings import Settings
from tumorgen.training.frame import Frame, Normalization, share_below_clipping

CLIPPED = Normalization(mean_hu=95.0, sd_hu=25.0, low_hu=-20.0, high_hu=170.0)

PLANS = {
    "transpose_forward": [1, 0, 2],
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 95.0, "std": 25.0, "percentile_00_5": -20.0, "percentile_99_5": 170.0}
    },
    "configurations": {
        "3d_fullres": {"spacing": [4.0, 2.5, 2.5], "normalization_schemes": ["CTNormalization"]},
        "2d": {"spacing": [2.5, 2.0], "normalization_schemes": ["CTNormalization"]},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        "mr": {"spacing": [4.0, 2.5, 2.5], "normalization_schemes": ["ZScoreNormalization"]},
    },
}

LABELLED = {"labels": {"background": 0, "liver": 1, "tumor": 2}}


def test_normalisation_is_nnunets_and_is_undone_within_the_clipping():
    hu = np.array([-1000, -20, 0, 95, 120, 170, 900], np.float32)
    assert_allclose(CLIPPED.to_values(hu), (np.clip(hu, -20, 170) - 95) / 25, rtol=1e-6)
    assert_allclose(CLIPPED.to_hu(CLIPPED.to_values(hu)), np.clip(hu, -20, 170), atol=1e-4)


def test_frame_is_read_from_the_plans():
    assert Frame.of(PLANS, "3d_fullres", LABELLED) == Frame(CLIPPED, (4.0, 2.5, 2.5), (1, 0, 2))
    two_d = Frame.of(PLANS, "2d", LABELLED)
    assert two_d.spacing_of({"spacing": [1.0, 7.0, 1.5]}) == (7.0, 2.5, 2.0)  # slices keep their distance


@pytest.mark.parametrize(
    ("configuration", "dataset", "message"),
    [
        ("3d_cascade_fullres", LABELLED, "second stage of a cascade"),
        ("mr", LABELLED, "one channel named CT"),
        ("3d_fullres", {"labels": {"background": 0, "liver": [1, 2], "tumor": 2}}, "labels are"),
        ("3d_fullres", {"labels": {"background": 0, "liver": 1}}, "labels are"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(configuration, dataset, message):
    with pytest.raises(TumorgenError, match=message) as error:
        Frame.of(PLANS, configuration, dataset)
    assert "\n" not in str(error.value)


def test_share_of_tumours_that_clipping_hides():
    """mu_t ~ U(30, 90) and a texture of 15 HU: half of them have mu_t - 15 below 45."""
    above_45, above_0 = Normalization(100, 20, 45.0, 200), Normalization(100, 20, 0.0, 200)
    assert share_below_clipping(Settings(), 100.0, 15.0, above_45) == pytest.approx(0.5, abs=0.05)
    assert share_below_clipping(Settings(), 100.0, 15.0, above_0) == 0


def test_the_share_that_clipping_hides_is_that_of_the_tables_of_real_lesions():
    """Contrasts whose median is -40 HU, in a parenchyma of 100 HU with a noise of 15: half of them lie below 45."""
    found = replace(load_recipe().real.bins[0], below_mm=200.0, contrast_hu=(-100.0, -40.0, -35.0))
    settings = replace(load_recipe(), real=replace(load_recipe().real, bins=(found,), shared=0.0, least_visible=0.0))
    share = share_below_clipping(settings, 100.0, 15.0, Normalization(100, 20, 45.0, 200))
    assert share == pytest.approx(0.5, abs=0.05)
