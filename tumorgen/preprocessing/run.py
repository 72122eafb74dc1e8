"""A run of `preprocess`: what nnU-Net's trainer reads of a dataset of tumorgen's, for the price of its tumours.

A case counts as done when its properties are there, the file that is written last; the same command does the rest.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..checksums import sha256_of
from ..dataset import (
    SUMMED,
    TRAINING,
    Dataset,
    Hold,
    find_written_dataset,
    locked_folder,
    read_sums,
    refuse_other_versions,
)
from ..errors import Failure, TumorgenError, as_unwritable
from ..generation import GB, cut_samples, free_bytes, group_records
from ..imaging import remove_folder, scratch_folder, sync_to_disk, whole_file
from ..parallel import (
    FEWER_JOBS,
    Start,
    count_jobs,
    no_progress,
    refuse_to_go_on,
    run_in_processes,
    split_failures,
)
from ..tables import SAMPLES, Reading, Record, find_sources, read_manifest
from ..wording import plural, typed
from . import nnunet
from .case_files import GROUND_TRUTH, SCRATCH, case_files, score_label, sync_case
from .fingerprint import draws_of, fingerprint_of
from .healthy import Part
from .planning import describe_misfits, make_plans
from .remains import remove_gone_labels, remove_other_labels, remove_partial_files, remove_torn_cases
from .resampling import Resampling
from .sharing import part_size
from .state import State, describe_cases, describe_manifest
from .traits import find_traits
from .worker import Done, forget_scan, preprocess_part

SPLITS, ABOUT = "splits_final.json", "dataset.json"
BYTES_A_VOXEL = 1.6  # of a preprocessed case, image and labels; 1.4 were measured of a CT that had been resampled

R = TypeVar("R", bound=object)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is to be preprocessed, and how the work is done.

    Attributes
    ----------
    folder
        Folder of the raw dataset, which tumorgen wrote.
    configurations
        nnU-Net's names; none: all that nnU-Net itself preprocesses by default.
    plans
        Name of the plans; where they are not there, they are made.
    images, masks, reading
        Where the scans are and how they are read, where not as the manifest says.
    jobs
        Number of processes; -1 is one for each core.
    force
        Begin even where the disk does not have enough room.
    start
        Makes the progress of a step, by its name.
    """

    folder: Path
    configurations: Sequence[str] = ()
    plans: str = "nnUNetPlans"
    images: Path | None = None
    masks: Path | None = None
    reading: Reading | None = None
    jobs: int = -1
    force: bool = False
    start: Callable[[str], Start] = field(default=lambda _: no_progress)


@dataclass(frozen=True, slots=True)
class PreprocessReport:
    """What a run did.

    Attributes
    ----------
    folder
        nnU-Net's folder of the preprocessed dataset.
    configurations
        What was preprocessed, by nnU-Net's names.
    samples
        Of the dataset.
    made
        Cases that this run made, all configurations together.
    whole
        How many of these have too little in common with their scan, and were resampled whole.
    failures
        Scans and samples that could not be done.
    notes
        What is worth knowing besides, in words.
    """

    folder: Path
    configurations: tuple[str, ...]
    samples: int
    made: int
    whole: int
    failures: tuple[Failure, ...]
    notes: tuple[str, ...] = ()


def preprocess_dataset(run: Preprocessing) -> PreprocessReport:
    """Leave in `$nnUNet_preprocessed` what nnU-Net's trainer reads of a dataset; what is there already is kept.

    Raises
    ------
    UnplannedError
        The plans have no such configuration.
    TumorgenError
        `nnUNet_preprocessed` is not set or cannot be written to; the folder holds no dataset of tumorgen's to train on,
        or one that was changed after its run or made with other versions; a scan cannot be used; plans preprocess or
        nnU-Net resamples otherwise than is known here; the disk does not have enough room.
    """
    dataset, records = read_dataset(run.folder)
    folder = nnunet.find_plans_folder(dataset.folder.name)
    nnunet.refuse_unplanned(folder / f"{run.plans}.json", run.configurations)
    with locked_folder(folder) as hold:
        remove_partial_files(folder)
        with scratch_folder(folder, prefix=SCRATCH) as kept:
            return _preprocess(_Parts(run, dataset, records, folder, kept), hold)


