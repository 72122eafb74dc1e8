"""The small networks of the studies: U-Nets of nnU-Net's building blocks, with its first weights and its loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any


def build_unet(inputs: int, classes: int, features: Sequence[int], dimensions: int, seed: int) -> Any:
    """Build a U-Net with two convolutions a stage, in 2 or 3 dimensions; one seed gives the same first weights.

    With batch norm, since it sees whole images when it is tested: instance norm would measure another mixture of
    tissue in them than in patches.
    """
    import torch
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from dynamic_network_architectures.initialization.weight_init import InitWeights_He

    convolution, norm, layout = {
        2: (torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.channels_last),
        3: (torch.nn.Conv3d, torch.nn.BatchNorm3d, torch.channels_last_3d),
    }[dimensions]
    torch.manual_seed(seed)
    stages = len(features)
    network = PlainConvUNet(
        inputs, stages, features, convolution, 3, [1] + [2] * (stages - 1), 2, classes, 2, conv_bias=True,
        norm_op=norm, norm_op_kwargs={"affine": True}, nonlin=torch.nn.LeakyReLU,
    )  # fmt: skip
    network.apply(InitWeights_He(1e-2))  # with PyTorch's own, 8 of 25 trainings never found a tumour
    return network.to(memory_format=layout)


def train_network(
    network: Any, stream: Iterator[Any], steps: int, device: str = "cpu", ignored_label: int | None = None
) -> Any:
    """Train on a number of batches with nnU-Net's loss; voxels of the ignored label count in no way."""
    import torch
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    network = network.to(device).train()
    dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
    loss = DC_and_CE_loss(dice, {}, ignore_label=ignored_label, dice_class=MemoryEfficientSoftDiceLoss)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, steps, 0.9)
    for _ in range(steps):
        images, labels = next(stream)
        optimizer.zero_grad()
        loss(network(images.to(device)), labels.to(device)).backward()
        optimizer.step()
        schedule.step()
    return network.eval()
