"""A run over processes: batches of samples go to workers, rows come back, and this process alone writes the manifest.

A sample counts as done when its row is on disk, so the same command again does only what is missing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from ..dataset import Dataset
from ..errors import TumorgenError, as_unwritable
from ..parallel import FEWER_JOBS, refuse_to_go_on, run_in_processes, tell_under_way
from ..tables import Record, append_manifest, remove_manifest
from .batches import Batch
from .worker import Result, forget_scan, run_batch, run_batch_elsewhere


def make_samples(
    batches: Sequence[Batch],
    jobs: int,
    progress: Callable[[int], None],
    *,
    manifest: Path | None = None,
    anew: bool = False,
    backend: Any = None,
    watch: Callable[[Result, float], None] | None = None,
) -> Iterator[Result]:
    """Do batches over processes and yield what became of each sample, its row on disk.

    Parameters
    ----------
    batches
        The work, all of it of one dataset.
    jobs
        Number of processes of this machine.
    progress
        Called with the number of samples that were done since the last call.
    manifest
        The table that gets the rows; by default the dataset's manifest.
    anew
        Whether they take the place of the rows that are there.
    backend
        joblib's backend, where the work goes elsewhere (`tumorgen.generation.cluster`).
    watch
        Called with what became of each sample and the seconds it took.

    Raises
    ------
    TumorgenError
        The manifest cannot be written, the disk is full, the folder has vanished, or a process was killed.
    """
    if not batches:
        return
    # Worker processes may have another working directory: joblib keeps them between calls.
    dataset = replace(batches[0].dataset, folder=batches[0].dataset.folder.absolute())
    manifest = manifest or dataset.manifest
    folder = _make_folders(dataset)
    batches = [replace(batch, dataset=dataset, folders_made=True) for batch in batches]
    work = run_batch if backend is None else run_batch_elsewhere
    try:
        told = tell_under_way(progress, _count_samples)
        run = run_in_processes(work, batches, jobs, backend=backend, advice=FEWER_JOBS, under_way=told)
        with closing(run) as done:
            for result, seconds in chain.from_iterable(done):
                _refuse_vanished(dataset, folder)
                if isinstance(result, Record):
                    if anew:
                        remove_manifest(manifest)
                    append_manifest(result, manifest)
                    anew = False
                progress(1 if isinstance(result, Record) else result.samples)
                if watch:
                    watch(result, seconds)
                refuse_to_go_on(result)
                yield result
    finally:
        forget_scan()  # of this process, where it was the worker


def _count_samples(batches: Sequence[Batch]) -> int:
    return sum(batch.size for batch in batches)


def _make_folders(dataset: Dataset) -> os.stat_result:
    """Make the folders of a dataset's files; workers make none, so that a dataset that vanishes stays away."""
    with as_unwritable(dataset.folder):
        for folder in (dataset.images, dataset.labels) if dataset.raw else ():
            folder.mkdir(exist_ok=True)
        return dataset.folder.stat()


def _refuse_vanished(dataset: Dataset, before: os.stat_result) -> None:
    try:
        if os.path.samestat(dataset.folder.stat(), before):
            return
    except OSError:
        pass
    raise TumorgenError(f"{dataset.folder}: has vanished or was replaced during the run; nothing more is written")
