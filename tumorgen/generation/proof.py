"""The samples of one scan are proved, voxel by voxel, against the scan and against what their rows render to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checksums import sha256_of
from ..dataset import IN_ROWS, Dataset, changed_versions
from ..errors import TumorgenError
from ..imaging import Box, ChunkedVolume, Volume, fingerprint_ct, read_volume
from ..labels import LABELS
from ..method import Patch, Scan, render
from ..tables import TUMORS, Files, Part, Record, Source
from ..wording import plural
from .replay import vessels_of
from .verdicts import CHANGED, Problem

VERSIONS = "bits may differ for a version alone"


@dataclass(frozen=True, slots=True)
class ScanSamples:
    """What is verified in one process: samples of a scan, its files, and the names of samples to render again."""

    part: Part
    source: Source
    again: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Deflated:
    """A scan and its label as samples share them, compressed once."""

    image: ChunkedVolume
    label: ChunkedVolume

    @classmethod
    def of(cls, scan: Scan) -> _Deflated:
        """Compress a scan that holds all its voxels."""
        return cls(ChunkedVolume.from_volume(scan.image), ChunkedVolume.from_volume(Volume(scan.label, scan.geometry)))


@dataclass(frozen=True, slots=True)
class Findings:
    """What verifying the samples of a scan found: their problems, and its fingerprint; empty if it is another."""

    problems: Sequence[Problem]
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A file of the dataset: whether it is another than its row says, its voxels, and why these cannot be used."""

    name: str
    changed: bool = False
    volume: Volume | None = None
    problems: tuple[Problem, ...] = ()


def verify_scan(mine: ScanSamples, dataset: Dataset, then: Mapping[str, Any]) -> Findings:
    """Problems of all samples of one scan, and its fingerprint."""
    records, source = mine.part.read(), mine.source
    try:
        scan = source.load(vessels_of(records[0].plan))
    except TumorgenError as error:
        return Findings([Problem(one.plan.sample, f"its scan cannot be read: {error}") for one in records])
    deflated = _Deflated.of(scan) if mine.again else None
    problems = [
        problem
        for record in records
        for problem in _verify_sample(
            dataset, record, scan, then, deflated if record.plan.sample in mine.again else None
        )
    ]
    known = scan.image_sha256 == records[0].plan.source_image_sha256
    return Findings(problems, fingerprint_ct(scan.image.array) if known else "")


def _verify_sample(
    dataset: Dataset, record: Record, scan: Scan, then: Mapping[str, Any], deflated: _Deflated | None
) -> Iterator[Problem]:
    """What is wrong with a sample; where the scan is given as samples share it, deflated, it is rendered again."""
    plan, files = record.plan, record.files
    try:
        plan.check_fits(scan.geometry, scan.image_sha256, scan.mask_sha256)
    except TumorgenError as error:
        yield Problem(plan.sample, str(error))
        return
    outcomes = [outcome for outcome in record.outcomes if outcome is not None]
    if files is None or len(outcomes) < len(record.outcomes) or (files.tumors_placed and not outcomes):
        yield Problem(plan.sample, "its rows do not say what came out; was the manifest edited? replay it")
        return
    yield from _check_names(dataset, plan.sample, files)
    if not dataset.raw:
        yield from _check_rows(dataset, record, scan, _describe_versions(record, then), deflated)
        return
    if deflated and _is_made_again(dataset, record, scan, deflated):
        return
    image = _load(dataset.image(plan.sample), files.image_sha256, scan)
    label = _load(dataset.label(plan.sample), files.label_sha256, scan)
    yield from (*image.problems, *label.problems)
    boxes = [outcome.box for outcome in outcomes]
    if image.volume is not None:
        yield from _check_untouched(image.name, image.volume.array, scan.image.array, boxes)
    if label.volume is not None:
        yield from _check_label(label.name, label.volume.array, scan, boxes)
    if deflated:
        yield from _check_again(record, scan, (image, label), _describe_versions(record, then))
    else:
        yield from _check_unchanged(image, label)


def _check_rows(
    dataset: Dataset, record: Record, scan: Scan, versions: str, deflated: _Deflated | None
) -> Iterator[Problem]:
    """Of a sample that has no files: rendered again, it measures what its rows say, and its files would be theirs."""
    if deflated is None or _is_made_again(dataset, record, scan, deflated):
        return
    try:
        patch = render(scan, record.plan)
    except TumorgenError as error:
        yield Problem(record.plan.sample, f"its rows cannot be rendered: {error}")
        return
    yield from _check_outcomes(record, patch, versions)
    why = f"{VERSIONS}: {versions}" if versions else "the versions are the same: its rows were changed"
    yield Problem(record.plan.sample, f"rendered again, its files would have other checksums than its rows say; {why}")


def _is_made_again(dataset: Dataset, record: Record, scan: Scan, deflated: _Deflated) -> bool:
    """Whether a sample's files, if it has any, are byte for byte what is made of its rows and its scan now.

    Then nothing need be read back: they hold the scan's own bytes and geometry but in the boxes that were rendered, and
    these lie within the recorded ones. Where they are not, another version may have made them, or they were changed:
    their voxels will say.
    """
    files, outcomes = record.files, [outcome for outcome in record.outcomes if outcome is not None]
    paths = (dataset.image(record.plan.sample), dataset.label(record.plan.sample)) if dataset.raw else ()
    recorded = [files.image_sha256, files.label_sha256] if files else []
    if not all(path.is_file() and sha256_of(path) == sha256 for path, sha256 in zip(paths, recorded, strict=False)):
        return False
    try:
        patch = render(scan, record.plan)
    except TumorgenError:
        return False
    if repr(list(patch.outcomes)) != repr(outcomes):  # by repr, since the mean of no voxels is NaN
        return False
    if not all(any(_is_within(block.box, outcome.box) for outcome in outcomes) for block in patch.blocks):
        return False
    return [deflated.image.digest(patch.images), deflated.label.digest(patch.labels)] == recorded


