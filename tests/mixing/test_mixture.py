"""`tumorgen mix`: nothing is copied, no patient is on both sides, and nnU-Net trains on it."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner, Result
from nifti_files import write_placed
from nnunet_runs import narrow_network, plan_and_preprocess, train, write_dataset
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import read_volume, write_volume

RAW, MIXED = Path("raw"), Path("raw/Dataset510_Mixed")
REAL, SYNTHETIC, HEALTHY = "Dataset003_Liver", "Dataset501_SynthLiver", "Dataset502_HealthyLiver"


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def annotated(seed: int) -> tuple[Volume, np.ndarray]:
    """A ball of liver with a cube of tumour in its middle, and its label map."""
    volume, liver = ball_volume((4.0, 4.0, 4.0), seed=seed)
    label = liver.astype(np.uint8)
    label[15:20, 15:20, 15:20] = 2
    return volume, label


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three real scans, in two schemes of labels; and samples of two hosts, one of which is the third of them."""
    folder = tmp_path_factory.mktemp("parts")
    cases = {f"liver_{seed}": annotated(seed) for seed in range(3)}
    write_dataset(folder / RAW, REAL, cases, {"liver": 1, "cancer": 2})
    other = {case: (volume, np.choose(label, [0, 2, 3])) for case, (volume, label) in cases.items()}
    write_dataset(folder / RAW, "Dataset007_Other", other, {"spleen": 1, "liver": 2, "tumour": 3})
    for name, seed in (("host", 2), ("another", 9)):
        volume, liver = ball_volume((4.0, 4.0, 4.0), seed=seed)
        write_volume(volume, folder / "ct" / f"{name}.nii.gz")
        write_volume(Volume(liver, volume.geometry), folder / "livers" / f"{name}.nii.gz")
    scans = ("--images", folder / "ct", "--masks", folder / "livers", "--output", folder / RAW, "--jobs", 1)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        for made in (command("synth", *scans, "--per-scan", 3, "--sizes", "tiny"), command("healthy", *scans)):
            assert made.exit_code == 0, made.output
    return folder


