"""Names of a file's labels, where they are said: in the file itself, or in a JSON file beside it.

TotalSegmentator writes its names into an extension of the NIfTI header, 3D Slicer into that of NRRD, nnU-Net and the
Medical Segmentation Decathlon into dataset.json. What cannot be read says nothing: names help, and nothing depends on
them alone.
"""

from __future__ import annotations

import html
import json
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import TumorgenError
from .claims import first_bytes
from .files import extension_of, open_regular
from .nifti import HEADER_BYTES, parse_header

_LONGEST = 1 << 20  # bytes of what names are looked for in
_LABEL = re.compile(r'<Label\s[^>]*\bKey="(\d{1,9})"[^>]*>\s*(?:<!\[CDATA\[(.*?)\]\]>|([^<]*))', re.DOTALL)
_SEGMENT = re.compile(r"^Segment(\d{1,9})_(LabelValue|Name):=(.*?)\r?$", re.MULTILINE)
_LONGEST_NUMBER = 9  # digits of a label; Python takes long numbers apart slowly, and very long ones not at all
_FOLDERS = ("labelsTr", "labelsTs")  # of a dataset, whose dataset.json lies beside them


def read_label_names(path: Path) -> dict[int, str]:
    """Label -> name, as a file of labels or a JSON file beside it says; empty where neither does.

    The JSON files are `<file>.json`, `labels.json` and `dataset.json` in its folder, or that of the dataset whose
    `labelsTr` or `labelsTs` the folder is: `{"5": "liver"}`, `{"liver": 5}`, or either under the key `labels`.
    """
    stem = path.name[: len(path.name) - len(extension_of(path))]
    beside = [path.with_name(name) for name in (f"{stem}.json", "labels.json", "dataset.json")]
    if path.parent.name in _FOLDERS:
        beside.append(path.parent.with_name("dataset.json"))
    return _names_in_nifti(path) or _names_in_nrrd(path) or next(filter(None, map(_names_in_json, beside)), {})


def is_number(word: str) -> bool:
    """Whether a word is the number of a label."""
    return word.isdecimal() and len(word) <= _LONGEST_NUMBER


def _names_in_nifti(path: Path) -> dict[int, str]:
    """Names in the header's extension, an XML text with a `Label` for each."""
    if extension_of(path) not in (".nii", ".nii.gz"):
        return {}
    try:
        with open_regular(path) as file:
            start = first_bytes(file, _LONGEST, path)
        if path.name.lower().endswith(".gz"):
            start = zlib.decompressobj(31).decompress(start, _LONGEST)
        end = int(parse_header(start)["vox_offset"])
    except (TumorgenError, OSError, zlib.error, ValueError, OverflowError):
        return {}
    text = start[HEADER_BYTES:end].decode("utf-8", "replace")
    return {int(key): html.unescape(quoted or plain).strip() for key, quoted, plain in _LABEL.findall(text)}


def _names_in_nrrd(path: Path) -> dict[int, str]:
    """Names in the header, of which 3D Slicer gives two fields to each segment: its label and its name."""
    if extension_of(path) != ".nrrd":
        return {}
    try:
        with open_regular(path) as file:
            text = first_bytes(file, _LONGEST, path).partition(b"\n\n")[0].decode("utf-8", "replace")
    except TumorgenError:
        return {}
    fields = {(number, field): value.strip() for number, field, value in _SEGMENT.findall(text)}
    labels = {number: value for (number, field), value in fields.items() if field == "LabelValue" and is_number(value)}
    return {int(label): fields.get((number, "Name"), "") for number, label in labels.items()}


def _names_in_json(path: Path) -> dict[int, str]:
    """Names in a JSON file, either way round; none where it holds anything else."""
    try:
        if path.stat().st_size > _LONGEST:
            return {}
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    if isinstance(found, dict) and isinstance(found.get("labels"), dict):
        return dict(_named(found["labels"]))
    names = dict(_named(found)) if isinstance(found, dict) else {}
    return names if names and len(names) == len(found) else {}


def _named(labels: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Each label with its name; what is neither `number: name` nor `name: number`, such as a region, is left out."""
    for key, value in labels.items():
        if isinstance(value, str) and is_number(key):
            yield int(key), value.strip()
        elif isinstance(value, int) and not isinstance(value, bool):
            yield value, key.strip()
