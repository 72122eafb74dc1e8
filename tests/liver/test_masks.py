"""What becomes of a network's answer: flags, files, rows; held on boxes whose volume is known."""

import errno
import importlib
import os
import re
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner

from tumorgen.cli import main
from tumorgen.dicom import Series
from tumorgen.errors import TumorgenError
from tumorgen.figures.livers import draw_livers
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.liver import rows, seen
from tumorgen.liver.findings import FLAGS, check_liver, touched_sides
from tumorgen.liver.masks import mask_scans
from tumorgen.liver.rows import mask_scan
from tumorgen.tables.scans import read_scans, write_scans

SHAPE = (24, 40, 40)
GEOMETRY = Geometry(SHAPE, (5.0, 5.0, 5.0), (-100.0, -90.0, 30.0))
LIVER = (slice(6, 16), slice(10, 26), slice(10, 30))  # 10 x 16 x 20 voxels of 0.125 ml: 400 ml
WHOLE = (slice(4, 20), slice(10, 30), slice(10, 30))  # 16 x 20 x 20: 800 ml
RAS = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)


def box(place=WHOLE) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[place] = True
    return mask


def ct(place=WHOLE, liver_hu: float = 100.0, geometry: Geometry = GEOMETRY) -> Volume:
    """Air, 30 HU of body, and a liver."""
    hu = np.full(SHAPE, -1000, np.int16)
    hu[1:-1, 2:-2, 2:-2] = 30
    hu[place] = liver_hu
    return Volume(hu, geometry)


def bright(volume: Volume) -> np.ndarray:
    """A network that knows one thing."""
    return volume.array > 80


@pytest.mark.parametrize(
    ("place", "direction", "sides"),
    [
        (WHOLE, GEOMETRY.direction, []),
        ((slice(4, 24), slice(10, 30), slice(10, 30)), GEOMETRY.direction, ["top"]),
        ((slice(0, 20), slice(10, 30), slice(10, 30)), GEOMETRY.direction, ["bottom"]),
        ((slice(4, 20), slice(0, 40), slice(10, 30)), GEOMETRY.direction, ["front", "back"]),
        ((slice(4, 20), slice(10, 30), slice(0, 30)), GEOMETRY.direction, ["right"]),
        ((slice(4, 20), slice(10, 30), slice(0, 30)), RAS, ["left"]),
        ((slice(4, 24), slice(10, 30), slice(10, 30)), (1, 0, 0, 0, 1, 0, 0, 0, -1), ["bottom"]),
        # x runs to the feet, y to the left, z to the back, as in a scan stored by coronal slices
        ((slice(0, 20), slice(10, 30), slice(0, 30)), (0, 1, 0, 0, 0, 1, -1, 0, 0), ["front", "top"]),
    ],
)
def test_the_side_that_cuts_is_named_as_the_patient_has_it(place, direction, sides):
    assert touched_sides(box(place), Geometry(SHAPE, (5.0, 5.0, 5.0), (0.0, 0.0, 0.0), direction)) == sides


def test_a_plausible_liver_has_no_flags():
    findings = check_liver(box(), ct())
    assert findings.liver_ml == pytest.approx(800)
    assert (findings.hu_mean, findings.hu_sd, findings.flags) == (100, 0, {})


def test_mean_and_sd_are_those_of_the_liver_alone():
    scan = ct()
    scan.array[4:12, 10:30, 10:30] = 80
    findings = check_liver(box(), scan)
    assert findings.hu_mean == pytest.approx(90)
    assert findings.hu_sd == pytest.approx(10)


@pytest.mark.parametrize(
    ("place", "hu", "dropped", "flag", "sentence"),
    [
        (LIVER, 100, 0.0, "volume_low", "the liver has 400 ml, less than 500"),
        ((slice(1, 23), slice(1, 39), slice(1, 39)), 100, 0.0, "", ""),  # 3971 ml
        (WHOLE, -5, 0.0, "hu_low", "the liver has -5 HU on average, less than 0"),
        (WHOLE, 260, 0.0, "hu_high", "the liver has 260 HU on average, more than 200"),
        (WHOLE, 100, 0.04, "", ""),
        (WHOLE, 100, 0.2, "pieces_dropped", "other pieces of 20% of its volume were dropped"),
        (
            (slice(4, 24), *WHOLE[1:]),
            100,
            0.0,
            "cut_by_edge",
            "the mask reaches the scan's edge (top): either the liver is cut off there, or the mask leaks into a"
            " neighbouring organ",
        ),
        ((slice(4, 4), *WHOLE[1:]), 100, 0.0, "empty", "the model finds no liver in it"),
    ],
)
def test_what_looks_wrong_is_flagged_and_said(place, hu, dropped, flag, sentence):
    findings = check_liver(box(place), ct(place, hu), dropped)
    assert dict(findings.flags) == ({flag: sentence} if flag else {})
    assert set(findings.flags) <= set(FLAGS)


def test_what_was_cut_off_is_flagged_and_said():
    findings = check_liver(box(), ct(), cut_ml=34.4)
    assert dict(findings.flags) == {"part_cut": "a part of 34 ml that hung on by a neck was cut off"}
    assert set(findings.flags) <= set(FLAGS)


