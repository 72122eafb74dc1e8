"""Which cases a study shows, drawn by patient, and in which order: nothing in it tells real from synthetic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import TumorgenError
from ..realism import DrawnTumors
from ..wording import plural

REAL, SYNTHETIC = KINDS = ("real", "synthetic")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A scan that the study may show.

    Attributes
    ----------
    kind
        `real` or `synthetic`: what its tumours are.
    case, patient
        Its name in its set, and whose it is; one name is one patient in both sets.
    image, label
        Its files.
    drawn
        Which of its tumours are synthetic, where it has real ones, too (`realism.LabelledScan`).
    """

    kind: str
    case: str
    patient: str
    image: Path
    label: Path
    drawn: DrawnTumors | None = None


def count_kinds(count: int, share_real: float) -> dict[str, int]:
    """How many cases of each kind a study has.

    Raises
    ------
    TumorgenError
        There would be none of a kind: a reader's sensitivity or specificity would be of nothing.
    """
    real = round(count * share_real)
    if not 0 < real < count:
        raise TumorgenError(
            f"{plural(count, 'case')}, of which {share_real:g} are real: a study needs cases of both kinds"
        )
    return {REAL: real, SYNTHETIC: count - real}


def queue_patients(candidates: Iterable[Candidate], rng: np.random.Generator) -> list[list[Candidate]]:
    """The cases of each patient, as they are drawn: the first is shown, or if it cannot be, the next."""
    cases: dict[str, list[Candidate]] = defaultdict(list)
    for each in sorted(candidates, key=lambda each: each.case):
        cases[each.patient].append(each)
    names = sorted(cases)
    queue = [cases[names[n]] for n in rng.permutation(len(names))]
    first = [int(rng.integers(len(mine))) for mine in queue]
    return [_draw_others(mine, n, rng) for mine, n in zip(queue, first, strict=True)]


def _draw_others(cases: Sequence[Candidate], first: int, rng: np.random.Generator) -> list[Candidate]:
    """A patient's cases: the one that was drawn first, and the others in an order that is drawn."""
    others = [*cases[:first], *cases[first + 1 :]]
    return [cases[first], *(others[n] for n in rng.permutation(len(others)))]


def leave_enough(
    queue: Sequence[list[Candidate]], other: Sequence[list[Candidate]], number: int
) -> list[list[Candidate]]:
    """A queue in which those patients of both kinds come last whom the other kind needs to have a number of cases."""
    theirs = {cases[0].patient for cases in other}
    shared = [cases[0].patient for cases in queue if cases[0].patient in theirs]
    needed = max(0, number - (len(theirs) - len(shared)))
    last = shared[max(0, len(shared) - needed) :]
    return sorted(queue, key=lambda cases: cases[0].patient in last)


def number_cases(count: int, rng: np.random.Generator) -> list[str]:
    """Names under which cases are shown, `001`, `002`, ..., in an order that says nothing of the cases."""
    width = max(3, len(str(count)))
    return [f"{n + 1:0{width}}" for n in rng.permutation(count)]


def order_cases(names: Iterable[str], rng: np.random.Generator) -> tuple[str, ...]:
    """The order in which a reader sees the cases; each reader has another, so that tiring spoils no case for all."""
    ordered = sorted(names)
    return tuple(ordered[n] for n in rng.permutation(len(ordered)))
