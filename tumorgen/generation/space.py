"""Disk space: whether what a run writes will fit, from the sizes of its sources alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from isal import isal_zlib

from ..errors import TumorgenError
from ..imaging import CHUNK, DEFLATE_LEVEL, files_of_volume
from ..tables import Source

MARGIN = 1.1  # isal's level 2 against what compressed the source, and that noise deflates worse than blurred scans
LOOKED_INTO = 100  # files of a kind
PIECES = 32  # of a file are deflated to see how well it does
GB = 1e9  # bytes


def needed_bytes(sources: Iterable[Source], wanted: Mapping[str, Sequence[int]]) -> int:
    """Bytes that the wanted variants of each case will take, about: a sample takes what its source does, deflated."""
    sizes = sample_sizes([source for source in sources if wanted.get(source.case)])
    return round(MARGIN * sum(size * len(wanted[case]) for case, size in sizes.items()))


def most_bytes(sources: Iterable[Source], wanted: Mapping[str, Sequence[int]]) -> int:
    """Bytes that the wanted variants will take at most, by the sizes of the files alone; no file is looked into."""
    stored = ((stored_bytes(s.image) + stored_bytes(s.mask)) * len(wanted.get(s.case, ())) for s in sources)
    return round(MARGIN * sum(stored))


def sample_sizes(sources: Sequence[Source]) -> dict[str, int]:
    """Case -> bytes of a scan and its mask, deflated.

    A few of many scans are looked into, spread evenly; files of the others shrink as these do on average.
    """
    sizes = dict.fromkeys((source.case for source in sources), 0)
    for files in ({s.case: s.image for s in sources}, {s.case: s.mask for s in sources}):
        for ending in {path.suffix for path in files.values()}:
            alike = {case: path for case, path in files.items() if path.suffix == ending}
            step = -(-len(alike) // LOOKED_INTO)
            known = {case: deflated_bytes(path) for case, path in islice(alike.items(), None, None, step)}
            ratio = sum(known.values()) / max(1, sum(stored_bytes(alike[case]) for case in known))
            for case, path in alike.items():
                sizes[case] += known[case] if case in known else round(ratio * stored_bytes(path))
    return sizes


def deflated_bytes(path: Path) -> int:
    """Bytes of a volume's file, deflated, judged from pieces spread over it; 0 of one that cannot be read."""
    try:
        return sum(map(_deflated_bytes, files_of_volume(path)))
    except (TumorgenError, OSError, ValueError):  # no permission, no name of a file: reading it says so
        return 0


def stored_bytes(path: Path) -> int:
    """Bytes of a volume's file as it is; 0 of one that is not there."""
    try:
        return sum(file.stat().st_size for file in files_of_volume(path))
    except (TumorgenError, OSError, ValueError):
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


def refuse_full_disk(folder: Path, sources: Sequence[Source], wanted: Mapping[str, Sequence[int]]) -> None:
    """Refuse a run that would fill the disk. Files are looked into only where it is not plain that they have room.

    Raises
    ------
    TumorgenError
        Less is free than is needed.
    """
    free = free_bytes(folder)
    if most_bytes(sources, wanted) <= free:
        return
    needed = needed_bytes(sources, wanted)
    if needed > free:
        raise TumorgenError(
            f"{folder}: the run will write about {needed / GB:.1f} GB, and {free / GB:.1f} GB are free there; make"
            " room, choose another --output, or --force"
        )
