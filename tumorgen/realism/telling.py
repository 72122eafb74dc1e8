"""Whether a machine can tell synthetic lesions from real ones, and by what.

A classifier learns from the lesions of all patients but some, and judges those of the others; its AUC is 0.5 where the
sets are alike and 1 where it is never wrong. What a forest goes by is found by shuffling one statistic at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..evaluation import RADIUS_BINS, ConfidenceInterval
from ..fields import About
from ..parallel import Start, no_progress
from ..seeds import stable_rng
from .comparing import APPEARANCE, LEAST_LESIONS, SHAPE, lesion_frame
from .matching import Contest, deal_lesions, deal_patients, without_unknown
from .measuring import MeasuredSet
from .weighting import RESAMPLES, interval_of, quantiles_of

TREES, LEAST_LEAF = 120, 2
SHUFFLES = 10
LEAST_MEASURED = 0.5  # part of its statistics, of a lesion that a forest sees
ALIGNED = "forest on appearance, outlines aligned"  # by `lesion_frame` of that kind
FORESTS: Mapping[str, Sequence[str]] = {
    "forest on appearance": tuple(APPEARANCE),
    "forest on shape and place": tuple(SHAPE),
    ALIGNED: tuple(name for name in APPEARANCE if name != "edge_middle_mm"),
}
NETWORK = "network on pictures"

Numbers = NDArray[np.float64]
Folds = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Giveaway:
    """How much a statistic gives the synthetic lesions away."""

    classifier: Annotated[str, About("who tells the lesions apart")]
    statistic: Annotated[str, About("what it goes by: a column of lesions.csv")]
    importance: Annotated[
        float,
        About("by how much the AUC falls where this is shuffled, others known; lesions as folds; nan with one lesion"),
    ]
    alone: Annotated[float, About("AUC of this alone; above 0.5 where it is higher in synthetic lesions")]
    real_median: Annotated[float, About("median of the real lesions that take part, weighed as for the AUC")]
    synthetic_median: Annotated[
        float, About("median of those that match them, which share the weight of their real lesion")
    ]

    @property
    def worth(self) -> float:
        """What it adds to the AUC: by itself, or on top of the others. Of several that say the same none is missed."""
        return max(0.0, abs(self.alone - 0.5), self.importance)  # either may be nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How well a classifier tells the sets apart.

    Attributes
    ----------
    classifier
        Which.
    auc
        Area under its ROC curve, patients left out, with an interval over patients; nan where it could not be had.
    by_radius
        The same judgements by bin of radii, where at least eight real lesions take part.
    auc_by_lesion
        The AUC with lesions left out instead of patients. It may learn the patients' own lesions by heart: where
        patients are few, the truth lies between the two. nan where that was not tried.
    by_lesion_and_radius
        That AUC by bin of radii, where at least eight real lesions take part; empty where it was not tried.
    giveaways
        What it goes by, the most telling first; empty for a network.
    note
        Why there is no AUC, or what to keep in mind; empty where there is nothing.
    unknown_real, unknown_synthetic
        Lesions that take no part, for too little that the classifier goes by could be measured of them.
    """

    classifier: str
    auc: ConfidenceInterval
    by_radius: Mapping[str, ConfidenceInterval]
    auc_by_lesion: float
    by_lesion_and_radius: Mapping[str, float]
    giveaways: tuple[Giveaway, ...]
    note: str
    unknown_real: int = 0
    unknown_synthetic: int = 0

    @property
    def conclusive(self) -> bool:
        """Whether enough real lesions take part for a conclusion."""
        return self.auc.count >= LEAST_LESIONS


def judge_by_forest(
    classifier: str, real: pd.DataFrame, synthetic: pd.DataFrame, contest: Contest, *, seed: int = 0, jobs: int = 1
) -> Verdict:
    """Have one of `FORESTS` tell the lesions of a contest apart, by the rows of `lesion_frame` of both sets.

    Lesions of which fewer than half of its statistics could be measured take no part: what is filled in at random in
    their place would make the sets look alike.
    """
    statistics = FORESTS[classifier]
    everything = _lesions_of(real, synthetic, contest)
    measured = np.isfinite(everything[[*statistics]].to_numpy(float)).mean(axis=1)
    contest = without_unknown(contest, measured >= LEAST_MEASURED)
    lesions = _lesions_of(real, synthetic, contest)
    rng = stable_rng(seed, "judge", classifier)
    if not contest.real_count:
        return give_verdict(classifier, lesions, contest, np.empty(0), rng)
    features = lesions[[*statistics]].to_numpy(float)
    folds, mixed = deal_patients(contest), deal_lesions(contest, rng)
    scores, _ = _judge(features, contest, folds, rng, jobs)
    by_lesion, falls = _judge(features, contest, mixed, rng, jobs, shuffles=SHUFFLES)
    giveaways = [
        _giveaway(classifier, statistic, features[:, place], contest, float(falls[place]))
        for place, statistic in enumerate(statistics)
    ]
    return give_verdict(
        classifier,
        lesions,
        contest,
        scores,
        rng,
        by_lesion=by_lesion,
        giveaways=tuple(sorted(giveaways, key=lambda each: -each.worth)),
    )


