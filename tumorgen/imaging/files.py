"""Files of images: their names and extensions, finding them, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

from ..errors import NO_TEMPORARY_FOLDER, TumorgenError, as_unwritable, reason_of
from ..interruptions import interruptions_held

EXTENSIONS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
LONGEST_CASE = 180  # characters; with what samples add, and a suffix, within the 255 that file systems take
LONGEST_SAMPLE = 220
PARTIAL = ".partial-"  # the names of folders with partial files begin so
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # not to wait for a pipe
_NOT_SYNCED = (errno.EINVAL, errno.ENOTSUP)  # what systems say of a folder that they do not sync
_ASKED_BYTES = 1 << 20  # more than a library holds back before it writes
_LONGEST_FIRST = 1 << 10  # bytes of the first element of a DICOM data set: a group's length, a character set, a UID
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")


def extension_of(path: Path) -> str:
    """The extension of a file in small letters; empty where it is of no format that is read."""
    return next((extension for extension in EXTENSIONS if path.name.lower().endswith(extension)), "")


def case_name(path: Path) -> str:
    """Name of the case in a file's name: no folder, no extension, no nnU-Net channel suffix (`_0000`)."""
    return safe_name(raw_name(path))


def raw_name(path: Path) -> str:
    """Name of the case in a file's name, not yet made safe (`safe_name`): names that differ may be one case name."""
    name = path.name[: len(path.name) - len(extension_of(path))]
    return unicodedata.normalize("NFC", re.sub(r"_0000$", "", name))


def safe_name(name: str, longest: int = LONGEST_CASE) -> str:
    """A case name that is safe as a file name everywhere: letters, digits, `.`, `_`, `-`; never empty, no dot first.

    A letter with an accent is the same in both of Unicode's forms (macOS writes the other one); a name that Windows
    keeps for a device (`con`, `nul`, `com1`) gets `case-` in front.
    """
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", unicodedata.normalize("NFC", name)).strip(".-_")
    cleaned = cleaned[:longest].rstrip(".-_") or "case"
    return f"case-{cleaned}"[:longest].rstrip(".-_") if _DEVICES.match(cleaned) else cleaned


def refuse_unsafe_name(name: str, what: str, longest: int = LONGEST_CASE) -> None:
    """Refuse a name whose file would lie in another folder, or have another name on another system.

    Raises
    ------
    TumorgenError
        `safe_name` would change the name.
    """
    safe = safe_name(name, longest)
    if name != safe:
        raise TumorgenError(f"{what} {name[:80]!r} is not safe as a file name; {safe[:80]!r} would be")


def resolved(path: Path) -> Path:
    """The absolute path that links lead to. `Path.resolve` raises an error where links go in a loop; this does not."""
    return Path(os.path.realpath(path))


def find_volumes(folder: Path) -> dict[str, Path]:
    """Case name -> path of every volume in a folder (or of one file), sorted by name.

    Raises
    ------
    TumorgenError
        There is nothing at that path, there is no volume in the folder, or two files have one case name.
    """
    found = list_volumes(folder)
    if not found:
        raise no_volumes(folder)
    return found


def no_volumes(folder: Path) -> TumorgenError:
    """Why a folder without volumes is refused."""
    first = sorted(folder.iterdir())[:100]
    dicom = " Only `tumorgen liver-mask` reads DICOM." if any(map(_is_dicom, first)) else ""
    return TumorgenError(f"{folder}: no volumes in it; looked for {', '.join(EXTENSIONS)}.{dicom}".removesuffix("."))


def list_volumes(folder: Path) -> dict[str, Path]:
    """Case name -> path of the volumes in a folder (or of one file), sorted by name; there may be none.

    Raises
    ------
    TumorgenError
        There is nothing at that path, or two files have one case name. Names that differ only in capital letters are
        the same name, as they are to Windows and macOS.
    """
    try:
        if folder.is_file():
            return {case_name(folder): folder}
        if not folder.is_dir():
            if folder.is_symlink() or folder.exists():
                refuse_irregular(folder)
            raise TumorgenError(f"{folder}: no such file or folder")
        listed = sorted(folder.iterdir())
    except OSError as error:
        raise TumorgenError(f"{folder}: cannot be read ({error.strerror})") from error
    found: dict[str, Path] = {}
    twins: dict[str, Path] = {}
    for path in listed:
        if not extension_of(path) or path.name.startswith("."):
            continue
        case = case_name(path)
        twin = twins.setdefault(case.lower(), path)
        if twin is not path:
            raise TumorgenError(f"{path}: case {case!r} is also {twin.name}; rename one of them")
        found[case] = path
    return found


