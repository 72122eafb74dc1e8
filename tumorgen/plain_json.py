"""What is found, as the text of a JSON file."""

from __future__ import annotations

import json
import math
from typing import Any


def json_text(found: Any) -> str:
    """Text of a JSON file, indented and ended by a newline; null for nan and infinity, which JSON does not know."""
    return json.dumps(_finite(found), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    """A value, and all that it holds, with None for what is not finite."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
