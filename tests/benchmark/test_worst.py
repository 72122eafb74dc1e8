"""Worst cases: cells ranked by a stated rule, new samples around them, rendered into a training set."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from phantoms import ball_scan, ball_volume, write_balls

from tumorgen.benchmark.dials import Benchmark, with_levels
from tumorgen.benchmark.regions import Regions
from tumorgen.benchmark.run import make_benchmark
from tumorgen.benchmark.worst import (
    Aim,
    Cell,
    WorstCases,
    find_aim,
    near_class,
    plan_around,
    plan_labelled,
    plan_worst,
    rank_cells,
    share_out_samples,
)
from tumorgen.cli import main
from tumorgen.dataset.raw import TEST, Dataset
from tumorgen.errors import LeftOutError, TumorgenError
from tumorgen.evaluation.scores import CaseScore, Evaluation, write_evaluation
from tumorgen.generation.run import Run
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan
from tumorgen.method.settings import Settings
from tumorgen.tables.manifest import Dial, Record, read_manifest
from tumorgen.tables.sources import Source, match_sources

FEW = with_levels(Benchmark(), ["location=left,dome", "size=4,8,16", "shape=", "intensity=-40,0,40", "texture="])


@pytest.fixture(scope="module")
def scan() -> Scan:
    return ball_scan((4.0, 3.0, 3.0), vessel_radius_mm=4.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A benchmark of two scans, and an ordinary dataset of them."""
    root = write_balls(tmp_path_factory.mktemp("made"), 2, "scan", (4.0, 3.0, 3.0), vessel_radius_mm=4.0)
    scans = sources(root)
    make_benchmark(Run(Dataset(root / "Dataset504_Robustness", TEST), scans, Settings(), jobs=1), FEW)
    synthesize_dataset(
        Run(Dataset(root / "Dataset501_X"), scans, Settings(sizes=("tiny", "small")), per_scan=2, jobs=1)
    )
    return root


def sources(root: Path) -> list[Source]:
    found, _ = match_sources(root / "images", root / "masks")
    return found


def scored(root: Path, name: str, folder: Path, dsc: dict[tuple[str, str], float]) -> Path:
    """An evaluation in which a cell has a DSC, and all others 0.9; lesions are found where it is above 0."""
    cases = []
    for record in read_manifest(root / name / "manifest.csv"):
        dial = record.dial or Dial("size_class", record.plan.size_class)
        value = dsc.get((dial.dimension, dial.level), 0.9) if record.plan.tumors else float("nan")
        lesions = len(record.plan.tumors)
        found = lesions if value > 0 else 0
        cases.append(
            CaseScore(
                case=record.plan.sample, patient=record.plan.case, tumor_dsc=value, lesions=lesions, detected_any=found
            )
        )
    write_evaluation(Evaluation(tuple(cases), ()), folder)
    return folder


def command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def record_of(sample: str, dimension: str, level: str, scan: Scan, radius_mm: float = 16.0) -> Record:
    plan = draw_variant(scan, Settings(sizes=("medium",), pattern="single"), 0, 0)
    tumors = tuple(replace(tumor, radius_mm=radius_mm) for tumor in plan.tumors)
    return Record(replace(plan, sample=sample, tumors=tumors), (None,), None, Dial(dimension, level))


def score(case: str, dsc: float, found: int = 1) -> CaseScore:
    return CaseScore(case=case, patient="p", tumor_dsc=dsc, lesions=1, detected_any=found)


def test_cells_are_ranked_by_mean_dsc(scan):
    records = [record_of(str(n), "size", level, scan) for n, level in enumerate(("4", "4", "16", "16"))]
    scores = {str(n): score(str(n), dsc) for n, dsc in enumerate((0.2, 0.6, 0.3, 0.3))}
    assert rank_cells(records, scores) == [
        Cell(Dial("size", "16"), 2, pytest.approx(0.3), 1.0),
        Cell(Dial("size", "4"), 2, pytest.approx(0.4), 1.0),
    ]


def test_of_two_alike_the_less_sensitive_then_the_first_is_worse(scan):
    cells = [("texture", "2"), ("texture", "1"), ("size", "10"), ("size", "9"), ("intensity", "0")]
    records = [record_of(str(n), *cell, scan) for n, cell in enumerate(cells)]
    scores = {str(n): score(str(n), 0.0, found=0 if n == 4 else 1) for n in range(5)}
    ranked = [(cell.dial.dimension, cell.dial.level) for cell in rank_cells(records, scores)]
    assert ranked == [("intensity", "0"), ("size", "9"), ("size", "10"), ("texture", "1"), ("texture", "2")]
    assert rank_cells(records[::-1], scores) == rank_cells(records, scores)


