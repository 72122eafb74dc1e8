"""A set measured: which lesions, whose, what they look like; and scans that cannot be measured."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from discs import disc_scan, write_discs, write_scan

from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.realism.lesions import find_lesions
from tumorgen.realism.measuring import VIEW_PIXELS, cut_view, describe_greys, measure_set
from tumorgen.realism.scans import find_labelled


def measure(folder: Path, jobs: int = 1):
    return measure_set("real", folder, find_labelled(folder, {})[0], jobs=jobs)


def test_lesions_are_measured_with_their_scan_patient_and_place(tmp_path):
    found = measure(write_discs(tmp_path, 2, lesions=3), jobs=2)
    assert [(scan.scan.case, scan.burden.lesions) for scan in found.scans] == [("p0", 3), ("p1", 3)]
    assert len(found.lesions) == 6
    first = found.lesions[0]
    assert (first.place.set, first.place.scan, first.place.patient, first.place.lesion) == ("real", "p0", "p0", 1)
    assert first.place.center_z_mm == pytest.approx(4.5 * 2.5)
    assert first.shape.radius_mm == pytest.approx(5.2, abs=1.8)
    assert -60 < first.appearance.core_contrast_hu < -30
    assert first.appearance.reason == ""


def test_scan_without_lesions_counts_as_a_scan(tmp_path):
    write_discs(tmp_path, 1, lesions=2)
    hu, labels = disc_scan(5, lesions=0)
    write_scan(tmp_path, "healthy", hu, labels)
    found = measure(tmp_path)
    assert [scan.burden.lesions for scan in found.scans] == [0, 2]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda hu, labels: (hu / 1000, labels), "not a CT in HU: its highest value is"),
        (lambda hu, labels: (hu + 1024, labels), "not a CT in HU: its liver has a median of 11\\d\\d; offset, or norm"),
        (lambda hu, labels: (hu, np.where(labels == 2, 3, labels)), "holds the labels 3; only 0, 1 \\(liver\\) and 2"),
        (lambda hu, labels: (hu, np.where(labels == 1, 0, labels)), "no liver \\(label 1\\) in it"),
    ],
)
def test_scan_that_cannot_be_measured_says_why_and_costs_no_other(tmp_path, change, reason):
    write_discs(tmp_path, 1, lesions=2)
    hu, labels = change(*disc_scan(3, lesions=2))
    write_scan(tmp_path, "odd", hu, labels.astype(np.uint8))
    found = measure(tmp_path)
    assert [scan.scan.case for scan in found.scans] == ["p0"]
    assert [failure.name for failure in found.failures] == ["odd"]
    assert re.search(reason, found.failures[0].reason)


def test_label_on_another_grid_is_a_failure(tmp_path):
    write_discs(tmp_path, 2, lesions=2)
    _, labels = disc_scan(0, lesions=2)
    write_volume(Volume(labels, Geometry(labels.shape, (2.5, 0.9, 1.0))), tmp_path / "labels" / "p1.nii.gz")
    found = measure(tmp_path)
    assert "is not on the grid of" in found.failures[0].reason
    assert "spacing" in found.failures[0].reason


def test_set_without_any_lesion_is_refused(tmp_path):
    write_discs(tmp_path, 1, lesions=0)
    with pytest.raises(TumorgenError, match=r"no lesions \(label 2\) in any of its scans$"):
        measure(tmp_path)


def test_set_of_which_nothing_can_be_measured_is_refused(tmp_path):
    hu, labels = disc_scan(0, lesions=1)
    write_scan(tmp_path, "p0", hu / 1000, labels)
    with pytest.raises(TumorgenError, match=r"none of its scans could be measured; the first: .*not a CT in HU"):
        measure(tmp_path)


def test_axial_slices_are_found_however_the_file_stores_them(tmp_path):
    hu, labels = disc_scan(0, lesions=3, noise_sd=5.0)
    write_scan(tmp_path / "plain", "p", hu, labels)
    turned = Geometry((hu.shape[1], hu.shape[2], hu.shape[0]), (1.0, 1.0, 2.5), direction=(0, 1, 0, 0, 0, 1, 1, 0, 0))
    for part, array in (("images", np.rint(hu).astype(np.int16)), ("labels", labels)):
        volume = Volume(np.ascontiguousarray(array.transpose(1, 2, 0)), turned)
        write_volume(volume, tmp_path / "turned" / part / "p.nii.gz")
    plain, other = (sorted(x.shape.radius_mm for x in measure(tmp_path / name).lesions) for name in ("plain", "turned"))
    np.testing.assert_allclose(plain, other)


def test_view_shows_the_lesion_in_its_middle_and_is_black_beyond_the_scan():
    hu, labels = np.full((5, 60, 60), 100.0), np.ones((5, 60, 60), np.uint8)
    labels[:, 4:12, 24:36] = 2
    hu[labels == 2] = 50
    view = cut_view(hu, labels, find_lesions(labels, (1.0, 1.0, 1.0)).lesions[0], (1.0, 1.0))
    assert view.grey.shape == (3, VIEW_PIXELS, VIEW_PIXELS)
    assert view.labels.shape == (VIEW_PIXELS, VIEW_PIXELS)
    middle = VIEW_PIXELS // 2
    assert view.labels[middle, middle] == 2
    assert (view.grey[0] == 0).sum() == 16 * VIEW_PIXELS  # the middle is at 8: 16 of the rows above lie outside
    assert sorted(set(view.grey[0].ravel().tolist())) == [
        0,
        round((50 + 160) * 255 / 400),
        round((100 + 160) * 255 / 400),
    ]


def test_coarse_steps_and_narrow_ends_are_noted():
    hu, labels = disc_scan(0)
    hu[0, 0, 0] = 300
    coarse = np.rint(hu / 4) * 4
    assert describe_greys(coarse, labels) == {
        "in steps coarser than the 1.57 HU that all are compared on": (
            "in steps of 4.0 HU, coarser than the 1.57 HU that all are compared on"
        )
    }
    assert describe_greys(np.rint(hu), labels) == {}
    (note,) = describe_greys(np.clip(np.rint(hu), 0, 300), labels).values()
    assert note == "its values end at 0 and 300 HU, within the -160 to 240 HU compared"


def test_a_liver_of_two_voxels_has_no_steps():
    """Of two values none lies between the percentiles that the steps are measured between."""
    hu, labels = np.array([[[-1000.0, 60.0], [100.0, 1000.0]]]), np.array([[[0, 1], [1, 0]]], np.uint8)
    assert describe_greys(hu, labels) == {}
