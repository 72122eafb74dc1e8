"""`provenance.json`: what a dataset was made with, and from what.

Only what decides the bits is in it, so that datasets made alike are alike, byte for byte: no dates, no machine, no
folders. How the work was divided and when it was done stands in the log (`synth --log-file`).
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from .. import __version__
from .._version import installed_version
from ..errors import TumorgenError
from ..fields import from_plain, to_plain
from ..method import RECIPES, Settings, load_settings, nearest_recipe
from ..tables import SAMPLES, Entry
from .raw import BENCHMARK, PROVENANCE, RAW, Dataset, write_json

LIBRARIES = ("numpy", "scipy", "SimpleITK", "isal", "edt", "connected-components-3d")
IN_ROWS = ("tumorgen", "numpy", "scipy")  # whose versions stand in every row
REPLAY = "tumorgen replay manifest.csv"
_VAL_PER_SCAN = "val_per_scan"  # where the command does not say it


def provenance_path(dataset: Dataset) -> Path:
    """Where it is."""
    return dataset.folder / PROVENANCE


def versions() -> dict[str, str]:
    """Versions of what the bits depend on, in this process."""
    return {"tumorgen": __version__, "python": platform.python_version(), **_libraries()}


@cache
def _libraries() -> dict[str, str]:
    return {name: installed_version(name) for name in LIBRARIES}  # takes longer than a small sample


def changed_versions(then: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What the bits depend on and is of another version in this process: name -> (then, now)."""
    return {
        name: (str(then[name])[:40], now)
        for name, now in versions().items()
        if name != "python" and name in then and then[name] != now
    }


def read_provenance(dataset: Dataset) -> dict[str, Any]:
    """What is there; empty where nothing is.

    Raises
    ------
    TumorgenError
        The file cannot be read.
    """
    path = provenance_path(dataset)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, dict) and isinstance(found.get("versions"), dict):
            return found
        raise ValueError("names no versions")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise TumorgenError(f"{path}: cannot be read ({error})") from error


def read_val_per_scan(dataset: Dataset) -> int:
    """How many variants of a held-out scan the splits validate on, as the last run was told; two where none says.

    Raises
    ------
    TumorgenError
        The file cannot be read.
    """
    found = read_provenance(dataset)
    told = re.search(r" --val-per-scan (\d{1,6})$", str(found.get("command", "")))
    value = found.get(_VAL_PER_SCAN, int(told[1]) if told else None)
    return value if isinstance(value, int) and value > 0 else 2


def refuse_other_versions(dataset: Dataset) -> None:
    """A dataset is of one set of versions, since another may draw or render other bits; Python's own does not matter.

    Raises
    ------
    TumorgenError
        It was begun with others.
    """
    for name, (before, now) in changed_versions(read_provenance(dataset).get("versions", {})).items():
        raise TumorgenError(
            f"{dataset.folder}: was begun with {name} {before}, this is {now}, and bits may differ; install"
            " that version again, or begin a new dataset"
        )


def begin_provenance(dataset: Dataset, settings: Settings, seed: int, per_scan: int, val_per_scan: int) -> None:
    """Write what is known at the beginning; the versions of the first run stay."""
    value = {
        "versions": read_provenance(dataset).get("versions") or versions(),
        "command": _command(dataset, nearest_recipe(settings), seed, per_scan, val_per_scan),
        "seed": seed,
        "settings": to_plain(settings),
        **({} if dataset.raw else {RAW: False}),
    }
    write_json(value, provenance_path(dataset))


def begin_replay(dataset: Dataset, val_per_scan: int) -> None:
    """Write what is known at the beginning where rows are rendered again; what an earlier run has written stays."""
    begun = read_provenance(dataset)
    if not begun or read_val_per_scan(dataset) != val_per_scan:
        begun = begun or {"versions": versions(), "command": REPLAY}
        write_json({**begun, _VAL_PER_SCAN: val_per_scan}, provenance_path(dataset))


def holds_replay(dataset: Dataset) -> bool:
    """Whether a dataset was begun by rendering rows again.

    Raises
    ------
    TumorgenError
        The file cannot be read.
    """
    return bool(read_provenance(dataset).get("command") == REPLAY)


