"""Merge: what the shards of a run have written becomes one dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..dataset import Dataset, read_val_per_scan, select_complete
from ..errors import TumorgenError
from ..tables import join_entries, read_entries, select_whole
from .run import Outcomes, RunReport, describe_changed, describe_dataset, locked_dataset, rewrite_manifest
from .shards import Sample, Shard, list_tables, read_division


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge found.

    Attributes
    ----------
    report
        The dataset.
    missing
        The samples that each unfinished shard has not made.
    interrupted
        Whether a command without shards had not come to its end here; what it has not made is not known.
    untouched
        Whether nothing was to be merged or repaired; whether the dataset is as large as was asked for is not known.
    """

    report: RunReport
    missing: dict[Shard, list[Sample]]
    interrupted: bool = False
    untouched: bool = False


def merge_shards(dataset: Dataset, *, copies: Path | None = None) -> MergeReport:
    """Join the rows of all shards, finished or not, into the manifest, and write what describes the dataset.

    The tables of finished shards are removed. Once all are, the folder holds what one run would have written. A dataset
    that has no shards is left as it is; of one whose run was interrupted, what is whole is described.

    Raises
    ------
    TumorgenError
        The folder holds no dataset of tumorgen, nothing of it is made yet, or a run or a shard is writing to it.
    """
    with locked_dataset(dataset) as hold:
        there = read_entries(dataset.manifest)
        division, tables = read_division(dataset), list_tables(dataset)
        if division is None and not hold.interrupted:
            if not there:
                raise TumorgenError(
                    f"{dataset.folder}: holds no shards; run `tumorgen synth --shard 1/8` and so on first"
                )
            return MergeReport(RunReport(dataset, tuple(there), 0, ()), {}, untouched=True)
        entries = select_complete(dataset, select_whole(join_entries(*map(read_entries, tables)), tables))
        if not entries:
            hold.unfinished = False  # nothing is there that could be torn
            if division is None:
                raise TumorgenError(f"{dataset.folder}: an interrupted run has left no whole sample; run it again")
            raise TumorgenError(f"{dataset.folder}: its shards have made no samples yet")
        edited = describe_changed(dataset, hold)
        rewrite_manifest(dataset.manifest, entries, tables)
        val_per_scan = division.val_per_scan if division else read_val_per_scan(dataset)
        report = describe_dataset(dataset, Outcomes(), val_per_scan, copies)
        report = replace(report, notes=(*edited, *report.notes))
        hold.unfinished = False
        if division is None:
            return MergeReport(report, {}, interrupted=True)
        return MergeReport(report, division.missing(report.entries))
