"""A dataset's files are compared with the checksums in its rows, and no more."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import partial

from ..checksums import sha256_of
from ..dataset import Dataset
from ..errors import Failure
from ..parallel import Case, Start, map_cases
from ..tables import Entry, marks_of_entries, read_entries
from .layout import check_layout, check_splits, check_sums
from .scope import QUICK, Scope, line_of, note_done, select_done
from .verdicts import CHANGED, Problem, Verdict

NO_FILES = (
    "keeps no images and labels (--no-raw): no checksum of a sample was compared, only tables, provenance and folds;"
    " without --quick, samples are rendered again"
)
SLICE = 32  # samples whose checksums a process compares before it says so


def compare_checksums(dataset: Dataset, scope: Scope, done: Collection[str], jobs: int, start: Start) -> Verdict:
    """Compare files with the checksums in their rows, and no more: what was changed or lost since the run."""
    entries = read_entries(dataset.manifest)
    problems = [*check_sums(dataset), *check_layout(dataset, entries)]
    missing = {problem.file for problem in problems}
    chosen = scope.choose([entry.sample for entry in entries])
    looked_into = [entry for entry in entries if entry.sample in chosen and dataset.raw]  # rows have nothing to compare
    before = {entry.sample for entry in select_done(looked_into, QUICK, done)}
    left = [entry for entry in looked_into if entry.sample not in before]
    tick = start(len(left))
    for case, found in _check_all(dataset, left, jobs):
        if isinstance(found, Failure):
            problems.append(Problem(case.name, f"cannot be verified: {found.reason}"))
            continue
        problems += found
        bad = missing | {problem.file for problem in found}
        note_done(scope, (line_of(entry, QUICK) for entry in case.item if bad.isdisjoint(_files_of(dataset, entry))))
        tick(case.samples)
    problems += check_splits(dataset, entries, marks_of_entries(entries))
    cases_there = {entry.case for entry in entries if entry.sample in chosen}
    told = scope.describe(len(chosen), len(entries), len(before), compared="checksums" if dataset.raw else "tables")
    notes = () if dataset.raw else (f"{dataset.folder}: {NO_FILES}",)
    return Verdict(len(chosen), len(cases_there), 0, tuple(problems), notes, told)


def select_unchanged(dataset: Dataset, entries: Sequence[Entry], jobs: int, start: Start) -> set[str]:
    """Of some samples those whose files are what their rows say; where no files are kept, all."""
    if not dataset.raw:
        return {entry.sample for entry in entries}
    there = [e for e in entries if all((dataset.folder / name).is_file() for name in _files_of(dataset, e))]
    same = set[str]()
    tick = start(len(there))
    for case, found in _check_all(dataset, there, jobs):
        if not isinstance(found, Failure):
            bad = {problem.file for problem in found}
            same |= {entry.sample for entry in case.item if bad.isdisjoint(_files_of(dataset, entry))}
        tick(case.samples)
    return same


def _check_all(
    dataset: Dataset, entries: Sequence[Entry], jobs: int
) -> Iterator[tuple[Case[Sequence[Entry]], list[Problem] | Failure]]:
    """Samples, some at a time, and the problems of their files."""
    slices = [entries[i : i + SLICE] for i in range(0, len(entries), SLICE)]
    cases = [Case(part, part[0].sample, len(part)) for part in slices]
    return zip(cases, map_cases(partial(_check_files, dataset), cases, jobs), strict=True)


def _check_files(dataset: Dataset, entries: Sequence[Entry]) -> list[Problem]:
    """Files of samples that are another than their rows say; of one that is missing, `check_layout` says so."""
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
