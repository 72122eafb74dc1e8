"""Fixtures: scans, and commands that make datasets of them, each with what it leaves when nothing happens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from disks import NAME, Case, make_cases, undisturbed, write_scans

from tumorgen.dataset.raw import Dataset
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.method.settings import Settings
from tumorgen.tables.sources import match_sources


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans, and a dataset made of them."""
    root = tmp_path_factory.mktemp("scans")
    write_scans(root, (8.0, 8.0, 8.0))
    sources, _ = match_sources(root / "images", root / "masks")
    settings = Settings(sizes=("small",), pattern="single")
    assert synthesize_dataset(Run(Dataset(root / NAME), sources, settings, per_scan=1, jobs=1)).made == 2
    return root


@pytest.fixture(scope="module")
def _home_again() -> Iterator[None]:
    before = Path.cwd()
    yield
    os.chdir(before)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory, scans: Path, _home_again: None) -> Callable[[str], Case]:
    """Commands by their names, each run once where nothing happens."""

    @cache
    def of(name: str) -> Case:
        command, dataset = make_cases(scans)[name]
        root = tmp_path_factory.mktemp("case")
        return undisturbed(root, command, root / dataset)

    return of
