"""Which scans belong together: those of one patient, as the user says, and those that are one CT, as the voxels say.

What tells whose a scan is are its marks. Scans that share a mark are one group, and so are those of a chain of marks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from ..wording import few
from .entries import Entry
from .manifest import Record

PATIENT, VOXELS, IMAGE = "patient", "voxels", "image"  # kinds of marks

Mark = tuple[str, str]  # its kind, and what it says
Marks = Mapping[str, AbstractSet[Mark]]  # case -> its marks


def marks_of_scan(case: str, patient: str = "", fingerprint: str = "", image_sha256: str = "") -> set[Mark]:
    """What tells whose a scan is; what is empty tells nothing. A patient is called after one of the patient's scans."""
    said = [(PATIENT, case), (PATIENT, patient), (VOXELS, fingerprint), (IMAGE, image_sha256)]
    return {(kind, value) for kind, value in said if value}


def marks_of_records(records: Iterable[Record]) -> dict[str, set[Mark]]:
    """The marks of each case that there are samples of, as `marks_of_entries` has them."""
    return marks_of_entries(map(Entry.of, records))


def marks_of_entries(entries: Iterable[Entry]) -> dict[str, set[Mark]]:
    """The marks of each case that there are samples of; rows of earlier versions have the digest of its image alone."""
    said = {(entry.case, entry.patient, entry.source_fingerprint, entry.source_image_sha256) for entry in entries}
    marks: dict[str, set[Mark]] = defaultdict(set)
    for scan in said:
        marks[scan[0]] |= marks_of_scan(*scan)
    return dict(marks)


def group_scans(marks: Marks) -> dict[str, str]:
    """The group of each case, called after the first of its cases."""
    parents = {case: case for case in marks}

    def find_root(case: str) -> str:
        while parents[case] != case:
            parents[case] = parents[parents[case]]
            case = parents[case]
        return case

    owners: dict[Mark, str] = {}
    for case, mine in marks.items():
        for mark in mine:
            first, second = sorted(map(find_root, (case, owners.setdefault(mark, case))))
            parents[second] = first
    return {case: find_root(case) for case in marks}


def list_groups(groups: Mapping[str, str]) -> list[list[str]]:
    """The cases of each group, sorted; the groups by their names."""
    members: dict[str, list[str]] = defaultdict(list)
    for case in sorted(groups):
        members[groups[case]].append(case)
    return [members[name] for name in sorted(members)]


def group_copies(marks: Marks) -> dict[str, str]:
    """The group of each case by voxels alone: those of a group are one CT."""
    return group_scans({case: {mark for mark in mine if mark[0] != PATIENT} for case, mine in marks.items()})


def describe_copies(marks: Marks) -> Iterator[str]:
    """Say which scans are one CT, in one sentence; nothing where none are."""
    copies = [" = ".join(cases) for cases in list_groups(group_copies(marks)) if len(cases) > 1]
    if copies:
        what = "one CT under several names" if len(copies) == 1 else f"{len(copies)} CTs under several names"
        yield f"{what}, equal in every voxel: {few(copies)}; they count as one patient"
