"""What a worker process does: a scan is made ready once, and each of its samples for the price of its tumours."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from ..checksums import sha256_of
from ..dataset import Dataset
from ..errors import Failure, TumorgenError
from ..generation import vessels_of
from ..imaging import scratch_folder, whole_file
from ..parallel import Case, attempt
from ..tables import Record
from . import nnunet
from .case_files import SCRATCH, image_file, is_of_row, label_file, properties_file, score_label
from .cases import (
    Cropped,
    Labels,
    Laid,
    Ranges,
    Values,
    changed_labels,
    changed_values,
    find_crop,
    resample_all_labels,
)
from .changes import Change, laid_over
from .chunks import ChunkedArray
from .draws import draw_places
from .healthy import Healthy, Part, forget_healthy, load_healthy, take_changes
from .resampling import Resampling

_ONE_THREAD = {"BLOSC_NTHREADS": "1"}  # nnU-Net's writer asks for four, and Blosc2 starts them anew for each chunk


@dataclass(frozen=True, slots=True)
class Done:
    """A sample that was preprocessed; whether it was done whole, having too little in common with its scan."""

    sample: str
    whole: bool


def preprocess_part(part: Part) -> list[Done | Failure]:
    """Preprocess the samples of a part; what cannot be done is a `Failure`."""
    with threadpool_limits(1), nnunet.environment(_ONE_THREAD):
        ready = attempt(_make_ready, Case(part, part.source.case, len(part.records), part.about))
        if isinstance(ready, Failure):
            return [ready]
        work = partial(_preprocess, part=part, ready=ready)
        return [attempt(work, Case(record, record.plan.sample, about=part.about)) for record in part.records]


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """The healthy scan in one configuration.

    Attributes
    ----------
    configuration, resampling
        The configuration, and how the scan is resampled in it.
    ranges
        What nnU-Net holds the resampled image within.
    values, labels
        Image and labels, resampled; the image is not yet held within its ranges.
    image_file, label_file
        Its files, compressed.
    """

    configuration: nnunet.Configuration
    resampling: Resampling
    ranges: Ranges
    values: Values
    labels: Labels
    image_file: ChunkedArray
    label_file: ChunkedArray

    @classmethod
    def of(
        cls, configuration: nnunet.Configuration, cropped: Cropped, spacing_mm: Sequence[float], folder: Path
    ) -> Resampled:
        """Resample a scan and compress it in a folder for partial files."""
        resampling = configuration.resampling(cropped.shape, spacing_mm)
        ranges = Ranges.of(cropped.values, resampling.apart)
        labels, values = resample_all_labels(cropped, resampling), resampling.resample(cropped.values)
        with scratch_folder(folder, prefix=SCRATCH) as scratch:
            target = scratch / "healthy"
            clipped = resampling.clip(values, ranges.limits)
            nnunet.save_whole(clipped, labels, {}, target, configuration.patch)
            files = ChunkedArray.read(image_file(target)), ChunkedArray.read(label_file(target))
        return cls(configuration, resampling, ranges, values, labels, *files)


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A scan, cropped and normalised, and resampled in each configuration."""

    healthy: Healthy
    cropped: Cropped
    resampled: Mapping[str, Resampled]
    spacing_mm: tuple[float, ...]


_kept: list[tuple[Any, Ready]] = []  # at most one, of the scan that is loaded


def _make_ready(part: Part) -> Ready:
    record = part.records[0]
    wanted = part.source, vessels_of(record.plan), part.dataset, dict(part.configurations), part.folder
    for made_of, ready in _kept:
        if made_of == wanted:
            return ready
    _kept.clear()
    healthy = load_healthy(part)
    first = next(iter(part.configurations.values()))
    cropped = Cropped.of(healthy.hu, healthy.label, healthy.outside, first.transpose, first.normalize)
    spacing = tuple(healthy.properties["spacing"])
    resampled = {
        name: Resampled.of(found, cropped, spacing, part.folder) for name, found in part.configurations.items()
    }
    _kept.append((wanted, Ready(healthy, cropped, resampled, spacing)))
    return _kept[0][1]


def forget_scan() -> None:
    """Let go of the scan that was loaded last, and of what was made ready of it."""
    _kept.clear()
    forget_healthy()


def _preprocess(record: Record, part: Part, ready: Ready) -> Done:
    """Preprocess one sample in the configurations in which it is wanted."""
    sample = record.plan.sample
    changes = take_changes(part, record, ready.healthy)
    if ready.healthy.raw:
        ready.healthy.raw.write_label(record, changes, score_label(part.dataset, part.folder, sample))
    else:
        _refuse_changed(part.dataset, record)
        _copy_label(part.dataset, record, part.folder)
    cropped, values, labels = _lay(ready, changes)
    wanted = [ready.resampled[name] for name in part.wanted[sample]]
    kept = cropped is ready.cropped
    alike = [kept and resampled.ranges.hold(cropped.values, values) for resampled in wanted]
    with laid_over(cropped.labels, labels):
        for resampled, is_alike in zip(wanted, alike, strict=True):
            target = part.folder / resampled.configuration.identifier / sample
            about = {**ready.healthy.properties, **_describe_crop(cropped, ready.healthy.hu.shape)}
            if is_alike:
                _write_changed(cropped, resampled, (values, labels), target, about)
            else:
                with laid_over(cropped.values, values):
                    _write_whole(cropped, resampled.configuration, ready.spacing_mm, target, about)
    return Done(sample, not all(alike))


