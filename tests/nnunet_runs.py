"""nnU-Net for tests: its own commands in a folder of their own, and a model whose answer is known.

Not a test module; test modules import it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from forks import run_fork

from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume

TRAINERS = Path(__file__).parent / "trainers"
SMOKE = "nnUNetTrainerSmoke"


def environment(raw: Path, work: Path) -> dict[str, str]:
    """Environment of nnU-Net's commands: raw datasets in `raw`, what it writes under `work`, few processes."""
    return {
        **os.environ,
        "nnUNet_raw": str(raw),
        "nnUNet_preprocessed": str(work / "preprocessed"),
        "nnUNet_results": str(work / "results"),
        "nnUNet_extTrainer": str(TRAINERS),
        "nnUNet_def_n_proc": "1",
        "OMP_NUM_THREADS": "1",
    }


def run(command: str, *arguments: str, raw: Path, work: Path, **variables: str) -> str:
    """Run one of nnU-Net's commands, with further environment variables, and return what it printed."""
    script = Path(sys.executable).with_name(command)  # as users do: nnU-Net's own entry points
    return run_fork([script, *arguments], Path.cwd(), {**environment(raw, work), **variables})


def plan_and_preprocess(raw: Path, dataset_id: int, work: Path) -> str:
    """`nnUNetv2_plan_and_preprocess` with the integrity check, for `3d_fullres`; returns what it printed."""
    arguments = ["-d", str(dataset_id), "-c", "3d_fullres", "-np", "1", "--verify_dataset_integrity"]
    return run("nnUNetv2_plan_and_preprocess", *arguments, raw=raw, work=work)


