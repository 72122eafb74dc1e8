"""What readers' answers say (Hu et al., CVPR 2023, section 5.1 and Table 2), as pure functions of answers and key.

Synthetic is the positive answer, as in Table 2: sensitivity is the share of synthetic cases that are called synthetic,
specificity that of real cases that are called real. Cases a reader was unsure of are counted and left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation import ConfidenceInterval, proportion_interval
from .answers import CHOICES, UNSURE, Answer
from .drawing import REAL, SYNTHETIC
from .study import KeyRow

RULES: Mapping[str, str] = {
    "positive": "synthetic is the positive answer, as in Table 2 of Hu et al. (CVPR 2023)",
    "accuracy": "of the cases that a reader calls real or synthetic, the share that is so",
    "sensitivity": "of the synthetic cases that a reader calls real or synthetic, the share called synthetic",
    "specificity": "of the real cases that a reader calls real or synthetic, the share called real",
    "unsure": "left out of all of these, and counted; a case without an answer is in no figure",
    "interval": "95 % Wilson interval; that of all readers treats answers to the same case as correlated (Rao and Scott"
    " 1992)",
    "p_guessing": "two-sided exact binomial test of the right answers against a coin",
    "p_unrelated": "two-sided exact test of Fisher: are the answers unrelated to what the cases are? Unlike the coin's"
    " it is not misled by a reader who says the same of most",
    "kappa": "two readers: Cohen's (1960), over the cases that both answered, of three answers; more readers: Fleiss'"
    " (1971), over the cases that all answered; undefined where all answers are one",
    "confidence": "1 low, 2 medium, 3 high: mean over the right and over the wrong answers",
    "seconds": "of a case, pauses and hidden windows left out, all visits to it together",
    "last": "where a case was answered again, the last answer counts",
}
Answers = Mapping[str, Mapping[str, Answer]]  # reader -> case -> what counts


@dataclass(frozen=True, slots=True)
class ReaderScore:
    """What one reader got right; times in seconds, nan where nothing was answered.

    Attributes
    ----------
    reader
        The name.
    answered, unsure_synthetic, unsure_real
        Cases with an answer, and those of each kind that the reader was unsure of.
    true_positives, false_negatives
        Synthetic cases called synthetic, and called real.
    true_negatives, false_positives
        Real cases called real, and called synthetic.
    accuracy, sensitivity, specificity
        With their intervals.
    p_guessing, p_unrelated
        See `RULES`; nan without a case that is called anything.
    confidence_right, confidence_wrong
        Mean confidence, 1 to 3, of right and of wrong answers; nan where there are none.
    seconds_median, seconds_low, seconds_high
        Time for a case: median and quartiles.
    """

    reader: str
    answered: int
    unsure_synthetic: int
    unsure_real: int
    true_positives: int
    false_negatives: int
    true_negatives: int
    false_positives: int
    accuracy: ConfidenceInterval
    sensitivity: ConfidenceInterval
    specificity: ConfidenceInterval
    p_guessing: float
    p_unrelated: float
    confidence_right: float
    confidence_wrong: float
    seconds_median: float
    seconds_low: float
    seconds_high: float

    @property
    def shares(self) -> dict[str, ConfidenceInterval]:
        """Accuracy, sensitivity and specificity by their names."""
        return {"accuracy": self.accuracy, "sensitivity": self.sensitivity, "specificity": self.specificity}


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far readers agree: the share of cases of which they say the same, and kappa (nan where undefined)."""

    readers: tuple[str, ...]
    cases: int
    same: float
    kappa: float


@dataclass(frozen=True, slots=True)
class StudyScore:
    """The score of a study: cases of each kind, each reader, all of them together, and how they agree."""

    real: int
    synthetic: int
    readers: tuple[ReaderScore, ...]
    together: dict[str, ConfidenceInterval]
    agreement: tuple[Agreement, ...]


def last_answers(answers: Sequence[Answer]) -> dict[str, Answer]:
    """The answer to each case that counts, the last, with the time of all of them."""
    found: dict[str, Answer] = {}
    for answer in answers:
        before = found[answer.case].seconds if answer.case in found else 0.0
        found[answer.case] = replace(answer, seconds=answer.seconds + before)
    return found


def score_study(key: Mapping[str, KeyRow], answers: Answers) -> StudyScore:
    """Score the answers of each reader, by what the cases are."""
    kinds = [row.kind for row in key.values()]
    return StudyScore(
        kinds.count(REAL),
        kinds.count(SYNTHETIC),
        tuple(score_reader(name, key, given) for name, given in answers.items()),
        _shares(key, list(answers.values())) if len(answers) > 1 else {},
        _agreement(answers),
    )


