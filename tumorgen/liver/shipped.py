"""The liver model that comes with the package: where it lies, and that it is what it was when it was made.

A checkpoint is a pickle, and what is in it runs: this one is loaded only while its checksums hold, and those hang on a
number in the code.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import TumorgenError

FOLDER = Path(__file__).parent / "weights"
SUMS = "SHA256SUMS"
SUMS_SHA256 = "a8ab7d0278e49109190db596573945d559b0e8c79cf4c43eb17b23ee160f7f98"  # of the file of checksums


def shipped_model(folder: Path = FOLDER, sums_sha256: str = SUMS_SHA256) -> Path:
    """The folder of the shipped nnU-Net v2 model (label `liver`), its files checked.

    Parameters
    ----------
    folder
        The model folder, with a `SHA256SUMS`.
    sums_sha256
        SHA-256 of that file.

    Raises
    ------
    TumorgenError
        A file is not there or is not the one that was shipped.
    """
    sums = _read(folder / SUMS)
    if hashlib.sha256(sums).hexdigest() != sums_sha256:
        raise _changed(folder / SUMS)
    for line in sums.decode("utf-8").splitlines():
        digest, name = line.split("  ", 1)
        if hashlib.sha256(_read(folder / name)).hexdigest() != digest:
            raise _changed(folder / name)
    return folder


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TumorgenError(
            f"{path}: part of the liver model that ships with tumorgen; cannot be read ({error})"
        ) from error


def _changed(path: Path) -> TumorgenError:
    return TumorgenError(f"{path}: is not the file that ships with tumorgen; install tumorgen anew, or give --model")
