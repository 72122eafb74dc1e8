"""A run of `synth`: begin or continue a dataset, do what is missing, finish it.

Also the steps that a run shares with `replay`: both end in a dataset with a manifest.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..dataset.durable import remove_torn, settle
from ..dataset.lock import LOCK, Hold, locked
from ..dataset.provenance import begin_provenance, finish_provenance, refuse_other_versions, versions
from ..dataset.raw import TEST, TRAINING, Dataset, write_description
from ..errors import Failure, TumorgenError
from ..imaging.files import whole_file
from ..method.plan import sample_name
from ..method.settings import Settings, dump_settings, load_settings, to_dict
from ..parallel import count_jobs
from ..tables.manifest import Dial, Record, in_order, recover_manifest, tumors_path, write_manifest
from ..tables.sources import Source
from .cluster import Cluster
from .log import Log, opened
from .pool import Sampler, Unit, done, ordinary, run, split_units
from .shards import Division, Shard, agree, clear, read_shards, unite
from .space import needed_bytes, refuse_without_room

PARTIAL = ".partial-"  # what `files.whole_file` begins the names of its folders with


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did.

    Attributes
    ----------
    dataset
        The dataset written to.
    records
        All samples that are in it now.
    made
        How many of them this run made.
    failures
        Scans and samples that could not be done.
    has_splits
        Whether splits_final.json could be written: that takes two scans.
    """

    dataset: Dataset
    records: tuple[Record, ...]
    made: int
    failures: tuple[Failure, ...]
    has_splits: bool


def synth(
    sources: Sequence[Source],
    dataset: Dataset,
    settings: Settings,
    *,
    seed: int = 0,
    per_scan: int = 20,
    val_per_scan: int = 2,
    jobs: int = -1,
    shard: Shard | None = None,
    cluster: Cluster | None = None,
    force: bool = False,
    copies: Path | None = None,
    sampler: Sampler = ordinary,
    dials: Sequence[Dial] = (),
    log_file: Path | None = None,
    start: Callable[[int], Callable[[int], None]] = lambda total: lambda step: None,  # noqa: ARG005
) -> Report:
    """Write `per_scan` variants of every scan into a dataset; what is there already is kept.

    Parameters
    ----------
    sources, dataset, settings, seed, per_scan
        What is made, and where.
    val_per_scan
        Variants of each held-out scan that nnU-Net validates on.
    jobs, cluster
        Number of processes of this machine; or where the work goes instead.
    shard
        The part to make; its rows go to the shard's own tables, for `merge`.
    force
        Begin even where the disk has not the room.
    copies
        Folder that gets copies of the manifest.
    sampler, dials
        How variants are drawn, and what is dialled in each, where it is a benchmark.
    log_file
        Gets a line per sample (`log`).
    start
        Called with the number of samples to make; returns what is called as they are done.

    Raises
    ------
    TumorgenError
        The folder holds another dataset or one of other settings or versions, another run writes to it, it cannot be
        written to, or its disk has not the room.
    """
    with locked(dataset.folder, str(shard or "")) as hold, opened(log_file) if log_file else nullcontext() as log:
        return _synth(
            sources,
            dataset,
            settings,
            seed=seed,
            per_scan=per_scan,
            val_per_scan=val_per_scan,
            jobs=jobs,
            shard=shard,
            cluster=cluster,
            force=force,
            copies=copies,
            sampler=sampler,
            dials=dials,
            log=log,
            hold=hold,
            start=start,
        )


def _synth(
    sources: Sequence[Source],
    dataset: Dataset,
    settings: Settings,
    *,
    seed: int,
    per_scan: int,
    val_per_scan: int,
    jobs: int,
    shard: Shard | None,
    cluster: Cluster | None,
    force: bool,
    copies: Path | None,
    sampler: Sampler,
    dials: Sequence[Dial],
    log: Log | None,
    hold: Hold,
    start: Callable[[int], Callable[[int], None]],
) -> Report:
    """As `synth`, of a folder that is locked."""
    if hold.interrupted:
        put_right(dataset)
    processes = cluster.workers if cluster else count_jobs(jobs)
    todo = outstanding(sources, dataset, settings, seed=seed, per_scan=per_scan, shard=shard)
    if not force:
        refuse_without_room(dataset.folder, needed_bytes(sources, todo.wanted))
    begin(dataset, settings)
    begin_provenance(dataset, settings, seed, per_scan, val_per_scan)
    if shard:
        agree(dataset, Division(shard.count, seed, per_scan, val_per_scan, tuple(s.case for s in sources)))
        journal = shard.manifest(dataset)
        mend(journal, done(recover_manifest(journal), dataset))
    else:
        journal = dataset.manifest
        mend(journal, todo.there)
    scans = [
        replace(
            _unit(source, dataset, settings, seed, todo.there),
            sampler=sampler,
            dials={sample_name(source.case, variant): dial for variant, dial in enumerate(dials)},
        )
        for source in sources
    ]
    units = split_units(scans, todo.wanted, processes)
    if log:
        log.add(status="begin", command=sys.argv, process=os.getpid(), seed=seed, versions=versions())
    outcomes = do(units, processes, start, hold, journal=journal, cluster=cluster, log=log)
    if shard:
        there = tuple(recover_manifest(journal))
        return Report(dataset, there, outcomes.made, outcomes.failures, has_splits=False)
    return describe(dataset, outcomes, val_per_scan, copies)


