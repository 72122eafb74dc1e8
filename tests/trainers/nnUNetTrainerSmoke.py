"""The shortest training that nnU-Net can do: one epoch of two steps. Found through `nnUNet_extTrainer`."""

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer


class nnUNetTrainerSmoke(nnUNetTrainer):  # noqa: N801  # nnU-Net finds a trainer by this name
    """A trainer whose weights are worth nothing and whose every step is real."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),  # noqa: B008  # as nnU-Net spells it
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 1
        self.num_iterations_per_epoch = 2
        self.num_val_iterations_per_epoch = 1
