"""What HTML pages have in common: their templates, and how numbers stand in them."""

from __future__ import annotations

import math
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..evaluation import ConfidenceInterval
from ..wording import plural
from .page import MINUS

NONE = "\N{EN DASH}"


def page_environment(*folders: Path) -> Environment:
    """Templates of some folders and of this package: they escape what they are given; a missing value is an error."""
    environment = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).with_name("templates")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "number": _number,
        "limits": _limits,
        "p_value": _p_value,
        "plural": plural,
        "file_name": lambda path: Path(path).name,
    }
    return environment


def _number(value: float) -> str:
    """Three decimals, a dash for nan; what rounds to 0 has no sign."""
    return NONE if math.isnan(value) else f"{value:z.3f}".replace("-", MINUS)


def _limits(found: ConfidenceInterval) -> str:
    return f"{_number(found.low)} to {_number(found.high)}" if found.limited else NONE


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else _number(value)
