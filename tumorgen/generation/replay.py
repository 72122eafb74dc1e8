"""Replay: rows of a manifest are rendered again, to the same bits, into a dataset of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..dataset.lock import LOCK, locked
from ..dataset.provenance import refuse_other_versions
from ..dataset.raw import TEST, Dataset
from ..errors import TumorgenError
from ..method.plan import Plan
from ..method.settings import Vessels
from ..parallel import count_jobs
from ..tables.manifest import Dial, Record, read_manifest, recover_manifest
from ..tables.sources import Source, find_sources
from .pool import LARGEST_UNIT, Unit, done
from .run import Report, finish, mend, put_right
from .space import needed_bytes, refuse_without_room


def replay(
    manifest: Path,
    dataset: Dataset,
    *,
    samples: Sequence[str] = (),
    images: Path | None = None,
    masks: Path | None = None,
    val_per_scan: int = 2,
    jobs: int = -1,
    training: bool = False,
    force: bool = True,
    copies: Path | None = None,
    start: Callable[[int], Callable[[int], None]] = lambda total: lambda step: None,  # noqa: ARG005
) -> Report:
    """Render samples of a manifest (all of them by default) from their rows and the scans alone.

    The scans are those that the manifest names, or those of two folders, matched by case name.

    Parameters
    ----------
    manifest, dataset, samples, images, masks
        What is rendered, into what, and from which scans.
    val_per_scan
        Variants of each held-out scan that nnU-Net validates on.
    jobs
        Number of processes.
    training
        Make training cases of a benchmark's samples, too; by default they are a test set again.
    force
        Begin even where the disk has not the room.
    copies
        Folder that gets copies of the manifest.
    start
        Called with the number of samples to make; returns what is called as they are done.

    Raises
    ------
    TumorgenError
        The manifest cannot be used, a sample is not in it, a scan is not known, or the folder holds something else; or
        its disk has not the room.
    """
    if dataset.folder.resolve() == manifest.parent.resolve():
        raise TumorgenError(f"{dataset.folder}: is the dataset of the manifest; replay into another folder")
    records = select(read_manifest(manifest), samples, manifest)
    sources = find_sources(records, images, masks)
    if not training and any(is_test(record) for record in records):
        dataset = replace(dataset, part=TEST)
    with locked(dataset.folder) as hold:
        if hold.interrupted:
            put_right(dataset)
        plans = _missing(records, dataset, interrupted=hold.interrupted)
        if not force:
            wanted = {case: [p.variant for p in plans if p.case == case] for case in sources}
            refuse_without_room(dataset.folder, needed_bytes(list(sources.values()), wanted))
        dials = {record.plan.sample: record.dial for record in records if record.dial}
        units = [
            _unit(sources[case], dataset, vessels, mine[i : i + LARGEST_UNIT], dials)
            for (case, vessels), mine in group(plans).items()
            for i in range(0, len(mine), LARGEST_UNIT)
        ]
        return finish(dataset, units, count_jobs(jobs), start, hold, val_per_scan, copies)


def _unit(source: Source, dataset: Dataset, vessels: Vessels, plans: Sequence[Plan], dials: Mapping[str, Dial]) -> Unit:
    mine = {plan.sample: dials[plan.sample] for plan in plans if plan.sample in dials}
    return Unit(source, dataset, vessels, plans=tuple(plans), dials=mine)


def is_test(record: Record) -> bool:
    """Whether a sample was written as a case of a test set."""
    return record.files is not None and record.files.image_file.startswith(f"images{TEST}/")


def moved(before: Sequence[Record], after: Sequence[Record]) -> list[str]:
    """Say which tumours lie in another voxel than their row said: a centre edited in mm, or one edited in vain."""
    was = {record.plan.sample: record.outcomes for record in before}
    notes = []
    for record in after:
        for number, (old, new) in enumerate(zip(was.get(record.plan.sample, ()), record.outcomes, strict=False)):
            if old is None or new is None:
                continue
            voxels = [(o.center_z_voxel, o.center_y_voxel, o.center_x_voxel) for o in (old, new)]
            if voxels[0] != voxels[1]:
                notes.append(
                    f"{record.plan.sample}, tumour {number}: rendered at voxel {voxels[1]} (z, y, x), where its centre"
                    f" in mm is; its row said {voxels[0]}, which is not read"
                )
    return notes


def select(records: Sequence[Record], samples: Sequence[str], manifest: Path) -> list[Record]:
    """Records of some samples, or all where none is named.

    Raises
    ------
    TumorgenError
        A sample is not in the manifest.
    """
    names = {record.plan.sample for record in records}
    for sample in samples:
        if sample not in names:
            raise TumorgenError(f"{manifest}: has no sample {sample!r}; it has {', '.join(sorted(names)[:5])}, ...")
    return [record for record in records if not samples or record.plan.sample in samples]


def group(plans: Sequence[Plan]) -> Mapping[tuple[str, Vessels], list[Plan]]:
    """Plans by scan and by how its vessels are found, so that each scan is prepared as it was."""
    groups: dict[tuple[str, Vessels], list[Plan]] = {}
    for plan in plans:
        groups.setdefault((plan.case, vessels_of(plan)), []).append(plan)
    return groups


def vessels_of(plan: Plan) -> Vessels:
    """How vessels were found for a plan."""
    return Vessels(plan.vessels_avoided, plan.vessel_offset_hu, plan.sigma_a_base, plan.sigma_a_per_hu)


def _missing(wanted: Sequence[Record], dataset: Dataset, *, interrupted: bool) -> list[Plan]:
    """Plans that are not in the dataset yet; one that was interrupted may have no row.

    Raises
    ------
    TumorgenError
        The folder holds something else, or a sample of the same name that was drawn otherwise, or what other
        versions have made.
    """
    begun = dataset.manifest.exists() or interrupted
    found = list(dataset.folder.iterdir()) if dataset.folder.is_dir() else []
    if not begun and any(not path.name.startswith(LOCK) for path in found):
        raise TumorgenError(f"{dataset.folder}: is not empty and no dataset of tumorgen; choose another --output")
    refuse_other_versions(dataset)
    records = done(recover_manifest(dataset.manifest), dataset)
    there = {record.plan.sample: record.plan for record in records}
    if {record.dial is None for record in (*records, *wanted)} == {True, False}:
        raise TumorgenError(f"{dataset.folder}: samples of a benchmark do not go with others; choose another --output")
    plans = [record.plan for record in wanted]
    for plan in plans:
        if there.get(plan.sample, plan) != plan:
            raise TumorgenError(
                f"{dataset.folder}: holds a sample {plan.sample!r} that was drawn otherwise; choose another --output"
            )
    mend(dataset.manifest, records)
    return [plan for plan in plans if plan.sample not in there]
