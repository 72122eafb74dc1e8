"""A golden manifest: what seed 0 draws does not change unnoticed from version to version.

It holds plans, never voxels: the same bits are promised for one build of numpy and scipy only. Where a change is meant,
`python tests/method/test_golden.py` writes it anew, and the changelog says so.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.method.plan import Plan
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan, prepare_scan
from tumorgen.method.settings import Settings, Vessels, override
from tumorgen.tables.manifest import Record, read_manifest, write_manifest

GOLDEN = Path(__file__).parents[1] / "golden" / "plans.csv"


def integer_scan() -> Scan:
    """A ball of liver with a straight vessel, in whole numbers alone, so that it is the same on every machine."""
    z, y, x = np.meshgrid(*[np.arange(-n // 2, n - n // 2) for n in (44, 70, 70)], indexing="ij")
    squared = (3 * z) ** 2 + (2 * y) ** 2 + (2 * x) ** 2  # mm2 at 3 x 2 x 2 mm
    liver = squared <= 60**2
    hu = np.where(squared <= 64**2, 100 + (7 * x + 13 * y + 29 * z) % 31 - 15, -1000)
    hu[liver & ((3 * z) ** 2 + (2 * y) ** 2 <= 25)] += 60
    geometry = Geometry(liver.shape, (3.0, 2.0, 2.0), (-70.0, -60.0, 30.0))
    return prepare_scan(Volume(hu.astype(np.int16), geometry), liver, Vessels(), "golden")


def drawn() -> list[Plan]:
    """A plan of every size class, and of every other pattern."""
    scan = integer_scan()
    plans = [draw_variant(scan, Settings(), 0, variant) for variant in range(5)]
    for pattern in ("single", "multifocal", "satellite"):
        settings = override(Settings(), pattern=pattern, sizes="medium", intensity="portal")
        plans.append(replace(draw_variant(scan, settings, 0, len(plans)), sample=f"golden_{pattern}"))
    return plans


@pytest.fixture(scope="module")
def golden() -> dict[str, Plan]:
    return {record.plan.sample: record.plan for record in read_manifest(GOLDEN)}


def test_the_same_samples_are_drawn(golden):
    assert sorted(plan.sample for plan in drawn()) == sorted(golden)


@pytest.mark.parametrize("number", range(8))
def test_seed_0_draws_what_it_always_has(golden, number):
    plan = drawn()[number]
    assert plan == golden[plan.sample]


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    write_manifest([Record(plan, (None,) * len(plan.tumors), None) for plan in drawn()], GOLDEN)
    print(f"{GOLDEN}: written", file=sys.stderr)  # noqa: T201