def test_control_faults_and_undefined_scores_are_in_no_cell(scan):
    control = record_of("0", "control", "healthy", scan)
    records = [control, *(record_of(str(n), "size", "4", scan) for n in range(1, 5))]
    scores = {
        "0": score("0", 0.0),
        "1": CaseScore(case="1", patient="p", status="missing_prediction"),
        "2": score("2", float("nan")),
        "3": score("3", 0.5),
    }
    assert [(cell.dial, cell.cases) for cell in rank_cells(records, scores)] == [(Dial("size", "4"), 1)]


def test_a_number_is_jittered_between_its_neighbours(scan):
    records = [record_of(level, "size", level, scan, float(level)) for level in ("16", "4", "8")]
    records += [record_of(f"i{level}", "intensity", level, scan) for level in ("-40", "0")]
    assert find_aim(Dial("size", "8"), records) == Aim(Dial("size", "8"), 8.0, (4.0, 16.0))
    assert find_aim(Dial("size", "4"), records) == Aim(Dial("size", "4"), 4.0, (4.0, 8.0))
    assert find_aim(Dial("intensity", "0"), records) == Aim(Dial("intensity", "0"), 16.0, (-40.0, 0.0))


@pytest.mark.parametrize("cell", [("weight", "3"), ("size", "huge"), ("location", "hilum")])
def test_no_tumour_is_drawn_around_an_unknown_cell(scan, cell):
    with pytest.raises(TumorgenError, match="no tumour can be drawn around"):
        find_aim(Dial(*cell), [record_of("0", *cell, scan)])


@pytest.mark.parametrize(
    ("count", "cells", "scans"),
    [(100, 3, 100), (100, 3, 7), (1, 3, 2), (9, 4, 6), (19, 4, 6), (12, 3, 3), (7, 2, 1), (5, 1, 8)],
)
def test_samples_are_shared_out_evenly(count, cells, scans):
    """Over cells, over scans, and over the pairs of them, whether or not their numbers share a divisor."""
    shares = share_out_samples(count, cells, scans)
    assert len(shares) == scans
    assert sum(map(len, shares)) == count
    per_cell = [sum(share.count(cell) for share in shares) for cell in range(cells)]
    assert max(per_cell) - min(per_cell) <= 1
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    of_pair = [share.count(cell) for share in shares for cell in range(cells)]
    assert max(of_pair) - min(of_pair) <= 1


def around(scan: Scan, cell: tuple[str, str], jitter: tuple[float, float] = (0.0, 0.0), count: int = 20, seed: int = 0):
    target = Aim(Dial(*cell), 16.0, jitter)
    regions = Regions.of(scan)
    plans = [plan_around(scan, regions, target, Settings(), seed, variant) for variant in range(count)]
    assert all(len(plan.tumors) == 1 for plan in plans)
    return plans


def spread(values: list[float], low: float, high: float) -> bool:
    """Twenty draws of U(low, high): within it, and both its outer thirds are met (missed with probability 6e-4)."""
    third = (high - low) / 3
    return low <= min(values) < low + third and high - third < max(values) <= high


@pytest.mark.parametrize("dimension", ["size", "shape", "intensity", "texture"])
def test_only_what_is_dialled_is_held_near_its_level(scan, dimension):
    """All else spreads over what synth draws it from."""
    jitter = {"size": (4.0, 16.0), "shape": (4.5, 9.0), "intensity": (-20.0, 20.0), "texture": (2.0, 4.0)}[dimension]
    tumors = [plan.tumors[0] for plan in around(scan, (dimension, "8"), jitter)]
    drawn = {
        "size": [t.radius_mm for t in tumors],
        "shape": [t.sigma_e_mm for t in tumors],
        "intensity": [t.mu_t_hu - scan.mu_p_hu for t in tumors],
        "texture": [t.eta for t in tumors],
    }
    assert spread(drawn[dimension], *jitter)
    if dimension != "size":
        assert set(drawn["size"]) == {16.0}
    if dimension not in ("size", "shape"):
        assert spread(drawn["shape"], 3, 6)  # class medium
    if dimension != "intensity":
        assert spread(drawn["intensity"], 30 - scan.mu_p_hu, -10)  # Table 1
    if dimension != "texture":
        assert spread(drawn["texture"], 1.1, 1.5)
    assert len({t.center_mm for t in tumors}) == len({t.shape_seed for t in tumors}) == 20