def _command(dataset: Dataset, recipe: str, seed: int, per_scan: int, val_per_scan: int) -> str:
    """What makes the same bits, given the dataset's settings and scans; version 0.1.0 knew no recipes."""
    drawn = f"{f'--recipe {recipe} ' if recipe else ''}--settings settings.toml --seed {seed}"
    if (dataset.folder / BENCHMARK).is_file():
        return f"tumorgen robustness --benchmark {BENCHMARK} {drawn}"
    return f"tumorgen synth {drawn} --per-scan {per_scan} --val-per-scan {val_per_scan}"


def finish_provenance(dataset: Dataset, entries: Sequence[Entry]) -> None:
    """Add the checksums of the scans that samples were made of."""
    begun = read_provenance(dataset) or {"versions": versions(), "command": REPLAY}
    write_json({**begun, "sources": _sources(entries)}, provenance_path(dataset))


def _sources(entries: Sequence[Entry]) -> dict[str, dict[str, str]]:
    scans = {entry.case: entry for entry in entries}
    return {
        case: {"image_sha256": one.source_image_sha256, "mask_sha256": one.source_mask_sha256, **_choice(one)}
        for case, one in sorted(scans.items())
    }


def _choice(entry: Entry) -> dict[str, str]:
    """What was chosen from a scan's label map; nothing of a mask."""
    words = {"liver_labels": entry.liver_labels, "real_tumor_labels": entry.real_tumor_labels}
    return {name: text for name, text in words.items() if text}


def find_contradictions(
    dataset: Dataset, entries: Sequence[Entry], rendered_with: Collection[Sequence[str]]
) -> Iterator[str]:
    """What is in it and is not what the manifest and the settings file say, or is not there.

    The seed and the settings (of a dataset that has a settings file), the command as far as the seed decides it, the
    checksums of the sources, and the versions that rows have. The others' versions and the number of variants a scan
    follow from nothing else; SHA256SUMS knows them. `rendered_with` are the versions that rows have, of `IN_ROWS`.

    Raises
    ------
    TumorgenError
        The file cannot be read.
    """
    found = read_provenance(dataset)
    if not found:
        yield "is missing"
        return
    if found.get("sources") != _sources(entries):
        yield f"its sources are not those of {SAMPLES}"
    if dataset.settings.is_file():
        yield from _other_settings(dataset, found, {entry.seed for entry in entries})
    elif found.get("command") != REPLAY:
        yield f"its command is {str(found.get('command'))[:80]!r}, and there is no settings.toml"
    for number, name in enumerate(IN_ROWS):
        rows = {versions[number] for versions in rendered_with}
        if rows - {found["versions"].get(name)}:
            yield f"says {name} {str(found['versions'].get(name))[:40]}; {SAMPLES} says {', '.join(sorted(rows))[:80]}"


def _other_settings(dataset: Dataset, found: Mapping[str, Any], seeds: set[int]) -> Iterator[str]:
    with suppress(TumorgenError):  # a settings file that cannot be read is a problem of its own
        if _as_settings(found.get("settings")) != load_settings(dataset.settings):
            yield "its settings are not those of settings.toml"
    for seed in sorted(seeds - {found.get("seed")}):
        yield f"its seed is {str(found.get('seed'))[:40]}; {SAMPLES} says {seed}"
    command = str(found.get("command"))
    numbers = re.fullmatch(r".* --per-scan (\d{1,20}) --val-per-scan (\d{1,20})", command)
    per_scan, val_per_scan = map(int, numbers.groups()) if numbers else (0, 0)
    recipe = next((name for name in RECIPES if f" --recipe {name} " in command), "")
    for seed in sorted(seeds):
        expected = _command(dataset, recipe, seed, per_scan, val_per_scan)
        if command != expected:
            yield f"its command is {command[:120]!r}, not of the form {expected!r}"


def _as_settings(recorded: Any) -> Settings | None:
    """Settings from their recorded form; None where it is none."""
    try:
        return from_plain(Settings, recorded)
    except TumorgenError:
        return None
