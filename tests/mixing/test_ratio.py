"""How often each case is listed: nobody is left out, and the kinds come in the ratio."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorgen.errors import TumorgenError
from tumorgen.mixing import repeat_cases


def listed(*counts: int, weights: tuple[float, ...]) -> list[Counter[str]]:
    """How often each case of each kind is listed."""
    kinds = [[f"{kind}{number}" for number in range(count)] for kind, count in enumerate(counts)]
    times = Counter(repeat_cases(kinds, weights))
    return [Counter({case: times[case] for case in cases}) for cases in kinds]


def test_few_real_cases_are_repeated_until_they_are_half() -> None:
    real, synthetic = listed(3, 12, weights=(5, 5))
    assert set(real.values()) == {4}
    assert set(synthetic.values()) == {1}


def test_what_does_not_divide_goes_to_the_first_cases() -> None:
    real, synthetic = listed(2, 103, weights=(1, 1))
    assert list(real.values()) == [52, 51]
    assert synthetic.total() == 103


def test_of_small_sets_the_list_is_longer_so_that_the_ratio_holds() -> None:
    real, synthetic, healthy = listed(3, 3, 1, weights=(4, 4, 2))
    assert (real.total(), synthetic.total(), healthy.total()) == (6, 6, 3)


def test_a_kind_without_cases_has_no_share() -> None:
    assert repeat_cases([["a", "b"], []], (1, 1)) == ["a", "b"]
    assert repeat_cases([[], []], (1, 1)) == []


@given(
    st.lists(st.tuples(st.integers(1, 60), st.floats(0.05, 20)), min_size=1, max_size=3),
)
def test_nobody_is_left_out_the_shares_hold_and_cases_of_a_kind_are_equal(kinds: list[tuple[int, float]]) -> None:
    weights = tuple(weight for _, weight in kinds)
    found = listed(*(count for count, _ in kinds), weights=weights)
    total = sum(times.total() for times in found)
    for times, weight in zip(found, weights, strict=True):
        assert min(times.values()) >= 1
        assert max(times.values()) - min(times.values()) <= 1
        share = weight / sum(weights)
        assert abs(times.total() / total - share) <= 0.021 * share


@pytest.mark.parametrize("weights", [(1e300, 1.0), (1.0, 1e-9), (1e-320, 1.0), (1.0, 1e308), (1.0, 900_001.0)])
def test_a_ratio_that_would_take_a_list_without_end_is_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(TumorgenError, match="more than 1,000,000 times"):
        repeat_cases([["a", "b"], ["c"]], weights)
