"""How numbers of things, their names, and what is to be typed are said."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path


def plural(count: int, noun: str) -> str:
    """`1 scan`, `2 scans`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def few(names: Sequence[str], most: int = 5) -> str:
    """Some names in a sentence: all of them, or the first ones and how many more there are."""
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def typed(word: Path | str) -> str:
    """A path, or a name, as it is typed into a shell, in a line that people copy."""
    return shlex.quote(str(word))
