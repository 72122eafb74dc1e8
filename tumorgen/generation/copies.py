"""Copies of a dataset's tables in a folder under version control: as they are, compressed, or none where they are long.

A compressed copy has the same bytes whenever it is made of the same table: it holds neither a time nor a name.
"""

from __future__ import annotations

import csv
import gzip
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from isal import igzip

from ..dataset import Dataset
from ..errors import TumorgenError, as_unwritable
from ..imaging import DEFLATE_LEVEL, refuse_unwritable, whole_file
from ..tables import PACKED, Entry, tumors_path

LARGEST_PLAIN = 10_000_000  # bytes of both tables; longer ones are compressed, to about a third
LARGEST_COPY = 120_000_000  # bytes of both tables before that, so that no copy comes near 50 MB; longer ones have none


def refuse_uncopied(copies: Path | None) -> None:
    """Refuse work where the manifest could not be copied in the end.

    Raises
    ------
    TumorgenError
        The folder of the copies cannot be written to.
    """
    if copies is not None:
        refuse_unwritable(copies, "start in another folder: copies of the manifest go there")


def copy_or_note(dataset: Dataset, copies: Path, entries: Iterable[Entry]) -> tuple[str, ...]:
    """Copy the manifest, or say why there is no copy; one of an earlier state then goes, since it no longer holds.

    `entries` are the samples that are in it: a copy that has none of them is another dataset's, and this is said, too.
    """
    notes = tuple(_describe_others(dataset, copies, {entry.image_sha256 for entry in entries}))
    try:
        with as_unwritable(dataset.manifest):  # where it has vanished meanwhile, the copy is what cannot be written
            size = sum(table.stat().st_size for table in (dataset.manifest, tumors_path(dataset.manifest)))
        copy = None if size > LARGEST_COPY else copy_manifest(dataset, copies, packed=size > LARGEST_PLAIN)
        kinds = {_copy_of(dataset, copies, packed=packed) for packed in (False, True)}
        with as_unwritable(copies):
            for old in filter(Path.exists, (file for path in kinds - {copy} for file in (path, tumors_path(path)))):
                old.unlink()
    except TumorgenError as error:
        return (f"{error}; the dataset is whole without this copy",)
    if copy is None:
        return (*notes, f"the manifest has {size / 1e6:.0f} MB and is not copied to {copies}; it is {dataset.manifest}")
    if size > LARGEST_PLAIN:
        return (*notes, f"the manifest has {size / 1e6:.0f} MB; its copy is compressed: {copy}")
    return notes


def _describe_others(dataset: Dataset, copies: Path, images: Collection[str]) -> Iterator[str]:
    """Say which copies of this name are of other samples, as the SHA-256 of their images tell."""
    for path in (_copy_of(dataset, copies, packed=packed) for packed in (False, True)):
        if path.exists() and not _has_any(path, images):
            yield f"{path}: was of other samples, whose dataset had the same name, and is not kept; --name keeps both"


def _has_any(copy: Path, images: Collection[str]) -> bool:
    """Whether a copy lists one of these images; it is read no further than to the first."""
    try:
        with (gzip.open if copy.suffix == PACKED else open)(copy, "rt", encoding="utf-8") as file:
            return any(row["image_sha256"] in images for row in csv.DictReader(file))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error, KeyError):
        return False


def copy_manifest(dataset: Dataset, folder: Path, *, packed: bool = False) -> Path:
    """Copy both tables, named after the dataset, to a folder where users keep them under version control.

    Returns the copy of the table of samples; `packed` ones are compressed (`.csv.gz`).

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    copy = _copy_of(dataset, folder, packed=packed)
    for source, target in ((tumors_path(dataset.manifest), tumors_path(copy)), (dataset.manifest, copy)):
        with whole_file(target) as partial_file:
            _pack(source, partial_file) if packed else shutil.copyfile(source, partial_file)
    return copy


def _copy_of(dataset: Dataset, folder: Path, *, packed: bool) -> Path:
    return folder / f"{dataset.folder.name}.csv{PACKED if packed else ''}"


def _pack(source: Path, target: Path) -> None:
    with (
        source.open("rb") as table,
        target.open("wb") as file,
        igzip.IGzipFile(  # type: ignore[no-untyped-call]
            filename="", mode="wb", compresslevel=DEFLATE_LEVEL, fileobj=file, mtime=0
        ) as stream,
    ):
        shutil.copyfileobj(table, stream)
