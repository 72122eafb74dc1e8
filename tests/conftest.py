"""For all tests: the phantom at isotropic and at clinical spacing, the real scans, no clock; signals are put back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from phantoms import ball_scan
from trees import describe_difference

from tumorgen.method.scan import Scan

# A machine that is busy must not fail what the program does not cause: no example is timed. In CI they are the same
# each time, so that nobody's change fails by another's bad luck; new ones are tried wherever else the tests run.
settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
    database=None if "CI" in os.environ else settings.default.database,
)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest begin first, so that no process is left alone with one in the end."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Tell how two trees differ: pytest shows the ends of two files, which seldom do."""
    if not (op == "==" and isinstance(left, dict) and isinstance(right, dict)):
        return None
    are_trees = all(isinstance(each, bytes | None) for each in (*left.values(), *right.values()))
    return ["two trees are equal", *describe_difference(left, right)] if are_trees else None


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """A command that was interrupted ignores signals from then on, as it ends; here its process goes on.

    Whatever a later test starts would ignore SIGTERM, too, and whoever waits for it to end would wait for ever.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        if signal.getsignal(number) is not handler:
            signal.signal(number, handler)


@pytest.fixture(scope="session")
def scan() -> Scan:
    """The ball at 1 mm, no vessels."""
    return ball_scan()


@pytest.fixture(scope="session", params=[(1.0, 1.0, 1.0), (5.0, 0.8, 0.8)], ids=["1 mm", "5 mm slices"])
def any_scan(request: pytest.FixtureRequest) -> Scan:
    """The ball at isotropic and at clinical spacing."""
    return ball_scan(request.param)


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of real scans; tests that use it skip where it is absent."""
    folder = Path(os.environ.get("TUMORGEN_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}; set TUMORGEN_TEST_DATA to a folder that has them")
    return folder


@pytest.fixture
def center() -> Callable[[Scan], tuple[float, float, float]]:
    """Physical point of the voxel in the middle of a scan, (x, y, z) LPS mm."""
    return lambda scan: scan.geometry.to_mm(tuple(float(n // 2) for n in scan.geometry.shape))
