"""What a worker process does: a scan is made ready once, and each of its samples for the price of its tumours."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..checksums import sha256_of
from ..dataset import Dataset
from ..errors import Failure, TumorgenError
from ..generation import vessels_of
from ..imaging import Box, bounding_box, hull, scratch_folder, shape_of, sync_to_disk, whole_file
from ..method import Scan, render
from ..parallel import Case, attempt
from ..tables import Record, Source
from . import nnunet
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
from .changes import Change, changed_outside, keeps_outside, laid_over, margin_of, merge_blocks
from .chunks import ChunkedArray
from .draws import draw_intensities, draw_places
from .raw_files import RawFiles
from .resampling import Resampling

SCRATCH = ".tumorgen-"  # what the names of folders of partial files begin with
GROUND_TRUTH = "gt_segmentations"  # nnU-Net's folder of labels that predictions are scored with


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
class Traits:
    """What the fingerprint needs of a sample: its shape when it is cropped, and intensities of its foreground."""

    sample: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    relative_size: float
    intensities: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Done:
    """A sample that was preprocessed; whether it was done whole, having too little in common with its scan."""

    sample: str
    whole: bool


@dataclass(frozen=True, slots=True, eq=False)
class Healthy:
    """A healthy scan.

    Attributes
    ----------
    scan, hu, label
        The scan, its HU and its labels.
    outside
        Which of its voxels lie outside the body (`nnunet.find_outside`).
    raw
        What stands for the files of its samples, where the dataset keeps none.
    """

    scan: Scan
    hu: NDArray[Any]
    label: NDArray[np.uint8]
    outside: NDArray[np.bool_] | None
    raw: RawFiles | None

    @classmethod
    def load(cls, part: Part) -> Healthy:
        """Read and prepare the scan of a part."""
        scan = part.source.load(vessels_of(part.records[0].plan))
        hu = scan.image.array
        raw = None if part.dataset.raw else RawFiles.of(scan)
        return cls(scan, hu, scan.label, nnunet.find_outside(hu), raw)

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
        if keeps_outside(self.hu, self.outside, changes):
            return self.outside, []
        found = changed_outside(self.hu, self.outside, changes)
        if found is not None:
            return found, [margin_of(change, self.hu.shape) for change in changes]
        with self.holding(changes):
            found = nnunet.find_outside(self.hu)
        differing = _or_none(found, self.hu) != _or_none(self.outside, self.hu)
        return found, [bounding_box(differing), *(change.box for change in changes)]


_loaded: list[tuple[Any, Healthy]] = []  # at most one: a process that goes on with a scan does not load it again


def _load_healthy(part: Part) -> Healthy:
    """The scan of a part, loaded and prepared."""
    wanted = part.source, vessels_of(part.records[0].plan), part.dataset.raw
    if not _loaded or _loaded[0][0] != wanted:
        forget_scan()
        _loaded.append((wanted, Healthy.load(part)))
    return _loaded[0][1]


def find_traits(part: Part) -> list[Traits | Failure]:
    """What the fingerprint needs of each sample of a part."""
    with threadpool_limits(1):
        healthy = attempt(_load_healthy, Case(part, part.source.case, len(part.records), part.about))
        if isinstance(healthy, Failure):
            return [healthy]
        foreground = bounding_box(healthy.label > 0)
        work = partial(_find_traits, part=part, healthy=healthy, foreground=foreground)
        return [attempt(work, Case(record, record.plan.sample, about=part.about)) for record in part.records]


def _find_traits(record: Record, part: Part, healthy: Healthy, foreground: Box) -> Traits:
    changes = healthy.changes(record)
    _keep_changes(changes, part, record)
    outside, _ = healthy.outside_with(changes)
    box = foreground
    for change in changes:
        box = hull(box, change.box)
    with healthy.holding(changes):
        intensities = draw_intensities(healthy.hu[box], healthy.label[box], part.draws)
    shape = shape_of(find_crop(outside, healthy.hu.shape))
    spacing = _read_properties(record, part, healthy)["spacing"]
    relative = float(np.prod(shape) / np.prod(healthy.hu.shape))
    return Traits(record.plan.sample, shape, tuple(map(float, spacing)), relative, intensities)


def _keep_changes(changes: Sequence[Change], part: Part, record: Record) -> None:
    """Keep what was rendered; where there is no room for it, it is rendered again."""
    if part.kept:
        path = part.kept / record.plan.sample
        try:
            path.write_bytes(pickle.dumps(changes, protocol=pickle.HIGHEST_PROTOCOL))
        except OSError:
            path.unlink(missing_ok=True)


def _take_changes(part: Part, record: Record, healthy: Healthy) -> list[Change]:
    """What a sample changes, kept or rendered; what was kept goes."""
    path = part.kept / record.plan.sample if part.kept else None
    if path is None or not path.is_file():
        return healthy.changes(record)
    changes: list[Change] = pickle.loads(path.read_bytes())  # noqa: S301  # this run wrote it
    path.unlink()
    return changes


def preprocess_part(part: Part) -> list[Done | Failure]:
    """Preprocess the samples of a part; what cannot be done is a `Failure`."""
    blosc2.set_nthreads(1)
    with threadpool_limits(1):
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
            files = ChunkedArray.read(_image_file(target)), ChunkedArray.read(_label_file(target))
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
    healthy = _load_healthy(part)
    first = next(iter(part.configurations.values()))
    cropped = Cropped.of(healthy.hu, healthy.label, healthy.outside, first.transpose, first.normalize)
    spacing = tuple(_read_properties(record, part, healthy)["spacing"])
    resampled = {
        name: Resampled.of(found, cropped, spacing, part.folder) for name, found in part.configurations.items()
    }
    _kept.append((wanted, Ready(healthy, cropped, resampled, spacing)))
    return _kept[0][1]


def forget_scan() -> None:
    """Let go of the scan that was loaded last, and of what was made ready of it."""
    _kept.clear()
    _loaded.clear()


def _preprocess(record: Record, part: Part, ready: Ready) -> Done:
    """Preprocess one sample in the configurations in which it is wanted."""
    sample = record.plan.sample
    changes = _take_changes(part, record, ready.healthy)
    if ready.healthy.raw:
        ready.healthy.raw.write_label(record, changes, score_label(part.dataset, part.folder, sample))
    else:
        _refuse_changed(part.dataset, record)
        _copy_label(part.dataset, record, part.folder)
    properties = _read_properties(record, part, ready.healthy)
    cropped, values, labels = _lay(ready, changes)
    wanted = [ready.resampled[name] for name in part.wanted[sample]]
    kept = cropped is ready.cropped
    alike = [kept and resampled.ranges.hold(cropped.values, values) for resampled in wanted]
    with laid_over(cropped.labels, labels):
        for resampled, is_alike in zip(wanted, alike, strict=True):
            target = part.folder / resampled.configuration.identifier / sample
            about = {**properties, **_describe_crop(cropped, ready.healthy.hu.shape)}
            if is_alike:
                _write_changed(cropped, resampled, (values, labels), target, about)
            else:
                with laid_over(cropped.values, values):
                    _write_whole(cropped, resampled.configuration, ready.spacing_mm, target, about)
    return Done(sample, not all(alike))


def _read_properties(record: Record, part: Part, healthy: Healthy) -> dict[str, Any]:
    """What nnU-Net's reader says of a sample's geometry."""
    return healthy.raw.properties if healthy.raw else nnunet.read_properties(part.dataset.image(record.plan.sample))


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


def score_label(dataset: Dataset, folder: Path, sample: str) -> Path:
    """Where nnU-Net's validation looks for the label of a sample."""
    return folder / GROUND_TRUTH / dataset.label(sample).name


