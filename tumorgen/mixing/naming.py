"""The cases of a mixture: their names, where each is from, and its files as dataset.json has them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..dataset import Dataset
from ..errors import TumorgenError
from ..fields import About
from ..imaging import safe_name
from .parts import KINDS, Part


@dataclass(frozen=True, slots=True)
class MixedCase:
    """A case of a mixture, and where it is from."""

    case: Annotated[str, About("name of the case in the mixture; no two rows share it")]
    kind: Annotated[str, About("whether its tumours are real or synthetic, or it is healthy", choices=KINDS)]
    dataset: Annotated[str, About("name of the folder of the dataset that it is from")]
    source_case: Annotated[str, About("its name there")]
    scan: Annotated[str, About("scan that it was made of; its own name there where it is no sample")]
    group: Annotated[
        str, About("first of the scans that are of one patient or one CT: none is on both sides of a fold")
    ]
    image: Annotated[str, About("its image, as dataset.json has it")]
    label: Annotated[str, About("its label, as dataset.json has it")]


def scan_key(kind: str, scan: str) -> str:
    """Name of a scan among those of all kinds."""
    return f"{kind}/{scan}"


def name_cases(parts: Sequence[Part], groups: Mapping[str, str], dataset: Dataset) -> Iterator[MixedCase]:
    """Each case under a name that says its kind; where a kind has several datasets, also which of them.

    `groups` has the group of each scan by its name among all kinds. Cases whose labels are other numbers than the
    mixture's get labels of its own.

    Raises
    ------
    TumorgenError
        Two cases have one name, or a path cannot stand in dataset.json.
    """
    several = Counter(part.kind for part in parts)
    seen: Counter[str] = Counter()
    named: dict[str, Path] = {}
    for part in parts:
        seen[part.kind] += 1
        prefix = part.kind if several[part.kind] == 1 else f"{part.kind}{seen[part.kind]}"
        for each in part.cases:
            case = f"{prefix}_{safe_name(each.case)}"
            if case.lower() in named:
                raise TumorgenError(
                    f"{each.image}: is case {case} of the mixture, as {named[case.lower()]} is; rename one"
                )
            named[case.lower()] = each.image
            label = dataset.labels / f"{case}{part.file_ending}" if part.foreign_labels else each.label
            yield MixedCase(
                case,
                part.kind,
                part.folder.name,
                each.case,
                each.scan,
                groups[scan_key(part.kind, each.scan)],
                _path_from(dataset.folder, each.image),
                _path_from(dataset.folder, label),
            )


def _path_from(folder: Path, path: Path) -> str:
    """A path as dataset.json has it: relative where both lie in one folder of datasets, which may then be moved.

    Raises
    ------
    TumorgenError
        nnU-Net would take a part of it for a variable of the environment.
    """
    inside = path.is_relative_to(folder.parent)
    found = Path(os.path.relpath(path, folder)).as_posix() if inside else str(path)
    if "$" in found:
        raise TumorgenError(f"{path}: nnU-Net takes what follows a $ for a variable; rename the folder or the file")
    return found
