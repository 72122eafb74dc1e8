"""Tables of the study on realism: recipes side by side, by what their audits hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean
from typing import Any

from real_page import table

from tumorgen.evaluation import RADIUS_BINS
from tumorgen.realism import STATISTIC_NAMES
from tumorgen.realism.comparing import ALL, APPEARANCE, SCANS, SHAPE, SHARE_NAMES, Comparison
from tumorgen.realism.telling import FORESTS, NETWORK

GIVEAWAYS = 3  # of each classifier
PROFILES, SHEET, PAIRS = (f"images/realism-{name}.png" for name in ("profiles", "sheet", "pairs"))  # beside the page
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found of a recipe.

    Attributes
    ----------
    recipe
        Its name.
    audit
        What `tumorgen audit` writes as `audit.json`.
    places
        The same of places, shapes and numbers alone, beside more label maps; empty if there are none.
    centers
        By whose liver masks were used: how many tumours, and how many of their centres lie in what is no parenchyma.
    """

    recipe: str
    audit: Record
    places: Record
    centers: Mapping[str, Sequence[int]]

    def rows(self, of: str = "audit") -> list[Comparison]:
        """What is compared, by the audit or in places."""
        rows = getattr(self, of).get("comparisons", [])
        return [
            Comparison(**{name: math.nan if value is None else value for name, value in row.items()}) for row in rows
        ]

    def verdict(self, classifier: str) -> Record:
        """What a classifier can tell; empty where it was not asked."""
        return next((each for each in self.audit["verdicts"] if each["classifier"] == classifier), {})


def page_text(found: Sequence[Findings], others: Record | None = None) -> list[str]:
    """What the page says of the results; `others` is what `compare_real` has found."""
    parts = [
        summary_lines(found),
        *([reference_lines(others)] if others and others["verdict"] else []),
        ["### Looks, places and shapes over all sizes", "", *statistic_lines(found, "audit", (ALL,))],
        ["### What gives them away", "", *giveaway_lines(found)],
    ]
    if found[0].places:
        real = found[0].places["real"]
        head = f"### Places and shapes beside {real['lesions']} lesions in {real['scans']} label maps"
        parts += [[head, "", *statistic_lines(found, "places", RADIUS_BINS)], share_lines(found, "places")]
    by_radius = statistic_lines(found, "audit", RADIUS_BINS, tuple(APPEARANCE))
    parts += [["<details><summary>Looks by radius</summary>", "", *by_radius, "", "</details>"]]
    return [line for part in parts for line in (*part, "")][:-1]


def summary_lines(found: Sequence[Findings]) -> list[str]:
    """A row for each bar that synthetic tumours are to clear, a column for each recipe."""
    rows = [
        ["synthetic lesions (real: {})".format(found[0].audit["real"]["lesions"]), *_each(found, _lesion_count)],
        ["medians inside the real band", *_each(found, lambda each: _medians(each.rows()))],
        ["share of lesions inside, mean over the statistics", *_each(found, lambda each: f"{mean_inside(each):.2f}")],
        ["least share inside", *_each(found, _least_inside)],
    ]
    for name in (*FORESTS, NETWORK):
        if any(each.verdict(name) for each in found):
            rows += _verdict_rows(found, name)
    if found[0].places:
        rows += [
            ["places and shapes: medians inside the band of the label maps", *_each(found, _medians_of_places)],
            ["... forest: AUC", *_each(found, _auc_of_places)],
        ]
    for whose in found[0].centers:
        name = {"experts": "experts' masks"}.get(whose, f"`{whose}`'s masks")
        rows += [[f"centres off the parenchyma, {name}", *_each(found, lambda each, w=whose: _off(each.centers[w]))]]
    return table(["", *(f"`{each.recipe}`" for each in found)], rows)


def reference_lines(others: Record) -> list[str]:
    """What a forest can tell where real lesions of other patients are in the place of synthetic ones."""
    verdict = others["verdict"]
    found = Findings(f"real lesions of {others['scans']} other label maps", {"verdicts": [verdict]}, {}, {})
    return table(["", f"{found.recipe}, matched by radius"], _verdict_rows([found], verdict["classifier"]))


def draw_lines(found: Sequence[Findings]) -> list[str]:
    """A column for each draw of a recipe, seeds from 0 on, and one for what they have on average."""
    mean = Findings("mean", {"comparisons": [asdict(row) for row in _mean_rows(found)]}, {}, {})
    rows = [
        ["medians inside the real band", *(_medians(each.rows()) for each in (mean, *found))],
        ["share of lesions inside, mean", *(f"{mean_inside(each):.2f}" for each in (mean, *found))],
        ["least share inside", *(f"{_least_row(each).inside:.2f}" for each in (mean, *found))],
    ]
    for name in FORESTS:
        for kind, aucs in _judged(found, name):
            known = [auc["value"] for auc in aucs if auc and auc["value"] is not None]
            if len(known) == len(found):
                rows.append([kind, *map(number, (fmean(known), *known))])
    return table(["seed", "mean", *map(str, range(len(found)))], rows)


def _mean_rows(found: Sequence[Findings]) -> list[Comparison]:
    """What is compared, the synthetic medians and the shares inside being means over several audits."""
    return [
        replace(
            rows[0],
            synthetic_median=fmean(row.synthetic_median for row in rows),
            inside=fmean(row.inside for row in rows),
        )
        for rows in zip(*(each.rows() for each in found), strict=True)
    ]


def _each(found: Sequence[Findings], cell: Callable[[Findings], str]) -> list[str]:
    return [cell(each) for each in found]


def _lesion_count(found: Findings) -> str:
    drawn = found.audit["synthetic"]
    return f"{drawn['lesions']} in {drawn['scans']} samples"


