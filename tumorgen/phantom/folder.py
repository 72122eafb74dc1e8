"""A folder of phantoms: images, liver masks, and the table of what each was drawn from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np

from .. import __version__
from ..errors import Failure, TumorgenError
from ..fields import columns
from ..imaging import Index, Triple, Volume, read_volume, refuse_unwritable, write_volume
from ..parallel import Case, Start, map_cases, no_progress
from ..seeds import stable_rng
from ..tables import parse_row, read_text, rows_of, write_records
from .scanner import DEFAULT_SHAPE, DEFAULT_SPACING_MM, Phantom, draw_phantom
from .tissues import Phase

_ELSEWHERE = "choose another folder, or move what is there away"
_ROWS = 32  # the table is written again when it has grown by a part of this


@dataclass(frozen=True, slots=True)
class PhantomRecord:
    """One row of `phantoms.csv`: what a phantom was drawn from, and the liver that came out."""

    case: str
    seed: int
    index: int
    phase: str
    shape: str
    spacing_mm: str
    version: str
    liver_ml: float = 0.0
    liver_mean_hu: float = 0.0

    @property
    def recipe(self) -> tuple[str, ...]:
        """What decides the voxels, as text."""
        return tuple(str(getattr(self, field.name)) for field in fields(self) if not field.name.startswith("liver_"))

    def difference(self, wanted: PhantomRecord) -> str:
        """In what another phantom of this name is drawn from something else, in words; empty where it is the same."""
        parts = {"seed": "seed", "phase": "phase", "shape": "shape", "spacing_mm": "spacing", "version": "version"}
        pairs = [(word, getattr(self, name), getattr(wanted, name)) for name, word in parts.items()]
        return ", ".join(f"{word} {was} (not {now})" for word, was, now in pairs if was != now)


def write_phantoms(
    output: Path,
    count: int = 1,
    seed: int = 0,
    *,
    shape: Index = DEFAULT_SHAPE,
    spacing_mm: Triple = DEFAULT_SPACING_MM,
    phase: Phase = "portal",
    jobs: int = 1,
    start: Start = no_progress,
) -> list[PhantomRecord]:
    """Write `output/images/phantom_000.nii.gz` and so on, `output/masks/` with the same names, and `phantoms.csv`.

    Phantom k depends on the seed and on k, not on `count` or `jobs`. A phantom whose row and files are there is kept,
    so an interrupted run goes on where it was. No file is written over. `jobs` and `start`: processes and progress
    (`parallel`).

    Returns
    -------
    list of PhantomRecord
        The phantoms asked for, in order.

    Raises
    ------
    TumorgenError
        A shape or spacing that no volume can have, no liver in the field of view, a folder that cannot be written to,
        a `phantoms.csv` that holds something else, or a file of that name that holds anything else.
    """
    table = output / "phantoms.csv"
    records = _read_records(table)
    size = " ".join(map(str, shape)), " ".join(f"{spacing:g}" for spacing in spacing_mm)
    wanted = [PhantomRecord(f"phantom_{k:03d}", seed, k, phase, *size, __version__) for k in range(count)]
    for record in wanted:
        _refuse_another(record, records.get(record.case), output)
    todo = [Case(r, r.case) for r in wanted if not _is_done(r, records.get(r.case), output)]
    if todo:
        refuse_unwritable(output, "choose another OUT")
    _forget({case.name for case in todo}, records, table)
    work = partial(_write_phantom, output=output.absolute(), shape=shape, spacing_mm=spacing_mm, phase=phase)
    due = 0
    for number, made in enumerate(map_cases(work, todo, jobs, start=start), 1):
        if isinstance(made, Failure):
            raise TumorgenError(made.reason)
        records[made.case] = made
        if number >= due or number == len(todo):  # a table that grows is not written again for each of its rows
            due = number + 1 + number // _ROWS
            write_records(table, PhantomRecord, (records[case] for case in sorted(records)))
    return [records[record.case] for record in wanted]


def _forget(cases: Collection[str], records: dict[str, PhantomRecord], table: Path) -> None:
    """Take rows out of the table before their files are written anew: none vouches for another's, whatever comes."""
    if records.keys() & cases:
        for case in cases:
            records.pop(case, None)
        write_records(table, PhantomRecord, (records[case] for case in sorted(records)))


def _refuse_another(wanted: PhantomRecord, there: PhantomRecord | None, output: Path) -> None:
    """Refuse to put a phantom where another one of its name is.

    Raises
    ------
    TumorgenError
        The table lists another, and files of it are there.
    """
    other = there.difference(wanted) if there else ""
    if other and any(path.exists() for path in _files(wanted, output)):
        raise TumorgenError(f"{output}: holds a {wanted.case} of {other}; {_ELSEWHERE}")


def _refuse_other_voxels(path: Path, volume: Volume) -> None:
    """Refuse to write a volume over a file, unless a run that was killed before its row has left that very volume.

    Raises
    ------
    TumorgenError
        The file holds anything else.
    """
    try:
        there = read_volume(path)
    except TumorgenError:
        there = None
    if not (there and np.array_equal(there.array, volume.array) and not there.geometry.difference(volume.geometry)):
        raise TumorgenError(f"{path}: is there and is not the phantom that was to be written; {_ELSEWHERE}")


def _is_done(wanted: PhantomRecord, there: PhantomRecord | None, output: Path) -> bool:
    """Whether a phantom is there, drawn from the same."""
    return bool(there and there.recipe == wanted.recipe) and all(path.is_file() for path in _files(wanted, output))


def _files(record: PhantomRecord, output: Path) -> tuple[Path, Path]:
    """Image and mask of a phantom."""
    name = f"{record.case}.nii.gz"
    return output / "images" / name, output / "masks" / name


def _write_phantom(
    record: PhantomRecord, output: Path, shape: Index, spacing_mm: Triple, phase: Phase
) -> PhantomRecord:
    """Draw a phantom and write its files, which are as they should be before its row is."""
    drawn = draw_phantom(stable_rng(record.seed, record.index), shape=shape, spacing_mm=spacing_mm, phase=phase)
    files = list(zip((drawn.image, drawn.liver), _files(record, output), strict=True))
    for volume, path in files:
        if path.exists():
            _refuse_other_voxels(path, volume)
    for volume, path in files:
        if not path.exists():
            write_volume(volume, path)
    return _measured(record, drawn)


def _measured(record: PhantomRecord, drawn: Phantom) -> PhantomRecord:
    """The record with the liver's volume and mean."""
    liver = drawn.liver.array
    volume_ml = int(liver.sum()) * drawn.liver.geometry.voxel_volume_mm3 / 1000
    mean_hu = float(drawn.image.array[liver].mean())
    return replace(record, liver_ml=round(volume_ml, 1), liver_mean_hu=round(mean_hu, 1))


def _read_records(table: Path) -> dict[str, PhantomRecord]:
    """The phantoms that a folder's table lists, by case; none where there is no table."""
    if not table.is_file():
        return {}
    try:
        rows = list(rows_of(table, read_text(table), columns(PhantomRecord), unique="case"))
        return {row["case"]: parse_row(PhantomRecord, row, where) for where, row in rows}
    except TumorgenError as error:
        raise TumorgenError(f"{error}; it is not a table of phantoms: move it away or choose another folder") from error
