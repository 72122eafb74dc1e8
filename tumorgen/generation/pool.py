"""Generation: scans times variants, fanned out over CPU cores, into one dataset with one manifest.

Workers render and write samples; the parent alone writes the manifest. A sample counts as done when its row is on disk,
so the same command again does only what is missing.
"""

from __future__ import annotations

import errno
import os
import platform
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import scipy
from threadpoolctl import threadpool_limits

from .. import __version__
from ..dataset.raw import Dataset
from ..errors import Failure, TumorgenError
from ..imaging.geometry import Volume
from ..imaging.patched_gzip import ChunkedVolume
from ..method.plan import Plan, sample_name
from ..method.rendering import render
from ..method.sampling import draw_variant
from ..method.scan import Scan, load_scan
from ..method.settings import Settings, Vessels
from ..tables.manifest import Dial, Files, Record, append_manifest
from ..tables.sources import Source
from .batches import cut, unit_size
from .memory import give_back, keep_memory

ORPHAN_S = 0.2  # how often a worker looks whether the run that it works for is still there
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE}  # what the next sample would meet as well
LARGEST_UNIT = 16  # samples of a replay; a run's units are as large as `units` finds best
REACH_MM = 25.0  # of tumours beyond the vessels that are looked for around the liver


# Scan, settings and seed -> what draws a variant; so that what is measured in a scan for it is measured once.
Sampler = Callable[[Scan, Settings, int], Callable[[int], Plan]]


def ordinary(scan: Scan, settings: Settings, seed: int) -> Callable[[int], Plan]:
    """How `synth` draws variants of a scan."""
    return partial(draw_variant, scan, settings, seed)


@dataclass(frozen=True, slots=True)
class Unit:
    """Samples of one scan for one process: variants to draw, or plans that are there already.

    Where `image_sha256` is given, the scan must still be that one: samples of it are in the dataset already. `dials`
    says what is dialled in a benchmark's samples, by their names.
    """

    source: Source
    dataset: Dataset
    vessels: Vessels
    settings: Settings = field(default_factory=Settings)
    seed: int = 0
    variants: tuple[int, ...] = ()
    plans: tuple[Plan, ...] = ()
    image_sha256: str | None = None
    mask_sha256: str | None = None
    sampler: Sampler = ordinary
    dials: Mapping[str, Dial] = field(default_factory=dict)
    parent: int | None = None  # the process that waits for it

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.variants) + len(self.plans)


Result = Record | Failure
States = tuple[tuple[int, int], ...]
_at_work = threading.Lock()
_latest: list[tuple[Source, Vessels, States]] = []  # what `prepare_once` holds


def split_units(units: Iterable[Unit], wanted: Mapping[str, Sequence[int]], jobs: int) -> list[Unit]:
    """One unit a scan becomes units of wanted variants: whole scans where there are many, parts where there are few."""
    units = list(units)
    size = unit_size([len(wanted[unit.source.case]) for unit in units], jobs)
    return [replace(unit, variants=part) for unit in units for part in cut(wanted[unit.source.case], size)]


def run(
    units: Sequence[Unit],
    jobs: int,
    progress: Callable[[int], None],
    *,
    journal: Path | None = None,
    backend: Any = None,
    watch: Callable[[Result, float], None] = lambda result, seconds: None,  # noqa: ARG005
) -> Iterator[Result]:
    """Do units over processes and yield what became of each sample, its row on disk.

    Parameters
    ----------
    units
        The work, all of it of one dataset.
    jobs
        Number of processes of this machine.
    progress
        Called with the number of samples that were done since the last call.
    journal
        The table that gets the rows; by default the dataset's manifest.
    backend
        joblib's backend, where the work goes elsewhere (`tumorgen.generation.cluster`).
    watch
        Called with what became of each sample and the seconds it took.

    Raises
    ------
    TumorgenError
        The manifest cannot be written, the disk is full, the folder has vanished, or a process was killed.
    """
    if not units:
        return
    parallel = _parallel(units, jobs, backend)
    journal = journal or units[0].dataset.manifest
    # Worker processes may have another working directory: joblib keeps them between calls.
    units = [replace(unit, dataset=replace(unit.dataset, folder=unit.dataset.folder.absolute())) for unit in units]
    work = joblib.delayed(run_unit if backend is None else run_elsewhere)
    folder = _folders(units[0].dataset)
    try:
        with _interrupted_later():  # the workers begin here
            everything = parallel(work(replace(unit, parent=os.getpid())) for unit in units)
        for results in everything:
            for result, seconds in results:
                _refuse_vanished(units[0].dataset, folder)
                if isinstance(result, Record):
                    append_manifest(result, journal)
                progress(1 if isinstance(result, Record) else result.samples)
                watch(result, seconds)
                if isinstance(result, Failure) and result.ends_run:
                    raise TumorgenError(f"{result.reason}; what is finished stays: the same command does the rest")
                yield result
    except joblib.externals.loky.process_executor.TerminatedWorkerError as error:
        raise TumorgenError(
            "a worker process was killed, probably for want of memory; what is finished stays: run the same command"
            " again with fewer --jobs"
        ) from error
    finally:
        prepare_once.cache_clear()  # of this process, where it was the worker


