"""Tables and figure of the study on real tumours: means over trainings, with intervals over patients.

A result is one training (`real_study.run_unit`). Several scans of one patient weigh as one patient, and so do several
trainings that leave out the same one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from tumorgen.evaluation.intervals import CONFIDENCE, proportion_interval
from tumorgen.evaluation.scores import RADIUS_BINS, radius_bin
from tumorgen.wording import plural

FIGURE = Path("images/real-study.png")  # beside the page
FIGURES = {
    "average_precision": "voxel average precision",
    "dice": "Dice of the tumour",
    "found": "lesions found",
    "false_positives": "false positives per scan",
}
NAMES = {"real": "real tumours"}  # the other kinds are recipes, and go by their names
LEGEND = (
    "The first table has means over patients, each of them a mean over trainings and scans; the second shows the",
    "patients one by one; the third has all lesions, by radius. The last ones compare patient by patient. In the",
    "figure each dot is a patient.",
)

Results = Sequence[Mapping[str, Any]]


def kinds_of(results: Results) -> list[str]:
    """Kinds of tumours that were trained on, as they come."""
    return list(dict.fromkeys(result["kind"] for result in results))


def figure_of(case: Mapping[str, Any], key: str) -> float:
    """A figure of a judged case; nan where it has no lesion to find."""
    if key == "found":
        return float(np.mean([lesion["found"] for lesion in case["lesions"]])) if case["lesions"] else math.nan
    return float(case[key])


def by_patient(results: Results, key: str) -> dict[str, float]:
    """Mean figure of each patient, over trainings and scans; of a patient without such a figure there is none."""
    values: dict[str, list[float]] = {}
    for result in results:
        for case in result["cases"]:
            values.setdefault(case["patient"], []).append(figure_of(case, key))
    means = {patient: float(np.nanmean(each)) for patient, each in values.items() if not np.isnan(each).all()}
    return dict(sorted(means.items()))


def mean_with_limits(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and Student's 95 % interval; of a single value, and of none, there is no interval.

    Not the bootstrap of `evaluation.intervals`: with four patients it has a few dozen different samples to draw from,
    and its interval is about half as wide as it ought to be.
    """
    mean = float(np.mean(values)) if len(values) else math.nan
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * stats.sem(values))
    return mean, mean - half, mean + half


def cell(value: float, low: float, high: float) -> str:
    """A figure and its interval, which may have none."""
    if math.isnan(value):
        return "-"
    return f"{value:.2f}" if math.isnan(low) else f"{value:.2f} ({low:.2f} to {high:.2f})"


def figure_cell(results: Results, key: str) -> str:
    """Mean of a figure over patients; limits beyond what the figure can be are cut to it."""
    value, low, high = mean_with_limits(list(by_patient(results, key).values()))
    most = math.inf if key == "false_positives" else 1.0
    return cell(value, max(low, 0.0), min(high, most)) if not math.isnan(low) else cell(value, low, high)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def of_kind(results: Results, kind: str) -> list[Mapping[str, Any]]:
    return [result for result in results if result["kind"] == kind]


def summary_lines(results: Results) -> list[str]:
    """One row for each kind of tumours that was trained on."""
    rows = []
    for kind in kinds_of(results):
        own = of_kind(results, kind)
        rows.append([named(kind), str(len(own)), *(figure_cell(own, key) for key in FIGURES)])
    return table(["trained on", "trainings", *FIGURES.values()], rows)


def named(kind: str) -> str:
    return NAMES.get(kind, f"`{kind}`")


def patient_lines(results: Results) -> list[str]:
    """Average precision in each patient."""
    patients = sorted({case["patient"] for result in results for case in result["cases"]})
    rows = []
    for kind in kinds_of(results):
        means = by_patient(of_kind(results, kind), "average_precision")
        rows.append([named(kind), *(cell(means.get(patient, math.nan), math.nan, math.nan) for patient in patients)])
    lesions = {case["case"]: case for result in results for case in result["cases"]}
    counts = [sum(len(c["lesions"]) for c in lesions.values() if c["patient"] == patient) for patient in patients]
    heads = [f"{patient} ({plural(count, 'lesion')})" for patient, count in zip(patients, counts, strict=True)]
    by_chance = by_patient(results, "tumor_share")
    rows.append(["a guess (share of tumour voxels)", *(f"{by_chance[patient]:.4f}" for patient in patients)])
    return table(["trained on", *heads], rows)


