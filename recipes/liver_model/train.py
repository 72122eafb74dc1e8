"""Planning and training by nnU-Net v2: its planner and its trainer, with a small network.

nnU-Net reads its folders from the environment when it is imported, so both steps run in processes of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tumorgen.errors import TumorgenError

from .settings import Setting

DATASET_ID = 790
DATASET = f"Dataset{DATASET_ID}_TumorgenLiver"
TRAINER = "nnUNetTrainerTumorgenLiver"
PLANS = "nnUNetPlans"
CONFIGURATION = "3d_fullres"
CHECKPOINT = "checkpoint_final.pth"
TRAINERS = Path(__file__).parent / "trainers"
# What the network sees, instead of the percentiles of the livers of this data set: fat, soft tissue and contrast.
WINDOW = {"percentile_00_5": -250.0, "percentile_99_5": 350.0, "mean": 40.0, "std": 110.0}


def environment(work: Path, setting: Setting, jobs: int) -> dict[str, str]:
    """Environment of nnU-Net's processes, with all folders below `work`."""
    return {
        **os.environ,
        "nnUNet_raw": str(work / "nnUNet_raw"),
        "nnUNet_preprocessed": str(work / "nnUNet_preprocessed"),
        "nnUNet_results": str(work / "nnUNet_results"),
        "nnUNet_extTrainer": str(TRAINERS),
        "nnUNet_def_n_proc": str(jobs),
        "TUMORGEN_LIVER_EPOCHS": str(setting.epochs),
        "TUMORGEN_LIVER_ITERATIONS": str(setting.iterations),
        "TUMORGEN_LIVER_MINUTES": str(setting.minutes),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }


def plans_of(plans: dict[str, Any], setting: Setting) -> dict[str, Any]:
    """nnU-Net's plans with the recipe's patch, batch, window and small network, and only the trained configuration.

    The planner's own choice for 8 GB of graphics memory would be a network of 30 million weights and more.
    """
    own = plans["configurations"][CONFIGURATION]
    stages = len(setting.features)
    architecture = {
        **own["architecture"],
        "arch_kwargs": {
            **own["architecture"]["arch_kwargs"],
            "n_stages": stages,
            "features_per_stage": list(setting.features),
            "kernel_sizes": [[3, 3, 3]] * stages,
            "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
            "n_conv_per_stage": [2] * stages,
            "n_conv_per_stage_decoder": [2] * (stages - 1),
        },
    }
    changed = {**own, "patch_size": [setting.patch] * 3, "batch_size": setting.batch, "architecture": architecture}
    channels = plans["foreground_intensity_properties_per_channel"]
    return {
        **plans,
        "configurations": {CONFIGURATION: changed},
        "foreground_intensity_properties_per_channel": {name: {**own, **WINDOW} for name, own in channels.items()},
    }


def plan_and_preprocess(setting: Setting, jobs: int) -> None:
    """Fingerprint, plans and preprocessing by nnU-Net, in the folders that the environment names."""
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprint_dataset, preprocess_dataset
    from nnunetv2.preprocessing.resampling.resample_torch import resample_torch_fornnunet

    linear = {"force_separate_z": False, "memefficient_seg_resampling": False}

    class Planner(ExperimentPlanner):  # type: ignore[misc]
        """Linear resampling by torch: nnU-Net's cubic one takes a minute for a large scan on two cores."""

        def determine_resampling(self, *_: Any, **__: Any) -> tuple[Any, ...]:
            given = resample_torch_fornnunet
            return given, {"is_seg": False, **linear}, given, {"is_seg": True, **linear}

        def determine_segmentation_softmax_export_fn(self, *_: Any, **__: Any) -> tuple[Any, ...]:
            return resample_torch_fornnunet, {"is_seg": False, **linear}

    extract_fingerprint_dataset(DATASET_ID, num_processes=jobs, check_dataset_integrity=True)
    planner = Planner(DATASET_ID, overwrite_target_spacing=[setting.spacing_mm] * 3, suppress_transpose=True)
    planner.plan_experiment()
    file = Path(os.environ["nnUNet_preprocessed"]) / DATASET / f"{PLANS}.json"
    plans = plans_of(json.loads(file.read_text(encoding="utf-8")), setting)
    file.write_text(json.dumps(plans, indent=1) + "\n", encoding="utf-8")
    preprocess_dataset(DATASET_ID, PLANS, (CONFIGURATION,), num_processes=(jobs,))


def prepare(work: Path, setting_name: str, setting: Setting, jobs: int) -> None:
    """Plan and preprocess, once for all folds.

    Raises
    ------
    TumorgenError
        nnU-Net failed; its output has gone to the terminal.
    """
    ready = work / "nnUNet_preprocessed" / DATASET / "preprocessed"
    if not ready.is_file():
        module = __package__ or "liver_model"
        _run([sys.executable, "-m", module, "plan", setting_name, str(jobs)], environment(work, setting, jobs))
        ready.touch()


def train(work: Path, fold: int, setting: Setting, device: str, jobs: int, base: Path | None = None) -> Path:
    """Train a fold of the dataset that `prepare` made; existing results are kept, an interrupted training continues.

    Parameters
    ----------
    work, fold, setting, device, jobs
        The work folder; the fold's place in `splits_final.json`; the setting; the device; the number of processes.
    base
        A trained fold from whose weights to continue, for the setting's `tuning_minutes`; without it they are drawn.

    Returns
    -------
    Path
        nnU-Net's folder of the fold, with its `checkpoint_final.pth`.

    Raises
    ------
    TumorgenError
        nnU-Net failed; its output has gone to the terminal.
    """
    model = work / "nnUNet_results" / DATASET / f"{TRAINER}__{PLANS}__{CONFIGURATION}" / f"fold_{fold}"
    if (model / CHECKPOINT).is_file():
        return model
    around = environment(work, setting, jobs)
    around["nnUNet_n_proc_DA"] = "0" if device == "cpu" else str(max(2, jobs - 1))  # 0 would break the planning
    if base:
        around |= {"TUMORGEN_LIVER_BASE": str(base / CHECKPOINT), "TUMORGEN_LIVER_MINUTES": str(setting.tuning_minutes)}
    begun = any((model / f"checkpoint_{kind}.pth").is_file() for kind in ("latest", "best"))
    command = [str(Path(sys.executable).with_name("nnUNetv2_train")), str(DATASET_ID), CONFIGURATION, str(fold)]
    _run([*command, "-tr", TRAINER, "-device", device, *(["--c"] if begun else [])], around)
    return model


def _run(command: list[str], around: dict[str, str]) -> None:
    done = subprocess.run(command, env=around, check=False)  # noqa: S603  # nnU-Net's commands and our own
    if done.returncode:
        raise TumorgenError(f"{Path(command[0]).name} {' '.join(command[1:])}: failed, see above")
