"""`provenance.json`: what a dataset was made with, and from what.

Only what decides the bits is in it, so that datasets made alike are alike, byte for byte: no dates, no machine, no
folders. How the work was divided and when it was done stands in the log (`synth --log-file`).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from . import __version__
from .dataset import Dataset, write_json
from .errors import TumorgenError
from .manifest import Record
from .settings import Settings, to_dict

LIBRARIES = ("numpy", "scipy", "SimpleITK", "nibabel", "isal", "edt", "connected-components-3d")


def path_of(dataset: Dataset) -> Path:
    """Where it is."""
    return dataset.folder / "provenance.json"


def versions() -> dict[str, str]:
    """Versions of what the bits depend on, in this process."""
    return {
        "tumorgen": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in LIBRARIES},
    }


def read_provenance(dataset: Dataset) -> dict[str, Any]:
    """What is there; empty where nothing is.

    Raises
    ------
    TumorgenError
        The file cannot be read.
    """
    path = path_of(dataset)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get("versions"), dict):
            return found
        raise ValueError("names no versions")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise TumorgenError(f"{path}: cannot be read ({error})") from error


def refuse_other_versions(dataset: Dataset) -> None:
    """A dataset is of one set of versions, since another may draw or render other bits; Python's own does not matter.

    Raises
    ------
    TumorgenError
        It was begun with others.
    """
    now = versions()
    for name, before in read_provenance(dataset).get("versions", {}).items():
        if name in now and name != "python" and before != now[name]:
            raise TumorgenError(
                f"{dataset.folder}: was begun with {name} {before}, this is {now[name]}, and bits may differ; install"
                " that version again, or begin a new dataset"
            )


def begin_provenance(dataset: Dataset, settings: Settings, seed: int, per_scan: int, val_per_scan: int) -> None:
    """Write what is known at the beginning; the versions of the first run stay."""
    options = f"--seed {seed} --per-scan {per_scan} --val-per-scan {val_per_scan}"
    value = {
        "versions": read_provenance(dataset).get("versions") or versions(),
        "command": f"tumorgen synth --settings settings.toml {options}",
        "seed": seed,
        "settings": to_dict(settings),
    }
    write_json(value, path_of(dataset))


def finish_provenance(dataset: Dataset, records: Sequence[Record]) -> None:
    """Add the checksums of the scans that samples were made of."""
    begun = read_provenance(dataset) or {"versions": versions(), "command": "tumorgen replay manifest.csv"}
    sources = {
        record.plan.case: {
            "image_sha256": record.plan.source_image_sha256,
            "mask_sha256": record.plan.source_mask_sha256,
        }
        for record in sorted(records, key=lambda record: record.plan.case)
    }
    write_json({**begun, "sources": sources}, path_of(dataset))
