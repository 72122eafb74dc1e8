"""The scans of a set: layouts, hosts and patients, and files that lack their other half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from discs import disc_scan, write_scan

from tumorgen.errors import TumorgenError
from tumorgen.realism.scans import LabelledScan, call_after_scans, find_labelled, find_layout, join_patients


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    for case in ("a", "b_001"):
        write_scan(folder, case, *disc_scan(0, lesions=1))
    return folder


@pytest.mark.parametrize("layout", [("imagesTr", "labelsTr"), ("imagesTs", "labelsTs"), ("images", "labels")])
def test_layouts(tmp_path, layout):
    for name in layout:
        (tmp_path / name).mkdir()
    assert find_layout(tmp_path) == (tmp_path / layout[0], tmp_path / layout[1])


def test_what_is_no_set_is_refused(tmp_path):
    with pytest.raises(TumorgenError, match="not a set of images and labels; one of these pairs of folders is needed"):
        find_layout(tmp_path)


def test_scans_are_patients_of_their_own_unless_a_table_says_otherwise(folder):
    scans, failures = find_labelled(folder, {"a": "Ann", "b_001": "Ann"})
    assert [(scan.case, scan.host, scan.patient) for scan in scans] == [("a", "a", "a"), ("b_001", "b_001", "a")]
    assert failures == ()


def test_a_patient_of_the_name_of_an_unlisted_case_is_somebody_else(folder):
    scans, _ = find_labelled(folder, {"b_001": "a"})
    assert [scan.patient for scan in scans] == ["a", "b_001"]


def test_patients_are_called_after_their_cases_though_a_file_may_have_any_name():
    table = {"scan 1": "Ann", "scan 2": "Ann", "b, see below": "Bea", "b": "Bea"}
    assert call_after_scans(table) == {"scan 1": "scan 1", "scan 2": "scan 1", "b, see below": "b", "b": "b"}


def test_a_patient_of_several_sets_has_one_name_though_one_of_them_does_not_know_whose_its_scans_are():
    def some(*named: tuple[str, str, str]) -> list[LabelledScan]:
        return [LabelledScan(case, host, patient, Path(), Path()) for case, host, patient in named]

    real = some(("a1", "a1", "a1"), ("a2", "a2", "a2"), ("b", "b", "b"))
    synthetic = some(("a2_v0", "a2", "a1"), ("b_v0", "b", "b"), ("c_v0", "c", "c"))
    first, second = join_patients(real, synthetic)
    assert first == {"a1": "a1", "a2": "a1", "b": "b"}
    assert second == {"a2_v0": "a1", "b_v0": "b", "c_v0": "c"}


def test_manifest_beside_the_labels_names_the_hosts_and_a_table_their_patients(folder, tmp_path):
    for part in ("images", "labels"):
        (tmp_path / part).symlink_to(folder / part)
    (tmp_path / "manifest.csv").write_text("sample,case\nb_001,b\n")
    scans, _ = find_labelled(tmp_path, {"b": "Bea"})
    assert [(scan.case, scan.host, scan.patient) for scan in scans] == [("a", "a", "a"), ("b_001", "b", "b")]


def test_image_without_label_and_label_without_image_are_failures(tmp_path):
    hu, labels = disc_scan(0, lesions=1)
    write_scan(tmp_path, "both", hu, labels)
    write_scan(tmp_path, "image", hu, None)
    write_scan(tmp_path, "label", hu, labels)
    (tmp_path / "images" / "label.nii.gz").unlink()
    scans, failures = find_labelled(tmp_path, {})
    assert [scan.case for scan in scans] == ["both"]
    images, known = tmp_path / "images", tmp_path / "labels"
    assert [failure.reason for failure in failures] == [
        f"{images / 'image.nii.gz'}: no label of that name in {known}",
        f"{known / 'label.nii.gz'}: no image of that name in {images}",
    ]


def test_sets_without_a_pair_are_refused(tmp_path):
    hu, labels = disc_scan(0, lesions=1)
    write_scan(tmp_path, "x", hu, labels)
    (tmp_path / "labels" / "x.nii.gz").rename(tmp_path / "labels" / "y.nii.gz")
    with pytest.raises(TumorgenError, match="no label has the case name of an image"):
        find_labelled(tmp_path, {})
    assert np.isin(labels, (0, 1, 2)).all()
