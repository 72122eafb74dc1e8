"""The file of a fitted recipe: complete TOML, with what it was made of and how as comments."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..errors import TumorgenError
from ..fields import dump_toml
from ..imaging import refuse_foreign_files, whole_file
from ..wording import plural
from .bin_tables import HALF, LIMITS, BinLesions
from .fitting import Fit

WIDTH = 118
_MARKS = ("# tumorgen fit ", "[[real.bins]]")  # what a recipe of this command holds, of whatever version
_SEAL = "# SHA-256 of this file without this line, as it was written: "
_BIN = "[[real.bins]]\n"


def write_recipe(fit: Fit, path: Path, command: str) -> None:
    """Write a fitted recipe; `load_settings` gives it back. The file appears whole or not at all.

    `command` is the line that it was made with, and the first line of the file.

    Raises
    ------
    TumorgenError
        The file cannot be written.
    """
    with whole_file(path) as partial:
        partial.write_text(_seal(format_recipe(fit, command)), encoding="utf-8")


def refuse_other_recipe(path: Path, remedy: str) -> None:
    """Refuse, before the work, to write over a file of others, or over a recipe that was changed since it was written.

    Raises
    ------
    TumorgenError
        It is no recipe that `write_recipe` wrote, or not as it was written; `remedy` says what to do then.
    """
    refuse_foreign_files(path.parent, {path.name: _MARKS}, remedy)
    if path.exists() and not _is_as_written(path.read_bytes()):
        raise TumorgenError(f"{path}: may have been changed by hand since it was written, and stays as it is; {remedy}")


def _seal(text: str) -> str:
    """The text with its checksum as the second line, so that changes by hand are seen."""
    first, rest = text.split("\n", 1)
    return f"{first}\n{_SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n{rest}"


def _is_as_written(content: bytes) -> bool:
    first, _, after = content.decode(errors="replace").partition("\n")
    _, _, rest = after.partition("\n")
    return _seal(f"{first}\n{rest}").encode() == content


def format_recipe(fit: Fit, command: str) -> str:
    """The text of a recipe's file."""
    start, *bins = dump_toml(fit.settings).split(_BIN)
    described = [f"{_comment(_describe_bin(each))}{_BIN}{text}" for each, text in zip(fit.bins, bins, strict=True)]
    return f"# {command}\n#\n{_comment(*_describe(fit))}\n{start}{''.join(described)}"


def _comment(*paragraphs: str) -> str:
    """Paragraphs as comments, each begun on a line of its own."""
    lines = [line for text in paragraphs for line in textwrap.wrap(text, WIDTH, break_on_hyphens=False)]
    return "".join(f"# {line}\n" for line in lines)


def _describe(fit: Fit) -> Sequence[str]:
    healthy = int((fit.counts["count"] == 0).sum())
    shapes, looks = _describe_frame(fit.shapes, fit.counts), _describe_frame(fit.looks, fit.looks)
    rest = (
        "The rest of a bin's is of the tables of lesions of all sizes. From the recipe lifelike are"
        if fit.alone
        else "The rest, also of radius_mm (n lesions) and count (n scans), is of the recipe lifelike. So are"
    )
    kept = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in LIMITS.items() if name != "grain_mm")
    return (
        f"Sizes, numbers, places and shapes are those of {shapes}"
        + (f"; {plural(healthy, 'scan')} without lesions count in no number." if healthy else "."),
        f"Contrast, edge and heterogeneity are those of {looks}." if len(fit.looks) else "No look was measured.",
        "Tables hold quantiles at equal steps of probability, from the least value to the greatest. Several scans of a"
        " patient weigh as one.",
        f"A table of n lesions is n2 / (n2 + {HALF**2:g}) of what was measured, n2 being n times n: one half for"
        f" {HALF:g}. {rest} grain_mm, least_visible and every setting outside [real].",
        f"Values are held within {kept}.",
        "How what is measured becomes what is drawn: docs/fit.md.",
    )


def _describe_frame(lesions: pd.DataFrame, scans: pd.DataFrame) -> str:
    return ", ".join(
        (
            plural(len(lesions), "lesion"),
            plural(scans["scan"].nunique(), "scan"),
            plural(scans["patient"].nunique(), "patient"),
        )
    )


def _describe_bin(lesions: BinLesions) -> str:
    kinds = {
        "depth": "depth and shape",
        "contrast_hu": "contrast",
        "sigma_c_mm": "edge",
        "heterogeneity": "heterogeneity",
    }
    counts = [f"{what} {lesions.count(table):.3g} ({lesions.own_part(table):.0%})" for table, what in kinds.items()]
    return f"Lesions, and their part in the tables: {', '.join(counts)}."
