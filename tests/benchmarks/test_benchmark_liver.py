"""What the benchmark of `liver-mask` makes of its runs."""

from benchmark_liver import MORE, Run, rows_of


def test_a_further_scan_is_what_several_take_more():
    rows = dict(rows_of([Run(7.0, 0.9), Run(8.0, 1.0), Run(90.0, 1.0)], [Run(8.0 + 3 * MORE, 1.2)] * 3, 0.97))
    assert rows["one scan, s from start to end"] == "8.00 (≤ 10.00: yes)"
    assert rows["each further scan, s"] == "3.00 (≤ 3.50: yes)"
    assert rows["peak memory, GB"] == "1.20 (≤ 1.50: yes)"


def test_a_target_that_is_missed_is_said():
    rows = dict(rows_of([Run(11.0, 1.6)], [Run(11.0 + 4 * MORE, 1.6)], 0.9))
    assert [value.endswith("no)") for value in rows.values()] == [True, True, True, False]
