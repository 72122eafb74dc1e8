"""nnU-Net's trainer, shorter: no mirroring, so that left and right are learnt, and as many epochs as there is time for.

nnU-Net looks into this folder (`nnUNet_extTrainer`). What it makes is loaded with nnU-Net's own trainer: `export`.
"""

from __future__ import annotations

import os
import time
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.variants.data_augmentation.nnUNetTrainerNoMirroring import nnUNetTrainerNoMirroring

EPOCHS, ITERATIONS, MINUTES, BASE = (f"TUMORGEN_LIVER_{name}" for name in ("EPOCHS", "ITERATIONS", "MINUTES", "BASE"))
TUNING_RATE = 0.004  # first learning rate of a training that goes on from another's weights; nnU-Net's is 0.01
MEASURED = 2  # epochs after which it is known how long one takes; the first also warms up


class nnUNetTrainerTumorgenLiver(nnUNetTrainerNoMirroring):  # type: ignore[misc]  # noqa: N801  # as nnU-Net names them
    """Few epochs, cut to the time there is; no validation of whole scans, which the recipe does by itself."""

    def __init__(
        self, plans: dict[str, Any], configuration: str, fold: int, dataset_json: dict[str, Any], device: torch.device
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = int(os.environ.get(EPOCHS, "120"))
        self.num_iterations_per_epoch = int(os.environ.get(ITERATIONS, "250"))
        self.num_val_iterations_per_epoch = max(1, self.num_iterations_per_epoch // 25)
        self.minutes = float(os.environ.get(MINUTES, "inf"))
        self.save_every = 5
        self.began, self.first = 0.0, 0
        self.base = os.environ.get(BASE, "")
        if self.base:
            self.initial_lr = TUNING_RATE

    def initialize(self) -> None:
        """nnU-Net's network and optimiser; then the weights to go on from, heads and all, and faster arithmetic."""
        super().initialize()
        if self.base:
            stored = torch.load(self.base, map_location="cpu", weights_only=False)  # the recipe's own, just trained
            self.network.load_state_dict(stored["network_weights"])
        if self.device.type == "cpu":
            self._compute_in_bfloat16()

    def _compute_in_bfloat16(self) -> None:
        """What autocast is on a GPU: a third of the time of a step on a CPU that has such instructions."""
        layout = torch.channels_last_3d
        self.network.to(memory_format=layout)
        forward = self.network.forward

        def faster(patches: torch.Tensor) -> list[torch.Tensor]:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                scales = forward(patches.contiguous(memory_format=layout))
            return [scale.float() for scale in scales]

        self.network.forward = faster

    def run_training(self) -> None:
        """nnU-Net's loop, but for its end, which moves."""
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
        """After some epochs, end earlier where the rest would take too long; the learning rate then falls faster."""
        super().on_epoch_end()
        done = self.current_epoch - self.first
        if done >= MEASURED:
            spent = (time.monotonic() - self.began) / 60
            fit = self.current_epoch + max(0, int((self.minutes - spent) / (spent / done)))
            if fit < self.num_epochs:
                self.print_to_log_file(f"{fit} epochs fit into {self.minutes:g} minutes, not {self.num_epochs}")
                self.num_epochs = self.lr_scheduler.max_steps = fit

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Nothing: the recipe measures on scans that were left out, through `tumorgen liver-mask`."""
        del save_probabilities
