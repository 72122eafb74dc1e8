"""A run of `synth`: begin or continue a dataset, make the variants that are missing, describe the dataset."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..checksums import sha256_of
from ..dataset import (
    LOCK,
    PROVENANCE,
    Dataset,
    Hold,
    begin_provenance,
    forget_beginning,
    has_settled_tables,
    is_only_begun,
    keeps_raw,
    provenance_path,
    refuse_other_part,
    refuse_other_versions,
    remove_description,
    select_complete,
)
from ..errors import Failure, TumorgenError
from ..fields import dump_toml
from ..imaging import BETWEEN, PARTIAL, LabelChoice, chooses_same, whole_file
from ..method import Settings, find_differences, load_recipe, load_settings, nearest_recipe, sample_name
from ..tables import (
    Entry,
    Source,
    join_entries,
    keep_patients,
    read_entries,
    refuse_same_case,
    select_whole,
    sort_entries,
    with_patients,
)
from ..wording import plural
from .batches import Batch, split_batches, useful_processes
from .copies import refuse_uncopied
from .log import Log, open_log
from .run import Run, RunReport, describe_changed, describe_dataset, locked_dataset, rewrite_manifest, run_batches
from .shards import Division, Shard, list_tables, record_division, refuse_other_division
from .space import refuse_full_disk
from .unchanged import compare_finished

_SHOWN = 80  # characters of what a message quotes


def synthesize_dataset(run: Run) -> RunReport:
    """Write `per_scan` variants of every scan into a dataset; what is there already is kept.

    Raises
    ------
    TumorgenError
        The folder holds another dataset or one of other settings or versions, another run writes to it, it cannot be
        written to, or its disk does not have enough room; or two scans have one name.
    """
    with (
        locked_dataset(run.dataset, run.shard, jobs=run.jobs, start=run.check) as hold,
        open_log(run.log_file) if run.log_file else nullcontext() as log,
    ):
        todo = find_outstanding(run)
        edited = () if todo.settled else describe_changed(run.dataset, hold)
        report = _synthesize(run, todo, hold, log)
        changed, notes = _compare_finished(run, todo, log)
        return replace(report, failures=(*report.failures, *changed), notes=(*edited, *report.notes, *notes))


def _synthesize(run: Run, todo: Outstanding, hold: Hold, log: Log | None) -> RunReport:
    """Do a run, its folder locked and its log open."""
    counts = [len(variants) for variants in todo.wanted.values()]
    missing, processes = sum(counts), run.processes(useful_processes(counts))
    run.tell(f"{plural(len(todo.there), 'sample')} there, {missing} to make, of {plural(len(run.sources), 'scan')}")
    if any(todo.wanted.values()) and not run.shard:
        refuse_uncopied(run.copies)
    if not run.force and run.dataset.raw:
        refuse_full_disk(run.dataset.folder, run.sources, todo.wanted)
    if run.shard:
        refuse_other_division(run.dataset, _divide(run, run.shard))
    if _may_begin_anew(run):
        forget_beginning(run.dataset)
    begun = run.dataset.settings.exists()
    _begin_dataset(run, todo.there)
    manifest, anew = _begin_manifest(run, todo)
    if hold.interrupted and manifest.exists():
        hold.note_synced(sha256_of(manifest))
    known = {entry.case: entry for entry in reversed(todo.there)}
    batches = split_batches(
        (_batch(source, run, known.get(source.case), todo.patients) for source in run.sources), todo.wanted, processes
    )
    if log:
        log.begin(seed=run.seed)
    outcomes = run_batches(batches, run, hold, manifest=manifest, anew=anew, log=log)
    if run.shard:
        there = tuple(read_entries(manifest)) if outcomes.made or not anew else ()
        return RunReport(run.dataset, there, outcomes.made, outcomes.failures, todo.notes, run.shard)
    report = describe_dataset(
        run.dataset, outcomes, run.val_per_scan, run.copies, known=sort_entries(todo.there), tell=run.tell
    )
    if not (begun or report.entries):
        remove_description(run.dataset, {run.dataset.settings.name, PROVENANCE, *run.descriptions})
    return replace(report, notes=(*todo.notes, *report.notes))


def _compare_finished(run: Run, todo: Outstanding, log: Log | None) -> tuple[list[Failure], list[str]]:
    """Find the scans that have changed since all their samples were made; and what to say of those not compared."""
    finished: dict[str, list[Entry]] = {source.case: [] for source in run.sources if not todo.wanted[source.case]}
    for entry in todo.there:
        if entry.case in finished:
            finished[entry.case].append(entry)
    there = {case: entries for case, entries in finished.items() if entries}  # of a shard others make the rest
    batches = [
        _batch(source, run, there[source.case][0], todo.patients) for source in run.sources if source.case in there
    ]
    changed, notes = compare_finished(there, batches, run.jobs, run.compare)
    for failure in changed:
        if log:
            log.sample(run.dataset, failure, 0.0)
    return changed, notes


@dataclass(frozen=True, slots=True)
class Outstanding:
    """What a run finds: the samples that are there, and the variants of each case that it is to make.

    `settled` says whether the tables hold these samples, in order, and nothing else: they may stay as they are.
    `patients` says whose the scans are, by the run's table and by what is there, and `notes` what to know of that.
    """

    there: tuple[Entry, ...]
    wanted: Mapping[str, tuple[int, ...]]
    settled: bool
    patients: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_outstanding(run: Run) -> Outstanding:
    """Find what an earlier run has left and what is to be made; nothing is written.

    Raises
    ------
    TumorgenError
        The folder holds another dataset, or one of other settings, versions or another seed, or made with other labels
        of these scans; two scans have one name; or patients do not fit those that are there (`keep_patients`), or are
        those of scans that are there, and this is a shard.
    """
    existing, settled = read_existing(run)
    refuse_same_case(run.sources, (entry.case for entry in existing))
    patients, notes = keep_patients(((entry.case, entry.patient) for entry in existing), run.patients)
    there = with_patients(existing, patients)
    if run.shard and run.patients:
        _refuse_later_patients(run.dataset, there)
    settled = settled and there == existing
    made = {(entry.case, entry.variant) for entry in there}
    samples = [(source.case, variant) for source in run.sources for variant in range(run.per_scan)]
    wanted: dict[str, list[int]] = {source.case: [] for source in run.sources}
    for case, variant in run.shard.share(samples) if run.shard else samples:
        if (case, variant) not in made:
            wanted[case].append(variant)
    outstanding = {case: tuple(variants) for case, variants in wanted.items()}
    return Outstanding(tuple(there), outstanding, settled, patients, notes)


def read_existing(run: Run) -> tuple[list[Entry], bool]:
    """Read what earlier runs and shards of the same settings have left in the folder; nothing is written.

    And say whether the tables hold these samples, in order, and nothing else.

    Raises
    ------
    TumorgenError
        It holds another dataset, or one that was begun with other settings, versions or another seed, or with other
        labels of these scans.
    """
    dataset = run.dataset
    found = [path.name for path in dataset.folder.iterdir()] if dataset.folder.is_dir() else []
    refuse_other_part(dataset)
    if _may_begin_anew(run):
        return [], False
    _refuse_other_keeping(dataset)
    if dataset.settings.exists():  # asked after the folder was listed, since other shards may be beginning
        refuse_other_versions(dataset)
        _refuse_other_settings(run)
    elif any(not name.startswith((PARTIAL, LOCK)) for name in found):
        raise TumorgenError(f"{dataset.folder}: holds another dataset; choose another --dataset-id, --name or --output")
    if dataset.manifest.exists():
        run.tell(f"reading {dataset.manifest} and looking for the files of its samples")
    tables = list_tables(dataset)
    rows = join_entries(*map(read_entries, tables))
    settled = tables == [dataset.manifest] and has_settled_tables(dataset)
    entries = select_complete(dataset, rows if settled else select_whole(rows, tables))
    for entry in entries:
        if entry.seed != run.seed:
            raise TumorgenError(
                f"{dataset.folder}: was begun with --seed {entry.seed}, not {run.seed}; continue with that seed,"
                " or choose another --dataset-id or --output"
            )
    _refuse_other_choice(run, entries)
    return entries, settled and len(entries) == len(rows)


def _may_begin_anew(run: Run) -> bool:
    """Whether all that is there is what a run left that made no sample. Not for a shard: another may be beginning."""
    return not run.shard and is_only_begun(run.dataset)


def _refuse_later_patients(dataset: Dataset, there: Sequence[Entry]) -> None:
    """A shard leaves the rows of earlier runs alone, so it cannot write down whose scan one of them is."""
    now = {entry.case: entry.patient for entry in there}
    for entry in read_entries(dataset.manifest):
        if now.get(entry.case, entry.patient) != entry.patient:
            raise TumorgenError(
                f"{dataset.folder}: --patients says whose scans are that it has already ({entry.case}), and a shard"
                " does not write that down; first run their own command again with it, without --shard"
            )


def _refuse_other_choice(run: Run, entries: Sequence[Entry]) -> None:
    """A scan's samples are of one choice of labels and, where its files have two places, of one place."""
    sources = {source.case: source for source in run.sources}
    choices = ((e.case, e.liver_labels, e.real_tumor_labels, e.trusted_form) for e in entries)
    for case, liver, real_tumors, trust in dict.fromkeys(choices):  # the same for all samples of a scan
        source = sources.get(case)
        if source is None:
            continue
        trusts = {source.trusted_form, trust} - {""}  # one of them alone is the only place that there is
        then = LabelChoice.of_cells(liver, real_tumors)
        if len(trusts) > 1 or not chooses_same(then, source.labels, source.mask):
            raise TumorgenError(
                f"{run.dataset.folder}: {case} was begun with {_options_of(liver, real_tumors, trust)}, not"
                f" {_options_of(*source.labels.cells, source.trusted_form)}; continue with the same, or choose another"
                " --dataset-id or --output"
            )


