"""Verify: a dataset is proved to be what its manifest says, file by file and voxel by voxel."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checksums import sha256_of
from ..dataset import (
    IN_ROWS,
    LOCK,
    PROVENANCE,
    SUMMED,
    TRAINING,
    Dataset,
    changed_versions,
    dataset_json,
    find_contradictions,
    find_leaks,
    find_written_dataset,
    provenance_path,
    read_provenance,
    read_sums,
)
from ..errors import Failure, TumorgenError, printable
from ..imaging import Box, ChunkedVolume, Volume, fingerprint_ct, read_volume
from ..labels import LABELS
from ..method import Patch, Scan, load_scan, render
from ..parallel import Case, Start, map_cases, no_progress
from ..tables import (
    TUMORS,
    Entry,
    Files,
    Mark,
    Marks,
    Reading,
    Record,
    Source,
    find_sources,
    group_scans,
    marks_of_entries,
    marks_of_scan,
    read_entries,
    read_manifest,
    spread_samples,
    tumors_path,
)
from ..wording import plural
from .replay import group_records, vessels_of
from .scope import Scope, line_of, note_done, read_done, select_open
from .shards import DIVISION, SHARDS, read_division

CHANGED = "its SHA-256 is not the manifest's: the file was changed"
STRANGE = "does not belong to the dataset: it was added after the run, or a killed one left it"
VERSIONS = "bits may differ for a version alone"
EVERYTHING = Scope()
QUICK, READ, RENDERED = "checksums", "read", "rendered"  # how a sample was found sound
SLICE = 32  # samples whose checksums a process compares before it says so


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with which file."""

    file: str
    reason: str

    def __str__(self) -> str:
        return printable(f"{self.file}: {self.reason}")


@dataclass(frozen=True, slots=True)
class _ScanSamples:
    """What is verified in one process: records of a scan, its files, and the names of samples to render again."""

    records: Sequence[Record]
    source: Source
    again: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Deflated:
    """A scan and its label as samples share them, compressed once."""

    image: ChunkedVolume
    label: ChunkedVolume

    @classmethod
    def of(cls, scan: Scan) -> _Deflated:
        """Compress a scan that holds all its voxels."""
        return cls(ChunkedVolume.from_volume(scan.image), ChunkedVolume.from_volume(Volume(scan.label, scan.geometry)))


@dataclass(frozen=True, slots=True)
class _Findings:
    """What verifying the samples of a scan found: their problems, and its fingerprint; empty if it is another."""

    problems: Sequence[Problem]
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A file of the dataset: whether it is another than its row says, its voxels, and why these cannot be used."""

    name: str
    changed: bool = False
    volume: Volume | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying a dataset found: how much is there and was looked at, in words, too, and every problem.

    `samples`, `scans` and `replayed` count what was looked into, in this run or, as `Scope.done` says, before.
    """

    samples: int
    scans: int
    replayed: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    scope: str = ""


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
        return _compare_checksums(dataset, scope, done, jobs, start)
    records = read_manifest(dataset.manifest)
    entries = list(map(Entry.of, records))
    problems = [
        *_check_sums(dataset),
        *_check_provenance(dataset, records),
        *_check_layout(dataset, entries),
    ]
    then = _recorded_versions(dataset)
    chosen = scope.choose([entry.sample for entry in entries])
    again = spread_samples([entry.sample for entry in entries if entry.sample in chosen], replays)
    left = {e.sample for e in _select_left(entries, chosen, again, done)}
    groups = group_records([record for record in records if record.plan.sample in left]).values()
    sources = find_sources(records, images, masks, reading)
    scans = [
        _ScanSamples(mine, sources[mine[0].plan.case], again.intersection(record.plan.sample for record in mine))
        for mine in groups
    ]
    marks = marks_of_entries(entries)
    problems += _verify_scans(scans, partial(_verify_scan, dataset=dataset, then=then), marks, scope, jobs, start)
    problems += _check_splits(dataset, entries, marks)
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
    scans: Sequence[_ScanSamples],
    work: Callable[[_ScanSamples], _Findings],
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


