"""Replay: rows of a manifest are rendered again, to the same bits, into a dataset of their own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path

from ..dataset import (
    LOCK,
    PROVENANCE,
    TEST,
    Dataset,
    begin_replay,
    holds_replay,
    provenance_path,
    read_val_per_scan,
    refuse_other_part,
    refuse_other_versions,
    refuse_without_raw,
    remove_description,
    select_complete,
)
from ..errors import TumorgenError
from ..method import Plan, Vessels
from ..tables import (
    Entry,
    Reading,
    Record,
    Source,
    find_sources,
    keep_patients,
    read_manifest,
    recover_manifest,
    refuse_same_case,
    sort_entries,
    with_patients,
)
from .batches import Batch
from .copies import refuse_uncopied
from .log import open_log
from .run import (
    RunReport,
    Writing,
    describe_changed,
    describe_dataset,
    locked_dataset,
    rewrite_manifest,
    run_batches,
)
from .space import refuse_full_disk
from .unchanged import describe_unread

LARGEST_PART = 16  # samples of a batch


@dataclass(frozen=True, slots=True)
class Replay(Writing):
    """A run that renders samples of a manifest again.

    Attributes
    ----------
    manifest
        The table of samples; the table of their tumours lies beside it.
    samples
        Names of the samples to render; all of them where none is given.
    images, masks
        Folders of the scans, matched by case name; by default the scans are those that the manifest names.
    reading
        How the scans are read, where not as the manifest says.
    training
        Make training cases of a benchmark's samples, too; by default they are a test set again.
    log_file
        Gets a line for each sample (`tumorgen.generation.log`).
    """

    manifest: Path
    _: KW_ONLY
    samples: Sequence[str] = ()
    images: Path | None = None
    masks: Path | None = None
    reading: Reading | None = None
    training: bool = False
    log_file: Path | None = None


def replay_manifest(replay: Replay) -> RunReport:
    """Render samples of a manifest from their rows and the scans alone; what is there already is kept.

    Raises
    ------
    TumorgenError
        The manifest cannot be used, a sample is not in it, a scan is not known, the folder holds something else, or
        its disk does not have enough room.
    """
    manifest, dataset = replay.manifest, replay.dataset
    if dataset.folder.resolve() == manifest.parent.resolve():
        raise TumorgenError(f"{dataset.folder}: is the dataset of the manifest; replay into another folder")
    records = select_records(read_manifest(manifest), replay.samples, manifest)
    sources = find_sources(records, replay.images, replay.masks, replay.reading)
    if not replay.training and any(is_test(record) for record in records):
        dataset = replace(dataset, part=TEST)
    with (
        locked_dataset(dataset, jobs=replay.jobs, start=replay.check) as hold,
        open_log(replay.log_file) if replay.log_file else nullcontext() as log,
    ):
        edited, rows = describe_changed(dataset, hold), _read_rows(dataset, interrupted=hold.interrupted)
        there = select_complete(dataset, map(Entry.of, rows))
        made = {entry.sample for entry in there}
        _refuse_other_samples(dataset, rows, made, records)
        refuse_same_case([*sources.values()], (record.plan.case for record in rows))
        told = ((record.plan.case, record.patient) for record in (*rows, *records))
        patients, notes = keep_patients(told, replay.patients)
        missing = [record for record in records if record.plan.sample not in made]
        if missing:
            refuse_uncopied(replay.copies)
        if not replay.force:
            _refuse_full_disk(dataset, sources, missing)
        replay.processes()  # a wrong number is refused before anything is written
        begun = provenance_path(dataset).exists()
        val_per_scan = replay.val_per_scan or read_val_per_scan(dataset)
        begin_replay(dataset, val_per_scan)
        there = sort_entries(with_patients(there, patients))
        anew = rewrite_manifest(dataset.manifest, there)
        batches = _batches(missing, sources, dataset, patients)
        if log:
            log.begin()
        outcomes = run_batches(batches, replace(replay, dataset=dataset), hold, anew=anew, log=log)
        report = describe_dataset(dataset, outcomes, val_per_scan, replay.copies, known=there)
        if not (begun or report.entries):
            remove_description(dataset, {PROVENANCE})
        unread = sources.keys() - {record.plan.case for record in missing}
        more = [describe_unread(dataset, len(unread))] if unread else []
        return replace(report, notes=(*edited, *notes, *report.notes, *more))


def _refuse_full_disk(dataset: Dataset, sources: Mapping[str, Source], missing: Sequence[Record]) -> None:
    wanted: dict[str, list[int]] = {case: [] for case in sources}
    for record in missing:
        wanted[record.plan.case].append(record.plan.variant)
    refuse_full_disk(dataset.folder, list(sources.values()), wanted)


def _batches(
    records: Sequence[Record], sources: Mapping[str, Source], dataset: Dataset, patients: Mapping[str, str]
) -> list[Batch]:
    batches = []
    for (case, vessels), mine in group_records(records).items():
        for part in (mine[i : i + LARGEST_PART] for i in range(0, len(mine), LARGEST_PART)):
            plans = tuple(record.plan for record in part)
            dials = {record.plan.sample: record.dial for record in part if record.dial}
            patient = patients.get(case) or part[0].patient
            batches.append(Batch(sources[case], dataset, vessels, plans=plans, dials=dials, patient=patient))
    return batches


def is_test(record: Record) -> bool:
    """Whether a sample was written as a case of a test set."""
    return record.files is not None and record.files.image_file.startswith(f"images{TEST}/")


def describe_moved(before: Sequence[Record], after: Sequence[Record]) -> list[str]:
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


def select_records(records: Sequence[Record], samples: Sequence[str], manifest: Path) -> list[Record]:
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


def group_records(records: Sequence[Record]) -> dict[tuple[str, Vessels], list[Record]]:
    """Records by scan and by how its vessels are found, so that each scan is prepared as it was."""
    groups: dict[tuple[str, Vessels], list[Record]] = {}
    for record in records:
        groups.setdefault((record.plan.case, vessels_of(record.plan)), []).append(record)
    return groups


def vessels_of(plan: Plan) -> Vessels:
    """How vessels were found for a plan."""
    return Vessels(plan.vessels_avoided, plan.vessel_offset_hu, plan.sigma_a_base, plan.sigma_a_per_hu)


def _read_rows(dataset: Dataset, *, interrupted: bool) -> list[Record]:
    """Records of a dataset, with files or without; one that was interrupted may have no row. Nothing is written.

    Raises
    ------
    TumorgenError
        The folder holds something else, or what other versions have made.
    """
    refuse_without_raw(dataset.folder)
    refuse_other_part(dataset)
    begun = dataset.manifest.exists() or interrupted or holds_replay(dataset)
    found = list(dataset.folder.iterdir()) if dataset.folder.is_dir() else []
    if not begun and any(not path.name.startswith(LOCK) for path in found):
        raise TumorgenError(f"{dataset.folder}: is not empty and no dataset of tumorgen; choose another --output")
    refuse_other_versions(dataset)
    return recover_manifest(dataset.manifest)


def _refuse_other_samples(
    dataset: Dataset, rows: Sequence[Record], made: Collection[str], wanted: Sequence[Record]
) -> None:
    """Refuse to render samples into a dataset that has others of these names, or is of another kind.

    One that was drawn has settings, a seed and a command: of its own rows what was lost is rendered, and no other.
    Of the `rows`, samples that are `made` have their files.

    Raises
    ------
    TumorgenError
        It holds samples of a benchmark and these are none, or the reverse; or one of the same name that was drawn
        otherwise; or it was drawn, and a sample is none of its own.
    """
    if {record.dial is None for record in (*(r for r in rows if r.plan.sample in made), *wanted)} == {True, False}:
        raise TumorgenError(f"{dataset.folder}: samples of a benchmark do not go with others; choose another --output")
    was_drawn, plans = dataset.settings.exists(), {record.plan.sample: record.plan for record in rows}
    for plan in (record.plan for record in wanted):
        known = plans.get(plan.sample)
        if plan.sample in made and known != plan:
            raise TumorgenError(
                f"{dataset.folder}: holds a sample {plan.sample!r} that was drawn otherwise; choose another --output"
            )
        if was_drawn and known != plan:
            raise TumorgenError(
                f"{dataset.folder}: was drawn by `synth` or `robustness`, and {plan.sample!r} is none of its samples;"
                " choose another --dataset-id or --output"
            )
