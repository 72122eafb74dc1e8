"""Work over processes of this machine: a case that fails costs no other its result."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Generic, TypeVar

from threadpoolctl import threadpool_limits

from .errors import Failure, TumorgenError
from .interruptions import interruptions_held

ORPHAN_S = 0.2  # how often a worker looks whether the process that it works for is still there

FEWER_JOBS = "what is finished stays: run the same command again with fewer --jobs"  # where a process was killed

T = TypeVar("T")
R = TypeVar("R")
Start = Callable[[int], Callable[[int], None]]  # gets the number of steps; returns what gets steps as they are done


def no_progress(total: int) -> Callable[[int], None]:  # noqa: ARG001
    """The progress of work that nobody watches."""
    return lambda step: None  # noqa: ARG005


def count_jobs(jobs: int, most: int | None = None) -> int:
    """Number of processes; negative numbers count from the cores that this process may use, as in joblib.

    `most` says how many of them have something to do. Where that is one, the cores are not counted: importing what
    counts them takes longer than a small sample.

    Raises
    ------
    TumorgenError
        The number is 0.
    """
    if jobs == 0:
        raise TumorgenError("--jobs 0: give a number of processes, or -1 for all cores")
    if most is not None and most <= 1:
        return 1
    if jobs > 0:
        return jobs
    import joblib

    cores: int = joblib.cpu_count()
    return max(1, cores + 1 + jobs)


@dataclass(frozen=True, slots=True)
class Case(Generic[T]):
    """A piece of work, and what a `Failure` says of it.

    Attributes
    ----------
    item
        What is worked on.
    name
        Name of the scan or sample.
    samples
        How many samples a failure costs.
    about
        Files and names that a reason may hold and that are this case's own.
    """

    item: T
    name: str
    samples: int = 1
    about: tuple[str, ...] = ()


def map_cases(
    work: Callable[[T], R],
    cases: Sequence[Case[T]],
    jobs: int = -1,
    *,
    start: Start = no_progress,
    threads: int | None = 1,
) -> Iterator[R | Failure]:
    """Do cases over processes; yield the result of each, in order, or the `Failure` that it ended with.

    Parameters
    ----------
    work
        A function that can be pickled where there are several processes.
    cases
        What it is called with, one after the other.
    jobs
        Number of processes; -1 is one for each core. A single one is this process.
    start
        Called with the number of cases; returns what is called with 1 as each is done, in whatever order.
    threads
        Threads of each of the thread pools (BLAS, OpenMP) while a case is done; None leaves them as they are.

    Raises
    ------
    TumorgenError
        A worker process was killed, or `jobs` is 0.
    """
    progress = start(len(cases))
    limited = partial(_attempt_numbered, work, threads=threads)
    early: dict[int, R | Failure] = {}
    due = 0
    run = run_in_processes(limited, list(enumerate(cases)), count_jobs(jobs), under_way=tell_under_way(progress, len))
    with closing(run) as done:
        for number, result in done:
            progress(1)
            early[number] = result
            while due in early:
                yield early.pop(due)
                due += 1


def tell_under_way(
    progress: Callable[[int], None], count: Callable[[Sequence[T]], int]
) -> Callable[[Sequence[T]], None] | None:
    """What `run_in_processes` calls with the items that are being worked on, for a progress that shows how many.

    A progress that does has a function `under_way`, which gets their number.
    """
    show = getattr(progress, "under_way", None)
    return (lambda items: show(count(items))) if show else None


def split_failures(results: Iterable[R | Failure]) -> tuple[list[R], tuple[Failure, ...]]:
    """Results, and the failures that were among them."""
    done: list[R] = []
    failures: list[Failure] = []
    for result in results:
        if isinstance(result, Failure):
            failures.append(result)
        else:
            done.append(result)
    return done, tuple(failures)


def attempt(work: Callable[[T], R], case: Case[T]) -> R | Failure:
    """Do one case in this process; whatever goes wrong is its `Failure`, since hostile files provoke anything."""
    try:
        return work(case.item)
    except Exception as error:
        return Failure.of(error, case.name, case.samples, case.about)


def _attempt_numbered(
    work: Callable[[T], R], numbered: tuple[int, Case[T]], threads: int | None
) -> tuple[int, R | Failure]:
    number, case = numbered
    with threadpool_limits(threads):
        return number, attempt(work, case)


def refuse_to_go_on(result: object) -> None:
    """End a run after a failure that all its other cases would share.

    Raises
    ------
    TumorgenError
        The result is such a failure.
    """
    if isinstance(result, Failure) and result.ends_run:
        raise TumorgenError(f"{result.reason}; what is finished stays: the same command does the rest")


def run_in_processes(
    work: Callable[[T], R],
    items: Sequence[T],
    jobs: int,
    *,
    backend: Any = None,
    advice: str = "run the same command again with fewer --jobs",
    under_way: Callable[[Sequence[T]], None] | None = None,
) -> Generator[R, None, None]:
    """Yield the results of a function for each item as they are done; errors of the function are raised.

    Worker processes end when this one does. They never hear Ctrl-C, which goes to all: this process ends them itself.
    Close the generator where not all is taken from it: left to be collected, it would swallow what interrupts its end.

    Parameters
    ----------
    work, items
        The function, which can be pickled, and what it is called with.
    jobs
        Number of processes, at most one for each item. A single one is this process.
    backend
        joblib's backend, where the work goes elsewhere.
    advice
        What to do when a worker process was killed.
    under_way
        Called with the items that are being worked on, as that changes; processes take them in order.

    Raises
    ------
    TumorgenError
        A worker process was killed.
    """
    jobs = min(jobs, max(1, len(items)))
    tell = under_way or (lambda items: None)  # noqa: ARG005
    if jobs == 1 and backend is None:
        for item in items:
            tell([item])
            yield work(item)
        tell([])
        return
    yield from _run_with_joblib(work, items, jobs, backend, advice, tell)


def _run_with_joblib(
    work: Callable[[T], R],
    items: Sequence[T],
    jobs: int,
    backend: Any,
    advice: str,
    tell: Callable[[Sequence[T]], None],
) -> Generator[R, None, None]:
    import joblib  # here, since work that is done in this process does without it, and it takes a tenth of a second
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    here: dict[str, Any] = {"backend": "loky", "initializer": _end_with, "initargs": (os.getpid(),)}
    elsewhere = {"backend": backend, "pre_dispatch": "all"}  # a cluster may grow
    parallel = joblib.Parallel(
        n_jobs=jobs,
        batch_size=1,
        return_as="generator_unordered",
        **(here if backend is None else elsewhere),
    )
    left = dict(enumerate(items))
    tell([*islice(left.values(), jobs)])
    calls = map(joblib.delayed(partial(_number_result, work)), enumerate(items))
    try:
        with _cut_short_quietly():
            for number, result in _begin(parallel, calls):
                del left[number]
                tell([*islice(left.values(), jobs)])
                yield result
    except TerminatedWorkerError as error:
        raise TumorgenError(f"a worker process was killed, probably for want of memory; {advice}") from error


def _number_result(work: Callable[[T], R], numbered: tuple[int, T]) -> tuple[int, R]:
    number, item = numbered
    return number, work(item)


def _begin(parallel: Callable[[Iterable[Any]], Iterator[R]], calls: Iterable[Any]) -> Iterator[R]:
    """Begin the work, and with it the worker processes."""
    with interruptions_held(), _unheard():
        return parallel(calls)


@contextmanager
def _unheard() -> Iterator[None]:
    """Have processes that are begun in the block never hear Ctrl-C."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # which would let it through again, were it begun in the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _cut_short_quietly() -> Iterator[None]:
    """Have nobody told of the `KeyError` that the thread of loky's executor may end with where the work is cut short.

    Shut down, it forgets the calls that wait, and then looks for one that it had yet to pass to a worker. By then it
    has killed the workers, so nothing else is left undone.
    """
    before = threading.excepthook

    def tell(raised: threading.ExceptHookArgs) -> None:
        named = raised.thread is not None and raised.thread.name == "ExecutorManagerThread"
        if not (named and raised.exc_type is KeyError):
            before(raised)

    threading.excepthook = tell
    try:
        yield
    finally:
        threading.excepthook = before


def _end_with(parent: int) -> None:
    """Have this worker end when the process that it works for has ended, however that was: nobody takes its results."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(ORPHAN_S)
        os._exit(1)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True, name="orphan").start()