def _folders(dataset: Dataset) -> os.stat_result:
    """Make the folders of a dataset's files; workers make none, so that a dataset that vanishes stays away."""
    try:
        for folder in (dataset.images, dataset.labels):
            folder.mkdir(exist_ok=True)
        return dataset.folder.stat()
    except OSError as error:
        raise TumorgenError(f"{dataset.folder}: cannot be written ({error.strerror})") from error


def _refuse_vanished(dataset: Dataset, before: os.stat_result) -> None:
    try:
        if os.path.samestat(dataset.folder.stat(), before):
            return
    except OSError:
        pass
    raise TumorgenError(f"{dataset.folder}: has vanished or was replaced during the run; nothing more is written")


def _parallel(units: Sequence[Unit], jobs: int, backend: Any) -> Any:
    """The call of units by joblib; processes of this machine do not outlive this one."""
    jobs = min(jobs, len(units))
    elsewhere = backend is not None
    ours: dict[str, Any] = {"backend": "loky", "initializer": _end_with, "initargs": (os.getpid(),)}
    return joblib.Parallel(
        n_jobs=jobs,
        return_as="generator_unordered",
        pre_dispatch="all" if elsewhere else "2*n_jobs",  # a cluster may grow
        batch_size=1,  # a unit is a batch
        **({"backend": backend} if elsewhere else ours if jobs > 1 else {}),
    )


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Hold Ctrl-C back; processes begun meanwhile never hear it: it goes to all, and the run ends them itself."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let it through again, were it begun in the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with(parent: int) -> None:
    """Have this worker end when the run that it works for has ended, by whatever: nobody would record what it makes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_S)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True, name="orphan").start()


Timed = tuple[Result, float]  # seconds


def run_unit(unit: Unit) -> list[Timed]:
    """Do one unit in this process: prepare the scan once, then each sample. No error escapes; each is a `Failure`.

    A process does one unit at a time, whatever threads it has, so that it holds one scan, and its thread pools (BLAS,
    OpenMP) one thread.
    """
    with _at_work, threadpool_limits(1):
        began = time.monotonic()
        try:
            prepared = prepare_for(unit)
            _check_same(unit, prepared.scan)
            draw = unit.sampler(prepared.scan, unit.settings, unit.seed)
        except Exception as error:  # whatever a hostile file provokes, it must not cost another scan its samples
            return [(_failure(unit, unit.source.case, error, unit.size), time.monotonic() - began)]
        attempts = [partial(_attempt_variant, prepared, unit, draw, variant) for variant in unit.variants]
        attempts += [partial(_attempt_plan, prepared, unit, plan) for plan in unit.plans]
        return [_timed(attempt) for attempt in attempts]


def _timed(attempt: Callable[[], Result]) -> Timed:
    began = time.monotonic()
    return attempt(), time.monotonic() - began


def run_elsewhere(unit: Unit) -> list[Timed]:
    """As `run_unit`, on another machine: refuse to write where the process that keeps the manifest would not see it."""
    folder = unit.dataset.folder
    if not folder.is_dir():
        reason = f"{folder}: not seen by {platform.node()}; scans and dataset must lie where all machines see them"
        return [(Failure(unit.source.case, reason, unit.size), 0.0)]
    return run_unit(unit)


def _attempt_variant(prepared: Prepared, unit: Unit, draw: Callable[[int], Plan], variant: int) -> Result:
    try:
        return prepared.write(draw(variant), unit)
    except Exception as error:  # as above, for the other samples of the scan
        return _failure(unit, f"{unit.source.case} variant {variant}", error, 1, sample_name(unit.source.case, variant))


def _attempt_plan(prepared: Prepared, unit: Unit, plan: Plan) -> Result:
    try:
        return prepared.write(plan, unit)
    except Exception as error:  # as above
        return _failure(unit, plan.sample, error, 1, plan.sample)


def _failure(unit: Unit, name: str, error: Exception, samples: int, *own: str) -> Failure:
    known = isinstance(error, TumorgenError)
    reason = str(error) if known else f"{type(error).__name__}: {error}"
    full = any(isinstance(e, OSError) and e.errno in FULL for e in (error, error.__cause__))
    details = "" if known else traceback.format_exc()
    about = (str(unit.source.image), str(unit.source.mask), *own)
    return Failure(name, " ".join(reason.split()), samples, details, ends_run=full, about=about)


def _check_same(unit: Unit, scan: Scan) -> None:
    for what, recorded, found in (
        (unit.source.image, unit.image_sha256, scan.image_sha256),
        (unit.source.mask, unit.mask_sha256, scan.mask_sha256),
    ):
        if recorded not in (None, found):
            raise TumorgenError(f"{what}: has changed since the dataset was begun; put it back, or begin a new dataset")


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A scan ready for tumours, and what all its samples share of their files, compressed once."""

    scan: Scan
    image: ChunkedVolume
    label: ChunkedVolume

    def write(self, plan: Plan, unit: Unit) -> Record:
        """Render a plan and write image and label; each file appears whole or not at all."""
        patch = render(self.scan, plan)
        dataset, source = unit.dataset, unit.source
        ours = unit.parent is None  # to make folders
        if not ours and not (dataset.images.is_dir() and dataset.labels.is_dir()):
            raise TumorgenError(f"{dataset.folder}: has vanished")
        image_file, label_file = dataset.image(plan.sample), dataset.label(plan.sample)
        labels = [(block.box, block.label) for block in patch.blocks]
        images = [(block.box, block.image) for block in patch.blocks]
        label_sha256 = self.label.write(label_file, labels, durable=False, parents=ours)
        image_sha256 = self.image.write(image_file, images, durable=False, parents=ours)
        files = Files(
            tumors_placed=len(plan.tumors),
            tumor_volume_mm3=round(sum(outcome.volume_mm3 for outcome in patch.outcomes), 3),
            source_image=str(source.image),
            source_mask=str(source.mask),
            image_file=image_file.relative_to(dataset.folder).as_posix(),
            label_file=label_file.relative_to(dataset.folder).as_posix(),
            image_sha256=image_sha256,
            label_sha256=label_sha256,
            tumorgen_version=__version__,
            numpy_version=np.__version__,
            scipy_version=scipy.__version__,
        )
        return Record(plan, patch.outcomes, files, unit.dials.get(plan.sample))