def put_right(dataset: Dataset) -> None:
    """After a run that did not come to its end: what is there is made durable, and what is torn is made again."""
    there = unite(recover_manifest(dataset.manifest), read_shards(dataset))
    torn = set(remove_torn(dataset, there))
    settle(dataset, (record.plan.sample for record in there if record.plan.sample not in torn))


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of units: how many samples were made, and what could not be done."""

    made: int = 0
    failures: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What a run finds: records of samples that are there, and the variants of each case that it wants."""

    there: tuple[Record, ...]
    wanted: Mapping[str, tuple[int, ...]]


def outstanding(
    sources: Sequence[Source],
    dataset: Dataset,
    settings: Settings,
    *,
    seed: int = 0,
    per_scan: int = 20,
    shard: Shard | None = None,
) -> Outstanding:
    """Look what an earlier run has left and what is to do; nothing is written.

    Raises
    ------
    TumorgenError
        As `look`; or two scans have one name.
    """
    _refuse_twins(sources)
    there = look(dataset, settings, seed)
    made = {(record.plan.case, record.plan.variant) for record in there}
    samples = [(source.case, variant) for source in sources for variant in range(per_scan)]
    wanted: dict[str, list[int]] = {source.case: [] for source in sources}
    for case, variant in shard.share(samples) if shard else samples:
        if (case, variant) not in made:
            wanted[case].append(variant)
    return Outstanding(tuple(there), {case: tuple(variants) for case, variants in wanted.items()})


def _unit(source: Source, dataset: Dataset, settings: Settings, seed: int, there: Sequence[Record]) -> Unit:
    """A scan's unit, pinned to what the scan was when its first samples were made."""
    known = next((record.plan for record in there if record.plan.case == source.case), None)
    return Unit(
        source,
        dataset,
        settings.vessels,
        settings,
        seed,
        image_sha256=known.source_image_sha256 if known else None,
        mask_sha256=known.source_mask_sha256 if known else None,
    )


def _refuse_twins(sources: Sequence[Source]) -> None:
    cases = [source.case for source in sources]
    for case in cases:
        if cases.count(case) > 1:
            raise TumorgenError(f"case {case!r} is there twice; rename one of the scans")


def look(dataset: Dataset, settings: Settings, seed: int) -> list[Record]:
    """Read what earlier runs and shards of the same settings have left in the folder; nothing is written.

    Raises
    ------
    TumorgenError
        It holds something else, or was begun with other settings or another seed.
    """
    found = [path.name for path in dataset.folder.iterdir()] if dataset.folder.is_dir() else []
    if any(replace(dataset, part=part).images.is_dir() for part in (TRAINING, TEST) if part != dataset.part):
        raise TumorgenError(
            f"{dataset.folder}: training cases and a test set do not go together; choose another --dataset-id"
        )
    if dataset.settings.exists():  # asked after the folder was listed, since other shards may be beginning
        _refuse_other_settings(load_settings(dataset.settings), settings, dataset)
        refuse_other_versions(dataset)
    elif any(not name.startswith((PARTIAL, LOCK)) for name in found):
        raise TumorgenError(f"{dataset.folder}: holds another dataset; choose another --dataset-id, --name or --output")
    records = done(unite(recover_manifest(dataset.manifest), read_shards(dataset)), dataset)
    for record in records:
        if record.plan.seed != seed:
            raise TumorgenError(
                f"{dataset.folder}: was begun with --seed {record.plan.seed}, not {seed}; continue with that seed,"
                " or choose another --dataset-id or --output"
            )
    return records


