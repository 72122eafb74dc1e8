"""Masks that liver-mask itself has written and no row lists yet, told from those of hands by a hidden file beside each.

Rows are recorded some at a time (`recording`), so a process that is killed leaves masks without a row. The hidden file
says which voxels were written: a mask that somebody has corrected since is not that mask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import as_unwritable
from ..imaging import whole_file
from .seen import digest_of_mask


def note_unlisted(file: Path, mask: NDArray[np.bool_]) -> None:
    """Note on disk the mask (z, y, x) that is about to be written to a file, and that no row lists.

    Raises
    ------
    TumorgenError
        The file's folder cannot be written to.
    """
    with whole_file(_note_of(file)) as partial:
        partial.write_text(digest_of_mask(mask))


def forget_unlisted(file: Path) -> None:
    """Remove what was noted of the mask in a file, once a row lists it.

    Raises
    ------
    TumorgenError
        The file's folder cannot be written to.
    """
    with as_unwritable(_note_of(file)):
        _note_of(file).unlink(missing_ok=True)


def is_noted_as_unlisted(file: Path, mask: NDArray[Any]) -> bool:
    """Whether the mask that is in a file, by its voxels (z, y, x) above zero, is the one that was noted."""
    try:
        return _note_of(file).read_bytes() == digest_of_mask(mask > 0).encode()
    except OSError:
        return False


def _note_of(file: Path) -> Path:
    return file.with_name(f".{file.name}.unlisted")
