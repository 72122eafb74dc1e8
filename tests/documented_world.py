"""The folder in which somebody stands who types what README, docs and `--help` show: all that these lines assume."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from dicom_files import write_series
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.tables.scans import ScanRow, write_scans
from tumorgen.turing import answers_file, read_key

SCANS = ("liver_01", "liver_12", "liver_40")
PATIENTS = ("patient_1", "patient_2", "patient_3", "patient_4")
SYNTHETIC = "Dataset501_SynthLiver"
FEW_LEVELS = [
    word for level in ("size=4,8", "location=", "shape=", "intensity=", "texture=") for word in ("--levels", level)
]
SINGLE = ("--recipe", "turing", "--sizes", "small", "--pattern", "single", "--jobs", "1")


def tool(*words: str) -> Result:
    """What a command says and leaves."""
    return CliRunner().invoke(main, list(words))


def copy_world(world: Path, folder: Path) -> Path:
    """A copy of the folder to work in. Images are linked, since nothing is ever written into one that is there."""

    def copy(source: str, target: str) -> None:
        if source.endswith((".gz", ".dcm", ".png")):
            os.link(source, target)
        else:
            shutil.copyfile(source, target)

    return shutil.copytree(world, folder, copy_function=copy)


def build_world(root: Path) -> None:
    """Write scans, masks, datasets, predictions and all else into a folder, in which one stands."""
    for folder in ("ct", "in", "demo/images"):
        _write_balls(SCANS, root / folder, root / "livers", 0)
    for folder in ("masks", "demo/masks"):
        shutil.copytree(root / "livers", root / folder)
    shutil.copy(root / "ct" / f"{SCANS[0]}.nii.gz", root / "scan.nii.gz")
    _write_label_maps(root)
    write_series(root / "dicom" / "scan")
    rows = [_row(root, case) for case in SCANS]
    write_scans(rows, root / "manifests" / "scans.csv")
    _write_table(root / "patients.csv", ("case", "patient"), [(case, case[-2:]) for case in (*SCANS, *PATIENTS)])
    _made("synth", "--per-scan", "4", *SINGLE)
    _made("healthy", "--jobs", "1")
    one = ("--images", f"ct/{SCANS[0]}.nii.gz", "--masks", f"livers/{SCANS[0]}.nii.gz")
    _made("robustness", *one, *FEW_LEVELS, "--jobs", "1")
    _write_real_tumors(root)
    _write_models(root)
    _write_predictions(root)
    _made("worst", "evaluation", "nnUNet_raw/Dataset504_Robustness/manifest.csv", "--count", "2", "--jobs", "1")
    _write_files_of_ones_own(root)
    for dataset in (root / "nnUNet_raw").iterdir():  # some lines stand in the folder of the datasets
        shutil.copytree(dataset, root / dataset.name)
    _write_study(root)


def _made(*words: str) -> None:
    result = tool(*words)
    assert result.exit_code == 0, (words, result.output, result.exception)


def _write_balls(cases: Iterable[str], images: Path, masks: Path, seed: int) -> None:
    for number, case in enumerate(cases):
        volume, liver = ball_volume((5.0, 3.0, 3.0), seed=seed + number)
        write_volume(volume, images / f"{case}.nii.gz")
        write_volume(Volume(liver, volume.geometry), masks / f"{case}.nii.gz")


def _row(root: Path, case: str) -> ScanRow:
    return ScanRow(
        case=case, image=str(root / "ct" / f"{case}.nii.gz"), mask=str(root / "livers" / f"{case}.nii.gz"), status="ok"
    )


def _write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])


def _write_label_maps(root: Path) -> None:
    """Livers in label maps: TotalSegmentator's, Couinaud's segments, and scans with tumours that are really there."""
    (root / "segmentations").mkdir()
    (root / "segmentations" / "labels.json").write_text(json.dumps({"1": "spleen", "5": "liver"}))
    for case in SCANS:
        liver = read_volume(root / "livers" / f"{case}.nii.gz")
        organs, segments, tumors = (np.where(liver.array > 0, value, 0).astype(np.uint8) for value in (5, 2, 1))
        middle = tuple(size // 2 for size in organs.shape)
        organs[:2, :2, :2], segments[middle[0] :][segments[middle[0] :] > 0], tumors[middle] = 1, 3, 2
        for array, folder in ((organs, "segmentations"), (segments, "couinaud"), (tumors, "labelsTr")):
            write_volume(Volume(array, liver.geometry), root / folder / f"{case}.nii.gz")
        folder = root / "Totalsegmentator_dataset" / case
        (folder / "segmentations").mkdir(parents=True)
        shutil.copy(root / "ct" / f"{case}.nii.gz", folder / "ct.nii.gz")
        shutil.copy(root / "livers" / f"{case}.nii.gz", folder / "segmentations" / "liver.nii.gz")
    shutil.copytree(root / "ct", root / "imagesTr")


def _write_real_tumors(root: Path) -> None:
    """Annotated scans of other patients, as datasets of nnU-Net's and as folders."""
    _write_balls(PATIENTS, root / "real_ct", root / "real_livers", 10)
    given = ("--images", "real_ct", "--masks", "real_livers", "--output", "real_raw", "--name", "Real")
    _made(
        "synth",
        *given,
        "--per-scan",
        "1",
        "--recipe",
        "turing",
        "--sizes",
        "small",
        "--pattern",
        "single",
        "--jobs",
        "1",
    )
    for case in PATIENTS:
        image = root / "real_raw" / "Dataset501_Real" / "imagesTr" / f"{case}_v0000_0000.nii.gz"
        label = root / "real_raw" / "Dataset501_Real" / "labelsTr" / f"{case}_v0000.nii.gz"
        for folder in ("nnUNet_raw/Dataset003_Liver", "annotated", "real"):
            for kind, file, name in (("imagesTr", image, f"{case}_0000"), ("labelsTr", label, case)):
                target = root / folder / kind / f"{name}.nii.gz"
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
    shutil.copytree(root / "real" / "labelsTr", root / "more_labels")
    shutil.copytree(root / "nnUNet_raw" / SYNTHETIC / "imagesTr", root / "synthetic" / "imagesTr")
    shutil.copytree(root / "nnUNet_raw" / SYNTHETIC / "labelsTr", root / "synthetic" / "labelsTr")
    liver, abdomen = (root / "nnUNet_raw" / name for name in ("Dataset003_Liver", "Dataset007_Abdomen"))
    _write_dataset_json(liver, {"background": 0, "liver": 1, "tumor": 2})
    shutil.copytree(liver, abdomen)
    _write_dataset_json(
        abdomen, {"background": 0, **{f"organ_{n}": n for n in range(1, 14) if n != 6}, "liver": 6, "tumor": 14}
    )
    for path in (abdomen / "labelsTr").iterdir():
        volume = read_volume(path)
        write_volume(Volume(np.choose(volume.array, (0, 6, 14)).astype(np.uint8), volume.geometry), path)


