"""That scan, spacing, orientation and labels reach nnU-Net as it wants them.

Most of it runs a real nnU-Net model with a known answer: "liver" is what is brighter than 80 HU (`nnunet_runs`).
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from nnunet_runs import (
    SMOKE,
    TRAINERS,
    bare_model,
    environment,
    narrow_network,
    plan_and_preprocess,
    threshold_model,
    train,
    write_dataset,
)

from tumorgen.cli import main
from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.mask_labels import read_mask
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.liver import network as liver
from tumorgen.liver.devices import pick_device
from tumorgen.liver.models import find_model
from tumorgen.liver.network import load_model
from tumorgen.tables.scans import read_scans

LPS = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
RAS = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, -1.0, 0.0)  # x to the left, y to the feet, z to the back
SAGITTAL = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
TILTED = (0.995004, -0.099833, 0.0, 0.099833, 0.995004, 0.0, 0.0, 0.0, 1.0)
SHAPE = (30, 36, 44)
PLACE = (slice(6, 24), slice(8, 28), slice(10, 34))  # 18 x 20 x 24 voxels


def phantom(spacing=(5.0, 5.0, 5.0), direction=LPS, shape=SHAPE, place=PLACE) -> Volume:
    """Air, body at 30 HU, liver at 120 HU."""
    hu = np.full(shape, -1000, np.int16)
    hu[2:-2, 2:-2, 2:-2] = 30
    hu[place] = 120
    return Volume(hu, Geometry(shape, spacing, (-110.0, -90.0, 40.5), direction))


def truth(volume: Volume) -> np.ndarray:
    return volume.array == 120


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """Brighter than 80 HU is liver, at 5 mm."""
    return threshold_model(tmp_path_factory.mktemp("models") / "nnUNetTrainer__nnUNetPlans__3d_fullres")


# ---- what reaches nnU-Net


@pytest.mark.parametrize("direction", [LPS, RAS, CORONAL, SAGITTAL, TILTED])
def test_turned_is_what_nnunets_own_reader_would_feed(tmp_path, direction):
    from nnunetv2.imageio.nibabel_reader_writer import NibabelIOWithReorient

    rng = np.random.default_rng(0)
    hu = rng.integers(-1000, 1000, (5, 6, 7), dtype=np.int16)
    ct = Volume(hu, Geometry((5, 6, 7), (5.0, 2.0, 1.0), (3.0, -4.0, 5.0), direction))
    write_volume(ct, tmp_path / "ct.nii.gz")
    array, spacing_mm, back = liver._oriented(read_volume(tmp_path / "ct.nii.gz"))
    fed, properties = NibabelIOWithReorient().read_images([str(tmp_path / "ct.nii.gz")])
    np.testing.assert_array_equal(array, fed[0])
    np.testing.assert_allclose(spacing_mm, properties["spacing"])
    np.testing.assert_array_equal(back(array), hu)


def test_turned_is_itks_own_turn():
    ct = phantom((5.0, 2.0, 1.0), CORONAL)
    image = sitk.DICOMOrient(to_image(ct), "RAS")
    array, spacing_mm, _ = liver._oriented(ct)
    np.testing.assert_array_equal(array, sitk.GetArrayFromImage(image))
    np.testing.assert_allclose(spacing_mm, image.GetSpacing()[::-1])


@pytest.mark.parametrize("direction", [LPS, RAS, CORONAL])
def test_the_answer_is_on_the_scans_grid(model, direction):
    ct = phantom(direction=direction)
    found = load_model(find_model(model), device="cpu")(ct)
    assert found.dtype == bool
    np.testing.assert_array_equal(found, truth(ct))


def test_the_scan_may_say_where_the_liver_ends(tmp_path):
    """A model that moves its answer by 5 mm: what the scan shows takes half of that back, where it is asked."""
    model = find_model(threshold_model(tmp_path / "model", shift=(1, 0, 0)))
    ct = phantom(spacing=(2.5, 2.5, 2.5), shape=(60, 72, 80), place=(slice(14, 46), slice(16, 56), slice(20, 68)))
    fitted, own = (load_model(model, device="cpu", fit=fit)(ct) != truth(ct) for fit in (True, False))
    assert fitted.sum() < 0.6 * own.sum()
    np.testing.assert_array_equal(load_model(model, device="cpu")(ct) != truth(ct), own)


@pytest.mark.parametrize("dtype", ["int16", "int32", "uint8", "float32", "float64"])
def test_any_type_of_voxel_will_do(model, dtype):
    ct = phantom()
    values = np.clip(ct.array, 0, None) if dtype == "uint8" else ct.array
    found = load_model(find_model(model), device="cpu")(Volume(values.astype(dtype), ct.geometry))
    np.testing.assert_array_equal(found, truth(ct))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_spacing_goes_with_its_axis(tmp_path, axis):
    """A model that moves its answer by one of its voxels, 5 mm, moves it by 5 mm along that axis of the scan."""
    shift = [int(a == axis) for a in range(3)]
    model = threshold_model(tmp_path / "model", shift=shift)
    ct = phantom(spacing=(5.0, 2.5, 1.25), shape=(30, 40, 60), place=(slice(6, 24), slice(8, 32), slice(12, 48)))
    found = load_model(find_model(model), device="cpu")(ct)
    middle = np.mean(np.nonzero(found), axis=1) - np.mean(np.nonzero(truth(ct)), axis=1)
    np.testing.assert_allclose(middle * ct.geometry.spacing_mm, np.multiply(shift, 5.0), atol=0.3)  # of 2.5 voxels
    assert found.sum() == pytest.approx(truth(ct).sum(), rel=0.05)  # linear resampling moves edges by part of a voxel


@pytest.mark.parametrize(
    ("reader", "step"),
    [("SimpleITKIO", 1), ("NibabelIO", 1), ("NibabelIOWithReorient", -1), ("SimpleITKIOWithReorient", -1)],
)
def test_the_scan_is_turned_only_for_models_that_were_trained_so(tmp_path, reader, step):
    """A model that moves its answer along +x of what it sees: in LPS as stored that is +x, turned to RAS it is -x."""
    model = threshold_model(tmp_path / "model", shift=(0, 0, 1), reader=reader)
    ct = phantom()
    found = load_model(find_model(model), device="cpu")(ct)
    np.testing.assert_array_equal(found, np.roll(truth(ct), step, axis=2))


@pytest.mark.parametrize(
    ("labels", "channel", "order", "name", "empty"),
    [
        ({"spleen": 1, "liver": 2, "kidney": 3}, 2, None, "liver", False),
        ({"spleen": 1, "liver": 2, "kidney": 3}, 2, None, "spleen", True),
        ({"organ": [1, 2], "liver": [2]}, 1, [1, 2], "liver", False),  # regions: channel i is the i-th of them
        ({"organ": [1, 2], "liver": [2]}, 0, [1, 2], "organ", False),
        ({"organ": [1, 2], "liver": [2]}, 0, [1, 2], "liver", True),
        ({"liver": [1, 2], "tumor": 2}, 1, [1, 2], "liver", False),  # a tumour is part of the liver's region
        ({f"organ{i}": i for i in range(1, 60)} | {"liver": 60}, 60, None, "liver", False),
    ],
)
def test_one_organ_or_a_hundred_labels_or_regions(tmp_path, labels, channel, order, name, empty):
    model = threshold_model(tmp_path / "model", labels=labels, channel=channel, regions_class_order=order)
    ct = phantom()
    found = load_model(find_model(model), [name], device="cpu")(ct)
    np.testing.assert_array_equal(found, truth(ct) & (not empty))


def test_folds_are_used_together_and_the_best_weights_where_there_are_no_final_ones(tmp_path):
    model = threshold_model(tmp_path / "model", folds=("0", "1"), checkpoint="checkpoint_best.pth")
    ct = phantom()
    np.testing.assert_array_equal(load_model(find_model(model), device="cpu")(ct), truth(ct))


def test_threads_and_environment_are_left_as_they_were(model):
    import torch

    before = torch.get_num_threads(), dict(os.environ)
    load_model(find_model(model), device="cpu", threads=2)(phantom())
    assert (torch.get_num_threads(), dict(os.environ)) == before


def test_a_model_of_nnunets_own_trainer_needs_no_plotting_libraries(model):
    """The trainer is not asked for its network: importing it takes as long as finding a liver."""
    code = (
        "import sys; from pathlib import Path\n"
        "from tumorgen.liver.models import find_model; from tumorgen.liver.network import load_model\n"
        f"load_model(find_model(Path({str(model)!r})), device='cpu')\n"
        "sys.exit(bool({'seaborn', 'nnunetv2.training.nnUNetTrainer.nnUNetTrainer'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def with_mirrored_images(model: Path, folder: Path) -> Path:
    """The same model, as if it had been trained with mirrored images."""
    import torch

    shutil.copytree(model, folder)
    for path in folder.glob("fold_*/*.pth"):
        torch.save(torch.load(path, weights_only=False) | {"inference_allowed_mirroring_axes": (0, 1, 2)}, path)
    return folder


@pytest.mark.parametrize("mirror", [False, True])
def test_the_network_is_the_one_that_nnunet_builds(model, monkeypatch, tmp_path, mirror):
    ct, found = phantom(), find_model(with_mirrored_images(model, tmp_path / model.name))
    plainly = load_model(found, device="cpu", mirror=mirror)(ct)
    monkeypatch.setattr("tumorgen.liver.network._initialize_plainly", lambda *_: False)
    np.testing.assert_array_equal(plainly, load_model(found, device="cpu", mirror=mirror)(ct))


def test_mirrored_images_are_refused_by_a_network_that_has_seen_none(model):
    with pytest.raises(TumorgenError, match="--mirror: the model was trained without mirrored images; leave it out"):
        load_model(find_model(model), device="cpu", mirror=True)


def test_a_device_that_is_not_there_is_said(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == "cpu"
    with pytest.raises(TumorgenError, match="finds no cuda device here; use --device auto"):
        pick_device("cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == "cuda"


def test_weights_that_cannot_be_loaded_are_said(tmp_path):
    with pytest.raises(TumorgenError, match="the model cannot be loaded"):
        load_model(find_model(bare_model(tmp_path)), device="cpu")


def test_a_trainer_that_is_not_installed_is_named_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer", raising=False)
    model = threshold_model(tmp_path / "model", trainer=SMOKE)
    with pytest.raises(TumorgenError, match=rf"{SMOKE}.*environment variable nnUNet_extTrainer"):
        load_model(find_model(model), device="cpu")
    monkeypatch.setenv("nnUNet_extTrainer", str(TRAINERS))
    ct = phantom()
    np.testing.assert_array_equal(load_model(find_model(model), device="cpu")(ct), truth(ct))


# ---- the command


@pytest.fixture
def work(tmp_path, monkeypatch) -> Path:
    """A working directory with scans in `ct/`: a good one, one whose file is cut off, one cut at the top."""
    monkeypatch.chdir(tmp_path)
    write_volume(phantom(), Path("ct/good_0000.nii.gz"))
    write_volume(phantom(place=(slice(6, 30), *PLACE[1:])), Path("ct/top.nrrd"))
    Path("ct/torn.nii.gz").write_bytes(Path("ct/good_0000.nii.gz").read_bytes()[:700])
    return tmp_path


def command(*arguments: object):
    return CliRunner().invoke(main, ["liver-mask", *map(str, arguments)])


def test_the_command_does_what_can_be_done_and_says_the_rest(work, model):
    result = command("ct", "livers", "--model", model, "--device", "cpu", "--jobs", 1)
    assert result.exit_code == 1, result.output
    rows = read_scans(Path("manifests/scans.csv"))
    assert [(row.case, row.status) for row in rows] == [("good", "ok"), ("top", "check"), ("torn", "failed")]
    mask = read_volume(Path("livers/good.nii.gz"))
    assert mask.array.dtype == np.uint8
    assert not mask.geometry.difference(read_volume(Path("ct/good_0000.nii.gz")).geometry)
    np.testing.assert_array_equal(mask.array, truth(phantom()))
    assert rows[0].liver_ml == 18 * 20 * 24 * 0.125
    assert rows[0].image == str(work / "ct" / "good_0000.nii.gz")
    assert (
        "check: top: the mask reaches the scan's edge (top): either the liver is cut off there, or the mask leaks into"
        " a neighbouring organ" in result.stdout
    )
    assert re.search(
        r"livers: 2 liver masks, 1 to check, 2 made in [\d.]+ s; listed in manifests/scans.csv", result.stdout
    )
    assert "next:\n  tumorgen synth --per-scan 20\n" in result.stdout
    assert re.search(r"^failed: torn: .*torn\.nii\.gz", result.stderr, re.MULTILINE)
    assert result.stderr.count("a model file is code") == 1
    assert "Traceback" not in result.output


def test_where_no_scan_can_be_read_nothing_else_is_said_to_be_written(work, model):
    shutil.copy("ct/torn.nii.gz", "ct/good_0000.nii.gz")
    Path("ct/top.nrrd").unlink()
    result = command("ct", "livers", "--model", model, "--device", "cpu", "--jobs", 1)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("all 2 failed, for 1 reason: no mask was written.")


def test_users_do_not_see_what_nnunet_prints(work, model):
    result = command("ct", "livers", "--model", model, "--device", "cpu")
    assert "nnUNet" not in result.stdout
    assert "perform_everything_on_device" not in result.output


def exported(model: Path, path: Path) -> Path:
    """A model's folder as `nnUNetv2_export_model_to_zip` writes it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(model.rglob("*")):
            archive.write(file, f"Dataset900_Threshold/{model.name}/{file.relative_to(model).as_posix()}")
    return path


