"""Removal: the samples of a scan are taken out of a dataset, as where a patient withdraws.

What is left is what a run of the other scans would have written.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from ..dataset import (
    AUDIT_FILES,
    IMAGE_ENDING,
    LABEL_ENDING,
    OVERVIEW,
    Dataset,
    read_val_per_scan,
    remove_empty_folders,
)
from ..errors import TumorgenError, as_unwritable
from ..imaging import safe_name
from ..tables import group_scans, marks_of_entries, read_entries
from ..wording import few
from .copies import refuse_uncopied
from .log import open_log
from .run import Outcomes, RunReport, describe_dataset, locked_dataset, rewrite_manifest
from .shards import read_division


@dataclass(frozen=True, slots=True)
class RemovalReport:
    """What a removal did: the samples that are gone, by scan, and what is in the dataset now."""

    removed: dict[str, int]
    report: RunReport


def remove_cases(
    dataset: Dataset, cases: Collection[str], *, copies: Path | None = None, log_file: Path | None = None
) -> RemovalReport:
    """Remove the samples of some scans: images, labels, rows, checksums, splits, pictures and audit.

    Rows go first: if the process is killed, the same command does the rest.

    Parameters
    ----------
    dataset
        The dataset.
    cases
        Names of the scans.
    copies
        Folder that has a copy of the manifest, which is written anew.
    log_file
        Gets a line for each scan, with the time (`tumorgen.generation.log`).

    Raises
    ------
    TumorgenError
        The dataset has no sample of one of the scans, it would be empty, its shards are not merged, a run is writing to
        it, or the log or the copies cannot be written to.
    """
    with locked_dataset(dataset) as hold, open_log(log_file) if log_file else nullcontext() as log:
        entries = read_entries(dataset.manifest)
        _refuse_unfit(dataset, cases, {entry.case for entry in entries}, was_killed=hold.interrupted)
        refuse_uncopied(copies)
        hold.unfinished = True
        rewrite_manifest(dataset.manifest, [entry for entry in entries if entry.case not in cases])
        samples = {entry.sample for entry in entries if entry.case in cases}
        kept = {entry.sample for entry in entries} - samples
        samples |= {sample for sample in _samples_on_disk(dataset, cases) if sample not in kept}
        _delete_files(dataset, sorted(samples))
        audit = tuple(_delete_audit(dataset))
        report = describe_dataset(dataset, Outcomes(), read_val_per_scan(dataset), copies)
        removed = {case: sum(_is_of(sample, case) for sample in samples) for case in sorted(cases)}
        if log:
            for case, count in removed.items():
                log.add(case=case, samples=count, status="removed")
        hold.unfinished = False
    kin = _describe_kin(group_scans(marks_of_entries(entries)), cases)
    return RemovalReport(removed, replace(report, notes=(*audit, *kin, *report.notes)))


def _describe_kin(groups: Mapping[str, str], cases: Collection[str]) -> Iterator[str]:
    """Name the scans that stay and are of the same patient as one that went, or the same CT."""
    gone = {groups[case] for case in cases if case in groups}
    kin = sorted(case for case, group in groups.items() if group in gone and case not in cases)
    if kin:
        yield f"of the same patient or the same CT, and still there: {few(kin)}; --case removes such scans, too"


def _refuse_unfit(dataset: Dataset, cases: Collection[str], there: Collection[str], *, was_killed: bool) -> None:
    """Refuse what cannot be removed; of a removal that was killed the rows may be gone."""
    if read_division(dataset):
        raise TumorgenError(f"{dataset.folder}: has shards; run `tumorgen merge {dataset.folder}` first")
    unknown = sorted(set(cases) - set(there))
    unknown = [] if was_killed else [case for case in unknown if not any(_samples_on_disk(dataset, [case]))]
    if unknown:
        some = ", ".join(sorted(there)[:5]) + (", ..." if len(there) > 5 else "")
        raise TumorgenError(f"{dataset.folder}: has no sample of {', '.join(unknown)}; its scans are {some}")
    if set(there) <= set(cases):
        raise TumorgenError(f"{dataset.folder}: would be empty; remove the folder instead")


def _samples_on_disk(dataset: Dataset, cases: Collection[str]) -> Iterator[str]:
    """Samples of some scans of which a file is there, by the files' names."""
    for folder, suffix in ((dataset.images, IMAGE_ENDING), (dataset.labels, LABEL_ENDING)):
        for path in folder.glob(f"*{suffix}"):
            sample = path.name.removesuffix(suffix)
            if any(_is_of(sample, case) for case in cases):
                yield sample


def _is_of(sample: str, case: str) -> bool:
    """Whether a sample is a variant of a scan, by its name."""
    return bool(re.fullmatch(rf"{re.escape(case)}_v\d+", sample))


def _delete_files(dataset: Dataset, samples: Sequence[str]) -> None:
    """Delete the files of some samples, and the pictures that may show them."""
    with as_unwritable(dataset.folder):
        for sample in samples:
            for path in (dataset.image(sample), dataset.label(sample), dataset.pictures / f"{safe_name(sample)}.png"):
                path.unlink(missing_ok=True)
        (dataset.pictures / OVERVIEW).unlink(missing_ok=True)


def _delete_audit(dataset: Dataset) -> Iterator[str]:
    """Delete what `audit` has written into the dataset, which is of all scans together, and say so."""
    files = [path for name in AUDIT_FILES if (path := dataset.audit / name).is_file()]
    with as_unwritable(dataset.audit):
        for path in files:
            path.unlink()
    if files:
        remove_empty_folders([dataset.audit])
        yield f"{dataset.audit}: showed its lesions and is gone; `tumorgen audit {dataset.folder}` makes another"
