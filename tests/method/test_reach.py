"""Reach: how far shapes extend in each direction, and when two of them are apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from examples import ball

from tumorgen.method.footprint import Footprint
from tumorgen.method.reach import Outline, Placed, _directions, _extremes, apart_as_balls, apart_as_shapes


def unit(count: int, seed: int = 0) -> np.ndarray:
    """Directions (count, 3) at random."""
    drawn = np.random.default_rng(seed).normal(size=(count, 3))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (5.0, 0.8, 0.7)])
@pytest.mark.parametrize("radius", [4.0, 12.0, 30.0])
def test_no_point_of_a_shape_is_farther_ahead_than_its_outline(spacing, radius):
    half = np.array([0.8, 1.3, 1.0]) * radius
    outline = Footprint.of(ball(radius, half_axes=tuple(half.tolist())), spacing).outline
    directions = unit(500)
    ahead = np.sqrt(((directions * half) ** 2).sum(axis=1))  # of an ellipsoid, in closed form
    found = outline.along(directions)
    assert (found >= ahead - (0.5 if max(spacing) == 1 else 2.5)).all()  # voxels of which less than half is tumour
    assert (found <= 1.03 * (ahead + np.abs(directions) @ spacing * max(1, radius / 6))).all()


def test_of_points_every_one_is_counted():
    points = np.random.default_rng(1).normal(size=(400, 3)) * [3, 9, 5]
    outline = Outline(points, (0.0, 0.0, 0.0))
    directions = unit(300, 2)
    farthest = (directions @ points.T).max(axis=1)
    assert (outline.along(directions) >= farthest - 1e-9).all()
    assert (outline.along(directions) <= 1.03 * farthest + 1e-9).all()
    steps = np.abs(directions) @ [2.0, 4.0, 6.0] / 2
    np.testing.assert_allclose(Outline(points, (2.0, 4.0, 6.0)).along(directions), outline.along(directions) + steps)


@pytest.mark.parametrize("count", [1, 7, 400])
def test_extremes_are_the_farthest_in_any_of_the_directions(count):
    """Half of the directions tell those of the other half, which are opposite to them."""
    points = np.unique(np.random.default_rng(count).integers(-6, 7, (count, 3)), axis=0) * np.array([3.27, 0.7, 0.7])
    products = sum(np.multiply.outer(d, p) for d, p in zip(_directions().T, points.T, strict=True))
    np.testing.assert_array_equal(_extremes(points), points[np.unique(products.argmax(axis=1))])


def test_balls_are_apart_where_they_do_not_touch():
    placed = [Placed((10.0, 0.0, 0.0), 4.0)]
    positions = np.array([[10.0, 0, 9.1], [10.0, 0, 8.9], [10.0, 0, 0.0], [1.0, 0, 0]])
    assert apart_as_balls(placed, 3.0, 2.0)(positions).tolist() == [True, False, False, True]
    further = [*placed, Placed((0.0, 0.0, 0.0), 1.0)]
    assert apart_as_balls(further, 3.0, 2.0)(positions).tolist() == [True, False, False, False]
    assert apart_as_balls([], 3.0)(positions).all()


def test_long_shapes_lie_side_by_side():
    """As balls they would be kept apart by their long axes; as shapes they are by what faces the other."""
    long = Footprint.of(ball(8.0, half_axes=(5.0, 5.0, 20.0)), (1.0, 1.0, 1.0)).outline
    placed = [Placed((0.0, 0.0, 0.0), 20.0, long)]
    positions = np.array([[0.0, 16.0, 0.0], [0.0, 8.0, 0.0], [0.0, 0.0, 30.0], [0.0, 0.0, 0.0], [0.0, 0.0, 60.0]])
    assert apart_as_shapes(placed, long, 3.0)(positions).tolist() == [True, False, False, False, True]
    assert apart_as_balls(placed, 20.0, 3.0)(positions).tolist() == [False, False, False, False, True]


def test_shapes_are_apart_where_what_both_reach_towards_each_other_is_less_than_the_distance():
    """Bounds tell most places what both outlines tell; nothing nearer than the least of both is apart."""
    flat = Footprint.of(ball(8.0, half_axes=(4.0, 9.0, 14.0)), (1.0, 1.0, 1.0)).outline
    directions = unit(30_000)
    for half_axes, turn_deg in (((16.0, 6.0, 5.0), 0.0), ((15.0, 8.0, 27.0), 9.2)):  # the second is thin between two
        tumor = replace(ball(15.0, half_axes=half_axes), turn_deg=turn_deg)
        long = Footprint.of(tumor, (1.0, 0.75, 0.75)).outline
        touching = flat.along(-directions) + long.along(directions) + 2
        positions = directions * (touching + np.random.default_rng(3).uniform(-0.5, 0.5, len(touching)))[:, None]
        distance = np.sqrt(np.square(positions).sum(axis=1))
        ahead = -positions / distance[:, None]
        apart = apart_as_shapes([Placed((0.0, 0.0, 0.0), 30.0, long)], flat, 2.0)(positions)
        least = flat.bounds_mm[0] + long.bounds_mm[0] + 2
        wanted = (distance >= flat.along(ahead) + long.along(-ahead) + 2) & (distance >= least)
        np.testing.assert_array_equal(apart, wanted)
        assert 10_000 < np.count_nonzero(apart) < 20_000


def test_shapes_stay_apart_from_balls():
    round_one = Outline(unit(2000) * 5.0, (0.0, 0.0, 0.0))
    placed = [Placed((0.0, 0.0, 0.0), 4.0)]
    positions = np.array([[0.0, 0.0, 12.5], [0.0, 0.0, 11.5]])
    assert apart_as_shapes(placed, round_one, 3.0)(positions).tolist() == [True, False]
