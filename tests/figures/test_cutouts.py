"""Pictures of cases: the slice that shows most, whatever way the file is turned."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from label_maps import HERE, SHAPE, SPACING, THERE, label
from matplotlib import image as mpl_image
from matplotlib.colors import to_rgb

from tumorgen.errors import TumorgenError
from tumorgen.evaluation.predictions import Conventions
from tumorgen.figures.cutouts import PREDICTION_COLOR, REFERENCE_COLOR, draw_cutout, slice_to_show, window_of
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.mask_labels import LabelChoice
from tumorgen.imaging.reading import write_volume


@pytest.mark.parametrize(
    ("reference", "prediction", "index"),
    [
        (label(HERE), label(np.s_[4:5, 10:18, 10:18]), 5),  # the first of the slices with most disagreement
        (label(HERE), label(HERE), 4),  # none: most tumour
        (label(), label(), 2),  # no tumour: most liver
        (np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8), 6),  # nothing: the middle
    ],
)
def test_the_slice_that_shows_most(reference, prediction, index):
    assert slice_to_show(reference, prediction) == index


def save(folder: Path, name: str, array: np.ndarray, direction=(1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)) -> Path:
    write_volume(Volume(array, Geometry(SHAPE, SPACING, (0.0, 0.0, 0.0), direction)), folder / name)
    return folder / name


def where(png: bytes, color: str) -> np.ndarray:
    """Mean place (row, column) of a colour in a picture, each from 0 to 1; nan where it is not."""
    pixels = mpl_image.imread(io.BytesIO(png))[..., :3]
    found = np.argwhere(np.abs(pixels - to_rgb(color)).max(axis=2) < 0.08)
    return found.mean(axis=0) / pixels.shape[:2] if len(found) else np.full(2, np.nan)


@pytest.mark.parametrize("with_image", [True, False], ids=["CT", "labels alone"])
def test_both_outlines_are_where_the_tumours_are(tmp_path, with_image):
    reference = save(tmp_path, "r.nii.gz", label(HERE))
    prediction = save(tmp_path, "p.nii.gz", label(THERE))
    image = save(tmp_path, "i.nii.gz", np.full(SHAPE, 60, np.int16)) if with_image else None
    cutout = draw_cutout(reference, prediction, image)
    truth, found = where(cutout.png, REFERENCE_COLOR), where(cutout.png, PREDICTION_COLOR)
    # 90 mm around the middle of both, which is voxel edge (20, 24); their own middles are edges (14, 14), (26, 34).
    np.testing.assert_allclose(truth, (0.5 - 6 / 90, 0.5 - 10 / 90), atol=0.01)
    np.testing.assert_allclose(found, (0.5 + 6 / 90, 0.5 + 10 / 90), atol=0.01)
    assert not cutout.without_ct


def test_a_prediction_is_shown_as_it_was_scored(tmp_path):
    """Its labels have other numbers, or floating point has moved them."""
    reference, found = save(tmp_path, "r.nii.gz", label(HERE)), label(THERE)
    plain = draw_cutout(reference, save(tmp_path, "p.nii.gz", found), None)
    renumbered = save(tmp_path, "q.nii.gz", np.array([0, 5, 9], np.uint8)[found])
    chosen = Conventions(predicted=LabelChoice(("5",), ("9",)))
    assert draw_cutout(reference, renumbered, None, chosen).png == plain.png
    moved = save(tmp_path, "m.nii.gz", found * 0.9999999)
    assert draw_cutout(reference, moved, None).png == plain.png


@pytest.mark.parametrize(
    ("tumor", "side_mm"),
    [
        (np.s_[4:7, 10:18, 10:18], 90.0),  # a small one: some liver around it
        (np.s_[4:7, 8:32, 5:45], 100.0),  # a large one, 40 mm: two and a half times its width
        (np.s_[4:4, 0:0, 0:0], 90.0),  # none: the liver
    ],
)
def test_the_picture_is_a_square_of_mm(tumor, side_mm):
    reference = Volume(label(tumor), Geometry(SHAPE, SPACING))
    window = window_of(reference, label())
    for low, high in (window.across_mm, window.vertical_mm):
        assert high - low == pytest.approx(side_mm)


def test_a_file_that_is_turned_is_turned_back(tmp_path):
    """x and y run to the patient's right and front: the picture is that of the scan as radiologists look at it."""
    turned = (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)
    plain = draw_cutout(save(tmp_path, "a.nii.gz", label(HERE)), save(tmp_path, "b.nii.gz", label(THERE)), None)
    flipped = draw_cutout(
        save(tmp_path, "c.nii.gz", label(HERE)[:, ::-1, ::-1].copy(), turned),
        save(tmp_path, "d.nii.gz", label(THERE)[:, ::-1, ::-1].copy(), turned),
        None,
    )
    assert plain == flipped


def test_a_ct_that_does_not_fit_or_cannot_be_read_is_left_out_and_said(tmp_path):
    reference, prediction = save(tmp_path, "r.nii.gz", label(HERE)), save(tmp_path, "p.nii.gz", label(THERE))
    small = np.full((5, 6, 7), 60, np.int16)
    write_volume(Volume(small, Geometry(small.shape, SPACING)), tmp_path / "small.nii.gz")
    shifted = Geometry(SHAPE, SPACING, (0.0, 5.0, 0.0))
    write_volume(Volume(np.full(SHAPE, 60, np.int16), shifted), tmp_path / "shifted.nii.gz")
    (tmp_path / "broken.nii.gz").write_bytes(b"no volume")
    alone = draw_cutout(reference, prediction, None)
    for name, why in (
        ("small", "does not fit"),
        ("shifted", "does not fit"),
        ("broken", "broken"),
        ("none", "no such"),
    ):
        cutout = draw_cutout(reference, prediction, tmp_path / f"{name}.nii.gz")
        assert cutout.png == alone.png
        assert why in cutout.without_ct


def test_labels_that_do_not_lie_on_one_grid_are_not_drawn(tmp_path):
    reference = save(tmp_path, "r.nii.gz", label(HERE))
    turned = save(tmp_path, "p.nii.gz", label(THERE), (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0))
    with pytest.raises(TumorgenError, match=r"p\.nii\.gz: does not fit"):
        draw_cutout(reference, turned, None)


def test_a_file_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(TumorgenError, match="no such file"):
        draw_cutout(tmp_path / "none.nii.gz", tmp_path / "none.nii.gz", None)
