"""Units of work: every process busy, scans prepared rarely, one scan in memory, one thread a process."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantoms import ball_volume

from tumorgen.dataset.raw import Dataset
from tumorgen.generation import pool, worker
from tumorgen.generation.batches import LARGEST_BATCH, Batch, batch_size, cut_samples, useful_processes
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.generation.worker import prepare_for, run_batch
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.settings import Settings
from tumorgen.tables import sources
from tumorgen.tables.sources import Source, match_sources


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scans")
    for number in range(2):
        volume, liver = ball_volume((4.0, 4.0, 4.0), seed=number)
        write_volume(volume, root / "images" / f"liver_{number}.nii.gz")
        write_volume(Volume(liver, volume.geometry), root / "masks" / f"liver_{number}.nii.gz")
    return root


def sources_of(scans: Path) -> list[Source]:
    return match_sources(scans / "images", scans / "masks")[0]


def batches_of(counts: list[int], processes: int) -> list[list[tuple[int, ...]]]:
    size = batch_size(counts, processes)
    return [cut_samples(range(count), size) for count in counts]


def test_many_scans_with_few_variants_are_prepared_once_each() -> None:
    assert all(len(batches) == 1 for batches in batches_of([2] * 1000, 16))


def test_one_scan_with_a_thousand_variants_keeps_every_core_busy() -> None:
    for processes in (2, 16, 64):
        (batches,) = batches_of([1000], processes)
        longest = max(map(len, batches))
        assert len(batches) >= 4 * processes
        assert longest <= 0.1 * 1000 / processes + 1  # so that the last one waits a tenth of the run at most


def test_many_scans_with_many_variants_are_split_no_more_than_progress_needs() -> None:
    assert all(len(batches) == 2 for batches in batches_of([100] * 100, 16))


def test_a_scan_with_fewer_variants_than_processes() -> None:
    (batches,) = batches_of([5], 16)
    assert max(map(len, batches)) <= 2


@given(st.lists(st.integers(0, 300), max_size=20), st.integers(1, 100))
def test_batches_hold_every_sample_once(counts: list[int], processes: int) -> None:
    for count, batches in zip(counts, batches_of(counts, processes), strict=True):
        assert [sample for batch in batches for sample in batch] == list(range(count))
        lengths = [len(batch) for batch in batches]
        assert all(0 < length <= LARGEST_BATCH for length in lengths)
        assert max(lengths, default=0) - min(lengths, default=0) <= 1


def watched(batch: Batch) -> list[worker.Result]:
    """As `run_batch`, in a worker; a log beside the scans says which process prepares which scan."""
    load = sources.load_scan
    log = batch.source.image.parent.parent / "log"

    def logged(*arguments: object):
        with log.open("a") as file:
            file.write(f"{batch.source.case} {os.getpid()}\n")
        return load(*arguments)

    with mock.patch.object(sources, "load_scan", logged):
        return run_batch(batch)


@pytest.mark.parametrize(("count", "per_scan"), [(1, 40), (2, 10)])
def test_a_scan_is_prepared_once_a_worker(scans, tmp_path, monkeypatch, count, per_scan) -> None:
    monkeypatch.setattr(pool, "run_batch", watched)
    log = scans / "log"
    log.unlink(missing_ok=True)
    report = synthesize_dataset(
        Run(Dataset(tmp_path / "D"), sources_of(scans)[:count], Settings(), per_scan=per_scan, jobs=2)
    )
    assert (report.made, report.failures) == (count * per_scan, ())
    prepared = Counter(log.read_text().splitlines())
    assert set(prepared.values()) == {1}  # no process prepares a scan twice
    assert len(prepared) <= 2  # two processes with one scan, or each with its own


def test_a_process_holds_one_scan(scans, tmp_path, monkeypatch) -> None:
    """The scan before is gone when the next is read."""
    batches = [Batch(source, Dataset(tmp_path), Settings().vessels) for source in sources_of(scans)]
    kept, load = [weakref.ref(prepare_for(batches[0]).scan.hu.voxels)], sources.load_scan
    monkeypatch.setattr(sources, "load_scan", lambda *a: (kept.append(kept[0]()), load(*a))[1])
    prepare_for(batches[1])
    assert kept[1] is None


def test_a_scan_that_has_changed_is_prepared_again(scans, tmp_path) -> None:
    volume, liver = ball_volume((4.0, 4.0, 4.0))
    source = Source("a", tmp_path / "ct.nii.gz", tmp_path / "liver.nii.gz")
    write_volume(Volume(liver, volume.geometry), source.mask)
    seen = []
    for seed in (0, 1):
        write_volume(ball_volume((4.0, 4.0, 4.0), seed=seed)[0], source.image)
        batch = Batch(source, Dataset(tmp_path / "D"), Settings().vessels)
        seen.append([prepare_for(batch).scan.image_sha256 for _ in range(2)])
    assert seen[0][0] == seen[0][1] != seen[1][0] == seen[1][1]


def test_a_process_does_one_batch_at_a_time(scans, tmp_path, monkeypatch) -> None:
    """Whatever threads a Dask worker has: two scans would be in memory, and thread pools set by two."""
    at_work, most = [], []
    prepare = worker.prepare_for

    def counted(batch: Batch) -> worker.Prepared:
        at_work.append(batch)
        most.append(len(at_work))
        prepared = prepare(batch)
        at_work.pop()
        return prepared

    monkeypatch.setattr(worker, "prepare_for", counted)
    batches = [Batch(source, Dataset(tmp_path), Settings().vessels, variants=(0,)) for source in sources_of(scans)] * 3
    threads = [threading.Thread(target=run_batch, args=(batch,)) for batch in batches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc")
def test_rendering_starts_no_threads(scans, tmp_path) -> None:
    """Neither ITK nor anything else: workers as many as cores would contend for them."""
    before = len(list(Path("/proc/self/task").iterdir()))
    (source, _) = sources_of(scans)
    run_batch(Batch(source, Dataset(tmp_path), Settings().vessels, variants=(0, 1)))
    assert len(list(Path("/proc/self/task").iterdir())) <= before


def test_thread_pools_are_held_to_one_at_work(scans, tmp_path, monkeypatch) -> None:
    from threadpoolctl import threadpool_info, threadpool_limits

    found = []
    prepare = worker.prepare_for
    monkeypatch.setattr(worker, "prepare_for", lambda batch: (found.extend(threadpool_info()), prepare(batch))[1])
    with threadpool_limits(2):
        run_batch(Batch(sources_of(scans)[0], Dataset(tmp_path), Settings().vessels, variants=(0,)))
    assert found
    assert {pool["num_threads"] for pool in found} == {1}


@pytest.mark.parametrize(("counts", "most"), [([], 1), ([0], 1), ([1], 1), ([0, 4], 1), ([5], 5), ([1, 1], 2)])
def test_few_variants_of_one_scan_are_work_for_one_process(counts: list[int], most: int) -> None:
    """A second one would import, and prepare the scan, for longer than they take."""
    assert useful_processes(counts) == most
