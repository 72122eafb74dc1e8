"""What a worker process does: prepare a scan once, make samples of it, write their files."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from .. import __version__
from ..dataset import Dataset, versions
from ..errors import Failure, LeftOutError, TumorgenError
from ..imaging import PARTIAL, ChunkedVolume, Volume, fingerprint_ct, scratch_folder
from ..method import (
    Patch,
    Plan,
    Scan,
    Vessels,
    count_tumor_voxels,
    least_radius_mm,
    render,
    render_labelled,
    sample_name,
)
from ..parallel import Case, attempt
from ..tables import Files, Record, Source, stamps_of
from ..wording import typed
from .batches import Batch
from .memory import keep_memory, release_memory

SMALL_BYTES = 32 << 20  # of a CT that is held whole, since nothing is to be gained by letting go of some planes
REACH_MM = 25.0  # of tumours beyond the vessels that are looked for around the liver

T = TypeVar("T")
R = TypeVar("R")
Result = Record | Failure
Timed = tuple[Result, float]  # seconds

_at_work = threading.Lock()


def run_batch(batch: Batch) -> list[Timed]:
    """Do a batch in this process: prepare the scan once, then make each sample. What cannot be made is a `Failure`.

    A process does one batch at a time, whatever threads it has, so that it holds one scan, and its thread pools (BLAS,
    OpenMP) one thread.
    """
    case = batch.source.case
    with _at_work, threadpool_limits(1):
        prepared, seconds = _timed(Case(batch, case, batch.size, batch.about), _begin_batch)
        if isinstance(prepared, Failure):
            return [(prepared, seconds)]
        scan, draw = prepared

        def draw_and_write(variant: int) -> Record:
            plan, patch = render_labelled(scan.scan, draw(variant))
            _refuse_without_tumor(plan, batch)
            return scan.write(plan, patch, batch)

        def write(plan: Plan) -> Record:
            return scan.write(plan, render(scan.scan, plan), batch)

        variants = [
            Case(variant, f"{case} variant {variant}", about=(*batch.about, sample_name(case, variant)))
            for variant in batch.variants
        ]
        plans = [Case(plan, plan.sample, about=(*batch.about, plan.sample)) for plan in batch.plans]
        return [
            *(_timed(variant, draw_and_write) for variant in variants),
            *(_timed(plan, write) for plan in plans),
        ]


def _begin_batch(batch: Batch) -> tuple[Prepared, Callable[[int], Plan]]:
    """The batch's scan, prepared, and what draws a variant of it."""
    prepared = prepare_for(batch)
    refuse_changed(batch, prepared.scan)
    return prepared, batch.sampler(prepared.scan, batch.settings, batch.seed)


def _refuse_without_tumor(plan: Plan, batch: Batch) -> None:
    """A benchmark's sample is there for its tumour; one that is to have none has none that was left out."""
    dial = batch.dials.get(plan.sample)
    if dial and plan.tumors_without_voxel and not plan.tumors:
        least, thick = least_radius_mm(plan.spacing_mm), max(plan.spacing_mm)
        raise LeftOutError(
            f"{dial.dimension} {dial.level}: its tumour fills half of no voxel; voxels of {thick:g} mm hold tumours of"
            f" {least:g} mm radius and more"
        )


def _timed(case: Case[T], work: Callable[[T], R]) -> tuple[R | Failure, float]:
    """What becomes of a case, and the seconds that took."""
    began = time.monotonic()
    return attempt(work, case), time.monotonic() - began


def run_batch_elsewhere(batch: Batch) -> list[Timed]:
    """Do a batch on another machine; refuse to write where the process that keeps the manifest would not see it."""
    folder = batch.dataset.folder
    if not folder.is_dir():
        reason = f"{folder}: not seen by {platform.node()}; scans and dataset must lie where all machines see them"
        return [(Failure(batch.source.case, reason, batch.size), 0.0)]
    return run_batch(batch)