def test_a_location_is_drawn_in_its_region(scan):
    regions = Regions.of(scan)
    index = {scan.voxel(n): n for n in range(scan.candidates.size)}
    for plan in around(scan, ("location", "dome")):
        voxel = tuple(round(i) for i in scan.geometry.to_index(plan.tumors[0].center_mm))
        assert regions.members["dome"][index[voxel]]


def test_a_radius_between_the_classes_has_the_shape_of_the_nearest():
    assert near_class(Settings(), 16).sigma_e_mm == (3, 6)
    assert near_class(Settings(), 2).sigma_e_mm == (0.25, 0.5)  # half of tiny
    assert near_class(Settings(), 44).sigma_e_mm == pytest.approx((6.875, 13.75))  # 44 / 32 of large


def test_samples_are_new_and_the_same_every_time(scan):
    first = around(scan, ("size", "8"), (4.0, 16.0))
    assert around(scan, ("size", "8"), (4.0, 16.0)) == first
    assert around(scan, ("size", "8"), (4.0, 16.0), seed=1) != first
    ordinary = {t.texture_seed for v in range(20) for t in draw_variant(scan, Settings(), 0, v).tumors}
    assert not ordinary & {plan.tumors[0].texture_seed for plan in first}


def test_the_manifest_holds_rows_and_sources_alone(made, tmp_path):
    evaluation = scored(made, "Dataset504_Robustness", tmp_path / "e", {("size", "8"): 0.1, ("location", "left"): 0.2})
    manifest = made / "Dataset504_Robustness" / "manifest.csv"
    report = plan_worst(WorstCases(evaluation, manifest, tmp_path / "w.csv", Settings(), count=7, cells=2), jobs=1)
    assert [cell.dial for cell in report.cells[:2]] == [Dial("size", "8"), Dial("location", "left")]
    records = read_manifest(tmp_path / "w.csv")
    assert {record.dial for record in records} == {Dial("size", "8"), Dial("location", "left")}
    assert [record.plan.sample for record in records] == [
        f"scan_{scan}_v{variant:04d}" for scan, count in ((0, 4), (1, 3)) for variant in range(count)
    ]
    assert all(record.files is None and record.outcomes == (None,) for record in records)
    assert {record.sources.source_image for record in records} == {str(s.image) for s in sources(made)}


