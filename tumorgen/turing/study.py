"""A study on disk: what readers are shown, and the key, which lies in a folder of its own that is never served.

STUDY/study.json       what the page is told: readers, the order of their cases, where each case begins
STUDY/cases/001.nii    the cases, all alike but for their voxels
STUDY/answers/NAME.csv the answers of a reader
STUDY/key/cases.csv    which case is real, and what it was made of
STUDY/key/drawn.json   from what it was drawn
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ..errors import TumorgenError, as_unwritable
from ..fields import About, check_domains, required_columns
from ..imaging import PARTIAL, Triple, scratch_folder
from ..interruptions import interruptions_held
from ..tables import parse_row, read_text, rows_of, write_records
from .drawing import KINDS

FORMAT = 1
STUDY = "study.json"
CASES = "cases"
KEY = "key/cases.csv"
DRAWN = "key/drawn.json"


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page is told of a study.

    Attributes
    ----------
    id
        Says nothing, and is another for every study: answers in a browser are kept under it.
    readers
        Of each reader the order of the cases.
    starts_mm
        Of each case the point (x, y, z) where it begins, its largest tumour: LPS mm from the middle of the field.
    """

    id: str
    readers: Mapping[str, Sequence[str]]
    starts_mm: Mapping[str, Triple]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """What a case of a study is: a row of the key."""

    case: Annotated[str, About("name under which it is shown")]
    kind: Annotated[str, About("what its tumours are", choices=KINDS)]
    source: Annotated[str, About("its name in its set")]
    patient: Annotated[str, About("whose it is, called after one of the patient's scans")]
    tumors: Annotated[int, About("tumours of that kind in it that are large enough to be seen")]
    tumor_radius_mm: Annotated[float, About("radius of the largest in the axial plane", "mm")]
    center_x_mm: Annotated[float, About("middle of the field in the scan, x, LPS", "mm")]
    center_y_mm: Annotated[float, About("middle of the field in the scan, y, LPS", "mm")]
    center_z_mm: Annotated[float, About("middle of the field in the scan, z, LPS", "mm")]

    def __post_init__(self) -> None:
        check_domains(self)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to write into, which appears as `folder` when the block ends, whole, or not at all.

    Raises
    ------
    TumorgenError
        There is something in the folder already, or it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TumorgenError(f"{folder}: is there already; give a new folder")
    with as_unwritable(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    with scratch_folder(folder.absolute().parent, prefix=PARTIAL) as scratch:
        made = scratch / folder.name
        made.mkdir()
        yield made
        with as_unwritable(folder), interruptions_held():
            if folder.exists():
                folder.rmdir()
            made.rename(folder)


def case_file(study: Path, case: str) -> Path:
    """The file of a case."""
    return study / CASES / f"{case}.nii"


def read_study(study: Path) -> Shown:
    """Read what the page is told of a study.

    Raises
    ------
    TumorgenError
        The folder holds no study, or one of another version.
    """
    path = study / STUDY
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != FORMAT:
            raise TumorgenError(f"{path}: is of another version of tumorgen; use that, or make the study again")
        return _shown_of(found)
    except FileNotFoundError:
        raise TumorgenError(f"{study}: holds no {STUDY}; give a folder that `tumorgen turing make` wrote") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise TumorgenError(f"{path}: cannot be read as a study ({reason}); make it again") from error


def _shown_of(found: Mapping[str, Any]) -> Shown:
    starts = {str(case): (float(x), float(y), float(z)) for case, (x, y, z) in found["starts_mm"].items()}
    readers = {str(name): tuple(map(str, order)) for name, order in found["readers"].items()}
    for name, order in readers.items():
        if set(order) != set(starts) or len(order) != len(starts):
            raise ValueError(f"the order of {name} is not that of all cases")
    return Shown(str(found["id"]), readers, starts)


def plain_study(shown: Shown) -> dict[str, Any]:
    """What `read_study` reads."""
    return {
        "format": FORMAT,
        "id": shown.id,
        "readers": {name: list(order) for name, order in shown.readers.items()},
        "starts_mm": {case: list(point) for case, point in sorted(shown.starts_mm.items())},
    }


def write_key(study: Path, rows: Sequence[KeyRow]) -> None:
    """Write the key of a study, by the names of its cases."""
    write_records(study / KEY, KeyRow, sorted(rows, key=lambda row: row.case))


def read_key(study: Path) -> dict[str, KeyRow]:
    """Read the key of a study: case -> what it is.

    Raises
    ------
    TumorgenError
        It is not there, or cannot be read.
    """
    path = study / KEY
    text = read_text(path)
    rows = rows_of(path, text, required_columns(KeyRow), unique="case")
    return {row["case"]: parse_row(KeyRow, row, where) for where, row in rows}
