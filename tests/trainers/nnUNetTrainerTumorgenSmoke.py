"""The shortest training with tumours drawn on the fly: `nnUNetTrainerTumorgen` for one epoch of two steps."""

import torch

from tumorgen.training.trainers.nnUNetTrainerTumorgen import nnUNetTrainerTumorgen


class nnUNetTrainerTumorgenSmoke(nnUNetTrainerTumorgen):  # noqa: N801  # nnU-Net finds a trainer by this name
    """Everything is real but the number of steps."""

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
