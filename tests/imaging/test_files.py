"""Files of images: names, what lies in a folder, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorgen.errors import Failure, TumorgenError
from tumorgen.imaging.files import (
    PARTIAL,
    as_not_written,
    case_name,
    find_volumes,
    open_regular,
    safe_name,
    scratch_folder,
    whole_file,
)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("liver_07_0000.nii.gz", "liver_07"),
        ("liver_07.nii", "liver_07"),
        ("001.NII.GZ", "001"),
        ("a.b.nrrd", "a.b"),
        ("Herr Müller (2).mha", "Herr-M-ller-2"),
        ("_0000.nii.gz", "case"),
        ("...mhd", "case"),
        ("a_0000_0000.mha", "a_0000"),
        ("ct_0001.nii.gz", "ct_0001"),
    ],
)
def test_case_names(name, case):
    assert case_name(Path("/some/folder") / name) == case


@given(st.text(max_size=40))
def test_safe_names_are_safe(text):
    name = safe_name(text)
    assert name
    assert name == Path(name).name
    assert not name.startswith(".")
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert safe_name(name) == name


def test_volumes_of_a_folder(tmp_path):
    for name in ("b_0000.nii.gz", "a.mha", "notes.txt", ".hidden.nii.gz", "c.raw"):
        (tmp_path / name).write_text("")
    assert find_volumes(tmp_path) == {"a": tmp_path / "a.mha", "b": tmp_path / "b_0000.nii.gz"}
    assert find_volumes(tmp_path / "a.mha") == {"a": tmp_path / "a.mha"}
    (tmp_path / "a.nii").write_text("")
    with pytest.raises(TumorgenError, match=r"a\.nii: case 'a' is also a\.mha"):
        find_volumes(tmp_path)


def test_nothing_to_find(tmp_path):
    with pytest.raises(TumorgenError, match="no volumes in it"):
        find_volumes(tmp_path)
    with pytest.raises(TumorgenError, match="no such file or folder"):
        find_volumes(tmp_path / "none")


def test_a_file_appears_at_the_end(tmp_path):
    path = tmp_path / "new" / "out.csv"
    with whole_file(path) as partial:
        partial.write_text("one")
        assert not path.exists()
        assert partial.name == path.name
        found = listed(path.parent)
        assert all(name.startswith(".") for name in found)
    assert path.read_text() == "one"
    assert listed(path.parent) == ["out.csv"]


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.csv"
    path.write_text("old")

    def fail():
        with whole_file(path) as partial:
            partial.write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert path.read_text() == "old"
    assert listed(tmp_path) == ["out.csv"]


def test_files_may_share_the_folder_of_what_is_not_whole(tmp_path):
    with scratch_folder(tmp_path, prefix=PARTIAL) as shared:
        for name in "ab":
            with whole_file(tmp_path / name, partials=shared) as partial:
                assert partial == shared / name
                partial.write_text(name)
        with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "c", partials=shared) as partial:
            partial.write_text(str(1 // 0))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "a", "b": "b"}


def test_a_place_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TumorgenError, match="cannot be written"), whole_file(tmp_path / "file" / "out.csv") as partial:
        partial.write_text("x")
    assert listed(tmp_path) == ["file"]


@pytest.mark.parametrize(("source", "why"), [("gone.csv", "No such file or directory"), ("folder", "Is a directory")])
def test_of_what_is_copied_and_cannot_be_read_that_is_said(tmp_path, source, why):
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(TumorgenError, match=rf"/{source}: cannot be read \({why}\)$"),
        whole_file(tmp_path / "out.csv") as partial,
    ):
        shutil.copyfile(tmp_path / source, partial)
    assert listed(tmp_path) == ["folder"]


def test_what_is_in_the_way_of_a_file_cannot_be_written(tmp_path):
    """Nor can a copy for which the disk has no room, though the error names what was read as well."""
    path = tmp_path / "out.csv"
    errors = OSError(errno.EISDIR, "in the way", str(path)), OSError(errno.ENOSPC, "full", "read", None, "written")
    for error in errors:
        with pytest.raises(TumorgenError, match=r"/out\.csv: cannot be written \("), whole_file(path):
            raise error


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_syncs_no_folders_is_one_that_can_be_written_to(tmp_path, monkeypatch, code):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with whole_file(tmp_path / "out.csv") as partial:
        partial.write_text("x")
    assert listed(tmp_path) == ["out.csv"]


@pytest.mark.parametrize(("code", "folder"), [(errno.EIO, True), (errno.EINVAL, False)])
def test_other_faults_of_syncing_are_told(tmp_path, monkeypatch, code, folder):
    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode) == folder:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fsync)
    with (
        pytest.raises(TumorgenError, match=r"out\.csv: cannot be written"),
        whole_file(tmp_path / "out.csv") as partial,
    ):
        partial.write_text("x")


def write_with_a_library(path: Path, partial: Path) -> None:
    with as_not_written(path, partial):
        raise RuntimeError("library 2.5:\n  Could not write it\n")


def test_what_a_library_cannot_write_for_want_of_room_is_a_full_disk_which_ends_a_run(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    partial = tmp_path / "partial"
    partial.symlink_to("/dev/full")
    with pytest.raises(TumorgenError, match=r"a\.b2nd: cannot be written \(No space left on device\)") as error:
        write_with_a_library(tmp_path / "a.b2nd", partial)
    assert Failure.of(error.value, "a").ends_run


def test_what_a_library_cannot_write_otherwise_is_not_called_a_full_disk(tmp_path):
    with pytest.raises(TumorgenError, match=r"a\.b2nd: cannot be written \(Could not write it\)") as error:
        write_with_a_library(tmp_path / "a.b2nd", tmp_path / "partial")
    assert not Failure.of(error.value, "a").ends_run


# --- files that are opened -------------------------------------------------------------------------------------------


def test_a_pipe_that_takes_the_place_of_a_file_is_neither_read_nor_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "scan.nii"
    os.mkfifo(path)
    monkeypatch.setattr("tumorgen.imaging.files.refuse_irregular", lambda path: None)  # it was a file then
    with pytest.raises(TumorgenError, match=r"scan\.nii: is not a regular file, but a pipe"), open_regular(path):
        pass


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
