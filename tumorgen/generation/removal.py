"""Removal: the samples of a scan are taken out of a dataset, as where a patient withdraws.

What is left is what a run of the other scans would have written.
"""

from __future__ import annotations

import re
from collections import Counter
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
    select_complete,
)
from ..errors import TumorgenError, as_unwritable
from ..imaging import safe_name
from ..tables import (
    SCANS,
    Entry,
    find_recorded,
    group_scans,
    is_torn,
    marks_of_entries,
    read_entries,
    read_scans,
    read_text,
    rows_of,
    select_whole,
    tumors_path,
)
from ..wording import few, typed
from .copies import refuse_uncopied
from .log import open_log
from .run import Outcomes, RunReport, describe_changed, describe_dataset, locked_dataset, rewrite_manifest
from .shards import find_unmerged, read_division, take_from_division
from .siblings import describe_siblings

_SOURCE = "source_image", "source_mask"  # columns of the manifest

INSTEAD = {  # of `remove`, for datasets without a manifest
    "healthy": "to take a scan out, delete the folder and run `tumorgen healthy` without that scan",
    "mix": "to take a scan out, remove it from the datasets that are mixed, then make the mixture anew",
}


@dataclass(frozen=True, slots=True)
class RemovalReport:
    """What a removal did: the samples that are gone, by scan, and what is in the dataset now.

    `inputs` are the folders, or the table of scans, in which a run finds these scans.
    """

    removed: dict[str, int]
    report: RunReport
    inputs: tuple[str, ...] = ()