def _refuse_changed(dataset: Dataset, record: Record) -> None:
    """A sample is what its row says, and what is made from its row is the sample."""
    files = record.files
    for path, sha256 in (
        (dataset.image(record.plan.sample), files.image_sha256 if files else ""),
        (dataset.label(record.plan.sample), files.label_sha256 if files else ""),
    ):
        try:
            found = sha256_of(path)
        except OSError as error:
            raise TumorgenError(
                f"{path}: cannot be read ({error.strerror or error}); run the dataset's command again"
            ) from error
        if found != sha256:
            raise TumorgenError(f"{path}: is not what its row in the manifest says: the file was changed")


def _copy_label(dataset: Dataset, record: Record, folder: Path) -> None:
    """Copy a sample's label to where nnU-Net's validation looks for it, unless that was done."""
    copy = score_label(dataset, folder, record.plan.sample)
    if not (copy.is_file() and is_of_row((record, copy))):
        with whole_file(copy, durable=False) as partial_file:
            shutil.copyfile(dataset.label(record.plan.sample), partial_file)


def _lay(ready: Ready, changes: Sequence[Change]) -> tuple[Cropped, list[Laid], list[Laid]]:
    """What changes lay over the cropped scan; where they alter the crop, another one with nothing laid over it."""
    healthy, cropped = ready.healthy, ready.cropped
    outside, boxes = healthy.outside_with(changes)
    if not boxes:
        return cropped, cropped.lay_values(changes), cropped.lay_labels(changes, cropped.outside)
    with healthy.holding(changes):
        hu, label = healthy.hu, healthy.label
        if find_crop(outside, hu.shape, cropped.transpose) != cropped.crop:
            return Cropped.of(hu, label, outside, cropped.transpose, cropped.normalize), [], []
        # What lies outside is no data, where it is background: labels change beside the changes, too.
        relabelled = [Change(box, hu[box], label[box]) for box in boxes]
        return cropped, cropped.lay_values(changes), cropped.lay_labels(relabelled, cropped.crop_outside(outside))


def _describe_crop(cropped: Cropped, shape: Sequence[int]) -> dict[str, Any]:
    """What nnU-Net keeps of how a case was cropped."""
    return {
        "shape_before_cropping": tuple(shape[axis] for axis in cropped.transpose),
        "bbox_used_for_cropping": [[s.start, s.stop] for s in cropped.crop],
        "shape_after_cropping_and_before_resampling": cropped.shape,
    }


def _write_whole(
    cropped: Cropped,
    configuration: nnunet.Configuration,
    spacing_mm: Sequence[float],
    target: Path,
    about: dict[str, Any],
) -> None:
    """Resample and compress a sample that has too little in common with its scan."""
    resampling = configuration.resampling(cropped.shape, spacing_mm)
    ranges = Ranges.of(cropped.values, resampling.apart)
    labels = resample_all_labels(cropped, resampling)
    values = resampling.resample(cropped.values, ranges.limits)
    about["class_locations"] = draw_places(labels, nnunet.FOREGROUND)
    with scratch_folder(target.parent, prefix=SCRATCH) as scratch:
        nnunet.save_whole(values, labels, about, scratch / target.name, configuration.patch)
        for of in (image_file, label_file):  # read and written for the order of blocks: equal samples, equal files
            ChunkedArray.read(of(scratch / target.name)).write(of(target), [])
        properties_file(scratch / target.name).replace(properties_file(target))


def _write_changed(
    cropped: Cropped,
    resampled: Resampled,
    laid: tuple[Sequence[Laid], Sequence[Laid]],
    target: Path,
    about: dict[str, Any],
) -> None:
    """Write a sample as the healthy case with what changes; its properties last, which say that it is there."""
    healthy = cropped.values, resampled.values
    cells = resampled.image_file.cells
    values = changed_values(healthy, laid[0], resampled.resampling, resampled.ranges, cells)
    labels = changed_labels(cropped.labels, laid[1], resampled.resampling)
    resampled.image_file.write(image_file(target), values)
    resampled.label_file.write(label_file(target), resampled.label_file.lay(resampled.labels, labels))
    with laid_over(resampled.labels, labels):
        about["class_locations"] = draw_places(resampled.labels, nnunet.FOREGROUND)
    with whole_file(properties_file(target), durable=False, parents=False) as partial_file:
        partial_file.write_bytes(pickle.dumps(about))
