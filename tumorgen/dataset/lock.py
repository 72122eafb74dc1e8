"""The lock on a dataset's folder: one run writes at a time, or several shards of one.

It is the operating system's (flock), so it ends with the process that holds it, however that ends. Its file `.lock`
says who holds it and is removed at the end; one that a crash has left holds nobody up, and says that there was one. On
NFS, Linux makes it a lock of the server's, which other machines respect. Windows has none, and nothing is locked there.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ..errors import TumorgenError, as_unwritable
from ..interruptions import interruptions_held, interruptions_let_through
from ..wording import typed

if sys.platform != "win32":
    import fcntl

LOCK = ".lock"  # what the names of its files begin with
_SHARED = b'{"shared": true'  # how its file begins where shards hold it, whoever of them wrote it last
_LONGEST = 1 << 20  # bytes of its file that are read


@dataclass(slots=True)
class Hold:
    """A folder that is held.

    Attributes
    ----------
    interrupted
        Whether the process that held it last did not come to its end.
    unfinished
        Whether files are there that may not be on disk yet; the lock's file then stays, whatever happens. It begins as
        `interrupted`, until the files of the interrupted run are repaired.
    synced
        SHA-256 of tables in a state in which all files of their samples were on disk, as the last holders noted it.
    removing
        Names of scans that the last holder was taking out, and may not have taken out altogether.
    descriptor
        Of the file that says who holds the folder.
    """

    interrupted: bool = False
    unfinished: bool = False
    synced: set[str] = field(default_factory=set)
    removing: set[str] = field(default_factory=set)
    descriptor: int = -1

    def note_synced(self, digest: str) -> None:
        """Note that all files are on disk of the samples in a table of this SHA-256, for whoever comes after a crash.

        Raises
        ------
        TumorgenError
            It cannot be written.
        """
        self.synced = {digest}
        self._note()

    def note_removing(self, cases: Iterable[str]) -> None:
        """Note that all of these scans is being taken out, for whoever comes after a crash and finds nothing of one.

        Raises
        ------
        TumorgenError
            It cannot be written.
        """
        self.removing |= set(cases)
        self._note()

    def _note(self) -> None:
        if self.descriptor >= 0:
            with interruptions_held(), as_unwritable(Path(LOCK)):
                _say_holder(self)


@contextmanager
def locked_folder(folder: Path, shard: str = "") -> Iterator[Hold]:
    """Hold a dataset's folder for as long as the block lasts: alone, or, as a shard, beside other shards.

    The folder is made where it is missing, and removed again if nothing was written to it.

    Raises
    ------
    TumorgenError
        Another process holds it, or it cannot be written to or locked; or it is asked for as a shard, and a run that
        was none did not come to its end.
    """
    new = find_missing_folders(folder)
    hold = Hold()
    with interruptions_held(), ExitStack() as held:
        held.callback(remove_empty_folders, new)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if sys.platform != "win32":
                held.enter_context(_held(folder / LOCK, hold, shared=bool(shard)))
                if shard:
                    held.enter_context(_held(folder / f"{LOCK}-{shard.replace('/', '-of-')}", hold))
                else:
                    hold.interrupted |= _clear_shards(folder, hold)
        except OSError as error:
            raise TumorgenError(f"{folder}: cannot be locked ({error.strerror or error})") from error
        hold.unfinished = hold.interrupted
        with interruptions_let_through():
            yield hold


def _clear_shards(folder: Path, hold: Hold) -> bool:
    """Remove what shards that were killed have left, in a folder that no shard holds; say whether there was any."""
    left = list(folder.glob(f"{LOCK}-*"))
    for path in left:
        hold.synced |= _noted(path.read_bytes(), "synced")
        path.unlink()
    return bool(left)


def find_missing_folders(folder: Path) -> list[Path]:
    """Of a folder and those above it the ones that are not there, the innermost first."""
    return [path for path in (folder, *folder.parents) if not path.exists()]


def remove_empty_folders(folders: Sequence[Path]) -> None:
    """Remove folders, the innermost first, up to one that holds something."""
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def _held(path: Path, hold: Hold, *, shared: bool = False) -> Iterator[None]:
    descriptor = _acquire(path, shared=shared)
    left = os.pread(descriptor, _LONGEST, 0)
    if shared and left and not left.startswith(_SHARED):
        os.close(descriptor)
        raise TumorgenError(
            f"{path.parent}: a run without --shard was interrupted, and its files are not compared with their rows yet;"
            f" run it again without --shard, or `tumorgen merge {typed(path.parent)}`, first"
        )
    try:
        # Beside a shared lock there may be others; a shard's own says how that shard ended.
        hold.interrupted |= not shared and bool(left)
        hold.unfinished |= hold.interrupted
        hold.synced |= set() if shared else _noted(left, "synced")
        hold.removing |= set() if shared else _noted(left, "removing")
        hold.descriptor = descriptor
        _say_holder(hold, shared=shared)
        yield
    finally:
        hold.descriptor = -1
        with suppress(OSError):  # others that share it keep its file
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path) and (shared or not hold.unfinished):
                path.unlink()
        os.close(descriptor)


def _acquire(path: Path, *, shared: bool) -> int:
    """A descriptor of the lock's file, locked; one whose file was removed meanwhile locks nothing and is let go."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
        except OSError as error:
            holder = _describe_holder(descriptor)
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise TumorgenError(
                    f"{path.parent}: another run is writing to it{holder}; wait for it, or choose another --output"
                ) from error
            raise
        os.close(descriptor)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _say_holder(hold: Hold, *, shared: bool = False) -> None:
    """Write who holds it since when, what is on disk, and what is being taken out."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    holder = {"pid": os.getpid(), "host": platform.node(), "since": since}
    noted = {"synced": sorted(hold.synced), "removing": sorted(hold.removing)}
    text = json.dumps({**({"shared": True} if shared else {}), **holder, **noted}) + "\n"
    written = os.pwrite(hold.descriptor, text.encode(), 0)
    os.ftruncate(hold.descriptor, written)  # never empty between, which would say nothing
    os.fsync(hold.descriptor)


def _noted(holder: bytes, what: str) -> set[str]:
    """What the last holder has noted, as on disk or as being taken out; nothing where its file does not say."""
    try:
        return set(map(str, json.loads(holder)[what]))
    except (ValueError, KeyError, TypeError):
        return set()


def _describe_holder(descriptor: int) -> str:
    """Who holds it, in words; nothing where its file does not say."""
    try:
        holder = json.loads(os.pread(descriptor, _LONGEST, 0))
        return f" (process {int(holder['pid'])} on {str(holder['host'])[:80]}, since {str(holder['since'])[:40]})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
