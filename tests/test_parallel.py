"""Cases over processes: results in order, a failure per case, and one line for a worker that is killed."""

from __future__ import annotations

import os
import select
import signal
from functools import partial
from pathlib import Path

import pytest
from joblib import Parallel
from threadpoolctl import threadpool_info, threadpool_limits

from tumorgen.errors import Failure, TumorgenError
from tumorgen.parallel import Case, count_jobs, map_cases, run_in_processes

FULL = Path("/dev/full")


def cases_of(*items: int) -> list[Case[int]]:
    return [Case(item, f"case_{item}", samples=3, about=(f"/ct/{item}.nii.gz",)) for item in items]


def work(item: int, offset: int = 0) -> int:
    if item == 2:
        raise TumorgenError("/ct/2.nii.gz: is cut off")
    if item == 3:
        raise ValueError("not\nforeseen")
    return item + offset


def die(item: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_order_and_a_failure_costs_no_other(jobs) -> None:
    seen = []
    results = map_cases(partial(work, offset=10), cases_of(1, 2, 3, 4), jobs, start=lambda total: seen.append)
    first, known, unknown, last = results
    assert (first, last) == (11, 14)
    assert known == Failure("case_2", "/ct/2.nii.gz: is cut off", 3, about=("/ct/2.nii.gz",))
    assert (unknown.name, unknown.reason, unknown.samples) == ("case_3", "ValueError: not foreseen", 3)
    assert unknown.details.startswith("Traceback")
    assert "in work" in unknown.details
    assert seen == [1, 1, 1, 1]


def test_a_reason_leaves_out_what_is_the_cases_own() -> None:
    (failure,) = map_cases(work, cases_of(2), 1)
    assert failure.kind == "is cut off"


def wait_for(fifo: Path | None) -> bool:
    if fifo is None:
        return True
    heard, _, _ = select.select([os.open(fifo, os.O_RDWR)], [], [], 60)
    return bool(heard)


def test_what_is_done_counts_before_its_turn_comes(tmp_path) -> None:
    """The first case ends only when the second has been counted."""
    os.mkfifo(tmp_path / "counted")
    counted = os.open(tmp_path / "counted", os.O_RDWR)
    cases = [Case(tmp_path / "counted", "slow"), Case(None, "quick")]
    assert list(map_cases(wait_for, cases, 2, start=lambda total: lambda step: os.write(counted, b"1"))) == [True, True]
    os.close(counted)


def test_nothing_to_do_is_nothing() -> None:
    assert list(map_cases(work, [], 2)) == []


def test_a_full_disk_says_that_all_others_would_fail() -> None:
    def write(item: int) -> None:
        with FULL.open("w") as file:
            file.write("x" * 10**6)

    if not FULL.exists():
        pytest.skip("no /dev/full here")
    (failure,) = map_cases(write, cases_of(1), 1)
    assert failure.ends_run
    assert "No space left on device" in failure.reason


def test_a_worker_that_is_killed_ends_in_one_line() -> None:
    with pytest.raises(TumorgenError, match="a worker process was killed, probably for want of memory; run the same"):
        list(map_cases(die, cases_of(1, 2), 2))


def threads_of(item: int) -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info()]


def test_thread_pools_are_held_to_one_unless_the_work_has_a_process_of_its_own() -> None:
    with threadpool_limits(2):
        (held,), (free,) = map_cases(threads_of, cases_of(1), 1), map_cases(threads_of, cases_of(1), 1, threads=None)
    assert set(held) == {1}
    assert set(free) == {2}


def test_workers_never_hear_of_an_interruption() -> None:
    handlers = list(map_cases(handler_of_sigint, cases_of(1, 2), 2))
    assert handlers == [signal.SIG_IGN] * 2


@pytest.mark.filterwarnings("ignore:[0-9]* tasks:UserWarning")  # of which the command line says nothing
def test_an_interruption_before_a_worker_has_its_work_says_nothing_else(monkeypatch) -> None:
    """loky's thread looks for work that it has forgotten, if it is shut down before it could pass it to a worker."""
    from joblib.externals.loky.process_executor import _ExecutorManagerThread

    looked, pass_work = [], _ExecutorManagerThread.add_call_item_to_queue

    def pass_work_late(thread) -> None:
        if thread.executor_flags.shutdown:
            looked.append(thread.work_ids_queue.qsize())
            pass_work(thread)

    monkeypatch.setattr(_ExecutorManagerThread, "add_call_item_to_queue", pass_work_late)
    monkeypatch.setattr("joblib.Parallel", lambda **settings: InterruptedParallel(**settings))
    with pytest.raises(KeyboardInterrupt):
        list(run_in_processes(abs, [-1, -2, -3], 2))
    assert looked[0] > 0


class InterruptedParallel(Parallel):
    def __call__(self, calls):
        super().__call__(calls)
        raise KeyboardInterrupt


def handler_of_sigint(item: int) -> signal.Handlers:
    return signal.Handlers(signal.getsignal(signal.SIGINT))


def test_negative_jobs_count_from_the_cores() -> None:
    assert count_jobs(-1) >= 1
    assert count_jobs(-1000) == 1
    with pytest.raises(TumorgenError, match="--jobs 0"):
        count_jobs(0)


def test_cores_are_not_counted_where_one_process_has_something_to_do(monkeypatch) -> None:
    monkeypatch.setattr("joblib.cpu_count", lambda: pytest.fail("has counted"))
    assert count_jobs(-1, most=1) == count_jobs(8, most=0) == 1
    assert count_jobs(8, most=2) == 8
    with pytest.raises(TumorgenError, match="--jobs 0"):
        count_jobs(0, most=1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_under_way_is_told(jobs):
    """Never more than there are processes, and nothing at the end."""
    told = []
    done = sorted(run_in_processes(abs, [-1, -2, -3, -4, -5], jobs, under_way=lambda items: told.append(len(items))))
    assert done == [1, 2, 3, 4, 5]
    assert (told[0], told[-1], max(told)) == (jobs, 0, jobs)
