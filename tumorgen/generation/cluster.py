"""A Dask cluster as joblib's backend: batches of samples go to other machines, their rows come back to this process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import TumorgenError

if TYPE_CHECKING:
    from concurrent.futures import Future

ANSWER_S = 10  # a scheduler that is there answers in less


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where work goes: joblib's backend, and the number of worker processes."""

    backend: Any
    workers: int


@contextmanager
def connect_cluster(address: str, answer_s: float = ANSWER_S) -> Iterator[Cluster]:
    """Connect to a Dask scheduler, `tcp://host:8786`, for as long as the block lasts.

    Raises
    ------
    TumorgenError
        The address is malformed, Dask is not installed, no scheduler answers, it has no workers, or they have other
        versions of what renders.
    """
    import asyncio  # here, since most runs do without a cluster

    try:
        from distributed import Client
    except ImportError as error:
        raise TumorgenError("--scheduler needs Dask, which is not installed: pip install 'tumorgen[dask]'") from error
    if not re.fullmatch(r"\w+://.+:\d+/?", address):
        raise TumorgenError(f"--scheduler {address}: give its address as the scheduler prints it, tcp://host:8786")
    try:
        asyncio.run(asyncio.wait_for(_ask(address), answer_s))
        client = Client(address, timeout=answer_s, set_as_default=False)
    except TimeoutError as error:
        raise TumorgenError(f"{address}: no Dask scheduler answers within {answer_s:g} s") from error
    except (OSError, ValueError) as error:
        raise TumorgenError(f"{address}: no Dask scheduler answers ({_first_line(error)})") from error
    with client:
        workers = _count_workers(client, address, answer_s)
        yield Cluster(_backend(client, address), workers)


async def _ask(address: str) -> Any:
    """What a scheduler says of itself. A client would never stop waiting for a server that is no scheduler."""
    from distributed.core import rpc

    async with rpc(address) as scheduler:
        return await scheduler.identity()


def _count_workers(client: Any, address: str, answer_s: float) -> int:
    """Number of workers, once there is one; each has the versions that are here."""
    try:
        client.wait_for_workers(1, timeout=answer_s)
        versions = client.run(_version)
    except TimeoutError as error:
        raise TumorgenError(f"{address}: has no workers; start some: dask worker {address} --nthreads 1") from error
    except Exception as error:  # whatever a worker without tumorgen has to say
        raise TumorgenError(f"{address}: a worker cannot run tumorgen ({_first_line(error)})") from error
    for worker, version in versions.items():
        if version != _version():
            raise TumorgenError(f"{worker}: has {version}, here is {_version()}; the same bits need the same versions")
    return len(versions)


def _version() -> str:
    """What rendered bits depend on, on the machine where it is called."""
    import numpy
    import scipy

    from .. import __version__

    return f"tumorgen {__version__}, numpy {numpy.__version__}, scipy {scipy.__version__}"


def _backend(client: Any, address: str) -> Any:
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):  # type: ignore[misc]
        """joblib's own (1.6) does the work of a lone worker in this process, and never stops waiting for lost work."""

        def effective_n_jobs(self, n_jobs: int) -> int:
            return max(2, int(super().effective_n_jobs(n_jobs)))

        def submit(self, func: Any, callback: Callable[[Any], None]) -> Future[Any]:
            future: Future[Any] = super().submit(func, callback)
            future.add_done_callback(lambda done: callback(done.exception()) if done.exception() else None)
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            if isinstance(out, BaseException):
                raise TumorgenError(
                    f"{address}: work was lost ({_first_line(out)}); what is finished stays: run the same command"
                    " again, with more memory for each worker if they were killed"
                ) from out
            return super().retrieve_result_callback(out)

    return Backend(client=client)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
