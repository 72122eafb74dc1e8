"""The benchmark as nnU-Net's test set: its folders, its tables, and what other commands make of it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner, Result
from phantoms import write_balls
from trees import files_in

from tumorgen.benchmark.dials import DIALS, DIMENSIONS, Benchmark, Default, with_levels
from tumorgen.benchmark.run import benchmark_run, find_departures, make_benchmark
from tumorgen.cli import main
from tumorgen.dataset.raw import BENCHMARK, TEST, Dataset, find_dataset
from tumorgen.errors import TumorgenError
from tumorgen.fields import load_toml
from tumorgen.figures.preview import preview_dataset
from tumorgen.generation.estimate import estimate_run
from tumorgen.generation.replay import Replay, replay_manifest
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.generation.verify import verify_dataset
from tumorgen.method.settings import Settings
from tumorgen.tables.manifest import DIAL_COLUMNS, SAMPLE_COLUMNS, Dial, read_manifest, write_manifest
from tumorgen.tables.sources import Source, match_sources

ROOT = Path(__file__).parents[2]
FEW = with_levels(Benchmark(), ["location=left,dome", "size=4,16,44", "shape=", "intensity=-40,40", "texture=1.3"])
SAMPLES = 9  # of a scan: these and the control


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """Folders of two small healthy scans and their masks."""
    return write_balls(tmp_path_factory.mktemp("scans"), 2, "scan", (4.0, 3.0, 3.0), vessel_radius_mm=4.0)


def sources(scans: Path) -> list[Source]:
    found, _ = match_sources(scans / "images", scans / "masks")
    return found


@pytest.fixture(scope="module")
def made(scans, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "Dataset504_Robustness"
    report = make_benchmark(Run(Dataset(folder, TEST), sources(scans), Settings(), jobs=1), FEW)
    assert not report.failures
    assert report.made == 2 * SAMPLES
    return folder


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def array(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_layout_is_nnunets_for_a_test_set(made):
    samples = [f"scan_{scan}_v{variant:04d}" for scan in range(2) for variant in range(SAMPLES)]
    assert sorted(p.name for p in (made / "imagesTs").iterdir()) == [f"{s}_0000.nii.gz" for s in samples]
    assert sorted(p.name for p in (made / "labelsTs").iterdir()) == [f"{s}.nii.gz" for s in samples]
    assert not (made / "imagesTr").exists()
    assert not (made / "splits_final.json").exists()
    description = json.loads((made / "dataset.json").read_text())
    assert description["numTraining"] == 0
    assert description["labels"] == {"background": 0, "liver": 1, "tumor": 2}
    assert description["channel_names"] == {"0": "CT"}


def test_the_estimate_says_what_each_dimension_writes(made, scans, tmp_path):
    """Within a tenth: of each dimension one sample was made, of one scan."""
    folder = tmp_path / "Dataset504_Robustness"
    found = estimate_run(benchmark_run(Run(Dataset(folder, TEST), sources(scans), Settings(), jobs=1), FEW))
    counts = {"control": 2, "location": 4, "size": 6, "intensity": 4, "texture": 2}
    assert {each.name: each.samples for each in found.classes} == counts
    assert found.bytes == pytest.approx(sum(path.stat().st_size for path in made.rglob("*.nii.gz")), rel=0.1)
    assert list(tmp_path.iterdir()) == []


def test_the_command_estimates_and_writes_nothing(made, scans, tmp_path):
    given = ["robustness", "--images", scans / "images", "--masks", scans / "masks", "--estimate", "--jobs", 1]
    levels = [word for name in ("location", "shape", "intensity", "texture") for word in ("--levels", f"{name}=")]
    done = command(*given, *levels, "--levels", "size=16", "--output", tmp_path)
    assert done.exit_code == 0, done.output
    assert re.search(r"\ncontrol +2 .*\nsize +2 .*\ntotal +4 ", done.stdout)
    assert list(tmp_path.iterdir()) == []
    refused = command(*given, "--output", made.parent)
    assert refused.exit_code == 1
    assert "was begun with other levels" in refused.stderr


def test_manifest_ends_with_dimension_and_level(made):
    with (made / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [*SAMPLE_COLUMNS, *DIAL_COLUMNS]
    assert DIAL_COLUMNS == ("dimension", "level")
    dials = [(row["dimension"], row["level"]) for row in rows if row["case"] == "scan_0"]
    assert dials == [
        ("control", "healthy"),
        ("location", "left"),
        ("location", "dome"),
        ("size", "4"),
        ("size", "16"),
        ("size", "44"),
        ("intensity", "-40"),
        ("intensity", "40"),
        ("texture", "1.3"),
    ]
    assert [record.dial for record in read_manifest(made / "manifest.csv")][:2] == [
        Dial("control", "healthy"),
        Dial("location", "left"),
    ]


def test_the_control_is_the_healthy_scan(made, scans):
    healthy = array(scans / "images" / "scan_0.nii.gz")
    assert np.array_equal(array(made / "imagesTs" / "scan_0_v0000_0000.nii.gz"), healthy)
    assert set(np.unique(array(made / "labelsTs" / "scan_0_v0000.nii.gz"))) == {0, 1}
    record = read_manifest(made / "manifest.csv")[0]
    assert (record.plan.tumors, record.files.tumors_placed, record.files.tumor_volume_mm3) == ((), 0, 0.0)


def test_darker_and_brighter_differ_in_intensity_alone(made):
    """One label; and inside it the dialled 80 HU between the images, wherever the tumour is not faded out."""
    dark, bright = (array(made / "imagesTs" / f"scan_0_v000{n}_0000.nii.gz").astype(float) for n in (6, 7))
    label = array(made / "labelsTs" / "scan_0_v0006.nii.gz")
    assert np.array_equal(label, array(made / "labelsTs" / "scan_0_v0007.nii.gz"))
    assert np.median((bright - dark)[label == 2]) == pytest.approx(80, abs=1)  # HU are whole numbers in the files


def test_a_larger_level_is_a_larger_tumour(made):
    volumes = [np.count_nonzero(array(made / "labelsTs" / f"scan_0_v000{n}.nii.gz") == 2) for n in (3, 4, 5)]
    assert volumes == sorted(volumes)
    assert volumes[2] > 5 * volumes[1]


def test_verify_finds_it_sound(made):
    assert not verify_dataset(made, jobs=1, replays=-1).problems


def test_verify_still_asks_for_what_came_out(made, tmp_path):
    """A control has no tumours; a sample whose rows of tumours were taken out is told."""
    copy = tmp_path / "copy"
    replay_manifest(Replay(Dataset(copy), made / "manifest.csv", samples=["scan_0_v0000", "scan_0_v0004"], jobs=1))
    header = (copy / "tumors.csv").read_text().splitlines()[0]
    (copy / "tumors.csv").write_text(header + "\n")
    found = verify_dataset(copy, jobs=1, replays=0).problems
    problems = [problem for problem in found if problem.file != "tumors.csv"]  # whose sum differs
    assert [(p.file, "do not say what came out" in p.reason) for p in problems] == [("scan_0_v0004", True)]


def test_replay_gives_the_same_test_set(made, tmp_path):
    report = replay_manifest(Replay(Dataset(tmp_path / "again"), made / "manifest.csv", jobs=1))
    assert not report.failures
    again, before = files_in(tmp_path / "again"), files_in(made)
    for name in ("SHA256SUMS", "provenance.json"):  # which know of fewer files, and of no settings
        del again[name]
    assert {name: before[name] for name in again} == again
    assert set(before) - set(again) == {BENCHMARK, "settings.toml", "SHA256SUMS", "provenance.json"}


def test_preview_draws_it(made, tmp_path):
    report = preview_dataset(made, tmp_path / "pictures", count=-1, jobs=1)
    assert not report.failures
    assert len(report.sheets) == 2 * SAMPLES


def test_the_same_command_does_only_what_is_missing(made, scans, tmp_path):
    folder = tmp_path / "Dataset504_Robustness"
    make_benchmark(Run(Dataset(folder, TEST), sources(scans)[:1], Settings(), jobs=1), FEW)
    (folder / "imagesTs" / "scan_0_v0004_0000.nii.gz").unlink()
    report = make_benchmark(Run(Dataset(folder, TEST), sources(scans), Settings(), jobs=1), FEW)
    assert report.made == 1 + SAMPLES
    assert files_in(folder) == files_in(made)


def test_two_processes_make_what_one_does(made, scans, tmp_path):
    folder = tmp_path / "Dataset504_Robustness"
    make_benchmark(Run(Dataset(folder, TEST), sources(scans), Settings(), jobs=2), FEW)
    assert files_in(folder) == files_in(made)


def test_levels_of_a_benchmark_that_made_no_sample_bind_no_other(made, scans, tmp_path, monkeypatch):
    folder = tmp_path / "Dataset504_Robustness"

    def die(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tumorgen.generation.run.make_samples", die)
        with pytest.raises(KeyboardInterrupt):
            make_benchmark(Run(Dataset(folder, TEST), sources(scans), Settings(), jobs=1), Benchmark())
    assert (folder / BENCHMARK).exists()
    make_benchmark(Run(Dataset(folder, TEST), sources(scans), Settings(), jobs=1), FEW)
    assert files_in(folder) == files_in(made)


def test_levels_in_force_are_written_and_others_refused(made, scans):
    assert load_toml(Benchmark, made / BENCHMARK) == FEW
    with pytest.raises(TumorgenError, match="begun with other levels"):
        make_benchmark(Run(Dataset(made, TEST), sources(scans), Settings(), jobs=1), Benchmark())
    with pytest.raises(TumorgenError, match="--seed 0, not 1"):
        make_benchmark(Run(Dataset(made, TEST), sources(scans), Settings(), seed=1, jobs=1), FEW)


def test_training_and_test_do_not_mix(made, scans, tmp_path):
    with pytest.raises(TumorgenError, match="do not go together"):
        synthesize_dataset(Run(Dataset(made), sources(scans), Settings(), per_scan=1, jobs=1))
    training = tmp_path / "Dataset501_X"
    synthesize_dataset(Run(Dataset(training), sources(scans), Settings(sizes=("tiny",)), per_scan=1, jobs=1))
    with pytest.raises(TumorgenError, match="do not go together"):
        make_benchmark(Run(Dataset(training, TEST), sources(scans), Settings(sizes=("tiny",)), jobs=1), FEW)
    with pytest.raises(TumorgenError, match="do not go with others"):
        replay_manifest(Replay(Dataset(training), made / "manifest.csv", jobs=1, training=True))
    tables = {path: (path / "tumors.csv").read_bytes() for path in (made, training)}
    with pytest.raises(TumorgenError, match="do not go together"):  # as `synth --from-manifest` does
        replay_manifest(Replay(Dataset(made), copied(made, tmp_path), jobs=1, training=True))
    with pytest.raises(TumorgenError, match="do not go together"):
        replay_manifest(Replay(Dataset(training), made / "manifest.csv", jobs=1))
    assert {path: (path / "tumors.csv").read_bytes() for path in tables} == tables


def copied(made, folder):
    """The tables of a dataset, elsewhere, and where its scans are found from there."""
    write_manifest(read_manifest(made / "manifest.csv"), folder / "copy.csv")
    return folder / "copy.csv"


def test_ordinary_tables_have_no_such_columns(made, tmp_path):
    """A benchmark's columns come and go with its rows."""
    records = read_manifest(made / "manifest.csv")
    write_manifest(records, tmp_path / "same.csv")
    assert (tmp_path / "same.csv").read_bytes() == (made / "manifest.csv").read_bytes()
    stripped = [type(r)(r.plan, r.outcomes, r.files) for r in records]
    write_manifest(stripped, tmp_path / "plain.csv")
    assert (tmp_path / "plain.csv").read_text().splitlines()[0] == ",".join(SAMPLE_COLUMNS)


