"""Weights of cubic spline interpolation along one axis: in a row of nodes with ends, and in an endless one."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .compiled import spline_coefficients
from .operators import Operator, as_operator

_MEMORY = 8  # nodes; beyond them a cubic spline has forgotten a value but for 5e-5 of it
# The cubic B-splines of the four nodes around a position as polynomials in t, from t^3 (first row) to 1.
_B_SPLINE = np.array([[-1, 3, -3, 1], [3, -6, 3, 0], [-3, 0, 3, 0], [1, 4, 1, 0]]) / 6
# B-spline coefficients of a unit at a node, there and around: sqrt(3) z^|k| with z = sqrt(3) - 2 (Unser 1999).
_UNIT = np.sqrt(3) * (np.sqrt(3) - 2) ** np.abs(np.arange(-_MEMORY, _MEMORY + 1))


def cubic_weights(positions: NDArray[np.float64], nodes: int) -> NDArray[np.float64]:
    """Matrix (positions, nodes) of cubic spline interpolation in a row of nodes, mirrored at its ends.

    Positions are in nodes, from 0; those beyond the ends take the value at the end.
    """
    positions = positions.clip(0, nodes - 1)
    first = np.minimum(positions.astype(np.intp), nodes - 2)
    cubic, square, linear, constant = _spline_pieces(nodes).take(first, axis=1)
    t = (positions - first)[:, None]
    weights: NDArray[np.float64] = ((cubic * t + square) * t + linear) * t + constant
    return weights


@lru_cache(maxsize=64)
def _spline_pieces(nodes: int) -> NDArray[np.float64]:
    """Polynomials in t (4 coefficients, from t^3 to 1) from each node to the next, of the spline of a unit at each."""
    spline = spline_coefficients(np.eye(nodes))
    spline = np.concatenate([spline[1:2], spline, spline[-2:-1]])  # node -1 is node 1, node n is node n - 2
    around = np.stack([spline[k : k + nodes - 1] for k in range(4)])
    pieces: NDArray[np.float64] = np.einsum("pk,kij->pij", _B_SPLINE, around)
    return pieces


def endless_cubic_weights(
    starts: NDArray[np.float64], step: float, shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Weights (n, nodes) of an endless row of nodes in sums of cubic spline interpolations, and each sum's first node.

    A sum takes its m `shares` (n, m) of the values at `starts`, in nodes, and every `step` nodes beyond. Its weights do
    not depend on which others are asked for.
    """
    sums, terms = shares.shape
    positions = starts[:, None] + step * np.arange(terms)
    before = np.floor(positions).astype(np.intp)
    first = before[:, 0] - 1
    reach = int(step * (terms - 1)) + 5  # nodes whose B-splines the terms of a sum may meet
    taps = _cubic_b_spline(positions - before) * shares
    places = np.arange(4)[:, None, None] + (before - 1 - first[:, None] + reach * np.arange(sums)[:, None])
    splines = np.bincount(places.ravel(), taps.ravel(), sums * reach).reshape(sums, reach)
    return (_from_splines(reach) @ splines.T).T, first - _MEMORY


@lru_cache(maxsize=256)
def _from_splines(splines: int) -> Operator:
    """What unit values at nodes add to B-splines in an endless row, (splines + 2 _MEMORY, splines), transposed."""
    matrix = np.zeros((splines + _UNIT.size - 1, splines))
    for spline, weights in enumerate(matrix.T):
        weights[spline : spline + _UNIT.size] = _UNIT
    return as_operator(matrix, np.float64)


def _cubic_b_spline(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (4, ...) of the four nodes around a position, t in [0, 1] past the second of them."""
    u = 1 - t
    t2, u2 = t * t, u * u
    weights = np.empty((4, *t.shape))
    weights[0], weights[1] = u2 * u / 6, (3 * t - 6) * t2 / 6 + 2 / 3
    weights[2], weights[3] = (3 * u - 6) * u2 / 6 + 2 / 3, t2 * t / 6
    return weights
