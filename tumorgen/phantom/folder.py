"""A folder of phantoms: images, liver masks, and the table of what each was drawn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from .. import __version__
from ..errors import TumorgenError
from ..fields import columns
from ..imaging import Index, Triple, refuse_unwritable, write_volume
from ..parallel import Start, no_progress
from ..seeds import stable_rng
from ..tables import cells_of, parse_row, read_text, rows_of, write_table
from .scanner import DEFAULT_SHAPE, DEFAULT_SPACING_MM, Phantom, draw_phantom
from .tissues import Phase


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


def write_phantoms(
    output: Path,
    count: int = 1,
    seed: int = 0,
    *,
    shape: Index = DEFAULT_SHAPE,
    spacing_mm: Triple = DEFAULT_SPACING_MM,
    phase: Phase = "portal",
    start: Start = no_progress,
) -> list[PhantomRecord]:
    """Write `output/images/phantom_000.nii.gz` and so on, `output/masks/` with the same names, and `phantoms.csv`.

    Phantom k depends on the seed and on k, not on `count`. A phantom whose row and files are there is kept, so an
    interrupted run goes on where it was; one drawn from another seed, size or phase is written anew. `start` is called
    with the number of phantoms; what it returns is called with 1 after each.

    Returns
    -------
    list of PhantomRecord
        The phantoms asked for, in order.

    Raises
    ------
    TumorgenError
        A shape or spacing that no volume can have, no liver in the field of view, a folder that cannot be written to,
        or a `phantoms.csv` that holds something else.
    """
    table = output / "phantoms.csv"
    records = _read_records(table)
    size = " ".join(map(str, shape)), " ".join(f"{spacing:g}" for spacing in spacing_mm)
    wanted = [PhantomRecord(f"phantom_{k:03d}", seed, k, phase, *size, __version__) for k in range(count)]
    if not all(_is_there(record, records, output) for record in wanted):
        refuse_unwritable(output, "choose another OUT")
    move = start(count)
    for record in wanted:
        if not _is_there(record, records, output):
            image, mask = _files(record, output)
            drawn = draw_phantom(stable_rng(seed, record.index), shape=shape, spacing_mm=spacing_mm, phase=phase)
            write_volume(drawn.image, image)
            write_volume(drawn.liver, mask)
            records[record.case] = _measured(record, drawn)
            rows = (cells_of(PhantomRecord, records[case]) for case in sorted(records))
            write_table(table, columns(PhantomRecord), rows)
        move(1)
    return [records[record.case] for record in wanted]


def _files(record: PhantomRecord, output: Path) -> tuple[Path, Path]:
    """Image and mask of a phantom."""
    return output / "images" / f"{record.case}.nii.gz", output / "masks" / f"{record.case}.nii.gz"


def _is_there(record: PhantomRecord, known: Mapping[str, PhantomRecord], output: Path) -> bool:
    """Whether a phantom of that recipe is there, with its row and its files."""
    there = known.get(record.case)
    return bool(there and there.recipe == record.recipe) and all(path.is_file() for path in _files(record, output))


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
