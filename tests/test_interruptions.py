"""Ctrl-C and SIGTERM held back: they come once the block is over, as what they are, and none is lost."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator

import pytest
from interrupting import HOLDING, Steps, Terminated, answering, interrupt, terminate

from tumorgen.interruptions import ignored_interruptions_repeated, interruptions_held, interruptions_let_through

CTRL_C, TERM = signal.SIGINT, signal.SIGTERM


@pytest.fixture(autouse=True)
def _answering() -> Iterator[None]:
    with answering():
        yield
        assert signal.getsignal(CTRL_C) is signal.default_int_handler
        assert signal.getsignal(TERM) is terminate


@pytest.mark.parametrize(("number", "raised"), [(CTRL_C, KeyboardInterrupt), (TERM, Terminated)])
def test_what_a_signal_raises_comes_when_the_outermost_block_is_over(number, raised) -> None:
    done = []

    def work() -> None:
        with interruptions_held():
            with interruptions_held():
                signal.raise_signal(number)
                done.append("inner")
            done.append("outer")

    with pytest.raises(raised):
        work()
    assert done == ["inner", "outer"]


def test_it_comes_whatever_the_block_raises() -> None:
    def work() -> None:
        with interruptions_held():
            signal.raise_signal(CTRL_C)
            raise OSError(28, "No space left on device")

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert isinstance(caught.value.__context__, OSError)


def test_a_second_one_is_not_lost() -> None:
    def work(*numbers: int) -> None:
        with interruptions_held():
            for number in numbers:
                signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt) as caught:
        work(TERM, CTRL_C)
    assert {type(caught.value), type(caught.value.__context__)} == {KeyboardInterrupt, Terminated}
    with pytest.raises(KeyboardInterrupt):  # and the next one comes, too
        work(CTRL_C)


def test_they_come_in_the_long_work_within() -> None:
    done = []

    def work() -> None:
        with interruptions_held():
            try:
                with interruptions_let_through():
                    signal.raise_signal(CTRL_C)
                    done.append("work")
            finally:
                signal.raise_signal(CTRL_C)
                done.append("tidied up")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["tidied up"]


def test_what_came_before_the_long_work_comes_at_its_beginning() -> None:
    done = []

    def work() -> None:
        with interruptions_held():
            signal.raise_signal(CTRL_C)
            with interruptions_let_through():
                done.append("work")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert not done


def test_a_block_around_it_holds_them_back_all_the_same() -> None:
    done = []

    def work() -> None:
        with interruptions_held(), interruptions_held(), interruptions_let_through():
            signal.raise_signal(CTRL_C)
            done.append("work")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["work"]


class Dying:
    """What is interrupted as it is finalized, where Python ignores what is raised."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)
        signal.getsignal(self.number)  # by now at the latest it is raised


@pytest.mark.parametrize(("number", "raised"), [(CTRL_C, KeyboardInterrupt), (TERM, Terminated)])
def test_one_that_python_ignores_comes_again(number, raised, monkeypatch) -> None:
    def work() -> None:
        with ignored_interruptions_repeated():
            Dying(number)

    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    with pytest.raises(raised):
        work()
    assert not ignored
    assert sys.unraisablehook == ignored.append


def test_what_else_python_ignores_is_told_as_ever(monkeypatch) -> None:
    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: ignored.append(str(told.exc_value)))
    with ignored_interruptions_repeated():
        Broken()
    assert ignored == ["broken"]


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_python_does_not_answer_stays_as_it_is(handler) -> None:
    signal.signal(TERM, handler)
    with interruptions_held():
        assert signal.getsignal(TERM) is handler
    signal.signal(TERM, terminate)


def test_a_handler_set_within_stays() -> None:
    with interruptions_held():
        signal.signal(CTRL_C, signal.SIG_IGN)
    assert signal.getsignal(CTRL_C) is signal.SIG_IGN
    signal.signal(CTRL_C, signal.default_int_handler)


def test_other_threads_hold_nothing_back() -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with interruptions_held(), interruptions_let_through():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(CTRL_C)
    leave.set()
    thread.join()


@pytest.mark.parametrize("signals", [(CTRL_C,), (TERM, CTRL_C), (CTRL_C, CTRL_C)])
def test_before_any_instruction_of_holding_back_itself(signals) -> None:
    done: list[str] = []

    def work() -> None:
        with interruptions_held():
            done.append("begun")
            try:
                with interruptions_let_through():
                    done.append("work")
            finally:
                done.append("ended")

    whole = Steps(HOLDING, "opcode")
    whole.of(work)
    for at in range(1, whole.count + 1):
        done.clear()
        interrupt(work, Steps(HOLDING, "opcode", at, signals))
        assert done in ([], ["begun", "ended"], ["begun", "work", "ended"])
        with pytest.raises(KeyboardInterrupt):  # nothing is held back any more
            signal.raise_signal(CTRL_C)
        done.clear()
        work()
        assert done == ["begun", "work", "ended"]
        assert signal.getsignal(CTRL_C) is signal.default_int_handler  # and all is as before
