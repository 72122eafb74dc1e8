"""scipy's compiled functions give the bits of its public ones, which take over where they are missing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, special

from tumorgen.method import compiled

LOADED = {
    "sparse._sparsetools.csr_matvecs": compiled.csr_matvecs,
    "ndimage._nd_image.correlate1d": compiled._correlate1d,
    "ndimage._nd_image.spline_filter1d": compiled._spline_filter1d,
}


@pytest.fixture(params=["compiled", "public"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the compiled functions, and as where scipy keeps them elsewhere."""
    if request.param == "public":
        for name in ("_correlate1d", "_spline_filter1d", "_ndtr"):
            monkeypatch.setattr(compiled, name, lambda: None)


@pytest.mark.parametrize("name", LOADED)
def test_this_scipy_has_them_where_they_are_looked_for(name):
    assert LOADED[name]() is not None


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beyond_zero", [False, True])
@pytest.mark.parametrize("sigmas", [(0.4, 1.2, 3.3), (0.0, 1.0, 1e-16), (0.0, 0.0, 0.0), (6.0, 6.0, 0.1)])
def test_gaussian_filter_is_scipys(sigmas, beyond_zero, dtype):
    hu = np.random.default_rng(0).normal(60, 20, (9, 30, 17)).astype(dtype)
    before = hu.copy()
    filtered = compiled.gaussian_filter(hu, sigmas, 3.0, beyond_zero=beyond_zero)
    expected = ndimage.gaussian_filter(hu, sigmas, truncate=3.0, mode="constant" if beyond_zero else "reflect")
    assert filtered.dtype == dtype
    np.testing.assert_array_equal(filtered, expected)
    np.testing.assert_array_equal(hu, before)


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("nodes", [2, 3, 5, 9])
def test_spline_coefficients_are_scipys(nodes):
    expected = ndimage.spline_filter1d(np.eye(nodes), order=3, axis=0, mode="mirror")
    np.testing.assert_array_equal(compiled.spline_coefficients(np.eye(nodes)), expected)


@pytest.mark.usefixtures("_either_way")
def test_normal_distribution_is_scipys():
    values = np.random.default_rng(0).normal(0, 3, (20, 50))
    np.testing.assert_array_equal(compiled.ndtr(values), special.ndtr(values))


@pytest.mark.parametrize("place", [("ndimage", "_nd_image", "no_such"), ("ndimage", "_gone", "correlate1d")])
def test_a_function_that_is_elsewhere_is_none(place):
    assert compiled._loaded(*place, lambda function: True) is None


@pytest.mark.parametrize("knows", [compiled._correlates, compiled._interpolates, compiled._multiplies])
def test_a_function_that_means_something_else_is_none(knows):
    """One that does nothing with what it is given, and one that takes other arguments."""
    assert not knows(lambda *numbers: None)
    with pytest.raises(TypeError):
        knows(lambda: None)
    assert compiled._loaded("ndimage", "_nd_image", "find_objects", knows) is None
