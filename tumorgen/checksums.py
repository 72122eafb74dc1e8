"""Checksums of files, and the table of them that `sha256sum --check` reads."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

SUMS = "SHA256SUMS"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums_text(files: Iterable[Path], folder: Path) -> str:
    """Text of a SHA256SUMS of files in or below a folder."""
    return "".join(f"{sha256_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)


def parse_sums(text: str) -> dict[str, str]:
    """File name -> SHA-256, from the text of a SHA256SUMS.

    Raises
    ------
    ValueError
        The text is something else.
    """
    lines = text.splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    sound = all(name and re.fullmatch("[0-9a-f]{64}", digest) for name, digest in sums.items())
    if not sound or len(sums) < len(lines):
        raise ValueError("not a table of checksums")
    return sums
