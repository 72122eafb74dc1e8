"""Coarse networks, such as the one that ships, run without nnU-Net's predictor.

Importing the predictor takes longer than finding a liver at 4 mm does, and most of it serves other networks. This is
its way for the plain ones: nnU-Net's network, windows and weights; the grid's part is in `grids`.

Arrays are (z, y, x).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..imaging import Triple
from .grids import CoarseGrid, Window
from .models import Model

COARSE_MM = 2.0  # the shortest edge of voxels from which on a network goes this way
OWN_TRAINER = "nnUNetTrainer"  # what another trainer builds only that trainer knows
_LINEAR = {"is_seg": False, "force_separate_z": False, "memefficient_seg_resampling": False}
_STEP, _SIGMA, _WEIGHT = 0.5, 1 / 8, 10  # of windows, as `nnUNetPredictor` has them


@dataclass(frozen=True, slots=True)
class CoarseNetwork:
    """A trained network with one label, ready to run.

    Attributes
    ----------
    network
        torch's module; its two channels out are background and liver.
    folds
        Weights that take turns; their answers are averaged.
    device, layout
        torch's; the layout is that of arrays in memory.
    patch
        Voxels of a window.
    spacing_mm
        Spacing of the network's voxels.
    window
        The HU that it sees.
    """

    network: Any
    folds: tuple[Mapping[str, Any], ...]
    device: Any
    layout: Any
    patch: tuple[int, int, int]
    spacing_mm: Triple
    window: Window

    def find(self, hu: NDArray[Any], spacing_mm: Triple) -> NDArray[np.bool_]:
        """Where the liver is in a scan (z, y, x) that lies as the network's training scans did."""
        grid = CoarseGrid.over(hu, spacing_mm, self.spacing_mm)
        seen = grid.take(hu, self.window)
        leads = []
        for weights in self.folds:
            if len(self.folds) > 1:
                self.network.load_state_dict(weights)
            leads.append(self._lead(seen))
        return grid.bring_back(np.mean(leads, axis=0) if len(leads) > 1 else leads[0])

    def _lead(self, seen: NDArray[np.float32]) -> NDArray[np.float32]:
        """How far the liver leads over the background: the difference of the two channels, averaged over windows."""
        import torch
        from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window

        below = [max(0, p - n) // 2 for n, p in zip(seen.shape, self.patch, strict=True)]
        above = [max(0, p - n) - b for n, p, b in zip(seen.shape, self.patch, below, strict=True)]
        padded = torch.from_numpy(np.pad(seen, list(zip(below, above, strict=True)))).to(self.device)
        kind = {"dtype": torch.float32, "device": self.device}
        weight = compute_gaussian(self.patch, _SIGMA, _WEIGHT, **kind)
        lead, weights = torch.zeros(padded.shape, **kind), torch.zeros(padded.shape, **kind)
        steps = compute_steps_for_sliding_window(tuple(padded.shape), self.patch, _STEP)
        half = torch.autocast("cuda") if self.device.type == "cuda" else nullcontext()
        with torch.inference_mode(), half:
            for start in product(*steps):
                part = tuple(slice(first, first + n) for first, n in zip(start, self.patch, strict=True))
                patch = padded[part][None, None].contiguous(memory_format=self.layout)
                background, liver = self.network(patch)[0].float()
                lead[part] += (liver - background) * weight
                weights[part] += weight
        kept = tuple(slice(b, b + n) for b, n in zip(below, seen.shape, strict=True))
        answer: NDArray[np.float32] = (lead / weights)[kept].cpu().numpy()
        return answer


def load_coarse(model: Model, device: str, *, mirrored: bool) -> CoarseNetwork | None:
    """Load a model if it is one for this way; otherwise, or where mirrored images are wanted and allowed, None.

    A checkpoint is a pickle: loading it runs whatever code is in it.
    """
    plans = json.loads((model.folder / "plans.json").read_text("utf-8"))
    possible = any(is_plain(plans, name) for name in plans.get("configurations", {}))
    if list(model.labels.values()) != [(1,)] or not possible:
        return None  # before a checkpoint is read, which may be large
    import torch

    checkpoint = read_checkpoint(model, model.folds[0])
    name = checkpoint["init_args"]["configuration"]
    if checkpoint["trainer_name"] != OWN_TRAINER or not is_plain(plans, name):
        return None
    if mirrored and checkpoint.get("inference_allowed_mirroring_axes"):
        return None
    own, weights = plans["configurations"][name], checkpoint["network_weights"]
    del checkpoint  # the optimiser's part of it is larger than the network
    folds = (weights, *(read_checkpoint(model, fold)["network_weights"] for fold in model.folds[1:]))
    chosen = torch.device(device)
    # A tenth faster on the CPU; on a Mac's GPU some versions of torch convolve it wrongly.
    layout = torch.channels_last_3d if chosen.type == "cpu" else torch.contiguous_format
    network = _build_network(own["architecture"]).to(chosen, memory_format=layout).eval()
    network.load_state_dict(weights)
    window = Window.of_plans(plans["foreground_intensity_properties_per_channel"]["0"])
    (depth, height, width), (z, y, x) = own["patch_size"], own["spacing"]
    return CoarseNetwork(network, folds, chosen, layout, (depth, height, width), (z, y, x), window)


def read_checkpoint(model: Model, fold: str) -> dict[str, Any]:
    """What nnU-Net has stored of a fold: weights, the trainer's name, its arguments, and more."""
    import torch

    path = model.folder / f"fold_{fold}" / model.checkpoint
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)
    return checkpoint


def _build_network(architecture: Mapping[str, Any]) -> Any:
    """nnU-Net's network for a CT and one label, without weights."""
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    return get_network_from_plans(
        architecture["network_class_name"],
        architecture["arch_kwargs"],
        architecture["_kw_requires_import"],
        1,
        2,
        allow_init=False,
        deep_supervision=False,
    )


def is_plain(plans: Mapping[str, Any], name: str) -> bool:
    """Whether a configuration is for this way: coarse, three axes as they come, linear resampling, a CT's values.

    Whatever is not known, plans of another version say, is for nnU-Net's own way.
    """
    own = plans.get("configurations", {}).get(name, {})
    resampling = ("resampling_fn_data", "resampling_fn_probabilities")
    return (
        all(own.get(fn) == "resample_torch_fornnunet" and own.get(f"{fn}_kwargs") == _LINEAR for fn in resampling)
        and own.get("preprocessor_name") == "DefaultPreprocessor"
        and own.get("normalization_schemes") == ["CTNormalization"]
        and len(own.get("patch_size", ())) == 3
        and len(own.get("spacing", ())) == 3
        and min(own["spacing"]) >= COARSE_MM
        and own.get("previous_stage") is None
        and "architecture" in own
        and plans.get("transpose_forward") == [0, 1, 2]
    )
