"""Table 2's own counts give its published figures; what each figure is of; how readers agree."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from statsmodels.stats.proportion import proportion_confint

from tumorgen.turing.answers import Answer
from tumorgen.turing.drawing import REAL, SYNTHETIC
from tumorgen.turing.scoring import agree, last_answers, score_reader, score_study
from tumorgen.turing.study import KeyRow

# Table 2 of Hu et al. (CVPR 2023) is of 50 cases, 20 real and 30 synthetic; its text says that those marked as unsure
# are left out. The counts are derived: for each reader they are the only ones within 20 and 30 that give all three of
# the published percentages (junior 26.5, 27.6, 25.0; senior 71.0, 63.2, 83.3).
JUNIOR = {SYNTHETIC: (8, 21, 1), REAL: (5, 15, 0)}  # called rightly, wrongly, unsure
SENIOR = {SYNTHETIC: (12, 7, 11), REAL: (10, 2, 8)}
PUBLISHED = {"junior": (26.5, 27.6, 25.0), "senior": (71.0, 63.2, 83.3)}


def answer(case: str, said: str, seconds: float = 10.0) -> Answer:
    return Answer(case, said, None if said == "unsure" else 2, None, None, None, seconds, "2026-01-01T00:00:00Z")


def key_of(real: int, synthetic: int) -> dict[str, KeyRow]:
    names = [f"{kind}-{n}" for kind, count in ((REAL, real), (SYNTHETIC, synthetic)) for n in range(count)]
    return {name: KeyRow(name, name.partition("-")[0], name, name, 1, 8.0, 0.0, 0.0, 0.0) for name in names}


def answers_of(counts: dict[str, tuple[int, int, int]]) -> dict[str, Answer]:
    given = {}
    for kind, (right, wrong, unsure) in counts.items():
        other = REAL if kind == SYNTHETIC else SYNTHETIC
        for n, said in enumerate([kind] * right + [other] * wrong + ["unsure"] * unsure):
            given[f"{kind}-{n}"] = answer(f"{kind}-{n}", said)
    return given


KEY = key_of(20, 30)


def counts_that_give(published: tuple[float, float, float]) -> list[tuple[int, int, int, int]]:
    """Right and called synthetic cases (of 30), right and called real ones (of 20), that round to three figures."""
    accuracy, sensitivity, specificity = published
    shares = {
        wanted: [(k, n) for n in range(1, most + 1) for k in range(n + 1) if f"{100 * k / n:.1f}" == f"{wanted:.1f}"]
        for wanted, most in ((sensitivity, 30), (specificity, 20))
    }
    return [
        (*found, *kept)
        for found in shares[sensitivity]
        for kept in shares[specificity]
        if f"{100 * (found[0] + kept[0]) / (found[1] + kept[1]):.1f}" == f"{accuracy:.1f}"
    ]


@pytest.mark.parametrize(("reader", "counts"), [("junior", JUNIOR), ("senior", SENIOR)])
def test_table_2_gives_its_published_figures(reader, counts):
    (only,) = counts_that_give(PUBLISHED[reader])
    right, wrong, _ = zip(*(counts[kind] for kind in (SYNTHETIC, REAL)), strict=True)
    assert only == (right[0], right[0] + wrong[0], right[1], right[1] + wrong[1])
    found = score_reader(reader, KEY, answers_of(counts))
    shares = (found.accuracy, found.sensitivity, found.specificity)
    assert tuple(round(100 * each.value, 1) for each in shares) == PUBLISHED[reader]
    assert [each.count for each in shares] == [sum(right) + sum(wrong), only[1], only[3]]
    assert (found.unsure_synthetic, found.unsure_real) == (counts[SYNTHETIC][2], counts[REAL][2])
    assert found.answered == 50


def test_the_paper_calls_a_junior_worse_than_a_coin_and_a_senior_better():
    """13 of 49 and 22 of 31 right answers: the exact binomial test's p is known from its definition."""
    for counts, right, called in ((JUNIOR, 13, 49), (SENIOR, 22, 31)):
        tail = min(right, called - right)
        p = 2 * sum(math.comb(called, k) for k in range(tail + 1)) / 2**called
        assert score_reader("x", KEY, answers_of(counts)).p_guessing == pytest.approx(p, rel=1e-9)
        assert p < 0.05


