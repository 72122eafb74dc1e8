"""Memory that a process keeps between arrays, instead of handing it back to the system and asking for it again.

A tumour is rendered in some fifty arrays of up to some megabytes, one after the other. As it comes, glibc maps each
anew, and the system clears it page by page: 10,000 page faults for a large tumour. Without them the tumours of a `mix`
variant took nine tenths of the time.
"""

from __future__ import annotations

import ctypes
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of mallopt, malloc.h
MAPPED_BYTES = 32 << 20  # arrays from this size on are mapped, whole scans among them; glibc allows no more
KEPT_BYTES = 64 << 20  # most that is kept at the end of the heap


def release_memory() -> bool:
    """Hand back to the system what freed arrays have left in the heap's gaps; return whether it could (glibc alone)."""
    libc = _glibc()
    return bool(libc and libc.malloc_trim(0))


def keep_memory() -> bool:
    """Let this process keep what small and middling arrays free; return whether that can be set (glibc alone)."""
    libc = _glibc()
    if not libc:
        return False
    results = [libc.mallopt(_MMAP_THRESHOLD, MAPPED_BYTES), libc.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)]
    return results == [1, 1]


def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