def prepare_for(unit: Unit) -> Prepared:
    """The unit's scan, prepared; the one before is let go first, so that two are never in memory together.

    Raises
    ------
    TumorgenError
        The scan cannot be used.
    """
    wanted = unit.source, unit.vessels, _states(unit.source)
    if _latest != [wanted]:
        prepare_once.cache_clear()
        _latest[:] = [wanted]
    return prepare_once(*wanted)


@lru_cache(maxsize=1)
def prepare_once(source: Source, vessels: Vessels, states: States) -> Prepared:  # noqa: ARG001
    """Read and prepare a scan; a process keeps the last one, so that small units cost no second preparation.

    `states` tells apart what the same files hold at different times.

    Raises
    ------
    TumorgenError
        The scan cannot be used.
    """
    scan = load_scan(source.image, source.mask, vessels, source.case)
    give_back()
    keep_memory()  # from here on, when the large arrays of preparing are gone
    planes = _planes_at_hand(scan)
    label = ChunkedVolume.from_volume(Volume(scan.liver, scan.geometry)).keep_planes(planes)
    scan = replace(scan, inside=label)
    image = ChunkedVolume.from_volume(scan.image).keep_planes(slice(0, 0))
    scan = replace(scan, hu=image)  # and with it the whole CT is let go, before planes are made of the chunks
    image = image.keep_planes(planes)
    return Prepared(replace(scan, hu=image), image, label)


def _planes_at_hand(scan: Scan) -> slice:
    """Planes held as voxels: those around the liver that tumours reach, but for a few of the largest."""
    z = scan.roi[0]
    more = round(REACH_MM / scan.geometry.spacing_mm[0])
    return slice(max(0, z.start - more), min(scan.geometry.shape[0], z.stop + more))


def _states(source: Source) -> States:
    """Size and time of change of a scan's files; of a file that is not there, nothing: reading it says so."""
    try:
        found = [path.stat() for path in (source.image, source.mask) if path.exists()]
    except OSError:  # no permission, a name too long
        return ()
    return tuple((state.st_size, state.st_mtime_ns) for state in found)
