"""From nnU-Net's training to the folder that ships: the files for inference, weights in half precision, checksums."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tumorgen.checksums import SUMS, sums_text
from tumorgen.errors import TumorgenError
from tumorgen.imaging.files import whole_file

MOST_BYTES = 12_000_000
CHECKPOINT = "checkpoint_final.pth"
# The base's share in the mean of weights that is exported. The base has seen no real scan; the mean keeps what it knows
# of scans unlike the few real ones (Wortsman et al., CVPR 2022, "Robust fine-tuning of zero-shot models").
BASE_SHARE = 0.5


def export(trained: Path, output: Path, base: Path | None = None) -> int:
    """Write the model folder: `plans.json`, `dataset.json`, `fold_0/checkpoint_final.pth`, `SHA256SUMS`.

    The checkpoint holds only tensors and text, so loading it runs no code. It names nnU-Net's own trainer, so any
    nnU-Net v2 loads it; torch copies the half-precision weights into the network's single-precision ones.

    Parameters
    ----------
    trained
        nnU-Net's folder of a trained fold; it ships as fold 0.
    output
        The folder to write to.
    base
        The fold that the training has continued from: the mean of both weights is written (`BASE_SHARE`).

    Returns
    -------
    int
        Size of the folder in bytes.

    Raises
    ------
    TumorgenError
        The training has not ended, a weight does not fit into half precision, or the model is too large.
    """
    import torch

    source = trained / CHECKPOINT
    if not source.is_file():
        raise TumorgenError(f"{source}: not there; the training has not ended")
    full = _read_checkpoint(source)
    weights = full["network_weights"]
    if base:
        weights = between(weights, _read_checkpoint(base / CHECKPOINT)["network_weights"])
    weights = halved(weights)
    broken = [name for name, value in weights.items() if not torch.isfinite(value).all()]
    if broken:
        raise TumorgenError(f"{source}: {broken[0]} does not fit into half precision")
    slim = {
        "network_weights": weights,
        "init_args": {"configuration": full["init_args"]["configuration"]},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": None,
    }
    with whole_file(output / "fold_0" / CHECKPOINT) as partial:
        torch.save(slim, partial)
    for name in ("plans.json", "dataset.json"):
        content = json.loads((trained.parent / name).read_text(encoding="utf-8"))
        with whole_file(output / name) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return _seal(output)


def _read_checkpoint(path: Path) -> dict[str, Any]:
    import torch

    stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=False)  # our own training's
    return stored


def between(weights: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """The mean of two networks' weights, the base's with its share; a tensor under several names is still one."""
    import torch

    return _each_once(weights, lambda name, value: torch.lerp(value, base[name], BASE_SHARE))


def halved(weights: Mapping[str, Any]) -> dict[str, Any]:
    """Weights in half precision; a tensor that nnU-Net's network holds under several names is still stored once."""
    return _each_once(weights, lambda _, value: value.half())


def _each_once(weights: Mapping[str, Any], change: Callable[[str, Any], Any]) -> dict[str, Any]:
    """Changed weights; names that share a tensor share what it becomes."""
    once: dict[tuple[int, tuple[int, ...]], Any] = {}
    return {
        name: once.setdefault((value.data_ptr(), tuple(value.shape)), change(name, value))
        for name, value in weights.items()
    }


def _seal(folder: Path) -> int:
    files = [folder / "plans.json", folder / "dataset.json", folder / "fold_0" / CHECKPOINT]
    with whole_file(folder / SUMS) as partial:
        partial.write_text(sums_text(files, folder), encoding="utf-8")
    size = sum(file.stat().st_size for file in files)
    if size > MOST_BYTES:
        raise TumorgenError(f"{folder}: {size} bytes; at most {MOST_BYTES} are allowed")
    return size
