"""Healthy scans as a raw dataset of nnU-Net's, for training with tumours that are drawn on the fly.

The labels name a tumour, and no voxel is one: `nnUNetTrainerTumorgen` draws them. In folds, scans of one patient and
files of one CT stay together; `scans.csv` keeps what tells that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..dataset import (
    HEALTHY_NAME,
    Dataset,
    dataset_json,
    describe_groups,
    locked_folder,
    refuse_other_dataset,
    refuse_unmounted,
    remove_description,
    remove_partial_files,
    share_out_folds,
    write_json,
    write_splits,
)
from ..errors import Failure, TumorgenError, as_unwritable
from ..imaging import (
    MASK,
    ChunkedVolume,
    LabelChoice,
    Volume,
    case_name,
    describe_not_axial,
    digest_files,
    fingerprint_ct,
    read_ct,
    read_mask,
    refuse_misfit,
)
from ..method import doubt_liver
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from ..tables import (
    HOSTS,
    HostRow,
    Source,
    group_scans,
    keep_patients,
    read_hosts,
    refuse_same_case,
    write_hosts,
)
from ..wording import few, plural
from .clipping import LiverHu, describe_clipping

ABOUT = "dataset.json"
MASKS = "masks"  # key of what was chosen from the masks
_CHOICE = ("liver_labels", "real_tumor_labels")  # as the manifest calls them


@dataclass(frozen=True, slots=True)
class _Case:
    """What is known of a case that was written or read: its row, whether its slices are axial, its liver, doubts."""

    row: HostRow
    is_axial: bool
    liver: LiverHu | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HealthyReport:
    """What a run did: the dataset, all cases in it, how many it wrote, what failed, and what to know of it."""

    dataset: Dataset
    cases: tuple[str, ...]
    made: int
    failures: tuple[Failure, ...]
    notes: tuple[str, ...]


def write_healthy_dataset(
    sources: Sequence[Source],
    dataset: Dataset,
    *,
    patients: Mapping[str, str] | None = None,
    jobs: int = -1,
    start: Start = no_progress,
) -> HealthyReport:
    """Write scans and their livers as a dataset; what is there, of the same files and read alike, is kept.

    What an earlier version wrote, which does not know of which files, is kept where it is as new as they are.

    Image and label are written anew, with their geometry and without whatever else a header may say of a patient.
    `patients` says which scans are of one patient (`tables.name_patients`). A run that begins a dataset and can use no
    scan leaves no folder.

    Raises
    ------
    TumorgenError
        The folder holds another dataset or cannot be written to, a link in it leads to a disk that is not mounted,
        another run writes to it, two scans have one name, or patients do not fit those of scans that are there
        (`tables.keep_patients`).
    """
    refuse_other_dataset(dataset, HEALTHY_NAME)
    refuse_unmounted(dataset)
    dataset = Dataset(dataset.folder.absolute())  # worker processes may have another working directory
    with locked_folder(dataset.folder) as hold:
        remove_partial_files(dataset)
        begun = (dataset.folder / ABOUT).exists()
        report = _write_scans(sources, dataset, patients or {}, jobs, start)
        if not (begun or report.cases):
            remove_description(dataset, {ABOUT, HOSTS})
        hold.unfinished = False  # of what a run before has left undone, the table tells
    return report


def _write_scans(
    sources: Sequence[Source], dataset: Dataset, patients: Mapping[str, str], jobs: int, start: Start
) -> HealthyReport:
    chosen, rows = _read_choices(dataset), _read_rows(dataset)
    refuse_same_case(sources, _there(dataset))
    patients, stayed = keep_patients(((row.case, row.patient) for row in rows.values()), patients)
    finished = _select_finished(rows, dataset)
    with as_unwritable(dataset.folder):
        for source in sources:
            if source.labels != chosen.get(source.case, MASK) or _lies_elsewhere(source, rows):
                dataset.label(source.case).unlink(missing_ok=True)
    chosen |= {source.case: source.labels for source in sources}
    _describe(dataset, chosen)
    known = map_cases(partial(_is_done, dataset=dataset, rows=finished), [_case_of(source) for source in sources], jobs)
    todo = [source for source, done in zip(sources, known, strict=True) if done is not True]
    _forget_rows(todo, rows, dataset)
    unknown = {case for case in _there(dataset) if not rows.get(case, HostRow(case)).source_fingerprint}
    unknown -= {source.case for source in todo}  # what is left was written by an earlier version
    tasks: list[Source | Path] = [*todo, *(dataset.image(case) for case in sorted(unknown))]
    results = list(
        map_cases(partial(_write_or_read, dataset=dataset), [_case_of(task) for task in tasks], jobs, start=start)
    )
    found, failures = split_failures(results)
    rows |= {each.row.case: replace(each.row, patient=_patient_of(each.row.case, rows)) for each in found}
    there = _there(dataset)
    _describe(dataset, chosen)
    hosts = [rows.get(case, HostRow(case)) for case in there]
    missing = _only_patients({source.case for source in sources}.difference(there), rows)
    folds = _deal_folds(dataset, hosts, missing, patients)
    notes = (*stayed, *folds, *_describe_others(dataset, there, sources))
    made = sum(not isinstance(result, Failure) for result in results[: len(todo)])
    notes = (*notes, *_describe_odd(found), *_describe_clipped(found, there))
    return HealthyReport(dataset, tuple(there), made, failures, notes)


def _describe_odd(found: Sequence[_Case]) -> Iterator[str]:
    """Say of scans that were written or read now which are not axial, and whose liver is hardly one."""
    lying = [each.row.case for each in found if not each.is_axial]
    if lying:
        yield describe_not_axial(lying)
    for each in found:
        yield from (f"{each.row.case}: {doubt}; is it the liver, and is the spacing right?" for doubt in each.doubts)


def _describe_clipped(found: Sequence[_Case], there: Sequence[str]) -> Iterator[str]:
    """Say how many tumours nnU-Net's range would flatten, where the voxels of all livers have been read."""
    livers = [each.liver for each in found if each.liver]
    if len(livers) == len(there):
        yield from filter(None, [describe_clipping(livers)])


