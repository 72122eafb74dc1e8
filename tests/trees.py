"""What lies below a folder, byte for byte: what tests compare runs by."""

from __future__ import annotations

from pathlib import Path


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, hidden and empty folders included: path -> bytes, None of a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def files_in(folder: Path) -> dict[str, bytes]:
    """The files below a folder, hidden ones included: path -> bytes."""
    return {name: content for name, content in tree(folder).items() if content is not None}
