"""2.5D patches: five neighbouring slices in, the tumour of the middle one out, at 1 mm in the plane.

Where tumours come from is the one thing that trainings differ in: `RealTumors` or `SyntheticTumors`. Patches, their
places and what is done to them are drawn in the same way of both. Arrays are (z, y, x).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from real_cases import Case, host_of
from scipy import ndimage

from tumorgen.evaluation.lesions import find_components
from tumorgen.imaging.boxes import Box
from tumorgen.labels import TUMOR
from tumorgen.method.rendering import render
from tumorgen.method.scan import Scan
from tumorgen.method.settings import Settings
from tumorgen.training.patches import draw_any_class

WINDOW_HU = (-21.0, 189.0)
SLICES = 5
PIXEL_MM = 1.0
HEALTHY, ILL, IGNORED = 0, 1, 2  # what is learned; what is no liver, or near a tumour left out, is ignored
TARGETS = np.array([IGNORED, HEALTHY, ILL], np.uint8)  # of the labels: 0 background, 1 liver, 2 tumour
SCALE = 1.15  # patches are drawn larger or smaller by up to this factor
LIVER_HU = (50.0, 150.0)  # their liver is made this bright: contrast medium differs from patient to patient


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A scan with tumours to learn: HU, target, a box around each tumour, and the median of the liver."""

    image: NDArray[Any]
    target: NDArray[np.uint8]
    tumors: Sequence[Box]
    spacing_mm: tuple[float, float, float]
    liver_hu: float


class Tumors(Protocol):
    """Where the tumours of a training come from."""

    @property
    def patients(self) -> Sequence[str]:
        """Patient of each scan."""
        ...

    def example(self, number: int) -> Example:
        """The n-th scan as it stands; its arrays change when it gets new tumours."""
        ...

    def renew(self, number: int) -> None:
        """Draw the tumours of the n-th scan anew, if they are drawn at all."""
        ...


