"""A healthy scan whose samples are preprocessed: loaded once by each process, and what its samples change.

Arrays are (z, y, x).
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dataset import Dataset
from ..generation import vessels_of
from ..imaging import Box, bounding_box
from ..method import Scan, render
from ..tables import Record, Source
from . import nnunet
from .changes import Change, changed_outside, find_altering, laid_over, margin_of, merge_blocks
from .raw_files import RawFiles, read_properties_of


@dataclass(frozen=True, slots=True)
class Part:
    """Samples of one scan for one process.

    Attributes
    ----------
    source, dataset, records
        The scan, the dataset, and the samples' rows.
    folder
        nnU-Net's folder of the preprocessed dataset.
    wanted
        Sample -> names of the configurations that it is wanted in.
    configurations
        By name.
    draws
        Intensities of the foreground that are drawn from each sample, for the fingerprint.
    kept
        Folder of what was rendered for the fingerprint and will be wanted for the case; None: it is rendered again.
    """

    source: Source
    dataset: Dataset
    records: tuple[Record, ...]
    folder: Path
    wanted: Mapping[str, tuple[str, ...]]
    configurations: Mapping[str, nnunet.Configuration]
    draws: int = 0
    kept: Path | None = None

    @property
    def about(self) -> tuple[str, ...]:
        """Files that the reason of a failure may name."""
        return (str(self.source.image), str(self.source.mask))


@dataclass(frozen=True, slots=True, eq=False)
class Healthy:
    """A healthy scan.

    Attributes
    ----------
    scan, hu, label
        The scan, its HU and its labels.
    outside
        Which of its voxels lie outside the body (`nnunet.find_outside`).
    properties
        What nnU-Net's reader says of the geometry of its samples.
    raw
        What stands for the files of its samples, where the dataset keeps none.
    """

    scan: Scan
    hu: NDArray[Any]
    label: NDArray[np.uint8]
    outside: NDArray[np.bool_] | None
    properties: Mapping[str, Any]
    raw: RawFiles | None

    @classmethod
    def load(cls, part: Part) -> Healthy:
        """Read and prepare the scan of a part."""
        scan = part.source.load(vessels_of(part.records[0].plan))
        hu = scan.image.array
        raw = None if part.dataset.raw else RawFiles.of(scan)
        return cls(scan, hu, scan.label, nnunet.find_outside(hu), read_properties_of(scan.geometry), raw)

    def changes(self, record: Record) -> list[Change]:
        """What a sample changes."""
        return merge_blocks(self.hu, self.label, render(self.scan, record.plan).blocks)

    @contextmanager
    def holding(self, changes: Sequence[Change]) -> Iterator[None]:
        """Be the sample with some changes, for as long as the block lasts."""
        with (
            laid_over(self.hu, [(change.box, change.hu) for change in changes]),
            laid_over(self.label, [(change.box, change.label) for change in changes]),
        ):
            yield

    def outside_with(self, changes: Sequence[Change]) -> tuple[NDArray[np.bool_] | None, list[Box]]:
        """Which voxels lie outside the body of a sample, and boxes that hold all changes of it and of that.

        No boxes where it is the same as in the scan.
        """
        altering = find_altering(self.hu, self.outside, changes)
        if not altering:
            return self.outside, []
        found = changed_outside(self.hu, self.outside, changes, altering)
        if found is not None:
            return found, [margin_of(change, self.hu.shape) for change in changes]
        with self.holding(changes):
            found = nnunet.find_outside(self.hu)
        differing = _or_none(found, self.hu) != _or_none(self.outside, self.hu)
        return found, [bounding_box(differing), *(change.box for change in changes)]


_loaded: list[tuple[Any, Healthy]] = []  # at most one: a process that goes on with a scan does not load it again


def load_healthy(part: Part) -> Healthy:
    """The scan of a part, loaded and prepared."""
    wanted = part.source, vessels_of(part.records[0].plan), part.dataset.raw
    if not _loaded or _loaded[0][0] != wanted:
        forget_healthy()
        _loaded.append((wanted, Healthy.load(part)))
    return _loaded[0][1]


def forget_healthy() -> None:
    """Let go of the scan that was loaded last."""
    _loaded.clear()


def keep_changes(changes: Sequence[Change], part: Part, record: Record) -> None:
    """Keep what was rendered; where there is no room for it, it is rendered again."""
    if part.kept:
        path = part.kept / record.plan.sample
        try:
            path.write_bytes(pickle.dumps(changes, protocol=pickle.HIGHEST_PROTOCOL))
        except OSError:
            path.unlink(missing_ok=True)


def take_changes(part: Part, record: Record, healthy: Healthy) -> list[Change]:
    """What a sample changes, kept or rendered; what was kept goes."""
    path = part.kept / record.plan.sample if part.kept else None
    if path is None or not path.is_file():
        return healthy.changes(record)
    changes: list[Change] = pickle.loads(path.read_bytes())  # noqa: S301  # this run wrote it
    path.unlink()
    return changes


def _or_none(outside: NDArray[np.bool_] | None, hu: NDArray[Any]) -> NDArray[np.bool_]:
    return np.zeros(hu.shape, bool) if outside is None else outside