def _is_within(box: Box, other: Box) -> bool:
    """Whether a box lies in another."""
    return all(b.start <= a.start and a.stop <= b.stop for a, b in zip(box, other, strict=True))


def _check_names(dataset: Dataset, sample: str, files: Files) -> Iterator[Problem]:
    expected = dataset.image(sample), dataset.label(sample)
    for name, path in zip((files.image_file, files.label_file), expected, strict=True):
        if dataset.folder / name != path:
            yield Problem(sample, f"the manifest says {name}, the sample's file is {path.relative_to(dataset.folder)}")


def _load(path: Path, sha256: str, scan: Scan) -> _Loaded:
    """Read a file of the dataset, as far as that is possible."""
    name = f"{path.parent.name}/{path.name}"
    if not path.is_file():
        strange = path.is_symlink() or path.exists()  # of one that is missing, check_layout has said so
        return _Loaded(name, problems=(Problem(name, "is not a regular file"),) if strange else ())
    changed = sha256_of(path) != sha256
    try:
        volume = read_volume(path)
    except TumorgenError as error:
        return _Loaded(name, changed, problems=(Problem(name, str(error)),))
    difference = scan.geometry.difference(volume.geometry)
    problems = (Problem(name, f"its geometry is not the scan's: {difference}"),) if difference else ()
    return _Loaded(name, changed, volume if volume.array.shape == scan.geometry.shape else None, problems)


def _check_untouched(
    name: str, found: NDArray[Any], source: NDArray[Any], boxes: Sequence[tuple[slice, slice, slice]]
) -> Iterator[Problem]:
    """Every voxel outside the recorded boxes equals the source's, bit for bit."""
    if found.dtype != source.dtype:
        yield Problem(name, f"its data type is {found.dtype}, the source's {source.dtype}")
        return
    differs = found != source
    for box in boxes:
        differs[box] = False
    differing = int(np.count_nonzero(differs))
    if differing:
        yield Problem(name, f"{_differing(differing)} from the source outside the recorded boxes")


def _differing(voxels: int) -> str:
    return f"{plural(voxels, 'voxel')} {'differs' if voxels == 1 else 'differ'}"


def _check_label(
    name: str, found: NDArray[Any], scan: Scan, boxes: Sequence[tuple[slice, slice, slice]]
) -> Iterator[Problem]:
    """uint8, labels 0, 1 and 2 alone, and the liver mask outside the boxes."""
    problems = list(_check_untouched(name, found, scan.label, boxes))
    # What equals the scan's label is known; to sort all voxels takes longer than all else.
    parts = [found] if problems else [found[box] for box in boxes]
    values = sorted({value for part in parts for value in np.unique(part).tolist()} - set(LABELS.values()))
    if values:
        yield Problem(name, f"holds the labels {values[:5]}; only {sorted(LABELS.values())} are known")
    yield from problems


def _check_unchanged(*files: _Loaded) -> Iterator[Problem]:
    """The files are those that their rows were written for."""
    for file in files:
        if file.changed:
            yield Problem(file.name, CHANGED)


def _check_again(record: Record, scan: Scan, files: tuple[_Loaded, _Loaded], versions: str) -> Iterator[Problem]:
    """A sample's rows, rendered again, give the voxels of its image and label, and the outcomes in the rows."""
    try:
        patch = render(scan, record.plan)
    except TumorgenError as error:
        yield Problem(record.plan.sample, f"its rows cannot be rendered: {error}")
        yield from _check_unchanged(*files)
        return
    for file, expected in zip(files, patch.apply(scan), strict=True):
        yield from _check_bits(file, expected, versions)
    yield from _check_outcomes(record, patch, versions)


def _check_bits(file: _Loaded, expected: NDArray[Any], versions: str) -> Iterator[Problem]:
    """The file is what its row says, and its voxels are those of its rows rendered again."""
    reasons = [CHANGED] if file.changed else []
    if file.volume is not None:
        differing = int(np.count_nonzero(file.volume.array != expected))
        if differing:
            reasons.append(f"rendered again from its rows, {_differing(differing)}")
        elif file.changed:
            reasons.append("its voxels are those of its rows rendered again")
    if versions and reasons:
        reasons.append(f"{'versions differ' if file.changed else VERSIONS}: {versions}")
    elif reasons and not file.changed:
        reasons.append("the versions are the same: the file or its rows were changed")
    if reasons:
        yield Problem(file.name, "; ".join(reasons))


def _check_outcomes(record: Record, patch: Patch, versions: str) -> Iterator[Problem]:
    """Rendered again, the tumours measure what their rows say."""
    why = f"{VERSIONS}: {versions}" if versions else "the versions are the same: it was changed"
    for number, (recorded, measured) in enumerate(zip(record.outcomes, patch.outcomes, strict=True)):
        if repr(recorded) != repr(measured):  # by repr, since the mean of no voxels is NaN
            sample = f"{record.plan.sample}, tumour {number}"
            yield Problem(TUMORS, f"{sample}: its row does not say what came out of it; {why}")


def _describe_versions(record: Record, then: Mapping[str, Any]) -> str:
    """Versions that are others now than when a sample was made, in words; empty where all are the same."""
    rows = {name: getattr(record.files, f"{name}_version") for name in IN_ROWS}
    return ", ".join(f"{name} was {old}, is {now}" for name, (old, now) in changed_versions({**then, **rows}).items())
