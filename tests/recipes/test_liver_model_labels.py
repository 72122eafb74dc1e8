"""Label maps become one vocabulary on one grid: nothing is lost, nothing is turned over, volumes stay."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from liver_model.labels import BTCV, SOURCES, TOTAL, Tissue, find_maps, read_map, resample_labels, tents
from tumorgen.errors import TumorgenError


def ball(shape, spacing_mm, center_mm, radius_mm):
    axes = [(np.arange(n) + 0.5) * s - c for n, s, c in zip(shape, spacing_mm, center_mm, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return z**2 + y**2 + x**2 < radius_mm**2


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8)])
def test_volume_and_place_of_an_organ_survive_resampling(spacing_mm):
    shape = tuple(round(100 / s) for s in spacing_mm)
    given = ball(shape, spacing_mm, (50, 40, 60), 30).astype(np.uint8)
    made = resample_labels(given, spacing_mm, 3.0)
    volume_mm3 = 4 / 3 * np.pi * 30**3
    assert np.count_nonzero(made) * 27 == pytest.approx(volume_mm3, rel=0.05)  # a surface voxel in ten is rounded
    assert (np.argwhere(made).mean(axis=0) + 0.5) * 3 == pytest.approx([50, 40, 60], abs=1)


@pytest.mark.parametrize(("n", "mm", "m", "wanted"), [(10, 5.0, 25, 2.0), (60, 1.0, 20, 3.0)])
def test_weights_keep_what_is_even_and_what_is_linear(n, mm, m, wanted):
    weights = tents(n, mm, m, wanted)
    assert weights.sum(axis=1) == pytest.approx(1)
    inner = slice(m // 5, -m // 5)
    ramp = weights @ ((np.arange(n) + 0.5) * mm)
    assert ramp[inner] == pytest.approx(((np.arange(m) + 0.5) * wanted)[inner], abs=0.02 * wanted)


def write(path, array, direction="LPS"):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 4.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.DICOMOrient(image, direction), str(path))


def test_a_map_is_turned_to_lps_whatever_its_header_says(tmp_path):
    array = np.zeros((20, 30, 40), np.uint8)
    array[5:15, 5:20, 4:18] = 5  # liver, to the right
    array[6:10, 18:28, 28:38] = 1  # spleen, to the left and back
    made = []
    for direction in ("LPS", "RAS", "LAI"):
        write(tmp_path / f"{direction}.nii.gz", array, direction)
        made.append(read_map(tmp_path / f"{direction}.nii.gz", BTCV))
    assert all(np.array_equal(made[0], other) for other in made[1:])
    liver, spleen = (np.argwhere(made[0] == t).mean(axis=0) for t in (Tissue.LIVER, Tissue.SPLEEN))
    assert liver[2] < spleen[2]
    assert liver[1] < spleen[1]


def test_a_map_without_a_liver_is_refused(tmp_path):
    write(tmp_path / "map.nii.gz", np.ones((8, 8, 8), np.uint8))
    with pytest.raises(TumorgenError, match="no liver"):
        read_map(tmp_path / "map.nii.gz", BTCV)


@pytest.mark.parametrize("name", SOURCES)
def test_no_number_means_two_tissues(name):
    numbers = [n for values in SOURCES[name].numbers.values() for n in values]
    assert len(numbers) == len(set(numbers))


def test_the_liver_has_its_number_in_the_largest_table():
    assert list(TOTAL[Tissue.LIVER]) == [5]


def test_absent_and_unwanted_sources_are_skipped_and_said_so(tmp_path):
    for name in ("labels/btcv/0001.nii.gz", "labels/amos/a.nii.gz", "example_ct/organs.nii.gz"):
        write(tmp_path / name, np.ones((4, 4, 4), np.uint8))
    said = []
    found = find_maps(tmp_path, without=["btcv"], leave_out="example_ct", tell=said.append)
    assert [item.name for item in found] == ["amos_a"]
    text = "\n".join(said)
    assert "btcv: left out, as asked" in text
    assert "example_ct: left out, its scan is tested on" in text
    assert "spl_atlas: skipped" in text