def list_folders(folder: Path) -> list[Path]:
    """Folders in a folder, sorted by name, without hidden ones.

    Raises
    ------
    TumorgenError
        It cannot be read.
    """
    try:
        return [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    except OSError as error:
        raise TumorgenError(f"{folder}: cannot be read ({error.strerror})") from error


def is_dicom(start: bytes) -> bool:
    """Whether a file that begins so is DICOM: its prefix, or a data set without one, as planning systems write it.

    Such a data set begins with an element of group 2 or 8, little-endian, of a length that these have (PS3.5 7.1).
    """
    if start[128:132] == b"DICM":
        return True
    if start[:2] not in (b"\x02\0", b"\x08\0") or len(start) < 132:
        return False
    is_explicit = re.fullmatch(rb"[A-Z]{2}", start[4:6]) is not None
    return is_explicit or int.from_bytes(start[4:8], "little") < _LONGEST_FIRST


def _is_dicom(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return is_dicom(file.read(132))
    except (OSError, TumorgenError):
        return False


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file to read its bytes: the file that was checked, even if its name is given to another one.

    Raises
    ------
    TumorgenError
        The file does not exist, cannot be read, or is not a regular file.
    """
    refuse_irregular(path)
    try:
        file = os.fdopen(os.open(path, _FLAGS), "rb")
    except OSError as error:
        raise TumorgenError(f"{path}: not a readable volume ({error.strerror})") from error
    with file:
        _refuse_mode(path, os.fstat(file.fileno()).st_mode)
        yield file


def refuse_irregular(path: Path) -> None:
    """Refuse folders, pipes and devices, which have no end that a reader comes to.

    Raises
    ------
    TumorgenError
        It does not exist, cannot be reached, or is not a regular file.
    """
    refuse_undecodable(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        windows = " (a path of Windows?)" if os.sep != "\\" and "\\" in str(path) else ""
        raise TumorgenError(f"{path}: no such file{windows}") from None
    except (OSError, ValueError) as error:  # a loop of links, no permission, a name too long, a NUL in it
        raise TumorgenError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    _refuse_mode(path, mode)


def refuse_undecodable(path: Path) -> None:
    """Refuse a name that is not UTF-8: ITK ends the process over it.

    Raises
    ------
    TumorgenError
        The name is not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise TumorgenError(f"{path}: its name is not UTF-8; rename it") from None


def _refuse_mode(path: Path, mode: int) -> None:
    kinds = {stat.S_ISDIR: "folder", stat.S_ISFIFO: "pipe", stat.S_ISSOCK: "socket"}
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in kinds.items() if is_kind(mode)), "device")
        raise TumorgenError(f"{path}: is not a regular file, but a {kind}")


@contextmanager
def whole_file(
    path: Path, *, durable: bool = True, parents: bool = True, partials: Path | None = None
) -> Iterator[Path]:
    """A path to write to; the file written there appears as `path` when the block ends, whole, or not at all.

    The partial file lies in a hidden folder beside `path`, so that nothing that lists the folder takes it for a case.
    Ctrl-C and SIGTERM are held back until the block ends, so it does nothing but write.

    Parameters
    ----------
    path
        The file.
    durable
        Whether it is on disk when this returns; otherwise a power cut may take it within the next half minute.
    parents
        Whether a missing folder is made. A dataset's folder that vanishes during a run must not come back.
    partials
        A hidden folder on the same disk that takes the partial file (`scratch_folder`), where several files share it:
        making and removing one takes as long as a small file.

    Raises
    ------
    TumorgenError
        The folder cannot be written to, or another file that the block opens cannot be read.
    """
    with interruptions_held(), as_unwritable(path):
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        made = nullcontext(partials) if partials else tempfile.TemporaryDirectory(prefix=PARTIAL, dir=path.parent)
        with made as folder:
            partial = Path(folder) / path.name
            with _reading_told_apart(path, partial):
                yield partial
            if durable:
                sync_to_disk(partial)
            partial.replace(path)
        if durable:
            sync_to_disk(path.parent)


