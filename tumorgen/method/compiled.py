"""scipy's compiled functions without the rest of scipy, whose import takes longer than the samples of a small scan.

They are the ones that scipy's public functions call, so the bits are scipy's. They are not public themselves: each is
loaded from its own file and tried on numbers whose answer is known. Where a version of scipy keeps it elsewhere or
means something else by it, the public function takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", NDArray[np.float32], NDArray[np.float64])
_Known = Callable[[Any], bool]  # whether a function gives the known answer

_REFLECT, _MIRROR, _CONSTANT = 2, 3, 4  # how scipy numbers what is beyond an array's ends
_NO_BLUR = 1e-15  # voxels, as in scipy


def gaussian_filter(values: Real, sigmas: Sequence[float], truncate: float, *, beyond_zero: bool = False) -> Real:
    """`scipy.ndimage.gaussian_filter` of floats, bit for bit.

    Parameters
    ----------
    values
        What is filtered.
    sigmas, truncate
        Width along each axis, in voxels, and at how many of these the filter is cut off.
    beyond_zero
        Whether zeros lie beyond the ends (scipy's mode `constant`), and not the mirrored values (`reflect`).
    """
    correlate = _correlate1d()
    if correlate is None:
        from scipy import ndimage

        public: Real = ndimage.gaussian_filter(
            values, sigmas, truncate=truncate, mode="constant" if beyond_zero else "reflect"
        )
        return public
    filtered, mode = np.empty_like(values), _CONSTANT if beyond_zero else _REFLECT
    source = values
    for axis, sigma in enumerate(sigmas):
        if sigma > _NO_BLUR:
            correlate(source, _gaussian(float(sigma), truncate), axis, filtered, mode, 0.0, 0)
            source = filtered
    if source is values:
        filtered[...] = values
    return filtered


def _gaussian(sigma: float, truncate: float) -> NDArray[np.float64]:
    """Weights of a Gaussian, as scipy computes them."""
    radius = int(truncate * sigma + 0.5)
    weights: NDArray[np.float64] = np.exp(-0.5 / (sigma * sigma) * np.arange(-radius, radius + 1) ** 2)
    weights /= weights.sum()
    return weights[::-1].copy()


def spline_coefficients(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of the cubic splines through columns of values, mirrored at their ends (`spline_filter1d`)."""
    return _filter_splines(_spline_filter1d(), values)


def _filter_splines(function: Any, values: NDArray[np.float64]) -> NDArray[np.float64]:
    if function is None:
        from scipy import ndimage

        return np.asarray(ndimage.spline_filter1d(values, order=3, axis=0, mode="mirror"))
    coefficients = np.zeros_like(values)
    function(values, 3, 0, coefficients, _MIRROR)
    return coefficients


def ndtr(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`scipy.special.ndtr`: the distribution function of the standard normal distribution."""
    function = _ndtr()
    if function is None:
        from scipy import special

        function = special.ndtr
    below: NDArray[np.float64] = function(values)
    return below


@cache
def csr_matvecs() -> Any:
    """The product of a sparse matrix by rows and columns of vectors; None where this scipy has no such function."""
    return _loaded("sparse", "_sparsetools", "csr_matvecs", _multiplies)


@cache
def _correlate1d() -> Any:
    return _loaded("ndimage", "_nd_image", "correlate1d", _correlates)


@cache
def _spline_filter1d() -> Any:
    return _loaded("ndimage", "_nd_image", "spline_filter1d", _interpolates)


@cache
def _ndtr() -> Any:
    return _loaded("special", "_special_ufuncs", "ndtr", _is_normal)


def _loaded(package: str, module: str, name: str, knows: _Known) -> Any:
    """A compiled function of scipy; None where it is not there, or is not the one that is meant."""
    try:
        function = getattr(_extension(package, module), name)
        return function if knows(function) else None
    except Exception:  # whatever another version makes of it
        return None


@cache
def _extension(package: str, module: str) -> Any:
    """A compiled module of scipy, from its file."""
    scipy = find_spec("scipy")
    places = scipy.submodule_search_locations if scipy else None
    spec = PathFinder.find_spec(module, [str(Path(place) / package) for place in places or ()])
    if spec is None or spec.loader is None:
        raise ImportError(f"scipy.{package} has no {module}")
    loaded = module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def _multiplies(function: Any) -> bool:
    out = np.zeros((2, 2), np.float32)
    starts, columns = np.array([0, 1, 2], np.int32), np.array([1, 0], np.int32)
    values, vectors = np.array([2, 3], np.float32), np.array([[1, 10], [2, 20]], np.float32)
    function(2, 2, 2, starts, columns, values, vectors.ravel(), out.ravel())
    return out.tolist() == [[4, 40], [3, 30]]


def _correlates(function: Any) -> bool:
    values, weights, answers = np.array([[1.0, 2.0, 3.0]], np.float32), np.array([1.0, 2.0, 4.0]), []
    for mode in (_REFLECT, _CONSTANT):
        out = np.zeros_like(values)
        function(values, weights, 1, out, mode, 0.0, 0)
        answers += out.tolist()
    return answers == [[11, 17, 20], [10, 17, 8]]


def _interpolates(function: Any) -> bool:
    first, second, third = _filter_splines(function, np.eye(3))  # the third row mirrors the first
    nodes = np.array([4 * first + 2 * second, first + 4 * second + third, 2 * second + 4 * third]) / 6
    return bool(np.allclose(nodes, np.eye(3), rtol=0, atol=1e-12))


def _is_normal(function: Any) -> bool:
    return [*function(np.array([-np.inf, 0.0, np.inf]))] == [0.0, 0.5, 1.0]
