"""What a network may run on."""

from __future__ import annotations

from ..errors import TumorgenError

DEVICES = ("auto", "cuda", "mps", "cpu")


def pick_device(name: str) -> str:
    """The device of `DEVICES` to use: `auto` becomes the fastest that there is.

    Raises
    ------
    TumorgenError
        PyTorch does not find the device.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return next(device for device, available in there.items() if available)
    if not there[name]:
        raise TumorgenError(f"PyTorch finds no {name} device here; use --device auto")
    return name
