"""What `turing score` writes: score.json, score.csv, answers.csv with what each case is, and score.html."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import TumorgenError
from ..evaluation import ConfidenceInterval
from ..figures import new_plot, page_environment, style_axes, svg_of
from ..imaging import whole_file
from ..plain_json import json_text
from ..tables import cells_of, columns_in, read_text, write_table
from ..wording import typed
from .answers import ANSWERS, UNSURE, Answer, read_answers
from .scoring import RULES, Answers, ReaderScore, StudyScore, last_answers, score_study
from .study import STUDY, KeyRow, read_key, read_study

SCORE = "score"  # folder of a score, in that of the study
PAGE = "score.html"
MARKS = {
    PAGE: ("<title>Visual Turing Test", "tumorgen"),
    "score.json": ("tumorgen_version", "agreement"),
    "score.csv": ("sensitivity_low",),
    "answers.csv": ("reader", "answer"),
}
NONE = "\N{EN DASH}"
_CERTAIN_P = 0.05  # below it a reader is said to be better or worse than a coin
_MARKERS = {"accuracy": "o", "sensitivity": "^", "specificity": "s"}
_COLORS = {"accuracy": "#0072b2", "sensitivity": "#d55e00", "specificity": "#009e73"}


@dataclass(frozen=True, slots=True)
class Scored:
    """A study's score, what it is of, and what there is to note."""

    score: StudyScore
    key: Mapping[str, KeyRow]
    answers: Answers
    notes: tuple[str, ...]


def score_folder(study: Path, answers: Path | None = None) -> Scored:
    """Score the answers to a study: those in it, or those in another folder, of a table `NAME.csv` for each reader.

    Tables of nobody who is a reader of the study are passed over, and noted.

    Raises
    ------
    TumorgenError
        The key or a table cannot be read, or there is no answer.
    """
    key = read_key(study)
    folder = answers or study / ANSWERS
    found = [path for path in sorted(folder.glob("*.csv")) if _is_answers(path)] if folder.is_dir() else []
    readers = read_study(study).readers if (study / STUDY).is_file() else {path.stem for path in found}
    given = {path.stem: last_answers(read_answers(path, key)) for path in found if path.stem in readers}
    given = {name: answered for name, answered in given.items() if answered}
    strange = [f"{path}: is of no reader of the study; passed over" for path in found if path.stem not in readers]
    if not given:
        raise TumorgenError(
            f"{folder}: no answers in it; readers give them in `tumorgen turing serve {typed(study)}`"
            + "".join(f" ({each})" for each in strange)
        )
    done = {name: len(answered) for name, answered in given.items()}
    few = [f"{name} has answered {n} of {len(key)} cases" for name, n in done.items() if n < len(key)]
    return Scored(score_study(key, given), key, given, (*few, *strange))


def _is_answers(path: Path) -> bool:
    """Whether a table is a reader's, and not one of other things or that of all readers, which a score comes with."""
    found = columns_in(path, read_text(path))
    return {"case", "answer"} <= found and "reader" not in found


def write_score(scored: Scored, folder: Path) -> None:
    """Write a score into a folder; each file appears whole or not at all.

    Raises
    ------
    TumorgenError
        The folder cannot be written to.
    """
    found = {"tumorgen_version": __version__, **asdict(scored.score), "notes": scored.notes, "rules": dict(RULES)}
    with whole_file(folder / "score.json") as partial:
        partial.write_text(json_text(found), encoding="utf-8")
    rows = [reader_row(reader) for reader in scored.score.readers]
    write_table(folder / "score.csv", tuple(rows[0]), rows)
    told = [_answer_row(name, each, scored.key) for name, by in scored.answers.items() for each in by.values()]
    write_table(folder / "answers.csv", tuple(told[0]), told)
    with whole_file(folder / PAGE) as partial:
        partial.write_text(score_page(scored), encoding="utf-8", newline="")


