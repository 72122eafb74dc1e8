"""Durability: what a run leaves when its machine goes down, and how that is repaired.

A row of the manifest is on disk when it counts. Images and labels are not synced one by one, which would take two to
three times as long as writing them, but together: every few minutes, and when a run ends (`sync_samples`). A run that
did not get that far leaves its lock; the next one then compares the files with the checksums in their rows
(`remove_torn_samples`): those of samples that were added since the files were known to be on disk.

A state of a table in which they were is known by the SHA-256 of the table: rows are appended, so the table still begins
with it (`count_synced`). SHA256SUMS has that of the last run that ended, the lock that of the last sync.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from ..checksums import sha256_of
from ..errors import TumorgenError, as_unwritable
from ..imaging import sync_to_disk
from ..parallel import Start, no_progress, run_in_processes
from ..tables import Entry, have_columns_of_today, tumors_path
from .raw import IMAGE_ENDING, LABEL_ENDING, Dataset, read_sums

SLICE = 32  # samples that a process compares with their rows before it says so


def sync_samples(dataset: Dataset, samples: Iterable[str]) -> None:
    """Write images and labels of samples through to the disk. The next run makes again what is gone by now.

    Raises
    ------
    TumorgenError
        The disk does not take them.
    """
    folders = set()
    with as_unwritable(dataset.folder):
        for sample in samples:
            for path in (dataset.image(sample), dataset.label(sample)):
                with suppress(FileNotFoundError):
                    sync_to_disk(path)
                    folders.add(path.parent)
        for folder in folders:
            sync_to_disk(folder)


def has_settled_tables(dataset: Dataset) -> bool:
    """Whether both tables are, byte for byte, what the last run that came to its end wrote: whole, and in order.

    And whether they have today's columns, so that rows can be appended.
    """
    try:
        sums = read_sums(dataset)
        return have_columns_of_today(dataset.manifest) and all(
            sums.get(t.name) == sha256_of(t) for t in (dataset.manifest, tumors_path(dataset.manifest))
        )
    except (TumorgenError, OSError):
        return False


def find_changed_tables(dataset: Dataset) -> list[str]:
    """Names of tables that are not, byte for byte, what the last run that came to its end wrote."""
    try:
        sums = read_sums(dataset)
    except TumorgenError:
        return []  # nobody knows
    tables = dataset.manifest, tumors_path(dataset.manifest)
    return [table.name for table in tables if table.name in sums and not _is(table, sums[table.name])]


def count_synced(table: Path, digests: Collection[str]) -> int:
    """How many rows of a table, from the first, are those of its last state that has one of the digests (SHA-256)."""
    whole, rows, found = hashlib.sha256(), -1, 0  # the header is no row
    with suppress(OSError), table.open("rb") as file:
        for line in file:
            whole.update(line)
            rows += 1
            if whole.hexdigest() in digests:
                found = rows
    return found


def digests_of_ended_runs(dataset: Dataset) -> set[str]:
    """SHA-256 of the table of samples as the last run that came to its end wrote it; none where there was no such."""
    try:
        return {digest for name, digest in read_sums(dataset).items() if name == dataset.manifest.name}
    except TumorgenError:
        return set()


def remove_torn_samples(
    dataset: Dataset, entries: Sequence[Entry], *, jobs: int = 1, start: Start = no_progress
) -> list[str]:
    """Remove samples whose image or label is not what their rows say, so that they are made again; return them.

    Raises
    ------
    TumorgenError
        A worker process was killed.
    """
    slices = [entries[i : i + SLICE] for i in range(0, len(entries), SLICE)]
    progress, torn = start(len(entries)), list[str]()
    with closing(run_in_processes(partial(_remove_torn, dataset), slices, jobs)) as done:
        for compared, found in done:
            progress(compared)
            torn += found
    return torn


def _remove_torn(dataset: Dataset, entries: Sequence[Entry]) -> tuple[int, list[str]]:
    torn = []
    for entry in entries:
        wanted = {dataset.image(entry.sample): entry.image_sha256, dataset.label(entry.sample): entry.label_sha256}
        if entry.is_written and not all(_is(path, sha256) for path, sha256 in wanted.items()):
            for path in wanted:  # both: where nobody makes it again, neither is to stay without its row
                path.unlink(missing_ok=True)
            torn.append(entry.sample)
    return len(entries), torn


def select_complete(dataset: Dataset, entries: Iterable[Entry]) -> list[Entry]:
    """Entries of samples whose image and label are there, or whose rows are, where no more is kept."""
    if not dataset.raw:
        return [entry for entry in entries if entry.is_written]
    images, labels = map(_list_files, (dataset.images, dataset.labels))  # much quicker than asking for each
    return [
        entry
        for entry in entries
        if entry.is_written and f"{entry.sample}{IMAGE_ENDING}" in images and f"{entry.sample}{LABEL_ENDING}" in labels
    ]


def find_unlisted(dataset: Dataset, entries: Iterable[Entry]) -> list[str]:
    """Images and labels, from the dataset's folder on, that are of none of the entries."""
    samples, found = [entry.sample for entry in entries], list[str]()
    for folder, ending in ((dataset.images, IMAGE_ENDING), (dataset.labels, LABEL_ENDING)) if dataset.raw else ():
        listed = {f"{sample}{ending}" for sample in samples}
        found += [f"{folder.name}/{name}" for name in sorted(_list_files(folder) - listed)]
    return found


def _list_files(folder: Path) -> set[str]:
    """Names of the files in a folder; none where there is no such folder."""
    try:
        with os.scandir(folder) as found:
            return {file.name for file in found if _is_file(file)}
    except FileNotFoundError:
        return set()


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file, or leads to one; links that lead round in a circle do not."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _is(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False
