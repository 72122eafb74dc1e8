"""What an evaluation amounts to: means, sensitivity, specificity, a comparison; what `summary.json` says.

Every estimate is `{"value", "low", "high", "count"}`, with its 95 % interval. JSON knows no nan: the undefined is None.
"""

from __future__ import annotations

import json
import math
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..imaging.files import whole_file
from .intervals import RESAMPLES, mean_interval, proportion_interval, signed_rank
from .scores import FAULTS, METRICS, RADIUS_BINS, CaseScore, ConfidenceInterval, Evaluation, LesionScore

Summary = dict[str, Any]

RULES: Mapping[str, str] = {
    "labels": "0 background, 1 liver, 2 tumour; the liver is scored with its tumours (label 1 and above), as in LiTS",
    "dsc": "Dice similarity coefficient, 2 |A and B| / (|A| + |B|)",
    "nsd": "normalised surface distance: the share of both surfaces' area within {tolerance:g} mm of the other surface,"
    " areas in mm2 by marching cubes, distances in mm",
    "empty": "reference and prediction both empty: undefined (nan), in no mean, counted under `undefined`, for there is"
    " nothing to agree on, and a score of 1 would reward scans without tumour; one of them empty: 0",
    "lesion": "a component of label 2, 26 neighbours; its radius is that of the sphere of its volume",
    "radius_bins": "in mm; 5 and 10 begin a bin, 20 ends one",
    "detected_any": "a predicted tumour voxel lies in the lesion",
    "detected_iou": "intersection over union above 0.5, as in the LiTS scorer: lesions that one prediction covers best"
    " are merged, then fragments of one (merged) lesion are merged, and all parts of a merged lesion are found or none",
    "lesion_dsc": "Dice of the match that the intersection over union is of; 0 for a lesion that nothing is matched to",
    "false_positive": "a predicted component that overlaps no lesion of the reference; counted per scored scan",
    "specificity": "of the scored scans whose reference has no tumour voxel, the share whose prediction has none",
    "mean_interval": "95 % bootstrap interval (BCa, {resamples} resamples) over patients, not over cases of a patient",
    "proportion_interval": "95 % Wilson interval on as many trials as the data are worth, lesions or scans of a patient"
    " being alike (design effect of Rao and Scott 1992); with one a patient it is plain Wilson",
    "compare": "this minus the other, case by case, where both are scored and defined; bootstrap interval over"
    " patients; two-sided Wilcoxon signed-rank test on the patients' mean differences",
    "faults": "a case with a fault is in no estimate; faults are counted under `cases`",
}


def summarize(
    evaluation: Evaluation,
    *,
    other: Evaluation | None = None,
    seed: int = 0,
    tolerance_mm: float = 2.0,
    manifest: str = "",
) -> Summary:
    """Summarise an evaluation, and the difference to another one of the same references if it is given.

    The seed decides what the bootstraps draw, each from its own name, so that one more changes no other.
    """
    cases, lesions = _scored(evaluation)
    count = Counter(case.status for case in evaluation.cases)
    return {
        "tumorgen_version": __version__,
        "manifest": manifest,
        "tolerance_mm": tolerance_mm,
        "seed": seed,
        "patients": len({case.patient for case in cases}),
        "cases": {"total": len(evaluation.cases), "scored": len(cases), **{fault: count[fault] for fault in FAULTS}},
        "means": _means(cases, lesions, seed),
        "undefined": {metric: sum(math.isnan(getattr(case, metric)) for case in cases) for metric in METRICS},
        "sensitivity": {rule: _by_radius(lesions, f"detected_{rule}") for rule in ("any", "iou")},
        "specificity": _specificity(cases),
        "compare": _compare(evaluation, other, seed) if other else None,
        "dimensions": _dimensions(cases, lesions, seed),
        "rules": {name: text.format(tolerance=tolerance_mm, resamples=RESAMPLES) for name, text in RULES.items()},
    }


