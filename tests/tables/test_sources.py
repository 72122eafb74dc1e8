"""Scans that samples are made of: which are taken, and which cannot go together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from examples import plan_of
from phantoms import ball_volume
from scipy import ndimage

from tumorgen.errors import TumorgenError
from tumorgen.imaging import MASK, LabelChoice, Volume, write_volume
from tumorgen.method import Vessels, load_scan
from tumorgen.tables.manifest import Record, Sources
from tumorgen.tables.scans import ScanRow
from tumorgen.tables.sources import Source, find_sources, match_sources, refuse_same_case, sources_of_scans


@pytest.mark.parametrize("twin", ["a", "A"])
def test_two_scans_of_one_name_are_refused_capitals_apart(twin):
    """As a manifest refuses their samples: better at the beginning of a run than at its end."""
    sources = [Source(case, Path("image"), Path("mask")) for case in ("b", "a", twin)]
    with pytest.raises(TumorgenError, match="case 'a' is there twice; rename one of the scans"):
        refuse_same_case(sources)
    refuse_same_case(sources[:2])


@pytest.mark.parametrize("path", ["a\0b.nii.gz", "a\ud800.nii.gz"])
def test_a_path_that_no_system_takes_is_left_to_what_reads_it(path):
    ((source,), failures) = sources_of_scans([ScanRow(case="a", image=path, mask=path, status="ok")])
    assert (str(source.image), failures) == (path, [])


def test_a_scan_that_somebody_has_marked_failed_is_left_out_and_no_failure():
    """It has a mask that is not empty; one whose mask liver-mask found empty has failed."""
    ok = ScanRow(case="a", image=__file__, mask="a.nii.gz", status="ok")
    marked = ScanRow(case="q", image="q", mask="q.nii.gz", status="failed", flags="cut_by_edge")
    empty = ScanRow(case="e", image="e", mask="e.nii.gz", status="failed", flags="empty", reason="no liver")
    (source,), failures = sources_of_scans([ok, marked, empty])
    assert source.case == "a"
    assert [(failure.name, failure.left_out) for failure in failures] == [("q", True), ("e", False)]
    assert failures[1].reason.startswith(
        "liver-mask failed: no liver; no samples of it; to leave it out for good, delete"
    )
    with pytest.raises(TumorgenError, match="marks failed every scan that has a mask"):
        sources_of_scans([marked, empty])
    with pytest.raises(TumorgenError, match="no scan has a liver mask"):
        sources_of_scans([empty])


def test_scans_to_check_are_skipped_and_counted_where_none_is_left():
    ok = ScanRow(case="a", image=__file__, mask="a.nii.gz", status="ok")
    check = ScanRow(case="c", image="c", mask="c.nii.gz", status="check", flags="volume_low")
    failed = [ScanRow(case=case, image=case, status="failed", reason="no CT") for case in "ef"]
    marked = ScanRow(case="q", image="q", mask="q.nii.gz", status="failed")
    (source,), failures = sources_of_scans([ok, check, *failed], skip_check=True)
    assert (source.case, len(failures)) == ("a", 2)
    left = r"no scan is left: 1 marked check and left out \(--skip-check\), "
    for rows, why in (
        ([check, *failed], f"{left}2 failed in liver-mask; look"),
        ([check, marked, *failed], f"{left}1 marked failed, 2 failed in liver-mask; look"),
        ([check, marked], f"{left}1 marked failed; look"),
        ([check], "--skip-check leaves out every scan; look at them"),
        (failed, "no scan has a liver mask"),
    ):
        with pytest.raises(TumorgenError, match=why):
            sources_of_scans(rows, skip_check=True)


def test_another_scan_than_that_of_the_row_is_refused():
    row = ScanRow(case="a", image=__file__, mask="m.nii.gz", status="ok", source_fingerprint="0" * 64)
    ((source,), _) = sources_of_scans([row])
    source.refuse_other_scan("0" * 64)
    with pytest.raises(TumorgenError, match=r"is another scan than .*m\.nii\.gz was made for; delete that"):
        source.refuse_other_scan("1" * 64)
    Source("a", Path("a"), Path("m")).refuse_other_scan("1" * 64)  # of a table of an earlier version


@pytest.mark.parametrize(
    ("image", "mask", "same"),
    [
        ("Müller_0000.nii.gz", "Mu\u0308ller.nrrd", True),  # as macOS writes it
        ("Müller.nii.gz", "M-ller.nii.gz", True),  # as liver-mask calls it
        ("scan 1_0000.nii.gz", "scan 1.nii", True),
        ("scan 1.nii.gz", "scan 1/liver.nii.gz", True),
        ("scan 1.nii.gz", "scan 1/segmentations/liver.nii.gz", True),
        ("Müller.nii.gz", "Möller.nii.gz", False),
        ("Müller.nii.gz", "Möller/liver.nii.gz", False),
        ("Müller.nii.gz", "Möller/segmentations/liver.nii.gz", False),
        ("scan 1.nii.gz", "scan+1.nii.gz", False),
    ],
)
def test_names_that_are_the_same_only_once_they_are_safe_are_no_pair(tmp_path, image, mask, same):
    for path in (tmp_path / "images" / image, tmp_path / "masks" / mask):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    if same:
        assert len(match_sources(tmp_path / "images", tmp_path / "masks")[0]) == 1
        return
    with pytest.raises(TumorgenError, match=r"both are case '[\w-]+', but are called otherwise; rename one of them"):
        match_sources(tmp_path / "images", tmp_path / "masks")


@pytest.mark.parametrize("drawn_with", [MASK, LabelChoice(unchecked=True, traces=True)])
def test_a_row_reads_a_mask_with_traces_of_rounding_as_it_was_drawn(tmp_path, drawn_with):
    """Version 0.1.0 took these for liver, and its rows are told from later ones by the checksum alone."""
    image, mask = tmp_path / "a.nii.gz", tmp_path / "m.nii.gz"
    volume, liver = ball_volume((5.0, 4.0, 4.0))
    around = ndimage.binary_dilation(liver)
    write_volume(volume, image)
    write_volume(Volume(np.where(liver, 1.0, around * 1.5e-8).astype("float32"), volume.geometry), mask)
    drawn = load_scan(image, mask, labels=drawn_with)
    assert np.count_nonzero(drawn.inside) == np.count_nonzero(liver if drawn_with == MASK else around)
    row = Record(plan_of(drawn, case="a"), (), None, sources=Sources(str(image), str(mask)))
    source = find_sources([row], None, None)["a"]
    row.plan.check_fits(drawn.geometry, drawn.image_sha256, source.load(Vessels()).mask_sha256)
