"""Masks whose voxels are those of their images, along other axes: refused with what turns them, not resampled."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import ball_volume

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.reading import write_volume
from tumorgen.method.scan import load_scan

OBLIQUE = (0.96, -0.28, 0.0, 0.28, 0.96, 0.0, 0.0, 0.0, 1.0)
SHAPE, SPACING = (28, 35, 30), (5.0, 4.0, 4.0)
IMAGE, MASK = Path("ct.nii.gz"), Path("liver.nii.gz")


@pytest.fixture(params=[(1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0), OBLIQUE], ids=["straight", "oblique"])
def liver(request, tmp_path, monkeypatch) -> sitk.Image:
    """A ball of liver, cut off on one side, whose CT is written; its mask, to be written in some way."""
    monkeypatch.chdir(tmp_path)
    volume, inside = ball_volume(SPACING, size_mm=140.0)
    geometry = Geometry(SHAPE, SPACING, (-70.0, -60.0, 30.0), request.param)
    write_volume(Volume(volume.array[:, :, :30], geometry), IMAGE)
    return to_image(Volume(inside[:, :, :30].astype(np.uint8), geometry))


@pytest.mark.parametrize("orientation", ["RAI", "LPI", "PIR", "SAL"])
def test_a_mask_that_is_turned_is_refused_with_what_turns_it(liver, orientation):
    sitk.WriteImage(sitk.DICOMOrient(liver, orientation), str(MASK))
    with pytest.raises(TumorgenError, match=r"has the voxels of ct\.nii\.gz, but along other axes") as error:
        load_scan(IMAGE, MASK)
    assert f"({orientation} against LPS)" in str(error.value)
    assert 'SimpleITK.DICOMOrient(mask, "LPS")' in str(error.value)
    assert "or let liver-mask" not in str(error.value)
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(MASK)), "LPS"), str(MASK))  # as it says
    assert load_scan(IMAGE, MASK).liver.sum() == sitk.GetArrayViewFromImage(liver).sum()


def test_a_mask_that_lies_elsewhere_is_to_be_resampled_and_nobody_is_told_to_delete_it(liver):
    turned = sitk.DICOMOrient(liver, "RAI")
    turned.SetOrigin([number + 4.0 for number in turned.GetOrigin()])
    sitk.WriteImage(turned, str(MASK))
    with pytest.raises(TumorgenError, match=r"does not fit ct\.nii\.gz: .*; resample it to the") as error:
        load_scan(IMAGE, MASK)
    assert "delete" not in str(error.value)


def test_turns_are_all_that_there_are_and_each_has_the_corners_of_the_grid():
    geometry = Geometry((3, 4, 5), (3.0, 2.0, 1.0), (1.0, 2.0, 3.0), OBLIQUE)

    def corners(grid: Geometry) -> set[tuple[float, ...]]:
        ends = product(*((0.0, size - 1.0) for size in grid.shape))
        return {tuple(round(number, 6) + 0.0 for number in grid.to_mm(index)) for index in ends}

    turns = list(geometry.turns())
    assert len({(turn.shape, turn.origin_mm, turn.direction) for turn in turns}) == 48
    assert all(corners(turn) == corners(geometry) for turn in turns)
    assert sum(geometry.is_turned(turn) for turn in turns) == 47  # the other is the grid itself
