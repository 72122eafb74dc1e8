"""Plans, export and measurement; and the whole recipe, small: data to model folder to `liver-mask`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from forks import run_fork
from nnunet_runs import threshold_model

from liver_model.cases import Scene
from liver_model.export import BASE_SHARE, between, export, halved
from liver_model.labels import Tissue
from liver_model.leaks import Leaks
from liver_model.measure import MARKERS, Score, put, score, table
from liver_model.settings import SETTINGS
from liver_model.train import TRAINERS, _run, plans_of
from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.liver.models import find_model
from tumorgen.liver.network import load_model
from tumorgen.phantom.folder import write_phantoms

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trained(tmp_path):
    return threshold_model(
        tmp_path / "trained", spacing_mm=(3.0, 3.0, 3.0), threshold_hu=50
    )  # half precision holds that


def test_an_exported_model_answers_as_the_trained_one_with_half_the_bits(trained, tmp_path):
    size = export(trained / "fold_0", tmp_path / "model")
    assert size < 100_000
    weights = torch.load(tmp_path / "model/fold_0/checkpoint_final.pth", weights_only=True)["network_weights"]
    assert {value.dtype for value in weights.values()} == {torch.float16}
    hu = np.random.default_rng(0).normal(80, 60, (20, 24, 24)).astype(np.float32)
    ct = Volume(hu, Geometry(hu.shape, (3.0, 3.0, 3.0)))
    before, after = (load_model(find_model(folder), device="cpu")(ct) for folder in (trained, tmp_path / "model"))
    assert np.array_equal(before, after)
    assert 0.2 < after.mean() < 0.8


def test_what_has_several_names_is_stored_once():
    one = torch.ones(1000)
    weights = halved({"a": one, "b": one, "c": torch.zeros(1000)})
    assert weights["a"].data_ptr() == weights["b"].data_ptr() != weights["c"].data_ptr()


def test_checksums_are_those_of_the_files(trained, tmp_path):
    export(trained / "fold_0", tmp_path / "model")
    lines = (tmp_path / "model" / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 3
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "model" / name).read_bytes()).hexdigest() == digest


def test_weights_beyond_half_precision_are_refused(trained, tmp_path):
    path = trained / "fold_0" / "checkpoint_final.pth"
    checkpoint = torch.load(path, weights_only=False)
    next(iter(checkpoint["network_weights"].values())).fill_(1e6)
    torch.save(checkpoint, path)
    with pytest.raises(TumorgenError, match="half precision"):
        export(trained / "fold_0", tmp_path / "model")


def test_what_is_exported_lies_between_the_base_and_what_continued_from_it(trained, tmp_path):
    once, other = torch.full((1000,), 3.0), torch.full((1000,), 1.0)
    mean = between({"a": once, "b": once}, {"a": other, "b": other})
    assert torch.equal(mean["a"], torch.full((1000,), 3.0 - 2.0 * BASE_SHARE))
    assert mean["a"].data_ptr() == mean["b"].data_ptr()
    export(trained / "fold_0", tmp_path / "alone")
    export(trained / "fold_0", tmp_path / "mean", trained / "fold_0")
    alone, same = (
        torch.load(tmp_path / name / "fold_0" / "checkpoint_final.pth", weights_only=True)["network_weights"]
        for name in ("alone", "mean")
    )
    assert all(torch.equal(alone[name], same[name]) for name in alone)


def test_a_training_that_has_not_ended_is_not_exported(tmp_path):
    with pytest.raises(TumorgenError, match="has not ended"):
        export(tmp_path, tmp_path / "model")


@pytest.mark.parametrize("name", SETTINGS)
def test_plans_make_a_network_that_ships(name, trained):
    """At most 12 MB in half precision, and patches that the strides divide."""
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    setting = SETTINGS[name]
    plans = plans_of(json.loads((trained / "plans.json").read_text()), setting)
    manager = PlansManager(plans)
    network = nnUNetTrainer.build_network_architecture(
        manager, manager.get_configuration("3d_fullres"), 1, 2, enable_deep_supervision=False
    )
    assert 2 * sum(parameter.numel() for parameter in network.parameters()) < 11_500_000
    assert setting.patch % 2 ** (len(setting.features) - 1) == 0
    properties = plans["foreground_intensity_properties_per_channel"]["0"]
    assert (properties["percentile_00_5"], properties["percentile_99_5"]) == (-250, 350)


def scene(liver: np.ndarray, tissues: np.ndarray | None = None) -> Scene:
    volume = Volume(liver, Geometry(liver.shape, (2.0, 2.0, 2.0)))
    return Scene(volume, volume, tissues)


def test_scores_of_a_mask_that_is_a_voxel_larger():
    truth = np.zeros((20, 20, 20), bool)
    truth[5:15, 5:15, 5:15] = True
    found = np.zeros_like(truth)
    found[5:15, 5:15, 5:16] = True
    made = score(scene(truth), found, "cube")
    assert made.dsc == pytest.approx(2000 / 2100)
    assert made.nsd == 1  # 2 mm are within 3
    assert made.volume_error_percent == pytest.approx(10)
    assert made.leaks.ml == 0


def test_what_runs_on_is_counted_beyond_5_mm_and_by_neighbour():
    truth = np.zeros((20, 20, 40), bool)
    truth[5:15, 5:15, 5:15] = True
    tissues = np.where(truth, Tissue.LIVER, Tissue.FAT).astype(np.uint8)
    tissues[:, :, 20:30] = Tissue.MYOCARDIUM
    tissues[:, :, 30:] = Tissue.SPLEEN
    found = truth.copy()
    found[5:15, 5:15, 5:33] = True
    made = score(scene(truth, tissues), found, "block").leaks
    ml = 0.8  # of 100 voxels of 2 mm
    assert made.into["heart"] == pytest.approx(10 * ml)
    assert made.into["spleen"] == pytest.approx(3 * ml)
    assert made.ml == pytest.approx(16 * ml)  # from the third voxel beyond the liver on, at 6 mm
    assert made.named == "heart 8, spleen 2"


def test_where_organs_are_not_known_leaks_are_one_number():
    truth = np.zeros((20, 20, 20), bool)
    truth[5:15, 5:15, 5:15] = True
    made = score(scene(truth), np.ones_like(truth), "all").leaks
    assert made.ml > 0
    assert made.named == ""


def test_the_table_goes_between_the_markers_and_nowhere_else(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKERS[0]}\nold\n{MARKERS[1]}\nafter\n")
    put(table([Score("scan", 0.5, 0.25, -10.0, Leaks(12.3, {"heart": 11.6, "spleen": 0.2}))]), page)
    text = page.read_text()
    assert text.startswith(f"before\n{MARKERS[0]}\n| case |")
    assert "| scan | 0.500 | 0.250 | -10.0 % | 12 | heart 12 |" in text
    assert "old" not in text
    assert text.endswith(f"{MARKERS[1]}\nafter\n")
    page.write_text("nothing")
    with pytest.raises(TumorgenError, match="no <!-- measured"):
        put("", page)


def test_the_page_has_a_place_for_what_is_measured():
    text = (ROOT / "docs" / "liver-model.md").read_text(encoding="utf-8")
    assert text.index(MARKERS[0]) < text.index(MARKERS[1])


def test_of_some_patches_a_slab_is_left_and_no_liver_beside_it(monkeypatch):
    monkeypatch.syspath_prepend(TRAINERS)
    from nnUNetTrainerTumorgenLiver import SLABS, THICKEST, nnUNetTrainerTumorgenLiver

    steps = nnUNetTrainerTumorgenLiver.get_training_transforms((20, 8, 8), (0, 0), [[1, 1, 1], [0.5] * 3], (), False)
    slab = next(step for step in steps.transforms if "Slab" in repr(step))
    assert slab.apply_probability == SLABS
    for _ in range(20):
        made = slab.transform(image=torch.ones(1, 20, 8, 8), segmentation=torch.ones(1, 20, 8, 8, dtype=torch.int16))
        kept = made["image"][0, :, 0, 0] > 0
        assert 1 <= kept.sum() <= 20 * THICKEST
        assert torch.equal(made["segmentation"][0, :, 0, 0] > 0, kept)
        assert np.diff(np.flatnonzero(kept)).max(initial=1) == 1
    names = [type(step).__name__ for step in steps.transforms]
    assert names.index("RandomTransform", names.index("RemoveLabelTransform")) < names.index(
        "DownsampleSegForDSTransform"
    )


def test_a_command_that_fails_is_told_and_has_the_environment(tmp_path):
    _run([sys.executable, "-c", "import os; raise SystemExit(os.environ['CODE'] != '7')"], {"CODE": "7"})
    with pytest.raises(TumorgenError, match=r"^false --loud: failed, see above$"):
        _run(["/bin/false", "--loud"], {})


@pytest.mark.slow
def test_the_recipe_makes_a_model_folder_that_liver_mask_runs(tmp_path):
    """Two iterations learn nothing; what is asserted is that every step hands the next what it needs."""
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("recipes", "tests"))
    around = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    write_phantoms(tmp_path / "scans", 1, shape=(24, 48, 52), spacing_mm=(8.0, 6.0, 6.0))
    as_real = tmp_path / "data" / "example_ct"
    as_real.mkdir(parents=True)
    for folder, name in (("images", "ct"), ("masks", "liver")):
        shutil.copy(tmp_path / "scans" / folder / "phantom_000.nii.gz", as_real / f"{name}.nii.gz")
    maps = Path(os.environ.get("TUMORGEN_TEST_DATA", ROOT.parent / "shared" / "data")) / "labels"
    if maps.is_dir():
        (as_real.parent / "labels").mkdir()
        (as_real.parent / "labels" / "btcv").symlink_to(maps / "btcv")
    options = ["--setting", "smoke", "--device", "cpu", "--data", "data", "--work", "work", "--jobs", "1"]

    def run(*command: str | Path) -> str:
        return run_fork(command, tmp_path, around)

    recipe = (Path(__file__).with_name("recipe_in_forks.py"),)
    run(*recipe, "build", *options)
    assert "MB" in run(*recipe, "build", *options)  # nothing is left to train
    (tmp_path / "page.md").write_text("\n".join(MARKERS))
    run(*recipe, "leave-one-out", *options, "--page", "page.md")
    assert "| example_ct, feet first | 0." in (tmp_path / "page.md").read_text()
    assert (tmp_path / "work" / "pictures" / "example_ct.png").is_file()
    tumorgen = Path(sys.executable).with_name("tumorgen")
    run(tumorgen, "liver-mask", "scans/images", "found", "--model", "work/model", "--device", "cpu")
    assert (tmp_path / "found" / "phantom_000.nii.gz").is_file()
