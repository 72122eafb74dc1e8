"""Quantiles and shares of lesions in which each patient's scans weigh as one scan, and intervals over patients.

A patient who was scanned twice has every lesion twice: a lesion weighs one over the number of that patient's scans.
Twenty synthetic samples of one scan are twenty scans of its patient. Patients are independent and are resampled
(bootstrap, percentiles); lesions of one liver are not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
CONFIDENCE = 0.95

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """Values in order, the weight of each, and its patient as a number from 0; without those that are nan."""

    ordered: Numbers
    weights: Numbers
    patients: NDArray[np.intp]

    @classmethod
    def of(cls, values: ArrayLike, weights: ArrayLike, patients: Sequence[str] | NDArray[Any]) -> Weighted:
        """The values that are known, sorted."""
        found, weighed = np.asarray(values, np.float64), np.asarray(weights, np.float64)
        order = np.argsort(found, kind="stable")  # nan comes last
        order = order[: np.count_nonzero(np.isfinite(found))]
        _, numbers = np.unique(np.asarray(patients, dtype=str)[order], return_inverse=True)
        return cls(found[order], weighed[order], numbers.astype(np.intp))

    @property
    def count(self) -> int:
        """How many values there are."""
        return self.ordered.size

    @property
    def patient_count(self) -> int:
        """How many patients they come from."""
        return int(self.patients.max(initial=-1)) + 1

    def quantiles(self, shares: Sequence[float], weights: Numbers) -> Numbers:
        """Quantiles for each of several weightings (weighting, share); nan where nothing has weight.

        Each value stands in the middle of its weight, linear between; what has no weight is not there.
        """
        if not self.count:
            return np.full((len(weights), len(shares)), np.nan)
        totals = weights.sum(1, keepdims=True)
        with np.errstate(invalid="ignore"):
            middles = (np.cumsum(weights, 1) - weights / 2) / totals
        there = weights > 0
        last = np.maximum.accumulate(np.where(there, np.arange(self.count), -1), 1)  # of those before that has weight
        last = np.where(last < 0, there.argmax(1)[:, None], last)
        rows = np.arange(len(weights))
        middles = middles[rows[:, None], last]
        found = []
        for share in shares:
            above = np.minimum((middles < share).sum(1), self.count - 1)
            below = np.maximum(above - 1, 0)
            low, high = middles[rows, below], middles[rows, above]
            part = np.clip((share - low) / np.where(high > low, high - low, np.inf), 0, 1)
            first, second = self.ordered[last[rows, below]], self.ordered[last[rows, above]]
            found.append(np.where(totals[:, 0] > 0, first + part * (second - first), np.nan))
        return np.stack(found, 1)

    def shares(self, low: Numbers, high: Numbers, weights: Numbers) -> Numbers:
        """Share of the values from `low` to `high` for each of several weightings; nan without values or limits."""
        inside = (self.ordered >= low[:, None]) & (self.ordered <= high[:, None])
        totals = weights.sum(1)
        with np.errstate(invalid="ignore"):
            found = (inside * weights).sum(1) / totals
        return np.where(np.isfinite(low + high) & (totals > 0), found, np.nan)

    def resample(self, rng: np.random.Generator, count: int = RESAMPLES) -> Numbers:
        """Weights (weighting, value): the values' own, then those of samples of as many patients, with replacement."""
        patients = self.patient_count
        if not patients:
            return np.empty((1 + count, 0))
        drawn = rng.multinomial(patients, np.full(patients, 1 / patients), size=count)
        return np.vstack([self.weights, drawn[:, self.patients] * self.weights])


def quantiles_of(values: ArrayLike, weights: ArrayLike, shares: Sequence[float]) -> Numbers:
    """Quantiles of weighted values, as `Weighted.quantiles` has them; nan where no value is known."""
    found = Weighted.of(values, weights, np.zeros(np.size(values), int))
    quantiles: Numbers = found.quantiles(shares, found.weights[None])[0]
    return quantiles


def weigh_patients(patients: Iterable[str]) -> dict[str, float]:
    """Weight of what lies in one of a patient's scans: one over their number; `patients` has one for each scan."""
    return {patient: 1 / scans for patient, scans in Counter(patients).items()}


def interval_of(estimates: Numbers, patients: int) -> tuple[float, float]:
    """Limits that hold 95 % of the estimates of resampled patients; nan with fewer than two patients."""
    known = estimates[np.isfinite(estimates)]
    if patients < 2 or not known.size:
        return math.nan, math.nan
    low, high = np.quantile(known, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return float(low), float(high)
