"""What lies around the samples of a dataset is what a run writes: sums, provenance, folders, descriptions, splits."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ..checksums import sha256_of
from ..dataset import (
    LOCK,
    PROVENANCE,
    SUMMED,
    TRAINING,
    Dataset,
    dataset_json,
    find_contradictions,
    find_leaks,
    provenance_path,
    read_provenance,
    read_sums,
)
from ..errors import TumorgenError
from ..tables import (
    Entry,
    Marks,
    group_scans,
    is_torn,
    tumors_path,
)
from .shards import DIVISION, SHARDS, read_division
from .verdicts import Problem

STRANGE = "does not belong to the dataset: it was added after the run, or a killed one left it"
NO_END = (
    "its last line has no end and does not count, since it may be cut off; if an editor took the end away, put it back"
)


def check_sums(dataset: Dataset) -> Iterator[Problem]:
    """What describes the samples is, byte for byte, what the run wrote: any cell of the tables, any setting."""
    try:
        sums = read_sums(dataset)
    except TumorgenError as error:
        yield Problem(dataset.sums.name, str(error))
        return
    for name in SUMMED:
        path = dataset.folder / name
        if path.is_file() and name not in sums:
            yield Problem(name, f"is not in {dataset.sums.name}: it was added after the run")
        elif name in sums and not path.is_file():
            yield Problem(name, "is missing")
        elif name in sums and sha256_of(path) != sums[name]:
            yield Problem(name, f"its SHA-256 is not that in {dataset.sums.name}: it was changed after the run")


def check_provenance(
    dataset: Dataset, entries: Sequence[Entry], rendered_with: Collection[Sequence[str]]
) -> Iterator[Problem]:
    """provenance.json says what the manifest and the settings say."""
    try:
        for reason in find_contradictions(dataset, entries, rendered_with):
            yield Problem(PROVENANCE, reason)
    except TumorgenError as error:
        yield Problem(PROVENANCE, str(error).removeprefix(f"{provenance_path(dataset)}: "))


def recorded_versions(dataset: Dataset) -> dict[str, Any]:
    """Versions that the dataset says it was made with; none where they cannot be read, a problem of its own."""
    try:
        return dict(read_provenance(dataset).get("versions", {}))
    except TumorgenError:
        return {}


def _check_strangers(dataset: Dataset, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Nothing is in the dataset's folder but what runs write there, `preview`'s pictures and an audit."""
    folders = {dataset.images.name, dataset.labels.name} if dataset.raw else set[str]()
    known = {*SUMMED, dataset.sums.name, *folders, dataset.pictures.name, dataset.audit.name}
    for name in sorted({path.name for path in dataset.folder.iterdir()} - known):
        if name.startswith(LOCK):
            yield Problem(name, "a run is writing here, or one was killed: run its command again")
        elif name == SHARDS:
            yield from _check_shards(dataset, entries)
        else:
            yield Problem(name, STRANGE)


def _check_shards(dataset: Dataset, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Shards that are not finished have their tables; where all are finished, there is nothing of them."""
    try:
        division = read_division(dataset)
    except TumorgenError as error:
        yield Problem(SHARDS, str(error))
        return
    if division is None or not division.missing(entries):
        yield Problem(SHARDS, STRANGE)
        return
    tables = [shard.manifest(dataset) for shard in division.all_shards]
    known = {DIVISION, *(table.name for table in tables), *(tumors_path(table).name for table in tables)}
    for name in sorted({path.name for path in (dataset.folder / SHARDS).iterdir()} - known):
        yield Problem(f"{SHARDS}/{name}", STRANGE)


def check_layout(dataset: Dataset, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Files that are missing or do not belong, and what dataset.json says."""
    yield from _check_strangers(dataset, entries)
    if dataset.manifest.is_file() and is_torn(dataset.manifest):
        yield Problem(dataset.manifest.name, NO_END)
    for folder, expected in (
        (
            (dataset.images, {dataset.image(entry.sample).name for entry in entries}),
            (dataset.labels, {dataset.label(entry.sample).name for entry in entries}),
        )
        if dataset.raw
        else ()
    ):
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        for name in sorted(expected - present):
            yield Problem(f"{folder.name}/{name}", "is missing")
        for name in sorted(present - expected):
            yield Problem(f"{folder.name}/{name}", "is not in the manifest; nnU-Net would take it for a case")
    path = dataset.folder / "dataset.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        yield Problem(path.name, f"cannot be read ({error})")
        return
    if not isinstance(found, dict):
        yield Problem(path.name, "is not nnU-Net's")
        return
    for key, value in dataset_json(len(entries), part=dataset.part).items():
        if found.get(key) != value:
            yield Problem(path.name, f"{key} is {found.get(key)!r}, not {value!r}")


def check_splits(dataset: Dataset, entries: Sequence[Entry], marks: Marks) -> Iterator[Problem]:
    """No scan, no other name of it and no other scan of its patient on both sides of a fold; no unknown sample."""
    path = dataset.folder / "splits_final.json"
    if not path.exists():
        if dataset.part == TRAINING and len(set(group_scans(marks).values())) > 1:
            yield Problem(path.name, "is missing: nnU-Net would put variants of one patient on both sides")
        return
    case = {entry.sample: entry.case for entry in entries}
    try:
        folds = [(set(fold["train"]), set(fold["val"])) for fold in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        yield Problem(path.name, f"cannot be read ({error})")
        return
    for number, (train, val) in enumerate(folds):
        for sample in sorted((train | val) - set(case), key=str):
            yield Problem(path.name, f"fold {number} names {sample}, which is not in the manifest")
    sides = [({case[s] for s in train if s in case}, {case[s] for s in val if s in case}) for train, val in folds]
    for number, leak in find_leaks(marks, sides):
        yield Problem(path.name, f"fold {number} {leak}")
