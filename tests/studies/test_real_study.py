"""The study on real tumours learns, judges, folds and goes on as it says; on balls of liver with dark balls in them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import real_page
import real_study
from click.testing import CliRunner
from phantoms import ball_volume
from real_cases import AIR_HU, folds_of, healthy_part, read_cases
from real_patches import (
    HEALTHY,
    IGNORED,
    ILL,
    TARGETS,
    SyntheticTumors,
    cut_patch,
    draw_batches,
    draw_place,
    real_example,
)
from real_scores import Prediction, best_threshold, judge_case, predict_example
from real_study import REAL, Setting, units_of
from sklearn.metrics import average_precision_score

from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.labels import TUMOR
from tumorgen.method.rendering import render
from tumorgen.method.settings import Capsule, Intensity, Settings
from tumorgen.training.patches import draw_any_class

DARKER_HU = 80.0
CENTERS_MM = ((0.0, 0.0, 20.0), (10.0, -25.0, 0.0), (-20.0, 15.0, -15.0))  # (z, y, x) from the middle
RADIUS_MM = 9.0
# The network sees a fifth of a patch's millimetre in so few steps that only what is obvious can be learned.
TINY = Setting(steps=60, batch=4, patch=48, features=(8, 16, 32))
OBVIOUS = Settings(
    sizes=("small",),
    intensity=Intensity(least_contrast_hu=60, fallback_contrast_hu=90, lowest_hu=10),
    capsule=Capsule(enabled=False),
)


def write_annotated(root: Path, name: str, seed: int, count: int = 3, spacing_mm=(5.0, 3.0, 3.0)) -> None:
    """A ball of liver with dark balls, and its label."""
    volume, liver = ball_volume(spacing_mm, seed=seed, noise_sd=8.0)
    label = liver.astype(np.uint8)
    axes = [(np.arange(n) - n // 2) * s for n, s in zip(liver.shape, spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    for center in CENTERS_MM[:count]:
        inside = (z - center[0]) ** 2 + (y - center[1]) ** 2 + (x - center[2]) ** 2 <= RADIUS_MM**2
        label[inside] = TUMOR
        volume.array[inside] -= int(DARKER_HU)
    write_volume(volume, root / "imagesTr" / f"{name}_0000.nii.gz")
    write_volume(Volume(label, volume.geometry), root / "labelsTr" / f"{name}.nii.gz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Four scans of three patients, the last of them without a tumour."""
    root = tmp_path_factory.mktemp("annotated")
    for seed, (name, count) in enumerate({"a": 3, "a_later": 2, "b": 3, "healthy": 0}.items()):
        write_annotated(root, name, seed, count)
    (root / "patients.csv").write_text("case,patient\na,a\na_later,a\n")
    return root


@pytest.fixture(scope="module")
def cases(folder):
    return read_cases(folder, folder / "patients.csv")


def test_folds_never_mix_a_patient(cases):
    folds = folds_of(cases)
    assert [fold.patient for fold in folds] == ["a", "b"]  # there is nothing to find in the healthy one
    for fold in folds:
        trained, tested = ({case.patient for case in part} for part in (fold.training, fold.tested))
        assert tested == {fold.patient}
        assert not trained & tested
        assert len(fold.training) + len(fold.tested) == len(cases)
    assert [case.name for case in folds[0].tested] == ["a", "a_later"]


def test_cases_are_their_own_patients_unless_a_table_says_whose_they_are(folder, cases):
    assert [case.patient for case in cases] == ["a", "a", "b", "healthy"]
    assert [case.patient for case in read_cases(folder)] == ["a", "a_later", "b", "healthy"]


def test_data_that_cannot_be_studied_is_refused(tmp_path):
    def refusal(*more):
        done = CliRunner().invoke(real_study.main, ["--real", str(tmp_path), *map(str, more)])
        assert done.exit_code == 1
        return done.stderr

    assert "not a set of images and labels" in refusal()
    write_annotated(tmp_path, "a", 0)
    write_annotated(tmp_path, "b", 1)
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\na,a\nb,a\n")
    assert "2 scans of a single patient; there is none to test on" in refusal("--patients", table)
    table.write_text("case,patient\nc,c\n")
    assert "lists none of the cases" in refusal("--patients", table)


