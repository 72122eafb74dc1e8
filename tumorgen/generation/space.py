"""Disk space: whether what a run writes will fit, from the sizes of its sources alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from isal import isal_zlib

from ..errors import TumorgenError
from ..imaging import CHUNK, DEFLATE_LEVEL
from ..tables import Source

MARGIN = 1.1  # isal's level 2 against what compressed the source, and that noise deflates worse than blurred scans
PIECES = 32  # of a file are deflated to see how well it does
GB = 1e9  # bytes


def needed_bytes(sources: Iterable[Source], wanted: Mapping[str, Sequence[int]]) -> int:
    """Bytes that the wanted variants of each case will take, about: a sample takes what its source does, deflated."""
    return round(MARGIN * sum(sample_bytes(s) * len(wanted[s.case]) for s in sources if wanted.get(s.case)))


def sample_bytes(source: Source) -> int:
    """Bytes of a scan and its mask, deflated."""
    return deflated_bytes(source.image) + deflated_bytes(source.mask)


def deflated_bytes(path: Path) -> int:
    """Bytes of a volume's file, deflated, judged from pieces spread over it; 0 of one that cannot be read."""
    try:
        with_voxels = [path, *(path.with_suffix(end) for end in (".raw", ".zraw") if path.suffix.lower() == ".mhd")]
        return sum(_deflated_bytes(file) for file in with_voxels if file.is_file())
    except (OSError, ValueError):  # no permission, no name of a file: reading it says so
        return 0


def _deflated_bytes(path: Path) -> int:
    size = path.stat().st_size
    with path.open("rb") as file:
        read, deflated = 0, 0
        for number in range(PIECES):
            file.seek(size * number // PIECES)
            piece = file.read(min(CHUNK, -(-size // PIECES)))
            read, deflated = read + len(piece), deflated + len(isal_zlib.compress(piece, DEFLATE_LEVEL))
    return min(size, size * deflated // read) if read else 0


def free_bytes(folder: Path) -> int:
    """Bytes free on the disk where a folder is, or will be made."""
    return shutil.disk_usage(nearest_folder(folder)).free


def nearest_folder(folder: Path) -> Path:
    """The folder, or the nearest above it that is there."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def refuse_full_disk(folder: Path, needed: int) -> None:
    """Refuse a run that would fill the disk.

    Raises
    ------
    TumorgenError
        Less is free than is needed.
    """
    free = free_bytes(folder)
    if needed > free:
        raise TumorgenError(
            f"{folder}: the run will write about {needed / GB:.1f} GB, and {free / GB:.1f} GB are free there; make"
            " room, choose another --output, or --force"
        )