def is_of_row(label: tuple[Record, Path]) -> bool:
    """Whether a label's file is the one that the row of its sample says."""
    record, path = label
    return record.files is not None and sha256_of(path) == record.files.label_sha256


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


def _or_none(outside: NDArray[np.bool_] | None, hu: NDArray[Any]) -> NDArray[np.bool_]:
    return np.zeros(hu.shape, bool) if outside is None else outside


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
        for of in (_image_file, _label_file):  # read and written for the order of blocks: equal samples, equal files
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
    resampled.image_file.write(_image_file(target), values)
    resampled.label_file.write(_label_file(target), [(box, new.astype(np.int16)) for box, new in labels])
    with laid_over(resampled.labels, labels):
        about["class_locations"] = draw_places(resampled.labels, nnunet.FOREGROUND)
    with whole_file(properties_file(target), durable=False, parents=False) as partial_file:
        partial_file.write_bytes(pickle.dumps(about))


def _image_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.b2nd")


def _label_file(target: Path) -> Path:
    return target.with_name(f"{target.name}_seg.b2nd")


def properties_file(target: Path) -> Path:
    """The file of a case that is written last."""
    return target.with_name(f"{target.name}.pkl")


def case_files(target: Path) -> Iterator[Path]:
    """All files of a case."""
    yield from (_image_file(target), _label_file(target), properties_file(target))


def is_whole(target: Path) -> bool:
    """Whether all files of a case can be read to their ends."""
    try:
        image, label = (read_array(path) for path in (_image_file(target), _label_file(target)))
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