def test_clipped_air_is_air_again(tmp_path):
    """A scan that was clipped to a window has no air left; `synth` and its filters expect some."""
    write_annotated(tmp_path, "whole", 0)
    volume, liver = ball_volume((5.0, 3.0, 3.0))
    write_volume(Volume(np.clip(volume.array, -160, 240), volume.geometry), tmp_path / "imagesTr" / "clipped.nii.gz")
    write_volume(Volume(liver.astype(np.uint8), volume.geometry), tmp_path / "labelsTr" / "clipped.nii.gz")
    clipped, whole = read_cases(tmp_path)
    assert clipped.image.min() == AIR_HU
    assert np.unique(clipped.image)[1] > -160
    assert np.unique(whole.image).size > 100


def test_tumours_are_taken_out_with_what_is_around_them(cases):
    """6 mm, on 5 mm slices and 3 mm pixels."""
    case = cases[0]
    healthy, tumor = healthy_part(case), np.argwhere(case.label == TUMOR) * case.spacing_mm
    assert not healthy[case.label == 0].any()
    for voxel in np.argwhere(case.label == 1)[::50]:
        nearest = np.linalg.norm(tumor - voxel * case.spacing_mm, axis=1).min()
        assert healthy[tuple(voxel)] == (nearest > 6), (voxel, nearest)


def test_image_and_target_of_a_patch_belong_together(cases):
    """However it is turned: what is tumour is dark, what is liver is not, and half of a batch shows tumours."""
    rng = np.random.default_rng(0)
    example = real_example(cases[0])
    for _ in range(20):
        image, target = cut_patch(example, draw_place(example, True, rng), 48, rng)
        assert (image.shape, target.shape) == ((5, 48, 48), (48, 48))
        middle = image[2]
        assert (target == ILL).any()
        # 80 HU of a window of 210 are 0.76; partial volume at the edges and noise take some.
        assert middle[target == HEALTHY].mean() - middle[target == ILL].mean() > 0.5


