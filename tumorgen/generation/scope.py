"""How much of a dataset is verified: all of it, some samples, or checksums alone; and what was found sound before."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import TumorgenError, as_unwritable
from ..tables import Entry

QUICK, READ, RENDERED = "checksums", "read", "rendered"  # how a sample was found sound
_SHARE = re.compile(r"(\d+)|(\d+(?:\.\d+)?) ?%")


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is verified.

    Attributes
    ----------
    sample
        How many samples are looked into, `200` or `5%`; empty: all.
    seed
        Seed of which.
    quick
        Whether checksums alone are compared: no scan is read and no sample is rendered.
    done
        File that gets what was found sound, line by line; what is in it is not looked into again where the files are
        those of their rows still. Where checksums are all that is compared, they are not compared again.
    """

    sample: str = ""
    seed: int = 0
    quick: bool = False
    done: Path | None = None

    def __post_init__(self) -> None:
        found = _SHARE.fullmatch(self.sample.strip() or "1")
        if not found or float(found[1] or found[2]) <= 0 or float(found[2] or 0) > 100:
            raise TumorgenError(f"--sample {self.sample}: give a number of samples, 200, or a share of them, 5%")

    def choose(self, samples: Sequence[str]) -> frozenset[str]:
        """The samples that are looked into: drawn with the seed from all of them, whatever their order."""
        if not self.sample.strip():
            return frozenset(samples)
        number, share = _SHARE.fullmatch(self.sample.strip()).groups()  # type: ignore[union-attr]  # __post_init__
        count = min(len(samples), int(number) if number else math.ceil(len(samples) * float(share) / 100))
        drawn = np.random.default_rng(self.seed).choice(sorted(samples), count, replace=False)
        return frozenset(map(str, drawn))

    def describe(self, looked_into: int, there: int, before: int, *, compared: str = "checksums") -> str:
        """What was looked into, in words, where it is not all; it begins with a comma. `compared` is what was quick.

        `before` is how many of these samples an earlier run found sound.
        """
        drawn = f", {looked_into} of {there} samples drawn with seed {self.seed}" if self.sample.strip() else ""
        earlier = f", {before} found sound before, in {self.done}" if before else ""
        return drawn + (f", {compared} alone" if self.quick else "") + earlier


def read_done(scope: Scope) -> set[str]:
    """Lines of what an earlier run found sound (`line_of`); none where there is no such file.

    Raises
    ------
    TumorgenError
        The file cannot be read.
    """
    if scope.done is None or not scope.done.exists():
        return set()
    try:
        return set(scope.done.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise TumorgenError(f"{scope.done}: cannot be read ({error}); choose another --done") from error


def note_done(scope: Scope, lines: Iterable[str]) -> None:
    """Append what was found sound.

    Raises
    ------
    TumorgenError
        The file cannot be written.
    """
    if scope.done is not None:
        with as_unwritable(scope.done, "choose another --done"), scope.done.open("a", encoding="utf-8") as file:
            file.write("".join(f"{line}\n" for line in lines))


def line_of(entry: Entry, how: str) -> str:
    """What says that a sample was found sound: how, and with which checksums in its row."""
    return f"{how} {entry.sample} {entry.image_sha256} {entry.label_sha256}"


def select_done(entries: Iterable[Entry], how: str, done: Collection[str]) -> list[Entry]:
    """Samples that were found sound before, if their files are what they were: a line tells of rows, not of files.

    Where a row does not know which CT it is of, the scan is read again, since folds are judged by that.
    """
    return [entry for entry in entries if entry.source_fingerprint and line_of(entry, how) in done]