def test_a_huge_liver_is_flagged():
    scan = ct(geometry=Geometry(SHAPE, (9.0, 9.0, 9.0)))  # 6400 voxels of 0.729 ml
    assert list(check_liver(box(), scan).flags) == ["volume_high"]


@pytest.mark.parametrize("dtype", ["int16", "float32"])
@pytest.mark.parametrize("direction", [GEOMETRY.direction, RAS])
def test_mask_has_the_geometry_of_the_scan(tmp_path, dtype, direction):
    geometry = Geometry(SHAPE, (5.0, 2.5, 1.25), (-100.0, -90.0, 30.5), direction)
    scan = ct(geometry=geometry)
    write_volume(Volume(scan.array.astype(dtype), geometry), tmp_path / "a.nii.gz")
    row = mask_scan("a", tmp_path / "a.nii.gz", tmp_path / "m.nii.gz", bright)
    mask = read_volume(tmp_path / "m.nii.gz")
    assert mask.array.dtype == np.uint8
    assert mask.geometry == read_volume(tmp_path / "a.nii.gz").geometry
    np.testing.assert_array_equal(mask.array, box())
    assert (row.shape_z, row.shape_y, row.shape_x) == SHAPE
    assert (row.spacing_z_mm, row.spacing_y_mm, row.spacing_x_mm) == (5.0, 2.5, 1.25)


@pytest.fixture
def images(tmp_path) -> dict[str, Path]:
    """A good scan, one without a liver, one that is cut off as a file, one that is cut as a liver."""
    folder = tmp_path / "ct"
    write_volume(ct(), folder / "good.nii.gz")
    write_volume(ct(liver_hu=70), folder / "none.nii.gz")
    write_volume(ct((slice(4, 24), *WHOLE[1:])), folder / "top.mha")
    (folder / "torn.nii.gz").write_bytes((folder / "good.nii.gz").read_bytes()[:600])
    return {"good": folder / "good.nii.gz", "none": folder / "none.nii.gz", "top": folder / "top.mha"} | {
        "torn": folder / "torn.nii.gz"
    }


def run(images, tmp_path, segment=bright, **options):
    return mask_scans(images, tmp_path / "out", lambda: segment, table=tmp_path / "scans.csv", **options)


def test_each_scan_gets_a_row_and_failures_cost_no_other(images, tmp_path):
    report = run(images, tmp_path)
    assert list(report.rows) == read_scans(tmp_path / "scans.csv")
    good, none, top, torn = report.rows
    assert (good.status, good.flags, good.reason) == ("ok", "", "")
    assert (good.liver_ml, good.hu_mean, good.hu_sd) == (800.0, 100.0, 0.0)
    assert (good.image, good.mask) == (str(images["good"]), str(tmp_path / "out" / "good.nii.gz"))
    assert (top.status, top.flags) == ("check", "cut_by_edge")
    assert (none.status, none.flags, none.liver_ml, none.hu_mean) == ("failed", "empty", 0.0, None)
    assert not read_volume(tmp_path / "out" / "none.nii.gz").array.any()
    assert (torn.status, torn.mask, torn.shape_z) == ("failed", "", None)
    assert "torn.nii.gz" in torn.reason
    assert [failure.name for failure in report.failures] == ["none", "torn"]
    assert (report.made, report.failed) == (2, ("none", "torn"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"{c}.nii.gz" for c in ("good", "none", "top")
    ]


def test_what_failed_is_listed_again_until_it_is_taken_out_which_is_said(images, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.import_module("tumorgen.cli.liver_mask").Network, "load", lambda self, model: bright)
    monkeypatch.chdir(tmp_path)
    command = ["liver-mask", "ct", "out", "--scans", "scans.csv", "--jobs", "1"]
    said = "note: scans.csv lists what failed, too: none and torn; to leave a scan out for good, take it out of ct and"
    for _ in range(2):
        result = CliRunner().invoke(main, command)
        assert (result.exit_code, said in result.stdout) == (1, True)
        write_scans([row for row in read_scans(Path("scans.csv")) if row.status != "failed"], Path("scans.csv"))
    for case in ("none", "torn"):
        images[case].unlink()
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, "failed" in result.output) == (0, False)


def test_an_error_that_nobody_foresaw_costs_its_scan_alone(images, tmp_path):
    def moody(volume: Volume) -> np.ndarray:
        if volume.array[-1].max() > 80:
            raise RuntimeError("CUDA out of memory.\nTried to allocate")
        return bright(volume)

    report = run(images, tmp_path, moody)
    assert report.having("ok")
    (failure,) = [failure for failure in report.failures if failure.name == "top"]
    assert failure.reason == "RuntimeError: CUDA out of memory. Tried to allocate"
    assert "Traceback" in failure.details


def test_the_same_again_does_only_what_failed(images, tmp_path):
    run(images, tmp_path)
    asked = []

    def segment(volume: Volume) -> np.ndarray:
        asked.append(volume)
        return bright(volume)

    report = run(images, tmp_path, segment)
    assert len(asked) == 1  # the scan without a liver; the torn one cannot be read
    assert (report.made, len(report.rows), len(report.failures)) == (0, 4, 2)


