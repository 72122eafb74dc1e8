"""The lock on a dataset's folder: one run writes at a time, or several shards of one.

It is the operating system's (flock), so it ends with the process that holds it, however that ends. Its file `.lock`
says who holds it and is removed at the end; one that a crash has left holds nobody up. On NFS, Linux makes it a lock of
the server's, which other machines respect.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from .errors import TumorgenError

LOCK = ".lock"  # what the names of its files begin with


@contextmanager
def locked(folder: Path, shard: str = "") -> Iterator[None]:
    """Hold a dataset's folder for as long as the block lasts: alone, or, as a shard, beside other shards.

    The folder is made where it is missing, and removed again if nothing was written to it.

    Raises
    ------
    TumorgenError
        Another process holds it, or it cannot be written to or locked.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    with ExitStack() as held:
        held.callback(_remove_empty, new)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(_held(folder / LOCK, fcntl.LOCK_SH if shard else fcntl.LOCK_EX))
            if shard:
                held.enter_context(_held(folder / f"{LOCK}-{shard.replace('/', '-of-')}", fcntl.LOCK_EX))
        except OSError as error:
            raise TumorgenError(f"{folder}: cannot be locked ({error.strerror or error})") from error
        yield


def _remove_empty(folders: Sequence[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def _held(path: Path, kind: int) -> Iterator[None]:
    descriptor = _acquire(path, kind)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, _holder().encode(), 0)
        yield
    finally:
        with suppress(OSError):  # others that share it keep its file
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                path.unlink()
        os.close(descriptor)


def _acquire(path: Path, kind: int) -> int:
    """A descriptor of the lock's file, locked; one whose file was removed meanwhile locks nothing and is let go."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                return descriptor
        except OSError as error:
            holder = _told(descriptor)
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


def _holder() -> str:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since}) + "\n"


def _told(descriptor: int) -> str:
    """Who holds it, in words; nothing where its file does not say."""
    try:
        holder = json.loads(os.pread(descriptor, 1000, 0))
        return f" (process {int(holder['pid'])} on {str(holder['host'])[:80]}, since {str(holder['since'])[:40]})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
