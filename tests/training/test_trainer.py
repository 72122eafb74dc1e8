"""`nnUNetTrainerTumorgen` in nnU-Net itself: found, its patches, its seeds; and the whole way from scans to a model."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from nnunet_runs import TRAINERS, _plans, plan_and_preprocess, run
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.labels import TUMOR
from tumorgen.training.frame import Normalization

SPACING = (4.0, 3.0, 3.0)
NAME = "Dataset502_HealthyLiver"
LABELS = {"background": 0, "liver": 1, "tumor": 2}
PATCH = [24, 32, 32]

pytestmark = [
    pytest.mark.longest,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]


def trainer_folder() -> str:
    return CliRunner().invoke(main, ["trainer-path"]).stdout.strip()


@pytest.fixture(scope="module")
def preprocessed(tmp_path_factory) -> Path:
    """What nnU-Net's planner and preprocessor make of three balls of liver, without running either."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    folder = tmp_path_factory.mktemp("preprocessed") / NAME
    cases = folder / "nnUNetPlans_3d_fullres"
    cases.mkdir(parents=True)
    plans = _plans(SPACING, "SimpleITKIO")
    plans["dataset_name"] = NAME
    plans["configurations"]["3d_fullres"] |= {"patch_size": PATCH, "batch_dice": False}
    properties = {"mean": 95.0, "std": 20.0, "percentile_00_5": -20.0, "percentile_99_5": 170.0}
    plans["foreground_intensity_properties_per_channel"] = {"0": properties}
    for number in range(3):
        volume, liver = ball_volume(SPACING, seed=number)
        data = Normalization.of(properties).to_values(volume.array)[None]
        seg = liver[None].astype(np.int16)
        places = np.argwhere(seg == 1)
        about = {"spacing": list(SPACING), "class_locations": {1: places[:: len(places) // 500], 2: []}}
        sizes = {"chunks": (1, 16, 16, 16), "blocks": (1, 8, 8, 8)}
        nnUNetDatasetBlosc2.save_case(data, seg, about, str(cases / f"case_{number}"), **sizes)
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": LABELS, "numTraining": 3}))
    (folder / "splits_final.json").write_text(json.dumps([{"train": ["case_0", "case_1"], "val": ["case_2"]}]))
    return folder


@pytest.fixture
def make(preprocessed, tmp_path, monkeypatch):
    """Makes a trainer as `nnUNetv2_train` does, with environment variables."""

    def trainer(configuration: str = "3d_fullres", workers: int = 0, **variables: str):
        from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

        monkeypatch.setenv("nnUNet_preprocessed", str(preprocessed.parent))
        monkeypatch.setenv("nnUNet_results", str(tmp_path / "results"))
        monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
        monkeypatch.setenv("nnUNet_extTrainer", trainer_folder())
        monkeypatch.setenv("nnUNet_n_proc_DA", str(workers))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        import torch

        plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
        dataset = json.loads((preprocessed / "dataset.json").read_text())
        found = recursive_find_trainer_class_by_name("nnUNetTrainerTumorgen")
        made = found({**plans, "continue_training": False}, configuration, 0, dataset, torch.device("cpu"))
        made.batch_size = plans["configurations"][configuration]["batch_size"]  # as `initialize` does
        return made

    return trainer


def batches(loader, count: int) -> list[dict]:
    """Some batches of a loader, which is then closed."""
    found = [next(loader) for _ in range(count)]
    if hasattr(loader, "_finish"):
        loader._finish()
    return found


def label_of(batch: dict) -> np.ndarray:
    target = batch["target"]
    return np.asarray(target[0] if isinstance(target, list) else target)


def test_patches_have_tumours_and_the_plans_shape(make):
    training, validation = make(TUMORGEN_SEED="1").get_dataloaders()
    for loader in (training, validation):
        found = batches(loader, 6)
        labels = np.concatenate([label_of(batch) for batch in found])
        assert labels.shape[1:] == (1, *PATCH)
        assert set(np.unique(labels)) <= {0, 1, 2}
        # Half of a batch of two is centred on foreground, half of that on a tumour: some of six, if few seeds are bad.
        assert (labels == TUMOR).any()


def test_oversampling_centres_patches_on_tumours(make):
    trainer = make(TUMORGEN_SEED="1")
    trainer.oversample_foreground_percent = 1.0
    trainer.batch_size = 2
    _, validation = trainer.get_dataloaders()
    labels = np.concatenate([label_of(batch) for batch in batches(validation, 20)])
    z, y, x = (slice(n // 2 - 1, n // 2 + 2) for n in PATCH)
    at_center = (labels[:, 0, z, y, x] == TUMOR).any(axis=(1, 2, 3)).mean()
    assert at_center > 0.25  # half of them are meant to be; nnU-Net chooses among liver and tumour


def same(first: list[dict], again: list[dict]) -> bool:
    return all(
        np.array_equal(np.asarray(a["data"]), np.asarray(b["data"])) and np.array_equal(label_of(a), label_of(b))
        for a, b in zip(first, again, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 1])
def test_one_worker_and_a_seed_give_the_same_patches(make, workers):
    def run_once(seed: str):
        training, validation = make(workers=workers, TUMORGEN_SEED=seed).get_dataloaders()
        return batches(training, 2) + batches(validation, 2)

    first, again, other = run_once("4"), run_once("4"), run_once("5")
    assert same(first, again)
    assert not same(first, other)


def test_many_workers_give_the_same_distribution(make):
    """Two workers against none: shares of tumour and of liver in a patch, and how dark the tumour is.

    Two-sample tests, each at a level of 1 in 100,000, since which worker is first is chance whatever the seed. No patch
    comes twice: neither worker repeats the other or itself.
    """
    from scipy import stats

    def patches(workers: int) -> tuple[np.ndarray, np.ndarray]:
        training, validation = make(workers=workers, TUMORGEN_SEED="7").get_dataloaders()
        batches(validation, 1)
        found = batches(training, 30)
        data = np.concatenate([np.asarray(batch["data"]) for batch in found])
        return data, np.concatenate([label_of(batch) for batch in found])

    def statistics(data: np.ndarray, label: np.ndarray) -> dict[str, list[float]]:
        both = [(d[k == TUMOR].mean(), d[k == 1].mean()) for d, k in zip(data, label, strict=True)
                if (k == TUMOR).any() and (k == 1).any()]  # fmt: skip
        return {
            "tumour": list((label == TUMOR).mean(axis=(1, 2, 3, 4))),
            "liver": list((label == 1).mean(axis=(1, 2, 3, 4))),
            "contrast": [tumor - liver for tumor, liver in both],
        }

    one, two = patches(0), patches(2)
    seen = {patch.tobytes() for data, _ in (one, two) for patch in data}
    assert len(seen) == len(one[0]) + len(two[0]), "the workers repeat each other"
    expected, got = statistics(*one), statistics(*two)
    assert min(len(expected["contrast"]), len(got["contrast"])) > 20
    for name in expected:
        assert stats.ks_2samp(expected[name], got[name]).pvalue > 1e-5, name


def test_settings_are_those_of_synth(make, tmp_path):
    (tmp_path / "none.toml").write_text('sizes = ["large"]\n')
    training, _ = make(TUMORGEN_SETTINGS=str(tmp_path / "none.toml")).get_tr_and_val_datasets()
    data, _, _, _ = training.load_case("case_0")
    assert {tumor.size_class for tumor in data._read.__self__.plan.tumors} == {"large"}


def test_the_recipe_is_lifelike_unless_another_is_named_and_settings_lie_on_top_of_it(make, tmp_path):
    def drawn(**variables: str):
        training, _ = make(**variables).get_tr_and_val_datasets()
        return training.load_case("case_0")[0]._read.__self__.plan

    assert {tumor.texture_model for tumor in drawn().tumors} == {"scan"}
    plan = drawn(TUMORGEN_RECIPE="turing")
    assert {tumor.texture_model for tumor in plan.tumors} == {"paper"}
    assert all(tumor.capsule_hu for tumor in plan.tumors)
    (tmp_path / "none.toml").write_text("[capsule]\nenabled = false\n")
    plan = drawn(TUMORGEN_RECIPE="turing", TUMORGEN_SETTINGS=str(tmp_path / "none.toml"))
    assert all(tumor.mass_effect_percent and not tumor.capsule_hu for tumor in plan.tumors)


def test_what_is_wrong_is_one_line(make, tmp_path):
    with pytest.raises(SystemExit, match=r"missing.toml: cannot be read"):
        make(TUMORGEN_SETTINGS=str(tmp_path / "missing.toml")).get_tr_and_val_datasets()
    with pytest.raises(SystemExit, match="unknown recipe 'x'; choose from lifelike, "):
        make(TUMORGEN_SETTINGS="", TUMORGEN_RECIPE="x").get_tr_and_val_datasets()
    with pytest.raises(SystemExit, match="TUMORGEN_SEED is 'x'"):
        make(TUMORGEN_SETTINGS="", TUMORGEN_RECIPE="", TUMORGEN_SEED="x").get_tr_and_val_datasets()


def test_a_cascade_is_refused_in_one_line(make):
    trainer = make()
    trainer.plans_manager.plans["configurations"]["3d_fullres"]["previous_stage"] = "3d_lowres"
    with pytest.raises(SystemExit, match=r"^nnUNetTrainerTumorgen: 3d_fullres is the second stage of a cascade"):
        trainer.get_tr_and_val_datasets()


def test_the_final_validation_says_what_its_figures_are_of(make, monkeypatch):
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    class Annotated(nnUNetDatasetBlosc2):
        def load_case(self, identifier):
            *voxels, properties = super().load_case(identifier)
            return *voxels, {**properties, "class_locations": {1: [], TUMOR: [(0, 1, 1, 1)]}}

    trainer, said = make(), []
    monkeypatch.setattr(nnUNetTrainer, "perform_actual_validation", lambda *_: None)
    monkeypatch.setattr(trainer, "print_to_log_file", lambda *words, **_: said.append(str(words[0])))
    for trainer.dataset_class, told in (
        (nnUNetDatasetBlosc2, "healthy: its tumour figures count false positives only"),
        (Annotated, "without synthetic tumours; 1 of 1 have annotated ones"),
    ):
        trainer.perform_actual_validation()
        assert told in said[-1]


@pytest.mark.slow
def test_from_healthy_scans_to_a_trained_model(tmp_path, monkeypatch):
    """Everything by nnU-Net's own commands; only the network and the patch are made small after planning."""
    monkeypatch.chdir(tmp_path)
    made = CliRunner().invoke(
        main, ["phantom", "demo", "--count", "2", "--shape", "32", "48", "56", "--spacing", "7", "7", "7"]
    )
    assert made.exit_code == 0, made.output
    written = CliRunner().invoke(
        main, ["healthy", "--images", "demo/images", "--masks", "demo/masks", "--output", "raw", "--jobs", "1"]
    )
    assert written.exit_code == 0, written.output
    raw, work = tmp_path / "raw", tmp_path / "work"
    plan_and_preprocess(raw, 502, work)
    folder = work / "preprocessed" / NAME
    splits = json.loads((folder / "splits_final.json").read_text())
    assert splits == json.loads((raw / NAME / "splits_final.json").read_text()), "nnU-Net has not taken the split"
    for case in folder.glob("nnUNetPlans_3d_fullres/*.pkl"):
        places = pickle.loads(case.read_bytes())["class_locations"]
        assert len(places[1]) > 0
        assert len(places[2]) == 0, "no voxel of a healthy scan is a tumour"

    plans = json.loads((folder / "nnUNetPlans.json").read_text())
    tiny = _plans(plans["configurations"]["3d_fullres"]["spacing"], "SimpleITKIO")["configurations"]["3d_fullres"]
    plans["configurations"]["3d_fullres"] |= {key: tiny[key] for key in ("architecture", "patch_size")}
    (folder / "nnUNetPlans.json").write_text(json.dumps(plans))
    arguments = ["502", "3d_fullres", "0", "-tr", "nnUNetTrainerTumorgenSmoke", "-device", "cpu"]
    trainers = os.pathsep.join((trainer_folder(), str(TRAINERS)))
    told = run(
        "nnUNetv2_train", *arguments, raw=raw, work=work, nnUNet_n_proc_DA="0", TUMORGEN_SEED="1",
        nnUNet_extTrainer=trainers,
    )  # fmt: skip
    assert "tumorgen: HU are clipped to" in told
    model = work / "results" / NAME / "nnUNetTrainerTumorgenSmoke__nnUNetPlans__3d_fullres"
    assert (model / "fold_0" / "checkpoint_final.pth").is_file()
    assert [path.name for path in (model / "fold_0" / "validation").glob("*.nii.gz")] == (
        [f"{case}.nii.gz" for case in splits[0]["val"]]
    )