def no_model() -> None:
    raise AssertionError("loaded")


def test_nothing_to_do_loads_no_model(images, tmp_path):
    good = {"good": images["good"]}
    run(good, tmp_path)

    report = mask_scans(good, tmp_path / "out", no_model, table=tmp_path / "scans.csv")
    assert (report.made, report.rows[0].status) == (0, "ok")


@pytest.mark.parametrize("lost", ["mask", "both", "overwrite", "moved"])
def test_what_is_missing_is_made_again(images, tmp_path, lost):
    good = {"good": images["good"]}
    run(good, tmp_path)
    if lost in ("mask", "both"):
        (tmp_path / "out" / "good.nii.gz").unlink()
    if lost == "both":
        (tmp_path / "scans.csv").unlink()
    elif lost == "moved":
        good = {"good": images["good"].rename(tmp_path / "good.nii.gz")}
    report = run(good, tmp_path, overwrite=lost == "overwrite")
    assert report.made == 1
    assert bool(report.notes) == (lost == "moved")
    assert (tmp_path / "out" / "good.nii.gz").is_file()


def test_one_ct_under_two_names_is_said_also_of_one_that_was_there_before(images, tmp_path):
    run({"good": images["good"]}, tmp_path)
    volume = read_volume(images["good"])
    again = tmp_path / "again.nrrd"
    write_volume(Volume(volume.array.astype("float32")[::-1], Geometry(SHAPE, (5.0, 4.0, 4.0))), again)
    report = run({"again": again, "top": images["top"]}, tmp_path)
    (note,) = report.notes
    assert note == "one CT under several names, equal in every voxel: again = good; they count as one patient"
    marks = {row.case: row.source_fingerprint for row in read_scans(tmp_path / "scans.csv")}
    assert marks["again"] == marks["good"] != marks["top"]


def test_rows_of_other_scans_stay(images, tmp_path):
    run({"good": images["good"]}, tmp_path)
    run({"top": images["top"]}, tmp_path)
    assert [row.case for row in read_scans(tmp_path / "scans.csv")] == ["good", "top"]


def test_a_crash_loses_no_finished_scan(images, tmp_path):
    def crash(volume: Volume) -> np.ndarray:
        if volume.array[-1].max() > 80:
            raise KeyboardInterrupt
        return bright(volume)

    with pytest.raises(KeyboardInterrupt):
        run(images, tmp_path, crash)
    assert [row.case for row in read_scans(tmp_path / "scans.csv")] == ["good", "none"]
    assert not list((tmp_path / "out").glob(".partial*"))


def test_files_are_recorded_as_users_know_them(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linked").mkdir()
    Path("linked/a.nii.gz").symlink_to(images["good"])
    (row,) = mask_scans({"a": Path("linked/a.nii.gz")}, Path("out"), lambda: bright).rows
    assert (row.image, row.mask) == (str(tmp_path / "linked" / "a.nii.gz"), str(tmp_path / "out" / "a.nii.gz"))
    assert read_scans() == [row]


def test_progress_counts_what_is_to_do(images, tmp_path):
    steps = []
    run(images, tmp_path, start=lambda total: steps.append(total) or steps.append)
    assert steps == [4, 1, 1, 1, 1]


@pytest.mark.parametrize("output", ["ct", "elsewhere/../ct", "link", "links"])
def test_masks_never_go_where_the_images_are(images, tmp_path, output):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "ct")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "good.nii.gz").symlink_to(images["good"])
    images["linked"] = tmp_path / "links" / "good.nii.gz"
    with pytest.raises(TumorgenError, match="holds the images"):
        mask_scans(images, tmp_path / output, lambda: bright, table=tmp_path / "scans.csv")


@pytest.mark.parametrize("place", ["out", "scans.csv"])
def test_a_place_that_cannot_be_written_to_is_said_before_a_network_is_loaded(images, tmp_path, place):
    (tmp_path / "file").write_text("")
    where = {"out": tmp_path / "out", "scans.csv": tmp_path / "scans.csv", place: tmp_path / "file" / place}
    with pytest.raises(TumorgenError, match=r"file.*: cannot be written \(Not a directory\); .*choose another"):
        mask_scans(images, where["out"], lambda: pytest.fail("is loaded"), table=where["scans.csv"])
    assert not (tmp_path / "out").exists()


def test_a_broken_table_is_said_before_anything_is_done(images, tmp_path):
    (tmp_path / "scans.csv").write_text("case\n")
    with pytest.raises(TumorgenError, match="columns missing"):
        run(images, tmp_path)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8)])
