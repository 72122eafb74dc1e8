"""Estimate: how long a run will take and how much it will write, from one variant of each class really made."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from threadpoolctl import threadpool_limits

from ..errors import TumorgenError
from ..imaging import scratch_folder
from ..method import draw_variant, least_radius_mm, render_labelled, variant_class
from ..tables import Source
from .batches import Batch, batch_size, cut_samples
from .run import Run
from .space import free_bytes, nearest_folder, sample_sizes
from .synth import find_outstanding
from .worker import Prepared, prepare_for

DRAWN = 15  # plans of a class are drawn; the one whose volume of tumours is nearest the mean is made
REPEATS = 2  # the first also loads what later ones find loaded


@dataclass(frozen=True, slots=True)
class Class:
    """Samples of a size class that are to be made, and what each takes on average: seconds of one core, bytes."""

    name: str
    samples: int
    seconds: float
    bytes: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take.

    Attributes
    ----------
    case
        The scan it was measured on.
    classes
        By size class.
    preparations
        How often a scan will be prepared.
    prepare_seconds
        What each preparation takes of one core.
    processes
        Number of processes.
    free_bytes
        Bytes free where the dataset is, or will be.
    slice_mm, least_radius_mm
        The scan's longest edge of a voxel, and about the smallest radius of a tumour that it can label.
    """

    case: str
    classes: tuple[Class, ...]
    preparations: int
    prepare_seconds: float
    processes: int
    free_bytes: int
    slice_mm: float = 0.0
    least_radius_mm: float = 0.0

    @property
    def samples(self) -> int:
        """Samples to be made."""
        return sum(each.samples for each in self.classes)

    @property
    def bytes(self) -> float:
        """Bytes to be written."""
        return sum(each.samples * each.bytes for each in self.classes)

    @property
    def seconds(self) -> float:
        """Seconds from start to end, if nothing else is done meanwhile."""
        work = sum(each.samples * each.seconds for each in self.classes)
        return (work + self.preparations * self.prepare_seconds) / self.processes


def estimate_run(run: Run) -> Estimate:
    """Make one variant of each class of a scan of middling size, in a temporary folder; nothing else is written.

    What a sample of another scan takes is scaled with the size of the scan's files, deflated.

    Raises
    ------
    TumorgenError
        The folder holds another dataset, or one of other settings, versions or another seed; two scans have one name;
        no scan can be used; or nothing can be written where the dataset goes.
    """
    processes, folder = run.processes(), run.dataset.folder
    wanted = find_outstanding(run).wanted
    todo = [source for source in run.sources if wanted[source.case]]
    if not todo:
        return Estimate("", (), 0, 0.0, processes, free_bytes(folder))
    sizes = sample_sizes(todo)
    with (
        threadpool_limits(1),
        scratch_folder(nearest_folder(folder.parent), prefix=".estimate-") as scratch,
    ):
        batch, prepared, prepare_seconds = _first_usable(_middling_first(todo, sizes), scratch, run)
        classes = _classes(prepared, batch, wanted, sizes)
    counts = [len(wanted[source.case]) for source in todo]
    size = batch_size(counts, processes)
    preparations = sum(min(processes, len(cut_samples(range(count), size))) for count in counts)
    scale = mean(sizes.values()) / max(1, sizes[batch.source.case])
    spacing_mm = prepared.scan.geometry.spacing_mm
    return Estimate(
        batch.source.case,
        classes,
        preparations,
        prepare_seconds * scale,
        processes,
        free_bytes(folder),
        max(spacing_mm),
        least_radius_mm(spacing_mm),
    )


def _middling_first(sources: Sequence[Source], sizes: Mapping[str, int]) -> list[Source]:
    """Sources, those of about the median size first."""
    ordered = sorted(sources, key=lambda source: sizes[source.case])
    median = sizes[ordered[len(ordered) // 2].case]
    return sorted(ordered, key=lambda source: abs(sizes[source.case] - median))


def _first_usable(sources: Sequence[Source], folder: Path, run: Run) -> tuple[Batch, Prepared, float]:
    """A batch of the first source that can be prepared, its scan, and the seconds that took."""
    reasons = []
    for source in sources:
        batch = Batch(source, replace(run.dataset, folder=folder), run.settings.vessels, run.settings, run.seed)
        began = time.perf_counter()
        try:
            prepared = prepare_for(batch)
            batch.sampler(prepared.scan, batch.settings, batch.seed)
            return batch, prepared, time.perf_counter() - began
        except TumorgenError as error:
            reasons.append(str(error))
    raise TumorgenError(f"no scan can be used: {reasons[0]}")


def _classes(
    prepared: Prepared, batch: Batch, wanted: Mapping[str, Sequence[int]], sizes: Mapping[str, int]
) -> tuple[Class, ...]:
    """Each class of the settings, one variant of it made."""
    scales: dict[str, list[float]] = {name: [] for name in batch.settings.sizes}
    for case, variants in wanted.items():
        for variant in variants:
            scales[variant_class(batch.settings, variant)].append(sizes[case] / max(1, sizes[batch.source.case]))
    classes = []
    for number, (name, of_samples) in enumerate(scales.items()):
        if of_samples:
            seconds, written = _make(prepared, batch, number)
            scale = mean(of_samples)
            classes.append(Class(name, len(of_samples), seconds * scale, written * scale))
    return tuple(classes)


def _make(prepared: Prepared, batch: Batch, first: int) -> tuple[float, int]:
    """Seconds and bytes of a variant of the class of the first variant."""
    step = len(batch.settings.sizes)
    plans = [draw_variant(prepared.scan, batch.settings, batch.seed, first + step * turn) for turn in range(DRAWN)]
    volumes = [sum(tumor.radius_mm**3 for tumor in plan.tumors) for plan in plans]
    typical = min(zip(plans, volumes, strict=True), key=lambda found: abs(found[1] - mean(volumes)))[0]
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        plan = draw_variant(prepared.scan, batch.settings, batch.seed, typical.variant)
        prepared.write(*render_labelled(prepared.scan, plan), batch)
        seconds.append(time.perf_counter() - began)
    files = batch.dataset.image(typical.sample), batch.dataset.label(typical.sample)
    return min(seconds), sum(file.stat().st_size for file in files if batch.dataset.raw)
