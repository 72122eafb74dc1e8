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

from .verbosity import said_so_far

if TYPE_CHECKING:
    from tumorgen.parallel import Start

TICK_S = 1.0  # between two looks at the clock
LINE_EVERY_S = 60.0  # between two lines where there is no terminal
VERBOSE_EVERY_S = 10.0  # between two lines where they are asked for


def progress(description: str, unit: str) -> Start:
    """Return a function that shows the progress of a number of steps, and that returns how to move it on."""

    def start(total: int) -> Callable[[int], None]:
        said = said_so_far()
        if not total or said.quiet:
            return lambda step: None  # noqa: ARG005
        shown = _shown(description, unit, total, verbose=said.verbose)
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
        move.under_way = shown.under_way  # type: ignore[attr-defined]
        return move

    return start


def _shown(description: str, unit: str, total: int, *, verbose: bool) -> Bar | Lines:
    """A bar where somebody looks on, else lines."""
    if verbose:
        return Lines(description, unit, total, every_s=VERBOSE_EVERY_S, always=True)
    return Bar(description, unit, total) if sys.stderr.isatty() else Lines(description, unit, total)


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

    def under_way(self, count: int) -> None:
        """Tell how many are begun and not done."""
        self._bar.set_postfix_str(f"{count} under way" if count else "", refresh=False)

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
    every_s
        Seconds between two lines.
    always
        Whether short work has a line, too.
    """

    def __init__(
        self,
        description: str,
        unit: str,
        total: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        every_s: float = LINE_EVERY_S,
        always: bool = False,
    ) -> None:
        self.description, self.unit, self.total, self.clock = description, unit, total, clock
        self.every_s, self.tells_end = every_s, always
        self.began = clock()
        self.due = self.began + every_s
        self.moved = self.begun = 0

    def under_way(self, count: int) -> None:
        """Note how many are begun and not done."""
        self.begun = count

    def move(self, step: int) -> None:
        """Count what is done."""
        self.moved += step

    def tick(self) -> None:
        """Tell of it, if a minute has gone by."""
        now = self.clock()
        if now >= self.due:
            self._tell(now)
            self.due, self.tells_end = now + self.every_s, True

    def close(self) -> None:
        """Tell how it ended, if anything was told."""
        if self.tells_end:
            self._tell(self.clock())
            self.tells_end = False

    def _tell(self, now: float) -> None:
        spent, left = now - self.began, self.total - self.moved
        line = f"{self.description}: {self.moved} of {plural(self.total, self.unit)} in {clock_time(spent)}"
        if left and self.moved:
            line += f", {clock_time(spent * left / self.moved)} left"
        if left and self.begun:
            line += f", {self.begun} under way"
        click.echo(line, err=True)


def clock_time(seconds: float) -> str:
    """Minutes and seconds, or hours, minutes and seconds: 1:05, 2:00:00."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