def test_a_training_set_is_rendered_of_it_and_resumed(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("nnUNet_raw", raising=False)
    scored(made, "Dataset504_Robustness", Path("evaluation"), {("size", "8"): 0.1})
    found = command("worst", "evaluation", made / "Dataset504_Robustness" / "manifest.csv", "--count", 6, "--jobs", 1)
    assert found.exit_code == 0, found.stderr
    assert "size 8                         0.100        1.000        2  <- worst" in found.stdout
    assert "worst.csv: 6 samples planned around 3 cells" in found.stdout

    render = ("synth", "--from-manifest", "worst.csv", "--dataset-id", 503, "--name", "Worst", "--jobs", 1)
    done = command(*render)
    assert done.exit_code == 0, done.stderr
    folder = Path("nnUNet_raw/Dataset503_Worst")
    assert len(list((folder / "imagesTr").iterdir())) == len(list((folder / "labelsTr").iterdir())) == 6
    assert json.loads((folder / "dataset.json").read_text())["numTraining"] == 6
    for fold in json.loads((folder / "splits_final.json").read_text()):
        assert not {s[:6] for s in fold["train"]} & {s[:6] for s in fold["val"]}  # scan_0, scan_1
    assert [r.plan for r in read_manifest(folder / "manifest.csv")] == [
        r.plan for r in read_manifest(Path("worst.csv"))
    ]
    assert Path("manifests/Dataset503_Worst.csv").is_file()
    assert command("verify", folder, "--replays", -1, "--jobs", 1).exit_code == 0

    (folder / "labelsTr" / "scan_1_v0001.nii.gz").unlink()
    assert "1 made" in command(*render).stdout
    assert "0 made" in command(*render).stdout


def test_a_scan_that_has_changed_is_refused(made, tmp_path):
    scored(made, "Dataset504_Robustness", tmp_path / "e", {})
    other, liver = ball_volume((4.0, 3.0, 3.0), seed=9)
    path = made / "images" / "scan_1.nii.gz"
    kept = path.read_bytes()
    manifest = made / "Dataset504_Robustness" / "manifest.csv"
    plan_worst(WorstCases(tmp_path / "e", manifest, tmp_path / "w.csv", Settings(), count=4, cells=1), jobs=1)
    write_volume(Volume(other.array, Volume(liver, other.geometry).geometry), path)
    try:
        report = plan_worst(
            WorstCases(tmp_path / "e", manifest, tmp_path / "x.csv", Settings(), count=4, cells=1), jobs=1
        )
        assert [(f.name, "planned for another image" in f.reason) for f in report.failures] == [("scan_1", True)]
        assert {record.plan.case for record in report.records} == {"scan_0"}
        words = ("synth", "--from-manifest", tmp_path / "w.csv", "--output", tmp_path, "--jobs", 1)
        done = command(*words)
        assert done.exit_code == 1
        assert "planned for another image" in done.stderr
    finally:
        path.write_bytes(kept)


def test_new_tumours_can_be_put_in_other_patients(made, tmp_path):
    scored(made, "Dataset504_Robustness", tmp_path / "e", {})
    others = [replace(source, case=f"other_{n}") for n, source in enumerate(sources(made))]
    manifest = made / "Dataset504_Robustness" / "manifest.csv"
    report = plan_worst(
        WorstCases(tmp_path / "e", manifest, tmp_path / "w.csv", Settings(), count=4, cells=1, sources=others), jobs=1
    )
    assert {record.plan.case for record in report.records} == {"other_0", "other_1"}


def test_cells_of_an_ordinary_dataset_are_its_size_classes(made, tmp_path):
    evaluation = scored(made, "Dataset501_X", tmp_path / "e", {("size_class", "tiny"): 0.1})
    manifest = made / "Dataset501_X" / "manifest.csv"
    report = plan_worst(WorstCases(evaluation, manifest, tmp_path / "w.csv", Settings(), count=3, cells=1), jobs=1)
    assert [cell.dial for cell in report.cells] == [Dial("size_class", "tiny"), Dial("size_class", "small")]
    assert {record.plan.size_class for record in report.records} == {"tiny"}
    assert all(3 <= record.plan.tumors_requested <= 10 for record in report.records)  # as the size table says
    before = {t.texture_seed for r in read_manifest(manifest) for t in r.plan.tumors}
    assert not before & {t.texture_seed for r in report.records for t in r.plan.tumors}


def test_samples_without_a_score_are_told(made, tmp_path):
    folder = scored(made, "Dataset501_X", tmp_path / "e", {})
    lines = (folder / "cases.csv").read_text().splitlines(keepends=True)
    (folder / "cases.csv").write_text("".join(lines[:-1]))
    done = command("worst", folder, made / "Dataset501_X" / "manifest.csv", "--output", tmp_path / "w.csv", "--jobs", 1)
    assert "note: 1 sample of the manifest without a score" in done.stdout


def test_an_evaluation_of_another_dataset_is_refused(made, tmp_path):
    write_evaluation(Evaluation((score("nobody", 0.1),), ()), tmp_path / "e")
    manifest = made / "Dataset501_X" / "manifest.csv"
    with pytest.raises(TumorgenError, match="no scored case with a tumour"):
        plan_worst(WorstCases(tmp_path / "e", manifest, tmp_path / "w.csv", Settings()), jobs=1)
    scored(made, "Dataset501_X", tmp_path / "e", {})
    with pytest.raises(TumorgenError, match="choose another --output"):
        plan_worst(WorstCases(tmp_path / "e", manifest, manifest, Settings()), jobs=1)


def test_an_evaluation_of_another_dataset_of_the_same_scans_is_refused(made, tmp_path, monkeypatch):
    """Its samples have the same names. What the references are is told by what they hold, not by the folder's name."""
    monkeypatch.chdir(tmp_path)
    settings = Settings(sizes=("tiny", "small"))
    synthesize_dataset(Run(Dataset(Path("Dataset524_X")), sources(made), settings, seed=1, per_scan=2, jobs=1))
    shutil.copytree(made / "Dataset501_X", "Dataset501_X")
    for name in ("Dataset501_X", "Dataset524_X"):
        labels = Path(name) / "labelsTr"
        assert command("evaluate", labels, labels, "--output", f"of {name}", "--jobs", 1).exit_code == 0

    def plan(evaluation: str, dataset: str) -> str:
        scans = "--images", made / "images", "--masks", made / "masks"
        done = command("worst", evaluation, dataset, *scans, "--count", 3, "--jobs", 1)
        assert done.exit_code in (0, 1)
        return done.stderr if done.exit_code else ""

    assert plan("of Dataset524_X", "Dataset524_X") == plan("of Dataset501_X", "Dataset501_X") == ""
    refusal = "of Dataset524_X: its references are those of Dataset524_X, and Dataset"
    assert refusal in plan("of Dataset524_X", "Dataset501_X")
    for name in ("Dataset501_X", "Dataset524_X"):  # moved and renamed since
        Path(name).rename(f"Dataset6{name[8:]}")
    assert plan("of Dataset524_X", "Dataset624_X") == plan("of Dataset501_X", "Dataset601_X") == ""
    assert refusal in plan("of Dataset524_X", "Dataset601_X")


@pytest.mark.parametrize("name", ["notes.csv", "notes.tumors.csv"])
def test_tables_of_others_are_left_alone(made, tmp_path, name):
    folder, mine = scored(made, "Dataset501_X", tmp_path / "e", {}), tmp_path / name
    mine.write_text("sample,level,dimension\n")
    manifest = made / "Dataset501_X" / "manifest.csv"
    done = command("worst", folder, manifest, "--output", tmp_path / "notes.csv", "--jobs", 1)
    refused = f"Error: {mine}: was not written by this command, and stays as it is; choose another --output\n"
    assert (done.exit_code, done.output) == (1, refused)
    assert mine.read_text() == "sample,level,dimension\n"
    assert {path.name for path in tmp_path.iterdir()} == {"e", name}


def test_samples_that_have_been_made_keep_their_manifest(made, tmp_path):
    """A manifest of new samples is written anew; that of another dataset is not, though its columns are the same."""
    folder, output = scored(made, "Dataset501_X", tmp_path / "e", {}), tmp_path / "manifest.csv"
    words = ("worst", folder, made / "Dataset501_X" / "manifest.csv", "--count", 2, "--output", output, "--jobs", 1)
    assert [command(*words).exit_code for _ in range(2)] == [0, 0]
    for table in ("manifest.csv", "tumors.csv"):
        shutil.copy(made / "Dataset504_Robustness" / table, tmp_path)
    done = command(*words)
    assert done.output == (
        f"Error: {output}: is the manifest of samples that have been made, and stays as it is; choose another"
        " --output\n"
    )
    assert output.read_bytes() == (made / "Dataset504_Robustness" / "manifest.csv").read_bytes()


@pytest.mark.parametrize("option", [("--per-scan", 3), ("--sizes", "tiny"), ("--seed", 0), ("--estimate",)])
def test_what_a_manifest_has_decided_is_not_asked_again(made, tmp_path, option):
    done = command("synth", "--from-manifest", made / "Dataset501_X" / "manifest.csv", "--output", tmp_path, *option)
    assert done.exit_code == 2
    assert f"{option[0]} does not go with --from-manifest" in done.stderr


def test_a_sample_that_names_another_folder_is_refused(made, tmp_path):
    for table in ("manifest.csv", "tumors.csv"):
        text = (made / "Dataset501_X" / table).read_text().replace("scan_0_v0000", "../../out")
        (tmp_path / table).write_text(text)
    done = command("synth", "--from-manifest", tmp_path / "manifest.csv", "--output", tmp_path / "raw", "--jobs", 1)
    assert done.exit_code == 1
    assert "is not safe as a file name" in done.stderr
    assert not (tmp_path / "raw").exists()


def test_new_samples_have_a_voxel_where_the_scan_can_hold_one(tmp_path):
    """Around 2 mm on slices of 10 mm: jittered up to 16 mm, most radii will do, and those that will not are redrawn."""
    thick = ball_scan((10.0, 3.0, 3.0))
    aim = Aim(Dial("size", "2"), 2.0, (2.0, 16.0))
    first = [plan_around(thick, None, aim, Settings(), 0, variant) for variant in range(20)]
    plans = [plan_labelled(thick, None, aim, Settings(), 0, variant) for variant in range(20)]
    assert all(outcome.has_voxels for plan in plans for outcome in render(thick, plan).outcomes)
    assert all(len(plan.tumors) == 1 for plan in plans)
    kept = [plan == drawn for plan, drawn in zip(plans, first, strict=True)]
    assert 0 < sum(kept) < 20  # what has a voxel is what was drawn before
    again = [plan_labelled(thick, None, aim, Settings(), 0, variant) for variant in range(20)]
    assert plans == again


def test_a_cell_that_a_scan_cannot_hold_is_said_to_be_one():
    thick = ball_scan((10.0, 3.0, 3.0))
    with pytest.raises(LeftOutError, match=r"no tumour around size 1 fills half of a voxel; voxels of 10 mm hold"):
        plan_labelled(thick, None, Aim(Dial("size", "1"), 1.0, (1.0, 1.5)), Settings(), 0, 0)
