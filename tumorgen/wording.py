"""How numbers of things are said."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """`1 scan`, `2 scans`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
