"""Findings: what a reader of an evaluation wants to know first: where a model fails, and which cases to look at.

Pure functions of what `evaluation` and `summary` hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .evaluation import CaseScore, Evaluation

CONTROL = "control"  # the dimension of healthy scans
FAILS = 0.5  # a model fails where it finds less than half of the lesions, or less than half of healthy scans healthy
_TOLD = 3  # cells

Summary = Mapping[str, Any]


def where_it_fails(summary: Summary) -> str:
    """One line about the robustness benchmark: the levels where fewer than half of the lesions are found (any overlap).

    The worst come first; where there is none, the weakest level is told. Healthy scans in which more often than not a
    tumour is predicted are told too. Empty without a benchmark.
    """
    cells = sorted(_sensitivities(summary), key=lambda cell: cell[2]["value"])
    failing = [cell for cell in cells if cell[2]["value"] < FAILS]
    if not cells:
        return ""
    if failing:
        told = "; ".join(f"{dimension} {level}: {_interval(found)}" for dimension, level, found in failing[:_TOLD])
        more = f"; and {len(failing) - _TOLD} more" if len(failing) > _TOLD else ""
        line = f"Fails, finding fewer than half of the lesions, at {told}{more}."
    else:
        dimension, level, found = cells[0]
        line = f"Finds at least half of the lesions at every level; weakest at {dimension} {level}: {_interval(found)}."
    return line + _of_healthy(summary)


def _sensitivities(summary: Summary) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for dimension, levels in (summary["dimensions"] or {}).items():
        for level, cell in levels.items():
            if dimension != CONTROL and cell["sensitivity_any"]["value"] is not None:
                yield dimension, level, cell["sensitivity_any"]


def _of_healthy(summary: Summary) -> str:
    levels = (summary["dimensions"] or {}).get(CONTROL, {})
    found = [cell["specificity"] for cell in levels.values() if cell["specificity"]["value"] is not None]
    if found and found[0]["value"] < FAILS:
        return f" Predicts tumours in most healthy scans: specificity {_interval(found[0])}."
    return ""


def _interval(found: Mapping[str, Any]) -> str:
    if found["low"] is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]"


def worst_cases(evaluation: Evaluation, count: int) -> list[CaseScore]:
    """Scored cases that are worth looking at, the worst first.

    First those with lesions of which none is found, then by falling tumour DSC, then by false positives. Cases in which
    reference and prediction agree that there is no tumour are left out.
    """

    def badness(case: CaseScore) -> tuple[bool, float, int, str]:
        missed = case.lesions > 0 and case.detected_any == 0
        return not missed, case.tumor_dsc, -case.false_positives, case.case

    return sorted((c for c in evaluation.cases if c.scored and not math.isnan(c.tumor_dsc)), key=badness)[:count]
