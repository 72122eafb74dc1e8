"""nnU-Net's trainer without mirroring, so that left and right are learnt, and with as many epochs as fit the time.

nnU-Net looks into this folder (`nnUNet_extTrainer`). The exported model is loaded with nnU-Net's own trainer: `export`.
"""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTransform
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import nnUNetTrainerNoMirroring

EPOCHS, ITERATIONS, MINUTES, BASE = (f"TUMORGEN_LIVER_{name}" for name in ("EPOCHS", "ITERATIONS", "MINUTES", "BASE"))
TUNING_RATE = 0.004  # first learning rate of a training that goes on from another's weights; nnU-Net's is 0.01
MEASURED = 2  # epochs after which it is known how long one takes; the first also warms up
SLABS, THINNEST, THICKEST = 0.15, 0.12, 0.4  # share of patches; thickness as a share of a patch's height


class Slab(BasicTransform):  # type: ignore[misc]
    """Keep a few slices of a patch, as if the scan had no more: the rest is nnU-Net's padding and has no liver."""

    def get_parameters(self, **data_dict: Any) -> dict[str, Any]:
        """The slices that stay; the axes are (channel, z, y, x)."""
        depth = data_dict["image"].shape[1]
        thickness = max(1, round(depth * np.random.uniform(THINNEST, THICKEST)))  # noqa: NPY002  # nnU-Net seeds it
        first = np.random.randint(0, depth - thickness + 1)  # noqa: NPY002
        return {"kept": slice(first, first + thickness)}

    def _apply_to_image(self, img: torch.Tensor, kept: slice) -> torch.Tensor:
        left = torch.zeros_like(img)
        left[:, kept] = img[:, kept]
        return left

    _apply_to_segmentation = _apply_to_image


def bfloat16_is_faster() -> bool:
    """Whether this CPU convolves in bfloat16 faster than in single precision: torch has no public answer to that."""
    layer, patch = torch.nn.Conv3d(16, 16, 3), torch.randn(1, 16, 24, 24, 24)
    seconds = {}
    for half in (True, False):
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            layer(patch)
            began = time.perf_counter()
            for _ in range(3):
                layer(patch)
            seconds[half] = time.perf_counter() - began
    return seconds[True] < seconds[False]


class nnUNetTrainerTumorgenLiver(nnUNetTrainerNoMirroring):  # type: ignore[misc]  # noqa: N801  # as nnU-Net names them
    """As many epochs as fit the time; no validation of whole scans, because the recipe measures them itself."""

    def __init__(
        self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any], device: torch.device
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get(EPOCHS, "120"))
        self.num_iterations_per_epoch = int(os.environ.get(ITERATIONS, "250"))
        self.num_val_iterations_per_epoch = max(1, self.num_iterations_per_epoch // 25)
        self.minutes = float(os.environ.get(MINUTES, "inf"))
        self.save_every = 1  # an epoch on a CPU takes minutes
        self.began, self.first = 0.0, 0
        self.base = os.environ.get(BASE, "")
        if self.base:
            self.initial_lr = TUNING_RATE

    def initialize(self) -> None:
        """nnU-Net's network and optimiser; then the weights to continue from, heads included, and faster arithmetic."""
        super().initialize()
        if self.base:
            stored = torch.load(self.base, map_location="cpu", weights_only=False)  # the recipe's own, just trained
            self.network.load_state_dict(stored["network_weights"])
        if self.device.type == "cpu":
            self._compute_fast_on_cpu()

    def _compute_fast_on_cpu(self) -> None:
        """Channels last, and bfloat16 where that is faster: a third of the time, or ten times as long."""
        layout = torch.channels_last_3d
        self.network.to(memory_format=layout)
        forward, half = self.network.forward, bfloat16_is_faster()

        def faster(patches: torch.Tensor) -> list[torch.Tensor]:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                scales = forward(patches.contiguous(memory_format=layout))
            return [scale.float() for scale in scales]

        self.network.forward = faster

    @staticmethod
    def get_training_transforms(*given: Any, **named: Any) -> ComposeTransforms:
        """nnU-Net's augmentation; some patches are cut to a slab, before labels are made coarser for the decoder."""
        made: ComposeTransforms = nnUNetTrainerNoMirroring.get_training_transforms(*given, **named)
        padding = next(i for i, step in enumerate(made.transforms) if isinstance(step, RemoveLabelTransform))
        made.transforms.insert(padding + 1, RandomTransform(Slab(), apply_probability=SLABS))
        return made

    def run_training(self) -> None:
        """nnU-Net's loop, but with an end that `on_epoch_end` may move."""
        self.on_train_start()
        self.began, self.first = time.monotonic(), self.current_epoch
        while self.current_epoch < self.num_epochs:
            self.on_epoch_start()
            self.on_train_epoch_start()
            steps = range(self.num_iterations_per_epoch)
            self.on_train_epoch_end([self.train_step(next(self.dataloader_train)) for _ in steps])
            with torch.no_grad():
                self.on_validation_epoch_start()
                checks = range(self.num_val_iterations_per_epoch)
                self.on_validation_epoch_end([self.validation_step(next(self.dataloader_val)) for _ in checks])
            self.on_epoch_end()
        self.on_train_end()

    def on_epoch_end(self) -> None:
        """After some epochs, end earlier if the rest would take too long; the learning rate then falls faster."""
        super().on_epoch_end()
        done = self.current_epoch - self.first
        if done >= MEASURED:
            spent = (time.monotonic() - self.began) / 60
            fit = self.current_epoch + max(0, int((self.minutes - spent) / (spent / done)))
            if fit < self.num_epochs:
                self.print_to_log_file(f"{fit} epochs fit into {self.minutes:g} minutes, not {self.num_epochs}")
                self.num_epochs = self.lr_scheduler.max_steps = fit

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Do nothing: the recipe measures on scans that were left out, through `tumorgen liver-mask`."""
        del save_probabilities
