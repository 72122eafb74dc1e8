"""Estimate: how long preprocessing will take and how much it will write, from a few samples of a scan really made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low
from typing import TypeVar

import numpy as np

from ..dataset import Dataset
from ..errors import Failure, TumorgenError
from ..generation import free_bytes, group_records, nearest_folder
from ..imaging import scratch_folder
from ..parallel import count_jobs
from ..tables import Record, Source, find_sources, spread_samples
from . import nnunet
from .case_files import SCRATCH, case_files
from .fingerprint import FINGERPRINT, draws_of, fingerprint_of
from .healthy import Part
from .run import Preprocessing, find_missing, find_resamplings, read_dataset
from .state import State, describe_manifest
from .traits import Traits, find_traits
from .worker import Done, forget_scan, preprocess_part

MADE = 4  # samples, at most

P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class PreprocessEstimate:
    """What a run will take.

    Attributes
    ----------
    case
        The scan whose samples were made.
    configurations
        What will be preprocessed, by nnU-Net's names.
    samples, scans
        How many are not complete yet.
    planning_seconds
        Of one core: fingerprint and plans; 0 where they are there.
    scan_seconds, sample_seconds
        Of one core, on average: to make a scan ready, and for each of its samples, all configurations together.
    sample_bytes
        What each takes on disk.
    processes
        That share the work.
    free_bytes
        On the disk where it goes.
    """

    case: str
    configurations: tuple[str, ...]
    samples: int
    scans: int
    planning_seconds: float
    scan_seconds: float
    sample_seconds: float
    sample_bytes: float
    processes: int
    free_bytes: int

    @property
    def seconds(self) -> float:
        """All of it, on the wall."""
        made = max(self.scans, self.processes) * self.scan_seconds + self.samples * self.sample_seconds
        return self.planning_seconds + made / self.processes

    @property
    def bytes(self) -> float:
        """All of it."""
        return self.samples * self.sample_bytes


def estimate_preprocessing(run: Preprocessing) -> PreprocessEstimate:
    """Make a few samples of a middling scan in a folder that goes again, and reckon from that; nothing else is written.

    Raises
    ------
    UnplannedError, TumorgenError
        As `preprocess_dataset` does.
    """
    dataset, records = read_dataset(run.folder)
    folder = nnunet.find_plans_folder(dataset.folder.name)
    nnunet.refuse_unplanned(folder / f"{run.plans}.json", run.configurations)
    state = State.read(folder)
    chosen = _choose(records)
    source = find_sources(records, run.images, run.masks, run.reading)[chosen[0].plan.case]
    with scratch_folder(nearest_folder(folder.parent), prefix=SCRATCH) as scratch:
        plans, planning = _find_plans(run, dataset, records, source, chosen, folder, scratch)
        configurations = nnunet.read_configurations(plans, run.configurations)
        missing = find_missing(dataset, records, configurations, folder, state, describe_manifest(dataset))
        nnunet.refuse_other_resampling(find_resamplings(records, configurations, missing))
        made = Part(
            source,
            dataset,
            tuple(chosen),
            scratch,
            {record.plan.sample: tuple(c.name for c in configurations) for record in chosen},
            {configuration.name: configuration for configuration in configurations},
        )
        scan_s, sample_s, size = _make(made)
    scale = float(np.mean([_voxels(record) for record in records])) / _voxels(chosen[0])
    return PreprocessEstimate(
        source.case,
        tuple(configuration.name for configuration in configurations),
        len(missing),
        len({record.plan.case for record in records if record.plan.sample in missing}),
        planning if missing else 0.0,
        scan_s * scale,
        sample_s * scale,
        size * scale,
        count_jobs(run.jobs),
        free_bytes(folder),
    )


def _voxels(record: Record) -> int:
    return math.prod(record.plan.shape)


def _choose(records: Sequence[Record]) -> list[Record]:
    """A few samples, spread evenly, of a scan of about the median size."""
    groups = list(group_records(records).values())
    middle = median_low(_voxels(group[0]) for group in groups)
    group = next(group for group in groups if _voxels(group[0]) == middle)
    names = spread_samples([record.plan.sample for record in group], MADE)
    return [record for record in group if record.plan.sample in names]


def _find_plans(
    run: Preprocessing,
    dataset: Dataset,
    records: Sequence[Record],
    source: Source,
    chosen: Sequence[Record],
    folder: Path,
    scratch: Path,
) -> tuple[Path, float]:
    """Plans, and the seconds to make them; where there are none, those of the few samples and all others' headers."""
    plans = folder / f"{run.plans}.json"
    if plans.is_file():
        return plans, 0.0
    nnunet.refuse_unknown_plans(plans)
    part = Part(source, dataset, tuple(chosen), folder, {}, {}, draws_of(len(records)))
    found, looking = _timed(find_traits, part)
    traits = {trait.sample: trait for trait in _without_failures(found)}
    known = [traits.get(record.plan.sample) or _of_header(record) for record in records]
    fingerprint = scratch / FINGERPRINT
    fingerprint.write_text(nnunet.fingerprint_text(fingerprint_of(known)), encoding="utf-8")
    began = time.perf_counter()
    made = nnunet.plan(dataset.folder, run.plans, fingerprint, scratch / "plans", plans)
    looked_at = looking / len(chosen) * len(records) / count_jobs(run.jobs)
    return made, looked_at + time.perf_counter() - began


def _of_header(record: Record) -> Traits:
    """What a row alone says of a sample."""
    plan = record.plan
    return Traits(plan.sample, plan.shape, plan.spacing_mm, 1.0, np.empty(0, np.float32))


def _make(part: Part) -> tuple[float, float, float]:
    """Seconds to make the scan of a part ready, seconds for each of its samples, and bytes of each."""
    for configuration in part.configurations.values():
        (part.folder / configuration.identifier).mkdir()
    try:
        first, until_first = _timed(preprocess_part, replace(part, records=part.records[:1]))
        _without_failures(first)
        made, all_seconds = _timed(preprocess_part, part)
    finally:
        forget_scan()
    done: list[Done] = _without_failures(made)
    each = all_seconds / len(done)
    size = sum(
        path.stat().st_size
        for configuration in part.configurations.values()
        for result in done
        for path in case_files(part.folder / configuration.identifier / result.sample)
    )
    return max(0.0, until_first - each), each, size / len(done)


def _timed(work: Callable[[P], R], argument: P) -> tuple[R, float]:
    began = time.perf_counter()
    return work(argument), time.perf_counter() - began


def _without_failures(results: Sequence[R | Failure]) -> list[R]:
    """Results; the first failure among them is raised."""
    for result in results:
        if isinstance(result, Failure):
            raise TumorgenError(f"{result.name}: {result.reason}")
    return [result for result in results if not isinstance(result, Failure)]
