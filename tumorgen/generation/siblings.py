"""What other datasets in the same folder of raw datasets hold of scans that were removed from one of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..dataset import HEALTHY_NAME, Dataset, read_about
from ..errors import TumorgenError
from ..tables import HOSTS, SAMPLES, Entry, read_entries, read_hosts
from ..wording import few, plural, typed


def describe_siblings(dataset: Dataset, removed: Collection[Entry]) -> Iterator[str]:
    """Say which other datasets refer to files that are gone, or hold samples of the same scans, and what to do.

    `removed` are the samples whose rows were taken out. What is no dataset, or cannot be read, is passed over.
    """
    own = dataset.folder.absolute()
    for folder in _list_folders(own.parent):
        if folder == own:
            continue
        about = read_about(folder)
        lost = sum(_is_lost(files, folder, own) for files in _list_files(about))
        if lost:
            yield (
                f"{folder}: its dataset.json lists {plural(lost, 'case')} whose files in {own.name} are gone;"
                " make that mixture anew, by the command that made it"
            )
        same = sorted(set(_find_same(folder, removed)))
        if same:
            yield (
                f"{folder}: has samples of the same CT, as {few(same)};"
                f" `tumorgen remove {typed(folder)} --case {typed(same[0])}` takes them out"
                + (", with a --case for each" if len(same) > 1 else "")
            )
        held = sorted(_find_hosts(folder, removed)) if about.get("name") == HEALTHY_NAME else []
        if held:
            yield (
                f"{folder}: has the same CT, as {few(held)}; delete that folder and run `tumorgen healthy` without it"
            )


def _list_folders(root: Path) -> list[Path]:
    try:
        return sorted(path for path in root.iterdir() if path.is_dir())
    except OSError:
        return []


def _list_files(about: dict[str, Any]) -> Iterator[list[str]]:
    """Images and label of each case of a dataset.json that lists files; nnU-Net takes them from its own folder on."""
    listed = about.get("dataset")
    for case in listed.values() if isinstance(listed, dict) else ():
        if isinstance(case, dict):
            images = case.get("images")
            files = [*(images if isinstance(images, list) else []), case.get("label")]
            yield [file for file in files if isinstance(file, str)]


def _is_lost(files: Iterable[str], folder: Path, other: Path) -> bool:
    """Whether one of a case's files was in another dataset and is gone."""
    paths = (os.path.normpath(folder / file) for file in files)
    return any(Path(path).is_relative_to(other) and not os.path.lexists(path) for path in paths)


def _find_same(folder: Path, removed: Iterable[Entry]) -> Iterator[str]:
    """Cases of a dataset whose samples are of the same CTs, by their checksums."""
    try:
        there = read_entries(folder / SAMPLES)
    except (OSError, TumorgenError):
        return
    gone = {sha256 for entry in removed for sha256 in (entry.source_image_sha256, entry.source_fingerprint)} - {""}
    yield from (e.case for e in there if not gone.isdisjoint((e.source_image_sha256, e.source_fingerprint)))


def _find_hosts(folder: Path, removed: Iterable[Entry]) -> list[str]:
    """Scans of a healthy dataset that are the same CTs."""
    try:
        hosts = read_hosts(folder / HOSTS)
    except (OSError, TumorgenError):
        return []
    gone = {entry.source_fingerprint for entry in removed} - {""}
    return [case for case, row in hosts.items() if row.source_fingerprint in gone]
