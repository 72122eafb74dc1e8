"""Models as zips, as `nnUNetv2_export_model_to_zip` writes them: unpacked for as long as they are needed.

A zip is a stranger's word for which files to write and how large they are. Only members with the names of a model's own
files are unpacked, under names that cannot leave the folder, and no more bytes than the zip says they have.
"""

from __future__ import annotations

import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import TumorgenError
from ..imaging import scratch_folder

MOST_MEMBERS = 100_000  # validation folders of several configurations have some thousand
MOST_BYTES = 32 * 2**30  # of what is unpacked; five folds of nnU-Net's largest residual encoder have 8 GB
SMALL_BYTES = 64 * 2**20  # of dataset.json or plans.json; of 100 labels they have some ten thousand
FINAL = "checkpoint_final.pth"

_WANTED = re.compile(r"(dataset\.json|plans\.json|fold_(\d{1,3}|all)/checkpoint_(final|best)\.pth)")
_PART = re.compile(r"[\w.+-]{1,200}")


@contextmanager
def unpacked_model(path: Path) -> Iterator[Path]:
    """The folder of the one model in a zip; it is gone when the block ends. A path that is a folder is itself.

    Raises
    ------
    TumorgenError
        Not a zip that can be read; encrypted; too many members or bytes; a member that is a link, has a path that
        leaves the folder, or is there twice; no model in it, or several.
    """
    if path.is_dir():
        yield path
        return
    with scratch_folder() as folder:
        try:
            with zipfile.ZipFile(path) as archive:
                _unpack(archive, path, folder)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
            raise TumorgenError(f"{path}: is not a zip that can be read; copy it again") from error
        except OSError as error:
            raise TumorgenError(f"{path}: cannot be unpacked ({error.strerror or error})") from error
        yield folder / "model"


def _unpack(archive: zipfile.ZipFile, path: Path, folder: Path) -> None:
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise TumorgenError(f"{path}: has {len(members)} members; no model has that many")
    for member in members:
        _refuse_hostile(member, path)
    models = _models(members)
    if not models:
        raise TumorgenError(f"{path}: no nnU-Net v2 model in it; one has plans.json, dataset.json and fold_0/")
    if len(models) > 1:
        names = ", ".join(sorted(str(model) for model in models)[:8])
        raise TumorgenError(f"{path}: holds several models; unpack it and give the folder of one: {names}")
    (root,) = models
    chosen = [m for m in members if not m.is_dir() and _tail(m, root) is not None]
    if any(member.filename.endswith(FINAL) for member in chosen):  # then the best is not used
        chosen = [m for m in chosen if m.filename.endswith((FINAL, ".json"))]
    if sum(member.file_size for member in chosen) > MOST_BYTES:
        raise TumorgenError(f"{path}: is larger than {MOST_BYTES >> 30} GiB when unpacked; unpack it yourself")
    if len({member.filename for member in chosen}) < len(chosen):
        raise TumorgenError(f"{path}: has a member twice; export the model again")
    for member in chosen:
        into = folder / "model" / str(_tail(member, root))
        if into.suffix == ".json" and member.file_size > SMALL_BYTES:
            raise TumorgenError(f"{path}: has a {into.name} of {member.file_size} bytes, too large for a model")
        into.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as packed, into.open("wb") as file:
            _copy(packed, file, member.file_size, path)


def _refuse_hostile(member: zipfile.ZipInfo, path: Path) -> None:
    """Refuse a zip with members that no model has, whether they are wanted or not.

    Raises
    ------
    TumorgenError
        An absolute path, `..`, a drive, a backslash, a link, or encryption.
    """
    name = member.filename
    parts = PurePosixPath(name).parts
    if (
        name.startswith("/")
        or ".." in parts
        or "\\" in name
        or "\\" in member.orig_filename
        or re.match("[A-Za-z]:", name)
    ):
        raise TumorgenError(f"{path}: has a member with a path that leaves the folder: {name[:80]!r}")
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise TumorgenError(f"{path}: has a member that is a link or not a regular file: {name[:80]!r}")
    if member.flag_bits & 1:
        raise TumorgenError(f"{path}: is encrypted; unpack it and give the folder")


def _models(members: list[zipfile.ZipInfo]) -> set[PurePosixPath]:
    """Folders in the zip that hold both plans.json and dataset.json, with plain names all the way."""
    files = {PurePosixPath(member.filename) for member in members if not member.is_dir()}
    with_plans = {file.parent for file in files if file.name == "plans.json"}
    return {f for f in with_plans if f / "dataset.json" in files and all(_PART.fullmatch(part) for part in f.parts)}


def _tail(member: zipfile.ZipInfo, root: PurePosixPath) -> str | None:
    """Name of a member in the model's folder, if it is one that is needed."""
    path = PurePosixPath(member.filename)
    if not path.is_relative_to(root):
        return None
    tail = path.relative_to(root).as_posix()
    return tail if _WANTED.fullmatch(tail) else None


def _copy(packed: IO[bytes], file: IO[bytes], size: int, path: Path) -> None:
    """Copy a member, of which zipfile gives no more than its size; the checksum is compared at its end."""
    shutil.copyfileobj(packed, file, 1 << 20)
    if file.tell() != size:
        raise TumorgenError(f"{path}: a member is cut off; copy it again")
