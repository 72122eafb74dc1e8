"""Verify: a dataset is proved to be what its manifest says, file by file and voxel by voxel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ..dataset import (
    IN_ROWS,
    changed_versions,
    find_written_dataset,
)
from ..errors import Failure
from ..method import Vessels
from ..parallel import Case, Start, map_cases, no_progress
from ..tables import (
    Entry,
    Mark,
    Parted,
    Reading,
    Record,
    Source,
    find_sources,
    marks_of_entries,
    marks_of_scan,
    part_manifest,
    read_entries,
    spread_samples,
)
from ..wording import plural
from .layout import check_layout, check_provenance, check_splits, check_sums, recorded_versions
from .proof import Findings, ScanSamples, verify_scan
from .quick import compare_checksums, select_unchanged
from .replay import vessels_of
from .scope import READ, RENDERED, Scope, line_of, note_done, read_done, select_done
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
    rows = _survey_rows(dataset.manifest)
    entries = read_entries(dataset.manifest)
    problems = [
        *check_sums(dataset),
        *check_provenance(dataset, entries, rows.rendered_with),
        *check_layout(dataset, entries),
    ]
    then = recorded_versions(dataset)
    chosen = scope.choose([entry.sample for entry in entries])
    again = spread_samples([entry.sample for entry in entries if entry.sample in chosen], replays)
    looked_into = [entry for entry in entries if entry.sample in chosen]
    before = select_unchanged(dataset, _select_done(looked_into, again, done), jobs, start)
    left = {entry.sample: entry for entry in looked_into if entry.sample not in before}
    scans = list(rows.cut(left.keys(), again, find_sources(list(rows.one_of.values()), images, masks, reading)))
    marks = marks_of_entries(entries)
    work = partial(verify_scan, dataset=dataset, then=then)
    problems += _verify_scans(scans, work, left, marks, scope, jobs, start)
    problems += check_splits(dataset, entries, marks)
    notes = (*_describe_version_changes(rows.rendered_with, then), *_describe_without_voxel(rows.without_voxel))
    cases = {entry.case for entry in looked_into}
    told = scope.describe(len(chosen), len(entries), len(before))
    return Verdict(len(chosen), len(cases), len(again - before), tuple(problems), notes, told)


@dataclass(slots=True)
class _Rows:
    """What is kept of the rows of a manifest, which are read one after the other.

    `groups` are samples by their scan and how its vessels were found, `one_of` has a record of each scan, and
    `without_voxel` numbers of tumours that label no voxel, of the samples that have such.
    """

    parted: Parted
    groups: dict[tuple[str, Vessels], list[str]] = field(default_factory=dict)
    one_of: dict[str, Record] = field(default_factory=dict)
    rendered_with: set[tuple[str, ...]] = field(default_factory=set)
    without_voxel: list[int] = field(default_factory=list)

    def add(self, record: Record) -> None:
        """Take note of a sample."""
        plan, files = record.plan, record.files
        self.groups.setdefault((plan.case, vessels_of(plan)), []).append(plan.sample)
        self.one_of[plan.case] = record
        if files:
            self.rendered_with.add(tuple(getattr(files, f"{name}_version") for name in IN_ROWS))
        without = sum(not outcome.has_voxels for outcome in record.outcomes if outcome is not None)
        self.without_voxel += [without] if without else []

    def cut(self, left: Collection[str], again: frozenset[str], sources: Mapping[str, Source]) -> Iterator[ScanSamples]:
        """What is to be verified, a scan at a time."""
        for (case, _), samples in self.groups.items():
            mine = [sample for sample in samples if sample in left]
            if mine:
                yield ScanSamples(self.parted.part(mine), sources[case], again.intersection(mine))


def _survey_rows(manifest: Path) -> _Rows:
    """Read all rows of a manifest, and keep little of them.

    Raises
    ------
    TumorgenError
        As `read_manifest` has it.
    """
    rows = _Rows(part_manifest(manifest))
    for record in rows.parted.records():
        rows.add(record)
    return rows


def _select_done(entries: Sequence[Entry], again: Collection[str], done: Collection[str]) -> list[Entry]:
    """Of some samples those that were found sound before; what was rendered again need not be read."""
    seen = {*done, *(line.replace(RENDERED, READ, 1) for line in done if line.startswith(f"{RENDERED} "))}
    read = [entry for entry in entries if entry.sample not in again]
    rendered = [entry for entry in entries if entry.sample in again]
    return [*select_done(read, READ, seen), *select_done(rendered, RENDERED, done)]


def _verify_scans(
    scans: Sequence[ScanSamples],
    work: Callable[[ScanSamples], Findings],
    entries: Mapping[str, Entry],
    marks: dict[str, set[Mark]],
    scope: Scope,
    jobs: int,
    start: Start,
) -> Iterator[Problem]:
    """Problems of the samples of scans; fingerprints are added to their marks, and what is sound is noted."""
    cases = [Case(scan, scan.source.case, len(scan.part.samples)) for scan in scans]
    tick = start(sum(case.samples for case in cases))
    for case, found in zip(cases, map_cases(work, cases, jobs), strict=True):
        if isinstance(found, Failure):
            yield Problem(case.name, f"cannot be verified: {found.reason}")
        else:
            yield from found.problems
            marks[case.name] |= marks_of_scan(case.name, fingerprint=found.fingerprint)
            if not found.problems:
                of = ((entries[sample], sample in case.item.again) for sample in case.item.part.samples)
                note_done(scope, (line_of(entry, RENDERED if again else READ) for entry, again in of))
        tick(case.samples)


def _describe_without_voxel(numbers: Sequence[int]) -> Iterator[str]:
    """Tumours that changed the image and label no voxel, as versions before 0.2 made them on thick slices."""
    if numbers:
        yield (
            f"{plural(sum(numbers), 'tumour')} of {plural(len(numbers), 'sample')} changed the image without"
            " labelling a voxel (volume_mm3 is 0 in tumors.csv): too small for the slices"
        )


def _describe_version_changes(rendered_with: Iterable[tuple[str, ...]], then: Mapping[str, Any]) -> Iterator[str]:
    """Versions that differ from those that rendered the dataset: bits may then differ for that reason alone."""
    changes = {tuple(changed_versions(then).items())}
    for rows in rendered_with:
        changes.add(tuple(changed_versions(dict(zip(IN_ROWS, rows, strict=True))).items()))
    for name, old, now in sorted({(name, *pair) for changed in changes for name, pair in changed}):
        yield f"rendered with {name} {old}; this is {now}: replayed bits may differ"
