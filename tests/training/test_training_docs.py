"""The examples of docs/training.md run; those of MONAI and TorchIO where these are installed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from phantoms import ball_volume

from tumorgen.method.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
SPACING = (5.0, 4.0, 4.0)
SMALL = Settings(sizes=("small",))


def example(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return block


@pytest.fixture(scope="module")
def ball():
    volume, liver = ball_volume(SPACING, dtype="float32")
    return volume.array, liver.astype(np.uint8)


def run(language: str, **names: object) -> dict:
    namespace = dict(names)
    exec(example(language), namespace)
    return namespace


def test_arrays(ball):
    image, liver = ball_volume((3.0, 3.0, 3.0))
    made = run("python", image=image.array, liver=liver, spacing_mm=(3.0, 3.0, 3.0))
    assert (made["new_label"] == 2).any()
    assert made["patch"].shape == made["patch_label"].shape == (24, 32, 32)
    assert (made["patch_label"] == 2).any()


@pytest.mark.filterwarnings("ignore")
def test_monai(ball):
    pytest.importorskip("monai", reason="MONAI is not installed; it is no dependency")
    import torch
    from monai.data import MetaTensor

    affine = torch.diag(torch.tensor([*SPACING[::-1], 1.0], dtype=torch.float64))
    given = {
        key: MetaTensor(torch.from_numpy(array.T[None].copy()), affine=affine)
        for key, array in zip(("image", "label"), ball, strict=True)
    }
    transform = run("python monai")["AddTumorsd"](SMALL)
    transform.set_random_state(1)
    first = transform(given)
    transform.set_random_state(1)
    again = transform(given)
    assert set(np.unique(first["label"])) == {0, 1, 2}
    assert first["image"].shape == given["image"].shape
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["image"], given["image"])
    assert torch.equal(first["image"].affine, affine)


@pytest.mark.filterwarnings("ignore")
def test_torchio(ball):
    torchio = pytest.importorskip("torchio", reason="TorchIO is not installed; it is no dependency")
    import torch

    affine = np.diag([*SPACING[::-1], 1.0])
    image, label = (torch.from_numpy(array.T[None].copy()) for array in ball)
    subject = torchio.Subject(
        image=torchio.ScalarImage(tensor=image, affine=affine), label=torchio.LabelMap(tensor=label, affine=affine)
    )
    transform = run("python torchio")["tumors_in"](SMALL)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made, other = transform(subject), transform(subject)
        torch.manual_seed(0)
        again = transform(subject)
    assert set(np.unique(made["label"].data)) == {0, 1, 2}
    assert not torch.equal(made["image"].data, image)
    assert not torch.equal(made["image"].data, other["image"].data)
    assert torch.equal(made["image"].data, again["image"].data)
    assert np.allclose(made["image"].affine, affine)
