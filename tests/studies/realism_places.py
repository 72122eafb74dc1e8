"""Places, shapes, sizes and numbers of synthetic tumours beside those of label maps, for which no image is needed.

Measured and compared as `tumorgen audit` does, only of more patients: label maps are easier had than images.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tumorgen.errors import Failure
from tumorgen.evaluation import manifest_beside, radius_bin, read_listings
from tumorgen.realism import Appearance, MeasuredLabels, measure_label_maps
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
    frames = lesion_frame(sets[0]), lesion_frame(sets[1])
    contest = arrange_contest(*frames)
    return {
        "real": {"scans": len(sets[0].scans), "lesions": len(sets[0].lesions)},
        "comparisons": [asdict(row) for row in compare_sets(*sets) if row.real_count],
        "shares": [asdict(row) for row in compare_shares(*sets) if row.real_count],
        "verdict": asdict(judge_by_forest(ON_SHAPE, *frames, contest, jobs=jobs)) if contest.real_count else None,
    }


def read_label_maps(
    name: str, folder: Path, hosts: Mapping[str, str], patients: Mapping[str, str], jobs: int
) -> MeasuredSet:
    """Label maps as a set whose looks are not known."""
    measured, failures = _measured(folder, jobs)
    scans = []
    for each in measured:
        host = hosts.get(each.case, each.case)
        scan = LabelledScan(each.case, host, patients.get(host, host), folder, folder)
        lesions = [
            MeasuredLesion(_place(name, scan, number, shape.radius_mm), shape, Appearance(), Appearance(), _UNSEEN)
            for number, shape in enumerate(each.shapes, 1)
        ]
        scans.append(MeasuredScan(scan, each.burden, tuple(lesions), ""))
    return MeasuredSet(name, folder, tuple(scans), failures)


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
