"""The liver model that comes along: whole, small, nothing but numbers, and good at what it is for."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from click.testing import CliRunner

from liver_model.cases import lesion_scene
from tumorgen.checksums import SUMS
from tumorgen.cli import main
from tumorgen.errors import TumorgenError
from tumorgen.evaluation.overlap import dsc, nsd
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.mask_labels import read_mask
from tumorgen.imaging.reading import read_ct, write_volume
from tumorgen.liver import network
from tumorgen.liver.cleaning import clean_mask
from tumorgen.liver.coarse import load_coarse
from tumorgen.liver.models import SHIPPED, SHIPPED_SUMS_SHA256, find_model, shipped_model
from tumorgen.liver.network import load_model
from tumorgen.phantom.scanner import draw_phantom

WEIGHTS = SHIPPED / "fold_0" / "checkpoint_final.pth"
quiet = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def case():
    """A phantom of a seed that no recipe draws, coarse enough for seconds."""
    drawn = draw_phantom(np.random.default_rng(2026), shape=(64, 110, 130), spacing_mm=(4.0, 2.8, 2.8))
    return drawn.image, drawn.liver.array


@pytest.fixture(scope="module")
def segment():
    return load_model(find_model(shipped_model()), device="cpu", fit=True)


@pytest.fixture(scope="module")
def found(segment, case):
    """What the model finds in the phantom."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return segment(case[0])


def one_liver(segment, ct: Volume) -> np.ndarray:
    """As `liver-mask` has it."""
    return clean_mask(segment(ct), ct.geometry.spacing_mm).mask


def test_it_is_what_was_shipped_and_small():
    folder = shipped_model()
    assert find_model(folder).labels == {"liver": (1,)}
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 12_000_000


def test_its_weights_are_numbers_and_text_and_nothing_that_runs():
    stored = torch.load(WEIGHTS, weights_only=True)
    assert stored["trainer_name"] == "nnUNetTrainer"
    assert {value.dtype for value in stored["network_weights"].values()} == {torch.float16}


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(SHIPPED, tmp_path / "model")


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", "fold_0/checkpoint_final.pth", SUMS])
def test_a_file_that_was_changed_is_refused(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(TumorgenError, match="is not the file that ships") as caught:
        shipped_model(copy)
    assert name in str(caught.value)


def test_weights_that_come_with_their_own_checksum_are_refused(copy):
    weights = copy / "fold_0" / "checkpoint_final.pth"
    weights.write_bytes(b"anything")
    sums = (copy / SUMS).read_text().splitlines()
    sums[-1] = f"{hashlib.sha256(b'anything').hexdigest()}  fold_0/checkpoint_final.pth"
    (copy / SUMS).write_text("\n".join(sums) + "\n")
    with pytest.raises(TumorgenError, match="SHA256SUMS: is not the file that ships"):
        shipped_model(copy)


def test_a_file_that_is_gone_gets_one_line(copy):
    (copy / "plans.json").unlink()
    with pytest.raises(TumorgenError, match="cannot be read"):
        shipped_model(copy)


def test_the_number_in_the_code_is_that_of_the_checksums():
    assert hashlib.sha256((SHIPPED / SUMS).read_bytes()).hexdigest() == SHIPPED_SUMS_SHA256


def test_it_finds_the_liver_of_a_phantom_that_it_has_not_seen(found, case):
    assert dsc(case[1], clean_mask(found, case[0].geometry.spacing_mm).mask) > 0.96


@quiet
@pytest.mark.parametrize("letters", ["RAS", "LPI", "PSR"])
def test_it_finds_the_same_however_the_scan_is_stored(segment, found, case, letters):
    """RAS and feet first: other axes, the same patient; nothing but rounding may differ."""
    image, _ = case
    turned = sitk.DICOMOrient(to_image(image), letters)
    array = sitk.GetArrayFromImage(turned)
    z, y, x = turned.GetSpacing()[::-1]
    stored = Volume(array, Geometry(array.shape, (z, y, x), turned.GetOrigin(), turned.GetDirection()))
    mask = sitk.GetImageFromArray(segment(stored).astype(np.uint8))
    mask.CopyInformation(turned)
    assert dsc(found, sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS")) > 0) > 0.999


@quiet
def test_the_command_needs_no_model_and_says_which_it_uses(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    image, liver = case
    write_volume(image, Path("ct") / "a.nii.gz")
    result = CliRunner().invoke(main, ["liver-mask", "ct", "livers", "--device", "cpu", "--jobs", "2"])
    assert result.exit_code == 0, result.output
    assert result.stdout.count("small liver model of tumorgen") == 1
    assert "model file is code" not in result.output
    assert dsc(liver, read_mask(Path("livers") / "a.nii.gz").array) > 0.9


@quiet
def test_its_short_way_finds_what_nnunets_own_way_finds(case):
    """nnU-Net adds up its windows in half precision, this way in single: voxels on the very border may differ."""
    model = find_model(shipped_model())
    image, _ = case
    array, spacing_mm, _ = network._oriented(image)
    coarse = load_coarse(model, "cpu", mirrored=False)
    assert coarse is not None
    own = network._predictor(model, "cpu", mirrored=False).predict_single_npy_array(
        array[None], {"spacing": list(spacing_mm)}
    )
    found = coarse.find(array, spacing_mm)
    assert (found != (own == 1)).sum() < 5e-4 * found.sum()


def test_it_runs_without_nnunets_predictor_and_trainer():
    """Importing them takes longer than finding a liver does."""
    code = """
import sys
from tumorgen.liver.models import find_model, shipped_model
from tumorgen.liver.network import load_model
load_model(find_model(shipped_model()), device="cpu")
late = ("nnunetv2.inference.predict_from_raw_data", "nnunetv2.training", "torch._dynamo", "torchvision", "matplotlib")
sys.exit(", ".join(name for name in late if name in sys.modules) or None)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@quiet
@pytest.mark.parametrize(("image", "liver"), [("example_ct/ct", "liver"), ("acrin042/ct", "liver_pseudo")])
def test_it_still_knows_real_scans(segment, data, image, liver):
    """It was trained on these: a lower bound that tells a broken model, not how good it is (docs/liver-model.md)."""
    path = data / f"{image}.nii.gz"
    found = one_liver(segment, read_ct(path))
    assert dsc(read_mask(path.with_name(f"{liver}.nii.gz")).array, found) > 0.94


LESIONS = {
    "lits0": (0.96, 0.91),
    "lits1": (0.955, 0.89),
    "lits2": (0.94, 0.815),
    "lits3": (0.958, 0.925),
    "lits5": (0.945, 0.885),
}


@quiet
@pytest.mark.parametrize("case", LESIONS)
def test_it_is_as_good_as_its_card_says_on_livers_with_tumours_that_it_has_not_seen(segment, data, case):
    """Real scans that no training used, tumours counted as liver: DSC and NSD at 3 mm, a little below the card's."""
    scene = lesion_scene(data, case)
    liver, found = scene.liver.array > 0, one_liver(segment, scene.image)
    least_dsc, least_nsd = LESIONS[case]
    assert dsc(liver, found) > least_dsc
    assert nsd(liver, found, scene.image.geometry.spacing_mm, 3.0) > least_nsd
