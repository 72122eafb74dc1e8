"""Where CTs are: volumes named after their cases, one for each."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import TumorgenError
from .files import extension_of, list_volumes, no_volumes


def list_images(folder: Path) -> dict[str, Path]:
    """Case name -> CT in a folder (or of one file), sorted by name; there may be none.

    Raises
    ------
    TumorgenError
        There is nothing at that path, two files have one case name, or a case has several channels.
    """
    found = list_volumes(folder)
    _refuse_channels(found.values())
    return found


def find_images(folder: Path) -> dict[str, Path]:
    """The same, of a folder that must have some.

    Raises
    ------
    TumorgenError
        There is none.
    """
    found = list_images(folder)
    if not found:
        raise no_volumes(folder)
    return found


def _refuse_channels(paths: Iterable[Path]) -> None:
    """Refuse `x_0001` beside `x_0000`: the second channel of a case would be a patient of its own."""
    stems = {path.name[: len(path.name) - len(extension_of(path))]: path for path in paths}
    for stem, path in stems.items():
        first = stems.get(f"{stem[:-5]}_0000")
        if first and re.fullmatch("_000[1-9]", stem[-5:]):
            raise TumorgenError(
                f"{path}: to nnU-Net it is channel {stem[-1]} of the case of {first.name}, and a CT has one channel;"
                " take it away, or rename it if it is a scan of its own"
            )
