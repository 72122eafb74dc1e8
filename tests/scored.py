"""Evaluations that are written down: scores of cases and lesions, and a benchmark's summary of them."""

from __future__ import annotations

from tumorgen.evaluation.scores import METRICS, CaseScore, Evaluation, LesionScore, radius_bin
from tumorgen.evaluation.summary import Summary, summarize


def case(name: str, *, found: tuple[int, int] = (0, 0), clean: bool = False, **more: object) -> CaseScore:
    """A scored case with two lesions, or none."""
    scores = dict.fromkeys(METRICS, 0.5) | dict(zip(("detected_any", "detected_iou"), found, strict=True))
    volume = 0.0 if clean else 100.0
    fields = {
        "patient": name,
        "lesions": 0 if clean else 2,
        "reference_tumor_mm3": volume,
        "predicted_tumor_mm3": volume,
    }
    return CaseScore(**({"case": name} | scores | fields | more))


def lesion(case: CaseScore, radius_mm: float = 3.0, **more: object) -> LesionScore:
    fields = {
        "case": case.case,
        "patient": case.patient,
        "dimension": case.dimension,
        "level": case.level,
        "kind": "reference",
        "lesion": 1,
        "volume_mm3": 100.0,
        "radius_mm": radius_mm,
        "radius_bin": radius_bin(radius_mm),
        **dict.fromkeys(("center_x_mm", "center_y_mm", "center_z_mm"), 0.0),
    }
    return LesionScore(**(fields | more))


def faulty(name: str, status: str) -> CaseScore:
    return CaseScore(case=name, patient=name, status=status, reason="so it is")


def evaluation(*cases: CaseScore, lesions: tuple[LesionScore, ...] = ()) -> Evaluation:
    return Evaluation(cases, lesions)


def benchmark(found: dict[tuple[str, str], float], *, healthy: float | None = None) -> Summary:
    """The summary of a benchmark with ten patients a level, of whose one lesion each a share is found."""
    cases, lesions = [], []
    for (dimension, level), share in found.items():
        for number in range(10):
            at = {"patient": f"p{number}", "dimension": dimension, "level": level}
            cases.append(case(f"{dimension}{level}{number}", **at))
            lesions.append(lesion(cases[-1], patient=f"p{number}", detected_any=number < 10 * share))
    for number in range(10 if healthy is not None else 0):
        at = {"patient": f"p{number}", "dimension": "control", "level": "healthy"}
        made_up = {"predicted_tumor_mm3": 0.0 if number < 10 * healthy else 50.0}
        cases.append(case(f"h{number}", clean=True, **at, **made_up))
    return summarize(evaluation(*cases, lesions=tuple(lesions)))
