"""The study trains and judges what it says, on scans so small that its figures mean nothing: none is asserted."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import study
from click import ClickException
from click.testing import CliRunner
from phantoms import ball_volume
from study import ON_THE_FLY, Setting, Source, real_cases, synthetic_cases

from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.labels import TUMOR
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.settings import Settings
from tumorgen.training.arrays import prepare_arrays

SMALL = Settings(sizes=("small",))
TINY = Setting(scans=1, held_out=1)


@pytest.fixture(scope="module")
def scan():
    volume, liver = ball_volume((5.0, 5.0, 5.0))
    return prepare_arrays(volume.array, liver, (5.0, 5.0, 5.0), case="ball")


def test_an_offline_training_sees_its_variants_and_no_others(scan):
    source = Source([scan], SMALL, 3, np.random.default_rng(0))
    seen = [source.plan(0) for _ in range(40)]
    expected = [draw_variant(scan, SMALL, study.TRAIN_SEED, variant) for variant in range(3)]
    assert all(plan in expected for plan in seen)
    assert all(plan in seen for plan in expected)


def test_on_the_fly_no_plan_comes_twice(scan):
    source = Source([scan], SMALL, ON_THE_FLY, np.random.default_rng(0))
    plans = [source.plan(0) for _ in range(10)]
    assert len({plan.tumors for plan in plans}) == 10


def test_a_patch_is_cut_from_what_a_set_on_disk_holds(scan):
    """With one variant, every patch lies somewhere, perhaps mirrored, in the rendered variant."""
    _, label = render(scan, draw_variant(scan, SMALL, study.TRAIN_SEED, 0)).apply(scan)
    source = Source([scan], SMALL, 1, np.random.default_rng(0))
    counts = [int((source.patch(16, on_tumor=True)[1] == TUMOR).sum()) for _ in range(8)]
    assert min(counts) > 0
    assert max(counts) <= (label == TUMOR).sum()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_worker_processes_make_the_same_batches_again_and_none_twice(scan):
    def first(workers, seed):
        source = Source([scan], SMALL, ON_THE_FLY, np.random.default_rng([seed, 5]))
        stream = study.batches(source, replace(TINY, workers=workers), seed)
        return [tuple(part.numpy().tobytes() for part in next(stream)) for _ in range(4)]

    for workers in (0, 2):
        once = first(workers, 0)
        assert once == first(workers, 0)
        assert len(set(once)) == 4
        assert not set(once) & set(first(workers, 1))


def test_held_out_tumours_are_of_another_seed(scan):
    for _, _, label, _ in synthetic_cases([scan], SMALL, TINY):
        own = (render(scan, draw_variant(scan, SMALL, study.TRAIN_SEED, v)).apply(scan)[1] for v in range(3))
        assert not any(np.array_equal(label, each) for each in own)


def test_real_cases_are_resampled(tmp_path):
    volume, liver = ball_volume((5.0, 2.5, 2.5))
    label = liver.astype(np.uint8)
    label[:, :, : liver.shape[2] // 2] *= TUMOR
    write_volume(volume, tmp_path / "imagesTr" / "a_0000.nii.gz")
    write_volume(Volume(label, volume.geometry), tmp_path / "labelsTr" / "a.nii.gz")
    ((case, image, tumor, voxel_mm3),) = real_cases(tmp_path, 5.0)
    assert (case, image.shape, voxel_mm3) == ("a", (28, 28, 28), 125.0)
    truth = (label == TUMOR).sum() * volume.geometry.voxel_volume_mm3
    assert (tumor == TUMOR).sum() * voxel_mm3 == pytest.approx(truth, rel=0.05)


@pytest.mark.slow
def test_study_runs_and_tells_every_training(tmp_path):
    """With stand-ins for the real scans, and with annotated ones, one of which has no tumour."""
    for number, (image, mask) in enumerate((study.REAL_TRAINING, study.REAL_HELD_OUT)):
        volume, liver = ball_volume((6.0, 5.0, 5.0), seed=number)
        write_volume(volume, tmp_path / "data" / image)
        write_volume(Volume(liver, volume.geometry), tmp_path / "data" / mask)
        label = liver.astype(np.uint8)
        label[: liver.shape[0] // 2] *= TUMOR - number
        write_volume(volume, tmp_path / "raw" / "imagesTr" / f"case{number}_0000.nii.gz")
        write_volume(Volume(label, volume.geometry), tmp_path / "raw" / "labelsTr" / f"case{number}.nii.gz")
    arguments = ["--variants", "1,0", "--iterations", "2", "--spacing", "8", "--scans", "1", "--held-out", "1"]
    places = ["--json", tmp_path / "study.json", "--data", tmp_path / "data", "--annotated", tmp_path / "raw"]
    done = CliRunner().invoke(study.main, [*arguments, "--patch", "12", *map(str, places)])
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "study.json").read_text())
    told = [(result["variants"], result["tested_on"]) for result in results]
    groups = "phantoms", "a real scan", "real tumours"
    assert told == [(variants, group) for variants in (1, 0) for group in groups]
    for group in groups:
        assert f"| on the fly | 0 | {group} |" in done.output


def test_without_real_scans_it_says_so_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "train", lambda *_: None)
    monkeypatch.setattr(study, "predict", lambda _, image, setting: np.zeros(image.shape, np.uint8))
    arguments = ["--variants", "1", "--spacing", "8", "--scans", "1", "--held-out", "1", "--data", str(tmp_path)]
    done = CliRunner().invoke(study.main, [*arguments, "--json", str(tmp_path / "study.json")])
    assert done.exit_code == 0, done.output
    assert "phantoms alone" in done.stderr
    assert {result["tested_on"] for result in json.loads((tmp_path / "study.json").read_text())} == {"phantoms"}


def test_a_dataset_whose_images_have_no_labels_is_refused(tmp_path):
    volume, liver = ball_volume((9.0, 9.0, 9.0))
    write_volume(volume, tmp_path / "imagesTr" / "a_0000.nii.gz")
    write_volume(Volume(liver, volume.geometry), tmp_path / "labelsTr" / "b.nii.gz")
    with pytest.raises(ClickException, match="no case with a file in imagesTr and one in labelsTr"):
        real_cases(tmp_path, 5.0)


def results_of(*dices: float) -> list[dict]:
    """One training of 5 variants for each Dice, and one on the fly that finds nothing."""
    figures = {key: [0.5, 0.25, 0.75, 3] for key in study.FIGURES}
    some = [{"variants": 5, "seed": n, **figures, "dice": [dice, 0.1, 0.9, 8]} for n, dice in enumerate(dices)]
    nothing = {"variants": 0, "seed": 0, **{key: [0.0, float("nan"), float("nan"), 1] for key in study.FIGURES}}
    return [{"tested_on": "phantoms", "seconds": 1.0, **each} for each in (*some, nothing)]


def test_the_summary_tells_the_mean_and_how_far_trainings_differ():
    header, _, five, on_the_fly = "\n".join(study.summary(results_of(0.2, 0.7, 0.6))).splitlines()
    assert header.startswith("| variants per scan | trainings | tested on | Dice ")
    assert five == "| 5 | 3 | phantoms | 0.50 (0.20 to 0.70) | 0.50 (0.50 to 0.50) | 0.50 (0.50 to 0.50) |"
    assert on_the_fly.startswith("| on the fly | 1 | phantoms | 0.00 ")


def test_a_row_has_an_interval_unless_there_is_one_patient():
    first, *_, last = map(study.row, results_of(0.2, 0.7))
    assert first == "| 5 | 0 | phantoms | 0.20 (0.10 to 0.90) | 0.50 (0.25 to 0.75) | 0.50 (0.25 to 0.75) |"
    assert last == "| on the fly | 0 | phantoms | 0.00 | 0.00 | 0.00 |"


def test_curves_are_drawn(tmp_path):
    study.draw_curves(results_of(0.2, 0.7), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_goes_between_the_markers(tmp_path):
    page = tmp_path / "study.md"
    begin, end = "<!-- study: begin -->", "<!-- study: end -->"
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    study.write_between_markers(page, ["| new |", "|---|"])
    assert page.read_text() == f"before\n{begin}\n\n| new |\n|---|\n\n{end}\nafter\n"
    assert study.PAGE.read_text(encoding="utf-8").count(begin) == 1
