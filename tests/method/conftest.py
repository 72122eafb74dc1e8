"""Livers without and with a vessel, and one that is nearly all vessel."""

from __future__ import annotations

import pytest
from phantoms import ball_scan, ball_volume

from tumorgen.method.placement import count_clear
from tumorgen.method.scan import Scan, prepare_scan
from tumorgen.method.settings import Vessels


@pytest.fixture(scope="module")
def quiet() -> Scan:
    """A liver without vessels, at 2.5 mm."""
    return ball_scan((2.5, 2.5, 2.5), noise_sd=5.0)


@pytest.fixture(scope="module", params=[(2.0, 2.0, 2.0), (5.0, 1.5, 1.5)], ids=["2 mm", "5 mm slices"])
def tube(request) -> Scan:
    """A liver with one vessel along x."""
    return ball_scan(request.param, noise_sd=3.0, vessel_radius_mm=6.0)


@pytest.fixture(scope="module")
def red() -> Scan:
    """A liver that is nearly all vessel: no place is clear, but the lower end has the most clearance."""
    volume, liver = ball_volume((2.5, 2.5, 2.5))
    scan = prepare_scan(volume, liver, Vessels(offset_hu=-200.0), "red")
    assert count_clear(scan, 4.0) == 0
    return scan