def test_with_a_case_a_patient_the_intervals_are_wilsons():
    found = score_reader("senior", KEY, answers_of(SENIOR)).sensitivity
    assert (found.low, found.high) == pytest.approx(proportion_confint(12, 19, method="wilson"), rel=1e-12)


def test_who_says_synthetic_of_all_knows_nothing():
    """Though 60 % are right: Fisher's test is not misled."""
    key = key_of(20, 30)
    found = score_reader("x", key, {case: answer(case, SYNTHETIC) for case in key})
    assert found.accuracy.value == 0.6
    assert found.p_unrelated == 1.0


def test_all_readers_together_rest_on_as_many_cases_as_there_are():
    """Two readers who say the same of each case are worth one."""
    said = answers_of(JUNIOR)
    one, two = (score_study(KEY, dict.fromkeys(names, said)) for names in (("a", "b"), ("a", "b", "c")))
    alone = one.readers[0].accuracy
    for each in (one, two):
        assert each.together["accuracy"].value == alone.value
        assert each.together["accuracy"].low == pytest.approx(alone.low, abs=0.01)


def test_the_last_answer_counts_with_the_time_of_all():
    found = last_answers([answer("a", REAL, 5.0), answer("b", REAL, 1.0), answer("a", SYNTHETIC, 7.0)])
    assert (found["a"].answer, found["a"].seconds) == (SYNTHETIC, 12.0)
    assert score_reader("x", key_of(1, 1), {}).answered == 0


def test_confidence_is_told_apart_where_the_reader_is_wrong():
    sure = {"real-0": (REAL, 3), "real-1": (REAL, 2), "synthetic-0": (REAL, 1), "synthetic-1": ("unsure", None)}
    given = {case: replace(answer(case, said), confidence=much) for case, (said, much) in sure.items()}
    found = score_reader("x", key_of(2, 2), given)
    assert (found.confidence_right, found.confidence_wrong) == (2.5, 1.0)
    assert math.isnan(score_reader("x", key_of(2, 2), {}).confidence_wrong)


def test_kappa_of_two_readers_is_cohens():
    """His own table of 1960 is not of these answers; of 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no kappa is 0.4."""
    pairs = [(REAL, REAL)] * 20 + [(REAL, SYNTHETIC)] * 5 + [(SYNTHETIC, REAL)] * 10 + [(SYNTHETIC, SYNTHETIC)] * 15
    given = [{str(n): answer(str(n), pair[reader]) for n, pair in enumerate(pairs)} for reader in (0, 1)]
    found = agree(("a", "b"), given)
    assert found.kappa == pytest.approx(0.4)
    assert (found.cases, found.same) == (50, 0.7)


def test_kappa_of_three_readers_is_fleiss():
    """Three readers, four cases: a case agrees by (sum of n squared - 3) / 6, chance by the squares of the shares."""
    said = {"a": (REAL, REAL, REAL), "b": (REAL, REAL, SYNTHETIC), "c": (SYNTHETIC,) * 3, "d": (REAL, "unsure", REAL)}
    given = [{case: answer(case, each[reader]) for case, each in said.items()} for reader in range(3)]
    mean, chance = (1 + 1 / 3 + 1 + 1 / 3) / 4, (7 / 12) ** 2 + (4 / 12) ** 2 + (1 / 12) ** 2
    assert agree(("x", "y", "z"), given).kappa == pytest.approx((mean - chance) / (1 - chance))


def test_only_cases_that_both_answered_are_compared():
    none = agree(("a", "b"), [{"1": answer("1", REAL)}, {"2": answer("2", REAL)}])
    assert (none.cases, math.isnan(none.kappa)) == (0, True)
    alike = agree(("a", "b"), [{"1": answer("1", REAL)}] * 2)
    assert (alike.same, math.isnan(alike.kappa)) == (1.0, True)
