"""Findings: what a reader of an evaluation wants to know first: where a model fails, and which cases to look at.

Pure functions of what `evaluation` and `summary` hold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..evaluation.scores import CaseScore, Evaluation
from .page import MINUS, shorten

CONTROL = "control"  # the dimension of healthy scans
FAILS = 0.5  # a model fails where it finds less than half of the lesions, or less than half of healthy scans healthy
UNITS = {"size": "mm", "shape": "mm", "intensity": "HU"}  # r, sigma_e, mu_t - mu_p; location and texture have none
RULE = (
    f"a model fails at a level of the benchmark where any predicted tumour voxel touches fewer than {FAILS:.0%} of the"
    " lesions; the worst three are spelled out, worst first; where there is none, the weakest level is told; and it is"
    f" told that tumours are predicted in healthy scans where specificity is below {FAILS:.0%}"
)
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
        told = "; ".join(
            f"{cell_name(dimension, level)}: {_interval(found)}" for dimension, level, found in failing[:_TOLD]
        )
        more = f"; and {len(failing) - _TOLD} more" if len(failing) > _TOLD else ""
        line = f"Fails, finding fewer than half of the lesions, at {told}{more}."
    else:
        dimension, level, found = cells[0]
        weakest = f"{cell_name(dimension, level)}: {_interval(found)}"
        line = f"Finds at least half of the lesions at every level; weakest at {weakest}."
    return line + _of_healthy(summary)


def cell_name(dimension: str, level: str) -> str:
    """A level of a dimension in words, a number with its unit: `size 2 mm`."""
    unit = UNITS.get(dimension, "")
    return f"{shorten(dimension, 40)} {level_name(level)}" + (f" {unit}" if unit and _is_number(level) else "")


def level_name(level: str) -> str:
    """A level as it is shown: a number with its minus, a word as it is, of at most 40 letters."""
    return level.replace("-", MINUS) if _is_number(level) else shorten(level, 40)


def _is_number(level: str) -> bool:
    try:
        return math.isfinite(float(level))
    except ValueError:
        return False


def levels_without_score(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Dimension and level of the cells of a benchmark of which no case is scored, so that no summary holds them."""
    cells = dict.fromkeys((case.dimension, case.level) for case in evaluation.cases if case.dimension)
    scored = {(case.dimension, case.level) for case in evaluation.cases if case.scored}
    return [cell for cell in cells if cell not in scored]


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