class RealTumors:
    """The tumours that the scans have."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.patients = [case.patient for case in cases]
        self._examples = [real_example(case) for case in cases]

    def example(self, number: int) -> Example:
        return self._examples[number]

    def renew(self, number: int) -> None:
        """Real tumours stay as they are."""


def real_example(case: Case) -> Example:
    """A case with its own tumours."""
    boxes = ndimage.find_objects(find_components(case.label == TUMOR).numbers)
    liver_hu = float(np.median(case.image[case.label > 0]))
    return Example(case.image, target_of(case.label), boxes, case.spacing_mm, liver_hu)


def target_of(label: NDArray[Any]) -> NDArray[np.uint8]:
    """What is to be learned of a label, or of a mask of the liver."""
    target: NDArray[np.uint8] = TARGETS[label.view(np.uint8)]
    return target


@dataclass
class SyntheticTumors:
    """Tumours of a recipe, in what is healthy of the same scans."""

    hosts: Sequence[Scan]
    patients: Sequence[str]
    settings: Settings
    rng: Generator
    _examples: dict[int, Example] = field(default_factory=dict)
    _changed: dict[int, list[Box]] = field(default_factory=dict)

    @classmethod
    def in_cases(cls, cases: Sequence[Case], settings: Settings, rng: Generator) -> SyntheticTumors:
        """Take the real tumours out of cases, as `real_cases.healthy_part` does."""
        hosts = [host_of(case, settings) for case in cases]
        return cls(hosts, [case.patient for case in cases], settings, rng)

    def example(self, number: int) -> Example:
        if number not in self._examples:
            self.renew(number)
        return self._examples[number]

    def renew(self, number: int) -> None:
        """Only what changes is written: a copy of the whole scan would take longer than its tumours."""
        scan = self.hosts[number]
        example = self._examples.get(number) or healthy_example(scan)
        for box in self._changed.get(number, []):
            example.image[box], example.target[box] = scan.hu[box], target_of(scan.inside[box])
        patch = render(scan, draw_any_class(scan, self.settings, self.rng))
        for block in patch.blocks:
            example.image[block.box], example.target[block.box] = block.image, target_of(block.label)
        self._changed[number] = [block.box for block in patch.blocks]
        boxes = [outcome.box for outcome in patch.outcomes if outcome.volume_mm3 > 0]
        self._examples[number] = replace(example, tumors=boxes)


def healthy_example(scan: Scan) -> Example:
    """A host without tumours, in arrays of its own."""
    return Example(scan.image.array.copy(), target_of(scan.liver), [], scan.geometry.spacing_mm, scan.mu_p_hu)


def normalized(hu: NDArray[Any]) -> NDArray[np.float32]:
    """The window as -1 to 1."""
    low, high = WINDOW_HU
    scaled: NDArray[np.float32] = (2 * (np.clip(hu, low, high) - low) / (high - low) - 1).astype(np.float32)
    return scaled


def slices_around(middle: int, count: int) -> NDArray[np.int64]:
    """Numbers of the slices that a patch sees; beyond the first and the last these are repeated."""
    return np.clip(np.arange(SLICES) + middle - SLICES // 2, 0, count - 1)


def resample_plane(
    plane: NDArray[Any], turn: NDArray[np.float64], offset: NDArray[np.float64], size: tuple[int, int], nearest: bool
) -> NDArray[Any]:
    """A slice on another grid: pixel p of it lies at turn @ p + offset of the slice."""
    if nearest:
        return ndimage.affine_transform(plane, turn, offset, size, order=0, cval=IGNORED)
    return ndimage.affine_transform(plane, turn, offset, size, output=np.float32, order=1, mode="nearest")


def draw_place(example: Example, on_tumor: bool, rng: Generator) -> NDArray[np.int64]:
    """A voxel of a tumour, each tumour as likely as any other, or else of the liver."""
    if on_tumor and example.tumors:
        box = example.tumors[int(rng.integers(len(example.tumors)))]
        inside = np.argwhere(example.target[box] == ILL)
        if len(inside):
            return inside[int(rng.integers(len(inside)))] + [s.start for s in box]
    while True:
        place = rng.integers(example.target.shape)
        if example.target[tuple(place)] != IGNORED:
            return place


def cut_patch(
    example: Example, place: NDArray[np.int64], size: int, rng: Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Image (SLICES, size, size), normalized, and target (size, size) around a voxel.

    Turned, mirrored, scaled, and of another brightness.
    """
    angle, scale = rng.uniform(0, 2 * np.pi), SCALE ** rng.uniform(-1, 1)
    mirror = 1 if rng.random() < 0.5 else -1
    turn_mm = PIXEL_MM * scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn = turn_mm * [1, mirror] / np.array(example.spacing_mm[1:])[:, None]
    jitter = rng.uniform(-0.25, 0.25, 2) * size  # the tumour is anywhere in the patch, not in its middle
    offset = place[1:] - turn @ ((size - 1) / 2 + jitter)
    numbers = slices_around(int(place[0]), len(example.image))
    if rng.random() < 0.5:
        numbers = numbers[::-1]
    shift = rng.uniform(*LIVER_HU) - example.liver_hu
    planes = [resample_plane(example.image[number], turn, offset, (size, size), nearest=False) for number in numbers]
    target = resample_plane(example.target[place[0]], turn, offset, (size, size), nearest=True)
    return normalized(np.stack(planes) + shift), target


def draw_batches(tumors: Tumors, batch: int, size: int, rng: Generator) -> Iterator[tuple[Any, Any]]:
    """Images (batch, SLICES, size, size) and targets (batch, 1, size, size) without end, as tensors.

    Half of the patches lie on a tumour. Each patient is as likely as any other, and with each batch one scan gets new
    tumours.
    """
    import torch

    patients = sorted(set(tumors.patients))
    scans = [[n for n, owner in enumerate(tumors.patients) if owner == patient] for patient in patients]
    turn = 0
    while True:
        tumors.renew(turn % len(tumors.patients))
        turn += 1
        patches = []
        for number in range(batch):
            of_patient = scans[int(rng.integers(len(scans)))]
            example = tumors.example(of_patient[int(rng.integers(len(of_patient)))])
            place = draw_place(example, number % 2 == 0, rng)
            patches.append(cut_patch(example, place, size, rng))
        images, targets = (np.stack(parts) for parts in zip(*patches, strict=True))
        yield torch.from_numpy(images), torch.from_numpy(targets.astype(np.int64)[:, None])
