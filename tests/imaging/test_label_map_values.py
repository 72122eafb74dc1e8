"""Label maps hold 0, 1 (liver) and 2 (tumour): whole again where floating point has rounded, refused otherwise."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.label_maps import as_label_map


def volume_of(*values: float, dtype: str = "float32") -> Volume:
    array = np.zeros((2, 3, 4), dtype)
    array.flat[: len(values)] = values
    return Volume(array, Geometry(array.shape, (1.0, 1.0, 1.0)))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_labels_of_any_type_are_uint8(dtype, tmp_path):
    labels = as_label_map(volume_of(0, 1, 2, 2, dtype=dtype), tmp_path / "a.nii.gz")
    assert labels.array.dtype == np.uint8
    assert labels.array.flat[:4].tolist() == [0, 1, 2, 2]


def test_what_floating_point_has_left_a_little_off_is_whole_again(tmp_path):
    labels = as_label_map(volume_of(0.9999, 1.9999999, -0.0002), tmp_path / "a.nii.gz")
    assert labels.array.flat[:3].tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ((1, 3), "holds the labels 3;"),
        ((-1, 1), "holds the labels -1;"),
        ((1.5,), "holds the labels 1.5;"),
        ((np.nan, 1), "holds the labels nan;"),
        (range(2, 9), "holds the labels 3, 4, 5, 6, 7, ...;"),
    ],
)
def test_other_labels_are_refused_by_their_numbers(values, named, tmp_path):
    with pytest.raises(TumorgenError, match=r"only 0, 1 \(liver\) and 2 \(tumour\) are known") as refusal:
        as_label_map(volume_of(*values), tmp_path / "a.nii.gz")
    assert named in str(refusal.value)


def test_labels_that_are_numbered_otherwise_by_name_are_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"liver": 2, "tumour": 1}))
    with pytest.raises(TumorgenError, match="renumber them, or correct the names"):
        as_label_map(volume_of(1, 2), tmp_path / "a.nii.gz")
