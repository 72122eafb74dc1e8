"""From scans to a dataset: layout, splits, resume, failures, and the same bits however the work is done."""

from __future__ import annotations

import filecmp
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from phantoms import ball_volume
from trees import files_in

from tumorgen.cli import main
from tumorgen.dataset.folds import splits
from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.fields import to_plain
from tumorgen.generation import copies as copies_module
from tumorgen.generation.run import Run
from tumorgen.generation.shards import Shard
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.recipes import DEFAULT_RECIPE, RECIPES, load_recipe
from tumorgen.method.settings import Settings, load_settings, override
from tumorgen.tables import entries
from tumorgen.tables import manifest as manifest_module
from tumorgen.tables.codec import parse_row
from tumorgen.tables.entries import Entry
from tumorgen.tables.manifest import read_manifest
from tumorgen.tables.sources import match_sources

GOLDEN = Path(__file__).parents[1] / "golden"

SPACING = (3.0, 2.5, 2.5)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Folders of three small healthy scans and their masks."""
    root = tmp_path_factory.mktemp("scans")
    for number in range(3):
        volume, liver = ball_volume(SPACING, vessel_radius_mm=4.0, seed=number)
        write_volume(volume, root / "images" / f"liver_{number:02d}_0000.nii.gz")
        write_volume(Volume(liver, volume.geometry), root / "masks" / f"liver_{number:02d}.nii.gz")
    return root


def make(scans: Path, folder: Path, **options):
    sources, missing = match_sources(scans / "images", scans / "masks")
    assert not missing
    settings = options.pop("settings", Settings(sizes=("tiny", "small")))
    return synthesize_dataset(Run(Dataset(folder), sources, settings, **{"per_scan": 3, "jobs": 1, **options}))


@pytest.fixture(scope="module")
def dataset(scans, tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw") / "Dataset501_SynthLiver"
    report = make(scans, folder, copies=folder.parent / "manifests")
    assert not report.failures
    return folder


def test_layout_is_nnunets(dataset):
    samples = [f"liver_{scan:02d}_v{variant:04d}" for scan in range(3) for variant in range(3)]
    assert sorted(p.name for p in (dataset / "imagesTr").iterdir()) == [f"{s}_0000.nii.gz" for s in samples]
    assert sorted(p.name for p in (dataset / "labelsTr").iterdir()) == [f"{s}.nii.gz" for s in samples]
    description = json.loads((dataset / "dataset.json").read_text())
    assert description["numTraining"] == 9
    assert description["labels"] == {"background": 0, "liver": 1, "tumor": 2}
    assert description["channel_names"] == {"0": "CT"}
    assert description["file_ending"] == ".nii.gz"


def test_files_have_the_sources_geometry_and_types(dataset, scans):
    source = sitk.ReadImage(str(scans / "images" / "liver_00_0000.nii.gz"))
    for name in ("imagesTr/liver_00_v0000_0000.nii.gz", "labelsTr/liver_00_v0000.nii.gz"):
        written = sitk.ReadImage(str(dataset / name))
        assert written.GetSpacing() == source.GetSpacing()
        assert written.GetOrigin() == source.GetOrigin()
        assert written.GetDirection() == source.GetDirection()
        assert written.GetSize() == source.GetSize()
    assert written.GetPixelID() == sitk.sitkUInt8
    assert set(np.unique(sitk.GetArrayFromImage(written))) == {0, 1, 2}


def test_no_scan_is_on_both_sides_of_a_fold(dataset):
    folds = json.loads((dataset / "splits_final.json").read_text())
    assert len(folds) == 3
    held_out = []
    for fold in folds:
        train, val = ({sample.rsplit("_v", 1)[0] for sample in fold[side]} for side in ("train", "val"))
        assert not train & val
        assert len(fold["val"]) == 2  # two variants of each held-out scan by default
        held_out += sorted(val)
    assert sorted(held_out) == ["liver_00", "liver_01", "liver_02"]


def test_seven_scans_make_five_folds_that_hold_out_each_once(dataset):
    record = read_manifest(dataset / "manifest.csv")[0]
    records = [
        replace(record, plan=replace(record.plan, case=f"c{i}", sample=f"c{i}_v0000", variant=0)) for i in range(7)
    ]
    folds = splits(map(Entry.of, records), {f"c{i}": f"c{i}" for i in range(7)}, 2)
    assert len(folds) == 5
    assert sorted(sample for fold in folds for sample in fold["val"]) == [f"c{i}_v0000" for i in range(7)]


def test_classes_are_shared_out_evenly(scans, tmp_path):
    report = make(scans, tmp_path / "Dataset001_X", settings=Settings(sizes=("tiny", "small", "medium")), per_scan=3)
    for case in range(3):
        drawn = [r.plan.size_class for r in report.records if r.plan.case == f"liver_{case:02d}"]
        assert sorted(drawn) == ["medium", "small", "tiny"]


def test_settings_in_force_are_written(dataset):
    assert load_settings(dataset / "settings.toml") == Settings(sizes=("tiny", "small"))


def test_a_manifest_that_is_too_large_is_not_copied_and_it_is_said_where_it_is(scans, tmp_path, monkeypatch):
    folder, copies = tmp_path / "Dataset501_SynthLiver", tmp_path / "manifests"
    make(scans, folder, copies=copies, per_scan=1)
    monkeypatch.setattr(copies_module, "LARGEST_COPY", 1000)
    (note,) = [note for note in make(scans, folder, copies=copies, per_scan=2).notes if "is not copied" in note]
    assert note.endswith(f"MB and is not copied to {copies}; it is {folder / 'manifest.csv'}")
    assert list(copies.iterdir()) == []  # nor is there one of an earlier state


@pytest.mark.parametrize("packed", [False, True])
def test_it_is_said_where_a_copy_takes_the_place_of_another_datasets(scans, tmp_path, monkeypatch, packed):
    """Of two datasets of one name in two folders; that of the same dataset, grown, is no other."""
    copies = tmp_path / "manifests"
    one, other = (tmp_path / root / "Dataset501_SynthLiver" for root in "ab")
    with monkeypatch.context() as patched:
        patched.setattr(copies_module, "LARGEST_PLAIN", 0 if packed else 10**9)
        make(scans, one, copies=copies, per_scan=1)
        assert not [note for note in make(scans, one, copies=copies, per_scan=2).notes if "other samples" in note]
    (note,) = [note for note in make(scans, other, copies=copies, per_scan=1, seed=9).notes if "other samples" in note]
    name = "Dataset501_SynthLiver.csv" + (".gz" if packed else "")
    assert note == (
        f"{copies / name}: was of other samples, whose dataset had the same name, and is not kept; --name keeps both"
    )


def test_copies_of_the_manifest(dataset):
    copies = dataset.parent / "manifests"
    assert filecmp.cmp(dataset / "manifest.csv", copies / "Dataset501_SynthLiver.csv", shallow=False)
    assert filecmp.cmp(dataset / "tumors.csv", copies / "Dataset501_SynthLiver.tumors.csv", shallow=False)


def test_two_jobs_give_the_same_bits(dataset, scans, tmp_path):
    make(scans, tmp_path / "Dataset501_SynthLiver", jobs=2)
    assert files_in(tmp_path / "Dataset501_SynthLiver") == files_in(dataset)


def test_two_halves_give_the_same_bits(dataset, scans, tmp_path):
    folder = tmp_path / "Dataset501_SynthLiver"
    first = make(scans, folder, per_scan=1)
    second = make(scans, folder)
    assert (first.made, second.made) == (3, 6)
    assert files_in(folder) == files_in(dataset)


def test_the_same_command_again_does_nothing(dataset, scans):
    before = files_in(dataset)
    tables = [(dataset / name).stat() for name in ("manifest.csv", "tumors.csv")]
    assert make(scans, dataset).made == 0
    assert files_in(dataset) == before
    again = [(dataset / name).stat() for name in ("manifest.csv", "tumors.csv")]
    assert [(table.st_ino, table.st_mtime_ns) for table in again] == [(t.st_ino, t.st_mtime_ns) for t in tables]


def test_a_lost_file_is_made_again(dataset, scans, tmp_path):
    folder = tmp_path / "Dataset501_SynthLiver"
    make(scans, folder)
    (folder / "labelsTr" / "liver_01_v0002.nii.gz").unlink()
    assert make(scans, folder).made == 1
    assert files_in(folder) == files_in(dataset)


def test_an_interrupted_manifest_is_mended(dataset, scans, tmp_path):
    folder = tmp_path / "Dataset501_SynthLiver"
    make(scans, folder)
    for table in ("manifest.csv", "tumors.csv"):
        text = (folder / table).read_text()
        (folder / table).write_text(text[: -len(text) // 3])
    report = make(scans, folder)
    assert report.made > 0
    changed = [note for note in report.notes if "is not as the last run that ended wrote it" in note]
    assert [note.partition(":")[0] for note in changed] == [str(folder / "manifest.csv"), str(folder / "tumors.csv")]
    assert files_in(folder) == files_in(dataset)
    assert not any("is not as the last run" in note for note in make(scans, folder, per_scan=4).notes)


def test_files_that_a_killed_run_left_and_no_row_describes_are_named(dataset, scans, tmp_path):
    """As where the run is not begun again with the scan that it was at, or with fewer variants."""
    folder = tmp_path / "Dataset501_SynthLiver"
    make(scans, folder)
    shutil.copy(folder / "imagesTr/liver_01_v0002_0000.nii.gz", folder / "imagesTr/liver_01_v0003_0000.nii.gz")
    shutil.copy(folder / "labelsTr/liver_01_v0002.nii.gz", folder / "labelsTr/liver_01_v0003.nii.gz")
    (note,) = (note for note in make(scans, folder).notes if "has no row for" in note)
    assert "2 files" in note
    assert "imagesTr/liver_01_v0003_0000.nii.gz and labelsTr/liver_01_v0003.nii.gz" in note
    assert not any("has no row for" in note for note in make(scans, folder, per_scan=4).notes)


def test_where_nothing_is_missing_no_table_is_written_and_no_tumour_is_read(scans, tmp_path, monkeypatch):
    folder = tmp_path / "Dataset501_SynthLiver"
    make(scans, folder)
    before = {path: path.stat().st_mtime_ns for path in (folder / "manifest.csv", folder / "tumors.csv")}
    parsed = []

    def parsing(kind: type, *rest: object, **given: object) -> object:
        parsed.append(kind)
        return parse_row(kind, *rest, **given)

    for module in (entries, manifest_module):
        monkeypatch.setattr(module, "parse_row", parsing)
    told = []
    report = make(scans, folder, tell=told.append)
    assert (report.made, len(report.entries)) == (0, 9)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert parsed == [Entry] * 9  # each row once
    assert [words.split()[0] for words in told] == ["reading", "9", "writing"]
    assert report.records == tuple(read_manifest(folder / "manifest.csv"))


def test_tables_that_no_row_is_left_of_go_when_there_is_a_new_one(dataset, scans, tmp_path):
    folder = tmp_path / dataset.name
    make(scans, folder, per_scan=1)
    shutil.rmtree(folder / "imagesTr")
    (folder / "manifest.csv").write_text("sample,ca")  # a header that was cut off, of which columns nobody knows
    (folder / "tumors.csv").write_text("sample,tumor\nnever_finished_v0000,0\n")
    make(scans, folder)
    assert files_in(folder) == files_in(dataset)


def test_adding_a_scan_changes_no_other_sample(dataset, scans, tmp_path):
    sources, _ = match_sources(scans / "images", scans / "masks")
    folder = tmp_path / "Dataset501_SynthLiver"
    synthesize_dataset(Run(Dataset(folder), sources[1:2], Settings(sizes=("tiny", "small")), per_scan=3, jobs=1))
    for name, content in files_in(folder).items():
        if name.startswith(("imagesTr", "labelsTr")):
            assert content == (dataset / name).read_bytes()


def test_other_settings_are_refused(dataset, scans):
    with pytest.raises(TumorgenError, match=r"begun with other settings \(sizes"):
        make(scans, dataset, settings=Settings(sizes=("large",)))


@pytest.fixture
def begun(scans, tmp_path, monkeypatch):
    """A dataset of other settings, version and kind, whose run was killed before its first sample."""
    folder = tmp_path / "Dataset501_SynthLiver"

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tumorgen.generation.run.make_samples", die)
        patch.setattr("tumorgen.dataset.provenance.__version__", "0.1.9")
        with pytest.raises(KeyboardInterrupt):
            make(scans, folder, settings=Settings(sizes=("large",)), seed=5, descriptions={"benchmark.toml": ""})
    for name in (".", "imagesTr", "labelsTr"):
        (folder / name / ".partial-killed").mkdir(parents=True)
    assert sorted(files_in(folder)) == [".lock", "benchmark.toml", "provenance.json", "settings.toml"]
    return folder


def test_a_run_that_made_no_sample_binds_no_other(begun, dataset, scans):
    make(scans, begun)
    assert files_in(begun) == files_in(dataset)
    assert not list(begun.rglob(".*"))


@pytest.mark.parametrize("name", ["imagesTr/liver_00_v0000_0000.nii.gz", "labelsTr/x", "manifest.csv", "notes.txt"])
def test_it_does_where_anything_of_a_sample_is_there(begun, scans, name):
    (begun / name).write_bytes(b"")
    before = files_in(begun)
    with pytest.raises(TumorgenError, match=r"begun with (other settings|tumorgen 0\.1\.9)"):
        make(scans, begun)
    assert files_in(begun).keys() == before.keys()


def test_it_does_for_a_shard_beside_which_another_may_be_beginning(begun, scans):
    (begun / ".lock").unlink()
    with pytest.raises(TumorgenError, match=r"begun with tumorgen 0\.1\.9"):
        make(scans, begun, shard=Shard(1, 2))


def test_another_seed_is_refused(dataset, scans):
    with pytest.raises(TumorgenError, match="begun with --seed 0, not 5"):
        make(scans, dataset, seed=5)


def test_a_folder_that_holds_something_else_is_refused(scans, tmp_path):
    (tmp_path / "Dataset501_X").mkdir()
    (tmp_path / "Dataset501_X" / "precious.txt").write_text("mine")
    with pytest.raises(TumorgenError, match="holds another dataset"):
        make(scans, tmp_path / "Dataset501_X")


def test_a_scan_that_has_changed_is_refused_and_costs_no_other(scans, tmp_path):
    for side in ("images", "masks"):
        (tmp_path / side).mkdir()
        for path in (scans / side).iterdir():
            (tmp_path / side / path.name).write_bytes(path.read_bytes())
    folder = tmp_path / "Dataset501_X"
    make(tmp_path, folder, per_scan=1)
    volume, _ = ball_volume(SPACING, seed=99)
    write_volume(volume, tmp_path / "images" / "liver_00_0000.nii.gz")
    report = make(tmp_path, folder, per_scan=2)
    assert [failure.name for failure in report.failures] == ["liver_00"]
    assert "has changed since" in report.failures[0].reason
    assert report.made == 2


def test_one_scan_makes_no_split(scans, tmp_path):
    sources, _ = match_sources(scans / "images", scans / "masks")
    report = synthesize_dataset(
        Run(Dataset(tmp_path / "D"), sources[:1], Settings(sizes=("tiny",)), per_scan=2, jobs=1)
    )
    assert "one scan only, so no split by patient is possible" in report.notes[0]
    assert not (tmp_path / "D" / "splits_final.json").exists()


BROKEN = {
    "truncated": "truncated",
    "text": "not a readable volume|cannot be read",
    "flat": "is 2D|a 3D volume",
    "moving": "is 4D|a 3D volume",
    "no_air": "no air in it",
    "normalised": "no tissue in it|no air in it",
    "other_grid": "does not fit",
    "empty_mask": "mask is empty",
    "nan": "NaN",
}


def broken_scan(kind: str, images: Path, masks: Path) -> None:
    """Write one faulty scan of a kind."""
    volume, liver = ball_volume((6.0, 6.0, 6.0))
    mask = Volume(liver, volume.geometry)
    path = images / f"{kind}.nii.gz"
    if kind == "flat":
        sitk.WriteImage(sitk.GetImageFromArray(volume.array[10]), str(path))
    elif kind == "moving":
        sitk.WriteImage(
            sitk.GetImageFromArray(np.stack([volume.array] * 2).astype("float32"), isVector=False), str(path)
        )
    elif kind == "no_air":
        write_volume(Volume(volume.array + 1024, volume.geometry), path)
    elif kind == "normalised":
        write_volume(Volume((volume.array / 1000).astype("float32"), volume.geometry), path)
    elif kind == "nan":
        spoiled = volume.array.astype("float32")
        spoiled[5, 5, 5] = np.nan
        write_volume(Volume(spoiled, volume.geometry), path)
    else:
        write_volume(volume, path)
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    if kind == "text":
        path.write_text("this is no volume")
    if kind == "empty_mask":
        mask = Volume(np.zeros_like(liver), volume.geometry)
    if kind == "other_grid":
        mask = Volume(liver[1:], replace(volume.geometry, shape=liver[1:].shape))
    write_volume(mask, masks / f"{kind}.nii.gz")


@pytest.fixture
def broken(tmp_path):
    """One good scan among one of every kind of broken ones."""
    for kind in BROKEN:
        broken_scan(kind, tmp_path / "images", tmp_path / "masks")
    volume, liver = ball_volume((6.0, 6.0, 6.0))
    write_volume(volume, tmp_path / "images" / "good.nii.gz")
    write_volume(Volume(liver, volume.geometry), tmp_path / "masks" / "good.nii.gz")
    write_volume(volume, tmp_path / "images" / "lonely.nii.gz")
    return tmp_path


def test_bad_input_gets_a_line_each_and_costs_no_other_scan(broken, monkeypatch):
    monkeypatch.chdir(broken)
    command = ["synth", "--images", "images", "--masks", "masks", "--per-scan", "2", "--sizes", "tiny", "--jobs", "1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("failed: ")]
    assert sorted(line.split(": ")[1] for line in lines) == sorted([*BROKEN, "lonely"])
    for kind, reason in BROKEN.items():
        (line,) = [line for line in lines if line.startswith(f"failed: {kind}: ")]
        assert re.search(reason, line), line
        assert f"{kind}.nii.gz" in line
    assert "Traceback" not in result.output + result.stderr
    written = broken / "nnUNet_raw" / "Dataset501_SynthLiver"
    assert [r.plan.sample for r in read_manifest(written / "manifest.csv")] == ["good_v0000", "good_v0001"]


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--sizes", "huge"], "unknown size class 'huge'", 2),
        (["--pattern", "spots"], "'spots' is not one of 'classes'", 2),
        (["--intensity", "venous"], "'venous' is not one of 'paper'", 2),
        (["--settings", "bad.toml"], "unknown setting 'texture.grain'", 2),
        (["--images", "nowhere"], "does not exist", 2),
        (["--per-scan", "0"], "not in the range", 2),
        (["--name", "../escape"], "letters, digits", 2),
        (["--jobs", "0"], "--jobs 0", 2),
    ],
)
def test_bad_options_get_one_line(scans, tmp_path, monkeypatch, options, message, code):
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text("[texture]\ngrain = 1\n")
    name, value = options
    given = {"--images": str(scans / "images"), "--masks": str(scans / "masks"), "--per-scan": "1", name: value}
    result = CliRunner().invoke(main, ["synth", *(word for pair in given.items() for word in pair)])
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr


def test_an_id_that_is_taken_is_refused(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nnUNet_raw" / "Dataset501_Other").mkdir(parents=True)
    result = CliRunner().invoke(main, ["synth", "--images", str(scans / "images"), "--masks", str(scans / "masks")])
    assert result.exit_code == 2
    assert "has the id 501 already" in result.stderr


def test_without_paths_the_table_of_scans_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["synth"])
    assert result.exit_code == 1
    assert "manifests/scans.csv" in result.stderr
    assert "liver-mask" in result.stderr


def test_output_that_cannot_be_written(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("not a folder")
    command = ["synth", "--images", str(scans / "images"), "--masks", str(scans / "masks"), "--output", "file/raw"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code in (1, 2)
    assert "file/raw" in result.stderr
    assert "Traceback" not in result.stderr


def test_it_is_said_that_more_samples_are_there_than_were_asked_for(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [
        "synth",
        "--images",
        str(scans / "images"),
        "--masks",
        str(scans / "masks"),
        "--sizes",
        "tiny",
        "--jobs",
        "1",
    ]
    more, fewer = (CliRunner().invoke(main, [*given, "--per-scan", count]) for count in ("3", "1"))
    assert "asked for more" not in more.stdout
    there = len(list((tmp_path / "nnUNet_raw").glob("*/imagesTr/*.nii.gz")))
    assert f"asked for more than --per-scan 1, and what it made is kept: {there // 3 * 2} samples more;" in fewer.stdout


def test_the_summary_says_where_to_go_next(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("nnUNet_results", "known")
    command = ["synth", "--images", str(scans / "images"), "--masks", str(scans / "masks"), "--per-scan", "1"]
    result = CliRunner().invoke(main, [*command, "--sizes", "tiny", "--jobs", "1"])
    assert result.exit_code == 0, result.stderr
    assert "3 samples with" in result.stdout
    assert "tumorgen preprocess -d 501 && nnUNetv2_train 501 3d_fullres 0" in result.stdout
    folders = (f"{name}={tmp_path / name}" for name in ("nnUNet_raw", "nnUNet_preprocessed"))
    assert f"\n  export {' '.join(folders)}\n  tumorgen preprocess" in result.stdout
    assert (tmp_path / "manifests" / "Dataset501_SynthLiver.tumors.csv").is_file()


@pytest.mark.parametrize("step", ["vessels", "elastic", "edge-blur", "mass-effect", "capsule"])
def test_a_step_that_is_off_changes_nothing_else_that_is_drawn(scans, tmp_path, monkeypatch, step):
    monkeypatch.chdir(tmp_path)
    sources, _ = match_sources(scans / "images", scans / "masks")
    on = Settings(sizes=("small",))
    off = override(on, without=(step,))
    drawn = []
    for name, settings in (("on", on), ("off", off)):
        report = synthesize_dataset(Run(Dataset(tmp_path / name), sources[:1], settings, per_scan=1, jobs=1))
        drawn.append(report.records[0].plan.tumors)
    kept = ("mu_t_hu", "eta", "texture_seed", "shape_seed", "half_axis_x_mm")
    # With another reach, fewer or more may find room; those that are in both are the same tumours.
    for a, b in zip(*drawn, strict=False):
        assert [getattr(a, name) for name in kept] == [getattr(b, name) for name in kept]
    switched = {"elastic": "sigma_e_mm", "edge-blur": "sigma_c_mm", "mass-effect": "mass_effect_percent"}
    if step in switched:
        assert all(getattr(tumor, switched[step]) == 0 for tumor in drawn[1])
    if step in ("capsule", "edge-blur"):
        assert all(tumor.capsule_hu == 0 for tumor in drawn[1])


def test_a_dataset_of_version_0_1_0_is_told_which_recipe_continues_it(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = Path("nnUNet_raw/Dataset501_SynthLiver/settings.toml")
    old.parent.mkdir(parents=True)
    shutil.copyfile(GOLDEN / "0.1.0" / "dataset" / "settings.toml", old)
    command = ["synth", "--images", str(scans / "images"), "--masks", str(scans / "masks"), "--per-scan", "1"]
    command += ["--output", "nnUNet_raw", "--jobs", "1"]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 1
    assert len(refused.stderr.splitlines()) == 1
    assert "was begun with other settings (sizes: ['tiny', 'small'," in refused.stderr
    remedy = "continue with --recipe turing and --settings that say mass_effect.bone_hu = 0.0, or choose another"
    assert remedy in refused.stderr
    Path("bones.toml").write_text("[mass_effect]\nbone_hu = 0.0\n")
    assert CliRunner().invoke(main, [*command, "--recipe", "turing", "--settings", "bones.toml"]).exit_code == 0
    assert load_settings(old) == Settings()


def test_a_dataset_of_another_recipe_is_told_which_one_continues_it(scans, tmp_path):
    settings = override(load_recipe("paper"), sizes="tiny")
    make(scans, tmp_path / "D", settings=settings, per_scan=1)
    with pytest.raises(TumorgenError, match="now fitted\\); continue with --recipe paper, or choose another"):
        make(scans, tmp_path / "D", settings=override(load_recipe(), sizes="tiny"))
    with pytest.raises(TumorgenError, match=r"\(sizes: \['tiny'\], now \['small'\]\); continue with those, or choose"):
        make(scans, tmp_path / "D", settings=override(load_recipe("paper"), sizes="small"))


def test_provenance_names_the_recipe_and_settings_are_complete(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["synth", "--images", str(scans / "images"), "--masks", str(scans / "masks"), "--per-scan", "1"]
    command += ["--sizes", "tiny", "--output", "raw", "--jobs", "1"]
    for number, (options, name) in enumerate([([], DEFAULT_RECIPE), (["--recipe", "paper"], "paper")]):
        assert CliRunner().invoke(main, [*command, *options, "--dataset-id", str(number + 1)]).exit_code == 0
        folder = Path(f"raw/Dataset00{number + 1}_SynthLiver")
        found = json.loads((folder / "provenance.json").read_text())
        assert found["command"].startswith(f"tumorgen synth --recipe {name} --settings settings.toml --seed 0 ")
        settings = replace(load_recipe(name), sizes=("tiny",))
        for recipe in RECIPES:  # complete: the recipe that it lies on does not matter
            assert load_settings(folder / "settings.toml", load_recipe(recipe)) == settings
        assert found["settings"] == json.loads(json.dumps(to_plain(settings)))