def _as_begun(source: Source, known: Entry) -> Source:
    """A scan whose labels are called as in the rows of its samples: by number or by name, they are the same."""
    then = LabelChoice.of_cells(known.liver_labels, known.real_tumor_labels)
    return replace(source, labels=replace(source.labels, liver=then.liver, real_tumors=then.real_tumors))


def _options_of(liver: str, real_tumors: str, trust: str) -> str:
    """The options that choose labels and a place, as they are typed."""
    options = (("--label", liver), ("--real-tumours", real_tumors), ("--trust", trust))
    typed = [f"{name} {shlex.quote(word)}" for name, cell in options for word in cell.split(BETWEEN) if word]
    return " ".join(typed) or "no --label"


def _refuse_other_keeping(dataset: Dataset) -> None:
    """A dataset keeps all images and labels, or none."""
    if provenance_path(dataset).exists() and keeps_raw(dataset.folder) != dataset.raw:
        begun, remedy = ("without", "leave it out") if not dataset.raw else ("with", "give it again")
        raise TumorgenError(f"{dataset.folder}: was begun {begun} --no-raw; {remedy}, or choose another --dataset-id")


def _refuse_other_settings(run: Run) -> None:
    begun = load_settings(run.dataset.settings)
    changed = find_differences(begun, run.settings)
    if changed:
        key, values = next(iter(changed.items()))
        before, now = (str(value)[:_SHOWN] for value in values)
        raise TumorgenError(
            f"{run.dataset.folder}: was begun with other settings ({key}: {before}, now {now});"
            f" continue with {_what_continues(begun, run.settings)}, or choose another --dataset-id, --name or --output"
        )