def test_volume_is_in_ml_at_any_spacing(spacing):
    shape = tuple(round(140 / s) for s in spacing)
    grid = np.meshgrid(*[(np.arange(n) - n // 2) * s for n, s in zip(shape, spacing, strict=True)], indexing="ij")
    ball = sum(g**2 for g in grid) <= 60**2
    findings = check_liver(ball, Volume(np.where(ball, 100.0, -1000.0), Geometry(shape, spacing)))
    assert findings.liver_ml == pytest.approx(904.8, rel=0.01)  # 4/3 pi 6^3; slices of 5 mm round its ends


# ---- what somebody has seen to by hand stays


def edit(tmp_path: Path, **cells: str) -> None:
    """Change the row of the good scan in the table, as a person would."""
    table = tmp_path / "scans.csv"
    write_scans([replace(row, **cells) if row.case == "good" else row for row in read_scans(table)], table)


def kept(report) -> bool:
    """Whether the scan got a row for the mask that was there, which is said."""
    (note,) = [note for note in report.notes if "did not list" in note]
    return report.made == 0 and note.endswith("are kept, and it lists them now: good; --overwrite makes others")


def test_a_mask_that_was_drawn_where_there_was_none_is_kept(images, tmp_path):
    none, drawn = {"none": images["none"]}, tmp_path / "out" / "none.nii.gz"
    run(none, tmp_path)
    write_volume(Volume(box(), GEOMETRY), drawn)
    report = run(none, tmp_path, lambda ct: ct.array > 1000)
    np.testing.assert_array_equal(read_volume(drawn).array, box())
    assert (report.made, report.failures, report.rows[0].status) == (0, (), "failed")
    (note,) = report.notes
    assert note.startswith(
        f"masks of scans that failed are in {tmp_path / 'out'} and are kept: none; to use one, name it in"
    )
    assert run(none, tmp_path, overwrite=True).failures
    assert not read_volume(drawn).array.any()


def test_a_row_that_names_a_mask_elsewhere_is_kept(images, tmp_path):
    good, corrected = {"good": images["good"]}, tmp_path / "corrected.nii.gz"
    run(good, tmp_path)
    write_volume(Volume(box(LIVER), GEOMETRY), corrected)
    edit(tmp_path, mask=str(corrected))
    report = run(good, tmp_path)
    assert [row.mask for row in read_scans(tmp_path / "scans.csv")] == [row.mask for row in report.rows]
    assert (report.made, report.rows[0].mask) == (0, str(corrected))
    out = tmp_path / "out"
    assert report.notes[0].endswith(
        f" names outside {out} are kept: good; to have those in {out} instead, delete their rows; --overwrite makes"
        " these again"
    )
    assert run(good, tmp_path, overwrite=True).rows[0].mask == str(tmp_path / "out" / "good.nii.gz")
    edit(tmp_path, mask=str(tmp_path / "nowhere.nii.gz"))
    assert kept(run(good, tmp_path))  # the one in the folder, which no row names
    edit(tmp_path, mask=str(tmp_path / "nowhere.nii.gz"))
    (tmp_path / "out" / "good.nii.gz").unlink()
    assert run(good, tmp_path).made == 1


def test_another_output_gets_masks_of_its_own(images, tmp_path):
    """What liver-mask has made and drawn elsewhere is no work of hands: somebody tries another model, say."""
    good = {"good": images["good"]}
    draw_livers(run(good, tmp_path).rows, tmp_path / "out", jobs=1)
    report = mask_scans(good, tmp_path / "another", lambda: bright, table=tmp_path / "scans.csv")
    assert (report.made, report.rows[0].mask) == (1, str(tmp_path / "another" / "good.nii.gz"))


def test_a_corrected_mask_is_kept_by_whatever_links_the_output_and_the_images_are_reached(images, tmp_path):
    good, mask = {"good": images["good"]}, tmp_path / "out" / "good.nii.gz"
    draw_livers(run(good, tmp_path).rows, tmp_path / "out", jobs=1)
    write_volume(Volume(box(LIVER), GEOMETRY), mask)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    report = mask_scans({"good": link / "ct" / "good.nii.gz"}, link / "out", no_model, table=tmp_path / "scans.csv")
    assert (report.made, report.rows[0].liver_ml) == (0, 400.0)
    np.testing.assert_array_equal(read_volume(mask).array, box(LIVER))
    assert (
        mask_scans(
            {"good": link / "ct" / "good.nii.gz"},
            link / "out",
            lambda: bright,
            table=tmp_path / "scans.csv",
            overwrite=True,
        ).notes
        == ()
    )  # no other scan, no work of hands that shows


def test_a_mask_elsewhere_whose_name_no_system_takes_is_no_mask(images, tmp_path):
    good = {"good": images["good"]}
    run(good, tmp_path)
    edit(tmp_path, mask="a\0b.nii.gz")
    assert kept(run(good, tmp_path))
    edit(tmp_path, mask="a\0b.nii.gz")
    (tmp_path / "out" / "good.nii.gz").unlink()
    assert run(good, tmp_path).made == 1


def test_overwriting_says_what_work_of_hands_it_undoes(images, tmp_path):
    good, none = {"good": images["good"]}, {"none": images["none"]}
    run(good | none, tmp_path)
    write_volume(Volume(box(), GEOMETRY), tmp_path / "out" / "none.nii.gz")
    edit(tmp_path, status="failed")
    (note,) = run(good | none, tmp_path, overwrite=True).notes
    assert note.endswith("(another mask, or marked failed) are done again, for --overwrite: good and none")
    assert run(good | none, tmp_path, overwrite=True).notes == ()


def test_a_scan_that_was_excluded_stays_out(images, tmp_path):
    good = {"good": images["good"]}
    run(good, tmp_path)
    edit(tmp_path, status="failed", reason="moved while he breathed")
    report = run(good, tmp_path)
    assert (report.made, report.failures, report.rows[0].reason) == (0, (), "moved while he breathed")
    assert report.notes[0].endswith("marks failed, though they have a mask, are left out: good")
    assert read_scans(tmp_path / "scans.csv")[0].status == "failed"


# ---- a mask is that of its image


def replace_image(path: Path, volume: Volume, mask: Path) -> None:
    """Put another scan under the same name, later than its mask."""
    write_volume(volume, path)
    after = mask.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(after, after))


@pytest.mark.parametrize("fingerprint", [True, False])
def test_an_image_that_was_replaced_gets_its_own_mask(images, tmp_path, fingerprint):
    good, mask = {"good": images["good"]}, tmp_path / "out" / "good.nii.gz"
    run(good, tmp_path)
    if not fingerprint:  # a table of an earlier version: the grid tells
        edit(tmp_path, source_fingerprint="", mask_fingerprint="", files_seen="")
    other = Geometry(SHAPE, GEOMETRY.spacing_mm, (-100.0, -90.0, 30.0 + (not fingerprint)))
    replace_image(images["good"], ct(LIVER, geometry=other), mask)
    report = run(good, tmp_path)
    assert (report.made, report.rows[0].liver_ml) == (1, 400.0)
    np.testing.assert_array_equal(read_volume(mask).array, box(LIVER))
    assert read_scans(tmp_path / "scans.csv") == list(report.rows)


def test_an_image_that_was_copied_keeps_the_mask_that_was_corrected(images, tmp_path):
    good, mask = {"good": images["good"]}, tmp_path / "out" / "good.nii.gz"
    run(good, tmp_path)
    write_volume(Volume(box(LIVER), GEOMETRY), mask)
    replace_image(images["good"], ct(), mask)
    assert run(good, tmp_path).made == 0
    np.testing.assert_array_equal(read_volume(mask).array, box(LIVER))


@pytest.mark.parametrize("shift_s", [-(10**6), 10**6])
def test_an_image_that_was_replaced_is_told_by_its_time_whether_it_is_older_or_newer(images, tmp_path, shift_s):
    """What copies and archives bring keeps the time that it had."""
    good, mask = {"good": images["good"]}, tmp_path / "out" / "good.nii.gz"
    run(good, tmp_path)
    write_volume(ct(LIVER), images["good"])
    then = mask.stat().st_mtime_ns + shift_s * 10**9
    os.utime(images["good"], ns=(then, then))
    report = run(good, tmp_path)
    assert (report.made, report.rows[0].liver_ml, report.rows[0].status) == (1, 400.0, "check")
    assert mask_scans(good, tmp_path / "out", no_model, table=tmp_path / "scans.csv").rows == report.rows


def test_voxels_in_a_file_beside_their_header_are_looked_at_too(tmp_path):
    """Of a .mhd, what describes the voxels may be as it was."""
    header = tmp_path / "ct.mhd"
    sitk.WriteImage(to_image(ct()), str(header))
    assert run({"apart": header}, tmp_path).rows[0].liver_ml == 800.0
    before = header.stat()
    sitk.WriteImage(to_image(ct(LIVER)), str(header))
    os.utime(header, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert header.stat().st_size == before.st_size
    report = run({"apart": header}, tmp_path)
    assert (report.made, report.rows[0].liver_ml) == (1, 400.0)


def test_what_is_as_it_was_is_not_read(images, tmp_path, monkeypatch):
    good = {"good": images["good"]}
    report = run(good, tmp_path)
    for path in (images["good"], tmp_path / "out" / "good.nii.gz"):
        os.utime(path, ns=(10**18, 10**18))  # a project that was copied: read once
    moved = run(good, tmp_path)
    assert [replace(row, files_seen="") for row in moved.rows] == [replace(row, files_seen="") for row in report.rows]
    assert tuple(read_scans(tmp_path / "scans.csv")) == moved.rows

    def unread(*_: object) -> None:
        raise AssertionError("read")

    for name in ("read_ct", "read_volume"):
        monkeypatch.setattr(seen, name, unread)
    assert run(good, tmp_path) == moved


def no_memory(ct: Volume) -> np.ndarray:
    """A network that fails, whatever the scan."""
    raise RuntimeError("CUDA out of memory")


def killed(ct: Volume) -> np.ndarray:
    """A network during which the run ends."""
    raise KeyboardInterrupt


def interrupt_after_the_mask(images, tmp_path, segment=bright, **options) -> None:
    """A run that ends when a mask is on disk, and its row is not yet."""

    def write(volume: Volume, path: Path) -> None:
        write_volume(volume, path)
        raise KeyboardInterrupt

    with patch.object(rows, "write_volume", write), pytest.raises(KeyboardInterrupt):
        run(images, tmp_path, segment, **options)
    assert (tmp_path / "out" / "good.nii.gz").is_file()


def test_a_run_that_is_killed_leaves_no_row_for_files_that_it_has_replaced(images, tmp_path):
    good, mask = {"good": images["good"]}, tmp_path / "out" / "good.nii.gz"
    run(good, tmp_path)
    replace_image(images["good"], ct(LIVER), mask)
    with pytest.raises(KeyboardInterrupt):
        run(good, tmp_path, killed)
    assert read_scans(tmp_path / "scans.csv") == []


def test_a_mask_that_an_interrupted_run_has_written_passes_for_nobodys_work(images, tmp_path):
    """Neither for one that was drawn where an earlier run had failed, nor for that of the row before --overwrite."""
    good, table = {"good": images["good"]}, tmp_path / "scans.csv"
    assert run(good, tmp_path, no_memory).failures
    interrupt_after_the_mask(good, tmp_path)
    assert read_scans(table) == []
    report = run(good, tmp_path)
    assert (report.made, report.notes, report.rows[0].liver_ml) == (1, (), 800.0)

    interrupt_after_the_mask(good, tmp_path, lambda ct: box(LIVER), overwrite=True)
    assert read_scans(table) == []
    assert run(good, tmp_path).made == 1
    assert read_scans(table)[0].liver_ml == 800.0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.nii.gz"]


# ---- a mask that was changed since gets a new row


def correct(tmp_path, place=WHOLE, case: str = "good") -> None:
    """Draw another liver into the mask of a scan."""
    write_volume(Volume(box(place), GEOMETRY), tmp_path / "out" / f"{case}.nii.gz")


def again(images, tmp_path, **options):
    """The same command, which finds no liver by itself."""
    return mask_scans(images, tmp_path / "out", no_model, table=tmp_path / "scans.csv", **options)


def test_a_mask_that_was_corrected_has_figures_and_a_verdict_of_its_own(images, tmp_path):
    two = {"good": images["good"], "top": images["top"]}
    good, top = run(two, tmp_path).rows
    assert (good.status, top.status) == ("ok", "check")
    correct(tmp_path, LIVER)
    correct(tmp_path, WHOLE, "top")
    report = again(two, tmp_path)
    good, top = report.rows
    assert (good.liver_ml, good.hu_mean, good.status, good.flags) == (400.0, 100.0, "check", "volume_low")
    assert (top.liver_ml, top.status, top.flags, top.reason) == (800.0, "ok", "", "")
    assert tuple(read_scans(tmp_path / "scans.csv")) == report.rows
    said = f"2 rows of {tmp_path / 'scans.csv'} made anew, for masks in {tmp_path / 'out'} that have been changed"
    assert (report.made, report.notes) == (0, (f"{said}: good and top",))
    assert again(two, tmp_path).notes == ()


def test_a_row_of_an_earlier_version_tells_a_corrected_mask_by_its_volume(images, tmp_path):
    good = {"good": images["good"]}
    run(good, tmp_path)
    edit(tmp_path, mask_fingerprint="", files_seen="", status="ok", reason="looked at")
    assert again(good, tmp_path).rows[0].reason == "looked at"
    edit(tmp_path, mask_fingerprint="", files_seen="")
    correct(tmp_path, LIVER)
    assert again(good, tmp_path).rows[0].liver_ml == 400.0


@pytest.mark.parametrize("touched", [False, True])
def test_a_row_that_was_corrected_stays_where_its_mask_was_not(images, tmp_path, touched):
    """Also where the mask was saved again as it was."""
    good, mask = {"good": images["good"]}, tmp_path / "out" / "good.nii.gz"
    run(good, tmp_path, lambda ct: box(LIVER))
    edit(tmp_path, status="ok", reason="a child", liver_ml=401.0)
    (before,) = read_scans(tmp_path / "scans.csv")
    if touched:
        write_volume(read_volume(mask), mask)
        os.utime(mask, ns=(10**18, 10**18))
    (row,) = again(good, tmp_path).rows
    assert replace(row, files_seen=before.files_seen) == before


@pytest.mark.parametrize(
    ("row", "place", "status"),
    [
        ({"status": "ok"}, (slice(6, 16), slice(10, 26), slice(10, 29)), "ok"),  # still small, which was looked at
        ({"status": "ok"}, (slice(6, 24), slice(10, 26), slice(10, 20)), "check"),  # and now cut by the edge
        ({"status": "check", "flags": "", "reason": "moved"}, WHOLE, "check"),
        ({}, WHOLE, "ok"),
    ],
)
def test_what_somebody_has_judged_of_a_scan_outlives_the_correction_of_its_mask(images, tmp_path, row, place, status):
    good = {"good": images["good"]}
    run(good, tmp_path, lambda ct: box(LIVER))
    edit(tmp_path, **row)
    correct(tmp_path, place)
    (found,) = again(good, tmp_path).rows
    assert found.status == status
    assert found.liver_ml == box(place).sum() * 0.125
    assert found.reason == row.get("reason", found.reason)


def test_a_scan_that_was_excluded_stays_out_whatever_becomes_of_its_mask(images, tmp_path):
    good = {"good": images["good"]}
    run(good, tmp_path)
    edit(tmp_path, status="failed", reason="moved while he breathed")
    correct(tmp_path, LIVER)
    (row,) = again(good, tmp_path).rows
    assert (row.status, row.reason) == ("failed", "moved while he breathed")


@pytest.mark.parametrize("change", ["labels", "grid", "image"])
def test_a_changed_mask_that_is_none_of_its_image_is_refused_and_stays(images, tmp_path, change):
    good, mask = {"good": images["good"]}, tmp_path / "out" / "good.nii.gz"
    rows = run(good, tmp_path).rows
    if change == "labels":
        write_volume(Volume(np.arange(box().size, dtype=np.uint8).reshape(SHAPE) % 4, GEOMETRY), mask)
    elif change == "grid":
        write_volume(Volume(box(LIVER), replace(GEOMETRY, origin_mm=(0.0, 0.0, 0.0))), mask)
    else:
        correct(tmp_path, LIVER)
        write_volume(ct(LIVER), images["good"])
    before = mask.read_bytes()
    report = again(good, tmp_path)
    (failure,) = report.failures
    assert re.search("a label map|does not fit|is another scan than the one that", failure.reason)
    assert (tuple(read_scans(tmp_path / "scans.csv")), mask.read_bytes()) == (rows, before)


def test_a_mask_that_was_emptied_is_made_again(images, tmp_path):
    good = {"good": images["good"]}
    run(good, tmp_path)
    correct(tmp_path, slice(0, 0))
    report = run(good, tmp_path)
    assert (report.made, report.rows[0].liver_ml) == (1, 800.0)


# ---- a mask that no row lists is somebody's


@pytest.mark.parametrize("lost", ["", "corrected_after_a_kill"])
def test_a_corrected_mask_is_listed_where_the_table_is_lost(images, tmp_path, lost):
    """So it is with another table, and where a run was killed after the mask, and somebody has corrected it since."""
    good, table, mask = {"good": images["good"]}, tmp_path / "scans.csv", tmp_path / "out" / "good.nii.gz"
    interrupt_after_the_mask(good, tmp_path) if lost else run(good, tmp_path)
    table.unlink(missing_ok=True)
    write_volume(Volume(box(LIVER), GEOMETRY), mask)
    report = mask_scans(good, tmp_path / "out", no_model, table=table)
    assert kept(report)
    (row,) = read_scans(table)
    assert (row.mask, row.liver_ml, row.status, row.flags) == (str(mask), 400.0, "check", "volume_low")
    np.testing.assert_array_equal(read_volume(mask).array, box(LIVER))
    assert mask_scans(good, tmp_path / "out", no_model, table=table).notes == ()
    assert run(good, tmp_path, overwrite=True).rows[0].liver_ml == 800.0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good.nii.gz"]


def test_a_corrected_mask_is_listed_again_after_a_run_into_another_output(images, tmp_path):
    good, table = {"good": images["good"]}, tmp_path / "scans.csv"
    for output in ("out", "another"):
        draw_livers(mask_scans(good, tmp_path / output, lambda: bright, table=table).rows, tmp_path / output, jobs=1)
    for output in ("out", "another"):
        write_volume(Volume(box(LIVER), GEOMETRY), tmp_path / output / "good.nii.gz")
        report = mask_scans(good, tmp_path / output, no_model, table=table)
        assert kept(report)
        assert tuple(read_scans(table)) == report.rows
        assert (report.rows[0].mask, report.rows[0].liver_ml) == (str(tmp_path / output / "good.nii.gz"), 400.0)


def test_a_corrected_mask_is_listed_again_where_another_model_has_found_nothing(images, tmp_path):
    good, table = {"good": images["good"]}, tmp_path / "scans.csv"
    draw_livers(run(good, tmp_path).rows, tmp_path / "out", jobs=1)
    assert mask_scans(good, tmp_path / "another", lambda: lambda ct: ct.array > 1000, table=table).failures
    assert read_scans(table)[0].status == "failed"
    assert kept(run(good, tmp_path))
    assert read_scans(table)[0].status == "ok"


def test_a_row_of_another_output_stays_until_the_new_one_takes_its_place(images, tmp_path):
    """Whether the run is interrupted, before a mask is written or after it, or a scan fails."""
    two, another, table = {"good": images["good"], "top": images["top"]}, tmp_path / "another", tmp_path / "scans.csv"
    rows = mask_scans(two, another, lambda: bright, table=table).rows
    draw_livers(rows, another, jobs=1)
    with pytest.raises(KeyboardInterrupt):
        run(two, tmp_path, killed)
    assert tuple(read_scans(table)) == rows
    report = run(two, tmp_path, no_memory)
    assert (tuple(read_scans(table)), len(report.failures)) == (rows, 2)
    (note,) = report.notes
    assert note.endswith(f", which names a mask outside {tmp_path / 'out'}: good and top")
    interrupt_after_the_mask(two, tmp_path)
    assert tuple(read_scans(table)) == rows
    report = run(two, tmp_path)
    assert (report.made, report.notes) == (2, ())
    assert tuple(read_scans(table)) == report.rows != rows


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("grid", r"good\.nii\.gz: does not fit .*; resample it, or delete it and run liver-mask again"),
        ("labels", r"good\.nii\.gz: holds 1, 2, 3: a label map, no mask"),
        ("torn", r"out/good\.nii\.gz: is damaged or cut off .*; copy it again"),
        ("image", r"ct/good\.nii\.gz: is another scan than the one that .*; delete that mask"),
    ],
)
def test_an_unlisted_mask_that_is_none_of_its_image_is_refused_and_stays(images, tmp_path, change, reason):
    good, table, mask = {"good": images["good"]}, tmp_path / "scans.csv", tmp_path / "out" / "good.nii.gz"
    run(good, tmp_path)
    if change == "image":
        edit(tmp_path, mask=str(tmp_path / "gone.nii.gz"))
        write_volume(ct(LIVER), images["good"])
    else:
        table.unlink()
    if change == "grid":
        write_volume(Volume(box(LIVER), replace(GEOMETRY, origin_mm=(0.0, 0.0, 0.0))), mask)
    elif change == "labels":
        write_volume(Volume(np.arange(box().size, dtype=np.uint8).reshape(SHAPE) % 4, GEOMETRY), mask)
    elif change == "torn":
        mask.write_bytes(mask.read_bytes()[:300])
    before = mask.read_bytes()
    for _ in range(2):
        report = mask_scans(good, tmp_path / "out", no_model, table=table)
        assert report.made == 0
        (failure,) = report.failures
        assert report.failed == ()
        assert re.search(reason, failure.reason)
    assert mask.read_bytes() == before
    assert table.exists() == (change == "image")


def test_the_mask_of_a_scan_that_fails_goes_so_that_it_is_done_again(images, tmp_path):
    good, mask = {"good": images["good"]}, tmp_path / "out" / "good.nii.gz"
    run(good, tmp_path)
    for change in ("overwrite", "replaced"):
        if change == "replaced":
            replace_image(images["good"], ct(LIVER), mask)
        assert run(good, tmp_path, no_memory, overwrite=change == "overwrite").failures
        assert not mask.exists()
        report = run(good, tmp_path)
        assert (report.made, report.notes, report.rows[0].status) == (1, (), "ok" if change == "overwrite" else "check")


def test_a_scan_that_cannot_be_read_for_now_loses_no_mask_that_was_corrected(images, tmp_path):
    """Its image is being copied, say: with all of it there, the row holds again."""
    good, mask, table = {"good": images["good"]}, tmp_path / "out" / "good.nii.gz", tmp_path / "scans.csv"
    rows = run(good, tmp_path).rows
    write_volume(Volume(box(LIVER), GEOMETRY), mask)
    whole = images["good"].read_bytes()
    for overwrite in (False, True):
        images["good"].write_bytes(whole[:600])
        report = run(good, tmp_path, overwrite=overwrite)
        assert report.rows[0].status == "failed"
        said = f"scans whose image or mask cannot be used keep their mask and their row in {table}: good"
        assert report.notes == (said,)
        assert tuple(read_scans(table)) == rows
    images["good"].write_bytes(whole)
    assert run(good, tmp_path).made == 0
    np.testing.assert_array_equal(read_volume(mask).array, box(LIVER))
    mask.unlink()
    images["good"].write_bytes(whole[:600])
    assert run(good, tmp_path).notes == ()
    assert read_scans(table)[0].status == "failed"


def test_overwriting_that_is_interrupted_leaves_scans_that_it_has_not_begun_as_they_were(images, tmp_path):
    two = {"good": images["good"], "top": images["top"]}
    _, top = run(two, tmp_path).rows
    with pytest.raises(KeyboardInterrupt):
        run(two, tmp_path, killed, overwrite=True)
    assert read_scans(tmp_path / "scans.csv") == [top]
    assert run(two, tmp_path).made == 1


def test_names_that_differ_in_capitals_are_one_case_of_the_table(images, tmp_path):
    run({"Good": images["good"]}, tmp_path)
    report = run({"good": images["top"]}, tmp_path)
    assert read_scans(tmp_path / "scans.csv") == list(report.rows)
    assert "case good was another scan" in report.notes[0]


def test_a_full_disk_ends_the_run(images, tmp_path):
    asked = []

    def full(ct: Volume) -> np.ndarray:
        asked.append(ct)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(TumorgenError, match="No space left on device; what is finished stays"):
        run(images, tmp_path, full)
    assert len(asked) == 1


@pytest.mark.parametrize("folder", ["1.2.840.113619.2.55.3.604688119", ".", "a. b"])
def test_a_reason_names_the_case_of_a_series_and_not_its_folder(tmp_path, folder):
    """A folder may be called after the series' UID; and that of the working directory is in many a number."""
    series = Series("series", Path(folder), "0" * 16, (), problem="its gantry is tilted by 12.5 degrees")
    (row,) = mask_scans({}, tmp_path / "out", lambda: bright, series={"series": series}, table=tmp_path / "t.csv").rows
    assert row.reason == "series: its gantry is tilted by 12.5 degrees"