def difference_lines(results: Results, base: str) -> list[str]:
    """Average precision of each kind less that of one of them, patient by patient."""
    of_base = by_patient(of_kind(results, base), "average_precision")
    rows = []
    for kind in kinds_of(results):
        own = by_patient(of_kind(results, kind), "average_precision")
        apart = [own[patient] - of_base[patient] for patient in own.keys() & of_base.keys()]
        if kind != base and apart:
            better = sum(difference > 0 for difference in apart)
            rows.append([named(kind), cell(*mean_with_limits(apart)), f"{better} of {len(apart)}"])
    return table(["trained on", f"average precision less that of {named(base)}", "patients it is better in"], rows)


def radius_lines(results: Results) -> list[str]:
    """Share of lesions found by radius, over all lesions of all trainings."""
    rows = []
    for kind in kinds_of(results):
        found = lesions_of(of_kind(results, kind))
        cells = []
        for name in RADIUS_BINS:
            here = [(hit, patient) for (patient, radius_mm), hit in found if radius_bin(radius_mm) == name]
            share = proportion_interval([hit for hit, _ in here], [patient for _, patient in here])
            cells.append(cell(share.value, share.low, share.high))
        rows.append([named(kind), *cells])
    one = lesions_of(of_kind(results, kinds_of(results)[0])) if results else []
    heads = [f"{name} mm (n = {sum(radius_bin(r) == name for (_, r), _ in one)})" for name in RADIUS_BINS]
    return table(["trained on", *heads], rows)


def lesions_of(results: Results) -> list[tuple[tuple[str, float], float]]:
    """Each lesion's patient and radius, and how often it was found: by all trainings 1, by none 0."""
    hits: dict[tuple[str, int], list[bool]] = {}
    about: dict[tuple[str, int], tuple[str, float]] = {}
    for result in results:
        for case in result["cases"]:
            for number, lesion in enumerate(case["lesions"]):
                hits.setdefault((case["case"], number), []).append(lesion["found"])
                about[case["case"], number] = case["patient"], lesion["radius_mm"]
    return [(about[key], float(np.mean(each))) for key, each in hits.items()]


def training_lines(results: Results) -> list[str]:
    """Each training, case by case."""
    rows = [
        [
            named(result["kind"]),
            str(result["seed"]),
            case["case"],
            *(cell(figure_of(case, key), math.nan, math.nan) for key in FIGURES),
            f"{result['threshold']:.2f}",
            f"{result['cpu_seconds']:.0f}",
        ]
        for result in results
        for case in result["cases"]
    ]
    return table(["trained on", "seed", "tested on", *FIGURES.values(), "threshold", "seconds of a core"], rows)


def page_text(results: Results) -> list[str]:
    """What the page says of the results: figure, means, patients, radii, differences, and each training folded away."""
    shown = [f"![Average precision, Dice and false positives by what was trained on]({FIGURE})", "", *LEGEND, ""]
    each = ["<details><summary>Each training</summary>", "", *training_lines(results), "", "</details>"]
    parts = [summary_lines(results), patient_lines(results), radius_lines(results)]
    parts += [difference_lines(results, base) for base in kinds_of(results) if base in ("real", "lifelike")]
    return [*shown, *(line for part in parts for line in (*part, "")), *each]


def write_figure(results: Results, folder: Path) -> None:
    """Draw three figures by what was trained on: a small dot for each patient, the mean with its interval beside it."""
    from matplotlib.figure import Figure

    kinds = kinds_of(results)
    keys = "average_precision", "dice", "false_positives"
    figure = Figure(figsize=(10, 1.2 + 0.5 * len(kinds)), layout="constrained")
    for panel, key in zip(figure.subplots(1, len(keys), sharey=True), keys, strict=True):
        for row, kind in enumerate(kinds):
            values = list(by_patient(of_kind(results, kind), key).values())
            mean, low, high = mean_with_limits(values)
            panel.plot(values, [row + 0.18] * len(values), "o", color="#2f6690", markersize=4, alpha=0.6)
            panel.plot([low, high], [row - 0.12] * 2, color="#2f6690", linewidth=1.5)
            panel.plot([mean], [row - 0.12], "D", color="#2f6690", markersize=6)
        panel.set_title(FIGURES[key])
        panel.set_xlim(0, None if key == "false_positives" else 1)
        panel.set_yticks(range(len(kinds)), [NAMES.get(kind, kind) for kind in kinds])
        panel.spines[["top", "right"]].set_visible(False)
    figure.axes[0].invert_yaxis()
    figure.savefig(folder / FIGURE, dpi=110, metadata={"Software": None})
