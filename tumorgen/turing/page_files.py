"""The files of the page, each with its media type; they come along with the package."""

from __future__ import annotations

from pathlib import Path

JSON_TYPE = "application/json"
DATA_TYPE = "application/octet-stream"
_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "study.css": "text/css; charset=utf-8",
    "study.js": "text/javascript; charset=utf-8",
    "niivue.js": "text/javascript; charset=utf-8",
    "niivue.LICENSE.txt": "text/plain; charset=utf-8",
}


def page_files() -> dict[str, tuple[Path, str]]:
    """Name -> file and media type."""
    folder = Path(__file__).with_name("page")
    return {name: (folder / name, kind) for name, kind in _TYPES.items()}