def judge_by_network(
    real: MeasuredSet,
    synthetic: MeasuredSet,
    contest: Contest,
    *,
    seed: int = 0,
    jobs: int = 1,
    start: Start = no_progress,
) -> Verdict:
    """Have a small network tell the lesions of a contest apart by their pictures; without torch it says so.

    Lesions are left out as well where there is a note on patients, and otherwise not: it takes minutes.
    """
    lesions = _lesions_of(lesion_frame(real), lesion_frame(synthetic), contest)
    rng = stable_rng(seed, "judge", NETWORK)
    unknown = np.full(len(contest.rows), math.nan)
    try:
        from .network import score_views
    except ImportError:
        return give_verdict(NETWORK, lesions, contest, unknown, rng, note="torch is not installed")
    both = real.lesions, synthetic.lesions
    views = [both[int(which)][row].view for row, which in zip(contest.rows, contest.is_synthetic, strict=True)]
    score = partial(score_views, views, contest, rng=rng, jobs=jobs, start=start)
    folds = deal_patients(contest)
    scores = score(folds) if folds.any() else unknown
    mixed = deal_lesions(contest, rng)
    by_lesion = score(mixed) if mixed.any() and _what_to_keep_in_mind(contest) else None
    return give_verdict(NETWORK, lesions, contest, scores, rng, by_lesion=by_lesion)


def _lesions_of(real: pd.DataFrame, synthetic: pd.DataFrame, contest: Contest) -> pd.DataFrame:
    """The rows of the lesions that take part, in the order of the contest."""
    rows = contest.rows[~contest.is_synthetic], contest.rows[contest.is_synthetic]
    return pd.concat([real.iloc[rows[0]], synthetic.iloc[rows[1]]], ignore_index=True)


def give_verdict(
    classifier: str,
    lesions: pd.DataFrame,
    contest: Contest,
    scores: Numbers,
    rng: np.random.Generator,
    *,
    by_lesion: Numbers | None = None,
    giveaways: tuple[Giveaway, ...] = (),
    note: str = "",
) -> Verdict:
    """The verdict that scores amount to: of each lesion of a contest how synthetic it looks, nan where none was had.

    `scores` are those with patients left out, and `by_lesion` those with lesions left out, if that was tried.
    """
    radii = lesions["radius_bin"].to_numpy(str)[contest.pairs]  # a match goes with its real lesion
    bins = {name: radii == name for name in RADIUS_BINS}
    large = {name: of for name, of in bins.items() if np.count_nonzero(of & ~contest.is_synthetic) >= LEAST_LESIONS}
    left_out = {} if by_lesion is None else {name: weighted_auc(by_lesion, contest, of) for name, of in large.items()}
    return Verdict(
        classifier=classifier,
        auc=_auc_interval(scores, contest, np.ones(len(scores), bool), rng),
        by_radius={name: _auc_interval(scores, contest, of, rng) for name, of in large.items()},
        auc_by_lesion=math.nan if by_lesion is None else weighted_auc(by_lesion, contest),
        by_lesion_and_radius=left_out,
        giveaways=giveaways,
        note=note or _what_to_keep_in_mind(contest),
        unknown_real=contest.unknown_real,
        unknown_synthetic=contest.unknown_synthetic,
    )


def _what_to_keep_in_mind(contest: Contest) -> str:
    """Why leaving patients out says nothing, or little."""
    if not contest.real_count:
        return "no real lesion is left that it could learn from"
    if contest.real_count == 1:
        return "one real lesion only, so that none can be left out"
    patients, counts = np.unique(contest.patients[~contest.is_synthetic], return_counts=True)
    if not deal_patients(contest).any():
        others = contest.patients[contest.is_synthetic]
        alone = [name for name, of in (("real", patients), ("synthetic", others)) if len({*of.tolist()}) == 1]
        whose = "" if len({*contest.patients.tolist()}) == 1 else f"{' and '.join(alone)} lesions of "
        return f"{whose}one patient only, so that nobody can be left out"
    if counts.max() > counts.sum() / 2:
        share = f"{100 * counts.max() / counts.sum():.0f} % of the real lesions are of one of {len(patients)} patients"
        return f"{share}: little is left to learn from where that one is left out; mind the AUC with lesions left out"
    return ""


