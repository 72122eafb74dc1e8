"""nnU-Net models on disk: which folders are one, and what a model knows."""

import shutil
from pathlib import Path

import pytest
from nnunet_runs import bare_model

from tumorgen.errors import TumorgenError
from tumorgen.liver.models import find_model, open_model


@pytest.mark.parametrize(
    ("weights", "checkpoint", "folds"),
    [
        (["fold_0/checkpoint_final.pth"], "checkpoint_final.pth", ("0",)),
        ([f"fold_{i}/checkpoint_final.pth" for i in (10, 2, 0)], "checkpoint_final.pth", ("0", "2", "10")),
        (["fold_all/checkpoint_final.pth"], "checkpoint_final.pth", ("all",)),
        (["fold_all/checkpoint_final.pth", "fold_1/checkpoint_final.pth"], "checkpoint_final.pth", ("1",)),
        (["fold_0/checkpoint_best.pth"], "checkpoint_best.pth", ("0",)),
        (["fold_0/checkpoint_final.pth", "fold_1/checkpoint_best.pth"], "checkpoint_final.pth", ("0",)),
    ],
)
def test_weights_that_are_there_are_found(tmp_path, weights, checkpoint, folds):
    found = find_model(bare_model(tmp_path, weights=weights))
    assert (found.checkpoint, found.folds) == (checkpoint, folds)


def test_a_folder_around_one_model_will_do(tmp_path):
    folder = bare_model(tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    (tmp_path / "inference_instance").mkdir()
    assert find_model(tmp_path).folder == folder


def test_a_fold_can_be_chosen(tmp_path):
    folder = bare_model(tmp_path, weights=[f"fold_{i}/checkpoint_final.pth" for i in range(5)])
    assert find_model(folder, ["3"]).folds == ("3",)
    with pytest.raises(TumorgenError, match="no weights of fold 7; there are 0, 1, 2, 3, 4"):
        find_model(folder, ["7"])


def test_so_will_one_around_its_dataset(tmp_path):
    folder = bare_model(tmp_path / "results" / "Dataset003_Liver" / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    assert find_model(tmp_path / "results").folder == folder
    bare_model(tmp_path / "results" / "Dataset004_Spleen" / "nnUNetTrainer__nnUNetPlans__3d_fullres")
    with pytest.raises(TumorgenError, match=r"several models; give one of Dataset003_Liver/.*, Dataset004_Spleen/"):
        find_model(tmp_path / "results")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f.mkdir(), "not an nnU-Net v2 model; a model is the folder with plans.json"),
        (lambda f: bare_model(f, weights=[]), "no weights; looked for fold_"),
        (lambda f: [bare_model(f / f"a__b__{c}") for c in "cd"], "holds several models; give one of a__b__c, a__b__d"),
        (lambda f: bare_model(f, channel_names={"0": "T1", "1": "T2"}), "takes 2 images of a patient"),
        (lambda f: bare_model(f, labels={"0": "background", "1": "liver"}), "labels are not those of nnU-Net v2"),
        (lambda f: bare_model(f, labels=["liver"]), "labels are not those of nnU-Net v2"),
        (lambda f: (bare_model(f) / "dataset.json").write_text("{"), "dataset.json: cannot be read"),
        (lambda f: (bare_model(f) / "plans.json").write_text("[]"), "plans.json: is not as nnU-Net writes it"),
    ],
)
def test_what_is_no_model_is_said(tmp_path, make, message):
    make(tmp_path / "model")
    with pytest.raises(TumorgenError, match=message):
        find_model(tmp_path / "model")


LABELS = {"background": 0, "Spleen": 1, "Liver": 5, "liver_region": [5, 6], "ignore": 7}


@pytest.mark.parametrize(
    ("names", "values"), [(["liver"], (5,)), (["LIVER_region"], (5, 6)), (["spleen", "liver"], (1, 5))]
)
def test_labels_are_found_by_name(tmp_path, names, values):
    assert find_model(bare_model(tmp_path, labels=LABELS)).label_values(names) == values


@pytest.mark.parametrize("name", ["kidney", "background", "ignore"])
def test_a_label_that_is_not_there_is_answered_with_those_that_are(tmp_path, name):
    with pytest.raises(TumorgenError, match=f"no label '{name}'; it has Spleen, Liver, liver_region"):
        find_model(bare_model(tmp_path, labels=LABELS)).label_values([name])


def test_models_that_reorient_are_known_by_their_plans(tmp_path):
    folder = bare_model(tmp_path)
    assert not find_model(folder).reoriented
    (folder / "plans.json").write_text('{"image_reader_writer": "NibabelIOWithReorient"}')
    assert find_model(folder).reoriented


def test_what_is_wrong_with_a_model_in_a_zip_names_the_zip(tmp_path):
    """Not the folder that it was unpacked to, which is gone when the user reads the message."""
    bare_model(tmp_path / "model")
    given = Path(shutil.make_archive(str(tmp_path / "given"), "zip", tmp_path / "model"))
    with pytest.raises(TumorgenError) as caught, open_model(given, ["kidney"]):
        pass
    assert str(caught.value).startswith(f"{given}: the model has no label 'kidney'")