@pytest.fixture
def parts(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them, in the working folder."""
    shutil.copytree(written / RAW, tmp_path / RAW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("nnUNet_raw", str(RAW))
    return tmp_path


def mix(*options: object, real: str = REAL) -> Result:
    return command("mix", "--real", real, "--synthetic", SYNTHETIC, "--jobs", 1, *options)


def folds() -> list[dict[str, list[str]]]:
    return json.loads((MIXED / "splits_final.json").read_text())


def relabel(name: str, labels: dict[str, object]) -> None:
    """Write other labels into a dataset.json."""
    about = RAW / name / "dataset.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"labels": labels}))


def make_test_set(folder: Path) -> None:
    for kind in ("images", "labels"):
        (folder / f"{kind}Tr").rename(folder / f"{kind}Ts")


def write_unmerged(folder: Path) -> None:
    """Files of a sample that is in no row yet, as a shard leaves them."""
    for name in ("imagesTr/host_v000{}_0000.nii.gz", "labelsTr/host_v000{}.nii.gz"):
        shutil.copyfile(folder / name.format(2), folder / name.format(3))


def interrupt(*_: object, **__: object) -> None:
    """Like Ctrl-C while labels are written, when some are."""
    (MIXED / "labelsTr").mkdir()
    raise KeyboardInterrupt


def described() -> dict[str, dict[str, object]]:
    return json.loads((MIXED / "dataset.json").read_text())["dataset"]


def test_nothing_is_copied_and_paths_survive_a_move(parts: Path) -> None:
    made = mix()
    assert made.exit_code == 0, made.output
    assert {path.name for path in MIXED.iterdir()} <= {"dataset.json", "mix.csv", "splits_final.json", ".lock"}
    files = described()
    assert len(files) == 9
    assert files["real_liver_0"] == {
        "images": [f"../{REAL}/imagesTr/liver_0_0000.nii.gz"],
        "label": f"../{REAL}/labelsTr/liver_0.nii.gz",
    }
    for each in files.values():
        assert (MIXED / each["images"][0]).is_file()
        assert (MIXED / each["label"]).is_file()


def test_a_killed_run_that_left_a_partial_file_alone_holds_nobody_up(parts: Path) -> None:
    (MIXED / ".partial-of-dataset.json").mkdir(parents=True)
    (MIXED / ".lock").touch()
    assert mix().exit_code == 0
    assert not [*MIXED.rglob(".*")]


def test_a_fold_holds_out_real_cases_and_trains_on_nothing_of_their_scans(parts: Path) -> None:
    """The third real scan and `host` are one CT, which no table says."""
    made = mix()
    assert "one CT under several names, equal in every voxel: real/liver_2 = synthetic/host" in made.output
    assert sorted(fold["val"] for fold in folds()) == [["real_liver_0"], ["real_liver_1"], ["real_liver_2"]]
    for fold in folds():
        has_host = any("host" in case for case in fold["train"])
        assert has_host == (fold["val"] != ["real_liver_2"])
        assert not set(fold["val"]) & set(fold["train"])


def test_of_scans_without_a_fingerprint_no_command_is_named_that_would_refuse_a_mixture(parts: Path) -> None:
    manifest = RAW / SYNTHETIC / "manifest.csv"
    with manifest.open(newline="") as file:
        rows = [{**row, "source_fingerprint": ""} for row in csv.DictReader(file)]
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    told = "note: 2 scans of an earlier version, of which nobody knows whether another is the same CT\n"
    assert told in mix().stdout


def test_a_table_of_patients_keeps_them_together(parts: Path) -> None:
    Path("patients.csv").write_text("case,patient\nliver_0,Smith\nliver_1,Smith\nanother,Smith\n")
    made = mix("--patients", "patients.csv")
    assert made.exit_code == 0, made.output
    assert sorted(fold["val"] for fold in folds()) == [["real_liver_0", "real_liver_1"], ["real_liver_2"]]
    (held_out,) = (fold for fold in folds() if len(fold["val"]) == 2)
    assert {case.rsplit("_", 1)[0] for case in held_out["train"]} == {"real_liver", "synthetic_host"}
    assert all("Smith" not in path.read_text() for path in MIXED.iterdir() if path.is_file())


def test_patients_that_healthy_has_recorded_are_kept_together_also_of_scans_with_real_tumours(parts: Path) -> None:
    for number in range(4):
        volume, label = annotated(20 + number)
        write_volume(volume, Path("real/ct") / f"r{number}.nii.gz")
        write_volume(Volume(label, volume.geometry), Path("real/labels") / f"r{number}.nii.gz")
    Path("patients.csv").write_text("case,patient\nr0,Smith\nr1,Smith\nr2,Jones\nr3,Jones\n")
    scans = ("--images", "real/ct", "--masks", "real/labels", "--label", 1, "--real-tumours", 2, "--jobs", 1)
    new = ("--dataset-id", 508, "--name", "Annotated", "--patients", "patients.csv")
    made = command("healthy", *scans, *new)
    assert made.exit_code == 0, made.output
    assert mix(real="Dataset508_Annotated").exit_code == 0
    assert [fold["val"] for fold in folds()] == [["real_r0", "real_r1"], ["real_r2", "real_r3"]]


def test_a_scan_of_which_only_the_patient_is_recorded_is_read(parts: Path) -> None:
    """So the table of `healthy` is where a run was cut off."""
    table = RAW / HEALTHY / "scans.csv"
    table.write_text("case,patient\nhost,another\n")
    made = command("mix", "--real", REAL, "--healthy", HEALTHY, "--jobs", 1)
    assert "healthy/host = real/liver_2" in made.output
    assert [set(fold["train"]) for fold in folds() if fold["val"] == ["real_liver_2"]] == [
        {"real_liver_0", "real_liver_1"}  # both healthy scans are of its patient
    ]


def test_patients_of_cases_with_odd_names_are_kept_together_too(parts: Path) -> None:
    for folder, ending in (("imagesTr", "_0000.nii.gz"), ("labelsTr", ".nii.gz")):
        for number in range(3):
            path = RAW / REAL / folder / f"liver_{number}{ending}"
            path.rename(path.with_name(path.name.replace("_", " ", 1)))
    Path("patients.csv").write_text("case,patient\nliver 0,Smith\nliver 1,Smith\n")
    assert mix("--patients", "patients.csv").exit_code == 0
    assert sorted(len(fold["val"]) for fold in folds()) == [1, 2]


@pytest.mark.parametrize(("ratio", "share"), [("5:5", 0.5), ("1:3", 0.25)])
def test_kinds_come_in_the_ratio(parts: Path, ratio: str, share: float) -> None:
    assert mix("--ratio", ratio).exit_code == 0
    for fold in folds():
        kinds = Counter(case.split("_")[0] for case in fold["train"])
        assert kinds["real"] / kinds.total() == pytest.approx(share, rel=0.02)


def test_healthy_scans_may_be_among_them(parts: Path) -> None:
    """Without a ratio they come in 4:4:2."""
    made = mix("--healthy", HEALTHY)
    assert made.exit_code == 0, made.output
    assert "(3 real, 6 synthetic, 2 healthy)" in made.output
    assert "40% real, 40% synthetic, 20% healthy" in made.output


def test_the_table_says_where_each_case_is_from(parts: Path) -> None:
    mix()
    with (MIXED / "mix.csv").open(newline="") as file:
        rows = {row["case"]: row for row in csv.DictReader(file)}
    assert rows.keys() == described().keys()
    row = rows["synthetic_host_v0001"]
    assert (row["kind"], row["dataset"], row["source_case"], row["scan"]) == (
        "synthetic", SYNTHETIC, "host_v0001", "host",
    )  # fmt: skip
    assert row["group"] == rows["real_liver_2"]["group"] != rows["real_liver_1"]["group"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--real", REAL, "--real", SYNTHETIC, "--synthetic", SYNTHETIC), "give it as --synthetic"),
        (("--real", REAL, "--healthy", SYNTHETIC), "give it as --synthetic"),
        (("--real", HEALTHY, "--synthetic", SYNTHETIC), "give it as --healthy"),
        (("--real", REAL, "--synthetic", HEALTHY), "give it as --healthy"),
        (("--real", REAL, "--real", RAW / REAL, "--synthetic", SYNTHETIC), "is given twice"),
        (("--real", REAL, "--synthetic", SYNTHETIC, "--ratio", "1e300:1"), "more than 1,000,000 times"),
    ],
)
def test_datasets_are_what_they_are_given_as(parts: Path, options: tuple[object, ...], told: str) -> None:
    """Else a synthetic tumour would be validated on, or trained on as healthy."""
    made = command("mix", *options, "--jobs", 1)
    assert made.exit_code == 1
    assert told in made.stderr
    assert not MIXED.exists()


def test_a_fold_that_trains_on_no_case_of_a_kind_is_told(parts: Path) -> None:
    Path("patients.csv").write_text("case,patient\nhost,Smith\nanother,Smith\n")
    assert "trains on no synthetic case" in mix("--patients", "patients.csv").output


def test_a_name_that_was_made_safe_is_the_same_name(parts: Path) -> None:
    """`another` is not a CT of the real ones; a real scan that is called so up to a blank counts as its origin."""
    for file in (RAW / REAL).rglob("liver_0*"):
        file.rename(file.with_name(file.name.replace("liver_0", "another ")))
    assert mix().exit_code == 0
    (held_out,) = (fold for fold in folds() if fold["val"] == ["real_another"])
    assert not any("another" in case for case in held_out["train"])


def test_paths_with_dots_are_relative_in_the_mixture_too(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RAW / REAL)
    made = command("mix", "--real", ".", "--synthetic", f"../{SYNTHETIC}", "--output", "..", "--jobs", 1)
    assert made.exit_code == 0, made.output
    files = json.loads((parts / MIXED / "dataset.json").read_text())["dataset"].values()
    assert all(path.startswith("../Dataset") for each in files for path in (*each["images"], each["label"]))


class TestLabels:
    def test_other_numbers_are_refused_with_what_to_type(self, parts: Path) -> None:
        made = mix(real="Dataset007_Other")
        assert made.exit_code == 1
        assert "its labels are background 0, spleen 1, liver 2, tumour 3" in made.stderr
        assert "--map liver=LABEL --map tumor=LABEL" in made.stderr
        assert not MIXED.exists()

    @pytest.mark.parametrize("named", [("liver=2", "tumor=3"), ("liver=liver", "tumor=tumour")])
    def test_mapped_they_are_written_anew(self, parts: Path, named: tuple[str, str]) -> None:
        made = mix("--map", named[0], "--map", named[1], real="Dataset007_Other")
        assert made.exit_code == 0, made.output
        found = read_volume(MIXED / described()["real_liver_1"]["label"]).array
        assert np.array_equal(found, annotated(1)[1])
        assert described()["real_liver_1"]["images"] == ["../Dataset007_Other/imagesTr/liver_1_0000.nii.gz"]

    def test_they_are_mapped_only_where_they_are_other_numbers(self, parts: Path) -> None:
        """Liver is 2 in one dataset, tumour in the other, whose labels stay where they are."""
        made = mix("--real", "Dataset007_Other", "--map", "liver=2", "--map", "tumor=3")
        assert made.exit_code == 0, made.output
        assert described()["real1_liver_1"]["label"] == f"../{REAL}/labelsTr/liver_1.nii.gz"
        found = read_volume(MIXED / described()["real2_liver_1"]["label"]).array
        assert np.array_equal(found, annotated(1)[1])

    @pytest.mark.parametrize(
        ("named", "told"),
        [
            (("liver=6", "tumor=3"), "has no label 6 to map: its labels are background 0, spleen 1, liver 2, tumour 3"),
            (("liver=0", "tumor=3"), "has no label 0 to map"),
            (("liver=2", "tumor=lesion"), "no label is called 'lesion'"),
        ],
    )
    def test_a_label_that_is_not_there_is_refused(self, parts: Path, named: tuple[str, str], told: str) -> None:
        made = mix("--map", named[0], "--map", named[1], real="Dataset007_Other")
        assert made.exit_code == 1
        assert told in made.stderr

    def test_a_number_of_two_meanings_is_refused(self, parts: Path) -> None:
        relabel(REAL, {"background": 0, "kidney": 1, "spleen": 2, "liver": 3})
        made = mix("--real", "Dataset007_Other", "--map", "liver=2", "--map", "tumor=3")
        assert made.exit_code == 1
        assert "label 2 is spleen in" in made.stderr

    def test_a_map_that_nothing_needs_is_refused(self, parts: Path) -> None:
        assert "leave out --map" in mix("--map", "liver=1", "--map", "tumor=2").stderr

    @pytest.mark.parametrize(
        ("labels", "told"),
        [
            ({"background": 0, "liver": 1}, "its labels are background 0, liver 1, but"),
            ({"background": 0, "liver": [1, 2], "tumor": [2]}, "its labels are background 0, liver [1, 2], tumor [2]"),
            ({"background": 0, "liver": 1, "tumor": 2, "ignore": 3}, "not annotated (label ignore)"),
            ({"background": 0, "liver": -1, "tumor": 2}, "liver -1"),
            ({"background": 0, "liver": "1", "tumor": "2"}, "liver 1, tumor 2, but"),
        ],
    )
    def test_labels_that_are_not_those_of_the_mixture(self, parts: Path, labels: dict[str, object], told: str) -> None:
        relabel(REAL, labels)
        made = mix()
        assert made.exit_code == 1
        assert told in made.stderr

    def test_regions_may_be_mapped_by_number(self, parts: Path) -> None:
        relabel(REAL, {"background": 0, "liver": [1, 2], "tumor": [2]})
        assert mix("--map", "liver=1", "--map", "tumor=2").exit_code == 0
        found = read_volume(MIXED / described()["real_liver_1"]["label"]).array
        assert np.array_equal(found, annotated(1)[1])

    def test_after_an_interruption_the_same_command_goes_through(self, parts: Path, monkeypatch) -> None:
        options = ("--map", "liver=2", "--map", "tumor=3")
        with monkeypatch.context() as patched:
            patched.setattr("tumorgen.mixing.mixture.map_cases", interrupt)
            assert mix(*options, real="Dataset007_Other").exit_code != 0
        assert described() == {}
        assert not (MIXED / "mix.csv").exists()
        assert mix(*options, real="Dataset007_Other").exit_code == 0
        assert len(described()) == 9

    def test_a_number_of_ours_with_another_meaning_is_refused(self, parts: Path) -> None:
        about = RAW / REAL / "dataset.json"
        about.write_text(about.read_text().replace("cancer", "vessel"))
        assert "vessel 2" in mix().stderr


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda: (RAW / REAL / "dataset.json").unlink(), "holds no dataset.json"),
        (lambda: (RAW / REAL / "dataset.json").write_text("[]"), "is not as nnU-Net writes it"),
        (lambda: (RAW / REAL / "imagesTr/liver_1_0000.nii.gz").unlink(), "has no image for liver_1"),
        (lambda: (RAW / REAL / "imagesTr/liver_1_0000.nii.gz").write_bytes(b"x"), "liver_1_0000.nii.gz"),
        (lambda: (RAW / SYNTHETIC / "labelsTr/host_v0001.nii.gz").unlink(), "has no files of host_v0001"),
        (lambda: (RAW / SYNTHETIC / "manifest.csv").unlink(), "holds no manifest.csv"),
        (lambda: write_unmerged(RAW / SYNTHETIC), "its manifest.csv does not list host_v0003"),
        (lambda: (RAW / SYNTHETIC / ".lock").touch(), "a run is writing to it, or one was killed"),
        (lambda: (RAW / SYNTHETIC / ".lock-1-of-2").touch(), "a run is writing to it, or one was killed"),
        (lambda: make_test_set(RAW / SYNTHETIC), "is a test set"),
        (lambda: MIXED.mkdir() or (MIXED / "mine.txt").write_text(""), "holds another dataset"),
    ],
)  # fmt: skip
def test_what_cannot_be_mixed_is_told_in_one_line(parts: Path, damage, told: str) -> None:
    damage()
    made = mix()
    assert made.exit_code == 1
    (line,) = made.stderr.splitlines()[-1:]
    assert told in line
    assert not (MIXED / "mix.csv").exists()


@pytest.mark.parametrize("file", ["imagesTr/liver_1_0000.nii.gz", "labelsTr/liver_1.nii.gz"])
def test_a_real_file_of_two_places_is_refused_until_its_header_gives_one(parts: Path, file: str) -> None:
    """Nobody can tell nnU-Net which to take: it reads the file where it is."""
    path = RAW / REAL / file
    image = nib.load(path)
    apart = image.affine.copy()
    apart[0, 3] += 40
    write_placed(read_volume(path).array, path, sform=apart, qform=image.affine)
    made = mix()
    assert made.exit_code == 1
    assert f"{path.name}: its sform and qform put voxels up to 40.0 mm apart, neither mirrored" in made.stderr
    assert "--trust" not in made.stderr
    assert not MIXED.exists()
    image = nib.load(path)  # and mended, as docs/usage.md says
    image.set_qform(image.get_sform())
    image.to_filename("copy.nii.gz")
    shutil.copy("copy.nii.gz", path)
    assert mix().exit_code == 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--healthy", HEALTHY, "--ratio", "5:5"), "--ratio needs 3 numbers here: real:synthetic:healthy"),
        (("--ratio", "5"), "--ratio needs 2 numbers here: real:synthetic"),
        (("--ratio", "5:0"), "numbers above 0"),
        (("--map", "liver=2"), "say both"),
        (("--map", "spleen=2"), "write liver=LABEL or tumor=LABEL"),
        (("--healthy", "Dataset999_None", "--ratio", "1:1:1"), "no such folder"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(parts: Path, options: tuple[str, ...], told: str) -> None:
    made = mix(*options)
    assert made.exit_code == 2
    assert told in " ".join(made.stderr.split())


def test_running_again_writes_it_anew_and_the_output_may_name_it(parts: Path) -> None:
    assert mix("--map", "liver=2", "--map", "tumor=3", real="Dataset007_Other").exit_code == 0
    assert (MIXED / "labelsTr").is_dir()
    assert mix("--output", "Dataset510_Mixed").exit_code == 0
    assert not (MIXED / "labelsTr").exists()
    assert {path.name for path in RAW.iterdir()} == {REAL, "Dataset007_Other", SYNTHETIC, HEALTHY, MIXED.name}


def test_a_split_that_nnunet_has_kept_of_an_earlier_mixture_is_told(parts: Path, monkeypatch) -> None:
    monkeypatch.setenv("nnUNet_preprocessed", "pre")
    assert mix().exit_code == 0
    kept = Path("pre") / MIXED.name / "splits_final.json"
    kept.parent.mkdir(parents=True)
    shutil.copy(MIXED / "splits_final.json", kept)
    assert "earlier mixture" not in mix().output
    assert f"earlier mixture until it is removed: rm {kept}" in mix("--ratio", "1:3").output
    kept.write_text("[")
    assert "earlier mixture" in mix().output


@pytest.mark.slow
def test_nnunet_plans_preprocesses_and_trains_on_a_mixture(parts: Path) -> None:
    assert mix().exit_code == 0
    assert not list(MIXED.rglob("*.nii.gz")), "a file was copied"
    raw, work = parts / RAW, parts / "work"
    plan_and_preprocess(raw, 510, work)
    used = json.loads((work / "preprocessed" / MIXED.name / "splits_final.json").read_text())
    assert used == folds(), "nnU-Net has not taken the split"
    narrow_network(work)
    model = train(raw, 510, work)
    validated = {path.name for path in (model / "fold_0" / "validation").glob("*.nii.gz")}
    assert validated == {f"{case}.nii.gz" for case in used[0]["val"]}
