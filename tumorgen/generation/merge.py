"""Merge: what the shards of a run have written becomes one dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..dataset.lock import locked
from ..dataset.raw import Dataset
from ..errors import TumorgenError
from ..tables.manifest import recover_manifest
from .pool import done
from .run import Outcomes, Report, describe, mend, put_right
from .shards import Sample, Shard, read_division, read_shards, unite


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge found: the dataset, and the samples that each unfinished shard has not made."""

    report: Report
    missing: dict[Shard, list[Sample]]


def merge(dataset: Dataset, *, copies: Path | None = None) -> Merged:
    """Join the rows of all shards, finished or not, into the manifest, and write what describes the dataset.

    The tables of finished shards are removed. Once all are, the folder holds what one run would have written. A dataset
    that has no shards is left as it is.

    Raises
    ------
    TumorgenError
        The folder holds no dataset of tumorgen, nothing of it is made yet, or a run or a shard is writing to it.
    """
    with locked(dataset.folder) as hold:
        if hold.interrupted:
            put_right(dataset)
        hold.unfinished = False
        return _merge(dataset, copies)


def _merge(dataset: Dataset, copies: Path | None) -> Merged:
    """As `merge`, of a folder that is locked."""
    there = recover_manifest(dataset.manifest)
    division = read_division(dataset)
    if division is None:
        if not there:
            raise TumorgenError(f"{dataset.folder}: holds no shards; run `tumorgen synth --shard 1/8` and so on first")
        return Merged(Report(dataset, tuple(there), 0, (), has_splits=True), {})
    records = done(unite(there, read_shards(dataset)), dataset)
    if not records:
        raise TumorgenError(f"{dataset.folder}: its shards have made no samples yet")
    mend(dataset.manifest, records)
    report = describe(dataset, Outcomes(), division.val_per_scan, copies)
    return Merged(report, division.missing(report.records))