def test_find_dataset_tells_test_from_training(made, tmp_path):
    assert find_dataset(made).part == TEST
    (tmp_path / "imagesTs").mkdir()
    (tmp_path / "imagesTr").mkdir()
    assert find_dataset(tmp_path) == Dataset(tmp_path)  # a test set of the user's own beside training cases


def test_departures_say_where_a_tumour_is_not_what_was_dialled(made):
    """In a ball of 60 mm with a vessel in the middle, r = 44 mm has no room and r = 4 mm has."""
    told = {(d.dimension, d.level): d for d in find_departures(read_manifest(made / "manifest.csv"))}
    assert told["size", "44"].samples == 2
    assert told["size", "44"].clipped == told["size", "44"].on_vessels == 2
    assert ("size", "4") not in told


def test_a_scan_that_cannot_be_used_costs_no_other_its_samples(scans, tmp_path):
    bad = Source("bad", tmp_path / "no.nii.gz", tmp_path / "no.nii.gz")
    report = make_benchmark(Run(Dataset(tmp_path / "D", TEST), [bad, sources(scans)[0]], Settings(), jobs=1), FEW)
    assert report.made == SAMPLES
    assert {failure.name for failure in report.failures} == {"bad"}
    assert sum(failure.samples for failure in report.failures) == SAMPLES


