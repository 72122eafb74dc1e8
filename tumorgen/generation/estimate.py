"""Estimate: how long a run will take and how much it will write, from one variant of each class really made."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean

from threadpoolctl import threadpool_limits

from ..errors import TumorgenError
from ..imaging import scratch_folder
from ..method import Plan, least_radius_mm, render_labelled, variant_class
from ..tables import Source
from .batches import Batch, batch_size, cut_samples
from .run import Run
from .space import free_bytes, nearest_folder, sample_sizes
from .synth import find_outstanding
from .worker import Prepared, prepare_for

DRAWN = 15  # plans of a class are drawn; the one whose volume of tumours is nearest the mean is made
REPEATS = 2  # the first also loads what later ones find loaded

Draw = Callable[[int], Plan]


@dataclass(frozen=True, slots=True)
class Class:
    """Samples of a class that are to be made, and what each takes on average: seconds of one core, bytes."""

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
        By size class; of a benchmark, by what is dialled.
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
        batch, prepared, draw, prepare_seconds = _first_usable(_middling_first(todo, sizes), scratch, run)
        scale_of = {case: size / max(1, sizes[batch.source.case]) for case, size in sizes.items()}
        classes = _classes(run, partial(_make, prepared, batch, draw), wanted, scale_of)
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


def _first_usable(sources: Sequence[Source], folder: Path, run: Run) -> tuple[Batch, Prepared, Draw, float]:
    """A batch of the first source that can be prepared, its scan, what draws a variant, and the seconds that took."""
    reasons = []
    for source in sources:
        dataset = replace(run.dataset, folder=folder)
        batch = Batch(source, dataset, run.settings.vessels, run.settings, run.seed, sampler=run.sampler)
        began = time.perf_counter()
        try:
            prepared = prepare_for(batch)
            draw = batch.sampler(prepared.scan, batch.settings, batch.seed)
            return batch, prepared, draw, time.perf_counter() - began
        except TumorgenError as error:
            reasons.append(str(error))
    raise TumorgenError(f"no scan can be used: {reasons[0]}")


def _class_of(run: Run, variant: int) -> str:
    """Size class of a variant; of a benchmark's, what is dialled."""
    return run.dials[variant].dimension if run.dials else variant_class(run.settings, variant)


def _classes(
    run: Run,
    make: Callable[[Sequence[int]], tuple[float, int]],
    wanted: Mapping[str, Sequence[int]],
    scale_of: Mapping[str, float],
) -> tuple[Class, ...]:
    """Each class of a run; `make` makes one of some variants, and `scale_of` says how large each scan is beside its."""
    known = range(len(run.dials) or DRAWN * len(run.settings.sizes))
    of_class: dict[str, list[int]] = {}
    for variant in known:
        of_class.setdefault(_class_of(run, variant), []).append(variant)
    scales: dict[str, list[float]] = {name: [] for name in of_class}
    for case, variants in wanted.items():
        for variant in variants:
            scales[_class_of(run, variant)].append(scale_of[case])
    classes = []
    for name, of_samples in scales.items():
        if of_samples:
            seconds, written = make(of_class[name])
            scale = mean(of_samples)
            classes.append(Class(name, len(of_samples), seconds * scale, written * scale))
    return tuple(classes)


def _draw_some(draw: Draw, variants: Sequence[int]) -> list[Plan]:
    """Plans of those variants that can be drawn; a liver may have no place for a benchmark's tumour."""
    plans, reasons = [], []
    for variant in variants:
        try:
            plans.append(draw(variant))
        except TumorgenError as error:
            reasons.append(error)
    if not plans:
        raise reasons[0]
    return plans


def _make(prepared: Prepared, batch: Batch, draw: Draw, variants: Sequence[int]) -> tuple[float, int]:
    """Seconds and bytes of that one of some variants whose volume of tumours is nearest their mean."""
    plans = _draw_some(draw, variants)
    volumes = [sum(tumor.radius_mm**3 for tumor in plan.tumors) for plan in plans]
    typical = min(zip(plans, volumes, strict=True), key=lambda found: abs(found[1] - mean(volumes)))[0]
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        plan = draw(typical.variant)
        prepared.write(*render_labelled(prepared.scan, plan), batch)
        seconds.append(time.perf_counter() - began)
    files = batch.dataset.image(typical.sample), batch.dataset.label(typical.sample)
    return min(seconds), sum(file.stat().st_size for file in files if batch.dataset.raw)