def _preprocess(parts: _Parts, hold: Hold) -> PreprocessReport:
    """Do a run, its folder locked."""
    run, dataset, records, folder = parts.run, parts.dataset, parts.records, parts.folder
    state, manifest = State.read(folder), describe_manifest(dataset)
    plans = folder / f"{run.plans}.json"
    notes = make_plans(plans, dataset.folder, state, manifest, partial(_write_fingerprint, parts))
    configurations = nnunet.read_configurations(plans, run.configurations)
    _refuse_shared_folder(configurations, manifest)
    remove_gone_labels(folder, dataset, records)
    if hold.interrupted:
        asked = [configuration.identifier for configuration in configurations]
        notes += remove_torn_cases(folder, state, asked, run.jobs)
        remove_other_labels(folder, dataset, records, run.jobs)
    wanted = find_missing(dataset, records, configurations, folder, state, manifest)
    resamplings = find_resamplings(records, configurations, wanted)
    nnunet.refuse_other_resampling(resamplings)
    if not run.force:
        _refuse_full_disk(folder, _needed_bytes(resamplings) - parts.kept_bytes)
    notes += _copy_description(dataset, folder, state)
    hold.unfinished = True
    _begin_cases(configurations, folder, state, manifest)
    done, failures = split_failures(_synced(_do_parts(parts, configurations, wanted), configurations, wanted, parts))
    hold.unfinished = False
    made = sum(len(wanted[result.sample]) for result in done)
    whole = sum(result.whole for result in done)
    notes += describe_misfits(folder, state, manifest)
    names = tuple(configuration.name for configuration in configurations)
    return PreprocessReport(folder, names, len(records), made, whole, failures, notes)


def _refuse_shared_folder(configurations: Sequence[nnunet.Configuration], manifest: str) -> None:
    """Refuse two configurations that keep other cases in one folder: one would pass for the other."""
    first: dict[str, nnunet.Configuration] = {}
    for configuration in configurations:
        other = first.setdefault(configuration.identifier, configuration)
        if describe_cases(manifest, other) != describe_cases(manifest, configuration):
            raise TumorgenError(
                f"{other.name} and {configuration.name} are planned for other cases and keep them in one folder,"
                f" {configuration.identifier}; give one of them another data_identifier in the plans"
            )


