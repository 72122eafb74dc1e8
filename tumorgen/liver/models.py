"""nnU-Net v2 models on disk: in a folder, in a zip, or the one that ships with tumorgen.

A checkpoint is a pickle, and what is in it runs. The model that ships is loaded only while its checksums hold, and
those hang on a number in the code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..checksums import SUMS, parse_sums, sha256_of
from ..errors import TumorgenError
from .model_zip import unpacked_model

SHIPPED = Path(__file__).parent / "weights"
SHIPPED_SUMS_SHA256 = "2a494cf97ca01bc5ce5fb6532f417f99568ff6b5dee32409462f8562546c81da"  # of its file of checksums
CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")  # the first that any fold has
# nnU-Net's readers that turn every image to RAS; the others leave it as stored
REORIENTING = ("NibabelIOWithReorient", "SimpleITKIOWithReorient")


@dataclass(frozen=True, slots=True)
class Model:
    """A trained nnU-Net v2 model, found but not loaded.

    Attributes
    ----------
    folder
        The folder with `plans.json`, `dataset.json` and `fold_*`.
    checkpoint
        File name of the weights in each fold.
    folds
        Folds that are used together: numbers as text, or `all`.
    labels
        Name -> label values; several where the name is a region.
    reoriented
        Whether the model was trained on images turned to RAS (x to the right, y to the front, z to the top).
    """

    folder: Path
    checkpoint: str
    folds: tuple[str, ...]
    labels: Mapping[str, tuple[int, ...]]
    reoriented: bool

    def label_values(self, names: Sequence[str]) -> tuple[int, ...]:
        """Label values of names, upper or lower case.

        Raises
        ------
        TumorgenError
            The model has no such label.
        """
        known = {name.lower(): values for name, values in self.labels.items()}
        for name in names:
            if name.lower() not in known:
                raise TumorgenError(f"{self.folder}: the model has no label {name!r}; it has {', '.join(self.labels)}")
        return tuple(sorted({value for name in names for value in known[name.lower()]}))


@contextmanager
def open_model(given: Path | None, names: Sequence[str] = ("liver",), folds: Sequence[str] = ()) -> Iterator[Model]:
    """The model in a folder or a zip, or without either the one that ships, for as long as the block lasts.

    What is raised in the block names the model as it was given, not the folder that a zip was unpacked to.

    Parameters
    ----------
    given
        Folder or zip.
    names
        Labels that the model must know.
    folds
        Folds to use; by default all that have weights.

    Raises
    ------
    TumorgenError
        There is no usable model, or it has no such label.
    """
    path = given or shipped_model()
    with unpacked_model(path) as folder:
        try:
            model = find_model(folder, folds)
            model.label_values(names)
            yield model
        except TumorgenError as error:
            raise TumorgenError(str(error).replace(str(folder), str(path))) from error


def find_model(path: Path, folds: Sequence[str] = ()) -> Model:
    """Find a trained model in its folder, or in the only `TRAINER__PLANS__CONFIGURATION` folder one or two below.

    Parameters
    ----------
    path
        The folder.
    folds
        Folds to use; by default all that have weights.

    Raises
    ------
    TumorgenError
        There is no nnU-Net v2 model that takes a CT alone, or it has no weights.
    """
    folder = _model_folder(path)
    plans, dataset = (_read_json(folder / name) for name in ("plans.json", "dataset.json"))
    channels = dataset.get("channel_names", dataset.get("modality", {}))
    if len(channels) != 1:
        raise TumorgenError(
            f"{folder}: the model takes {len(channels)} images of a patient; one that takes a CT is needed"
        )
    checkpoint, found = _weights(folder)
    chosen = tuple(folds) or found
    absent = [fold for fold in chosen if fold not in found]
    if absent:
        raise TumorgenError(f"{folder}: no weights of fold {', '.join(absent)}; there are {', '.join(found)}")
    return Model(folder, checkpoint, chosen, _labels(dataset, folder), plans.get("image_reader_writer") in REORIENTING)


def _model_folder(path: Path) -> Path:
    def is_model(folder: Path) -> bool:
        return (folder / "plans.json").is_file() and (folder / "dataset.json").is_file()

    if is_model(path):
        return path
    inside = [f for depth in ("", "*/") for f in sorted(path.glob(f"{depth}*__*__*")) if is_model(f)]
    if len(inside) > 1:
        names = ", ".join(str(folder.relative_to(path)) for folder in inside[:8])
        raise TumorgenError(f"{path}: holds several models; give one of {names}")
    if not inside:
        raise TumorgenError(
            f"{path}: not an nnU-Net v2 model; a model is the folder with plans.json, dataset.json and fold_0/"
        )
    return inside[0]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TumorgenError(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise TumorgenError(f"{path}: is not as nnU-Net writes it")
    return content


def _weights(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Name of the checkpoint and the folds that have it; the fold `all` only where there is no other."""
    for checkpoint in CHECKPOINTS:
        folds = [path.parent.name.removeprefix("fold_") for path in folder.glob(f"fold_*/{checkpoint}")]
        numbered = sorted((fold for fold in folds if fold.isdigit()), key=int)
        if numbered or "all" in folds:
            return checkpoint, tuple(numbered) or ("all",)
    raise TumorgenError(f"{folder}: no weights; looked for fold_*/{' and '.join(CHECKPOINTS)}")


def _labels(dataset: Mapping[str, Any], folder: Path) -> dict[str, tuple[int, ...]]:
    """Name -> values of every label but the background and what nnU-Net was told to ignore."""
    try:
        values = {
            name: tuple(int(v) for v in (value if isinstance(value, list) else [value]))
            for name, value in dataset["labels"].items()
        }
    except (KeyError, AttributeError, TypeError, ValueError) as error:
        raise TumorgenError(f"{folder / 'dataset.json'}: its labels are not those of nnU-Net v2") from error
    return {name: value for name, value in values.items() if name not in ("background", "ignore")}


def shipped_model(folder: Path = SHIPPED, sums_sha256: str = SHIPPED_SUMS_SHA256) -> Path:
    """The folder of the nnU-Net v2 model that ships with tumorgen (label `liver`), its files checked.

    Parameters
    ----------
    folder
        The model folder, with a `SHA256SUMS`.
    sums_sha256
        SHA-256 of that file.

    Raises
    ------
    TumorgenError
        A file is not there or is not the one that was shipped.
    """
    _refuse_changed(folder / SUMS, sums_sha256)
    for name, sha256 in parse_sums((folder / SUMS).read_text(encoding="utf-8")).items():
        _refuse_changed(folder / name, sha256)
    return folder


def _refuse_changed(path: Path, sha256: str) -> None:
    try:
        changed = sha256_of(path) != sha256
    except OSError as error:
        raise TumorgenError(
            f"{path}: part of the liver model that ships with tumorgen; cannot be read ({error})"
        ) from error
    if changed:
        raise TumorgenError(
            f"{path}: is not the file that ships with tumorgen; install tumorgen again, or give --model"
        )