@contextmanager
def _reading_told_apart(path: Path, partial: Path) -> Iterator[None]:
    """Say of a file that cannot be opened in this block, where it is none that is written, that it cannot be read.

    An error that names two files is of copying from one to the other, and may be of either.
    """
    try:
        yield
    except OSError as error:
        name = error.filename if error.filename2 is None else None
        if not isinstance(name, str | os.PathLike) or Path(name) == path or Path(name).is_relative_to(partial.parent):
            raise
        raise TumorgenError(f"{name}: cannot be read ({error.strerror or error})") from error


@contextmanager
def as_not_written(path: Path, partial: Path) -> Iterator[None]:
    """What a library cannot write in this block is a `TumorgenError`: the file cannot be written, and why.

    ITK and blosc2 keep to themselves what the system has said, so it is asked again: by writing on at the end of
    `partial`, which is what they have left of the file.
    """
    with as_unwritable(path):
        try:
            yield
        except RuntimeError as error:
            with partial.open("ab") as file:
                file.write(bytes(_ASKED_BYTES))
                file.flush()
                os.fsync(file.fileno())
            raise TumorgenError(f"{path}: cannot be written ({reason_of(error)})") from error


@contextmanager
def scratch_folder(parent: Path | None = None, *, prefix: str = "tumorgen-") -> Iterator[Path]:
    """A folder for as long as the block lasts: in `parent`, else where the system has its temporary files.

    Raises
    ------
    TumorgenError
        It cannot be made, or not be removed; or there is no folder for temporary files.
    """
    where, remedy = parent or temporary_folder(), "" if parent else "temporary files go there: set TMPDIR to another"
    made: tempfile.TemporaryDirectory[str] | None = None
    try:
        with interruptions_held(), as_unwritable(where, remedy):
            made = tempfile.TemporaryDirectory(prefix=prefix, dir=where)
        yield Path(made.name)
    finally:
        if made is not None:
            with interruptions_held(), as_unwritable(where, remedy):
                made.cleanup()


def temporary_folder() -> Path:
    """Where the system has its temporary files.

    Raises
    ------
    TumorgenError
        There is no such folder that can be written to.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        raise TumorgenError(NO_TEMPORARY_FOLDER) from None


def refuse_unwritable(folder: Path, remedy: str) -> None:
    """Find out before the work whether files can be made in a folder, which need not be there yet; nothing is left.

    Raises
    ------
    TumorgenError
        They cannot; `remedy` says what to do then.
    """
    with as_unwritable(folder, remedy), interruptions_held():
        nearest = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
        tempfile.TemporaryDirectory(prefix=PARTIAL, dir=nearest).cleanup()


def refuse_foreign_files(folder: Path, marks: Mapping[str, Sequence[str]], remedy: str) -> None:
    """Refuse, before the work, to write over files of others.

    `marks` are the files to write, by name, with the words that each holds if it is tumorgen's, of whatever version.

    Raises
    ------
    TumorgenError
        A file of such a name is there and lacks a word, or cannot be read; `remedy` says what to do then.
    """
    for path in map(folder.joinpath, marks):
        try:
            if not path.exists():
                continue
            refuse_irregular(path)
            content = path.read_bytes()
        except OSError as error:
            raise TumorgenError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
        if not all(word.encode() in content for word in marks[path.name]):
            raise TumorgenError(f"{path}: was not written by this command, and stays as it is; {remedy}")


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; Ctrl-C comes before or after.

    Raises
    ------
    TumorgenError
        It cannot be removed.
    """
    with interruptions_held(), as_unwritable(folder):
        shutil.rmtree(folder)


def sync_to_disk(path: Path) -> None:
    """Write what a file or a folder holds to disk, so that it survives a power cut (fsync).

    Some file systems (shared folders of virtual machines, some of FUSE) sync no folders; there is no more to do then.
    """
    if os.name == "nt" and path.is_dir():
        return  # Windows syncs no folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_SYNCED or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