def test_an_exported_zip_is_as_good_as_its_folder(work, model, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    result = command("ct/good_0000.nii.gz", "livers", "--model", exported(model, Path("m.zip")), "--device", "cpu")
    assert result.exit_code == 0, result.output
    np.testing.assert_array_equal(read_volume(Path("livers/good.nii.gz")).array, truth(phantom()))
    assert result.stderr.count("note: loading m.zip; a model file is code") == 1
    assert not list((tmp_path / "scratch").iterdir())


def test_what_is_wrong_with_a_zip_is_said_of_the_zip(work, model, tmp_path):
    path = exported(model, Path("m.zip"))
    result = command("ct", "livers", "--model", path, "--label", "spleen")
    assert result.exit_code == 2
    assert "m.zip: the model has no label 'spleen'; it has liver" in result.stderr
    path = exported(bare_model(tmp_path / "a__b__c"), Path("bare.zip"))
    result = command("ct/good_0000.nii.gz", "livers", "--model", path, "--device", "cpu")
    assert result.exit_code == 1
    assert "bare.zip: the model cannot be loaded" in result.stderr
    Path("text.zip").write_text("hello")
    result = command("ct", "livers", "--model", "text.zip")
    assert result.exit_code == 2
    assert "text.zip: is not a zip that can be read" in result.stderr


def test_the_same_command_again_makes_nothing_and_loads_nothing(work, model):
    Path("ct/torn.nii.gz").unlink()
    arguments = ("ct", "livers", "--model", model, "--device", "cpu")
    assert command(*arguments).exit_code == 0
    again = command(*arguments)
    assert again.exit_code == 0
    assert "0 made in" in again.stdout
    assert "2 were there (--overwrite makes them again)" in again.stdout
    assert "model file is code" not in again.stderr
    assert "2 made in" in command(*arguments, "--overwrite").stdout


def test_one_file_will_do_and_the_table_may_lie_elsewhere(work, model):
    result = command("ct/good_0000.nii.gz", "livers", "--model", model, "--device", "cpu", "--scans", "t/my.csv")
    assert result.exit_code == 0, result.output
    assert [row.case for row in read_scans(Path("t/my.csv"))] == ["good"]
    assert "tumorgen synth --per-scan 20 --scans t/my.csv" in result.stdout


def test_a_scan_without_a_liver_fails_with_its_reason(work, tmp_path_factory):
    model = threshold_model(tmp_path_factory.mktemp("strict") / "model", threshold_hu=900)
    result = command("ct/good_0000.nii.gz", "livers", "--model", model, "--device", "cpu")
    assert result.exit_code == 1
    assert "the model finds no liver in it" in result.stderr
    assert "next:" not in result.stdout
    (row,) = read_scans(Path("manifests/scans.csv"))
    assert (row.status, row.flags) == ("failed", "empty")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ct", "livers", "--model", "nowhere"], "does not exist"),
        (["ct", "livers", "--model", "ct"], "not an nnU-Net v2 model"),
        (["ct", "livers", "--model", "MODEL", "--label", "kidney"], "no label 'kidney'; it has liver"),
        (["ct", "livers", "--model", "MODEL", "--fold", "4"], "no weights of fold 4; there are 0"),
        (["ct", "livers", "--model", "MODEL", "--device", "tpu"], "'tpu' is not one of"),
        (["nowhere", "livers", "--model", "MODEL"], "does not exist"),
        (["empty", "livers", "--model", "MODEL"], "no volumes in it"),
        (["ct", "ct", "--model", "MODEL"], "holds the images"),
        (["ct/good_0000.nii.gz", "ct", "--model", "MODEL"], "holds the images"),
    ],
)
def test_bad_arguments_get_one_line_and_cost_nothing(work, tmp_path_factory, arguments, message):
    Path("empty").mkdir()
    model = bare_model(tmp_path_factory.mktemp("bare"))
    result = command(*(model if argument == "MODEL" else argument for argument in arguments))
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert sorted(path.name for path in work.iterdir()) == ["ct", "empty"]


