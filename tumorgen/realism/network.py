"""A small convolutional network that judges pictures of lesions. The one module of the audit that knows torch.

It sees 48 x 48 pixels around the lesion's middle, in grey levels of the parenchyma around it: its slice with most of it
and up to two others. The label is not shown. Pictures are turned and mirrored at random while it learns.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ..errors import TumorgenError
from ..labels import LIVER
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from .appearance import GREY_STEP_HU
from .matching import Contest
from .measuring import VIEW_PIXELS, View

EPOCHS, BATCH, LEARNING_RATE, DECAY, DROPOUT = 40, 16, 2e-3, 1e-2, 0.3
NETWORKS = 2  # whose judgements are averaged
SHIFT = 2  # pixels
SCALE_HU, LIMIT = 40.0, 4.0  # of the input: HU that count as one, and how many of these it is clipped to
_CHANNELS = (8, 16, 32)

Pictures = NDArray[np.float32]


def score_views(
    views: Sequence[View],
    contest: Contest,
    folds: NDArray[np.intp],
    rng: np.random.Generator,
    *,
    jobs: int = 1,
    start: Start = no_progress,
) -> NDArray[np.float64]:
    """Score of each lesion of a contest, how synthetic it looks, by networks that have not seen its fold.

    Parameters
    ----------
    views
        Pictures of the lesions.
    contest, folds
        What they are, and the fold of each.
    rng
        What seeds the networks.
    jobs, start
        Processes, and progress, a step for each network that has learned (`parallel`).

    Raises
    ------
    TumorgenError
        A network could not be trained.
    """
    pictures = [crop_view(view) for view in views]
    tasks = [(int(fold), int(rng.integers(2**31))) for fold in np.unique(folds) for _ in range(NETWORKS)]
    work = partial(_train_and_ask, pictures=pictures, contest=contest, folds=folds)
    results, failures = split_failures(
        map_cases(work, [Case(task, f"fold {task[0]}") for task in tasks], jobs, start=start)
    )
    if failures:
        raise TumorgenError(f"the network could not be trained: {failures[0].reason}")
    scores = np.zeros(len(views))
    for (fold, _), answers in zip(tasks, results, strict=True):
        scores[folds == fold] += answers / NETWORKS
    return scores


def _train_and_ask(
    task: tuple[int, int], pictures: Sequence[Pictures], contest: Contest, folds: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Answers for the lesions of a fold, of a network with a seed that has learned from the others."""
    fold, seed = task
    network = _train(pictures, contest, folds != fold, seed)
    return np.array([_ask(network, pictures[lesion]) for lesion in np.flatnonzero(folds == fold).tolist()])


def crop_view(view: View) -> Pictures:
    """The middles of a view's slices (slice, y, x), relative to the median of the liver in the first of them."""
    corners = [(length - VIEW_PIXELS) // 2 for length in view.labels.shape]
    y, x = (slice(corner, corner + VIEW_PIXELS) for corner in corners)
    liver = view.grey[0][view.labels == LIVER]
    level = float(np.median(liver)) if liver.size else float(np.median(view.grey[0]))
    scaled: Pictures = (view.grey[:, y, x].astype(np.float32) - np.float32(level)) * np.float32(GREY_STEP_HU / SCALE_HU)
    return scaled.clip(-LIMIT, LIMIT)


class _Network(nn.Module):  # type: ignore[misc]  # torch has no types here
    """Three convolutions; then the mean, the greatest and what is in the middle decide.

    A mean over the picture alone would miss a lesion of a few pixels.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((1, *_CHANNELS)):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.decision = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(3 * _CHANNELS[-1], 1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """How synthetic each picture (picture, 1, y, x) looks, as a logit."""
        found = self.features(pictures)
        half = found.shape[-1] // 2
        middle = found[:, :, half - 1 : half + 1, half - 1 : half + 1].mean((2, 3))
        return self.decision(torch.cat([found.mean((2, 3)), found.amax((2, 3)), middle], 1))[:, 0]


def _train(pictures: Sequence[Pictures], contest: Contest, learned: NDArray[np.bool_], seed: int) -> nn.Module:
    """A network that has learned from some of the lesions, both kinds weighing the same."""
    members = np.flatnonzero(learned)
    weights = contest.weights.astype(np.float32).copy()
    for which in (False, True):
        chosen = learned & (contest.is_synthetic == which)
        weights[chosen] *= len(members) / 2 / max(float(weights[chosen].sum()), 1e-6)
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Network()
        optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
        for _ in range(EPOCHS):
            for batch in np.array_split(rng.permutation(members), max(1, round(len(members) / BATCH))):
                shown = torch.from_numpy(np.stack([_vary(pictures[lesion], rng) for lesion in batch]))
                target = torch.from_numpy(contest.is_synthetic[batch].astype(np.float32))
                answers = network(shown[:, None])
                loss = nn.functional.binary_cross_entropy_with_logits(answers, target, torch.from_numpy(weights[batch]))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
    return network.eval()


def _vary(pictures: Pictures, rng: np.random.Generator) -> Pictures:
    """One of a lesion's pictures, turned, mirrored and shifted at random."""
    picture = np.rot90(pictures[rng.integers(len(pictures))], int(rng.integers(4)))
    picture = picture[:, ::-1] if rng.integers(2) else picture
    down, right = rng.integers(-SHIFT, SHIFT + 1, size=2)
    padded = np.pad(picture, SHIFT, mode="edge")
    return np.ascontiguousarray(
        padded[SHIFT + down : SHIFT + down + VIEW_PIXELS, SHIFT + right : SHIFT + right + VIEW_PIXELS]
    )


def _ask(network: nn.Module, pictures: Pictures) -> float:
    """Mean answer to a lesion's pictures, each seen from its eight sides."""
    sides = [np.rot90(each, turn, (1, 2)) for each in (pictures, pictures[:, :, ::-1]) for turn in range(4)]
    with torch.no_grad():
        answers = network(torch.from_numpy(np.concatenate(sides).copy())[:, None])
    return float(answers.mean())
