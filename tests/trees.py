"""What lies below a folder, byte for byte: what tests compare runs by."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

_SHOWN = 60  # bytes around the first that differs


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder, hidden and empty folders included: path -> bytes, None of a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def files_in(folder: Path) -> dict[str, bytes]:
    """The files below a folder, hidden ones included: path -> bytes."""
    return {name: content for name, content in tree(folder).items() if content is not None}


def describe_difference(left: Mapping[str, bytes | None], right: Mapping[str, bytes | None]) -> Iterator[str]:
    """What differs in two trees, a line for each file: of compressed ones, whether what they hold does, too."""
    for name in sorted(left.keys() ^ right.keys()):
        yield f"{name}: only {'left' if name in left else 'right'}"
    for name in sorted(left.keys() & right.keys()):
        one, other = left[name], right[name]
        if one == other:
            continue
        if one is None or other is None:
            yield f"{name}: a folder {'left' if one is None else 'right'}"
        elif name.endswith(".gz"):
            yield f"{name}: {_describe_bytes(gzip.decompress(one), gzip.decompress(other))}, decompressed"
        else:
            yield f"{name}: {_describe_bytes(one, other)}"


def _describe_bytes(one: bytes, other: bytes) -> str:
    if len(one) != len(other):
        return f"{len(one)} and {len(other)} bytes"
    differing = np.flatnonzero(np.frombuffer(one, np.uint8) != np.frombuffer(other, np.uint8))
    if not differing.size:
        return "equal"
    around = slice(max(0, int(differing[0]) - _SHOWN // 2), int(differing[0]) + _SHOWN // 2)
    places = f"{differing.size} of {len(one)} bytes differ, {differing[0]} to {differing[-1]}"
    return f"{places}: {one[around]!r} and {other[around]!r}"