def _write_dataset_json(folder: Path, labels: dict[str, int]) -> None:
    (folder / "dataset.json").write_text(
        json.dumps(
            {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": len(PATIENTS), "file_ending": ".nii.gz"}
        )
    )


def _write_models(root: Path) -> None:
    """Places of models; what they hold is not looked at (`test_commands_run`)."""
    for model in (
        "nnUNet_results/Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres",
        "home/.totalsegmentator/nnunet/results/Dataset291_TotalSegmentator_part1_organs_1559subj",
    ):
        (root / model).mkdir(parents=True)
    (root / "exported.zip").touch()


def _write_predictions(root: Path) -> None:
    """References, and what several models have made of them."""
    labels = root / "nnUNet_raw" / "Dataset504_Robustness" / "labelsTs"
    for folder in (
        "references",
        "labels",
        "REFERENCE",
        "predictions",
        "new",
        "old",
        "PREDICTIONS",
        "OTHER_PREDICTIONS",
    ):
        shutil.copytree(labels, root / folder)
    shutil.copytree(labels, root / "totalsegmentator")
    (root / "totalsegmentator" / "labels.json").write_text(json.dumps({"1": "liver", "2": "liver_tumor"}))
    manifest = "nnUNet_raw/Dataset504_Robustness/manifest.csv"
    _made("evaluate", "predictions", str(labels), "--manifest", manifest, "--jobs", "1")


def _write_files_of_ones_own(root: Path) -> None:
    (root / "settings.toml").write_text('sizes = ["tiny"]\n')
    (root / "mine.toml").write_text('sizes = ["tiny"]\n')
    (root / "levels.toml").write_text("size = [4, 8]\nlocation = []\nshape = []\nintensity = []\ntexture = []\n")
    dataset = root / "nnUNet_raw" / SYNTHETIC
    shutil.copy(dataset / "manifest.csv", root / "edited.csv")
    shutil.copy(dataset / "tumors.csv", root / "edited.tumors.csv")
    shutil.copy(root / "nnUNet_raw" / "Dataset504_Robustness" / "manifest.csv", root / "manifest.csv")
    shutil.copy(root / "nnUNet_raw" / "Dataset504_Robustness" / "tumors.csv", root / "tumors.csv")


def _write_study(root: Path) -> None:
    """A study of the Visual Turing Test; the answers of its reader are there, and were received."""
    sets = ("--real", "Dataset003_Liver", "--synthetic", f"nnUNet_raw/{SYNTHETIC}")
    _made("turing", "make", *sets, "--count", "5", "--output", "study", "--jobs", "1")
    rows = [(case, "real", 3, "", "", "", 10.0, "x") for case in read_key(root / "study")]
    columns = ("case", "answer", "confidence", "x_mm", "y_mm", "z_mm", "seconds", "answered_at")
    for file in (answers_file(root / "study", "reader"), root / "received" / "reader.csv"):
        file.parent.mkdir(parents=True, exist_ok=True)
        _write_table(file, columns, rows)
