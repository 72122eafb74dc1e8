"""A run as a value, and the steps of every run that writes a dataset: `synth`, `replay`, `merge`.

A run begins or continues a dataset, makes the samples that are missing, and then describes the dataset: the manifest in
order, dataset.json, splits, checksums.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path

from ..checksums import sha256_of
from ..dataset import (
    TRAINING,
    Dataset,
    Hold,
    count_synced,
    describe_groups,
    digests_of_ended_runs,
    find_changed_tables,
    find_unlisted,
    finish_provenance,
    has_settled_tables,
    locked_folder,
    refuse_unmounted,
    remove_partial_files,
    remove_torn_samples,
    sync_samples,
    write_description,
)
from ..errors import Failure, TumorgenError
from ..method import Settings
from ..parallel import Start, count_jobs, no_progress, split_failures
from ..tables import (
    Dial,
    Entry,
    Record,
    Source,
    join_tables,
    marks_of_entries,
    read_entries,
    recover_manifest,
    sort_entries,
)
from ..wording import few, plural
from .batches import Batch, Sampler, ordinary_sampler, useful_processes
from .cluster import Cluster
from .copies import copy_or_note
from .log import Log
from .pool import make_samples
from .shards import Shard, list_tables, remove_finished_shards
from .worker import Result

SYNC_EVERY_S = 300.0  # after a crash, what was made since has to be compared with its rows
Tell = Callable[[str], None]  # gets a few words about what is being done


def tell_nobody(words: str) -> None:
    """What is told of work that nobody watches."""


@dataclass(frozen=True, slots=True)
class Writing:
    """Which dataset is written, and how the work is done.

    Attributes
    ----------
    dataset
        The dataset to begin or to continue.
    val_per_scan
        Variants of each held-out scan that nnU-Net validates on; None: as many as the dataset was begun with, or two.
    jobs, cluster
        Number of processes of this machine (-1: one for each core), or the cluster that does the work instead.
    force
        Begin even where the disk does not have enough room.
    copies
        Folder that gets copies of the manifest.
    patients
        Case -> first scan of the same patient (`tables.name_patients`); samples that are there are told, too.
    start
        Called with the number of samples to make; returns what is called with the number that has just been done.
    check
        The same for samples whose files are compared with their rows, after a crash.
    compare
        The same for scans that are read only to see whether they have changed since their samples were made.
    tell
        Called with what is being done besides, in a few words, as each begins.
    """

    dataset: Dataset
    _: KW_ONLY
    val_per_scan: int | None = None
    jobs: int = -1
    cluster: Cluster | None = None
    force: bool = False
    copies: Path | None = None
    patients: Mapping[str, str] = field(default_factory=dict)
    start: Start = no_progress
    check: Start = no_progress
    compare: Start = no_progress
    tell: Tell = tell_nobody

    def processes(self, most: int | None = None) -> int:
        """Number of processes that do the work, where at most some of them (None: all) have something to do.

        Raises
        ------
        TumorgenError
            `jobs` is 0.
        """
        return self.cluster.workers if self.cluster else count_jobs(self.jobs, most)


@dataclass(frozen=True, slots=True)
class Run(Writing):
    """A run that draws variants of scans and writes them, or one shard of such a run.

    Attributes
    ----------
    sources, settings, seed, per_scan
        The scans, how tumours are drawn, and how many variants each scan gets.
    shard
        The share to make; its rows go to the shard's own tables, for `merge`.
    sampler, dials
        How variants are drawn, and what is dialled in each, where it is a benchmark.
    log_file
        Gets a line for each sample (`tumorgen.generation.log`).
    descriptions
        Text files that describe the dataset besides its settings, by their names: the levels of a benchmark.
    """

    sources: Sequence[Source]
    settings: Settings
    _: KW_ONLY
    seed: int = 0
    per_scan: int = 20
    val_per_scan: int = 2
    shard: Shard | None = None
    sampler: Sampler = ordinary_sampler
    dials: Sequence[Dial] = ()
    log_file: Path | None = None
    descriptions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunReport:
    """What a run did.

    Attributes
    ----------
    dataset
        The dataset written to.
    entries
        All samples that are in it now.
    made
        How many of them this run made.
    failures
        Scans and samples that could not be done.
    notes
        What is worth knowing of its folds, and of scans that belong together, in words; and what could not be done
        besides: the dataset is whole without it.
    shard
        The share that was made, where it was not the whole.
    """

    dataset: Dataset
    entries: tuple[Entry, ...]
    made: int
    failures: tuple[Failure, ...]
    notes: tuple[str, ...] = ()
    shard: Shard | None = None

    @property
    def records(self) -> tuple[Record, ...]:
        """All that the tables say of these samples, read now: of large datasets that takes minutes."""
        return tuple(recover_manifest(self.shard.manifest(self.dataset) if self.shard else self.dataset.manifest))


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of the samples to make: how many were made, and what could not be done."""

    made: int = 0
    failures: tuple[Failure, ...] = ()


