"""The liver by nnU-Net: any trained nnU-Net v2 model folder becomes a function from a CT to a mask.

The only module that knows nnU-Net and torch. Both are imported where they are used: importing them takes seconds.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging.geometry import Volume

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")  # the first that any fold has
DEVICES = ("auto", "cuda", "mps", "cpu")
REORIENTING = "NibabelIOWithReorient"  # nnU-Net's reader that turns every image to RAS; the others leave it as stored

Array = NDArray[Any]


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

    def values(self, names: Sequence[str]) -> tuple[int, ...]:
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
    return Model(folder, checkpoint, chosen, _labels(dataset, folder), plans.get("image_reader_writer") == REORIENTING)


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
        raise TumorgenError(f"{path}: is not nnU-Net's")
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


def pick_device(name: str) -> str:
    """`auto` becomes the fastest device there is: cuda, mps or cpu.

    Raises
    ------
    TumorgenError
        The device is not there.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, available in there.items() if available)
    if not there[name]:
        raise TumorgenError(f"PyTorch finds no {name} device here; use --device auto")
    return name


def load_model(
    model: Model,
    names: Sequence[str] = ("liver",),
    *,
    device: str = "auto",
    threads: int = 1,
    mirror: bool | None = None,
    verbose: bool = False,
) -> Callable[[Volume], NDArray[np.bool_]]:
    """Load a model; what is returned finds the labels of these names in a CT, as a mask (z, y, x) on its grid.

    A checkpoint is a pickle: loading it runs whatever code is in it.

    Parameters
    ----------
    model
        The model.
    names
        Labels that are wanted; several are joined.
    device
        One of `DEVICES`.
    threads
        CPU threads of torch.
    mirror
        Whether to predict mirrored images too and average, where the model allows it: better by a little, eight times
        slower. By default not on the CPU.
    verbose
        Let nnU-Net's prints and warnings through.

    Raises
    ------
    TumorgenError
        The model has no such label or cannot be loaded, or the device is not there.
    """
    values = model.values(names)
    with _quiet(verbose), _nnunet_processes(threads):
        predictor = _predictor(model, device, mirror)

    def segment(ct: Volume) -> NDArray[np.bool_]:
        array, spacing_mm, back = _oriented(ct) if model.reoriented else (ct.array, ct.geometry.spacing_mm, _as_is)
        with _quiet(verbose), _threads(threads):
            labels = predictor.predict_single_npy_array(array[None], {"spacing": list(spacing_mm)})
        return np.ascontiguousarray(back(np.isin(labels, values)))

    return segment


def _predictor(model: Model, device: str, mirror: bool | None) -> Any:
    try:
        import torch
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
    except Exception as error:  # mismatched builds of torch and torchvision raise anything
        raise TumorgenError(
            f"nnU-Net cannot be imported ({error}); install torch and torchvision that match"
        ) from error

    chosen = pick_device(device)
    predictor = nnUNetPredictor(
        use_mirroring=chosen != "cpu" if mirror is None else mirror, device=torch.device(chosen), allow_tqdm=False
    )
    folds = tuple(int(fold) if fold.isdigit() else fold for fold in model.folds)
    try:
        predictor.initialize_from_trained_model_folder(str(model.folder), folds, model.checkpoint)
    except Exception as error:  # a checkpoint is a pickle, a network a class found by name: anything may be wrong
        raise TumorgenError(f"{model.folder}: the model cannot be loaded ({_hint(error)})") from error
    if predictor.configuration_manager.previous_stage_name is not None:
        raise TumorgenError(f"{model.folder}: is the second stage of a cascade; use 3d_fullres or 3d_lowres")
    return predictor


def _hint(error: Exception) -> str:
    text = " ".join(str(error).split())[:200] or type(error).__name__
    if "nnunet trainer" in text.lower():
        return f"{text}; name the folder of the trainer's module in the environment variable nnUNet_extTrainer"
    return text


def _as_is(array: Array) -> Array:
    return array


def _oriented(ct: Volume) -> tuple[Array, Sequence[float], Callable[[Array], Array]]:
    """A CT's array turned to RAS, its spacing (z, y, x), and the way back, all of them views."""
    towards = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(ct.geometry.direction)[::-1]
    pairs = ("SI", "AP", "RL")  # of z, y, x; the first letter is where the axis is to run
    axes = [next(axis for axis, letter in enumerate(towards) if letter in pair) for pair in pairs]
    flips = tuple(axis for axis, pair in enumerate(pairs) if towards[axes[axis]] != pair[0])

    def back(array: Array) -> Array:
        return np.flip(array, flips).transpose([axes.index(axis) for axis in range(3)])

    turned = np.flip(ct.array.transpose(axes), flips)
    return turned, [ct.geometry.spacing_mm[axis] for axis in axes], back


@contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    """Keep nnU-Net's prints and warnings from users, who can do nothing about them."""
    if verbose:
        yield
        return
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _nnunet_processes(count: int) -> Iterator[None]:
    """Tell nnU-Net how many threads it may use, which it reads once, at import: it sets torch's number by itself."""
    name = "nnUNet_def_n_proc"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(count)
    try:
        yield
    finally:
        del os.environ[name]
