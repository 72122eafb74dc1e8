"""Of samples whose scans have real tumours, only what was drawn counts as synthetic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from mixed_tumors import REAL_RADIUS_MM, write_mixed

from tumorgen.cli import main
from tumorgen.errors import TumorgenError
from tumorgen.figures import to_lps
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.method import changed_mm
from tumorgen.realism import telling
from tumorgen.realism.auditing import measure_folder
from tumorgen.realism.drawn import DrawnTumors, find_drawn
from tumorgen.realism.scans import find_labelled
from tumorgen.tables.manifest import read_manifest


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, Path]:
    return write_mixed(tmp_path_factory.mktemp("mixed"), 2)


def relabel(dataset: Path, case: str, change) -> None:
    file = dataset / "labelsTr" / f"{case}.nii.gz"
    volume = read_volume(file)
    write_volume(Volume(change(volume.array.copy()), volume.geometry), file)


def test_real_lesions_of_a_dataset_are_none_of_its_synthetic_ones(made):
    """Each sample has one, larger than all that are drawn; volumes and numbers are those of the drawn ones alone."""
    _, dataset = made
    records = {record.plan.sample: record for record in read_manifest(dataset / "manifest.csv")}
    found = measure_folder("synthetic", dataset, {}, jobs=1)
    assert found.failures == ()
    assert [each.burden.real for each in found.scans] == [1] * 4
    for each in found.scans:
        record = records[each.scan.case]
        assert each.burden.lesions + each.burden.too_small >= len(record.plan.tumors) > 0
        assert each.burden.tumor_ml == pytest.approx(record.files.tumor_volume_mm3 / 1000)
    assert max(lesion.shape.radius_mm for lesion in found.lesions) < REAL_RADIUS_MM - 3


def test_an_audit_of_them_says_how_many_real_ones_it_leaves_out(made, tmp_path, monkeypatch):
    for name in ("TREES", "SHUFFLES", "RESAMPLES"):
        monkeypatch.setattr(telling, name, 2)  # what is found is not looked at
    source, dataset = made
    words = ["audit", str(dataset), "--real", str(source), "--output", str(tmp_path), "--jobs", "1", "--no-network"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    note = "synthetic: 4 real lesions of the scans themselves left out, as the manifest has it"
    assert f"note: {note}\n" in done.output
    assert f"{note}." in (tmp_path / "audit.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))["synthetic"]["real_left_out"] == 4


def test_a_label_that_is_not_as_its_rows_say_is_left_out_and_named(tmp_path):
    """A voxel more where nothing was drawn; another sample is measured all the same."""

    def add(array: np.ndarray) -> np.ndarray:
        z, y, x = np.argwhere(array == 1)[0]
        array[z, y, x] = 2
        return array

    _, dataset = write_mixed(tmp_path, 1)
    relabel(dataset, "p0_v0001", add)
    found = measure_folder("synthetic", dataset, {}, jobs=1)
    assert [each.scan.case for each in found.scans] == ["p0_v0000"]
    (failure,) = found.failures
    assert failure.name == "p0_v0001"
    assert "by its manifest: which tumours are real cannot be told" in failure.reason


def test_a_real_tumour_where_a_synthetic_one_reaches_is_not_taken_for_it(tmp_path):
    """As a row moved by hand may have it: the sample takes no part."""
    _, dataset = write_mixed(tmp_path, 1)
    manifest = dataset / "tumors.csv"
    rows = manifest.read_text(encoding="utf-8").splitlines()
    names, first = rows[0].split(","), rows[1].split(",")
    label = read_volume(dataset / "labelsTr" / "p0_v0000.nii.gz")
    real = read_volume(tmp_path / "source" / "labels" / "p0.nii.gz").array == 2
    middle = label.geometry.to_mm(tuple(np.argwhere(real).mean(axis=0)))
    for axis, value in zip("xyz", middle, strict=True):
        first[names.index(f"center_{axis}_mm")] = f"{value:.4f}"
    manifest.write_text("\n".join([rows[0], ",".join(first), *rows[2:]]) + "\n", encoding="utf-8")
    found = measure_folder("synthetic", dataset, {}, jobs=1)
    assert [each.scan.case for each in found.scans] == ["p0_v0001"]
    assert "cannot be told" in found.failures[0].reason


def test_a_synthetic_tumour_that_touches_a_real_one_is_refused(made):
    """Along a line through all that the tumour may change, and a voxel beyond."""
    _, dataset = made
    scan = find_labelled(dataset, {})[0][0]
    label = to_lps(read_volume(scan.label))
    (tumor, *_), spacing = scan.drawn.tumors, label.geometry.spacing_mm
    z, y, x = (round(i) for i in label.geometry.to_index(tumor.center_mm))
    array = np.ones(label.array.shape, np.uint8)
    array[z, y, x : x + int(changed_mm(tumor) / spacing[2]) + 2] = 2
    with pytest.raises(TumorgenError, match="touches a real one: both are one lesion"):
        find_drawn(Volume(array, label.geometry), DrawnTumors((tumor,), 1), scan.label)


def test_of_samples_without_real_tumours_the_rows_are_not_asked(made):
    source, dataset = made
    assert all(scan.drawn for scan in find_labelled(dataset, {})[0])
    assert not any(scan.drawn for scan in find_labelled(source, {})[0])