def narrow_network(work: Path) -> None:
    """Give each stage of the network that has been planned a sixteenth of its features, and nothing else.

    nnU-Net plans for 8 GB of graphics memory; in two steps a network learns nothing, however wide it is.
    """
    (file,) = (work / "preprocessed").glob("*/nnUNetPlans.json")
    plans = json.loads(file.read_text())
    network = plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"]
    network["features_per_stage"] = [features // 16 for features in network["features_per_stage"]]
    file.write_text(json.dumps(plans))


def train(raw: Path, dataset_id: int, work: Path, fold: int = 0) -> Path:
    """`nnUNetv2_train` of the smoke trainer on the CPU, validation included; returns the model's folder."""
    arguments = [str(dataset_id), "3d_fullres", str(fold), "-tr", SMOKE, "-device", "cpu"]
    run("nnUNetv2_train", *arguments, raw=raw, work=work, nnUNet_n_proc_DA="0")  # no helper process; 0 breaks planning
    (folder,) = (work / "results").glob(f"Dataset{dataset_id:03d}_*/{SMOKE}__nnUNetPlans__3d_fullres")
    return folder


def write_dataset(
    raw: Path, name: str, cases: Mapping[str, tuple[Volume, np.ndarray]], labels: Mapping[str, int]
) -> Path:
    """Write a raw dataset of CTs and their label maps."""
    folder = raw / name
    for case, (volume, label) in cases.items():
        write_volume(volume, folder / "imagesTr" / f"{case}_0000.nii.gz")
        write_volume(Volume(label.astype(np.uint8), volume.geometry), folder / "labelsTr" / f"{case}.nii.gz")
    about = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **labels},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def bare_model(folder: Path, labels=None, weights=("fold_0/checkpoint_final.pth",), **about) -> Path:
    """A folder that looks like a model; its weights are empty files."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = {"background": 0, "liver": 1} if labels is None else labels
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": labels, **about}))
    (folder / "plans.json").write_text(json.dumps({"image_reader_writer": "SimpleITKIO"}))
    for name in weights:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    return folder


def threshold_model(
    folder: Path,
    *,
    threshold_hu: float = 80.0,
    spacing_mm: Sequence[float] = (5.0, 5.0, 5.0),
    shift: Sequence[int] = (0, 0, 0),
    labels: Mapping[str, int | list[int]] | None = None,
    channel: int = 1,
    regions_class_order: Sequence[int] | None = None,
    reader: str = "SimpleITKIO",
    folds: Sequence[str] = ("0",),
    checkpoint: str = "checkpoint_final.pth",
    trainer: str = "nnUNetTrainer",
) -> Path:
    """A model folder in nnU-Net's format whose network calls what is above a threshold one label, and nothing another.

    The network is nnU-Net's PlainConvUNet with neither norm nor nonlinearity: the image goes through the skip alone.

    Parameters
    ----------
    threshold_hu
        What is brighter is labelled.
    spacing_mm
        Spacing that the model works at (z, y, x).
    shift
        Voxels (z, y, x), -1 to 1, by which the answer is moved in the array that the network sees.
    labels, regions_class_order
        As in dataset.json, without the background.
    channel
        Output of the network that is the thresholded one; others are never chosen.
    reader
        The class that nnU-Net would read images with.
    folds, checkpoint, trainer
        Weights are written once for each fold, under this name, as of this trainer.
    """
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    dataset = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **(labels or {"liver": 1})},
        "numTraining": 1,
        "file_ending": ".nii.gz",
    }
    if regions_class_order:
        dataset["regions_class_order"] = list(regions_class_order)
    plans = _plans(spacing_mm, reader)
    manager = PlansManager(plans)
    heads = manager.get_label_manager(dataset).num_segmentation_heads
    network = nnUNetTrainer.build_network_architecture(
        manager, manager.get_configuration("3d_fullres"), 1, heads, enable_deep_supervision=False
    )
    moved = tuple(1 - s for s in shift)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.encoder.stages[0][0].convs[0].conv.weight[(0, 0, *moved)] = 1
        network.decoder.stages[0].convs[0].conv.weight[0, 1, 1, 1, 1] = 1  # of (upsampled, skip), the skip
        layer = network.decoder.seg_layers[0]
        layer.bias[:] = -100
        if not regions_class_order:
            layer.bias[0] = 0
        layer.weight[channel] = 1
        layer.bias[channel] = -threshold_hu / 100
    weights = {
        "network_weights": network.state_dict(),
        "init_args": {"configuration": "3d_fullres"},
        "trainer_name": trainer,
        "inference_allowed_mirroring_axes": None,
    }
    for fold in folds:
        (folder / f"fold_{fold}").mkdir(parents=True)
        torch.save(weights, folder / f"fold_{fold}" / checkpoint)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    return folder


def _plans(spacing_mm: Sequence[float], reader: str) -> dict:
    """Plans of the threshold model: CT normalisation that divides HU by 100, linear resampling, a tiny network."""
    resampling = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": False}
    return {
        "dataset_name": "Dataset900_Threshold",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": reader,
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            "0": {"mean": 0.0, "std": 100.0, "percentile_00_5": -1000.0, "percentile_99_5": 1000.0}
        },
        "configurations": {
            "3d_fullres": {
                "data_identifier": "nnUNetPlans_3d_fullres",
                "preprocessor_name": "DefaultPreprocessor",
                "batch_size": 2,
                "patch_size": [24, 32, 32],
                "spacing": list(spacing_mm),
                "normalization_schemes": ["CTNormalization"],
                "use_mask_for_norm": [False],
                "resampling_fn_data": "resample_data_or_seg_to_shape",
                "resampling_fn_data_kwargs": resampling,
                "resampling_fn_seg": "resample_data_or_seg_to_shape",
                "resampling_fn_seg_kwargs": {**resampling, "is_seg": True},
                "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
                "resampling_fn_probabilities_kwargs": resampling,
                "architecture": {
                    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                    "arch_kwargs": {
                        "n_stages": 2,
                        "features_per_stage": [1, 1],
                        "conv_op": "torch.nn.modules.conv.Conv3d",
                        "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
                        "strides": [[1, 1, 1], [2, 2, 2]],
                        "n_conv_per_stage": [1, 1],
                        "n_conv_per_stage_decoder": [1],
                        "conv_bias": True,
                        "norm_op": None,
                        "norm_op_kwargs": None,
                        "dropout_op": None,
                        "dropout_op_kwargs": None,
                        "nonlin": None,
                        "nonlin_kwargs": None,
                    },
                    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
                },
            }
        },
    }