def score_reader(reader: str, key: Mapping[str, KeyRow], answers: Mapping[str, Answer]) -> ReaderScore:
    """Score one reader's answers, by case."""
    from scipy.stats import binomtest, fisher_exact

    count = {(kind, said): 0 for kind in (REAL, SYNTHETIC) for said in CHOICES}
    for case, answer in answers.items():
        count[key[case].kind, answer.answer] += 1
    hits = count[SYNTHETIC, SYNTHETIC], count[REAL, REAL]
    misses = count[SYNTHETIC, REAL], count[REAL, SYNTHETIC]
    called = sum(hits) + sum(misses)
    times = [answer.seconds for answer in answers.values()]
    low, median, high = np.quantile(times, (0.25, 0.5, 0.75)).tolist() if times else (math.nan,) * 3
    table = np.array([[hits[0], misses[0]], [misses[1], hits[1]]])
    shares: dict[str, Any] = _shares(key, [answers])
    return ReaderScore(
        reader,
        len(answers),
        count[SYNTHETIC, UNSURE],
        count[REAL, UNSURE],
        *(hits[0], misses[0], hits[1], misses[1]),
        **shares,
        p_guessing=float(binomtest(sum(hits), called, 0.5).pvalue) if called else math.nan,
        p_unrelated=float(fisher_exact(table).pvalue) if called else math.nan,
        confidence_right=_mean_confidence(key, answers, right=True),
        confidence_wrong=_mean_confidence(key, answers, right=False),
        seconds_median=median,
        seconds_low=low,
        seconds_high=high,
    )


def _mean_confidence(key: Mapping[str, KeyRow], answers: Mapping[str, Answer], *, right: bool) -> float:
    """Mean confidence of the answers that are right, or of those that are wrong; who is unsure has none."""
    found = [
        answer.confidence
        for case, answer in answers.items()
        if answer.confidence is not None and (answer.answer == key[case].kind) == right
    ]
    return float(np.mean(found)) if found else math.nan


def _shares(key: Mapping[str, KeyRow], given: Sequence[Mapping[str, Answer]]) -> dict[str, ConfidenceInterval]:
    """Accuracy, sensitivity and specificity of answers; those to one patient's case are alike."""
    called = [
        (row.kind, answer.answer == row.kind, row.patient)
        for answers in given
        for case, answer in answers.items()
        for row in [key[case]]
        if answer.answer != UNSURE
    ]
    kinds = {"accuracy": (REAL, SYNTHETIC), "sensitivity": (SYNTHETIC,), "specificity": (REAL,)}
    return {
        name: proportion_interval(
            [right for kind, right, _ in called if kind in of], [patient for kind, _, patient in called if kind in of]
        )
        for name, of in kinds.items()
    }


def _agreement(answers: Answers) -> tuple[Agreement, ...]:
    """How each two readers agree, and, of three and more, how all do."""
    groups = list(itertools.combinations(answers, 2))
    wholes = [tuple(answers)] if len(answers) > 2 else []
    return tuple(agree(group, [answers[name] for name in group]) for group in (*groups, *wholes))


def agree(readers: tuple[str, ...], given: Sequence[Mapping[str, Answer]]) -> Agreement:
    """How far readers agree on the cases that all of them answered: Cohen's kappa of two, Fleiss' of more."""
    cases = sorted(set.intersection(*(set(answers) for answers in given)))
    said = np.array([[CHOICES.index(answers[case].answer) for answers in given] for case in cases], int)
    if not cases:
        return Agreement(readers, 0, math.nan, math.nan)
    same = float(np.mean((said == said[:, :1]).all(axis=1)))
    return Agreement(readers, len(cases), same, _kappa(said) if np.unique(said).size > 1 else math.nan)


def _kappa(said: NDArray[np.int_]) -> float:
    """Kappa of the answers (case, reader), numbers of `CHOICES`, which are not all one."""
    from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa

    if said.shape[1] == 2:
        table = np.zeros((len(CHOICES), len(CHOICES)))
        np.add.at(table, (said[:, 0], said[:, 1]), 1)
        return float(cohens_kappa(table, return_results=False))
    counts = np.stack([(said == choice).sum(axis=1) for choice in range(len(CHOICES))], axis=1)
    return float(fleiss_kappa(counts))
