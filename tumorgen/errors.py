"""What goes wrong: the one exception that users are meant to read, and what could not be done, by reason."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PLAIN = str.maketrans({"\n": " ", "\t": " "})
NO_TEMPORARY_FOLDER = "no folder for temporary files can be written to; set TMPDIR to one that can"
FEW = 3  # names of one reason that are given
_NUMBER = re.compile(r"-?\d+([.,]\d+)*")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ESTALE}  # what the next sample would meet as well
_OWN = "..."  # what stands for a name or a number that is one failure's own


class TumorgenError(Exception):
    """What is wrong with which file, and what to do about it, in one line.

    The command line prints the message and exits non-zero; library users catch this class. Everything else that
    escapes is a bug. What no terminal should get (the names of hostile files are in messages) is shown as its code.
    """

    def __str__(self) -> str:
        return printable(super().__str__().translate(_PLAIN))


class LeftOutError(TumorgenError):
    """Why a sample is not made although nothing went wrong: it would not be what it is to be."""


class UnplannedError(TumorgenError):
    """What nnU-Net's plans are asked for, they do not have: the fault of who asked."""


def printable(text: str) -> str:
    """A text with every character that is not for print (line ends, escape codes, half of a surrogate) as its code."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


@contextmanager
def as_unwritable(path: Path, remedy: str = "") -> Iterator[None]:
    """What the system refuses in this block is a `TumorgenError`: the file or folder cannot be written.

    `remedy` says what to do then.
    """
    try:
        yield
    except OSError as error:
        reason = f"{path}: cannot be written ({error.strerror or error})"
        raise TumorgenError(f"{reason}; {remedy}" if remedy else reason) from error


def reason_of(error: Exception) -> str:
    """The last line of a library's error, which of ITK's is the one that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][-160:] if lines else "unknown reason"


@dataclass(frozen=True, slots=True)
class Failure:
    """A scan or sample that could not be done.

    Attributes
    ----------
    name
        Name of the scan or sample.
    reason
        Why, in one line that names the file.
    samples
        How many samples that costs.
    details
        The traceback, where it is an error that nobody foresaw.
    ends_run
        Whether all others would fail, too.
    left_out
        Whether nothing went wrong: it is left out on purpose.
    about
        Files and names in the reason that are this failure's own: what differs in them alone is one reason.
    """

    name: str
    reason: str
    samples: int = 0
    details: str = ""
    ends_run: bool = False
    left_out: bool = False
    about: tuple[str, ...] = ()

    @classmethod
    def of(cls, error: Exception, name: str, samples: int = 1, about: tuple[str, ...] = ()) -> Failure:
        """What an exception, just caught, says: the text of a known error; type, message and traceback of others."""
        import traceback

        known = isinstance(error, TumorgenError)
        reason = " ".join((str(error) if known else f"{type(error).__name__}: {error}").split())
        reason = reason.removeprefix(f"{name}, ").removeprefix(f"{name}: ")  # reports begin with the name
        full = any(isinstance(e, OSError) and e.errno in _FULL for e in (error, error.__cause__))
        details = "" if known else "".join(traceback.format_exception(error))
        left_out = isinstance(error, LeftOutError)
        return cls(name, reason, samples, details, ends_run=full, left_out=left_out, about=about)

    @property
    def kind(self) -> str:
        """The reason without what is this failure's own; without the file that it begins with, as all do."""
        kind = self.reason
        for own in sorted(filter(None, self.about), key=len, reverse=True):
            kind = kind.replace(own, _OWN)
        return kind.removeprefix(f"{_OWN}: ")


@dataclass(frozen=True, slots=True)
class Reason:
    """Failures of one reason: what they have in common, and each name with its reason in full, in order."""

    text: str
    failures: Mapping[str, str]
    samples: int
    details: str

    def lines(self) -> list[str]:
        """A line each where they are few; else one line: a few names, how many there are, what they cost, why."""
        if len(self.failures) <= FEW:
            return [f"{name}: {reason}" for name, reason in self.failures.items()]
        count = len(self.failures)
        lost = f"{count}, {self.samples} samples" if self.samples > count else f"{count}"
        return [f"{', '.join([*self.failures][:FEW])} and {count - FEW} more ({lost}): {self.text}"]


def by_reason(failures: Iterable[Failure]) -> list[Reason]:
    """Failures by reason, those that cost most first; reasons that differ in numbers alone are one."""
    groups: dict[str, list[Failure]] = {}
    for failure in failures:
        groups.setdefault(_NUMBER.sub(_OWN, failure.kind), []).append(failure)
    reasons = [_reason(pattern, group) for pattern, group in groups.items()]
    return sorted(reasons, key=lambda reason: (-reason.samples, -len(reason.failures)))


def _reason(pattern: str, group: Sequence[Failure]) -> Reason:
    kinds = {failure.kind for failure in group}
    return Reason(
        pattern if len(kinds) > 1 else kinds.pop(),
        {failure.name: failure.reason for failure in sorted(group, key=lambda failure: failure.name)},
        sum(failure.samples for failure in group),
        next((failure.details for failure in group if failure.details), ""),
    )