def _compare_checksums(dataset: Dataset, scope: Scope, done: Collection[str], jobs: int, start: Start) -> Verdict:
    """Compare files with the checksums in their rows, and no more: what was changed or lost since the run."""
    entries = read_entries(dataset.manifest)
    problems = [*_check_sums(dataset), *_check_layout(dataset, entries)]
    missing = {problem.file for problem in problems}
    chosen = scope.choose([entry.sample for entry in entries])
    left = select_open(entries, chosen, QUICK, done)
    slices = [left[i : i + SLICE] for i in range(0, len(left), SLICE)]
    cases = [Case(part, part[0].sample, len(part)) for part in slices]
    tick = start(len(left))
    for case, found in zip(cases, map_cases(partial(_check_files, dataset), cases, jobs), strict=True):
        if isinstance(found, Failure):
            problems.append(Problem(case.name, f"cannot be verified: {found.reason}"))
            continue
        problems += found
        bad = missing | {problem.file for problem in found}
        note_done(scope, (line_of(entry, QUICK) for entry in case.item if bad.isdisjoint(_files_of(dataset, entry))))
        tick(case.samples)
    problems += _check_splits(dataset, entries, marks_of_entries(entries))
    cases_there = {entry.case for entry in entries if entry.sample in chosen}
    told = scope.describe(len(chosen), len(entries))
    return Verdict(len(chosen), len(cases_there), 0, tuple(problems), (), told)


def _check_files(dataset: Dataset, entries: Sequence[Entry]) -> list[Problem]:
    """Files of samples that are another than their rows say; of one that is missing, `_check_layout` says so."""
    wanted = ((name, sha256) for entry in entries for name, sha256 in _files_of(dataset, entry).items())
    return [
        Problem(name, CHANGED)
        for name, sha256 in wanted
        if (dataset.folder / name).is_file() and sha256_of(dataset.folder / name) != sha256
    ]


def _files_of(dataset: Dataset, entry: Entry) -> dict[str, str]:
    """Image and label of a sample, from the dataset's folder on, and their SHA-256."""
    files = {dataset.image(entry.sample): entry.image_sha256, dataset.label(entry.sample): entry.label_sha256}
    return {f"{path.parent.name}/{path.name}": sha256 for path, sha256 in files.items()}


def _check_sums(dataset: Dataset) -> Iterator[Problem]:
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


def _check_provenance(dataset: Dataset, records: Sequence[Record]) -> Iterator[Problem]:
    """provenance.json says what the manifest and the settings say."""
    try:
        for reason in find_contradictions(dataset, records):
            yield Problem(PROVENANCE, reason)
    except TumorgenError as error:
        yield Problem(PROVENANCE, str(error).removeprefix(f"{provenance_path(dataset)}: "))


def _recorded_versions(dataset: Dataset) -> dict[str, Any]:
    """Versions that the dataset says it was made with; none where they cannot be read, a problem of its own."""
    try:
        return dict(read_provenance(dataset).get("versions", {}))
    except TumorgenError:
        return {}


