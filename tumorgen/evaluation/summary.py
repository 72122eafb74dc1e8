"""Summaries of evaluations: means, sensitivity, specificity, a comparison; and `summary.json`, which holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .. import __version__
from ..fields import columns
from ..imaging import whole_file
from ..plain_json import json_text
from ..seeds import stable_rng
from ..tables import NameCheck
from .intervals import RESAMPLES, ConfidenceInterval, mean_interval, proportion_interval, signed_rank
from .scores import FAULTS, METRICS, RADIUS_BINS, SCORED, CaseScore, Evaluation, LesionScore, level_number

FOUND_BY = {"any": "any overlap", "iou": "IoU > 0.5"}  # the rules by which a lesion counts as found
NAMES = {
    "liver_dsc": "liver DSC",
    "liver_nsd": "liver NSD",
    "tumor_dsc": "tumour DSC",
    "tumor_nsd": "tumour NSD",
    "lesion_dsc": "lesion DSC",
    "false_positives_per_scan": "false positives per scan",
    **{f"sensitivity_{rule}": f"lesions found, {name}" for rule, name in FOUND_BY.items()},
    "specificity": "specificity, scans without tumour",
}
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
    "specificity": "of the scored scans whose reference has no tumour voxel, and in which the manifest lists no tumour,"
    " the share whose prediction has none",
    "mean_interval": "95 % bootstrap interval (BCa, {resamples} resamples) over patients, not over cases of a patient",
    "proportion_interval": "95 % Wilson interval on as many trials as the data are worth, lesions or scans of a patient"
    " being alike (design effect of Rao and Scott 1992); with one a patient it is plain Wilson",
    "compare": "PREDICTIONS minus the model that --compare names, case by case, where both are scored and defined;"
    " bootstrap interval over patients; two-sided Wilcoxon signed-rank test on the patients' mean differences",
    "faults": "a case with a fault is in no estimate; faults are counted under `cases`",
}

Estimates = Mapping[str, ConfidenceInterval]
UNNAMED = "this", "other"  # models whose folders do not tell them apart


@dataclass(frozen=True, slots=True)
class Difference:
    """A paired difference, this minus the other, with the p-value of a signed-rank test on `n` patients."""

    difference: ConfidenceInterval
    p_value: float
    n: int


@dataclass(frozen=True, slots=True)
class Summary:
    """An evaluation in numbers. What is undefined is nan; `summary.json` has the same fields, with null for nan.

    Attributes
    ----------
    tumorgen_version, manifest, patients_table, tolerance_mm, seed
        What the numbers depend on; a table that was not given is empty.
    names
        Of each of these tables, which cases it does not list and which of its rows are no case's.
    notes
        The same in sentences.
    patients
        Patients of the scored cases.
    cases
        Number of cases: `total`, `scored`, and those with each fault.
    means
        Means over cases and over lesions, by metric.
    undefined
        Scored cases of which a metric is nan, by metric.
    sensitivity
        Share of lesions found, by rule (`any`, `iou`) and bin of radii; `all` holds every lesion.
    specificity
        Share of scored scans without tumour in which none is predicted.
    compare
        Differences to another evaluation, by metric; empty where there is none.
    dimensions
        Every metric by dimension and level of the robustness benchmark; empty where no case has a dimension.
    rules
        How the numbers are defined, in words.
    """

    tumorgen_version: str
    manifest: str
    patients_table: str
    names: tuple[NameCheck, ...]
    notes: tuple[str, ...]
    tolerance_mm: float
    seed: int
    patients: int
    cases: Mapping[str, int]
    means: Estimates
    undefined: Mapping[str, int]
    sensitivity: Mapping[str, Estimates]
    specificity: ConfidenceInterval
    compare: Mapping[str, Difference]
    dimensions: Mapping[str, Mapping[str, Estimates]]
    rules: Mapping[str, str]


def summarize(
    evaluation: Evaluation,
    *,
    other: Evaluation | None = None,
    seed: int = 0,
    tolerance_mm: float = 2.0,
    manifest: str = "",
    patients: str = "",
) -> Summary:
    """Summarise an evaluation, and its difference from another one of the same references if that is given.

    The seed decides what the bootstraps draw. Each estimate draws by its own name, so that one more changes no other.
    """
    cases, lesions = _scored_cases(evaluation), _table(evaluation.lesions, LesionScore)
    lesions = lesions[lesions["kind"] == "reference"]
    statuses = Counter(case.status for case in evaluation.cases)
    return Summary(
        tumorgen_version=__version__,
        manifest=manifest,
        patients_table=patients,
        names=evaluation.checks,
        notes=tuple(note for check in evaluation.checks for note in check.notes),
        tolerance_mm=tolerance_mm,
        seed=seed,
        patients=cases["patient"].nunique(),
        cases={"total": statuses.total(), **{status: statuses[status] for status in (SCORED, *FAULTS)}},
        means=_means(cases, lesions, seed),
        undefined={metric: int(cases[metric].isna().sum()) for metric in METRICS},
        sensitivity={rule: _sensitivity_by_radius(lesions, rule) for rule in FOUND_BY},
        specificity=_specificity(cases),
        compare=_compare(cases, _scored_cases(other), seed) if other else {},
        dimensions=_dimensions(cases, lesions, seed),
        rules={name: text.format(tolerance=tolerance_mm, resamples=RESAMPLES) for name, text in RULES.items()},
    )


def name_models(evaluation: Evaluation, other: Evaluation) -> tuple[str, str]:
    """What two models are called: the folders of their predictions, with so much of their paths as tells them apart.

    They are `UNNAMED` where a model's files lie in several folders or none, or both models' in one.
    """
    folders = [
        {Path(case.prediction_file).absolute().parent for case in each.cases if case.prediction_file}
        for each in (evaluation, other)
    ]
    if any(len(each) != 1 for each in folders) or folders[0] == folders[1]:
        return UNNAMED
    (first,), (second,) = ([folder.parts for folder in each] for each in folders)
    count = next(count for count in range(1, 1 + max(len(first), len(second))) if first[-count:] != second[-count:])
    return "/".join(first[-count:]), "/".join(second[-count:])


def write_summary(summary: Summary, path: Path) -> None:
    """Write a summary as JSON; the file appears whole or not at all.

    JSON knows no nan: what is undefined is null, as are a comparison and dimensions that are not there.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    found = asdict(summary)
    found |= {name: found[name] or None for name in ("compare", "dimensions")}
    with whole_file(path) as partial:
        partial.write_text(json_text(found), encoding="utf-8")


