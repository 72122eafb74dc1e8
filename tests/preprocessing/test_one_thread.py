"""A process of `preprocess` computes with one thread: as many processes as there are cores keep each core busy once."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
from threadpoolctl import threadpool_info

from tumorgen.errors import Failure
from tumorgen.preprocessing import worker


@pytest.mark.parametrize("before", [None, "3"])
def test_a_part_is_done_with_one_thread_and_what_was_set_before_holds_again_afterwards(monkeypatch, before):
    """nnU-Net's writer asks Blosc2 for four threads; the variable goes before what is asked for."""
    if before is None:
        monkeypatch.delenv("BLOSC_NTHREADS", raising=False)
    else:
        monkeypatch.setenv("BLOSC_NTHREADS", before)
    seen: list[object] = []

    def look(part):
        seen.append(os.environ.get("BLOSC_NTHREADS"))
        seen.append({pool["num_threads"] for pool in threadpool_info()})
        raise ValueError("seen enough")

    monkeypatch.setattr(worker, "_make_ready", look)
    part = SimpleNamespace(source=SimpleNamespace(case="scan"), records=[None], about=())
    (failure,) = worker.preprocess_part(part)
    assert isinstance(failure, Failure)
    assert seen == ["1", {1}]
    assert os.environ.get("BLOSC_NTHREADS") == before
