"""Folds: groups of scans that belong together (`tables.group_scans`) are shared out, and no group is on both sides."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

from ..tables import VOXELS, Entry, Marks, describe_copies, group_copies, group_scans, list_groups
from ..wording import plural

MAX_FOLDS = 5

Fold = tuple[list[str], list[str]]  # cases to train on, and cases held out
Split = list[dict[str, list[str]]]  # content of splits_final.json


def share_out_folds(groups: Mapping[str, str]) -> list[Fold]:
    """Up to five folds of cases, each sorted; none for a single group, which cannot be held out from itself.

    The groups, sorted by name, go in turn to the fold that has the fewest cases, the first of several.

    Parameters
    ----------
    groups
        Case -> group.
    """
    members = list_groups(groups)
    if len(members) < 2:
        return []
    held_out: list[set[str]] = [set() for _ in range(min(MAX_FOLDS, len(members)))]
    for cases in members:
        min(held_out, key=len).update(cases)
    ordered = sorted(groups)
    return [([case for case in ordered if case not in held], sorted(held)) for held in held_out]


def splits(entries: Iterable[Entry], groups: Mapping[str, str], val_per_scan: int) -> Split:
    """Folds of samples: no scan, and no group of scans, has variants on both sides.

    A fold trains on all variants of the others and validates on the first few variants of its own: nnU-Net predicts
    each of them whole at the end of training.
    """
    variants: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for entry in entries:
        variants[entry.case].append((entry.variant, entry.sample))
    samples = {case: [sample for _, sample in sorted(mine)] for case, mine in variants.items()}
    return [
        {
            "train": [sample for case in train for sample in samples[case]],
            "val": [sample for case in held_out for sample in samples[case][:val_per_scan]],
        }
        for train, held_out in share_out_folds(groups)
    ]


def describe_groups(marks: Marks, *, in_folds: bool = True, has_manifest: bool = True) -> list[str]:
    """What is worth knowing of how scans belong together and, where they are in folds, of how many folds that makes.

    `has_manifest` says whether the dataset has one, without which `verify` refuses it.
    """
    groups = list_groups(group_scans(marks))
    of_folds = _describe_folds(groups) if in_folds else ()
    return [*describe_copies(marks), *_describe_unknown(marks, has_manifest), *_describe_patients(groups), *of_folds]


def _describe_unknown(marks: Marks, has_manifest: bool) -> Iterator[str]:
    unknown = sum(all(kind != VOXELS for kind, _ in mine) for mine in marks.values())
    if unknown:
        what = f"{plural(unknown, 'scan')} of an earlier version, of which nobody knows whether another is the same CT"
        yield f"{what}; `tumorgen verify` compares them" if has_manifest else what


def _describe_patients(groups: list[list[str]]) -> Iterator[str]:
    scans = sum(map(len, groups))
    if scans > len(groups):
        yield f"{plural(scans, 'scan')} of {plural(len(groups), 'patient')}, who stay together"


def _describe_folds(groups: list[list[str]]) -> Iterator[str]:
    """Where there are fewer than five folds, nnU-Net would make up the others at random."""
    count = min(MAX_FOLDS, len(groups))
    if count == 1:
        what = "one scan only" if len(groups[0]) == 1 else f"all {len(groups[0])} scans are of one patient"
        yield (
            f"{what}, so no split by patient is possible and no splits_final.json is written; nnU-Net's own validation"
            " will be optimistic"
        )
    elif 1 < count < MAX_FOLDS:
        yield (
            f"splits_final.json has {count} folds, 0 to {count - 1}; for any other, nnU-Net splits at random, and a"
            " patient may be on both sides"
        )


def find_leaks(marks: Marks, folds: Iterable[tuple[AbstractSet[str], AbstractSet[str]]]) -> Iterator[tuple[int, str]]:
    """The number of a fold, and what is on both sides of it: a scan, another name of its CT, or another of its patient.

    Parameters
    ----------
    marks
        The marks of each scan.
    folds
        Scans to train on and scans to validate on; all of them have marks.
    """
    groups, copies = group_scans(marks), group_copies(marks)
    for number, (train, val) in enumerate(folds):
        for case in sorted(train & val):
            yield number, f"has scan {case} in training and in validation"
        told = {groups[case] for case in train & val}
        for what, names in (("one CT, equal in every voxel,", copies), ("one patient", groups)):
            trained, held_out = _first_of(names, train), _first_of(names, val)
            for name in sorted(trained.keys() & held_out.keys()):
                one, other = trained[name], held_out[name]
                if groups[one] not in told:
                    yield (
                        number,
                        f"has {what} on both sides: {one} in training, {other} in validation; name them as one patient"
                        " with --patients and run its command again",
                    )
                    told.add(groups[one])


def _first_of(groups: Mapping[str, str], cases: AbstractSet[str]) -> dict[str, str]:
    """The first case of each group that has some of these cases."""
    return {groups[case]: case for case in sorted(cases, reverse=True)}
