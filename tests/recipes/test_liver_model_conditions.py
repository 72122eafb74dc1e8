"""The conditions that a liver model is measured in: the same patient, stored, sliced or cut otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from liver_model.conditions import CUT, PHANTOMS, TURNS, cut_above, phantoms, thickened, turned, variations
from tumorgen.imaging.geometry import Volume
from tumorgen.phantom.scanner import draw_phantom


@pytest.fixture(scope="module")
def case():
    drawn = draw_phantom(np.random.default_rng(3), shape=(48, 60, 76), spacing_mm=(5.0, 5.0, 5.0))
    return drawn.image, Volume(drawn.liver.array.astype(np.uint8), drawn.liver.geometry)


@pytest.mark.parametrize("letters", TURNS)
def test_a_turned_case_shows_the_same_at_each_place(case, letters):
    image, liver = turned(case, letters)
    assert image.geometry == liver.geometry
    assert image.geometry.direction != case[0].geometry.direction
    for index in np.argwhere(liver.array)[::500]:
        z, y, x = (round(i) for i in case[0].geometry.to_index(image.geometry.to_mm(tuple(index))))
        assert case[1].array[z, y, x] == 1
        assert case[0].array[z, y, x] == image.array[tuple(index)]
    assert liver.array.sum() == case[1].array.sum()


def test_thick_slices_are_means_and_keep_the_volume(case):
    image, liver = thickened(case)
    assert image.geometry.spacing_mm == (10.0, 5.0, 5.0)
    assert np.abs(image.array[3] - case[0].array[6:8].mean(axis=0)).max() <= 0.5
    assert 2 * int(liver.array.sum()) == pytest.approx(int(case[1].array.sum()), rel=0.08)


def test_a_cut_case_ends_in_its_liver(case):
    image, liver = cut_above(case)
    assert image.array.shape == liver.array.shape
    assert liver.array[-1].any()
    rows, before = (np.count_nonzero(part.array.any(axis=(1, 2))) for part in (liver, case[1]))
    assert rows / before == pytest.approx(1 - CUT, abs=0.05)


def test_each_condition_has_a_name_of_its_own(case):
    names = [name for name, _ in variations("scan", case)]
    assert names[0] == "scan"
    assert len(names) == len(set(names)) == 1 + len(TURNS) + 2
    assert len({name for name, *_ in PHANTOMS}) == len(PHANTOMS)


def test_phantoms_show_the_whole_liver(monkeypatch):
    coarse = [(name, phase, (6.0, 6.0, 6.0)) for name, phase, _ in PHANTOMS]
    monkeypatch.setattr("liver_model.conditions.PHANTOMS", coarse)
    made = list(phantoms(0))
    assert len(made) == len(PHANTOMS)
    for _, (image, liver) in made:
        assert image.geometry == liver.geometry
        rows = np.flatnonzero(liver.array.any(axis=(1, 2)))
        assert rows[0] > 0
        assert rows[-1] < len(liver.array) - 1