def read_dataset(folder: Path) -> tuple[Dataset, list[Record]]:
    """A dataset of tumorgen's to train on, and its rows.

    Raises
    ------
    TumorgenError
        It is none, or what describes it was changed after its run, or it was made with other versions.
    """
    if not (folder / SAMPLES).is_file():
        raise TumorgenError(
            f"{folder}: holds no {SAMPLES}, so nothing is known of tumours in it; preprocess it with"
            " nnUNetv2_plan_and_preprocess"
        )
    dataset = find_written_dataset(folder)
    if dataset.part != TRAINING:
        raise TumorgenError(f"{folder}: is a test set, which nobody trains on; nothing of it is preprocessed")
    try:
        sums = read_sums(dataset)
    except TumorgenError as error:
        raise TumorgenError(f"{dataset.sums}: {error}; run the dataset's command again") from error
    for name in SUMMED:
        path = dataset.folder / name
        if name in sums and not (path.is_file() and sha256_of(path) == sums[name]):
            raise TumorgenError(
                f"{path}: was changed or removed after the run; `tumorgen verify {typed(folder)}` says more"
            )
    refuse_other_versions(dataset)
    return dataset, read_manifest(dataset.manifest)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The work of a run, cut into parts; `kept` is a folder of what is rendered on the way."""

    run: Preprocessing
    dataset: Dataset
    records: Sequence[Record]
    folder: Path
    kept: Path

    @property
    def kept_bytes(self) -> int:
        """What that takes on disk; it goes as the cases are made."""
        return sum(path.stat().st_size for path in self.kept.iterdir())

    def cut(
        self,
        configurations: Sequence[nnunet.Configuration] = (),
        wanted: Mapping[str, tuple[str, ...]] | None = None,
        draws: int = 0,
    ) -> list[Part]:
        """Parts of the samples that are wanted, or of all, so small that every process has work."""
        sources = find_sources(self.records, self.run.images, self.run.masks, self.run.reading)
        chosen = [record for record in self.records if wanted is None or record.plan.sample in wanted]
        groups = list(group_records(chosen).values())
        size = part_size([len(group) for group in groups], count_jobs(self.run.jobs))
        by_name = {configuration.name: configuration for configuration in configurations}
        return [
            Part(
                sources[group[0].plan.case],
                self.dataset,
                tuple(group[number] for number in numbers),
                self.folder,
                wanted or {},
                by_name,
                draws,
                self.kept,
            )
            for group in groups
            for numbers in cut_samples(range(len(group)), size)
        ]

    def do(self, work: Callable[[Part], list[R | Failure]], parts: Sequence[Part], step: str) -> Iterator[R | Failure]:
        """Do parts over processes; yield what became of each sample."""
        progress = self.run.start(step)(sum(len(part.records) for part in parts))
        if not parts:
            return
        with closing(run_in_processes(work, parts, count_jobs(self.run.jobs), advice=FEWER_JOBS)) as results:
            for of_part in results:
                for result in of_part:
                    progress(result.samples if isinstance(result, Failure) else 1)
                    refuse_to_go_on(result)
                    yield result


def _write_fingerprint(parts: _Parts, path: Path) -> None:
    cut = parts.cut(draws=draws_of(len(parts.records)))
    traits, failures = split_failures(parts.do(find_traits, cut, "fingerprint"))
    if failures:
        more = f" (and {plural(len(failures) - 1, 'other failure')})" if len(failures) > 1 else ""
        raise TumorgenError(f"{failures[0].name}: {failures[0].reason}{more}; nothing was preprocessed")
    with whole_file(path) as partial_file:
        partial_file.write_text(nnunet.fingerprint_text(fingerprint_of(traits)), encoding="utf-8")


def _copy_description(dataset: Dataset, folder: Path, state: State) -> tuple[str, ...]:
    """Copy dataset.json and the folds; other folds that somebody has put there stay."""
    _copy(dataset.folder / ABOUT, folder / ABOUT)
    (folder / GROUND_TRUTH).mkdir(exist_ok=True)
    source, splits = dataset.folder / SPLITS, folder / SPLITS
    is_same = splits.is_file() and source.is_file() and sha256_of(source) == sha256_of(splits)
    if splits.is_file() and not (is_same or state.is_ours(splits)):
        return (f"{splits}: is not the dataset's, which keeps patients apart; it is left as it is",)
    if is_same:
        state.note(splits)
        state.write(folder)
    elif source.is_file():
        _copy_splits(source, splits, state)
    else:
        splits.unlink(missing_ok=True)
    return ()


def _copy_splits(source: Path, splits: Path, state: State) -> None:
    """Copy the folds; a run that ends halfway leaves old or new ones that pass for ours, or none."""
    with whole_file(splits) as partial_file:
        shutil.copyfile(source, partial_file)
        # While other folds are there, noting the new ones would make them somebody else's, and so would a late note.
        splits.unlink(missing_ok=True)
        state.note(partial_file)  # by the name that it will have
        state.write(splits.parent)


def _begin_cases(configurations: Sequence[nnunet.Configuration], folder: Path, state: State, manifest: str) -> None:
    """Make the folders of the cases; those whose cases were made otherwise are removed before."""
    for configuration in configurations:
        cases, made_from = folder / configuration.identifier, describe_cases(manifest, configuration)
        if state.cases.get(configuration.identifier) != made_from:
            if cases.is_dir():
                remove_folder(cases)
            state.cases[configuration.identifier] = made_from
        state.write(folder)
        with as_unwritable(cases):
            cases.mkdir(exist_ok=True)


def find_missing(
    dataset: Dataset,
    records: Sequence[Record],
    configurations: Sequence[nnunet.Configuration],
    folder: Path,
    state: State,
    manifest: str,
) -> dict[str, tuple[str, ...]]:
    """Sample -> the configurations in which it is not there, or was made otherwise.

    A sample whose label to score with is not there is made again in the first of them: the label comes with it.
    """
    wanted: dict[str, list[str]] = {}
    for number, configuration in enumerate(configurations):
        cases = folder / configuration.identifier
        alike = state.cases.get(configuration.identifier) == describe_cases(manifest, configuration)
        for record in records:
            files = list(case_files(cases / record.plan.sample))
            if not number:
                files.append(score_label(dataset, folder, record.plan.sample))
            if not (alike and all(path.is_file() for path in files)):
                wanted.setdefault(record.plan.sample, []).append(configuration.name)
    return {sample: tuple(names) for sample, names in wanted.items()}


def _synced(
    results: Generator[Done | Failure, None, None],
    configurations: Sequence[nnunet.Configuration],
    wanted: Mapping[str, Sequence[str]],
    parts: _Parts,
) -> Iterator[Done | Failure]:
    """The same results; what was made is written through to the disk as it comes, while other processes are at work."""
    with closing(results):
        for result in results:
            if isinstance(result, Done):
                with as_unwritable(parts.folder):
                    sync_to_disk(score_label(parts.dataset, parts.folder, result.sample))
                    for configuration in configurations:
                        if configuration.name in wanted[result.sample]:
                            sync_case(parts.folder / configuration.identifier / result.sample)
            yield result


def _do_parts(
    parts: _Parts, configurations: Sequence[nnunet.Configuration], wanted: Mapping[str, tuple[str, ...]]
) -> Generator[Done | Failure, None, None]:
    needed = {name for names in wanted.values() for name in names}
    chosen = [configuration for configuration in configurations if configuration.name in needed]
    try:
        yield from parts.do(preprocess_part, parts.cut(chosen, wanted), "preprocess")
    finally:
        forget_scan()  # of this process, where it was the worker


def find_resamplings(
    records: Sequence[Record],
    configurations: Sequence[nnunet.Configuration],
    wanted: Mapping[str, Sequence[str]],
) -> list[Resampling]:
    """How each wanted case will be resampled, about: its scan is taken as it is, and not cropped.

    A scan that is too thin for a configuration is left out, and fails when its turn comes.
    """
    by_name = {configuration.name: configuration for configuration in configurations}
    found = []
    for record in records:
        plan = record.plan
        for name in wanted.get(plan.sample, ()):
            z, y, x = (plan.shape[axis] for axis in by_name[name].transpose)
            with suppress(TumorgenError):
                found.append(by_name[name].resampling((z, y, x), plan.spacing_mm))
    return found


def _needed_bytes(resamplings: Iterable[Resampling]) -> int:
    """Bytes that cases will take, about."""
    return round(BYTES_A_VOXEL * sum(math.prod(resampling.new) for resampling in resamplings))


def _refuse_full_disk(folder: Path, needed: int) -> None:
    free = free_bytes(folder)
    if needed > free:
        raise TumorgenError(
            f"{folder}: the run will write about {needed / GB:.1f} GB, and {free / GB:.1f} GB are free there; make"
            f" room, set {nnunet.PREPROCESSED} to another folder, or --force"
        )


def _copy(source: Path, target: Path) -> None:
    """Copy a file, unless that would change nothing."""
    if target.is_file() and sha256_of(target) == sha256_of(source):
        return
    with whole_file(target) as partial_file:
        shutil.copyfile(source, partial_file)