def reader_row(reader: ReaderScore) -> dict[str, str]:
    """A reader's score as the cells of a row; empty where something is undefined."""
    found: dict[str, Any] = {}
    for name, value in asdict(reader).items():
        if name in reader.shares:
            found |= {name: value["value"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
            found[f"{name}_cases"] = value["count"]
        else:
            found[name] = value
    return {name: "" if isinstance(value, float) and math.isnan(value) else str(value) for name, value in found.items()}


def _answer_row(reader: str, answer: Answer, key: Mapping[str, KeyRow]) -> dict[str, str]:
    """An answer with what the case is, and the place that it names as a point of the scan that the case was made of."""
    row = key[answer.case]
    place = (answer.x_mm, answer.y_mm, answer.z_mm)
    center = (row.center_x_mm, row.center_y_mm, row.center_z_mm)
    points = ["" if at is None else str(round(at + c, 2)) for at, c in zip(place, center, strict=True)]
    return {
        "reader": reader,
        **cells_of(Answer, answer),
        "kind": row.kind,
        "source": row.source,
        "patient": row.patient,
        **dict(zip(("source_x_mm", "source_y_mm", "source_z_mm"), points, strict=True)),
    }


def score_page(scored: Scored) -> str:
    """The score as an HTML page that needs neither network nor script."""
    environment = page_environment(Path(__file__).with_name("templates"))
    environment.filters |= {"percent": _percent, "percents": _percents, "share": _share}
    return environment.get_template("score.html.j2").render(
        version=__version__,
        score=scored.score,
        notes=scored.notes,
        finding=describe_score(scored.score),
        unsure=UNSURE,
        cases=sorted(scored.key.values(), key=lambda row: (row.kind, row.case)),
        answers=scored.answers,
        plot=_draw_shares(scored.score.readers),
        rules=RULES,
    )


def _share(value: float) -> str:
    return NONE if math.isnan(value) else f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def _percent(found: ConfidenceInterval) -> str:
    return _share(found.value)


def _percents(found: ConfidenceInterval) -> str:
    return f"{_share(found.low)} to {_share(found.high)}" if found.limited else NONE


def describe_score(score: StudyScore) -> tuple[str, ...]:
    """What the score comes to, a sentence for each reader."""
    return tuple(_describe(reader) for reader in score.readers)


def _describe(reader: ReaderScore) -> str:
    called = reader.true_positives + reader.false_negatives + reader.true_negatives + reader.false_positives
    if not called:
        return f"{reader.reader} calls no case real or synthetic."
    found = reader.accuracy
    told = f"{reader.reader} is right in {_share(found.value)} of {called} cases (95 % interval {_percents(found)})"
    if _least_p(called) >= _CERTAIN_P:
        return f"{told}: too few cases to tell anybody from a coin (p\N{NO-BREAK SPACE}{reader.p_guessing:.2g})."
    if reader.p_guessing >= _CERTAIN_P:
        return f"{told}: so many cases do not tell that from a coin (p\N{NO-BREAK SPACE}{reader.p_guessing:.2g})."
    return f"{told}: {'better' if found.value > 0.5 else 'worse'} than a coin would be."


def _least_p(cases: int) -> float:
    """The p of who is always right, or always wrong, in some cases, against a coin: it cannot be lower."""
    return float(2 * 0.5**cases)


def _draw_shares(readers: Sequence[ReaderScore]) -> str:
    """Accuracy, sensitivity and specificity of each reader with their intervals, as SVG."""
    figure = new_plot(7.2, 0.7 + 0.62 * len(readers))
    axes = figure.add_subplot()
    for at, reader in enumerate(readers):
        for shift, (name, found) in zip((-0.22, 0.0, 0.22), reader.shares.items(), strict=True):
            if not found.defined:
                continue
            color = _COLORS[name]
            axes.plot([found.low, found.high], [at + shift] * 2, color=color, linewidth=1.6)
            # Not clipped: at 0 and at 100 % half of a marker lies beyond the axes.
            axes.plot(found.value, at + shift, _MARKERS[name], color=color, markersize=6, clip_on=False)
    axes.axvline(0.5, color="#888888", linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(readers)), [reader.reader for reader in readers], parse_math=False)
    axes.set_ylim(len(readers) - 0.5, -0.5)
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    style_axes(axes)
    return svg_of(figure, "shares")
