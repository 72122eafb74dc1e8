"""A run of `synth`: begin or continue a dataset, do what is missing, finish it.

Also the steps that a run shares with `replay`: both end in a dataset with a manifest.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .dataset import Dataset, write_description
from .errors import TumorgenError
from .generate import Failure, Source, Unit, count_jobs, done, run, split_units
from .manifest import Record, recover_manifest, tumors_path, write_manifest
from .settings import Settings, dump_settings, load_settings, to_dict
from .volume import whole_file


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
    copies: Path | None = None,
    start: Callable[[int], Callable[[int], None]] = lambda total: lambda step: None,  # noqa: ARG005
) -> Report:
    """Write `per_scan` variants of every scan into a dataset; what is there already is kept.

    `start` is called with the number of samples to make and returns what is called as they are done. `copies` is the
    folder that gets copies of the manifest.

    Raises
    ------
    TumorgenError
        The folder holds another dataset or one of other settings, or cannot be written to.
    """
    _refuse_twins(sources)
    records = begin(dataset, settings, seed)
    there: dict[str, dict[int, Record]] = {source.case: {} for source in sources}
    for record in records:
        there.setdefault(record.plan.case, {})[record.plan.variant] = record
    wanted = {s.case: [v for v in range(per_scan) if v not in there[s.case]] for s in sources}
    processes = count_jobs(jobs)
    scans = [_unit(source, dataset, settings, seed, list(there[source.case].values())) for source in sources]
    return finish(dataset, split_units(scans, wanted, processes), processes, start, val_per_scan, copies)


def _unit(source: Source, dataset: Dataset, settings: Settings, seed: int, there: Sequence[Record]) -> Unit:
    """A scan's unit, pinned to what the scan was when its first samples were made."""
    if not there:
        return Unit(source, dataset, settings.vessels, settings, seed)
    known = there[0].plan
    return Unit(
        source,
        dataset,
        settings.vessels,
        settings,
        seed,
        image_sha256=known.source_image_sha256,
        mask_sha256=known.source_mask_sha256,
    )


def _refuse_twins(sources: Sequence[Source]) -> None:
    cases = [source.case for source in sources]
    for case in cases:
        if cases.count(case) > 1:
            raise TumorgenError(f"case {case!r} is there twice; rename one of the scans")


def begin(dataset: Dataset, settings: Settings, seed: int) -> list[Record]:
    """Make the folder ready, or read what an earlier run of the same settings has left in it.

    Raises
    ------
    TumorgenError
        It holds something else, or was begun with other settings or another seed.
    """
    if dataset.settings.exists():
        _refuse_other_settings(load_settings(dataset.settings), settings, dataset)
    elif dataset.folder.exists() and any(dataset.folder.iterdir()):
        raise TumorgenError(f"{dataset.folder}: holds another dataset; choose another --dataset-id, --name or --output")
    records = done(recover_manifest(dataset.manifest), dataset)
    for record in records:
        if record.plan.seed != seed:
            raise TumorgenError(
                f"{dataset.folder}: was begun with --seed {record.plan.seed}, not {seed}; continue with that seed,"
                " or choose another --dataset-id or --output"
            )
    with whole_file(dataset.settings) as partial:
        partial.write_text(dump_settings(settings), encoding="utf-8")
    if dataset.manifest.exists():
        write_manifest(records, dataset.manifest)
    return records


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
    val_per_scan: int,
    copies: Path | None,
) -> Report:
    """Do the units, then write what describes the dataset: manifest in order, dataset.json, splits, copies."""
    results = list(run(units, jobs, start(sum(unit.size for unit in units))))
    records = recover_manifest(dataset.manifest)
    has_splits = False
    if records:
        write_manifest(records, dataset.manifest)
        has_splits = write_description(dataset, records, val_per_scan)
    if records and copies is not None:
        copy_manifest(dataset, copies)
    return Report(
        dataset,
        tuple(recover_manifest(dataset.manifest)),
        sum(isinstance(result, Record) for result in results),
        tuple(result for result in results if isinstance(result, Failure)),
        has_splits,
    )


def copy_manifest(dataset: Dataset, folder: Path) -> None:
    """Put copies of both tables, named after the dataset, where users keep them under version control."""
    copy = folder / f"{dataset.folder.name}.csv"
    for source, target in ((tumors_path(dataset.manifest), tumors_path(copy)), (dataset.manifest, copy)):
        with whole_file(target) as partial:
            shutil.copyfile(source, partial)