def _table(scores: Sequence[Any], kind: type) -> pd.DataFrame:
    """Scores of a kind as a table, with a column for each field even where there is no score."""
    return pd.DataFrame({name: [getattr(score, name) for score in scores] for name in columns(kind)})


def _scored_cases(evaluation: Evaluation) -> pd.DataFrame:
    """The cases that count."""
    cases = _table(evaluation.cases, CaseScore)
    return cases[cases["status"] == SCORED]


def _means(cases: pd.DataFrame, lesions: pd.DataFrame, seed: int, name: str = "") -> dict[str, ConfidenceInterval]:
    """Means over cases and over lesions of the reference."""
    sources = {
        **{metric: (cases, metric) for metric in METRICS},
        "lesion_dsc": (lesions, "dsc"),
        "false_positives_per_scan": (cases, "false_positives"),
    }
    return {
        metric: mean_interval(table[column], table["patient"], stable_rng(seed, f"{name}/{metric}"))
        for metric, (table, column) in sources.items()
    }


def _sensitivity(lesions: pd.DataFrame, rule: str) -> ConfidenceInterval:
    """Share of lesions that are found by a rule of `FOUND_BY`."""
    return proportion_interval(lesions[f"detected_{rule}"], lesions["patient"])


def _sensitivity_by_radius(lesions: pd.DataFrame, rule: str) -> dict[str, ConfidenceInterval]:
    """Sensitivity for all lesions and for each bin of radii."""
    bins = {name: _sensitivity(lesions[lesions["radius_bin"] == name], rule) for name in RADIUS_BINS}
    return {"all": _sensitivity(lesions, rule), **bins}


def _specificity(cases: pd.DataFrame) -> ConfidenceInterval:
    """Of the scans without tumour, by reference and manifest, the share in which none is predicted."""
    clean = cases[(cases["reference_tumor_mm3"] == 0) & ~cases["tumors_listed"].astype(bool)]
    return proportion_interval(clean["predicted_tumor_mm3"] == 0, clean["patient"])


def _dimensions(
    cases: pd.DataFrame, lesions: pd.DataFrame, seed: int
) -> dict[str, dict[str, dict[str, ConfidenceInterval]]]:
    """Every metric for each level of each dimension, the control's among them.

    Dimensions are in the order of the cases; levels by their numbers, those that are words in the order of the cases.
    """
    found: dict[str, dict[str, dict[str, ConfidenceInterval]]] = {}
    cells = cases.loc[cases["dimension"] != "", ["dimension", "level"]].drop_duplicates()
    for dimension, level in cells.itertuples(index=False, name=None):
        here, within = (of[(of["dimension"] == dimension) & (of["level"] == level)] for of in (cases, lesions))
        found.setdefault(dimension, {})[level] = {
            **_means(here, within, seed, f"{dimension}/{level}"),
            **{f"sensitivity_{rule}": _sensitivity(within, rule) for rule in FOUND_BY},
            "specificity": _specificity(here),
        }
    return {
        dimension: dict(sorted(levels.items(), key=lambda cell: level_number(cell[0])))
        for dimension, levels in found.items()
    }


def _compare(mine: pd.DataFrame, theirs: pd.DataFrame, seed: int) -> dict[str, Difference]:
    """Differences, mine minus theirs, over the cases that are scored in both."""
    pairs = mine.merge(theirs, on="case", suffixes=("", "_other"))
    sources = {
        **{metric: (metric, None) for metric in METRICS},
        "false_positives_per_scan": ("false_positives", None),
        **{f"sensitivity_{rule}": (f"detected_{rule}", pairs["lesions"]) for rule in FOUND_BY},
    }
    found = {}
    for metric, (column, counts) in sources.items():
        differences = pairs[column] - pairs[f"{column}_other"]
        interval = mean_interval(differences, pairs["patient"], stable_rng(seed, f"compare/{metric}"), counts)
        found[metric] = Difference(interval, *signed_rank(differences, pairs["patient"], counts))
    return found
