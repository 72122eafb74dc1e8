"""What a liver can be: what is refused, what is doubted, and what of that stands in a plan."""

from __future__ import annotations

import numpy as np
import pytest
from phantoms import ball_scan, ball_volume

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.method.plausibility import doubt_liver, refuse_no_liver
from tumorgen.method.sampling import draw_plan
from tumorgen.method.scan import prepare_scan
from tumorgen.method.settings import Settings, Vessels
from tumorgen.training.clipping import LiverHu


def measured_for_training(ct: Volume, mask: np.ndarray) -> LiverHu:
    return LiverHu.of(ct.array, mask.astype(np.uint8))


@pytest.mark.parametrize(("mean_hu", "sd_hu"), [(-50, 20), (0, 100), (300, 40)])
def test_what_a_liver_may_have_is_taken(mean_hu, sd_hu):
    refuse_no_liver(mean_hu, sd_hu)


@pytest.mark.parametrize(
    ("mean_hu", "sd_hu", "reason"),
    [
        (-51, 20, "the mean in the liver mask is -51, but a liver has -50 to 300 HU"),
        (301, 20, "the mean in the liver mask is 301, but a liver has -50 to 300 HU"),
        (50, 101, "the standard deviation in the liver mask is 101, but a liver has at most 100 HU"),
        (float("nan"), 20, "the mean in the liver mask is nan"),
    ],
)
def test_what_no_liver_has_is_refused(mean_hu, sd_hu, reason):
    with pytest.raises(TumorgenError, match=reason):
        refuse_no_liver(mean_hu, sd_hu)


def test_a_mask_of_everything_but_the_liver_is_refused():
    """As bright as a liver in the middle of its values, bowel and fat on either side, as the inverse of a mask has."""
    volume, liver = ball_volume((5.0, 4.0, 4.0))
    others = np.resize([-900, -100, 30, 60, 400], volume.array.shape)
    hu = np.where(liver, volume.array, others).astype(np.int16)
    with pytest.raises(TumorgenError, match="standard deviation in the liver mask is"):
        prepare_scan(Volume(hu, volume.geometry), ~liver, Vessels(), "inverse")


def test_parenchyma_is_held_to_the_limits_as_the_whole_is():
    """Two thirds of 80 HU and a third of -200 HU have a mean in the limits; without what is bright, it is not."""
    volume, liver = ball_volume((5.0, 4.0, 4.0), noise_sd=1.0)
    hu = np.where(np.arange(volume.array.shape[0])[:, None, None] % 14 < 5, -200, volume.array).astype(np.int16)
    with pytest.raises(TumorgenError, match=r"mean in the liver mask is -\d+, but"):
        prepare_scan(Volume(hu, volume.geometry), liver, Vessels(offset_hu=-50.0), "fat")


@pytest.mark.parametrize("measure", [lambda ct, mask: prepare_scan(ct, mask, Vessels(), "a"), measured_for_training])
def test_a_mask_with_lung_in_it_is_refused_though_most_of_it_is_liver(measure):
    """As a mask that is mirrored or shifted has it: what is left of it without outliers looks like a liver."""
    volume, liver = ball_volume((5.0, 4.0, 4.0))
    measure(volume, liver)
    shifted = np.roll(liver, 4, axis=0)
    hu = np.where(shifted & ~liver, -800, volume.array).astype(np.int16)
    with pytest.raises(TumorgenError, match=r"\d+% of the liver mask is lung or gas"):
        measure(Volume(hu, volume.geometry), shifted)


def test_doubts_are_those_of_volume_and_mean():
    assert doubt_liver(1500, 60) == {}
    assert doubt_liver(499, -1) == {
        "volume_low": "the liver has 499 ml, less than 500",
        "hu_low": "the liver has -1 HU on average, less than 0",
    }
    assert [*doubt_liver(4001, 201)] == ["volume_high", "hu_high"]


@pytest.mark.parametrize(("scale", "notes"), [(1.0, ""), (1 / 3, "volume_low")])
def test_a_plan_notes_a_liver_stored_with_a_wrong_spacing(scale, notes):
    """The phantom has 905 ml, a ball of 60 mm radius."""
    scan = ball_scan((5.0, 4.0, 4.0))
    assert scan.liver_ml == pytest.approx(905, rel=0.02)  # of a ball in voxels
    spacing = tuple(size * scale for size in scan.geometry.spacing_mm)
    volume = Volume(scan.image.array, Geometry(scan.geometry.shape, spacing))
    stored = prepare_scan(volume, scan.liver, Vessels(), "stored")
    plan = draw_plan(stored, Settings(), np.random.default_rng(0), "tiny")
    assert plan.notes.replace("fewer_placed", "").strip() == notes
