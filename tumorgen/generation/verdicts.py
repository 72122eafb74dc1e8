"""What verifying a dataset finds: problems, and the verdict on all of it."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import printable

CHANGED = "its SHA-256 is not the manifest's: the file was changed"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with which file."""

    file: str
    reason: str

    def __str__(self) -> str:
        return printable(f"{self.file}: {self.reason}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verifying a dataset found: how much is there and was looked at, in words, too, and every problem.

    `samples` and `scans` count what was looked into, in this run or, as `Scope.done` says, before; `replayed` what was
    rendered again in this run.
    """

    samples: int
    scans: int
    replayed: int
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    scope: str = ""
