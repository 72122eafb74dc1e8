"""Places, shapes, sizes and numbers of synthetic tumours beside those of label maps, for which no image is needed.

Measured and compared as `tumorgen audit` does, only of more patients: label maps are easier had than images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tumorgen.errors import Failure
from tumorgen.evaluation import manifest_beside, radius_bin, read_listings
from tumorgen.realism import Appearance, MeasuredLabels, find_layout, measure_label_maps
from tumorgen.realism.comparing import compare_sets, compare_shares, lesion_frame
from tumorgen.realism.matching import arrange_contest
from tumorgen.realism.measuring import LesionPlace, MeasuredLesion, MeasuredScan, MeasuredSet, View
from tumorgen.realism.scans import LabelledScan
from tumorgen.realism.telling import FORESTS, judge_by_forest
from tumorgen.tables import read_patients

ON_SHAPE = [*FORESTS][1]
_UNSEEN = View(np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1), np.uint8), (1.0, 1.0))


def compare_places(real: Path, synthetic: Path, patients: Path | None, jobs: int) -> dict[str, Any]:
    """Compare the label maps of two folders: what `audit.json` has, as far as label maps go."""
    known = read_patients(patients) if patients else {}
    manifest = manifest_beside(synthetic)
    hosts = {name: each.scan for name, each in read_listings(manifest).items()} if manifest else {}
    sets = read_label_maps("real", real, {}, known, jobs), read_label_maps("synthetic", synthetic, hosts, known, jobs)
    return {
        "real": {"scans": len(sets[0].scans), "lesions": len(sets[0].lesions)},
        "comparisons": [asdict(row) for row in compare_sets(*sets) if row.real_count],
        "shares": [asdict(row) for row in compare_shares(*sets) if row.real_count],
        "verdict": judge_places(*sets, jobs),
    }


def compare_real(real: Path, labels: Path, patients: Path | None, jobs: int) -> dict[str, Any]:
    """Put real lesions of other patients in the place of synthetic ones: what can be told of two sets that are real.

    Label maps of the same lesions are left out.
    """
    known = read_patients(patients) if patients else {}
    lesions = read_label_maps("real", find_layout(real)[1], {}, known, jobs)
    others = without_lesions_of(read_label_maps("other", labels, {}, known, jobs), lesions)
    return {"scans": len(others.scans), "verdict": judge_places(lesions, others, jobs)}


def without_lesions_of(labels: MeasuredSet, other: MeasuredSet) -> MeasuredSet:
    """A set without the scans that have a lesion of another set: the same case in another file."""

    def identify(lesion: MeasuredLesion) -> tuple[float, ...]:
        shape = lesion.shape
        return tuple(round(measure, 3) for measure in (shape.radius_mm, shape.volume_ml, shape.circularity))

    known = {identify(lesion) for lesion in other.lesions}
    return replace(labels, scans=tuple(s for s in labels.scans if known.isdisjoint(map(identify, s.lesions))))


def judge_places(real: MeasuredSet, synthetic: MeasuredSet, jobs: int) -> dict[str, Any] | None:
    """What a forest can tell by shape and place; None where no lesion matches."""
    frames = lesion_frame(real), lesion_frame(synthetic)
    contest = arrange_contest(*frames)
    return asdict(judge_by_forest(ON_SHAPE, *frames, contest, jobs=jobs)) if contest.real_count else None


def read_label_maps(
    name: str, folder: Path, hosts: Mapping[str, str], patients: Mapping[str, str], jobs: int
) -> MeasuredSet:
    """Label maps as a set whose looks are not known."""
    measured, failures = _measured(folder, jobs)
    named = [(each, hosts.get(each.case, each.case)) for each in measured]
    scans = [
        as_scan(name, LabelledScan(each.case, host, patients.get(host, host), folder, folder), each)
        for each, host in named
    ]
    return MeasuredSet(name, folder, tuple(scans), failures)


def as_scan(name: str, scan: LabelledScan, measured: MeasuredLabels) -> MeasuredScan:
    """A label map of a set as a scan whose lesions' looks are not known."""
    lesions = [
        MeasuredLesion(_place(name, scan, number, shape.radius_mm), shape, Appearance(), Appearance(), _UNSEEN)
        for number, shape in enumerate(measured.shapes, 1)
    ]
    return MeasuredScan(scan, measured.burden, tuple(lesions), "")


@cache
def _measured(folder: Path, jobs: int) -> tuple[tuple[MeasuredLabels, ...], tuple[Failure, ...]]:
    """The real ones are the same for every recipe."""
    return measure_label_maps(folder, {}, jobs=jobs)


def _place(name: str, scan: LabelledScan, number: int, radius_mm: float) -> LesionPlace:
    return LesionPlace(
        set=name,
        scan=scan.case,
        host=scan.host,
        patient=scan.patient,
        lesion=number,
        radius_bin=radius_bin(radius_mm),
        center_x_mm=math.nan,
        center_y_mm=math.nan,
        center_z_mm=math.nan,
    )