def refuse_changed(batch: Batch, scan: Scan) -> None:
    """Refuse a scan that is not the one to which its batch is pinned.

    Raises
    ------
    TumorgenError
        Its image or its mask is another one.
    """
    for what, recorded, found in (
        (batch.source.image, batch.image_sha256, scan.image_sha256),
        (batch.source.mask, batch.mask_sha256, scan.mask_sha256),
    ):
        if recorded not in (None, found):
            raise TumorgenError(
                f"{what}: has changed since the dataset was begun, or other labels of it are chosen, or another place"
                f" is trusted; put it back, or let `tumorgen remove {typed(batch.dataset.folder.absolute())}"
                f" --case {typed(batch.source.case)}` take out its samples, and run the same command again"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A scan ready for tumours, its fingerprint, and what all its samples share of their files, compressed once."""

    scan: Scan
    image: ChunkedVolume
    label: ChunkedVolume
    fingerprint: str

    def write(self, plan: Plan, patch: Patch, batch: Batch) -> Record:
        """Write image and label of a plan that was rendered; each file appears whole or not at all.

        A dataset that keeps no such files gets the same row, with the checksums that they would have.
        """
        dataset, source = batch.dataset, batch.source
        liver_labels, real_tumor_labels = source.labels.cells
        image_file, label_file = dataset.image(plan.sample), dataset.label(plan.sample)
        label_sha256, image_sha256 = self._write_files(patch, image_file, label_file, batch)
        files = Files(
            tumors_placed=len(plan.tumors),
            tumor_volume_mm3=round(count_tumor_voxels(self.scan, patch) * self.scan.geometry.voxel_volume_mm3, 3),
            source_image=str(source.image),
            source_mask=str(source.mask),
            image_file=image_file.relative_to(dataset.folder).as_posix(),
            label_file=label_file.relative_to(dataset.folder).as_posix(),
            image_sha256=image_sha256,
            label_sha256=label_sha256,
            tumorgen_version=__version__,
            numpy_version=np.__version__,
            scipy_version=versions()["scipy"],
            liver_labels=liver_labels,
            real_tumor_labels=real_tumor_labels,
            real_tumor_voxels=self.scan.real_tumor_voxels,
            trusted_form=source.trusted_form,
            patient=batch.patient,
            source_fingerprint=self.fingerprint,
        )
        return Record(plan, patch.outcomes, files, batch.dials.get(plan.sample))

    def _write_files(self, patch: Patch, image_file: Path, label_file: Path, batch: Batch) -> tuple[str, str]:
        """Write label and image, or work out what they would be; SHA-256 of both."""
        dataset = batch.dataset
        labels, images = patch.labels, patch.images
        if not dataset.raw:
            return self.label.digest(labels), self.image.digest(images)
        parents = not batch.folders_made
        with nullcontext() if parents else _partial_files(dataset) as partials:
            label_sha256 = self.label.write(label_file, labels, durable=False, parents=parents, partials=partials)
            image_sha256 = self.image.write(image_file, images, durable=False, parents=parents, partials=partials)
        return label_sha256, image_sha256


@contextmanager
def _partial_files(dataset: Dataset) -> Iterator[Path | None]:
    """A folder for the partial files of a sample, so that one is made for both; None where they go to two disks.

    Raises
    ------
    TumorgenError
        The dataset's folders have vanished, or cannot be written to.
    """
    try:
        disks = {folder.stat().st_dev for folder in (dataset.images, dataset.labels)}
    except OSError as error:
        raise TumorgenError(f"{dataset.folder}: has vanished") from error
    if len(disks) > 1:
        yield None
        return
    with scratch_folder(dataset.images, prefix=PARTIAL) as folder:
        yield folder


_kept: dict[tuple[Source, Vessels, str], Prepared] = {}  # at most one


def prepare_for(batch: Batch) -> Prepared:
    """The batch's scan, prepared. A process keeps the last one, so that small batches cost no second preparation.

    The scan before is let go first, so that two are never in memory together.

    Raises
    ------
    TumorgenError
        The scan cannot be used.
    """
    wanted = batch.source, batch.vessels, stamps_of(batch.source.image, batch.source.mask)
    if wanted not in _kept:
        _kept.clear()
        _kept[wanted] = _prepare_scan(batch.source, batch.vessels)
    return _kept[wanted]


def forget_scan() -> None:
    """Let go of the scan that was prepared last."""
    _kept.clear()


def _prepare_scan(source: Source, vessels: Vessels) -> Prepared:
    """Read and prepare a scan, and compress what all its samples share."""
    scan = source.load(vessels)
    fingerprint = fingerprint_ct(scan.image.array)
    source.refuse_other_scan(fingerprint)
    release_memory()
    keep_memory()  # from here on, when the large arrays of preparing are gone
    planes, large = _planes_at_hand(scan), scan.image.array.nbytes > SMALL_BYTES
    label = ChunkedVolume.from_volume(Volume(scan.label, scan.geometry))
    label = label.keep_planes(planes) if large else label
    scan = scan.with_voxels(scan.hu, label)
    image = ChunkedVolume.from_volume(scan.image)
    if large:
        image = image.keep_planes(slice(0, 0))
        scan = scan.with_voxels(image, label)  # and the whole CT is let go, before planes are made of the chunks
        image = image.keep_planes(planes)
    return Prepared(scan.with_voxels(image, label), image, label, fingerprint)


def _planes_at_hand(scan: Scan) -> slice:
    """Planes held as voxels: those around the liver that tumours reach, but for a few of the largest."""
    z = scan.roi[0]
    more = round(REACH_MM / scan.geometry.spacing_mm[0])
    return slice(max(0, z.start - more), min(scan.geometry.shape[0], z.stop + more))