def _judge(
    features: Numbers, contest: Contest, folds: Folds, rng: np.random.Generator, jobs: int, *, shuffles: int = 0
) -> tuple[Numbers, Numbers]:
    """Score of each lesion by a forest that has not seen its fold; by how much the AUC falls for each statistic.

    All nan where there is one fold, so that nothing is left to learn from.
    """
    if not folds.any():
        return np.full(len(features), math.nan), np.full(features.shape[1], math.nan)
    scores = np.empty(len(features))
    shuffled = np.empty((features.shape[1], shuffles, len(features)))
    for fold in np.unique(folds):
        held = folds == fold
        known = _fill_in(features, ~held, rng)
        forest = _grow_forest(known[~held], contest.is_synthetic[~held], contest.weights[~held], rng, jobs)
        scores[held] = forest.predict_proba(known[held])[:, 1]
        if shuffles:
            asked = _shuffle_each(known[held], shuffles, rng)
            found = forest.predict_proba(asked.reshape(-1, features.shape[1]))[:, 1]
            shuffled[:, :, held] = found.reshape(features.shape[1], shuffles, -1)
    whole = weighted_auc(scores, contest)
    falls = [whole - np.mean([weighted_auc(each, contest) for each in of]) for of in shuffled] if shuffles else []
    return scores, np.array(falls)


def _fill_in(features: Numbers, learned: NDArray[np.bool_], rng: np.random.Generator) -> Numbers:
    """The features (lesion, statistic), what is not known being drawn from what is, of the lesions that are learned.

    A constant in its place would be recognised: that something could not be measured must give nothing away.
    """
    filled = features.copy()
    for values in filled.T:
        missing = ~np.isfinite(values)
        known = values[learned & ~missing]
        values[missing] = rng.choice(known, np.count_nonzero(missing)) if known.size else 0.0
    return filled


def _grow_forest(
    features: Numbers, is_synthetic: NDArray[np.bool_], weights: Numbers, rng: np.random.Generator, jobs: int
) -> Any:
    """A forest that has learned; both kinds weigh the same."""
    from sklearn.ensemble import RandomForestClassifier

    balanced = weights.copy()
    for which in (False, True):
        balanced[is_synthetic == which] *= len(balanced) / 2 / max(balanced[is_synthetic == which].sum(), 1e-12)
    seed = int(rng.integers(2**31))
    forest = RandomForestClassifier(TREES, min_samples_leaf=LEAST_LEAF, random_state=seed, n_jobs=jobs)
    return forest.fit(features, is_synthetic, sample_weight=balanced)


def _shuffle_each(features: Numbers, times: int, rng: np.random.Generator) -> Numbers:
    """Copies (statistic, time, lesion, statistic) in which one statistic of the lesions is shuffled."""
    count = features.shape[1]
    copies = np.tile(features, (count, times, 1, 1))
    for place in range(count):
        for time in range(times):
            copies[place, time, :, place] = rng.permutation(features[:, place])
    return copies


def weighted_auc(scores: Numbers, contest: Contest, among: NDArray[np.bool_] | None = None) -> float:
    """Chance that a synthetic lesion has a higher score than a real one, ties half, among some; nan without scores."""
    weights = contest.weights if among is None else contest.weights * among
    return float(_aucs(scores, contest, weights[None])[0])


def _aucs(scores: Numbers, contest: Contest, weights: Numbers) -> Numbers:
    """The same for several weightings (weighting, lesion); what has no score is left out."""
    known = np.isfinite(scores)
    first, second = known & ~contest.is_synthetic, known & contest.is_synthetic
    higher = (scores[second][None] > scores[first][:, None]) + 0.5 * (scores[second][None] == scores[first][:, None])
    ones, others = weights[:, first], weights[:, second]
    totals = ones.sum(1) * others.sum(1)
    found = ((ones @ higher) * others).sum(1)
    return np.where(totals > 0, np.clip(found / np.where(totals > 0, totals, 1), 0, 1), np.nan)


def _auc_interval(
    scores: Numbers, contest: Contest, among: NDArray[np.bool_], rng: np.random.Generator
) -> ConfidenceInterval:
    """AUC among some lesions, with an interval over patients: of both sets together where they share them."""
    if not among.size:
        return ConfidenceInterval(math.nan, math.nan, math.nan, 0)
    names, patients = np.unique(contest.patients, return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    weights = np.vstack([np.ones((1, len(scores))), drawn[:, patients]]) * contest.weights * among
    found = _aucs(scores, contest, weights)
    real = among & ~contest.is_synthetic
    low, high = interval_of(found[1:], len({*contest.patients[real].tolist()}))
    return ConfidenceInterval(float(found[0]), low, high, int(np.count_nonzero(real)))


def _giveaway(classifier: str, statistic: str, values: Numbers, contest: Contest, importance: float) -> Giveaway:
    sets = (contest.is_synthetic == which for which in (False, True))
    real_median, synthetic_median = (float(quantiles_of(values[of], contest.weights[of], [0.5])[0]) for of in sets)
    return Giveaway(
        classifier=classifier,
        statistic=statistic,
        importance=importance,
        alone=weighted_auc(values, contest),
        real_median=real_median,
        synthetic_median=synthetic_median,
    )