@contextmanager
def locked_dataset(
    dataset: Dataset,
    shard: Shard | None = None,
    *,
    jobs: int = -1,
    start: Start = no_progress,
) -> Iterator[Hold]:
    """Hold a dataset's folder for as long as the block lasts, repaired where the run before did not come to its end.

    `jobs` processes compare what that has left; `start` is called as in `map_cases`.

    Raises
    ------
    TumorgenError
        Another process holds the folder, it cannot be written to, or a link in it leads to a disk that is not mounted.
    """
    refuse_unmounted(dataset)
    with locked_folder(dataset.folder, str(shard or "")) as hold:
        if hold.interrupted:
            repair_after_crash(dataset, hold, [shard.manifest(dataset)] if shard else list_tables(dataset), jobs, start)
        yield hold


def describe_changed(dataset: Dataset, hold: Hold) -> tuple[str, ...]:
    """Say which tables somebody, or a disk, has changed since the last run: this one will give them new checksums.

    Of one that was interrupted nobody knows.
    """
    return tuple(
        f"{dataset.folder / name}: is not as the last run that ended wrote it; its rows are taken as they stand"
        for name in (() if hold.interrupted else find_changed_tables(dataset))
    )


def repair_after_crash(
    dataset: Dataset, hold: Hold, tables: Sequence[Path], jobs: int = 1, start: Start = no_progress
) -> None:
    """Make durable what an interrupted run has left, and remove what is torn, so that it is made again.

    Only files of samples are read whose rows were added to the tables since the files of all rows were known to be on
    disk: when a run came to its end, or in the midst of it.

    Raises
    ------
    TumorgenError
        A table is malformed, or the disk does not take the files.
    """
    if not dataset.raw:
        return  # a row is on disk when it counts
    digests = hold.synced | digests_of_ended_runs(dataset)
    doubtful = [entry for table in tables for entry in read_entries(table)[count_synced(table, digests) :]]
    torn = set(remove_torn_samples(dataset, doubtful, jobs=count_jobs(jobs), start=start))
    sync_samples(dataset, (entry.sample for entry in doubtful if entry.sample not in torn))


def rewrite_manifest(manifest: Path, entries: Sequence[Entry], tables: Sequence[Path] = ()) -> bool:
    """Write a table again, without rows that were cut off and rows of samples that are no longer there.

    Where no row is left, it stays as it is, since the files may come back; the next row takes its place and decides its
    columns (`make_samples`). Return whether that is so.

    Parameters
    ----------
    manifest
        The table of samples; that of their tumours lies beside it.
    entries
        The samples that are to be in it.
    tables
        The tables that have their rows; by default the manifest.

    Raises
    ------
    TumorgenError
        It cannot be written.
    """
    if entries:
        join_tables(entries, tables or [manifest], manifest)
    return not entries


