"""A Dask cluster does the work, loses workers over it, and the bits are those of a run at home."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from phantoms import write_balls
from trees import tree

from tumorgen.cli import main
from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.generation.batches import Batch
from tumorgen.generation.cluster import connect_cluster
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.generation.worker import run_batch_elsewhere
from tumorgen.method.recipes import load_recipe
from tumorgen.method.settings import Vessels
from tumorgen.tables.sources import match_sources

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

# Killed workers and closed loops are what these tests are about: Dask warns of them, and of sockets left behind.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::RuntimeWarning", "ignore::UserWarning:distributed"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SETTINGS = replace(load_recipe(), sizes=("tiny", "small"))
PER_SCAN = 6


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_balls(tmp_path_factory.mktemp("scans"), 3, "liver")


def make(scans: Path, folder: Path, **options):
    sources, _ = match_sources(scans / "images", scans / "masks")
    return synthesize_dataset(Run(Dataset(folder), sources, SETTINGS, per_scan=PER_SCAN, **options))


@pytest.fixture(scope="module")
def at_home(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes | None]:
    """What a run on this machine writes."""
    folder = tmp_path_factory.mktemp("home") / "D"
    make(scans, folder, jobs=1)
    return tree(folder)


@contextmanager
def workers(count: int) -> Iterator[distributed.LocalCluster]:
    """A scheduler and worker processes, which are started again when they die."""
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "600s"}),  # a busy machine must not fail a test
        distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as local,
    ):
        yield local


def dies_at(writing: int) -> None:
    """In a worker: have it killed when it has written the image of its n-th sample and not yet the label."""
    from tumorgen.imaging.patched_gzip import ChunkedVolume

    write, calls = ChunkedVolume.write, []

    def doomed(self: ChunkedVolume, path: Path, blocks: object, **options: bool) -> str:
        calls.append(path)
        if len(calls) == 2 * writing:
            (path.parent / ".partial-doomed").mkdir()  # as a write that is cut off leaves it
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, path, blocks, **options)

    ChunkedVolume.write = doomed  # type: ignore[method-assign]


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
def test_two_workers_one_killed_half_way_write_what_one_machine_writes(scans, at_home, tmp_path) -> None:
    folder = tmp_path / "D"
    with workers(2) as local, local.get_client() as client:
        before = client.run(os.getpid)
        client.run(dies_at, 4, workers=[next(iter(before))])
        with connect_cluster(local.scheduler_address) as found:
            assert found.workers == 2
            report = make(scans, folder, cluster=found)
        after = client.run(os.getpid)
    assert set(before.values()) - set(after.values())  # one is dead
    assert (report.made, report.failures) == (18, ())
    assert tree(folder) == at_home


@pytest.mark.skipif(sys.platform == "win32", reason="kills a process")
def test_work_that_kills_every_worker_ends_in_one_line(scans, at_home, tmp_path) -> None:
    """And the same command again, elsewhere, does the rest. joblib's own backend waits for ever here."""
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        workers(1) as local,
        local.get_client() as client,
        connect_cluster(local.scheduler_address) as found,
    ):
        client.run(dies_at, 8)
        with pytest.raises(TumorgenError, match="work was lost"):
            make(scans, tmp_path / "D", cluster=found)
    assert 0 < make(scans, tmp_path / "D", jobs=1).made < 18
    assert tree(tmp_path / "D") == at_home


def test_a_lone_worker_does_the_work(scans, at_home, tmp_path, monkeypatch) -> None:
    """And not the machine where the command was typed, which may be a login node."""
    monkeypatch.setattr("tumorgen.generation.pool.run_batch", None)
    with workers(1) as local, connect_cluster(local.scheduler_address) as found:
        make(scans, tmp_path / "D", cluster=found)
    assert tree(tmp_path / "D") == at_home


def test_as_typed(scans, at_home, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["synth", "--images", scans / "images", "--masks", scans / "masks", "--per-scan", PER_SCAN]
    command += ["--sizes", "tiny,small", "--output", "raw"]
    with workers(1) as local:
        command += ["--scheduler", local.scheduler_address]
        result = CliRunner().invoke(main, [str(part) for part in [*command, "--estimate"]])
        assert result.exit_code == 0, result.stderr
        assert not Path("raw").exists()
        result = CliRunner().invoke(main, [str(part) for part in command])
    assert result.exit_code == 0, result.stderr
    assert tree(Path("raw") / "Dataset501_SynthLiver") == at_home


def test_a_worker_that_does_not_see_the_folder_writes_nothing(scans, tmp_path) -> None:
    sources, _ = match_sources(scans / "images", scans / "masks")
    batch = Batch(sources[0], Dataset(tmp_path / "seen elsewhere"), Vessels(), variants=(0, 1))
    ((failure, _),) = run_batch_elsewhere(batch)
    assert failure.samples == 2
    assert "not seen by" in failure.reason
    assert list(tmp_path.iterdir()) == []


def test_workers_of_another_version_are_refused(monkeypatch) -> None:
    with workers(1) as local:
        monkeypatch.setattr("tumorgen.__version__", "0.0.0")
        with pytest.raises(TumorgenError, match="need the same versions"), connect_cluster(local.scheduler_address):
            pass


@pytest.fixture
def deaf() -> Iterator[str]:
    """Something listens there, and is no scheduler."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_a_scheduler_that_does_not_answer(deaf) -> None:
    with pytest.raises(TumorgenError, match="no Dask scheduler answers within 1 s"), connect_cluster(deaf, 1):
        pass


@pytest.mark.parametrize("address", ["host", "host:8786", "tcp://host", "://host:1"])
def test_an_address_that_is_none(address) -> None:
    with pytest.raises(TumorgenError, match="tcp://"), connect_cluster(address, 1):
        pass


def test_a_scheduler_without_workers(monkeypatch) -> None:
    """The scheduler may take its time to answer; that no worker comes is known at once."""
    wait = distributed.Client.wait_for_workers
    monkeypatch.setattr(distributed.Client, "wait_for_workers", lambda client, n, timeout: wait(client, n, timeout=0.1))
    with (
        workers(0) as local,
        pytest.raises(TumorgenError, match="has no workers; start some: dask worker tcp"),
        connect_cluster(local.scheduler_address),
    ):
        pass


def test_without_dask_one_line_says_what_to_install(scans, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "distributed", None)
    command = ["synth", "--images", str(scans / "images"), "--masks", str(scans / "masks"), "--scheduler", "tcp://h:1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    assert result.stderr.strip() == (
        "Error: --scheduler needs Dask, which is not installed: pip install 'tumorgen[dask]'"
    )
