"""A run as a value, and the steps of every run that writes a dataset: `synth`, `replay`, `merge`.

A run begins or continues a dataset, makes the samples that are missing, and then describes the dataset: the manifest in
order, dataset.json, splits, checksums.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from pathlib import Path

from ..dataset import (
    TRAINING,
    Dataset,
    Hold,
    describe_groups,
    finish_provenance,
    locked_folder,
    remove_torn_samples,
    sync_samples,
    write_description,
)
from ..errors import Failure, TumorgenError, as_unwritable
from ..imaging import PARTIAL, refuse_unwritable, remove_folder, whole_file
from ..method import Settings
from ..parallel import Start, count_jobs, no_progress, split_failures
from ..tables import (
    Dial,
    Record,
    Source,
    marks_of_records,
    recover_manifest,
    sort_records,
    tumors_path,
    write_manifest,
)
from .batches import Batch, Sampler, ordinary_sampler
from .cluster import Cluster
from .log import Log
from .pool import make_samples
from .shards import Shard, merge_records, read_shards, remove_finished_shards


@dataclass(frozen=True, slots=True)
class Writing:
    """Which dataset is written, and how the work is done.

    Attributes
    ----------
    dataset
        The dataset to begin or to continue.
    val_per_scan
        Variants of each held-out scan that nnU-Net validates on.
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
    """

    dataset: Dataset
    _: KW_ONLY
    val_per_scan: int = 2
    jobs: int = -1
    cluster: Cluster | None = None
    force: bool = False
    copies: Path | None = None
    patients: Mapping[str, str] = field(default_factory=dict)
    start: Start = no_progress

    @property
    def processes(self) -> int:
        """Number of processes that do the work.

        Raises
        ------
        TumorgenError
            `jobs` is 0.
        """
        return self.cluster.workers if self.cluster else count_jobs(self.jobs)


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
    records
        All samples that are in it now.
    made
        How many of them this run made.
    failures
        Scans and samples that could not be done.
    notes
        What is worth knowing of its folds, and of scans that belong together, in words; and what could not be done
        besides: the dataset is whole without it.
    """

    dataset: Dataset
    records: tuple[Record, ...]
    made: int
    failures: tuple[Failure, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of the samples to make: how many were made, and what could not be done."""

    made: int = 0
    failures: tuple[Failure, ...] = ()


@contextmanager
def locked_dataset(dataset: Dataset, shard: Shard | None = None) -> Iterator[Hold]:
    """Hold a dataset's folder for as long as the block lasts, repaired where the run before did not come to its end.

    Raises
    ------
    TumorgenError
        Another process holds the folder, or it cannot be written to.
    """
    with locked_folder(dataset.folder, str(shard or "")) as hold:
        if hold.interrupted:
            repair_after_crash(dataset)
        yield hold


def repair_after_crash(dataset: Dataset) -> None:
    """Make durable what an interrupted run has left, and remove what is torn, so that it is made again.

    Raises
    ------
    TumorgenError
        A table is malformed, or the disk does not take the files.
    """
    there = merge_records(recover_manifest(dataset.manifest), read_shards(dataset))
    torn = set(remove_torn_samples(dataset, there))
    sync_samples(dataset, (record.plan.sample for record in there if record.plan.sample not in torn))


def rewrite_manifest(manifest: Path, records: Sequence[Record]) -> None:
    """Write a table again, without rows that were cut off and rows of samples that are no longer there.

    Where no row is left, the table is removed: the next row decides its columns.

    Raises
    ------
    TumorgenError
        It cannot be written.
    """
    if records:
        write_manifest(records, manifest)
        return
    with as_unwritable(manifest):
        for path in (manifest, tumors_path(manifest)):
            path.unlink(missing_ok=True)


def run_batches(
    batches: Sequence[Batch], writing: Writing, hold: Hold, *, manifest: Path | None = None, log: Log | None = None
) -> Outcomes:
    """Do the batches and say what became of them; what they have written is on disk by then.

    Of a sample that is made its name alone is kept, so that memory does not grow with their number: its rows are in
    `manifest`, by default the dataset's.

    Raises
    ------
    TumorgenError
        The number of processes is 0, the manifest cannot be written, the disk is full, the folder has vanished, or a
        process was killed.
    """
    processes = writing.processes  # a wrong number is refused before the folder counts as unfinished
    progress = writing.start(sum(batch.size for batch in batches))
    if not batches:
        hold.unfinished = False
        return Outcomes()
    dataset, backend = writing.dataset, writing.cluster.backend if writing.cluster else None
    watch = partial(log.sample, dataset) if log else None
    hold.unfinished = True
    results = make_samples(batches, processes, progress, manifest=manifest, backend=backend, watch=watch)
    made, failures = split_failures(r if isinstance(r, Failure) else r.plan.sample for r in results)
    sync_samples(dataset, made)
    hold.unfinished = False
    return Outcomes(len(made), failures)


def describe_dataset(dataset: Dataset, outcomes: Outcomes, val_per_scan: int, copies: Path | None) -> RunReport:
    """Write what describes a dataset whose rows are all in its manifest: the manifest in order, dataset.json, splits.

    Then nothing that shards or killed processes have left is needed any more, and it is removed.

    Raises
    ------
    TumorgenError
        It cannot be written, or the folder has vanished.
    """
    records = sort_records(recover_manifest(dataset.manifest))
    marks = marks_of_records(records)
    if records:
        write_manifest(records, dataset.manifest)
        finish_provenance(dataset, records)
        write_description(dataset, records, marks, val_per_scan)
    notes = describe_groups(marks, in_folds=dataset.part == TRAINING)
    if records and copies is not None:
        notes += _copy_or_note(dataset, copies)
    if not remove_finished_shards(dataset, records):
        remove_partial_files(dataset)
    if not dataset.folder.is_dir():
        raise TumorgenError(f"{dataset.folder}: has vanished during the run; nothing more is written")
    return RunReport(dataset, tuple(records), outcomes.made, outcomes.failures, tuple(notes))


def remove_partial_files(dataset: Dataset) -> None:
    """Remove the partial files of processes that were killed; none may be at work any more."""
    for folder in (dataset.folder, dataset.images, dataset.labels):
        for left in folder.glob(f"{PARTIAL}*"):
            with suppress(TumorgenError):  # others may be removing it, too
                remove_folder(left)


def refuse_uncopied(copies: Path | None) -> None:
    """Refuse work where the manifest could not be copied in the end.

    Raises
    ------
    TumorgenError
        The folder of the copies cannot be written to.
    """
    if copies is not None:
        refuse_unwritable(copies, "start in another folder: copies of the manifest go there")


def _copy_or_note(dataset: Dataset, copies: Path) -> tuple[str, ...]:
    try:
        copy_manifest(dataset, copies)
    except TumorgenError as error:
        return (f"{error}; the dataset is whole without this copy",)
    return ()


def copy_manifest(dataset: Dataset, folder: Path) -> None:
    """Copy both tables, named after the dataset, to a folder where users keep them under version control."""
    copy = folder / f"{dataset.folder.name}.csv"
    for source, target in ((tumors_path(dataset.manifest), tumors_path(copy)), (dataset.manifest, copy)):
        with whole_file(target) as partial_file:
            shutil.copyfile(source, partial_file)