def begin(dataset: Dataset, settings: Settings) -> None:
    """Put the settings in force into the folder, which is there.

    Raises
    ------
    TumorgenError
        It cannot be written to.
    """
    with whole_file(dataset.settings, parents=False) as partial:
        partial.write_text(dump_settings(settings), encoding="utf-8")


def _refuse_other_settings(before: Settings, now: Settings, dataset: Dataset) -> None:
    old, new = _flat(to_dict(before)), _flat(to_dict(now))
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    if changed:
        key = changed[0]
        raise TumorgenError(
            f"{dataset.folder}: was begun with other settings ({key}: {old.get(key)}, now {new.get(key)});"
            " continue with those, or choose another --dataset-id, --name or --output"
        )


def _flat(nested: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in nested.items():
        flat.update(_flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value})
    return flat


def finish(
    dataset: Dataset,
    units: Sequence[Unit],
    jobs: int,
    start: Callable[[int], Callable[[int], None]],
    hold: Hold,
    val_per_scan: int,
    copies: Path | None,
) -> Report:
    """Do the units on this machine, then write what describes the dataset."""
    return describe(dataset, do(units, jobs, start, hold), val_per_scan, copies)


def mend(journal: Path, records: Sequence[Record]) -> None:
    """Write a table again, without rows that were cut off and rows of samples that are not there any more.

    Where no row is left, neither is a table: the next row decides its columns.

    Raises
    ------
    TumorgenError
        It cannot be written.
    """
    if records:
        write_manifest(records, journal)
        return
    try:
        for path in (journal, tumors_path(journal)):
            path.unlink(missing_ok=True)
    except OSError as error:
        raise TumorgenError(f"{journal}: cannot be written ({error.strerror})") from error


def do(
    units: Sequence[Unit],
    jobs: int,
    start: Callable[[int], Callable[[int], None]],
    hold: Hold,
    *,
    journal: Path | None = None,
    cluster: Cluster | None = None,
    log: Log | None = None,
) -> Outcomes:
    """Do the units (`generate.run`) and say what became of them; what they have written is on disk by then.

    Of a sample that is made its name alone is kept, so that memory does not grow with their number: its rows are in the
    journal.
    """
    progress = start(sum(unit.size for unit in units))
    if not units:
        hold.unfinished = False
        return Outcomes()
    dataset, backend = units[0].dataset, cluster.backend if cluster else None
    watch = {"watch": partial(log.sample, dataset)} if log else {}
    hold.unfinished = True
    made: list[str] = []
    failures: list[Failure] = []
    for result in run(units, jobs, progress, journal=journal, backend=backend, **watch):
        if isinstance(result, Failure):
            failures.append(result)
        else:
            made.append(result.plan.sample)
    settle(dataset, made)
    hold.unfinished = False
    return Outcomes(len(made), tuple(failures))


def describe(dataset: Dataset, outcomes: Outcomes, val_per_scan: int, copies: Path | None) -> Report:
    """Write what describes a dataset whose rows are all in its manifest: the manifest in order, dataset.json, splits.

    Then nothing that shards or killed processes left behind is needed any more.

    Raises
    ------
    TumorgenError
        It cannot be written, or the folder has vanished.
    """
    records = in_order(recover_manifest(dataset.manifest))
    has_splits = False
    if records:
        write_manifest(records, dataset.manifest)
        finish_provenance(dataset, records)
        has_splits = write_description(dataset, records, val_per_scan)
    if records and copies is not None:
        copy_manifest(dataset, copies)
    if not clear(dataset, records):
        sweep(dataset)
    if not dataset.folder.is_dir():
        raise TumorgenError(f"{dataset.folder}: has vanished during the run; nothing more is written")
    return Report(dataset, tuple(records), outcomes.made, outcomes.failures, has_splits)


def sweep(dataset: Dataset) -> None:
    """Remove the partial files of processes that were killed; none may be at work any more."""
    for folder in (dataset.folder, dataset.images, dataset.labels):
        for left in folder.glob(f"{PARTIAL}*"):
            shutil.rmtree(left, ignore_errors=True)


def copy_manifest(dataset: Dataset, folder: Path) -> None:
    """Put copies of both tables, named after the dataset, where users keep them under version control."""
    copy = folder / f"{dataset.folder.name}.csv"
    for source, target in ((tumors_path(dataset.manifest), tumors_path(copy)), (dataset.manifest, copy)):
        with whole_file(target) as partial:
            shutil.copyfile(source, partial)
