"""The answers of a reader: a table to which each is added as it is given, and is on disk before the next case shows."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from ..errors import TumorgenError, as_unwritable
from ..fields import FINITE, About, check_domains, columns, required_columns
from ..imaging import refuse_unsafe_name, sync_to_disk
from ..interruptions import interruptions_held
from ..tables import cells_of, parse_row, read_text, rows_of, text_of, write_table
from .drawing import KINDS

ANSWERS = "answers"
UNSURE = "unsure"
CHOICES = (*KINDS, UNSURE)
LONGEST_READER = 60  # characters
_LONGEST_S = 86_400.0  # a day


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader said of a case. The last answer to a case counts; the time that it took is that of all of them."""

    case: Annotated[str, About("name under which it was shown")]
    answer: Annotated[str, About("what the reader takes its tumours for", choices=CHOICES)]
    confidence: Annotated[int | None, About("1 low, 2 medium, 3 high; none where the reader is unsure", "", 1, 3)]
    x_mm: Annotated[float | None, About("what gives it away: x from the middle of the field, LPS", "mm", *FINITE)]
    y_mm: Annotated[float | None, About("the same, y", "mm", *FINITE)]
    z_mm: Annotated[float | None, About("the same, z", "mm", *FINITE)]
    seconds: Annotated[float, About("how long the case was looked at, pauses not counted", "s", 0.0, _LONGEST_S)]
    answered_at: Annotated[str, About("when, in UTC (ISO 8601)")]

    def __post_init__(self) -> None:
        check_domains(self)
        if (self.confidence is None) != (self.answer == UNSURE):
            raise TumorgenError("an answer has a confidence, and one who is unsure has none")
        if len({value is None for value in (self.x_mm, self.y_mm, self.z_mm)}) > 1:
            raise TumorgenError("a place has three coordinates")


def answers_file(study: Path, reader: str) -> Path:
    """The table of a reader's answers.

    Raises
    ------
    TumorgenError
        The name is not safe as a file name.
    """
    refuse_unsafe_name(reader, "reader", LONGEST_READER)
    return study / ANSWERS / f"{reader}.csv"


def append_answer(path: Path, answer: Answer) -> None:
    """Add an answer to a table, which is made if it is not there; it is on disk when this returns (fsync).

    Half a row at the end, of an answer that a power cut tore, goes.

    Raises
    ------
    TumorgenError
        The file cannot be written.
    """
    with as_unwritable(path), interruptions_held():
        if not path.exists():
            write_table(path, columns(Answer), ())
        row = text_of(columns(Answer), [cells_of(Answer, answer)], header=False).encode()
        with path.open("r+b") as file:
            whole = file.read()
            file.seek(whole.rfind(b"\n") + 1)
            file.truncate()
            file.write(row)
            file.flush()
            os.fsync(file.fileno())
        sync_to_disk(path.parent)


def read_answers(path: Path, cases: Collection[str]) -> list[Answer]:
    """Read a reader's answers in the order in which they were given; half a row at the end does not count.

    A case of `001` may be called 1, as spreadsheets save it.

    Raises
    ------
    TumorgenError
        The table cannot be read, or answers a case that the study does not have.
    """
    answers = []
    text = read_text(path, torn=True)
    for where, row in rows_of(path, text, required_columns(Answer)):
        answer = parse_row(Answer, row, where)
        answer = replace(answer, case=_with_zeros(answer.case, cases))
        if answer.case not in cases:
            raise TumorgenError(f"{where}: case {answer.case[:20]!r} is none of this study's; is it another study's?")
        answers.append(answer)
    return answers


def _with_zeros(case: str, cases: Collection[str]) -> str:
    """A case's name with the zeros that it begins with, where it lacks them and one case alone can be meant."""
    meant = [each for each in cases if case.isdecimal() and each.lstrip("0") == case.lstrip("0")]
    return meant[0] if case not in cases and len(meant) == 1 else case
