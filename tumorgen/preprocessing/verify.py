"""Verify what was preprocessed: every case can be read and fits together, and some are what nnU-Net itself makes."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..dataset import Dataset
from ..errors import Failure, TumorgenError, printable
from ..generation import Problem
from ..imaging import scratch_folder
from ..labels import LABELS
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from ..tables import Reading, Record, Source, find_sources, spread_samples
from . import nnunet
from .case_files import GROUND_TRUTH, case_files, is_of_row, properties_file, read_array, score_label
from .cases import NO_DATA
from .fingerprint import FINGERPRINT, draws_of, fingerprint_of
from .planning import Planned, find_planned
from .raw_files import write_raw_files
from .run import read_dataset
from .state import State, describe_manifest
from .traits import Traits

MOST_SD = 1e-4  # that an image may differ from nnU-Net's by, in standard deviations


@dataclass(frozen=True, slots=True)
class PreprocessedVerdict:
    """What verifying preprocessed cases found: how many, how many nnU-Net made again, and every problem."""

    cases: int
    compared: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Case:
    """A case to verify: configuration and file of its plans, its row, its scan, and whether nnU-Net makes it again."""

    configuration: nnunet.Configuration
    plans: Path
    record: Record
    source: Source
    again: bool


def verify_preprocessed(
    folder: Path,
    *,
    images: Path | None = None,
    masks: Path | None = None,
    reading: Reading | None = None,
    replays: int = 3,
    jobs: int = -1,
    start: Start = no_progress,
) -> PreprocessedVerdict:
    """Prove the preprocessed cases of a dataset.

    All files are there, whole and of the right size and type; labels are known ones, and places drawn for each label
    have it; labels to score with are the dataset's; the fingerprint is as it was written. Of each configuration
    `replays` cases (a negative number: all) are preprocessed by nnU-Net itself from the dataset's files: labels and
    properties are equal, and images within 1e-4 standard deviations. Where that is all, the fingerprint is what
    nnU-Net's own extractor finds, too. Where the dataset keeps no files, they are made of the scans, which are where
    the manifest says, or in two folders.

    Raises
    ------
    TumorgenError
        The folder holds no dataset of tumorgen's to train on, or nothing was preprocessed.
    """
    dataset, records = read_dataset(folder)
    target = nnunet.find_plans_folder(dataset.folder.name)
    state = State.read(target)
    manifest = describe_manifest(dataset)
    planned = find_planned(target, state, manifest)
    if not planned:
        raise TumorgenError(f"{target}: nothing was preprocessed there; run `tumorgen preprocess`")
    samples = [record.plan.sample for record in records]
    again = spread_samples(samples, replays)
    problems = list(_check_state(target, state, manifest, planned, samples))
    sources = find_sources(records, images, masks, reading)
    cases = [
        _Case(each.configuration, each.plans, record, sources[record.plan.case], record.plan.sample in again)
        for each in _one_a_folder(planned)
        for record in records
    ]
    work = partial(_verify_case, dataset=dataset, folder=target)
    named = [Case(case, f"{case.configuration.identifier}/{case.record.plan.sample}") for case in cases]
    for case, found in zip(named, map_cases(work, named, jobs, start=start), strict=True):
        problems += [Problem(case.name, found.reason)] if isinstance(found, Failure) else found
    if replays < 0 and state.is_ours(target / FINGERPRINT) and state.manifest == manifest:
        find = partial(_find_traits_anew, dataset=dataset, draws=draws_of(len(records)))
        samples_of = [Case((record, sources[record.plan.case]), record.plan.sample) for record in records]
        problems += _compare_fingerprint(target / FINGERPRINT, map_cases(find, samples_of, jobs, start=start))
    return PreprocessedVerdict(len(cases), sum(case.again for case in cases), tuple(problems))


def _one_a_folder(planned: Sequence[Planned]) -> list[Planned]:
    """Of plans that share a folder of cases, those that the cases were made with, if any were."""
    return list({each.configuration.identifier: each for each in sorted(planned, key=lambda each: each.fits)}.values())


def _check_state(
    folder: Path, state: State, manifest: str, planned: Sequence[Planned], samples: Sequence[str]
) -> Iterator[Problem]:
    """Plans and cases were made of this manifest, the cases with all plans there, and no other is in their folders."""
    if FINGERPRINT in state.written and not state.is_ours(folder / FINGERPRINT):
        yield Problem(FINGERPRINT, "was changed or removed since it was written")
    for name in sorted(state.plans):
        if state.is_stale(folder / name, manifest):
            yield Problem(name, "the dataset has changed since; run `tumorgen preprocess` again")
    known = {path.name for sample in samples for path in case_files(Path(sample))}
    for each in _one_a_folder(planned):
        cases = folder / each.configuration.identifier
        if not each.fits:
            yield Problem(cases.name, "was made of another dataset, with other plans or other versions")
        for name in sorted({path.name for path in cases.glob("*")} - known):
            yield Problem(f"{cases.name}/{printable(name)}", "is of no sample of the dataset")
    fitting = {each.configuration.identifier for each in planned if each.fits}
    for each in planned:
        if not each.fits and each.configuration.identifier in fitting:
            yield Problem(each.plans.name, each.misfit)
    for identifier in sorted(state.cases.keys() - {each.configuration.identifier for each in planned}):
        if (folder / identifier).is_dir():
            yield Problem(identifier, "is described by no plans that are there")


def _verify_case(case: _Case, dataset: Dataset, folder: Path) -> list[Problem]:
    """Problems of one case."""
    sample = case.record.plan.sample
    target = folder / case.configuration.identifier / sample
    name = f"{target.parent.name}/{sample}"
    missing = [path for path in case_files(target) if not path.is_file()]
    if missing:
        return [Problem(f"{path.parent.name}/{path.name}", "is missing") for path in missing]
    try:
        image, label = (read_array(path) for path in list(case_files(target))[:2])
        properties = pickle.loads(properties_file(target).read_bytes())  # noqa: S301  # as nnU-Net reads it
        reasons = [
            *_check_arrays(case, image, label, properties),
            *_check_score_label(case.record, folder, dataset),
            *(_compare(case, dataset, (image, label, properties)) if case.again else ()),
        ]
    except Exception as error:  # a damaged file: blosc2 and pickle raise anything
        return [Problem(name, f"cannot be read ({type(error).__name__}: {error})")]
    return [Problem(name, reason) for reason in reasons]


def _check_arrays(case: _Case, image: NDArray[Any], label: NDArray[Any], properties: dict[str, Any]) -> Iterator[str]:
    """Sizes, types and labels, and whether drawn places have their labels."""
    cropped = properties["shape_after_cropping_and_before_resampling"]
    expected = case.configuration.resampling(tuple(cropped), properties["spacing"]).new
    if (image.shape, label.shape) != (expected, expected):
        yield f"has {image.shape} and {label.shape} voxels, not {expected}"
        return
    if image.dtype != np.dtype(np.float32) or label.dtype != np.dtype(np.int16):
        yield f"is of the types {image.dtype} and {label.dtype}, not float32 and int16"
    unknown = set(np.unique(label).tolist()) - {NO_DATA, *LABELS.values()}
    if unknown:
        yield f"holds the labels {sorted(unknown)[:5]}"
    for value, places in properties["class_locations"].items():
        if len(places) and (label[tuple(np.asarray(places)[:, 1:].T)] != value).any():
            yield f"places that were drawn for label {value} have another"


def _check_score_label(record: Record, folder: Path, dataset: Dataset) -> Iterator[str]:
    copy = score_label(dataset, folder, record.plan.sample)
    if not copy.is_file():
        yield f"its label in {GROUND_TRUTH} is missing"
    elif record.files and not is_of_row((record, copy)):
        yield f"its label in {GROUND_TRUTH} is not the dataset's"


@contextmanager
def _raw_files(record: Record, source: Source, dataset: Dataset) -> Iterator[tuple[Path, Path]]:
    """Image and label of a sample; where none are kept, they are made for as long as the block lasts."""
    sample = record.plan.sample
    with nullcontext(dataset.folder) if dataset.raw else scratch_folder() as folder:
        there = replace(dataset, folder=folder)
        image, label = there.image(sample), there.label(sample)
        if not dataset.raw:
            write_raw_files(record, source, image, label)
        yield image, label


def _compare(case: _Case, dataset: Dataset, found: tuple[NDArray[Any], NDArray[Any], dict[str, Any]]) -> Iterator[str]:
    """What differs from what nnU-Net's own preprocessor makes of the sample's files."""
    with _raw_files(case.record, case.source, dataset) as files:
        name = case.configuration.name
        image, label, properties = nnunet.preprocess_anew(case.plans, dataset.folder, name, *files)
    if image.shape != found[0].shape:
        yield f"nnU-Net makes {image.shape} voxels of it"
        return
    most = float(np.abs(found[0] - image).max())
    if not most <= MOST_SD:
        yield f"differs from the image that nnU-Net makes by up to {most:.2g} standard deviations"
    if differing := int(np.count_nonzero(found[1] != label)):
        yield f"{differing} labels differ from those that nnU-Net makes"
    places, own = properties.pop("class_locations"), found[2].pop("class_locations")
    same = places.keys() == own.keys() and all(np.array_equal(places[value], own[value]) for value in places)
    if properties != found[2] or not same:
        yield "its properties are not those that nnU-Net makes"


def _find_traits_anew(sample: tuple[Record, Source], dataset: Dataset, draws: int) -> Traits:
    record, source = sample
    with _raw_files(record, source, dataset) as files:
        return Traits(record.plan.sample, *nnunet.analyze_anew(*files, draws))


def _compare_fingerprint(path: Path, found: Iterable[Traits | Failure]) -> list[Problem]:
    """What differs in a fingerprint from that of what nnU-Net's extractor finds in the samples."""
    traits, failures = split_failures(found)
    if failures:
        return [Problem(failure.name, f"nnU-Net finds no fingerprint of it ({failure.reason})") for failure in failures]
    written = json.loads(path.read_text(encoding="utf-8"))
    anew = json.loads(nnunet.fingerprint_text(fingerprint_of(traits)))
    differing = [name for name in anew if anew[name] != written.get(name)]
    return [Problem(path.name, f"its {name} is not what nnU-Net finds") for name in differing]