def _what_continues(begun: Settings, settings: Settings) -> str:
    """What continues a dataset: the recipe that it was begun with, where it is another, and what else it differs in."""
    recipe, given = nearest_recipe(begun), find_differences(load_recipe(nearest_recipe(settings)), settings)
    if recipe == nearest_recipe(settings):
        return "those"
    rest = {key: then for key, (_, then) in find_differences(load_recipe(recipe), begun).items() if key not in given}
    named = ", ".join(f"{key} = {json.dumps(then)}" for key, then in rest.items())
    return f"--recipe {recipe}" + (f" and --settings that say {named[:_SHOWN]}" if rest else "")


def _begin_dataset(run: Run, there: Sequence[Entry]) -> None:
    """Write the settings in force, what else describes the dataset, and its provenance into the folder, which exists.

    A run that asks for fewer variants than are there leaves these in the dataset, so in the command, too.

    Raises
    ------
    TumorgenError
        It cannot be written to.
    """
    texts = {run.dataset.settings.name: dump_toml(run.settings), **run.descriptions}
    for name, text in texts.items():
        with whole_file(run.dataset.folder / name, parents=False) as partial_file:
            partial_file.write_text(text, encoding="utf-8")
    per_scan = max([run.per_scan, *(entry.variant + 1 for entry in there)])
    begin_provenance(run.dataset, run.settings, run.seed, per_scan, run.val_per_scan)


def _divide(run: Run, shard: Shard) -> Division:
    """What the shards of a run share."""
    cases = tuple(source.case for source in run.sources)
    return Division(shard.count, run.seed, run.per_scan, run.val_per_scan, cases)


def _begin_manifest(run: Run, todo: Outstanding) -> tuple[Path, bool]:
    """The table that gets the rows of new samples, freed of rows that do not count; whether none is left that does.

    Raises
    ------
    TumorgenError
        It cannot be written, or the folder holds shards of another run.
    """
    dataset, shard = run.dataset, run.shard
    if shard is None:
        anew = not todo.settled and rewrite_manifest(dataset.manifest, todo.there, list_tables(dataset))
        return dataset.manifest, anew
    record_division(dataset, _divide(run, shard))
    manifest = shard.manifest(dataset)
    mine = select_complete(dataset, select_whole(read_entries(manifest), [manifest]))
    return manifest, rewrite_manifest(manifest, with_patients(mine, todo.patients))


def _batch(source: Source, run: Run, known: Entry | None, patients: Mapping[str, str]) -> Batch:
    """A scan's batch, pinned to what the scan was when its first sample was made, where one is known."""
    return Batch(
        _as_begun(source, known) if known else source,
        run.dataset,
        run.settings.vessels,
        run.settings,
        run.seed,
        image_sha256=known.source_image_sha256 if known else None,
        mask_sha256=known.source_mask_sha256 if known else None,
        sampler=run.sampler,
        dials={sample_name(source.case, variant): dial for variant, dial in enumerate(run.dials)},
        patient=patients.get(source.case) or (known.patient if known else ""),
    )
