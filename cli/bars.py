"""The progress of long work: a bar on a terminal; elsewhere, as in a log file, a plain line a minute.

What is left is reckoned from the average since the beginning, and told anew each second even where nothing is done.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural

if TYPE_CHECKING:
    from tumorgen.parallel import Start

TICK_S = 1.0  # between two looks at the clock
LINE_EVERY_S = 60.0  # between two lines where there is no terminal


def progress(description: str, unit: str) -> Start:
    """Return a function that shows the progress of a number of steps, and that returns how to move it on."""

    def start(total: int) -> Callable[[int], None]:
        if not total:
            return lambda step: None  # noqa: ARG005
        shown = Bar(description, unit, total) if sys.stderr.isatty() else Lines(description, unit, total)
        done = _call_often(shown.tick)

        def close() -> None:
            done.set()
            shown.close()

        def move(step: int) -> None:
            shown.move(step)
            if shown.moved >= total:
                close()

        if context := click.get_current_context(silent=True):
            context.call_on_close(close)  # so that what ends the command stands on a line of its own
        return move

    return start


def _call_often(tick: Callable[[], None]) -> threading.Event:
    """Call a function each second, until the event is set."""
    done = threading.Event()

    def call() -> None:
        while not done.wait(TICK_S):
            tick()

    threading.Thread(target=call, name="progress", daemon=True).start()
    return done


class Bar:
    """A bar on a terminal. What is left is reckoned from all that was done: it all counts alike."""

    def __init__(self, description: str, unit: str, total: int) -> None:
        from tqdm import tqdm

        self._bar = tqdm(total=total, desc=description, unit=unit, dynamic_ncols=True, smoothing=0)
        self.tick, self.move, self.close = self._bar.refresh, self._bar.update, self._bar.close

    @property
    def moved(self) -> int:
        """How many are done."""
        return int(self._bar.n)


class Lines:
    """Plain lines, one a minute: how many are done, and how long the rest will take. Short work has none.

    Parameters
    ----------
    description, unit
        What is done, and to what.
    total
        How many of these there are.
    clock
        Tells the seconds.
    """

    def __init__(self, description: str, unit: str, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.description, self.unit, self.total, self.clock = description, unit, total, clock
        self.began = self.due = clock()
        self.due += LINE_EVERY_S
        self.moved = 0

    def move(self, step: int) -> None:
        """Count what is done."""
        self.moved += step

    def tick(self) -> None:
        """Tell of it, if a minute has gone by."""
        now = self.clock()
        if now >= self.due:
            self._tell(now)
            self.due = now + LINE_EVERY_S

    def close(self) -> None:
        """Tell how it ended, if anything was told."""
        if self.due > self.began + LINE_EVERY_S:
            self._tell(self.clock())
            self.due = self.began

    def _tell(self, now: float) -> None:
        spent, left = now - self.began, self.total - self.moved
        line = f"{self.description}: {self.moved} of {plural(self.total, self.unit)} in {clock_time(spent)}"
        if left and self.moved:
            line += f", {clock_time(spent * left / self.moved)} left"
        click.echo(line, err=True)


def clock_time(seconds: float) -> str:
    """Minutes and seconds, or hours, minutes and seconds: 1:05, 2:00:00."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
