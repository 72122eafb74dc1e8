"""A mixture: dataset.json that names files where they are, folds by patient, and a table of where each case is from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..dataset import (
    MIXTURE_NAME,
    Dataset,
    dataset_json,
    describe_groups,
    locked_folder,
    refuse_other_dataset,
    refuse_unmounted,
    remove_partial_files,
    share_out_folds,
    write_json,
    write_splits,
)
from ..errors import TumorgenError, as_unwritable
from ..imaging import AS_ITK, LabelChoice, read_volume, relabel, remove_folder, safe_name, write_volume
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from ..tables import Mark, group_scans, marks_of_scan, write_records
from ..wording import plural
from .naming import MixedCase, name_cases, scan_key
from .parts import KINDS, REAL, Part, plain_path
from .ratio import repeat_cases

MIXTURE = "mix.csv"
WHOLE_FOLDS = 5  # of which nnU-Net trains


@dataclass(frozen=True, slots=True)
class MixReport:
    """What was mixed.

    Attributes
    ----------
    dataset
        The dataset.
    cases
        Its cases.
    folds
        Number of folds.
    shares
        Share of each kind in the training list of the first fold; empty where there is no fold.
    notes
        What to know of it, in words.
    """

    dataset: Dataset
    cases: tuple[MixedCase, ...]
    folds: int
    shares: Mapping[str, float]
    notes: tuple[str, ...]


def mix_datasets(
    parts: Sequence[Part],
    weights: Mapping[str, float],
    dataset: Dataset,
    *,
    patients: Mapping[str, str] | None = None,
    labels: LabelChoice | None = None,
    jobs: int = -1,
    start: Start = no_progress,
) -> MixReport:
    """Write a dataset of nnU-Net's that is made of others; their images stay where they are.

    Parameters
    ----------
    parts
        The datasets, at least one of them of real tumours.
    weights
        Kind -> its share of what a training draws.
    dataset
        Where to write; a mixture that is there is written anew.
    patients
        Which scans are of one patient (`tables.name_patients`); scans of one name are one patient, whatever it says.
    labels
        What is liver and what is tumour in real datasets whose labels are other numbers. Theirs are written anew.
    jobs, start
        Processes, and the progress of writing labels.

    Raises
    ------
    TumorgenError
        The parts do not go together, one has foreign labels and nothing says what they are, or the folder holds another
        dataset or cannot be written to.
    """
    _refuse_unlike(parts, weights, labels)
    if labels:
        _refuse_labels(parts, labels)
    dataset = Dataset(plain_path(dataset.folder))
    refuse_other_dataset(dataset, MIXTURE_NAME)
    refuse_unmounted(dataset)
    marks = _marks_of(parts, patients or {})
    cases = tuple(name_cases(parts, group_scans(marks), dataset))
    split = _deal_folds(cases, weights)
    with as_unwritable(dataset.folder), locked_folder(dataset.folder):
        remove_partial_files(dataset)
        (dataset.folder / MIXTURE).unlink(missing_ok=True)  # no half of a mixture passes for one
        # An empty description first, by which the next run knows what is left of this one.
        write_json(_description(()), dataset.folder / "dataset.json")
        if dataset.labels.exists():
            remove_folder(dataset.labels)
        if labels:
            _write_labels(parts, cases, dataset.folder, labels, jobs, start)
        write_json(_description(cases), dataset.folder / "dataset.json")
        write_splits(dataset, split)
        write_records(dataset.folder / MIXTURE, MixedCase, cases)
    notes = (
        *describe_groups(marks, in_folds=False, has_manifest=False),
        *_describe_folds(split),
        *_describe_gaps(cases, split),
    )
    return MixReport(dataset, cases, len(split), _shares(cases, split), notes)


def find_kept_split(dataset: Dataset, preprocessed: Path) -> Path | None:
    """The split of an earlier mixture that nnU-Net goes on with, in its folder of preprocessed datasets.

    When it plans, nnU-Net copies a split unless one is there, and of that it compares the cases of each fold, not how
    often they are listed (nnunetv2 2.8.1, `_maybe_copy_splits_file`).
    """
    mine = dataset.folder / "splits_final.json"
    kept = preprocessed / dataset.folder.name / mine.name
    if not kept.is_file() or (mine.is_file() and json.loads(mine.read_bytes()) == _read_kept(kept)):
        return None
    return kept


def _read_kept(path: Path) -> object:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _refuse_unlike(parts: Sequence[Part], weights: Mapping[str, float], labels: LabelChoice | None) -> None:
    """Refuse datasets that nnU-Net cannot read as one, or in which a number means two things."""
    kinds = {part.kind for part in parts}
    if REAL not in kinds or len(kinds) == 1:
        raise TumorgenError("a mixture needs a dataset of real tumours, and one of synthetic tumours or healthy scans")
    if weights.keys() != kinds or min(weights.values()) <= 0:
        raise TumorgenError(
            f"the ratio needs a number above zero for each of: {', '.join(k for k in KINDS if k in kinds)}"
        )
    folders = [part.folder.resolve() for part in parts]
    if twice := next((folder for folder, times in Counter(folders).items() if times > 1), None):
        raise TumorgenError(f"{twice}: is given twice")
    endings = {part.file_ending: part for part in parts}
    if len(endings) > 1:
        one, other = list(endings.values())[:2]
        raise TumorgenError(
            f"{other.folder}: its files end in {other.file_ending}, those of {one.folder} in {one.file_ending}; nnU-Net"
            " takes one kind of file in a dataset"
        )
    for part in parts:
        if part.foreign_labels and not (labels and part.kind == REAL):
            way = "; say which are which: --map liver=LABEL --map tumor=LABEL" if part.kind == REAL else ""
            raise TumorgenError(f"{part.folder}: {part.foreign_labels}{way}")


def _refuse_labels(parts: Sequence[Part], labels: LabelChoice) -> None:
    """Refuse a choice of labels that no dataset needs, that one of them lacks, or that means two things."""
    foreign = [part for part in parts if part.foreign_labels]
    if not foreign:
        raise TumorgenError("all datasets have the labels of the mixture already; leave out --map")
    for label in (int(word) for word in (*labels.liver, *labels.real_tumors) if word.isdecimal()):
        for part in foreign:
            if label not in part.label_names:
                raise TumorgenError(f"{part.folder}: has no label {label} to map: {part.foreign_labels}")
        one, *others = foreign
        for other in others:
            here, there = (part.label_names[label] for part in (one, other))
            if here.lower() != there.lower():
                raise TumorgenError(
                    f"--map: label {label} is {here} in {one.folder} and {there} in {other.folder}; map by name"
                )


def _marks_of(parts: Sequence[Part], patients: Mapping[str, str]) -> dict[str, set[Mark]]:
    """The marks of each scan, by its name among all kinds."""
    marks: dict[str, set[Mark]] = {}
    for part in parts:
        for scan, mine in part.marks.items():
            said = marks_of_scan(scan, patients.get(scan, ""))
            written = marks_of_scan(safe_name(scan))  # as tumorgen's own datasets call it
            marks.setdefault(scan_key(part.kind, scan), set()).update(mine, said, written)
    return marks


def _write_labels(
    parts: Sequence[Part], cases: Sequence[MixedCase], folder: Path, labels: LabelChoice, jobs: int, start: Start
) -> None:
    """Write the labels of datasets with other numbers as background 0, liver 1, tumour 2.

    Raises
    ------
    TumorgenError
        One cannot be read, or is not made of the labels that were named.
    """
    files = ((each.label, part.foreign_labels) for part in parts for each in part.cases)
    tasks = [
        Case((file, folder / each.label), each.case)
        for (file, foreign), each in zip(files, cases, strict=True)
        if foreign
    ]
    _, failures = split_failures(map_cases(partial(_write_label, labels=labels), tasks, jobs, start=start))
    if failures:
        raise TumorgenError(failures[0].reason)


def _write_label(task: tuple[Path, Path], labels: LabelChoice) -> None:
    source, target = task
    write_volume(relabel(read_volume(source, AS_ITK), source, labels), target)


def _description(cases: Sequence[MixedCase]) -> dict[str, object]:
    """Content of dataset.json, with the files of each case."""
    files = {each.case: {"images": [each.image], "label": each.label} for each in cases}
    return dataset_json(len(cases), MIXTURE_NAME) | {"dataset": files}


def _deal_folds(cases: Sequence[MixedCase], weights: Mapping[str, float]) -> list[dict[str, list[str]]]:
    """Folds that hold out real cases alone, and train on nothing of their patients or of their CTs."""
    folds = share_out_folds({each.case: each.group for each in cases if each.kind == REAL})
    split = []
    for _, held_out in folds:
        unseen = set(held_out)
        groups = {each.group for each in cases if each.case in unseen}
        left = [each for each in cases if each.group not in groups]
        kinds = [[each.case for each in left if each.kind == kind] for kind in weights]
        split.append({"train": repeat_cases(kinds, list(weights.values())), "val": held_out})
    return split


def _describe_folds(split: Sequence[Mapping[str, Sequence[str]]]) -> Iterator[str]:
    if not split:
        yield (
            "all real cases are of one patient, so no split by patient is possible and no splits_final.json is written;"
            " nnU-Net would split at random, without the ratio"
        )
    elif len(split) < WHOLE_FOLDS:
        yield (
            f"splits_final.json has {plural(len(split), 'fold')}, 0 to {len(split) - 1}: one for each real patient; for"
            " any other, nnU-Net splits at random, without the ratio, and a patient may be on both sides"
        )


def _describe_gaps(cases: Sequence[MixedCase], split: Sequence[Mapping[str, Sequence[str]]]) -> Iterator[str]:
    """Say which folds train on nothing of a kind."""
    kinds = {each.case: each.kind for each in cases}
    for kind in KINDS:
        without = [number for number, fold in enumerate(split) if kind not in {kinds[case] for case in fold["train"]}]
        if without and kind in kinds.values():
            folds = ", ".join(map(str, without))
            yield (
                f"fold {folds} trains on no {kind} case: all are of scans or patients that it holds out"
                if len(without) == 1
                else f"folds {folds} train on no {kind} case: all are of scans or patients that they hold out"
            )


def _shares(cases: Sequence[MixedCase], split: Sequence[Mapping[str, Sequence[str]]]) -> dict[str, float]:
    kinds = {each.case: each.kind for each in cases}
    listed = Counter(kinds[case] for case in split[0]["train"]) if split else Counter()
    return {kind: listed[kind] / listed.total() for kind in KINDS if kind in listed}