def _check_strangers(dataset: Dataset, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Nothing is in the dataset's folder but what runs write there, and the pictures of `preview`."""
    folders = {dataset.images.name, dataset.labels.name} if dataset.raw else set[str]()
    known = {*SUMMED, dataset.sums.name, *folders, "preview"}
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


def _check_layout(dataset: Dataset, entries: Sequence[Entry]) -> Iterator[Problem]:
    """Files that are missing or do not belong, and what dataset.json says."""
    yield from _check_strangers(dataset, entries)
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


def _check_splits(dataset: Dataset, entries: Sequence[Entry], marks: Marks) -> Iterator[Problem]:
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


def _verify_scan(mine: _ScanSamples, dataset: Dataset, then: Mapping[str, Any]) -> _Findings:
    """Problems of all samples of one scan, and its fingerprint."""
    source, vessels = mine.source, vessels_of(mine.records[0].plan)
    try:
        scan = load_scan(source.image, source.mask, vessels, source.case, source.labels, source.trust)
    except TumorgenError as error:
        return _Findings([Problem(one.plan.sample, f"its scan cannot be read: {error}") for one in mine.records])
    deflated = _Deflated.of(scan) if mine.again else None
    problems = [
        problem
        for record in mine.records
        for problem in _verify_sample(
            dataset, record, scan, then, deflated if record.plan.sample in mine.again else None
        )
    ]
    known = scan.image_sha256 == mine.records[0].plan.source_image_sha256
    return _Findings(problems, fingerprint_ct(scan.image.array) if known else "")


def _verify_sample(
    dataset: Dataset, record: Record, scan: Scan, then: Mapping[str, Any], deflated: _Deflated | None
) -> Iterator[Problem]:
    """What is wrong with a sample; where the scan is given as samples share it, deflated, it is rendered again."""
    plan, files = record.plan, record.files
    try:
        plan.check_fits(scan.geometry, scan.image_sha256, scan.mask_sha256)
    except TumorgenError as error:
        yield Problem(plan.sample, str(error))
        return
    outcomes = [outcome for outcome in record.outcomes if outcome is not None]
    if files is None or len(outcomes) < len(record.outcomes) or (files.tumors_placed and not outcomes):
        yield Problem(plan.sample, "its rows do not say what came out; was the manifest edited? replay it")
        return
    yield from _check_names(dataset, plan.sample, files)
    if not dataset.raw:
        yield from _check_rows(dataset, record, scan, _describe_versions(record, then), deflated)
        return
    if deflated and _is_made_again(dataset, record, scan, deflated):
        return
    image = _load(dataset.image(plan.sample), files.image_sha256, scan)
    label = _load(dataset.label(plan.sample), files.label_sha256, scan)
    yield from (*image.problems, *label.problems)
    boxes = [outcome.box for outcome in outcomes]
    if image.volume is not None:
        yield from _check_untouched(image.name, image.volume.array, scan.image.array, boxes)
    if label.volume is not None:
        yield from _check_label(label.name, label.volume.array, scan, boxes)
    if deflated:
        yield from _check_again(record, scan, (image, label), _describe_versions(record, then))
    else:
        yield from _check_unchanged(image, label)


def _check_rows(
    dataset: Dataset, record: Record, scan: Scan, versions: str, deflated: _Deflated | None
) -> Iterator[Problem]:
    """Of a sample that has no files: rendered again, it measures what its rows say, and its files would be theirs."""
    if deflated is None or _is_made_again(dataset, record, scan, deflated):
        return
    try:
        patch = render(scan, record.plan)
    except TumorgenError as error:
        yield Problem(record.plan.sample, f"its rows cannot be rendered: {error}")
        return
    yield from _check_outcomes(record, patch, versions)
    why = f"{VERSIONS}: {versions}" if versions else "the versions are the same: its rows were changed"
    yield Problem(record.plan.sample, f"rendered again, its files would have other checksums than its rows say; {why}")


def _is_made_again(dataset: Dataset, record: Record, scan: Scan, deflated: _Deflated) -> bool:
    """Whether a sample's files, if it has any, are byte for byte what is made of its rows and its scan now.

    Then nothing need be read back: they hold the scan's own bytes and geometry but in the boxes that were rendered, and
    these lie within the recorded ones. Where they are not, another version may have made them, or they were changed:
    their voxels will say.
    """
    files, outcomes = record.files, [outcome for outcome in record.outcomes if outcome is not None]
    paths = (dataset.image(record.plan.sample), dataset.label(record.plan.sample)) if dataset.raw else ()
    recorded = [files.image_sha256, files.label_sha256] if files else []
    if not all(path.is_file() and sha256_of(path) == sha256 for path, sha256 in zip(paths, recorded, strict=False)):
        return False
    try:
        patch = render(scan, record.plan)
    except TumorgenError:
        return False
    if repr(list(patch.outcomes)) != repr(outcomes):  # by repr, since the mean of no voxels is NaN
        return False
    if not all(any(_is_within(block.box, outcome.box) for outcome in outcomes) for block in patch.blocks):
        return False
    images = [(block.box, block.image) for block in patch.blocks]
    labels = [(block.box, block.label) for block in patch.blocks]
    return [deflated.image.digest(images), deflated.label.digest(labels)] == recorded


def _is_within(box: Box, other: Box) -> bool:
    """Whether a box lies in another."""
    return all(b.start <= a.start and a.stop <= b.stop for a, b in zip(box, other, strict=True))


def _check_names(dataset: Dataset, sample: str, files: Files) -> Iterator[Problem]:
    expected = dataset.image(sample), dataset.label(sample)
    for name, path in zip((files.image_file, files.label_file), expected, strict=True):
        if dataset.folder / name != path:
            yield Problem(sample, f"the manifest says {name}, the sample's file is {path.relative_to(dataset.folder)}")


def _load(path: Path, sha256: str, scan: Scan) -> _Loaded:
    """Read a file of the dataset, as far as that is possible."""
    name = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        strange = path.is_symlink() or path.exists()  # of one that is missing, _check_layout has said so
        return _Loaded(name, problems=(Problem(name, "is not a regular file"),) if strange else ())
    changed = sha256_of(path) != sha256
    try:
        volume = read_volume(path)
    except TumorgenError as error:
        return _Loaded(name, changed, problems=(Problem(name, str(error)),))
    difference = scan.geometry.difference(volume.geometry)
    problems = (Problem(name, f"its geometry is not the scan's: {difference}"),) if difference else ()
    return _Loaded(name, changed, volume if volume.array.shape == scan.geometry.shape else None, problems)


def _check_untouched(
    name: str, found: NDArray[Any], source: NDArray[Any], boxes: Sequence[tuple[slice, slice, slice]]
) -> Iterator[Problem]:
    """Every voxel outside the recorded boxes equals the source's, bit for bit."""
    if found.dtype != source.dtype:
        yield Problem(name, f"its data type is {found.dtype}, the source's {source.dtype}")
        return
    differs = found != source
    for box in boxes:
        differs[box] = False
    differing = int(np.count_nonzero(differs))
    if differing:
        yield Problem(name, f"{differing} voxels outside the recorded boxes differ from the source")


def _check_label(
    name: str, found: NDArray[Any], scan: Scan, boxes: Sequence[tuple[slice, slice, slice]]
) -> Iterator[Problem]:
    """uint8, labels 0, 1 and 2 alone, and the liver mask outside the boxes."""
    problems = list(_check_untouched(name, found, scan.label, boxes))
    # What equals the scan's label is known; to sort all voxels takes longer than all else.
    parts = [found] if problems else [found[box] for box in boxes]
    values = sorted({value for part in parts for value in np.unique(part).tolist()} - set(LABELS.values()))
    if values:
        yield Problem(name, f"holds the labels {values[:5]}; only {sorted(LABELS.values())} are known")
    yield from problems


def _check_unchanged(*files: _Loaded) -> Iterator[Problem]:
    """The files are those that their rows were written for."""
    for file in files:
        if file.changed:
            yield Problem(file.name, CHANGED)


def _check_again(record: Record, scan: Scan, files: tuple[_Loaded, _Loaded], versions: str) -> Iterator[Problem]:
    """A sample's rows, rendered again, give the voxels of its image and label, and the outcomes in the rows."""
    try:
        patch = render(scan, record.plan)
    except TumorgenError as error:
        yield Problem(record.plan.sample, f"its rows cannot be rendered: {error}")
        yield from _check_unchanged(*files)
        return
    for file, expected in zip(files, patch.apply(scan), strict=True):
        yield from _check_bits(file, expected, versions)
    yield from _check_outcomes(record, patch, versions)


def _check_bits(file: _Loaded, expected: NDArray[Any], versions: str) -> Iterator[Problem]:
    """The file is what its row says, and its voxels are those of its rows rendered again."""
    reasons = [CHANGED] if file.changed else []
    if file.volume is not None:
        differing = int(np.count_nonzero(file.volume.array != expected))
        if differing:
            reasons.append(f"rendered again from its rows, {differing} voxels differ")
        elif file.changed:
            reasons.append("its voxels are those of its rows rendered again")
    if versions and reasons:
        reasons.append(f"{'versions differ' if file.changed else VERSIONS}: {versions}")
    elif reasons and not file.changed:
        reasons.append("the versions are the same: the file or its rows were changed")
    if reasons:
        yield Problem(file.name, "; ".join(reasons))


def _check_outcomes(record: Record, patch: Patch, versions: str) -> Iterator[Problem]:
    """Rendered again, the tumours measure what their rows say."""
    why = f"{VERSIONS}: {versions}" if versions else "the versions are the same: it was changed"
    for number, (recorded, measured) in enumerate(zip(record.outcomes, patch.outcomes, strict=True)):
        if repr(recorded) != repr(measured):  # by repr, since the mean of no voxels is NaN
            sample = f"{record.plan.sample}, tumour {number}"
            yield Problem(TUMORS, f"{sample}: its row does not say what came out of it; {why}")


def _describe_without_voxel(records: Sequence[Record]) -> Iterator[str]:
    """Tumours that changed the image and label no voxel, as versions before 0.2 made them on thick slices."""
    without = [sum(not o.has_voxels for o in record.outcomes if o is not None) for record in records]
    if any(without):
        yield (
            f"{plural(sum(without), 'tumour')} of {plural(sum(map(bool, without)), 'sample')} changed the image and"
            " label no voxel (volume_mm3 is 0 in tumors.csv): too small for the slices"
        )


def _describe_versions(record: Record, then: Mapping[str, Any]) -> str:
    """Versions that are others now than when a sample was made, in words; empty where all are the same."""
    rows = {name: getattr(record.files, f"{name}_version") for name in IN_ROWS}
    return ", ".join(f"{name} was {old}, is {now}" for name, (old, now) in changed_versions({**then, **rows}).items())


def _describe_version_changes(records: Sequence[Record], then: Mapping[str, Any]) -> Iterator[str]:
    """Versions that differ from those that rendered the dataset: bits may then differ for that reason alone."""
    changes = {tuple(changed_versions(then).items())}
    for rows in {tuple(getattr(r.files, f"{name}_version") for name in IN_ROWS) for r in records if r.files}:
        changes.add(tuple(changed_versions(dict(zip(IN_ROWS, rows, strict=True))).items()))
    for name, old, now in sorted({(name, *pair) for changed in changes for name, pair in changed}):
        yield f"rendered with {name} {old}; this is {now}: replayed bits may differ"
