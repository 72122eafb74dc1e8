"""Plain coarse networks take the short way and find what nnU-Net's predictor finds; all others are left to it."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tumorgen.errors import TumorgenError
from tumorgen.liver.coarse import _build_network, is_plain, load_coarse
from tumorgen.liver.models import SHIPPED, find_model
from tumorgen.liver.network import _finder, _predictor, load_model

PLANS = json.loads((SHIPPED / "plans.json").read_text(encoding="utf-8"))
NAME = "3d_fullres"
PATCH = 16
SPACING = (2.0, 1.5, 1.0)


def small_plans() -> dict:
    """The plans of the model that ships, with a network of two stages and small windows."""
    plans = copy.deepcopy(PLANS)
    own = plans["configurations"][NAME]
    own["patch_size"] = [PATCH] * 3
    own["architecture"]["arch_kwargs"] |= {
        "n_stages": 2,
        "features_per_stage": [4, 8],
        "kernel_sizes": [[3, 3, 3]] * 2,
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
    }
    return plans


def plain_model(folder: Path, folds: int = 1, labels: dict | None = None, **about) -> Path:
    """A model folder with random weights, other ones in each fold."""
    plans = small_plans()
    folder.mkdir()
    (folder / "plans.json").write_text(json.dumps(plans))
    dataset = {
        "channel_names": {"0": "CT"},
        "labels": labels or {"background": 0, "liver": 1},
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(dataset))
    for fold in range(folds):
        torch.manual_seed(fold)
        network = _build_network(plans["configurations"][NAME]["architecture"])
        with torch.no_grad():  # about half of all voxels are found
            network.decoder.seg_layers[-1].weight *= 20
        (folder / f"fold_{fold}").mkdir()
        checkpoint = {"trainer_name": "nnUNetTrainer", "init_args": {"configuration": NAME}}
        checkpoint |= {"network_weights": network.state_dict(), "inference_allowed_mirroring_axes": None, **about}
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def scan(shape=(70, 60, 80)) -> np.ndarray:
    return np.random.default_rng(0).integers(-300, 400, shape).astype(np.int16)


@pytest.mark.parametrize("folds", [1, 3])
@pytest.mark.parametrize("shape", [(70, 60, 80), (20, 25, 90)], ids=["large", "smaller than a window"])
def test_it_finds_what_nnunets_predictor_finds(tmp_path, folds, shape):
    """Windows are added up in single precision, nnU-Net's in half: a voxel in a thousand may differ."""
    model = find_model(plain_model(tmp_path / "model", folds))
    hu = scan(shape)
    found = load_coarse(model, "cpu", mirrored=False).find(hu, SPACING)
    own = _predictor(model, "cpu", mirrored=False).predict_single_npy_array(hu[None], {"spacing": list(SPACING)}) == 1
    assert 0.1 < own.mean() < 0.9
    assert (found != own).mean() < 1e-3


@pytest.mark.parametrize(
    "about", [{"trainer_name": "nnUNetTrainerOther"}, {"labels": {"background": 0, "liver": [1, 2], "tumor": 2}}]
)
def test_what_only_nnunet_knows_is_left_to_it(tmp_path, about):
    assert load_coarse(find_model(plain_model(tmp_path / "model", **about)), "cpu", mirrored=False) is None


def test_mirrored_images_are_left_to_nnunet_where_they_are_wanted_and_allowed(tmp_path):
    allowed = find_model(plain_model(tmp_path / "allowed", inference_allowed_mirroring_axes=(0, 1, 2)))
    never = find_model(plain_model(tmp_path / "never"))
    assert load_coarse(allowed, "cpu", mirrored=True) is None
    assert load_coarse(allowed, "cpu", mirrored=False) is not None
    assert load_coarse(never, "cpu", mirrored=True) is not None
    with pytest.raises(TumorgenError, match="--mirror: the model was trained without mirrored images"):
        _finder(never, "cpu", True, [1])
    assert _finder(never, "cpu", None, [1])


@pytest.mark.parametrize(
    "changed",
    [
        {"spacing": [3.0, 0.8, 0.8]},
        {"spacing": [4.0, 4.0]},
        {"patch_size": [64, 64]},
        {"resampling_fn_data": "resample_data_or_seg_to_shape"},
        {"resampling_fn_probabilities_kwargs": {"is_seg": False, "force_separate_z": None}},
        {"normalization_schemes": ["ZScoreNormalization"]},
        {"preprocessor_name": "Other"},
        {"previous_stage": "3d_lowres"},
        {"inherits_from": NAME, "preprocessor_name": None},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_configurations_of_another_kind_are_not_plain(changed):
    plans = small_plans()
    assert is_plain(plans, NAME)
    plans["configurations"][NAME] |= changed
    assert not is_plain(plans, NAME)
    assert not is_plain(small_plans() | {"transpose_forward": [1, 0, 2]}, NAME)


@pytest.mark.parametrize("missing", ["configurations", "transpose_forward"])
def test_plans_that_lack_something_are_not_plain(missing):
    assert not is_plain({key: value for key, value in small_plans().items() if key != missing}, NAME)
    assert not is_plain(small_plans(), "2d")


def test_what_a_checkpoint_lacks_is_named(tmp_path):
    folder = plain_model(tmp_path / "model")
    torch.save({"network_weights": {}}, folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(TumorgenError, match=r"cannot be loaded \(its plans or its checkpoint lack 'init_args'"):
        load_model(find_model(folder), device="cpu")
