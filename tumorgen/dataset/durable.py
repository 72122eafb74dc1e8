"""Durability: what a run leaves when its machine goes down, and how that is repaired.

A row of the manifest is on disk when it counts. Images and labels are not synced one by one, which would take two to
three times as long as writing them, but together when a run ends (`sync_samples`). A run that did not get that far
leaves its lock; the next one then compares the files with the checksums in their rows (`remove_torn_samples`), which
also finds what a disk has lost for other reasons.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..checksums import sha256_of
from ..errors import as_unwritable
from ..imaging import sync_to_disk
from ..tables import Record
from .raw import Dataset


def sync_samples(dataset: Dataset, samples: Iterable[str]) -> None:
    """Write images and labels of samples through to the disk. The next run makes again what is gone by now.

    Raises
    ------
    TumorgenError
        The disk does not take them.
    """
    folders = set()
    with as_unwritable(dataset.folder):
        for sample in samples:
            for path in (dataset.image(sample), dataset.label(sample)):
                with suppress(FileNotFoundError):
                    sync_to_disk(path)
                    folders.add(path.parent)
        for folder in folders:
            sync_to_disk(folder)


def remove_torn_samples(dataset: Dataset, records: Iterable[Record]) -> list[str]:
    """Remove images and labels that are not what their rows say, so that they are made again; return their samples."""
    torn = []
    for record in records:
        files = record.files
        if files is None:
            continue
        wanted = {files.image_file: files.image_sha256, files.label_file: files.label_sha256}
        bad = [dataset.folder / name for name, sha256 in wanted.items() if not _is(dataset.folder / name, sha256)]
        for path in bad:
            path.unlink(missing_ok=True)
        if bad:
            torn.append(record.plan.sample)
    return torn


def select_complete(dataset: Dataset, records: Iterable[Record]) -> list[Record]:
    """Records of samples whose image and label are there."""
    return [
        record
        for record in records
        if record.files is not None
        and dataset.image(record.plan.sample).is_file()
        and dataset.label(record.plan.sample).is_file()
    ]


def _is(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False
