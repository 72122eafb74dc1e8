"""What a reader of an evaluation wants to know first: where a model fails, and which cases to look at."""

from __future__ import annotations

import math

from ..evaluation import CaseScore, ConfidenceInterval, Evaluation, Summary
from .page import MINUS, shorten

CONTROL_DIMENSION = "control"  # the dimension of healthy scans
FAILS = 0.5  # a model fails where it finds less than half of the lesions, or less than half of healthy scans healthy
UNITS = {"size": "mm", "shape": "mm", "intensity": "HU"}  # r, sigma_e, mu_t - mu_p; location and texture have none
RULE = (
    f"a model fails at a level of the benchmark where any predicted tumour voxel touches fewer than {FAILS:.0%} of the"
    " lesions; the worst three are named, the worst first; if there is none, the weakest level is named; a specificity"
    f" below {FAILS:.0%} in healthy scans is named as well"
)
_NAMED = 3  # levels


def where_it_fails(summary: Summary) -> str:
    """One line on the robustness benchmark: the levels at which fewer than half of the lesions are found (any overlap).

    The worst come first, and at most three are named. If there is none, the line names the weakest level. It also says
    if a tumour is predicted in most healthy scans. Empty without a benchmark.
    """
    cells = [
        (cell["sensitivity_any"], cell_name(dimension, level))
        for dimension, levels in summary.dimensions.items()
        for level, cell in levels.items()
        if dimension != CONTROL_DIMENSION and cell["sensitivity_any"].defined
    ]
    if not cells:
        return ""
    weakest = sorted(cells, key=lambda cell: cell[0].value)
    failing = [cell for cell in weakest if cell[0].value < FAILS]
    named = "; ".join(f"{name}: {_interval(found)}" for found, name in (failing or weakest[:1])[:_NAMED])
    if not failing:
        return f"Finds at least half of the lesions at every level; weakest at {named}.{_of_healthy(summary)}"
    more = f"; and {len(failing) - _NAMED} more" if len(failing) > _NAMED else ""
    return f"Fails, finding fewer than half of the lesions, at {named}{more}.{_of_healthy(summary)}"


def cell_name(dimension: str, level: str) -> str:
    """A dimension and a level of it in words, a number with its unit: `size 2 mm`."""
    unit = UNITS.get(dimension, "")
    return f"{shorten(dimension, 40)} {level_name(level)}" + (f" {unit}" if unit and _is_number(level) else "")


def level_name(level: str) -> str:
    """A level as it is shown: a number with a true minus sign, or a word of at most 40 letters."""
    return level.replace("-", MINUS) if _is_number(level) else shorten(level, 40)


def _is_number(level: str) -> bool:
    try:
        return math.isfinite(float(level))
    except ValueError:
        return False


def levels_without_score(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Dimension and level of each cell of a benchmark of which no case is scored; summaries do not hold them."""
    cells = dict.fromkeys((case.dimension, case.level) for case in evaluation.cases if case.dimension)
    scored = {(case.dimension, case.level) for case in evaluation.cases if case.scored}
    return [cell for cell in cells if cell not in scored]


def _of_healthy(summary: Summary) -> str:
    """A sentence that says so if a tumour is predicted in most healthy scans; else empty."""
    cells = summary.dimensions.get(CONTROL_DIMENSION, {}).values()
    found = [cell["specificity"] for cell in cells if cell["specificity"].defined]
    if found and found[0].value < FAILS:
        return f" Predicts tumours in most healthy scans: specificity {_interval(found[0])}."
    return ""


def _interval(found: ConfidenceInterval) -> str:
    limits = f" [{found.low:z.2f}, {found.high:z.2f}]" if found.limited else ""
    return f"{found.value:z.2f}{limits}"


def worst_cases(evaluation: Evaluation, count: int) -> list[CaseScore]:
    """The scored cases that are most worth looking at, the worst first; `count` of them at most.

    Cases whose lesions are all missed come first; then those with a low tumour DSC, then those with many false
    positives. Cases in which reference and prediction agree that there is no tumour are left out.
    """

    def badness(case: CaseScore) -> tuple[bool, float, int, str]:
        missed = case.lesions > 0 and case.detected_any == 0
        return not missed, case.tumor_dsc, -case.false_positives, case.case

    return sorted((c for c in evaluation.cases if c.scored and not math.isnan(c.tumor_dsc)), key=badness)[:count]