def _read_rows(dataset: Dataset) -> dict[str, HostRow]:
    """Rows of the table of scans by case; in a dataset of version 0.1.0, which has none, nothing is known of a case."""
    if not (dataset.folder / HOSTS).exists():
        return {case: HostRow(case) for case in _there(dataset)}
    return read_hosts(dataset.folder / HOSTS)


def _select_finished(rows: Mapping[str, HostRow], dataset: Dataset) -> dict[str, HostRow]:
    """Rows that were written after the files of their cases; any, where there is no table yet.

    Of a case that a run did not come to, a row may say whose it is, and nothing else.
    """
    has_table = (dataset.folder / HOSTS).exists()
    return {case: row for case, row in rows.items() if row.source_fingerprint or not has_table}


def _patient_of(case: str, rows: Mapping[str, HostRow]) -> str:
    return rows[case].patient if case in rows else ""


def _only_patients(cases: Iterable[str], rows: Mapping[str, HostRow]) -> list[HostRow]:
    """Rows that say whose cases are, as far as that is known, and nothing else."""
    return [HostRow(case, patient) for case in cases if (patient := _patient_of(case, rows))]


def _forget_rows(todo: Sequence[Source], rows: Mapping[str, HostRow], dataset: Dataset) -> None:
    """Take all but the patient out of rows of cases to be written: were this run cut off, it would be wrong."""
    if todo:
        cases = {source.case for source in todo}
        kept = [rows[case] for case in rows.keys() - cases]
        write_hosts([*kept, *_only_patients(cases, rows)], dataset.folder / HOSTS)


def _deal_folds(
    dataset: Dataset, hosts: Sequence[HostRow], missing: Sequence[HostRow], patients: Mapping[str, str]
) -> tuple[str, ...]:
    """Write the table of scans, and the folds of those that are there; what is worth knowing of these, in words."""
    hosts, missing = (
        [replace(row, patient=patients.get(row.case, row.patient)) for row in rows] for rows in (hosts, missing)
    )
    marks = {host.case: host.marks for host in hosts}
    write_hosts([*hosts, *missing], dataset.folder / HOSTS)
    folds = share_out_folds(group_scans(marks))
    write_splits(dataset, [{"train": train, "val": held_out} for train, held_out in folds])
    return tuple(describe_groups(marks, has_manifest=False))


def _describe_others(dataset: Dataset, there: Sequence[str], sources: Sequence[Source]) -> Iterator[str]:
    """Say which cases are there and not among the scans that were given."""
    others = sorted({*there} - {source.case for source in sources})
    if others:
        yield (
            f"{dataset.folder}: still holds {plural(len(others), 'case')} of earlier runs, not among these scans:"
            f" {few(others)}; to be rid of them, give another --output, or remove their images and labels"
        )


