"""The network on pictures: what it is shown, and that it learns to tell a bright disc from a dark one."""

from __future__ import annotations

import numpy as np
import pytest

from tumorgen.realism import network
from tumorgen.realism.matching import Contest, deal_patients
from tumorgen.realism.measuring import View
from tumorgen.realism.telling import weighted_auc


def view(rng: np.random.Generator, disc: float, *, size: int = 60, level: float = 160.0) -> View:
    y, x = np.mgrid[:size, :size] - size // 2
    labels = np.where(np.hypot(y, x) <= 6, 2, 1).astype(np.uint8)
    grey = level + disc * (labels == 2) + 8 * rng.standard_normal((2, size, size))
    return View(grey.astype(np.uint8), labels, (1.0, 1.0))


def contest(count: int, patients: int = 4) -> Contest:
    numbers = np.arange(count)
    return Contest(
        rows=np.tile(numbers, 2),
        is_synthetic=np.repeat([False, True], count),
        patients=np.tile(np.array([f"p{n % patients}" for n in numbers]), 2),
        pairs=np.tile(numbers, 2),
        weights=np.ones(2 * count),
        within_scans=True,
        unmatched=0,
    )


def test_it_sees_the_middle_relative_to_the_liver_around():
    rng = np.random.default_rng(0)
    dark, bright = (network.crop_view(view(rng, -30, level=level)) for level in (120.0, 180.0))
    assert dark.shape == (2, 48, 48)
    assert dark.dtype == np.float32
    assert dark[:, :5].mean() == pytest.approx(0, abs=0.1)
    assert dark[:, 22:26, 22:26].mean() == pytest.approx(-30 * 400 / 255 / network.SCALE_HU, abs=0.15)
    assert bright.mean() == pytest.approx(dark.mean(), abs=0.1)


def test_it_tells_bright_discs_from_dark_ones_of_patients_it_has_not_seen(monkeypatch):
    monkeypatch.setattr(network, "EPOCHS", 8)
    monkeypatch.setattr(network, "NETWORKS", 1)
    rng, among = np.random.default_rng(0), contest(24, patients=2)
    views = [view(rng, 25 if synthetic else -25) for synthetic in among.is_synthetic]
    steps = []
    scores = network.score_views(
        views, among, deal_patients(among), np.random.default_rng(1), start=lambda total: lambda n: steps.append(total)
    )
    assert weighted_auc(scores, among) > 0.95
    assert steps == [2, 2]
