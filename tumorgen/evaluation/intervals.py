"""95 % confidence intervals, and a test, that take into account which values come from one patient.

Patients are independent and are resampled; variants of one scan and lesions of one liver are not. The statistics are
those of statsmodels and scipy; only the correction of Wilson's interval for patients is our own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

CONFIDENCE = 0.95
RESAMPLES = 9999
_ROUNDING = 1e-12
_DECIMALS = 12
_BATCH = 1_000_000  # numbers drawn at once: 8 MB, whatever the number of patients

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """An estimate with its 95 % confidence interval; `count` is the number of cases, lesions or scans behind it.

    With none of them, value and limits are nan.
    """

    value: float
    low: float
    high: float
    count: int

    @property
    def defined(self) -> bool:
        """Whether there is an estimate."""
        return not math.isnan(self.value)

    @property
    def limited(self) -> bool:
        """Whether the interval has limits; with a single patient it has none."""
        return not math.isnan(self.low)


_NOTHING = ConfidenceInterval(math.nan, math.nan, math.nan, 0)


def sum_by_patient(totals: ArrayLike, patients: ArrayLike, counts: ArrayLike | None = None) -> tuple[Numbers, Numbers]:
    """Sum of each patient's totals, and of what they are totals of (1 each by default), by the patients' names.

    A total that is nan or has a count of 0 is left out.
    """
    values = np.asarray(totals, float)
    weights = np.ones(len(values)) if counts is None else np.asarray(counts, float)
    kept = ~np.isnan(values) & (weights > 0)
    names, place = np.unique(np.asarray(patients, dtype=str)[kept], return_inverse=True)
    sums, numbers = (np.bincount(place, each[kept], len(names)).astype(float) for each in (values, weights))
    return sums, numbers


def proportion_interval(hits: ArrayLike, patients: ArrayLike) -> ConfidenceInterval:
    """Share of hits with Wilson's score interval (1927), on as many independent trials as the hits are worth.

    Trials of one patient are alike, and Wilson's formula takes them for independent: it is given trials / d and
    hits / d, with the design effect d of Rao and Scott, "A simple method for the analysis of clustered binary data"
    (Biometrics 48, 1992). d is held between 1 (all independent) and trials / patients (all of a patient alike). So
    with one trial a patient this is Wilson's interval; and copies of a trial change nothing. Where all are hits, or
    none, and where there is a single patient, the data do not determine d, and the larger bound is taken.
    """
    sums, counts = sum_by_patient(hits, patients)
    if not len(counts):
        return _NOTHING
    trials, share = counts.sum(), sums.sum() / counts.sum()
    effective = trials / _design_effect(sums, counts)
    low, high = proportion_confint(share * effective, effective, alpha=1 - CONFIDENCE, method="wilson")
    return ConfidenceInterval(float(share), float(low), float(high), int(trials))


def _design_effect(sums: Numbers, counts: Numbers) -> float:
    """Variance of a share, over that of as many independent trials (Rao and Scott 1992, section 2)."""
    trials, clusters = counts.sum(), len(counts)
    share, most = sums.sum() / trials, trials / clusters
    if clusters == 1 or share in (0, 1):
        return float(most)
    variance = clusters / (clusters - 1) * np.sum((sums - counts * share) ** 2) / trials**2
    return float(np.clip(variance / (share * (1 - share) / trials), 1, most))


def mean_interval(
    totals: ArrayLike, patients: ArrayLike, rng: np.random.Generator, counts: ArrayLike | None = None
) -> ConfidenceInterval:
    """Sum of totals over sum of counts (1 each by default), with a bootstrap interval (BCa; Efron 1987) over patients.

    Whole patients are resampled. Totals that are nan are left out. If all patients have the same mean, the interval is
    that point. With a single patient the limits are nan, since nothing is known about others.
    """
    sums, numbers = sum_by_patient(totals, patients, counts)
    if not len(sums):
        return _NOTHING
    value, count = float(sums.sum() / numbers.sum()), int(numbers.sum())
    if len(sums) < 2:
        return ConfidenceInterval(value, math.nan, math.nan, count)
    if np.ptp(sums / numbers) < _ROUNDING:
        return ConfidenceInterval(value, value, value, count)
    found = stats.bootstrap(
        (sums, numbers),
        lambda s, n, axis: s.sum(axis) / n.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, _BATCH // len(sums)),
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=rng,
    ).confidence_interval
    return ConfidenceInterval(value, float(found.low), float(found.high), count)


def signed_rank(differences: ArrayLike, patients: ArrayLike, counts: ArrayLike | None = None) -> tuple[float, int]:
    """Two-sided p-value of Wilcoxon's signed-rank test on the patients' mean differences, and how many patients.

    Differences of 0 are dropped, as Wilcoxon did (1945), and those that differ by rounding alone are equal. nan without
    any difference; 1 where all are 0.
    """
    sums, numbers = sum_by_patient(differences, patients, counts)
    means = np.round(sums / numbers, _DECIMALS)
    if not means.any():
        return (1.0 if len(means) else math.nan), len(means)
    # scipy counts zeros among the patients when it decides whether there are few enough for an exact p-value.
    return float(stats.wilcoxon(means[means != 0]).pvalue), len(means)