def remove_cases(
    dataset: Dataset, cases: Collection[str], *, copies: Path | None = None, log_file: Path | None = None
) -> RemovalReport:
    """Remove the samples of some scans: images, labels, rows, checksums, splits, pictures and audit.

    Rows go first: if the process is killed, the same command does the rest, or the next removal. What a run has left
    that was killed is repaired. Shards that are merged as far as they have come go on without these scans.

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
        rows = read_entries(dataset.manifest)
        inputs = tuple(_find_inputs(dataset.manifest, cases, copies)) if rows else ()
        edited, torn = describe_changed(dataset, hold), tuple(_describe_torn(dataset))
        whole = select_whole(rows, [dataset.manifest]) if torn or hold.interrupted else rows
        entries = select_complete(dataset, whole) if hold.interrupted else whole
        known = {entry.case for entry in rows}
        _refuse_unfit(dataset, cases, entries, known | hold.removing)
        refuse_uncopied(copies)
        repaired = hold.interrupted and not hold.removing
        cases = {*cases, *(hold.removing - known)}  # files of scans may be there whose rows a killed removal took
        hold.unfinished = True
        hold.note_removing(cases)
        take_from_division(dataset, cases)
        kept = [entry for entry in entries if entry.case not in cases]
        rewrite_manifest(dataset.manifest, kept)
        gone = _find_gone(dataset, cases, rows, kept)
        _delete_files(dataset, sorted(gone))
        audit = tuple(_delete_audit(dataset))
        report = describe_dataset(dataset, Outcomes(), read_val_per_scan(dataset), copies)
        counts = Counter(gone.values())
        removed = {case: counts[case] for case in sorted(cases)}
        if log:
            for case, count in removed.items():
                log.add(case=case, samples=count, status="removed")
        hold.unfinished = False
    kin = _describe_kin(group_scans(marks_of_entries(rows)), cases)
    state = _describe_state(dataset, repaired=repaired)
    siblings = describe_siblings(dataset, [entry for entry in rows if entry.case in cases])
    notes = (*edited, *torn, *state, *audit, *kin, *siblings, *report.notes)
    return RemovalReport(removed, replace(report, notes=notes), inputs)


def _find_inputs(manifest: Path, cases: Collection[str], project: Path | None) -> list[str]:
    """Where scans were given to the run: the table of scans, if it lists the files of their rows, else their folder.

    That table lies in the project's folder of manifests.
    """
    listed = _read_listed(project / SCANS.name) if project else {}
    found = dict[str, None]()
    for _, row in rows_of(manifest, read_text(manifest, torn=True), ("case",), only={"case", *_SOURCE}):
        files = [row.get(name, "") for name in _SOURCE]
        if row["case"] in cases and all(files):
            is_listed = listed.get(row["case"]) == [find_recorded(file, manifest) for file in files]
            found[str(project / SCANS.name) if project and is_listed else str(Path(files[0]).parent)] = None
    return [*found]


def _read_listed(table: Path) -> dict[str, list[str]]:
    """Image and mask of each scan that a table lists; none where there is no such table that can be read."""
    try:
        return {row.case: [row.image, row.mask] for row in read_scans(table)}
    except TumorgenError:
        return {}


def _find_gone(
    dataset: Dataset, cases: Collection[str], rows: Sequence[Entry], kept: Sequence[Entry]
) -> dict[str, str]:
    """Samples that have no row any more, and their scans: those of the cases, and what a killed run left in part.

    Of a removal that was killed files may be there whose rows are gone; their names tell the scan.
    """
    names = {entry.sample for entry in kept}
    on_disk = {sample: case for case in cases for sample in _samples_on_disk(dataset, case) if sample not in names}
    return on_disk | {entry.sample: entry.case for entry in rows if entry.sample not in names}


def _describe_torn(dataset: Dataset) -> Iterator[str]:
    """Name the tables whose last row is dropped, since it may be cut off."""
    for table in (dataset.manifest, tumors_path(dataset.manifest)):
        if table.is_file() and is_torn(table):
            yield (
                f"{table}: its last line had no end and may have been cut off, so it did not count and is gone; if its"
                " scan stays, the dataset's own command makes that sample again"
            )


def _describe_state(dataset: Dataset, *, repaired: bool) -> Iterator[str]:
    """Say that the dataset is sound now and not whole: a run was interrupted in it, or shards are not finished."""
    if repaired:
        yield "a run that was interrupted here was repaired; its own command makes what it has not made"
    if read_division(dataset):
        yield "its shards have not made all yet; begin them again with the scans that are left, then merge"


def _describe_kin(groups: Mapping[str, str], cases: Collection[str]) -> Iterator[str]:
    """Name the scans that stay and are of the same patient as one that went, or the same CT."""
    gone = {groups[case] for case in cases if case in groups}
    kin = sorted(case for case, group in groups.items() if group in gone and case not in cases)
    if kin:
        yield f"of the same patient or the same CT, and still there: {few(kin)}; --case removes such scans, too"


def _refuse_unfit(dataset: Dataset, cases: Collection[str], entries: Sequence[Entry], known: Collection[str]) -> None:
    """Refuse what cannot be removed: scans of which nothing is `known`, nor planned for shards, nor on disk."""
    if find_unmerged(dataset, entries):
        raise TumorgenError(
            f"{dataset.folder}: has shards that are not merged; run `tumorgen merge {typed(dataset.folder)}` first"
        )
    division, there = read_division(dataset), {entry.case for entry in entries}
    known = {*known, *(division.cases if division else ())}
    unknown = [case for case in sorted(set(cases) - known) if not any(_samples_on_disk(dataset, case))]
    if unknown:
        some = ", ".join(sorted(there)[:5]) + (", ..." if len(there) > 5 else "")
        raise TumorgenError(f"{dataset.folder}: has no sample of {', '.join(unknown)}; its scans are {some}")
    if there <= set(cases):
        raise TumorgenError(f"{dataset.folder}: would be empty; remove the folder instead")


def _samples_on_disk(dataset: Dataset, case: str) -> Iterator[str]:
    """Samples of a scan of which a file is there, by the files' names."""
    for folder, suffix in ((dataset.images, IMAGE_ENDING), (dataset.labels, LABEL_ENDING)):
        for path in folder.glob(f"*{suffix}"):
            sample = path.name.removesuffix(suffix)
            if _is_of(sample, case):
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
        yield f"{dataset.audit}: showed its lesions and is gone; `tumorgen audit {typed(dataset.folder)}` makes another"
