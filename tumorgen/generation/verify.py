"""Verify: a dataset is proved to be what its manifest says, file by file and voxel by voxel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..dataset import (
    IN_ROWS,
    changed_versions,
    find_written_dataset,
)
from ..errors import Failure
from ..parallel import Case, Start, map_cases, no_progress
from ..tables import (
    Entry,
    Mark,
    Reading,
    Record,
    find_sources,
    marks_of_entries,
    marks_of_scan,
    read_manifest,
    spread_samples,
)
from ..wording import plural
from .layout import check_layout, check_provenance, check_splits, check_sums, recorded_versions
from .proof import Findings, ScanSamples, verify_scan
from .quick import compare_checksums
from .replay import group_records
from .scope import READ, RENDERED, Scope, line_of, note_done, read_done, select_open
from .verdicts import Problem, Verdict

EVERYTHING = Scope()


def verify_dataset(
    folder: Path,
    *,
    images: Path | None = None,
    masks: Path | None = None,
    reading: Reading | None = None,
    replays: int = 3,
    scope: Scope = EVERYTHING,
    jobs: int = -1,
    start: Start = no_progress,
) -> Verdict:
    """Prove a dataset: files complete, checksums, geometry, labels, untouched voxels, and some samples rendered again.

    `replays` samples, spread evenly over the dataset, are rendered again; a negative number means all. The scans are
    those that the manifest names, or those of two folders; they are read as the manifest says, unless `reading` says
    otherwise. `scope` says whether less than all is looked into.

    Raises
    ------
    TumorgenError
        The folder holds no dataset of tumorgen, or its manifest cannot be read.
    """
    dataset, done = find_written_dataset(folder), read_done(scope)
    if scope.quick:
        return compare_checksums(dataset, scope, done, jobs, start)
    records = read_manifest(dataset.manifest)
    entries = list(map(Entry.of, records))
    problems = [
        *check_sums(dataset),
        *check_provenance(dataset, records),
        *check_layout(dataset, entries),
    ]
    then = recorded_versions(dataset)
    chosen = scope.choose([entry.sample for entry in entries])
    again = spread_samples([entry.sample for entry in entries if entry.sample in chosen], replays)
    left = {e.sample for e in _select_left(entries, chosen, again, done)}
    groups = group_records([record for record in records if record.plan.sample in left]).values()
    sources = find_sources(records, images, masks, reading)
    scans = [
        ScanSamples(mine, sources[mine[0].plan.case], again.intersection(record.plan.sample for record in mine))
        for mine in groups
    ]
    marks = marks_of_entries(entries)
    problems += _verify_scans(scans, partial(verify_scan, dataset=dataset, then=then), marks, scope, jobs, start)
    problems += check_splits(dataset, entries, marks)
    notes = (*_describe_version_changes(records, then), *_describe_without_voxel(records))
    cases = {entry.case for entry in entries if entry.sample in chosen}
    told = scope.describe(len(chosen), len(entries))
    return Verdict(len(chosen), len(cases), len(again), tuple(problems), notes, told)


def _select_left(
    entries: Sequence[Entry], chosen: Collection[str], again: Collection[str], done: Collection[str]
) -> list[Entry]:
    """Of the chosen samples those that were not found sound before; what was rendered again need not be read."""
    seen = {*done, *(line.replace(RENDERED, READ, 1) for line in done if line.startswith(f"{RENDERED} "))}
    return [
        *select_open(entries, set(chosen) - set(again), READ, seen),
        *select_open(entries, again, RENDERED, done),
    ]


def _verify_scans(
    scans: Sequence[ScanSamples],
    work: Callable[[ScanSamples], Findings],
    marks: dict[str, set[Mark]],
    scope: Scope,
    jobs: int,
    start: Start,
) -> Iterator[Problem]:
    """Problems of the samples of scans; fingerprints are added to their marks, and what is sound is noted."""
    cases = [Case(scan, scan.source.case, len(scan.records)) for scan in scans]
    tick = start(sum(case.samples for case in cases))
    for case, found in zip(cases, map_cases(work, cases, jobs), strict=True):
        if isinstance(found, Failure):
            yield Problem(case.name, f"cannot be verified: {found.reason}")
        else:
            yield from found.problems
            marks[case.name] |= marks_of_scan(case.name, fingerprint=found.fingerprint)
            if not found.problems:
                of = {record.plan.sample: Entry.of(record) for record in case.item.records}
                note_done(scope, (line_of(e, RENDERED if s in case.item.again else READ) for s, e in of.items()))
        tick(case.samples)


def _describe_without_voxel(records: Sequence[Record]) -> Iterator[str]:
    """Tumours that changed the image and label no voxel, as versions before 0.2 made them on thick slices."""
    without = [sum(not o.has_voxels for o in record.outcomes if o is not None) for record in records]
    if any(without):
        yield (
            f"{plural(sum(without), 'tumour')} of {plural(sum(map(bool, without)), 'sample')} changed the image and"
            " label no voxel (volume_mm3 is 0 in tumors.csv): too small for the slices"
        )


def _describe_version_changes(records: Sequence[Record], then: Mapping[str, Any]) -> Iterator[str]:
    """Versions that differ from those that rendered the dataset: bits may then differ for that reason alone."""
    changes = {tuple(changed_versions(then).items())}
    for rows in {tuple(getattr(r.files, f"{name}_version") for name in IN_ROWS) for r in records if r.files}:
        changes.add(tuple(changed_versions(dict(zip(IN_ROWS, rows, strict=True))).items()))
    for name, old, now in sorted({(name, *pair) for changed in changes for name, pair in changed}):
        yield f"rendered with {name} {old}; this is {now}: replayed bits may differ"
