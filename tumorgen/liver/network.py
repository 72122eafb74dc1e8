"""The liver by nnU-Net: any trained nnU-Net v2 model folder becomes a function from a CT to a mask.

nnU-Net and torch are imported where they are used: importing them takes seconds.
"""

from __future__ import annotations

import io
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import Triple, Volume, orientation_of, temporary_folder
from .coarse import OWN_TRAINER, load_coarse, read_checkpoint
from .devices import pick_device
from .models import Model
from .outline import fit_outline

Array = NDArray[Any]
Find = Callable[[Array, Triple], NDArray[np.bool_]]


def load_model(
    model: Model,
    names: Sequence[str] = ("liver",),
    *,
    device: str = "auto",
    threads: int = 1,
    mirror: bool | None = None,
    fit: bool = False,
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
        One of `devices.DEVICES`.
    threads
        CPU threads of torch.
    mirror
        Whether to predict mirrored images too and average, where the model allows it: better by a little, eight times
        slower. By default not on the CPU.
    fit
        Whether to move outlines to where the scan's HU change (`fit_outline`), which the model that ships needs.
    verbose
        Let nnU-Net's prints and warnings through.

    Raises
    ------
    TumorgenError
        The model has no such label or cannot be loaded, or the device is not there.
    """
    values = model.label_values(names)
    with _quiet(verbose), _nnunet_processes(threads):
        find = _finder(model, device, mirror, values)

    def segment(ct: Volume) -> NDArray[np.bool_]:
        array, spacing_mm, back = _oriented(ct) if model.reoriented else (ct.array, ct.geometry.spacing_mm, _as_is)
        with _quiet(verbose), _threads(threads):
            mask = np.ascontiguousarray(back(find(array, spacing_mm)))
        return fit_outline(mask, ct) if fit else mask

    return segment


def _finder(model: Model, device: str, mirror: bool | None, values: Sequence[int]) -> Find:
    """What finds the labels in an array (z, y, x) of some spacing: the short way where it will do, or nnU-Net's."""
    temporary_folder()  # which nnU-Net asks for as it is imported
    with _imports_explained():
        import nnunetv2.inference.sliding_window_prediction
        import nnunetv2.utilities.get_network_from_plans  # noqa: F401  # what the short way needs
    chosen = pick_device(device)
    mirrored = chosen != "cpu" if mirror is None else mirror
    with _loading_explained(model):
        coarse = load_coarse(model, chosen, mirrored=mirrored)
    if coarse is not None:
        _refuse_mirror(mirror, None)  # or nnU-Net's way would have been taken
        return coarse.find
    predictor = _predictor(model, chosen, mirrored)
    _refuse_mirror(mirror, predictor.allowed_mirroring_axes)

    def find(array: Array, spacing_mm: Triple) -> NDArray[np.bool_]:
        return np.isin(predictor.predict_single_npy_array(array[None], {"spacing": list(spacing_mm)}), values)

    return find


def _refuse_mirror(mirror: bool | None, axes: Sequence[int] | None) -> None:
    """Refuse mirrored images where they are asked for and the network has seen none: nnU-Net would leave them out."""
    if mirror and not axes:
        raise TumorgenError("--mirror: the model was trained without mirrored images; leave it out")


@contextmanager
def _imports_explained() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # mismatched builds of torch and torchvision raise anything
        raise TumorgenError(
            f"nnU-Net cannot be imported ({error}); install torch and torchvision that match"
        ) from error


@contextmanager
def _loading_explained(model: Model) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a checkpoint is a pickle, a network a class found by name: anything may be wrong
        raise TumorgenError(f"{model.folder}: the model cannot be loaded ({_hint(error)})") from error


def _predictor(model: Model, device: str, mirrored: bool) -> Any:
    with _imports_explained():
        import torch
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(use_mirroring=mirrored, device=torch.device(device), allow_tqdm=False)
    folds = tuple(int(fold) if fold.isdigit() else fold for fold in model.folds)
    with _loading_explained(model):
        if not _initialize_plainly(predictor, model):
            predictor.initialize_from_trained_model_folder(str(model.folder), folds, model.checkpoint)
    if predictor.configuration_manager.previous_stage_name is not None:
        raise TumorgenError(f"{model.folder}: is the second stage of a cascade; use 3d_fullres or 3d_lowres")
    return predictor


def _initialize_plainly(predictor: Any, model: Model) -> bool:
    """Give the predictor a network that nnU-Net's own trainer has trained; whether it was this trainer.

    As `nnUNetPredictor.initialize_from_trained_model_folder` does, which imports the trainer to ask it for the
    network, and with it two seconds of plotting libraries. What another trainer builds only that trainer knows.
    """
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    weights: list[Any] = []
    for fold in model.folds:
        checkpoint = read_checkpoint(model, fold)
        if checkpoint["trainer_name"] != OWN_TRAINER:
            return False
        weights.append(checkpoint["network_weights"])
    dataset, plans = (json.loads((model.folder / name).read_text("utf-8")) for name in ("dataset.json", "plans.json"))
    manager = PlansManager(plans)
    configuration = manager.get_configuration(checkpoint["init_args"]["configuration"])
    network = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        determine_num_input_channels(manager, configuration, dataset),
        manager.get_label_manager(dataset).num_segmentation_heads,
        allow_init=False,
        deep_supervision=False,
    )
    network.load_state_dict(weights[0])
    mirrored = checkpoint.get("inference_allowed_mirroring_axes")
    predictor.manual_initialization(network, manager, configuration, weights, dataset, OWN_TRAINER, mirrored)
    return True


def _hint(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"its plans or its checkpoint lack {error}"
    text = " ".join(str(error).split())[:200] or type(error).__name__
    if "nnunet trainer" in text.lower():
        return f"{text}; name the folder of the trainer's module in the environment variable nnUNet_extTrainer"
    return text


def _as_is(array: Array) -> Array:
    return array


def _oriented(ct: Volume) -> tuple[Array, Triple, Callable[[Array], Array]]:
    """A CT's array turned to RAS, its spacing (z, y, x), and the way back, all of them views."""
    towards = orientation_of(ct.geometry)[::-1]
    pairs = ("SI", "AP", "RL")  # of z, y, x; the first letter is where the axis is to run
    axes = [next(axis for axis, letter in enumerate(towards) if letter in pair) for pair in pairs]
    flips = tuple(axis for axis, pair in enumerate(pairs) if towards[axes[axis]] != pair[0])

    def back(array: Array) -> Array:
        return np.flip(array, flips).transpose([axes.index(axis) for axis in range(3)])

    turned = np.flip(ct.array.transpose(axes), flips)
    z, y, x = (ct.geometry.spacing_mm[axis] for axis in axes)
    return turned, (z, y, x), back


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