def _medians(rows: Sequence[Comparison]) -> str:
    """How many medians lie inside, of those from which something can be concluded."""
    known = [row for row in rows if row.conclusive and row.statistic not in SCANS]
    return f"{sum(row.median_inside for row in known)} of {len(known)}" if known else "-"


def _medians_of_places(found: Findings) -> str:
    return _medians(found.rows("places"))


def _auc_of_places(found: Findings) -> str:
    return _auc((found.places.get("verdict") or {}).get("auc"))


def mean_inside(found: Findings) -> float:
    """Mean over the statistics of the share of lesions inside the real band, all sizes together."""
    return fmean(row.inside for row in _overall(found))


def _least_inside(found: Findings) -> str:
    row = _least_row(found)
    return f"{row.inside:.2f} ({STATISTIC_NAMES[row.statistic]})"


def _least_row(found: Findings) -> Comparison:
    return min(_overall(found), key=lambda row: row.inside)


def _overall(found: Findings) -> list[Comparison]:
    return [row for row in found.rows() if row.radius_bin == ALL and row.statistic not in SCANS]


def _auc(found: Record | None) -> str:
    if not found:
        return "-"
    limits = "" if found["low"] is None else f" ({number(found['low'])} to {number(found['high'])})"
    return number(found["value"]) + limits


def _verdict_rows(found: Sequence[Findings], classifier: str) -> Iterator[list[str]]:
    """Rows of what a classifier can tell."""
    return ([kind, *map(_auc, aucs)] for kind, aucs in _judged(found, classifier))


def _judged(found: Sequence[Findings], classifier: str) -> Iterator[tuple[str, list[Record | None]]]:
    """A classifier's AUC in each audit: patients left out and lesions left out, of all sizes and by radius, if any has.

    An AUC with lesions left out has no interval.
    """
    verdicts = [each.verdict(classifier) for each in found]
    yield f"{classifier}: AUC", [each.get("auc") for each in verdicts]
    yield from _by_radius("...", [each.get("by_radius", {}) for each in verdicts])
    yield "... with lesions left out", [_without_interval(each.get("auc_by_lesion")) for each in verdicts]
    of_size = [each.get("by_lesion_and_radius", {}) for each in verdicts]
    alone = [{radii: _without_interval(auc) for radii, auc in each.items()} for each in of_size]
    yield from _by_radius("... with lesions left out,", alone)


def _by_radius(kind: str, aucs: Sequence[Record]) -> Iterator[tuple[str, list[Record | None]]]:
    for radii in RADIUS_BINS:
        known = [each.get(radii) for each in aucs]
        if any(known):
            yield f"{kind} {_radii(radii)}", known


def _without_interval(auc: float | None) -> Record | None:
    return None if auc is None else {"value": auc, "low": None, "high": None}


def _off(counts: Sequence[int]) -> str:
    return f"{counts[1]} of {counts[0]}" if counts else "-"


def _radii(name: str) -> str:
    return name if name == ALL else f"r {name.replace('<', '< ').replace('>', '> ')} mm"


def statistic_lines(
    found: Sequence[Findings], of: str, bins: Sequence[str], statistics: Sequence[str] = (*APPEARANCE, *SHAPE, *SCANS)
) -> list[str]:
    """Rows of statistics and bins: the real band, and of each recipe the median and the share inside."""
    columns = [{(row.statistic, row.radius_bin): row for row in each.rows(of)} for each in found]
    rows = []
    for statistic in statistics:
        for radii in bins:
            real = columns[0].get((statistic, radii))
            if real and real.conclusive:
                name = STATISTIC_NAMES[statistic] + ("" if radii == ALL else f", {_radii(radii)}")
                band = f"{number(real.real_median)} [{number(real.real_low)}, {number(real.real_high)}]"
                rows.append([name, band, *(_cell(column.get((statistic, radii))) for column in columns)])
    return table(["median / share inside", "real median [5, 95 %]", *(f"`{each.recipe}`" for each in found)], rows)


def _cell(row: Comparison | None) -> str:
    if row is None:
        return "-"
    text = f"{number(row.synthetic_median)} / {number(row.inside)}"
    return text if row.median_inside or not row.synthetic_count else f"**{text}**"


def share_lines(found: Sequence[Findings], of: str) -> list[str]:
    """How many lesions are of some kind, by radius."""
    keys = [(row["share"], row["radius_bin"]) for row in getattr(found[0], of)["shares"]]
    columns = [
        {(row["share"], row["radius_bin"]): row for row in getattr(each, of).get("shares", [])} for each in found
    ]
    rows = [
        [
            f"{SHARE_NAMES[key[0]]}, {_radii(key[1])}",
            number(columns[0][key]["real"]),
            *(number(column[key]["synthetic"] if key in column else None) for column in columns),
        ]
        for key in keys
    ]
    return table(["share of lesions", "real", *(f"`{each.recipe}`" for each in found)], rows)


def giveaway_lines(found: Sequence[Findings]) -> list[str]:
    """What the forests go by, the most telling first."""
    rows = [
        [name, *_each(found, lambda each, n=name: "; ".join(map(_giveaway, each.verdict(n)["giveaways"][:GIVEAWAYS])))]
        for name in FORESTS
        if all(each.verdict(name) for each in found)
    ]
    return table(["", *(f"`{each.recipe}`" for each in found)], rows)


def _giveaway(found: Record) -> str:
    medians = f"{number(found['synthetic_median'])}, real {number(found['real_median'])}"
    return f"{STATISTIC_NAMES[found['statistic']]} ({medians})"


def number(value: float | None) -> str:
    """A number with as many digits as tell something; a dash where there is none."""
    if value is None or math.isnan(value):
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:z.{digits}f}"