def _describe(dataset: Dataset, chosen: Mapping[str, LabelChoice]) -> None:
    """Write dataset.json; of cases whose mask is a label map it says what was chosen, since a label does not."""
    masks = {case: dict(zip(_CHOICE, labels.cells, strict=True)) for case, labels in chosen.items() if labels != MASK}
    about = dataset_json(len(_there(dataset)), HEALTHY_NAME) | ({MASKS: dict(sorted(masks.items()))} if masks else {})
    write_json(about, dataset.folder / ABOUT, parents=True)


def _read_choices(dataset: Dataset) -> dict[str, LabelChoice]:
    """What was chosen from the masks of cases that are there; nothing of those whose masks are plain."""
    try:
        found = json.loads((dataset.folder / ABOUT).read_text(encoding="utf-8")).get(MASKS, {})
        return {case: LabelChoice.of_cells(*(row[name] for name in _CHOICE)) for case, row in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise TumorgenError(f"{dataset.folder / 'dataset.json'}: cannot be read ({error}); remove it") from error


def _lies_elsewhere(source: Source, rows: Mapping[str, HostRow]) -> bool:
    """Whether a case was written from another of two places than is trusted now."""
    known = rows[source.case].trusted_form if source.case in rows else ""
    return bool(source.trusted_form and known) and source.trusted_form != known


def _there(dataset: Dataset) -> list[str]:
    """Cases of which image and label are there."""
    cases = [path.name.removesuffix(".nii.gz") for path in sorted(dataset.labels.glob("*.nii.gz"))]
    return [case for case in cases if dataset.image(case).is_file()]


def _is_done(source: Source, dataset: Dataset, rows: Mapping[str, HostRow]) -> bool:
    """Whether both files are there, of these sources; where their row does not say which, not older than they are."""
    image, label = dataset.image(source.case), dataset.label(source.case)
    if source.case not in rows or not (image.is_file() and label.is_file()):
        return False
    row = rows[source.case]
    made_of = {source.image: row.image_file_sha256, source.mask: row.mask_file_sha256}
    there = [path for path in made_of if path.is_file()]
    if all(made_of.values()):
        return all(digest_files(path) == made_of[path] for path in there)
    return label.stat().st_mtime_ns >= max((path.stat().st_mtime_ns for path in there), default=0)


def _case_of(task: Source | Path) -> Case[Source | Path]:
    """The name of a scan to write, or of an image that is there and is to be read, and the files that failures name."""
    if isinstance(task, Source):
        return Case(task, task.case, about=(str(task.image), str(task.mask)))
    return Case(task, case_name(task))


def _write_or_read(task: Source | Path, dataset: Dataset) -> _Case:
    """Write a case, or read the image of one that is there."""
    if isinstance(task, Source):
        return _write(task, dataset)
    ct = read_ct(task)
    return _Case(HostRow(case_name(task), source_fingerprint=fingerprint_ct(ct.array)), ct.geometry.is_axial)


def _write(source: Source, dataset: Dataset) -> _Case:
    """Write one case: while its image is written there is no label, so that it counts as none."""
    if source.case.endswith("_seg"):
        raise TumorgenError(f"{source.image}: nnU-Net takes no case whose name ends in _seg; rename the file")
    image_sha256, mask_sha256 = digest_files(source.image), digest_files(source.mask)
    ct, liver = read_ct(source.image, source.trust), read_mask(source.mask, source.labels, source.trust)
    refuse_misfit(source.mask, liver.geometry, source.image, ct.geometry)
    fingerprint = fingerprint_ct(ct.array)
    source.refuse_other_scan(fingerprint)
    try:
        liver_hu = LiverHu.of(ct.array, liver.array)
    except TumorgenError as error:
        raise TumorgenError(f"{source.image}: {error}") from error
    with as_unwritable(dataset.label(source.case)):
        dataset.label(source.case).unlink(missing_ok=True)
    ChunkedVolume.from_volume(ct).write(dataset.image(source.case), [])
    # The image's geometry: nnU-Net refuses a label whose spacing differs in the last digit.
    label = Volume(liver.array.astype(np.uint8), ct.geometry)
    ChunkedVolume.from_volume(label).write(dataset.label(source.case), [])
    row = HostRow(
        source.case,
        source_fingerprint=fingerprint,
        trusted_form=source.trusted_form,
        image_file_sha256=image_sha256,
        mask_file_sha256=mask_sha256,
    )
    volume_ml = np.count_nonzero(label.array) * ct.geometry.voxel_volume_mm3 / 1000
    # Of a liver that liver-mask has listed, the table of scans says what is doubtful.
    doubts = () if source.fingerprint else tuple(doubt_liver(volume_ml, liver_hu.mu_p_hu).values())
    return _Case(row, ct.geometry.is_axial, liver_hu, doubts)
