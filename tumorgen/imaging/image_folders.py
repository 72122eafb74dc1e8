"""Where CTs are: volumes named after their cases, or a folder for each, as TotalSegmentator's own data have it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ..errors import TumorgenError
from .files import extension_of, list_folders, list_volumes, no_volumes, safe_name

CT = "ct.nii.gz"  # name of the CT in the folder of a case


def list_images(folder: Path) -> dict[str, Path]:
    """Case name -> CT in a folder (or of one file), sorted by name; there may be none.

    A CT is `<case>.nii.gz`, or of another format. In a folder without volumes it is `<case>/ct.nii.gz`.

    Raises
    ------
    TumorgenError
        There is nothing at that path, two CTs have one case name, or a case has several channels.
    """
    found = list_volumes(folder)
    _refuse_channels(found.values())
    return found if found or not folder.is_dir() else _list_cases(folder)


def _list_cases(folder: Path) -> dict[str, Path]:
    """Case name -> CT in the folder of that name."""
    found: dict[str, Path] = {}
    twins: dict[str, Path] = {}
    for case in list_folders(folder):
        if not (case / CT).is_file():
            continue
        name = safe_name(case.name)
        twin = twins.setdefault(name.lower(), case)
        if twin is not case:
            raise TumorgenError(f"{case}: case {name!r} is also {twin.name}; rename one of them")
        found[name] = case / CT
    return dict(sorted(found.items()))


def find_images(folder: Path) -> dict[str, Path]:
    """Case name -> CT in a folder (or of one file) that must have some, as `list_images` finds them.

    Raises
    ------
    TumorgenError
        There is none, nothing at that path, two CTs have one case name, or a case has several channels.
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
