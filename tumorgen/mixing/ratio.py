"""How often each case is listed, so that kinds of cases come in a ratio: nnU-Net draws from a fold's list at random."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import TumorgenError

_OFF = 0.01  # by which a kind may miss its share
_MOST = 1_000_000  # cases in a list


def repeat_cases(kinds: Sequence[Sequence[str]], weights: Sequence[float]) -> list[str]:
    """List the cases of some kinds, each at least once, as often as their ratio asks for.

    The list is as short as it can be without leaving a case out or missing a share by more than a hundredth of it. The
    cases of a kind are in it equally often, up to one.

    Parameters
    ----------
    kinds
        The cases of each kind; a kind without cases has no share.
    weights
        The share of each kind, as large as one likes but above zero.

    Raises
    ------
    TumorgenError
        The list would have more than a million entries.
    """
    given = [(cases, weight) for cases, weight in zip(kinds, weights, strict=True) if cases]
    if not given:
        return []
    share = max(len(cases) / weight for cases, weight in given)
    exact = [share * weight for _, weight in given]
    _refuse_long(exact)
    wanted = _near_counts(exact)
    _refuse_long(wanted)
    return [
        case
        for (cases, _), times in zip(given, wanted, strict=True)
        for number, case in enumerate(cases)
        for _ in range(times // len(cases) + (number < times % len(cases)))
    ]


def _refuse_long(numbers: Sequence[float]) -> None:
    if not sum(numbers) <= _MOST:  # nor is one that is infinite or no number
        raise TumorgenError(
            f"the ratio would list cases more than {_MOST:,} times in a fold; choose one that is nearer to the numbers"
            " of cases"
        )


def _near_counts(exact: Sequence[float]) -> list[int]:
    """The smallest whole numbers that are nearly in the ratio of some numbers, and about as large or larger."""
    factor = 1
    while True:
        wanted = [factor * number for number in exact]
        counts = [round(number) for number in wanted]
        if all(abs(found - number) <= _OFF * number for found, number in zip(counts, wanted, strict=True)):
            return counts
        factor += 1
