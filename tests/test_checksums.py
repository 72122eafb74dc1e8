"""SHA256SUMS: what is written reads back, and `sha256sum --check` reads it too."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tumorgen.checksums import SUMS, parse_sums, sha256_of, sums_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "plans.json").write_text("{}")
    (tmp_path / "fold_0" / "weights  of two.pth").write_bytes(b"\0\1")
    files = [tmp_path / "plans.json", tmp_path / "fold_0" / "weights  of two.pth"]
    (tmp_path / SUMS).write_text(sums_text(files, tmp_path), encoding="utf-8")
    return tmp_path


def test_what_is_written_reads_back(folder: Path) -> None:
    sums = parse_sums((folder / SUMS).read_text(encoding="utf-8"))
    assert list(sums) == ["plans.json", "fold_0/weights  of two.pth"]
    assert all(sha256_of(folder / name) == digest for name, digest in sums.items())


@pytest.mark.skipif(not shutil.which("sha256sum"), reason="sha256sum is not installed")
def test_sha256sum_reads_it(folder: Path) -> None:
    assert subprocess.run(["sha256sum", "--check", "--strict", "--quiet", SUMS], cwd=folder).returncode == 0


@pytest.mark.parametrize(
    "text", ["abc  file\n", f"{'0' * 64}\n", f"{'0' * 64}  a\n{'1' * 64}  a\n", f"{'G' * 64}  a\n"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a table of checksums"):
        parse_sums(text)
