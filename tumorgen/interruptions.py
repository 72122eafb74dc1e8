"""Ctrl-C and SIGTERM, held back while something is put on disk.

The exception of a signal comes between any two instructions. Between closing a file and noting that it is closed, it
has code close the file twice, and the error of that hides the interruption: `shutil.rmtree` does so. Held back, it
comes when the file is whole and all of that is over, and it comes as what it is.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

_ENDING = (signal.SIGINT, signal.SIGTERM)
_AGAIN_S = 0.05  # until an interruption that Python ignored comes again


@dataclass(slots=True)
class _Hold:
    """How many blocks hold signals back, which signals wait, and whose handlers stand aside meanwhile."""

    blocks: int = 0
    waiting: dict[int, None] = field(default_factory=dict)
    handlers: dict[int, Callable[[int, FrameType | None], Any]] = field(default_factory=dict)


_hold = _Hold()


class interruptions_held:  # noqa: N801  (used like a function)
    """Have what Ctrl-C or SIGTERM raises come when this block is over. Blocks nest: the outermost decides.

    Each signal that came comes once then, whatever the block itself raises. What a signal does without Python (ignored,
    or the system's default) it goes on doing; and outside the main thread, where none raises anything, this does
    nothing.
    """

    # No generator: what interrupts its beginning would leave it to be ended whenever it is collected.
    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = _hold.blocks
        if _in_main_thread():
            _hold_back(self._before + 1)

    def __exit__(self, *_: object) -> None:
        if _in_main_thread():
            _let_through(self._before)


class interruptions_let_through:  # noqa: N801
    """Within a block that holds them back, have them come after all for as long as this one lasts: the long work.

    Where further blocks hold them back, those still do.
    """

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = _hold.blocks
        if self._before and _in_main_thread():
            try:
                _let_through(self._before - 1)
            except BaseException:
                _hold_back(self._before)  # for what tidies up
                raise

    def __exit__(self, *_: object) -> None:
        if self._before and _in_main_thread():
            _hold_back(self._before)


def signal_of(interruption: BaseException) -> int:
    """Number of the signal that raised an interruption: Ctrl-C's, unless its attribute `signal` says otherwise."""
    return int(getattr(interruption, "signal", signal.SIGINT))


@contextmanager
def ignored_interruptions_repeated() -> Iterator[None]:
    """Have an interruption come again that came where Python ignores what is raised: where an object is finalized.

    An exception for another signal than Ctrl-C, a `KeyboardInterrupt` too, says which in its attribute `signal`.
    """
    before, timers = sys.unraisablehook, list[threading.Timer]()

    def repeat(ignored: sys.UnraisableHookArgs) -> None:
        # Later and by another thread: what is raised in here is ignored, too.
        if not isinstance(ignored.exc_value, KeyboardInterrupt):
            before(ignored)
            return
        number = signal_of(ignored.exc_value)
        timers.append(threading.Timer(_AGAIN_S, signal.raise_signal, (number,)))
        timers[-1].start()

    sys.unraisablehook = repeat
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in timers:
            timer.join()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _hold_back(blocks: int) -> None:
    """Hear signals instead of their handlers. One that comes halfway is answered at once, by its own handler."""
    if not _hold.blocks:
        for number in _ENDING:
            handler = signal.getsignal(number)
            if callable(handler) and handler is not _hear:
                _hold.handlers[number] = handler
                signal.signal(number, _hear)
    _hold.blocks = blocks


def _let_through(blocks: int) -> None:
    """Let handlers hear for themselves and what waits come; where that ends this early, `_hear` goes on asking them."""
    _hold.blocks = blocks
    if not blocks:
        for number, handler in _hold.handlers.items():
            if signal.getsignal(number) is _hear:
                signal.signal(number, handler)
        _deliver()


def _hear(number: int, frame: FrameType | None) -> None:
    """Note a signal, or have its handler answer where no block holds it back."""
    if _hold.blocks:
        _hold.waiting[number] = None
    else:
        _hold.handlers[number](number, frame)


def _deliver() -> None:
    """Raise what waits, all of it, though the first may end what is being done."""
    if _hold.waiting:
        number, _ = _hold.waiting.popitem()
        try:
            signal.raise_signal(number)
        finally:
            _deliver()
