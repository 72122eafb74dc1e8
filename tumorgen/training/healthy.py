"""Healthy scans as a raw dataset of nnU-Net's, for training with tumours that are drawn on the fly.

The labels name a tumour, and no voxel is one: `nnUNetTrainerTumorgen` draws them. Folds are grouped by scan.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..dataset import Dataset, dataset_json, folds, write_json, write_splits
from ..errors import Failure, TumorgenError, as_unwritable
from ..imaging import MASK, ChunkedVolume, LabelChoice, Volume, read_ct, read_mask, refuse_misfit
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from ..tables import Source, refuse_same_case

NAME = "Healthy livers (tumorgen)"
MASKS = "masks"  # key of what was chosen from the masks
_CHOICE = ("liver_labels", "real_tumor_labels")  # as the manifest calls them


@dataclass(frozen=True, slots=True)
class HealthyReport:
    """What a run did: the dataset, all cases in it, how many of them this run wrote, what failed, splits or none."""

    dataset: Dataset
    cases: tuple[str, ...]
    made: int
    failures: tuple[Failure, ...]
    has_splits: bool


def write_healthy_dataset(
    sources: Sequence[Source], dataset: Dataset, *, jobs: int = -1, start: Start = no_progress
) -> HealthyReport:
    """Write scans and their livers as a dataset; what is there, as new as its source and of the same labels is kept.

    Image and label are written anew, with their geometry and without whatever else a header may say of a patient.

    Raises
    ------
    TumorgenError
        The folder holds another dataset or cannot be written to, or two scans have one name.
    """
    _refuse_other(dataset)
    refuse_same_case(sources)
    dataset = Dataset(dataset.folder.absolute())  # worker processes may have another working directory
    chosen = _read_choices(dataset)
    with as_unwritable(dataset.folder):
        for source in sources:
            if source.labels != chosen.get(source.case, MASK):
                dataset.label(source.case).unlink(missing_ok=True)
    chosen |= {source.case: source.labels for source in sources}
    _describe(dataset, chosen)
    todo = [Case(s, s.case, about=(str(s.image), str(s.mask))) for s in sources if not _is_done(s, dataset)]
    _, failures = split_failures(map_cases(partial(_write, dataset=dataset), todo, jobs, start=start))
    there = _there(dataset)
    _describe(dataset, chosen)
    split = [{"train": train, "val": held_out} for train, held_out in folds(there)]
    has_splits = write_splits(dataset, split)
    return HealthyReport(dataset, tuple(there), len(todo) - len(failures), failures, has_splits)


def _refuse_other(dataset: Dataset) -> None:
    """A folder that `synth` or somebody else has filled is not ours to add to."""
    about = dataset.folder / "dataset.json"
    known = about.is_file() and NAME in about.read_text(encoding="utf-8", errors="replace")
    if dataset.folder.is_dir() and any(dataset.folder.iterdir()) and not known:
        raise TumorgenError(f"{dataset.folder}: holds another dataset; choose another --dataset-id, --name or --output")


def _describe(dataset: Dataset, chosen: Mapping[str, LabelChoice]) -> None:
    """Write dataset.json; of cases whose mask is a label map it says what was chosen, since a label does not."""
    masks = {case: dict(zip(_CHOICE, labels.cells, strict=True)) for case, labels in chosen.items() if labels != MASK}
    about = dataset_json(len(_there(dataset)), NAME) | ({MASKS: dict(sorted(masks.items()))} if masks else {})
    write_json(about, dataset.folder / "dataset.json", parents=True)


def _read_choices(dataset: Dataset) -> dict[str, LabelChoice]:
    """What was chosen from the masks of cases that are there; nothing of those whose masks are plain."""
    try:
        found = json.loads((dataset.folder / "dataset.json").read_text(encoding="utf-8")).get(MASKS, {})
        return {case: LabelChoice.of_cells(*(row[name] for name in _CHOICE)) for case, row in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise TumorgenError(f"{dataset.folder / 'dataset.json'}: cannot be read ({error}); remove it") from error


def _there(dataset: Dataset) -> list[str]:
    """Cases of which image and label are there."""
    cases = [path.name.removesuffix(".nii.gz") for path in sorted(dataset.labels.glob("*.nii.gz"))]
    return [case for case in cases if dataset.image(case).is_file()]


def _is_done(source: Source, dataset: Dataset) -> bool:
    """Whether both files are there, the label, which is written last, after its sources."""
    image, label = dataset.image(source.case), dataset.label(source.case)
    if not (image.is_file() and label.is_file()):
        return False
    sources = [path.stat().st_mtime_ns for path in (source.image, source.mask) if path.exists()]
    return label.stat().st_mtime_ns >= max(sources, default=0)


def _write(source: Source, dataset: Dataset) -> None:
    """Write one case, the label last."""
    if source.case.endswith("_seg"):
        raise TumorgenError(f"{source.image}: nnU-Net takes no case whose name ends in _seg; rename the file")
    ct, liver = read_ct(source.image, source.trust), read_mask(source.mask, source.labels, source.trust)
    refuse_misfit(source.mask, liver.geometry, source.image, ct.geometry)
    ChunkedVolume.from_volume(ct).write(dataset.image(source.case), [])
    # The image's geometry: nnU-Net refuses a label whose spacing differs in the last digit.
    label = Volume(liver.array.astype(np.uint8), ct.geometry)
    ChunkedVolume.from_volume(label).write(dataset.label(source.case), [])
