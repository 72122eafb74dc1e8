"""Synthetic lesions matched to real ones, so that what tells them apart is neither the scan nor the size.

Each real lesion gets up to four synthetic ones whose radius is within a quarter of its own, from the same scan where
both sets share their scans. The matches of a lesion share its weight: scans, patients and radii then weigh alike on
both sides.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MATCHES = 4
CALIPER = 1.25  # greatest ratio of two radii that match
MOST_FOLDS, LESION_FOLDS = 20, 5
LEAST_SHARED = 2  # patients with a scan in both sets, from which on lesions are matched within their scans

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Pairing:
    """Which lesions are compared.

    Attributes
    ----------
    real, synthetic
        Of each pair the row of the real lesion and that of the synthetic one; a real lesion is in several pairs.
    within_scans
        Whether both come from one scan; else they match by radius alone.
    """

    real: Indices
    synthetic: Indices
    within_scans: bool


@dataclass(frozen=True, slots=True, eq=False)
class Contest:
    """Lesions to be told apart: real ones, then synthetic ones, a row each.

    Attributes
    ----------
    rows
        Row of each in the frame of its set.
    is_synthetic
        Which of them are synthetic.
    patients
        Patient of each.
    pairs
        The real lesion that each belongs to, as a number from 0: itself, or that which it matches.
    weights
        Weight of each; those of the real ones and those of the synthetic ones sum to the same.
    within_scans
        Whether lesions match within their scans.
    unmatched
        How many real lesions have no match, and take no part.
    unknown_real, unknown_synthetic
        How many take no part although they match, too little being known of them.
    """

    rows: Indices
    is_synthetic: NDArray[np.bool_]
    patients: NDArray[Any]
    pairs: Indices
    weights: NDArray[np.float64]
    within_scans: bool
    unmatched: int
    unknown_real: int = 0
    unknown_synthetic: int = 0

    @property
    def real_count(self) -> int:
        """How many real lesions take part."""
        return int(np.count_nonzero(~self.is_synthetic))


def match_lesions(real: pd.DataFrame, synthetic: pd.DataFrame) -> Pairing:
    """Match the lesions of two sets (columns `host`, `patient`, `radius_mm`), each synthetic one to one real one.

    In each round every real lesion, the largest first, takes the one of the nearest radius that is left.
    """
    in_both = real["host"].isin(synthetic["host"])
    within = real.loc[in_both, "patient"].nunique() >= LEAST_SHARED
    pairs = sorted(pair for parts in _parts(real, synthetic, within) for pair in _match_nearest(*parts))
    first, second = np.array(pairs, np.intp).reshape(-1, 2).T
    return Pairing(first, second, within)


def _parts(
    real: pd.DataFrame, synthetic: pd.DataFrame, within_scans: bool
) -> Iterator[tuple[pd.Series[float], pd.Series[float]]]:
    """Radii in mm of both sets by row: those of each scan that both have, or all."""
    first, second = (frame.reset_index(drop=True) for frame in (real, synthetic))
    if not within_scans:
        yield first["radius_mm"], second["radius_mm"]
        return
    for host in sorted({*first["host"]} & {*second["host"]}):
        one, other = (frame[frame["host"] == host]["radius_mm"] for frame in (first, second))
        yield one, other


def _match_nearest(real: pd.Series[float], synthetic: pd.Series[float]) -> Iterator[tuple[int, int]]:
    """Pairs of rows whose radii are nearest."""
    free = {int(row): math.log(radius) for row, radius in synthetic.items()}  # type: ignore[call-overload]
    for _ in range(MATCHES):
        for row, radius in real.sort_values(ascending=False, kind="stable").items():
            near = [(abs(log - math.log(radius)), other) for other, log in free.items()]
            distance, other = min(near, default=(math.inf, -1))
            if distance <= math.log(CALIPER):
                del free[other]
                yield int(row), other  # type: ignore[call-overload]


def arrange_contest(real: pd.DataFrame, synthetic: pd.DataFrame) -> Contest:
    """Match the lesions of two sets, and weigh those that take part."""
    pairing = match_lesions(real, synthetic)
    rows, matches = np.unique(pairing.real, return_counts=True)
    number = np.searchsorted(rows, pairing.real)
    weight = real["weight"].to_numpy(float)[rows]
    weight = weight * len(rows) / weight.sum() if len(rows) else weight
    return Contest(
        rows=np.concatenate([rows, pairing.synthetic]),
        is_synthetic=np.repeat([False, True], [len(rows), len(pairing.synthetic)]),
        patients=np.concatenate(
            [real["patient"].to_numpy(str)[rows], synthetic["patient"].to_numpy(str)[pairing.synthetic]]
        ),
        pairs=np.concatenate([np.arange(len(rows)), number]),
        weights=np.concatenate([weight, (weight / matches)[number]]),
        within_scans=pairing.within_scans,
        unmatched=len(real) - len(rows),
    )


def without_unknown(contest: Contest, known: NDArray[np.bool_]) -> Contest:
    """A contest without lesions of which too little is known; a real one takes its matches along, or goes with them.

    `known` says of each lesion of the contest whether enough is.
    """
    if known.all():
        return contest
    count = contest.real_count
    matches = np.bincount(contest.pairs[contest.is_synthetic & known], minlength=count)
    stays = known[:count] & (matches > 0)
    kept = known & stays[contest.pairs]
    number = np.cumsum(stays) - 1
    pairs = number[contest.pairs[kept]]
    weight = contest.weights[:count][stays]
    weight = weight * len(weight) / weight.sum() if len(weight) else weight
    share = weight / matches[stays]
    return replace(
        contest,
        rows=contest.rows[kept],
        is_synthetic=contest.is_synthetic[kept],
        patients=contest.patients[kept],
        pairs=pairs,
        weights=np.concatenate([weight, share[pairs[len(weight) :]]]),
        unknown_real=int(np.count_nonzero(~known[:count])),
        unknown_synthetic=int(np.count_nonzero(~known[count:])),
    )


def deal_patients(contest: Contest) -> NDArray[np.intp]:
    """Fold of each lesion: a patient is in one fold, and each fold has real and synthetic lesions; all 0 if it cannot.

    With a patient a fold this leaves one patient out. Patients of one set alone are dealt out after those of both.
    There are as many folds as the smaller set has patients, and 20 at most.
    """
    real, synthetic = ({*contest.patients[contest.is_synthetic == which].tolist()} for which in (False, True))
    count = max(1, min(len(real), len(synthetic), MOST_FOLDS))
    both = sorted(real & synthetic)
    fold = {
        patient: place % count
        for alone in (real - synthetic, synthetic - real)
        for place, patient in enumerate([*both, *sorted(alone)])
    }
    return np.array([fold[patient] for patient in contest.patients.tolist()], np.intp)


def deal_lesions(contest: Contest, rng: np.random.Generator) -> NDArray[np.intp]:
    """Fold of each lesion, whoever's it is: the real ones are dealt out at random, with those that match them.

    All 0 where there is one alone.
    """
    return (rng.permutation(contest.real_count) % LESION_FOLDS)[contest.pairs]
