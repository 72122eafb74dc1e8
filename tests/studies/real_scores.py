"""What a network of the study on real tumours finds: whole scans predicted, and judged within the liver.

Arrays are (z, y, x); they are at `real_patches.PIXEL_MM` in the plane, and have the scan's own slices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from real_patches import IGNORED, ILL, PIXEL_MM, Example, normalized, resample_plane, slices_around
from sklearn.metrics import average_precision_score

from tumorgen.evaluation.lesions import find_components, find_lesions, radius_of
from tumorgen.evaluation.overlap import dsc

THRESHOLDS = np.linspace(0.05, 0.95, 19).round(2)
SLICES_FOR_THRESHOLD = 32  # of each training scan, evenly spaced: enough to place a threshold, and quick
LEAST_RADIUS_MM = 2.0  # what is predicted and smaller than the ball of this radius is dropped, as REALISM's lesions
STEP = 16  # sides of what the network sees are multiples of this: it halves them four times


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Chance of tumour, and the target, in the same slices."""

    chance: NDArray[np.float32]
    target: NDArray[np.uint8]
    voxel_mm3: float


def predict_example(network: Any, example: Example, most_slices: int | None = None) -> Prediction:
    """Predict the slices that have liver in them, or a number of these, evenly spaced."""
    numbers = np.flatnonzero((example.target != IGNORED).any(axis=(1, 2)))
    if most_slices and len(numbers) > most_slices:
        numbers = numbers[np.linspace(0, len(numbers) - 1, most_slices).round().astype(int)]
    spacing = np.array(example.spacing_mm[1:])
    turn, shape = np.diag(PIXEL_MM / spacing), np.array(example.target.shape[1:])
    rows, columns = (int(n) for n in np.maximum(np.round(shape * spacing / PIXEL_MM), 1))
    offset = (PIXEL_MM / spacing - 1) / 2  # the corners of both grids coincide
    targets = [resample_plane(example.target[n], turn, offset, (rows, columns), nearest=True) for n in numbers]
    planes = {
        int(n): resample_plane(example.image[n], turn, offset, (rows, columns), nearest=False)
        for n in np.unique([slices_around(int(n), len(example.image)) for n in numbers])
    }
    chances = [
        predict_slices(network, np.stack([planes[int(k)] for k in slices_around(int(n), len(example.image))]))
        for n in numbers
    ]
    return Prediction(np.stack(chances), np.stack(targets), example.spacing_mm[0] * PIXEL_MM**2)


def predict_slices(network: Any, hu: NDArray[Any]) -> NDArray[np.float32]:
    """Chance of tumour in the middle of neighbouring slices (SLICES, y, x)."""
    import torch

    padding = [(0, 0), *((0, -n % STEP) for n in hu.shape[1:])]
    image = torch.from_numpy(np.pad(normalized(hu), padding, mode="edge")[None])
    with torch.no_grad():
        chance: NDArray[np.float32] = network(image).softmax(1)[0, ILL].numpy()
    return chance[: hu.shape[1], : hu.shape[2]]


def best_threshold(predictions: Sequence[Prediction]) -> float:
    """The threshold whose Dice over all voxels of some predictions is best; the lowest of equals."""
    chance, truth = (np.concatenate(parts) for parts in zip(*map(within_liver, predictions), strict=True))
    dice = [dsc(truth, chance > threshold) for threshold in THRESHOLDS]
    return float(THRESHOLDS[int(np.argmax(np.nan_to_num(dice)))])


def within_liver(prediction: Prediction) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Chance and truth of the voxels that count, one after the other."""
    counted = prediction.target != IGNORED
    return prediction.chance[counted], prediction.target[counted] == ILL


@dataclass(frozen=True, slots=True)
class Found:
    """A real lesion: radius of the sphere of its volume, and whether any voxel of it was found."""

    radius_mm: float
    found: bool


@dataclass(frozen=True, slots=True)
class CaseFigures:
    """How well the tumours of a case are found. Average precision and share are over the liver's voxels."""

    case: str
    patient: str
    average_precision: float
    tumor_share: float
    dice: float
    false_positives: int
    lesions: tuple[Found, ...]

    def as_plain(self) -> dict[str, Any]:
        """For a JSON line."""
        return asdict(self)


def judge_case(case: str, patient: str, prediction: Prediction, threshold: float) -> CaseFigures:
    """Judge a prediction within the liver; what is outside it is neither right nor wrong."""
    chance, truth = within_liver(prediction)
    counted, tumor = prediction.target != IGNORED, prediction.target == ILL
    found = without_specks((prediction.chance > threshold) & counted, prediction.voxel_mm3)
    lesions, made_up = find_lesions(tumor, found)
    return CaseFigures(
        case=case,
        patient=patient,
        average_precision=float(average_precision_score(truth, chance)) if truth.any() else math.nan,
        tumor_share=float(truth.mean()),
        dice=float(dsc(tumor, found)),
        false_positives=len(made_up),
        lesions=tuple(Found(radius_of(one.voxels * prediction.voxel_mm3), one.detected_any) for one in lesions),
    )


def without_specks(found: NDArray[np.bool_], voxel_mm3: float) -> NDArray[np.bool_]:
    """A mask without the components that are smaller than any lesion."""
    parts = find_components(found)
    kept = np.concatenate([[False], [radius_of(n * voxel_mm3) >= LEAST_RADIUS_MM for n in parts.voxels]])
    large: NDArray[np.bool_] = kept.astype(bool)[parts.numbers]
    return large
