"""The files of a preprocessed case: where they are, and whether they are whole."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import blosc2
from numpy.typing import NDArray

from ..checksums import sha256_of
from ..dataset import Dataset
from ..imaging import sync_to_disk
from ..tables import Record

SCRATCH = ".tumorgen-"  # what the names of folders of partial files begin with
GROUND_TRUTH = "gt_segmentations"  # nnU-Net's folder of labels that predictions are scored with


def score_label(dataset: Dataset, folder: Path, sample: str) -> Path:
    """Where nnU-Net's validation looks for the label of a sample."""
    return folder / GROUND_TRUTH / dataset.label(sample).name


def is_of_row(label: tuple[Record, Path]) -> bool:
    """Whether a label's file is the one that the row of its sample says."""
    record, path = label
    return record.files is not None and sha256_of(path) == record.files.label_sha256


def image_file(target: Path) -> Path:
    """The file of a case's image."""
    return target.with_name(f"{target.name}.b2nd")


def label_file(target: Path) -> Path:
    """The file of a case's labels."""
    return target.with_name(f"{target.name}_seg.b2nd")


def properties_file(target: Path) -> Path:
    """The file of a case that is written last."""
    return target.with_name(f"{target.name}.pkl")


def case_files(target: Path) -> Iterator[Path]:
    """All files of a case."""
    yield from (image_file(target), label_file(target), properties_file(target))


def is_whole(target: Path) -> bool:
    """Whether all files of a case can be read to their ends."""
    try:
        image, label = (read_array(path) for path in (image_file(target), label_file(target)))
        properties = pickle.loads(properties_file(target).read_bytes())  # noqa: S301  # as nnU-Net reads it
    except Exception:  # blosc2 and pickle raise anything
        return False
    return image.shape == label.shape and "class_locations" in properties


def read_array(path: Path) -> NDArray[Any]:
    """All voxels (z, y, x) of a file of a case; of one that is damaged, any exception."""
    voxels: NDArray[Any] = blosc2.open(str(path), mode="r", dparams={"nthreads": 1})[0]
    return voxels


def sync_case(target: Path) -> None:
    """Write a case through to the disk."""
    for path in case_files(target):
        sync_to_disk(path)
