"""Progress: a bar where somebody looks on, a plain line a minute where it goes into a file."""

from __future__ import annotations

import io
import os
import pty
import sys
import termios
import threading
from contextlib import suppress

import click
import pytest
from click.testing import CliRunner

from tumorgen.cli.bars import LINE_EVERY_S, Bar, Lines, clock_time, progress


class Clock:
    """A clock that is put forward by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "told"), [(0, "0:00"), (65.4, "1:05"), (59.6, "1:00"), (3600, "1:00:00"), (90061, "25:01:01")]
)
def test_times_are_told_as_on_a_clock(seconds, told):
    assert clock_time(seconds) == told


def test_a_line_a_minute_with_what_is_left_by_the_average(capsys):
    clock = Clock()
    lines = Lines("synth", "sample", 890, clock)
    for _ in range(89):
        lines.move(1)
        clock.now += 1
        lines.tick()
    assert capsys.readouterr().err == "synth: 60 of 890 samples in 1:00, 13:50 left\n"
    clock.now += LINE_EVERY_S - 29  # nothing is done, and that is told, too
    lines.tick()
    assert capsys.readouterr().err == "synth: 89 of 890 samples in 2:00, 18:00 left\n"
    lines.move(801)
    lines.close()
    assert capsys.readouterr().err == "synth: 890 of 890 samples in 2:00\n"


def test_before_anything_is_done_nothing_is_reckoned(capsys):
    clock = Clock()
    lines = Lines("verify", "sample", 1, clock)
    clock.now += LINE_EVERY_S
    lines.tick()
    assert capsys.readouterr().err == "verify: 0 of 1 sample in 1:00\n"


def test_short_work_says_nothing(capsys):
    lines = Lines("synth", "sample", 3, Clock())
    lines.move(3)
    lines.tick()
    lines.close()
    assert capsys.readouterr().err == ""


@click.command()
def count() -> None:
    move = progress("count", "thing")(3)
    for _ in range(3):
        move(1)
    click.echo("done")


def test_a_log_gets_no_carriage_return():
    result = CliRunner().invoke(count)
    assert (result.output, result.stderr) == ("done\n", "")


def test_a_terminal_gets_a_bar_that_ends_with_its_line(monkeypatch):
    parent, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 100))
    with os.fdopen(child, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        count.main([], standalone_mode=False)
    raw = b""
    with suppress(OSError):  # how Linux says that the other side is closed
        while part := os.read(parent, 10000):
            raw += part
    os.close(parent)
    shown = raw.decode()
    assert "count: 100%" in shown
    assert "3/3" in shown
    assert shown.endswith("\n")


def test_what_is_left_is_reckoned_from_all_that_was_done():
    bar = Bar("synth", "sample", 100)
    assert bar._bar.smoothing == 0
    bar.close()


def test_the_clock_stops_with_the_work(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    before = threading.active_count()
    move = progress("count", "thing")(2)
    assert threading.active_count() == before + 1
    move(2)
    for thread in threading.enumerate():
        if thread.name == "progress":
            thread.join()
    assert threading.active_count() == before


def test_nothing_to_do_shows_nothing(capsys):
    progress("count", "thing")(0)(0)
    assert capsys.readouterr().err == ""


def test_what_is_under_way_is_counted(capsys):
    clock = Clock()
    lines = Lines("synth", "sample", 890, clock)
    lines.move(60)
    lines.under_way(48)
    clock.now += LINE_EVERY_S
    lines.tick()
    assert capsys.readouterr().err == "synth: 60 of 890 samples in 1:00, 13:50 left, 48 under way\n"