def run_batches(
    batches: Sequence[Batch],
    writing: Writing,
    hold: Hold,
    *,
    manifest: Path | None = None,
    anew: bool = False,
    log: Log | None = None,
) -> Outcomes:
    """Do the batches and say what became of them; what they have written is on disk by then.

    Of a sample that is made its name alone is kept, so that memory does not grow with their number: its rows are in
    `manifest`, by default the dataset's; `anew` says whether they take the place of those that are there.

    Raises
    ------
    TumorgenError
        The number of processes is 0, the manifest cannot be written, the disk is full, the folder has vanished, or a
        process was killed.
    """
    # A wrong number is refused before the folder counts as unfinished.
    processes = writing.processes(useful_processes(_samples_of_scans(batches)))
    progress = writing.start(sum(batch.size for batch in batches))
    if not batches:
        hold.unfinished = False
        return Outcomes()
    dataset, backend = writing.dataset, writing.cluster.backend if writing.cluster else None
    watch = partial(log.sample, dataset) if log else None
    hold.unfinished = True
    results = make_samples(batches, processes, progress, manifest=manifest, anew=anew, backend=backend, watch=watch)
    made, failures = split_failures(_synced(results, dataset, manifest or dataset.manifest, hold))
    hold.unfinished = False
    return Outcomes(len(made), failures)


def _samples_of_scans(batches: Iterable[Batch]) -> list[int]:
    samples = Counter[str]()
    for batch in batches:
        samples[batch.source.case] += batch.size
    return list(samples.values())


def _synced(
    results: Iterable[Result],
    dataset: Dataset,
    table: Path,
    hold: Hold,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[str | Failure]:
    """The sample of each result, or its failure; their files are written through to the disk every few minutes."""
    fresh, due = list[str](), clock() + SYNC_EVERY_S
    for result in results:
        if isinstance(result, Failure):
            yield result
            continue
        yield result.plan.sample
        fresh += [result.plan.sample] if dataset.raw else []
        if clock() >= due:
            sync_samples(dataset, fresh)
            hold.note_synced(sha256_of(table))
            fresh, due = [], clock() + SYNC_EVERY_S
    sync_samples(dataset, fresh)


def describe_dataset(
    dataset: Dataset,
    outcomes: Outcomes,
    val_per_scan: int,
    copies: Path | None,
    *,
    known: Sequence[Entry] | None = None,
    tell: Tell = tell_nobody,
) -> RunReport:
    """Write what describes a dataset whose rows are all in its manifest: the manifest in order, dataset.json, splits.

    Then nothing that shards or killed processes have left is needed any more, and it is removed. `known` is what is in
    the manifest, in order, where that is known and none was made since; `tell` is called with what is being done.

    Raises
    ------
    TumorgenError
        It cannot be written, or the folder has vanished.
    """
    entries = sort_entries(read_entries(dataset.manifest) if known is None or outcomes.made else known)
    if entries and (known is None or outcomes.made) and not has_settled_tables(dataset):
        tell(f"writing the rows of {plural(len(entries), 'sample')} in order")
        join_tables(entries, [dataset.manifest], dataset.manifest)
    marks = marks_of_entries(entries)
    if entries:
        tell(f"writing splits, provenance and checksums of {plural(len(entries), 'sample')}")
        finish_provenance(dataset, entries)
        write_description(dataset, entries, marks, val_per_scan)
    notes = describe_groups(marks, in_folds=dataset.part == TRAINING)
    if entries and copies is not None:
        notes += copy_or_note(dataset, copies, entries)
    if not remove_finished_shards(dataset, entries):
        remove_partial_files(dataset)
        notes += _describe_unlisted(dataset, entries)
    if not dataset.folder.is_dir():
        raise TumorgenError(f"{dataset.folder}: has vanished during the run; nothing more is written")
    return RunReport(dataset, tuple(entries), outcomes.made, outcomes.failures, tuple(notes))


def _describe_unlisted(dataset: Dataset, entries: Sequence[Entry]) -> Iterator[str]:
    """Name files that no row describes. They stay: their rows may have been lost, and their scans be gone."""
    unlisted = find_unlisted(dataset, entries)
    if unlisted:
        yield (
            f"{dataset.folder}: {dataset.manifest.name} has no row for {plural(len(unlisted), 'file')}, which nnU-Net"
            f" would take for cases: {few(unlisted)}; remove them, or, where a killed run has left them, run its"
            " command again, with the same scans"
        )