def test_neighbouring_slices_are_seen_in_order(cases):
    """The first and the last of five are as far apart as they are in the scan, in one sense or the other."""
    case = cases[0]
    ramp = np.broadcast_to(np.arange(case.image.shape[0])[:, None, None] * 5, case.image.shape).astype(np.int16)
    example = real_example(case)
    example = type(example)(ramp, example.target, example.tumors, example.spacing_mm, 100.0)
    rng = np.random.default_rng(0)
    steps = set()
    for _ in range(10):
        image, _ = cut_patch(example, np.array([10, *example.target.shape[1:]]) // [1, 2, 2], 32, rng)
        steps.add(tuple(np.sign(np.diff(image.mean(axis=(1, 2))).round(4)).astype(int)))
    assert steps == {(1, 1, 1, 1), (-1, -1, -1, -1)}


def test_synthetic_tumours_lie_in_the_healthy_part_and_are_new_each_time(cases):
    tumors = SyntheticTumors.in_cases(cases[:1], OBVIOUS, np.random.default_rng(0))
    first = tumors.example(0).target.copy()
    assert (first == ILL).any()
    np.testing.assert_array_equal(first == IGNORED, ~healthy_part(cases[0]))
    np.testing.assert_array_equal(tumors.example(0).target, first)
    tumors.renew(0)
    assert not np.array_equal(tumors.example(0).target, first)


def test_new_tumours_leave_no_trace_of_those_before(cases):
    rng, same = np.random.default_rng(0), np.random.default_rng(0)
    tumors, twins = (SyntheticTumors.in_cases(cases[:1], OBVIOUS, each) for each in (rng, same))
    for _ in range(3):
        tumors.renew(0)
        twins.renew(0)
    scan = twins.hosts[0]
    image, label = render(scan, draw_any_class(scan, OBVIOUS, same)).apply(scan)
    tumors.renew(0)
    np.testing.assert_array_equal(tumors.example(0).image, image)
    np.testing.assert_array_equal(tumors.example(0).target, TARGETS[label])


def test_scans_of_one_patient_are_seen_as_often_as_one(cases, monkeypatch):
    seen = []
    tumors = SyntheticTumors.in_cases(cases[:3], OBVIOUS, np.random.default_rng(0))
    example = tumors.example
    monkeypatch.setattr(tumors, "example", lambda number: seen.append(number) or example(number))
    stream = draw_batches(tumors, 8, 16, np.random.default_rng(0))
    for _ in range(50):
        next(stream)
    shares = np.bincount(seen) / len(seen)
    assert shares == pytest.approx([0.25, 0.25, 0.5], abs=0.1)  # two scans of a, one of b; SD .025


def prediction_of(chance: np.ndarray, target: np.ndarray) -> Prediction:
    return Prediction(chance.astype(np.float32), target.astype(np.uint8), 1.0)


def test_average_precision_is_that_of_the_livers_voxels():
    rng = np.random.default_rng(0)
    target = rng.choice([HEALTHY, ILL, IGNORED], (6, 20, 20), p=[0.6, 0.1, 0.3])
    chance = np.where(target == ILL, rng.uniform(0.2, 1, target.shape), rng.uniform(0, 0.8, target.shape))
    chance[target == IGNORED] = 1.0  # outside the liver nothing counts, however sure the network is
    counted = target != IGNORED
    expected = average_precision_score(target[counted] == ILL, chance.astype(np.float32)[counted])
    figures = judge_case("a", "a", prediction_of(chance, target), 0.5)
    assert figures.average_precision == pytest.approx(expected)
    assert figures.tumor_share == pytest.approx(np.mean(target[counted] == ILL))


def test_average_precision_by_hand():
    """Ranked tumour, liver, tumour, liver: precision is 1 at the first half of recall, 2/3 at the second."""
    target = np.array([[[ILL, HEALTHY, ILL, HEALTHY]]])
    figures = judge_case("a", "a", prediction_of(np.array([[[0.9, 0.8, 0.7, 0.1]]]), target), 0.5)
    assert figures.average_precision == pytest.approx((1 + 2 / 3) / 2)


def test_lesions_found_and_made_up_are_counted_without_specks():
    target = np.full((10, 40, 40), HEALTHY)
    target[2:8, 5:10, 5:10] = target[2:8, 25:30, 25:30] = ILL
    chance = np.zeros(target.shape)
    chance[2:8, 5:10, 5:10] = 1  # one of two is found, all of it
    chance[2:8, 5:10, 30:35] = 1  # one is made up
    chance[0, 0, 0] = 1  # a single voxel is below any lesion
    figures = judge_case("a", "a", prediction_of(chance, target), 0.5)
    assert [lesion.found for lesion in figures.lesions] == [True, False]
    assert figures.lesions[0].radius_mm == pytest.approx((3 * 150 / 4 / math.pi) ** (1 / 3))
    assert figures.false_positives == 1
    assert figures.dice == pytest.approx(2 * 150 / (300 + 300))


def test_the_threshold_is_that_of_the_best_dice():
    target = np.repeat([HEALTHY, ILL], 50).reshape(1, 10, 10)
    chance = np.where(target == ILL, 0.62, 0.42)
    assert 0.42 <= best_threshold([prediction_of(chance, target)]) < 0.62


def test_a_prediction_covers_the_slices_of_the_liver_at_1_mm(cases):
    import torch

    class Dark(torch.nn.Module):
        """Calls dark what is dark in the middle slice."""

        def forward(self, images):
            middle = images[:, 2]
            return torch.stack([middle * 20, -middle * 20], dim=1)

    example = real_example(cases[0])
    prediction = predict_example(Dark(), example)
    slices = (example.target != IGNORED).any(axis=(1, 2)).sum()
    assert prediction.chance.shape == prediction.target.shape
    assert prediction.chance.shape[0] == slices
    volume = (prediction.target == ILL).sum() * prediction.voxel_mm3
    truth = (cases[0].label == TUMOR).sum() * math.prod(cases[0].spacing_mm)
    assert volume == pytest.approx(truth, rel=0.02)  # nearest voxels
    assert judge_case("a", "a", prediction, 0.5).average_precision > 0.9
    assert len(predict_example(Dark(), example, 4).chance) == 4


@pytest.mark.parametrize("kind", [REAL, "turing"])
def test_an_obvious_lesion_is_learned(cases, kind, monkeypatch):
    monkeypatch.setattr(real_study, "load_recipe", lambda recipe: OBVIOUS)
    unit = next(unit for unit in units_of([kind], 1, cases) if unit.fold.patient == "b")
    result = real_study.run_unit(unit, TINY, "")
    (figures,) = result["cases"]
    assert figures["tumor_share"] < 0.02
    assert figures["average_precision"] > 0.5
    assert [lesion["found"] for lesion in figures["lesions"]] == [True] * 3
    json.dumps(result)


def test_the_network_is_as_large_as_it_is_said_to_be():
    from networks import build_unet

    network = build_unet(5, 2, Setting().features, dimensions=2, seed=0)
    assert sum(parameter.numel() for parameter in network.parameters()) >= 500_000


def result_of(unit, precision: float = 0.5, about: str = "") -> dict:
    """What a training could have found."""
    cases = [
        {
            "case": case.name,
            "patient": case.patient,
            "average_precision": precision,
            "tumor_share": 0.01,
            "dice": 0.4,
            "false_positives": 3,
            "lesions": [{"radius_mm": 4.0, "found": True}, {"radius_mm": 12.0, "found": False}],
        }
        for case in unit.fold.tested
    ]
    told = {"threshold": 0.5, "training_seconds": 1.0, "testing_seconds": 1.0, "cpu_seconds": 2.0, "cases": cases}
    return {"about": about, "kind": unit.kind, "seed": unit.seed, "patient": unit.fold.patient, **told}


def test_the_same_command_does_what_is_missing(folder, tmp_path, monkeypatch):
    done, stop_at = [], [3]

    def run(unit, setting, about):
        done.append(unit.key)
        if len(done) in stop_at:
            raise KeyboardInterrupt
        return result_of(unit, about=about)

    monkeypatch.setattr(real_study, "run_unit", run)
    lines = tmp_path / "results.jsonl"
    command = [
        "--real",
        folder,
        "--patients",
        str(folder / "patients.csv"),
        "--kinds",
        "real,turing",
        "--results",
        lines,
    ]

    def call(*more):
        done.clear()
        return CliRunner().invoke(real_study.main, [*map(str, command), *more])

    assert call().exit_code != 0
    assert len(lines.read_text().splitlines()) == 2
    lines.write_text(lines.read_text() + '{"kind": "rea')  # killed while it wrote
    told = call("--no-train")
    assert "2 of 8 trainings are done" in told.stderr
    assert "| trained on | trainings |" in told.stdout
    assert done == []
    stop_at.clear()
    finished = call()
    assert finished.exit_code == 0, finished.output
    assert "2 of 8 trainings are done" in finished.stderr
    assert done[0] == ("real", 0, "b")  # the one that was interrupted
    everything = [("real", 0, "a"), ("turing", 0, "a"), ("real", 0, "b"), ("turing", 0, "b")]
    everything += [(kind, 1, patient) for kind, _, patient in everything]
    read = [json.loads(line) for line in lines.read_text().splitlines() if line.endswith("}")]
    assert sorted((r["kind"], r["seed"], r["patient"]) for r in read) == sorted(everything)
    call()
    assert done == []
    call("--steps", "7")  # another setting: nothing of it is done
    assert len(done) == 8


@pytest.mark.slow
def test_the_command_trains_two_at_a_time(folder, tmp_path):
    """With the real network and recipes that are at hand, for two steps."""
    script, tests = real_study.__file__, str(Path(real_study.__file__).parents[1])
    options = [
        "--patients",
        str(folder / "patients.csv"),
        "--kinds",
        "real,lifelike",
        "--seeds",
        "1",
        "--steps",
        "2",
        "--jobs",
        "2",
    ]
    command = [sys.executable, "-W", "ignore", script, "--real", str(folder), *options]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": tests}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "| real tumours | 2 | " in done.stdout
    assert "| `lifelike` | 2 | " in done.stdout
    assert len((tmp_path / "real-study.jsonl").read_text().splitlines()) == 4


def test_lines_of_another_recipe_do_not_count(cases, monkeypatch):
    before = {kind: real_study.digest_of(kind, TINY, cases) for kind in (REAL, "turing")}
    monkeypatch.setattr(real_study, "load_recipe", lambda recipe: OBVIOUS)
    after = {kind: real_study.digest_of(kind, TINY, cases) for kind in (REAL, "turing")}
    assert before["turing"] != after["turing"]
    assert before[REAL] == after[REAL]


def some_results(cases, **precisions: float) -> list[dict]:
    return [result_of(unit, precisions[unit.kind]) for unit in units_of(list(precisions), 2, cases)]


def test_scans_and_trainings_of_one_patient_weigh_as_one_patient(cases):
    results = some_results(cases, real=0.5)
    for result in results:
        for case in result["cases"]:
            case["average_precision"] = {"a": 0.2, "a_later": 0.4, "b": 0.9}[case["case"]]
    assert real_page.by_patient(results, "average_precision") == pytest.approx({"a": 0.3, "b": 0.9})
    mean, low, high = real_page.mean_with_limits([0.3, 0.9])
    assert mean == pytest.approx(0.6)
    assert high - mean == pytest.approx(12.706 * 0.3, rel=1e-4)  # Student's t of one degree of freedom, SE 0.3
    assert low < 0
    assert "| real tumours | 4 | 0.60 (0.00 to 1.00) |" in real_page.summary_lines(results)[-1]


def test_of_one_patient_there_is_no_interval():
    assert real_page.cell(*real_page.mean_with_limits([0.3])) == "0.30"
    assert real_page.cell(*real_page.mean_with_limits([])) == "-"


def test_the_page_tells_patients_radii_and_differences(cases):
    text = "\n".join(real_page.page_text(some_results(cases, real=0.5, lifelike=0.7, turing=0.1)))
    assert "| trained on | a (4 lesions) | b (2 lesions) |" in text
    assert "| `lifelike` | 0.70 | 0.70 |" in text
    assert "| a guess (share of tumour voxels) | 0.0100 | 0.0100 |" in text
    assert "| trained on | <5 mm (n = 3) | 5-10 mm (n = 0) | 10-20 mm (n = 3) | >20 mm (n = 0) |" in text
    assert "| `turing` | -0.40 (-0.40 to -0.40) | 0 of 2 |" in text
    assert "| `turing` | -0.60 (-0.60 to -0.60) | 0 of 2 |" in text
    assert text.count("| `turing` | 1 | ") == 3
    assert text.index("The first table has means over patients") < text.index("| trained on | trainings |")


def test_the_figure_is_drawn(cases, tmp_path):
    (tmp_path / real_page.FIGURE.parent).mkdir()
    real_page.write_figure(some_results(cases, real=0.5, turing=0.1), tmp_path)
    assert (tmp_path / real_page.FIGURE).read_bytes().startswith(b"\x89PNG")


def test_the_page_has_a_place_for_the_tables():
    text = real_study.PAGE.read_text(encoding="utf-8")
    assert text.count(f"<!-- {real_study.MARKER}: begin -->") == 1
    assert text.count(f"<!-- {real_study.MARKER}: end -->") == 1
