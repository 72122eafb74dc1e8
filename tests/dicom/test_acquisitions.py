"""Acquisitions: what was taken in one go is one volume, and phases that share the UID of a series are not mixed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from dicom_files import header, phantom, save, write_series
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from tumorgen.dicom.acquisitions import _seconds
from tumorgen.dicom.series import Series, find_scans, read_series
from tumorgen.errors import TumorgenError
from tumorgen.imaging.reading import read_volume

COUNT = 16
HALVES = [1] * 8 + [2] * 8
TURNS = [1, 2] * 8


def write_taken(folder: Path, heights: Sequence[float] | None = None, **lists: Sequence[object]) -> None:
    """A series, each slice with its own values of some attributes; None leaves the attribute out."""
    hu = phantom(COUNT)
    for k, one in enumerate(hu):
        height = heights[k] if heights else 5.0 * k
        ds = header(one, "1", k, (-20.0, -30.0, height))
        for name, values in lists.items():
            if values[k] is not None:
                setattr(ds, name, values[k])
        save(ds, folder / f"{k}.dcm")


def only(folder: Path) -> Series:
    (series,) = find_scans(folder).series.values()
    return series


def clock(*seconds: float) -> list[str]:
    """Times of day, some seconds after noon."""
    return [f"12{int(each) // 60:02d}{each % 60:09.6f}" for each in seconds]


EVEN = clock(*np.arange(COUNT) * 0.4)  # a spiral
PAUSED = clock(*np.arange(COUNT) * 0.4 + np.repeat([0, 20], 8))


@pytest.mark.parametrize(
    "taken",
    [
        {"AcquisitionNumber": TURNS, "AcquisitionTime": clock(*[0, 20] * 8)},
        {"AcquisitionNumber": TURNS},
        {"AcquisitionNumber": [1, 2, 3, 3] * 4},
        {"AcquisitionTime": clock(*[0, 20] * 8)},
        {"AcquisitionDateTime": ["20260101235950", "20260102000020.5+0100"] * 8},
        {"InstanceNumber": [k // 2 + 1 + 100 * (k % 2) for k in range(COUNT)]},
        {"InstanceNumber": [k // 4 + 1 + 100 * (3 - k % 4) for k in range(COUNT)]},
        {"SeriesNumber": [4, 5] * 8},
    ],
)
def test_acquisitions_between_one_another_are_refused(tmp_path, taken):
    """Half a step apart they make a grid, of alternating phases."""
    write_taken(tmp_path, **taken)
    told = only(tmp_path).problem
    assert told.startswith("its slices are of ")
    assert "between one another" in told
    assert all(name in told for name in taken if name != "AcquisitionDateTime")
    with pytest.raises(TumorgenError, match="between one another"):
        read_series(only(tmp_path))


@pytest.mark.parametrize(
    "taken",
    [
        {"AcquisitionNumber": HALVES, "AcquisitionTime": PAUSED},
        {"AcquisitionTime": PAUSED},
        {"AcquisitionNumber": range(COUNT), "AcquisitionTime": PAUSED},
        {"ContrastBolusAgent": [None] * 8 + ["Iodine"] * 8},
        {"AcquisitionNumber": HALVES, "ContrastBolusStartTime": [f"12000{one}" for one in HALVES]},
        {"ConvolutionKernel": ["B60f"] * 8 + ["B30f"] * 8},
        {"FrameOfReferenceUID": [f"1.2.3.{one}" for one in HALVES]},
    ],
)
def test_what_was_taken_otherwise_is_not_joined_to_what_lies_before_it(tmp_path, taken):
    write_taken(tmp_path, **taken)
    told = only(tmp_path).problem
    assert "one behind the other (8, 8 slices)" in told
    assert told.endswith("export one of them alone")


def test_the_line_names_all_that_tells_them_apart(tmp_path):
    write_taken(tmp_path, AcquisitionNumber=HALVES, AcquisitionTime=PAUSED)
    assert only(tmp_path).problem == (
        "its slices are of 2 acquisitions, one behind the other (8, 8 slices), by AcquisitionNumber, AcquisitionTime;"
        " export one of them alone"
    )


def test_acquisitions_that_overlap_are_named(tmp_path):
    """One ends above where the other begins, which lies half a step off."""
    heights = [*(5.0 * k for k in range(8)), *(27.5 + 5 * k for k in range(8))]
    write_taken(tmp_path, heights, AcquisitionNumber=HALVES)
    assert "2 acquisitions, between one another (8, 8 slices)" in only(tmp_path).problem


@pytest.mark.parametrize(
    "taken",
    [
        {"AcquisitionNumber": HALVES, "AcquisitionTime": EVEN},  # counted up in the middle of a spiral
        {"AcquisitionNumber": np.repeat(range(4), 4), "AcquisitionTime": clock(*np.repeat(np.arange(4) * 3.0, 4))},
        {"AcquisitionNumber": range(COUNT), "AcquisitionTime": clock(*np.arange(COUNT) * 12.0)},  # slow, step by step
        {"AcquisitionNumber": range(COUNT, 0, -1)},
        {"AcquisitionNumber": HALVES, "AcquisitionTime": ["235958"] * 8 + ["000002"] * 8},  # over midnight
        {"AcquisitionDateTime": ["20261231235958"] * 8 + ["20270101000002"] * 8},
        {"AcquisitionTime": EVEN[::-1], "InstanceNumber": range(COUNT, 0, -1)},
        {"AcquisitionTime": EVEN, "ContentTime": PAUSED},
        {"AcquisitionTime": [*EVEN[:-1], None], "AcquisitionNumber": [3] * COUNT},
        {"InstanceNumber": [None] * COUNT, "AcquisitionNumber": [""] * COUNT, "AcquisitionTime": [""] * COUNT},
        {"AcquisitionTime": ["9999999"] * COUNT, "AcquisitionDate": ["20269999"] * COUNT},
        {"ContrastBolusVolume": range(COUNT)},  # each its own: tells nothing
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value:UserWarning")
def test_one_scan_is_read_however_it_counts_and_times_its_slices(tmp_path, taken):
    write_taken(tmp_path, **taken)
    series = only(tmp_path)
    assert series.flags == {}
    np.testing.assert_array_equal(read_series(series).array, phantom(COUNT))


@pytest.mark.parametrize(
    ("taken", "doubt"),
    [
        ({"AcquisitionNumber": HALVES}, "the series is of 2 acquisitions behind one another"),
        ({"AcquisitionNumber": [3] * COUNT, "AcquisitionTime": PAUSED}, "the series was taken with a pause in it"),
    ],
)
def test_what_may_be_several_acquisitions_is_read_and_flagged(tmp_path, taken, doubt):
    write_taken(tmp_path, **taken)
    series = only(tmp_path)
    assert series.flags == {
        "acquisitions": f"{doubt}; look whether {'they' if '2' in doubt else 'its parts'} fit together"
    }
    np.testing.assert_array_equal(read_series(series).array, phantom(COUNT))


def test_times_are_read_with_their_dates():
    assert _seconds("120000") == 12 * 3600
    assert _seconds("20260102000001.5+0100") - _seconds("20260101235959") == 2.5
    assert [_seconds(text) for text in ("", "1200", "noon", "20260101", "20261301120000", "12000099")] == [None] * 6


# ---- the same slice again, under other names


@pytest.mark.parametrize("again", [range(16), (5, 6)])
def test_copies_with_other_uids_are_compared_and_read_once(tmp_path, again):
    write_series(tmp_path / "a")
    for k in again:
        ds = header(phantom()[k], "1", k, (-20, -30, 40 + 5 * k), SOPInstanceUID=f"1.2.3.{k + 1}", InstanceNumber=90)
        save(ds, tmp_path / "a" / f"{k} (1).dcm")
    series = only(tmp_path)
    told = f"{len(again)} slices of the series there twice, with the same voxels"
    assert series.flags == {"copied_slices": told}
    np.testing.assert_array_equal(read_series(series).array, phantom())


def test_copies_are_compared_in_hu(tmp_path):
    """An archive may store them with another intercept."""
    write_series(tmp_path / "a")
    ds = header(phantom()[4] + 24, "1", 4, (-20, -30, 60), SOPInstanceUID="1.2.3.4", RescaleIntercept=-1048)
    save(ds, tmp_path / "a" / "again.dcm")
    np.testing.assert_array_equal(read_series(only(tmp_path)).array, phantom())


def test_slices_at_a_place_with_other_voxels_are_refused_by_what_differs(tmp_path):
    write_series(tmp_path / "a", AcquisitionNumber=1)
    for k in range(16):
        ds = header(phantom()[k] + 30, "1", k, (-20, -30, 40 + 5 * k), SOPInstanceUID=f"1.2.3.{k}", AcquisitionNumber=2)
        save(ds, tmp_path / "a" / f"A{k}.dcm")
    with pytest.raises(TumorgenError, match=r"16 slices at the place of another one.*differ in AcquisitionNumber"):
        read_series(only(tmp_path))


def test_slices_at_one_height_that_are_moved_within_it_are_refused(tmp_path):
    write_series(tmp_path / "a")
    save(header(phantom()[4], "1", 40, (-10, -30, 60)), tmp_path / "a" / "moved.dcm")
    assert only(tmp_path).problem.startswith("1 slice beside another one, at one height")


# ---- data sets alone, without the prefix of a DICOM file


def write_alone(folder: Path, suffix: str, *, implicit: bool) -> None:
    folder.mkdir(parents=True)
    for k, one in enumerate(phantom()):
        stream = DicomBytesIO()
        stream.is_little_endian, stream.is_implicit_VR = True, implicit
        write_dataset(stream, header(one, "1", k, (-20.0, -30.0, 40.0 + 5 * k)))
        (folder / f"IM{k:04d}{suffix}").write_bytes(stream.getvalue())


@pytest.mark.parametrize("suffix", [".dcm", "", ".1"])
@pytest.mark.parametrize("implicit", [True, False])
def test_data_sets_without_a_files_header_are_read(tmp_path, suffix, implicit):
    write_alone(tmp_path / "a", suffix, implicit=implicit)
    found = find_scans(tmp_path)
    assert not found.skipped
    np.testing.assert_array_equal(read_series(found.series["a"]).array, phantom())


def test_a_data_set_that_is_cut_off_spoils_its_series(tmp_path):
    write_alone(tmp_path / "a", "", implicit=True)
    path = tmp_path / "a" / "IM0007"
    path.write_bytes(path.read_bytes()[:-100])
    assert only(tmp_path).problem.startswith("1 of 16 slices with their end cut off")


def test_what_begins_like_a_data_set_and_is_none_is_not_looked_at(tmp_path):
    write_series(tmp_path / "a")
    (tmp_path / "a" / "data").write_bytes(b"\x08\0\x05\0" + bytes(4) + b"\xff" * 1000)
    found = find_scans(tmp_path)
    assert not found.skipped
    assert found.series["a"].flags == {}


@pytest.mark.parametrize("implicit", [True, False])
def test_other_commands_say_that_it_is_dicom(tmp_path, implicit):
    write_alone(tmp_path / "a", "", implicit=implicit)
    with pytest.raises(TumorgenError, match="is a DICOM file; give `tumorgen liver-mask` the folder"):
        read_volume(tmp_path / "a" / "IM0000")
