"""Datasets as people name them: by a path, or as nnU-Net does, by the folder's name or by its number."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tumorgen.wording import few

from .kinds import MeantPath, find_misread
from .options import raw_root

_TABLES = ".csv", ".gz"  # what the name of a manifest ends in


def find_dataset(given: Path, *roots: Path) -> Path:
    """The folder of a dataset: one that is there goes first, then one of that name, or of that number, below a root.

    A usage error where there is none, or where several have the number.
    """
    roots, text = tuple(dict.fromkeys(roots)), str(given)
    found = next((path for path in (given, *(root / given for root in roots)) if _is_folder(path)), None)
    if found is None and re.fullmatch(r"[0-9]+", text):
        found = _find_numbered(int(text), roots)
    if found is None:
        below = "" if given.is_absolute() else "".join(f", nor below {_describe(root)}" for root in roots)
        raise click.UsageError(f"{text}: no such folder{below}.")
    return found


def _find_numbered(number: int, roots: Sequence[Path]) -> Path:
    known = {root: _list_datasets(root) for root in roots}
    for root, names in known.items():
        found = [name for name in names if int(name[7:10]) == number]
        if len(found) > 1:
            raise click.UsageError(f"{root} has several datasets of the number {number}: {', '.join(found)}.")
        if found:
            return root / found[0]
    numbers = sorted({int(name[7:10]) for names in known.values() for name in names})
    there = f"there are {few([str(one) for one in numbers], most=20)}" if numbers else "there is none at all"
    raise click.UsageError(f"no dataset of the number {number} in {' and '.join(map(str, roots))}; {there}.")


def _list_datasets(root: Path) -> list[str]:
    """Names of the datasets in a folder, as nnU-Net takes them."""
    try:
        return sorted(path.name for path in root.iterdir() if re.match(r"Dataset\d{3}_", path.name) and path.is_dir())
    except OSError:
        return []


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False


def _describe(root: Path) -> str:
    names = _list_datasets(root)
    return f"{root}, which has {few(names)}" if names else str(root)


class DatasetPath(MeantPath):
    """The folder of a dataset: a path, or its name or number below the folder of raw datasets."""

    def __init__(self) -> None:
        super().__init__(exists=True, file_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The folder's path."""
        if ctx and param:
            ctx.meta[f"{__name__}.{param.name}"] = str(value)
        if not _is_plain(value):
            value = _look_up(self, value, param, ctx)
        return super().convert(value, param, ctx)


class ManifestPath(MeantPath):
    """A table of samples, or a dataset, as `DatasetPath` takes it, whose manifest.csv is meant."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The table's path."""
        from tumorgen.dataset import find_written_dataset
        from tumorgen.errors import TumorgenError

        if Path(value).suffix in _TABLES or (_is_plain(value) and not (str(value) and _is_folder(Path(value)))):
            return super().convert(value, param, ctx)
        folder = _look_up(self, value, param, ctx)
        try:
            return folder / find_written_dataset(folder).manifest.name
        except TumorgenError as error:
            self.fail(str(error), param, ctx)


def _is_plain(value: Any) -> bool:
    """Whether a value is a path that is there, or can be no name of a dataset."""
    return not str(value) or os.path.lexists(value) or bool(find_misread(str(value)))


def _look_up(kind: click.ParamType[Any], value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
    """The dataset that is meant, below nnU-Net's folder of raw datasets; what is wrong is said of the parameter."""
    try:
        return find_dataset(Path(value), raw_root(None, "the folder"))
    except click.UsageError as error:
        kind.fail(error.message, param, ctx)


def typed_dataset(name: str) -> str:
    """What was typed for a parameter of this type: a number or a name says less than the path it stands for."""
    return str(click.get_current_context().meta[f"{__name__}.{name}"])


DATASET, MANIFEST = DatasetPath(), ManifestPath()
DATASET_NAME = MeantPath(path_type=Path)  # of one that may lie below a folder which another option names