def write_summary(summary: Mapping[str, Any], path: Path) -> None:
    """Write a summary as JSON; the file appears whole or not at all.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    with whole_file(path) as partial:
        text = json.dumps(summary, indent=2, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")


def _scored(evaluation: Evaluation) -> tuple[list[CaseScore], list[LesionScore]]:
    """Cases that count, and the lesions of their references."""
    cases = [case for case in evaluation.cases if case.scored]
    return cases, [lesion for lesion in evaluation.lesions if lesion.kind == "reference"]


def _rng(seed: int, name: str) -> np.random.Generator:
    """The generator of one estimate, whatever others there are."""
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _told(interval: ConfidenceInterval) -> dict[str, float | int | None]:
    """An estimate as JSON has it."""
    return {name: None if math.isnan(number) else number for name, number in asdict(interval).items()}


def _means(
    cases: Sequence[CaseScore], lesions: Sequence[LesionScore], seed: int, name: str = ""
) -> dict[str, dict[str, float | int | None]]:
    """Means over cases and over lesions of the reference."""
    scores: dict[str, tuple[Sequence[CaseScore] | Sequence[LesionScore], str]] = {
        **{metric: (cases, metric) for metric in METRICS},
        "lesion_dsc": (lesions, "dsc"),
        "false_positives_per_scan": (cases, "false_positives"),
    }
    return {
        metric: _told(
            mean_interval([getattr(s, field) for s in of], [s.patient for s in of], _rng(seed, f"{name}/{metric}"))
        )
        for metric, (of, field) in scores.items()
    }


def _sensitivity(lesions: Iterable[LesionScore], rule: str) -> dict[str, float | int | None]:
    """Share of lesions that are found by a rule, the name of its field."""
    kept = list(lesions)
    return _told(proportion_interval([getattr(lesion, rule) for lesion in kept], [lesion.patient for lesion in kept]))


def _by_radius(lesions: Sequence[LesionScore], rule: str) -> dict[str, Any]:
    """Sensitivity for all lesions and for each bin of radii."""
    bins = {name: _sensitivity((x for x in lesions if x.radius_bin == name), rule) for name in RADIUS_BINS}
    return {"all": _sensitivity(lesions, rule), **bins}


def _specificity(cases: Iterable[CaseScore]) -> dict[str, float | int | None]:
    """Of the scans without tumour, the share in which none is predicted."""
    clean = [case for case in cases if case.reference_tumor_mm3 == 0]
    return _told(
        proportion_interval([case.predicted_tumor_mm3 == 0 for case in clean], [case.patient for case in clean])
    )


def _dimensions(cases: Sequence[CaseScore], lesions: Sequence[LesionScore], seed: int) -> dict[str, Any] | None:
    """Every metric for each level of each dimension, the control's among them; None where no case has a dimension.

    Levels are in the order of their numbers, or of the cases' names where they are none.
    """
    cells = list(dict.fromkeys((case.dimension, case.level) for case in cases if case.dimension))
    found: dict[str, Any] = {}
    for dimension, level in sorted(cells, key=lambda cell: _number(cell[1])):
        here = [case for case in cases if (case.dimension, case.level) == (dimension, level)]
        within = [lesion for lesion in lesions if (lesion.dimension, lesion.level) == (dimension, level)]
        found.setdefault(dimension, {})[level] = {
            **_means(here, within, seed, f"{dimension}/{level}"),
            "sensitivity_any": _sensitivity(within, "detected_any"),
            "sensitivity_iou": _sensitivity(within, "detected_iou"),
            "specificity": _specificity(here),
        }
    return {dimension: found[dimension] for dimension in dict.fromkeys(d for d, _ in cells)} or None


def _number(level: str) -> float:
    """A level as a number, 0 for a word; sorting is stable, so words stay as they are."""
    try:
        return float(level)
    except ValueError:
        return 0.0


def _compare(evaluation: Evaluation, other: Evaluation, seed: int) -> dict[str, Any]:
    """Differences, this minus the other, over the cases that are scored in both."""
    theirs = {case.case: case for case in other.cases if case.scored}
    pairs = [(case, theirs[case.case]) for case in evaluation.cases if case.scored and case.case in theirs]
    patients, ones, lesions = [mine.patient for mine, _ in pairs], [1] * len(pairs), [mine.lesions for mine, _ in pairs]
    fields = {
        **{metric: (metric, ones) for metric in METRICS},
        "false_positives_per_scan": ("false_positives", ones),
        "sensitivity_any": ("detected_any", lesions),
        "sensitivity_iou": ("detected_iou", lesions),
    }
    found: dict[str, Any] = {}
    for metric, (field, counts) in fields.items():
        differences = [float(getattr(mine, field) - getattr(their, field)) for mine, their in pairs]
        p_value, n = signed_rank(differences, patients, counts)
        interval = mean_interval(differences, patients, _rng(seed, f"compare/{metric}"), counts)
        found[metric] = {"difference": _told(interval), "p_value": None if math.isnan(p_value) else p_value, "n": n}
    return found
