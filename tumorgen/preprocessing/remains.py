"""What a run of `preprocess` that ended halfway has left: partial files, torn cases, labels of other samples."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from ..dataset import Dataset
from ..errors import as_unwritable
from ..imaging import PARTIAL, remove_folder, sync_to_disk
from ..parallel import Case, map_cases
from ..tables import Record
from ..wording import plural
from .case_files import GROUND_TRUTH, SCRATCH, case_files, is_of_row, is_whole, properties_file, score_label, sync_case
from .state import State


def remove_partial_files(folder: Path) -> None:
    """Remove what processes that were killed have left; none may be at work any more."""
    for path, names, _ in os.walk(folder):
        for name in list(names):
            if name.startswith((PARTIAL, SCRATCH)):
                names.remove(name)
                remove_folder(Path(path) / name)


def remove_torn_cases(folder: Path, state: State, made: Collection[str], jobs: int) -> tuple[str, ...]:
    """Remove cases that cannot be read to their ends: a machine that went down may leave such files.

    Those of all folders that were made here, for no later run looks again. What is whole is written through to the
    disk: the run that made it did not get that far. Notes on folders other than those, by name, that are `made` now.
    """
    known = [
        file.with_suffix("")
        for identifier in sorted(state.cases)
        for file in sorted((folder / identifier).glob("*.pkl"))
    ]
    targets = [target for target in known if all(path.is_file() for path in case_files(target))]
    results = map_cases(is_whole, [Case(target, target.name) for target in targets], jobs)
    torn = Counter[Path]()
    for target, whole in zip(targets, results, strict=True):
        with as_unwritable(target):
            if whole is True:
                sync_case(target)
            else:
                properties_file(target).unlink(missing_ok=True)
                torn[target.parent] += 1
    return tuple(
        f"{cases}: {plural(number, 'torn case')} removed, which a machine that went down had left; preprocess its"
        " configuration again before you train with it"
        for cases, number in torn.items()
        if cases.name not in made
    )


def remove_gone_labels(folder: Path, dataset: Dataset, records: Sequence[Record]) -> None:
    """Remove labels to score with of samples that the dataset has no more: of a patient who has withdrawn, say."""
    there = {dataset.label(record.plan.sample).name for record in records}
    for path in (folder / GROUND_TRUTH).glob("*"):
        if path.name not in there and re.search(r"_v\d{4,}\.nii\.gz$", path.name):
            with as_unwritable(path):
                path.unlink(missing_ok=True)


def remove_other_labels(folder: Path, dataset: Dataset, records: Sequence[Record], jobs: int) -> None:
    """Remove labels to score with that are not what the rows of their samples say; write others through to the disk."""
    labels = [(record, score_label(dataset, folder, record.plan.sample)) for record in records]
    cases = [Case((record, path), path.name) for record, path in labels if path.is_file()]
    for case, same in zip(cases, map_cases(is_of_row, cases, jobs), strict=True):
        path = case.item[1]
        with as_unwritable(path):
            if same is True:
                sync_to_disk(path)
            else:
                path.unlink(missing_ok=True)
