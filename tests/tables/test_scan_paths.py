"""Paths of scans in tables, where there is no home folder to abbreviate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tumorgen.tables.scan_paths import find_recorded, record_path


def test_a_user_without_a_home_folder_has_absolute_paths(tmp_path, monkeypatch):
    """As in a container whose user has a number and no name."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 5)
    with pytest.raises(RuntimeError):
        Path.home()
    table = tmp_path / "manifest.csv"
    assert record_path("/elsewhere/a.nii.gz", table) == "/elsewhere/a.nii.gz"
    assert find_recorded("~/a.nii.gz", table) == "~/a.nii.gz"
