"""Where liver masks are: volumes named after their cases, or TotalSegmentator's folders, with a file for each organ."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from ..errors import TumorgenError
from .files import EXTENSIONS, find_volumes, list_folders, list_volumes, raw_name, safe_name

ORGAN = "liver"  # name of the file that has it
SEGMENTATIONS = "segmentations"  # folder of a case's organs, in TotalSegmentator's own data


def find_masks(folder: Path, only_case: str = "") -> dict[str, Path]:
    """Case name -> liver mask in a folder (or one file), sorted by name.

    A mask is `<case>.nii.gz`, `<case>/liver.nii.gz` or `<case>/segmentations/liver.nii.gz`, or of another format. Where
    there is `only_case`, a file that is given is its mask, and so is `liver.nii.gz` in a folder without its name.

    Raises
    ------
    TumorgenError
        There is nothing at that path, there is no mask in the folder, or two masks have one case name.
    """
    found = list_volumes(folder)
    if folder.is_file():
        return {only_case: folder} if only_case else found
    twins = {case.lower() for case in found}
    for organs in list_folders(folder):
        mask, case = _liver_in(organs), safe_name(organs.name)
        if mask is None:
            continue
        if case.lower() in twins:
            raise TumorgenError(f"{organs}: case {case!r} has another mask in {folder}; rename one of them")
        twins.add(case.lower())
        found[case] = mask
    if only_case and only_case not in found and ORGAN in found:
        return {only_case: found[ORGAN]}
    return dict(sorted(found.items())) if found else find_volumes(folder)


def refuse_other_name(case: str, image: Path, mask: Path) -> None:
    """Refuse an image and a mask of one case whose names differed before they were made safe: Müller and Möller.

    A mask that has the safe name, as liver-mask gives it, is the image's.

    Raises
    ------
    TumorgenError
        Both names were changed, and they are not the same.
    """
    folder = mask.parent.parent if mask.parent.name == SEGMENTATIONS else mask.parent
    named = raw_name(image)
    if safe_name(named) != case:  # the CT in the folder of a case
        named = unicodedata.normalize("NFC", image.parent.name)
    names = [raw_name(mask), *([unicodedata.normalize("NFC", folder.name)] if raw_name(mask) == ORGAN else [])]
    if named != case and named not in names and case not in names:
        raise TumorgenError(f"{mask} and {image}: both are case {case!r}, but are called otherwise; rename one of them")


def _liver_in(organs: Path) -> Path | None:
    """The mask of the liver in a case's folder of organs, if it is one."""
    places = (folder / f"{ORGAN}{ending}" for folder in (organs, organs / SEGMENTATIONS) for ending in EXTENSIONS)
    return next((path for path in places if path.is_file()), None)