def test_command_says_what_comes_next(scans, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    folders = ("--images", scans / "images", "--masks", scans / "masks")
    few = [word for name in ("location", "shape", "intensity", "texture") for word in ("--levels", f"{name}=")]
    result = command("robustness", *folders, *few, "--levels", "size=4,44", "--jobs", 1)
    assert result.exit_code == 0, result.stderr
    assert "6 samples of 2 scans, 6 made" in result.stdout
    assert "note: size 44: of 2 tumours, 2 cut by the liver's edge" in result.stdout
    folder = "nnUNet_raw/Dataset504_Robustness"
    assert f"nnUNetv2_predict -i {folder}/imagesTs -o predictions -d 501 -c 3d_fullres -f 0\n" in result.stdout
    assert f"tumorgen evaluate predictions {folder}/labelsTs --manifest {folder}/manifest.csv" in result.stdout
    assert Path("manifests/Dataset504_Robustness.csv").read_bytes() == Path(folder, "manifest.csv").read_bytes()


def test_the_table_in_the_docs_has_the_levels_in_force():
    page = (ROOT / "docs" / "robustness.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", page, re.MULTILINE))
    for dimension in DIMENSIONS:
        levels = [dial.level for dial in Benchmark().dials() if dial.dimension == dimension]
        assert rows[dimension].replace("*", "").split(", ") == levels
    bold = {dimension: text.split("**")[1] for dimension, text in rows.items() if "**" in text}
    default = Default()
    assert {name: float(level) for name, level in bold.items()} == {
        dimension: getattr(default, field) for dimension, field in DIALS.items()
    }


def test_the_levels_in_the_docs_load(tmp_path):
    page = (ROOT / "docs" / "robustness.md").read_text()
    (block,) = [b for b in re.findall(r"(?:^ {4}.+\n|^\n)+", page, re.MULTILINE) if "[default]" in b]
    (tmp_path / "b.toml").write_text(re.sub(r"^ {4}", "", block, flags=re.MULTILINE))
    assert load_toml(Benchmark, tmp_path / "b.toml").default == Default(10.0, 2.5, -30.0, 1.3)


@pytest.mark.parametrize("options", [("--levels", "size=tiny"), ("--name", "../x"), ("--levels", "weight=1")])
def test_a_command_typed_wrongly_is_a_usage_error(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    assert command("robustness", *options).exit_code == 2