def test_weights_that_are_broken_get_one_line(work):
    result = command("ct", "livers", "--model", bare_model(Path("bare")), "--device", "cpu")
    assert result.exit_code == 1
    assert "the model cannot be loaded" in result.stderr
    assert "Traceback" not in result.output


def test_help_and_usage_errors_import_neither_nnunet_nor_torch():
    code = (
        "import sys; from click.testing import CliRunner; from tumorgen.cli import main\n"
        "for arguments in (['--help'], ['.', 'out']):\n"
        "    CliRunner().invoke(main, ['liver-mask', *arguments])\n"
        "import tumorgen.liver.network, tumorgen.liver.masks\n"
        "sys.exit(bool({'torch', 'nnunetv2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# ---- the whole way


@pytest.mark.slow
def test_a_model_that_nnunet_trained_finds_a_liver_mask(data, tmp_path, monkeypatch):
    """nnU-Net plans, preprocesses and trains on crops of a real scan; `liver-mask` runs its model on the scan."""
    ct, mask = read_volume(data / "example_ct" / "ct.nii.gz"), read_mask(data / "example_ct" / "liver.nii.gz")
    corners = {
        f"crop_{i}": corner
        for i, corner in enumerate([(66, 20, 0), (60, 24, 8), (52, 28, 16), (44, 16, 4), (66, 37, 24)])
    }
    boxes = {
        case: tuple(slice(a, a + n) for a, n in zip(at, (46, 64, 64), strict=True)) for case, at in corners.items()
    }
    cases = {
        case: (Volume(ct.array[box], Geometry((46, 64, 64), ct.geometry.spacing_mm)), mask.array[box])
        for case, box in boxes.items()
    }
    raw, work = tmp_path / "raw", tmp_path / "work"
    write_dataset(raw, "Dataset901_Crops", cases, {"liver": 1})
    plan_and_preprocess(raw, 901, work)
    narrow_network(work)
    model = train(raw, 901, work)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("nnUNet_extTrainer", environment(raw, work)["nnUNet_extTrainer"])
    arguments = [data / "example_ct" / "ct.nii.gz", "livers", "--model", model.parent, "--device", "cpu", "--jobs", 2]
    result = command(*arguments)
    (row,) = read_scans(Path("manifests/scans.csv"))
    assert result.exit_code == (1 if row.status == "failed" else 0), (
        result.output
    )  # two steps of training: anything goes
    written = read_volume(Path("livers/ct.nii.gz"))
    assert written.array.dtype == np.uint8
    assert set(np.unique(written.array)) <= {0, 1}
    assert not written.geometry.difference(ct.geometry)
    assert row.status != "failed" or row.flags == "empty"
    assert row.liver_ml == pytest.approx(written.array.sum() * 0.027, abs=0.1)
    assert (row.shape_z, row.shape_y, row.shape_x) == ct.geometry.shape
