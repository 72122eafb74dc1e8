"""A recipe learnt from lesions whose distributions are known, and its file."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from discs import disc_scan, write_discs, write_scan
from scipy import ndimage

from tumorgen.cli import main
from tumorgen.figures import save_figure
from tumorgen.method.recipes import load_recipe
from tumorgen.method.settings import load_settings
from tumorgen.realism import bin_tables, fit_chart
from tumorgen.realism.bin_tables import (
    BINS_MM,
    SCATTER,
    blend,
    depth_before_cut,
    own_part,
    part_within,
    prior_bin,
    resampled,
    table_of,
    without_scatter,
)
from tumorgen.realism.fitting import fit_recipe, no_looks, share_of_patients
from tumorgen.realism.label_maps import MeasuredLabels, measure_label_maps
from tumorgen.realism.recipe_files import format_recipe, write_recipe
from tumorgen.realism.scans import call_after_scans
from tumorgen.realism.shapes import LesionShape, TumorBurden

LIFELIKE = load_recipe("lifelike")
ROUND = LesionShape(8.0, 2.0, 0.0, 16.0, 2.0, 0.95, 0.9, 0.8, 0.7, 1.0)


@pytest.fixture
def shapes_as_they_were(monkeypatch):
    """Tables of shape are not looked for, which takes seconds a bin: `test_shape_tables` does."""
    monkeypatch.setattr(bin_tables, "fit_shapes", lambda real, start, limits, settings: start)


def label_map(case: str, radii: np.ndarray, patient: str = "") -> MeasuredLabels:
    shapes = tuple(replace(ROUND, radius_mm=float(r), depth=2 + float(r) / 10) for r in radii)
    return MeasuredLabels(case, patient or case, (1.0, 0.8, 0.8), TumorBurden(len(radii), 0, 1500.0, 10.0), shapes)


def looks(count: int, rng: np.random.Generator, radius_mm: float = 8.0) -> pd.DataFrame:
    """Lesions with contrasts N(-40, 6), edges of 1.2 mm, and a field of 6 HU in noise of 8 HU; ten a patient."""
    contrast = rng.normal(-40, 6, count)
    return (
        no_looks()
        .reindex(range(count))
        .assign(
            scan=[f"s{i // 10}" for i in range(count)],
            patient=[f"p{i // 10}" for i in range(count)],
            weight=1.0,
            radius_mm=radius_mm,
            core_contrast_hu=contrast,
            edge_width_mm=1.2 * 2.563,
            inside_low_sd_hu=10.0,
            ring_low_sd_hu=8.0,
        )
    )


def test_distributions_are_given_back_within_their_scatter(shapes_as_they_were):
    rng = np.random.default_rng(0)
    radii = rng.lognormal(math.log(6), 0.4, (80, 5)).clip(2.1)
    fit = fit_recipe([label_map(f"s{i}", each) for i, each in enumerate(radii)], looks(200, rng), LIFELIKE, jobs=1)
    real = fit.settings.real
    assert real.radius_mm[10] == pytest.approx(6, rel=0.05)  # 400 of a spread of 0.4: 0.025
    assert np.log(real.radius_mm[15] / real.radius_mm[5]) == pytest.approx(0.4 * 1.349, rel=0.15)
    assert real.count == pytest.approx([5] * 21, abs=0.4)  # lifelike has 0.01 of it
    middle = real.bins[1]
    assert middle.below_mm == 10
    assert middle.contrast_hu[5] == pytest.approx(-40, abs=1.2)  # 6 / sqrt(200), times three
    own = math.sqrt(6**2 - SCATTER[10.0][0] ** 2)  # the spread without what measuring adds
    assert (middle.contrast_hu[8] - middle.contrast_hu[2]) / (2 * 0.842) == pytest.approx(own, rel=0.2)
    assert middle.sigma_c_mm[5] == pytest.approx(1.2, abs=0.02)
    inner = pd.Series([6.5])  # 1.5 mm inside
    noise = 0.64 * 8**2 * part_within(inner, 1.6)[0]
    grain = float(np.median(LIFELIKE.real.bins[1].grain_mm))
    seen = part_within(inner, math.hypot(grain, 1.5))[0] * grain**2 / (grain**2 + 1.5**2)
    assert middle.heterogeneity[5] == pytest.approx(math.sqrt((10**2 - noise) / seen) / 40, abs=0.02)
    assert middle.depth[5] == pytest.approx(2.7, abs=0.05)  # 2 + r / 10
    assert middle.grain_mm == pytest.approx(prior_bin(LIFELIKE.real, 10.0).grain_mm)


@pytest.mark.parametrize("center", [0.0, 0.3, 0.6, 0.9])
def test_the_depth_before_the_cut_is_that_of_a_balls_centre(center):
    z, y, x = np.meshgrid(*[(np.arange(-80, 80) + 0.5) / 80] * 3, indexing="ij")
    left = (z**2 + y**2 + x**2 <= 1) & (z >= -center)  # the surface is a plane, z the way inside
    measured = pd.Series([center + z[left].mean()])
    assert depth_before_cut(measured)[0] == pytest.approx(center, abs=0.005)


def test_a_lesion_that_nothing_is_cut_off_is_as_deep_as_measured():
    assert depth_before_cut(pd.Series([1.0, 1.3, 9.0])).tolist() == [1.0, 1.3, 9.0]
    assert np.isnan(depth_before_cut(pd.Series([np.nan]))[0])
    assert depth_before_cut(pd.Series([3 / 8]))[0] == pytest.approx(0)  # half a ball


def test_few_lesions_are_blended_as_stated(shapes_as_they_were):
    rng = np.random.default_rng(0)
    few = looks(8, rng).assign(core_contrast_hu=-20.0)
    fit = fit_recipe([label_map("s", np.full(8, 8.0))], few, LIFELIKE, jobs=1)
    lifelike = prior_bin(LIFELIKE.real, 10.0)
    found = fit.settings.real.bins[1]
    assert found.contrast_hu == pytest.approx((np.array(lifelike.contrast_hu) - 20) / 2, abs=0.01)
    assert found.depth == pytest.approx((np.array(lifelike.depth) + 2.8) / 2, abs=0.01)
    one_scan = own_part(1)
    assert fit.settings.real.count[10] == pytest.approx(
        one_scan * 8 + (1 - one_scan) * resampled(LIFELIKE.real.count, 20)[10], abs=0.06
    )
    assert fit.settings.real.bins[0].contrast_hu == pytest.approx(prior_bin(LIFELIKE.real, 5.0).contrast_hu)  # none


def test_alone_blends_with_lesions_of_all_sizes(shapes_as_they_were):
    many = looks(100, np.random.default_rng(0)).assign(core_contrast_hu=-30.0)
    few = many.iloc[:8].assign(radius_mm=15.0, core_contrast_hu=-50.0)
    measured = [label_map("s", np.full(50, 8.0))]
    fit = fit_recipe(measured, pd.concat([many, few]), LIFELIKE, alone=True, jobs=1)
    assert fit.settings.real.bins[2].contrast_hu[5] == pytest.approx(-40, abs=0.01)  # half of eight, half of all
    assert set(fit.settings.real.bins[3].contrast_hu[2:]) == {-30.0}
    assert fit.settings.real.bins[3].depth == pytest.approx([2.8] * 11)
    assert fit.settings.real.radius_mm == (8.0,) * 21


def test_alone_takes_nothing_of_lifelike_where_two_lesions_are_too_few_for_a_table(shapes_as_they_were):
    many = looks(100, np.random.default_rng(0)).assign(core_contrast_hu=-30.0)
    two = many.iloc[:2].assign(radius_mm=15.0, core_contrast_hu=-80.0)
    fit = fit_recipe([label_map("s", np.full(50, 8.0))], pd.concat([many, two]), LIFELIKE, alone=True, jobs=1)
    assert set(fit.settings.real.bins[2].contrast_hu[2:]) == {-30.0}
    assert (fit.bins[2].count("contrast_hu"), fit.bins[2].own_part("contrast_hu")) == (2, 0)


def test_part_of_a_table_is_a_half_for_eight_lesions():
    assert [own_part(n) for n in (0, 8, 24)] == pytest.approx([0, 0.5, 0.9])
    assert blend((1.0, 2.0, 3.0), (3.0, 4.0), own_part(8)) == pytest.approx((2.0, 2.75, 3.5))


def test_values_are_held_within_limits():
    frame = pd.DataFrame({"core_contrast_hu": [-200.0, -40.0, 30.0], "weight": 1.0})
    assert table_of(frame, "core_contrast_hu", "contrast_hu", 2) == (-90.0, -40.0, -12.0)


def test_part_of_a_field_within_a_disc_is_that_of_drawn_fields():
    rng = np.random.default_rng(0)
    y, x = np.ogrid[-100:101, -100:101]
    parts = []
    for _ in range(40):
        field = ndimage.gaussian_filter(rng.standard_normal((201, 201)), 20.0)
        parts.append(field[y**2 + x**2 <= 40**2].var() * 4 * np.pi * 20**2)  # the variance of filtered white noise
    assert part_within(pd.Series([4.0]), 2.0)[0] == pytest.approx(np.mean(parts), rel=0.15)  # 40 fields
    assert part_within(pd.Series([50.0]), 1.0)[0] == pytest.approx(1, abs=0.01)
    assert part_within(pd.Series([0.5]), 5.0)[0] == pytest.approx(0, abs=0.01)


def test_scatter_of_measuring_is_taken_out_of_the_spread():
    rng = np.random.default_rng(0)
    measured = pd.Series(rng.normal(-40, 6, 2000) + rng.normal(0, 4, 2000))
    own = without_scatter(measured, pd.Series(np.ones(2000)), 4.0)
    assert own.std() == pytest.approx(6, rel=0.05)
    assert own.median() == pytest.approx(measured.median())
    assert set(without_scatter(pd.Series([1.0, 2.0, np.nan]), pd.Series(np.ones(3)), 4.0).dropna()) == {1.5}


def test_a_patient_who_was_scanned_often_does_not_draw_the_others_to_her():
    """Nine scans of one lesion beside six of others: where all spread is that of measuring, what is left is theirs."""
    values, weights = pd.Series([0.5] * 9 + [1.0] * 6), pd.Series([1 / 9] * 9 + [1.0] * 6)
    assert without_scatter(values, weights, 5.0).tolist() == pytest.approx([1.0] * 15)


def test_scans_of_a_patient_weigh_as_one(shapes_as_they_were):
    once = [label_map("a", np.linspace(3, 4, 9)), label_map("b", np.linspace(5, 9, 9))]
    twice = [*once, label_map("b2", np.linspace(5, 9, 9), patient="b")]
    first, second = (fit_recipe(each, no_looks(), LIFELIKE, jobs=1) for each in (once, twice))
    assert second.settings.real.radius_mm == pytest.approx(first.settings.real.radius_mm, rel=0.04)  # half a rank
    assert [each.count("depth") for each in second.bins] == [each.count("depth") for each in first.bins]


def test_scans_without_lesions_count_in_no_number(shapes_as_they_were):
    measured = [label_map(f"s{i}", np.full(3, 6.0)) for i in range(40)]
    healthy = [label_map(f"h{i}", np.array([])) for i in range(40)]
    first, second = (fit_recipe(each, no_looks(), LIFELIKE, jobs=1) for each in (measured, [*measured, *healthy]))
    assert first.settings == second.settings
    assert "40 scans without lesions count in no number" in " ".join(format_recipe(second, "c").split("\n# "))


def test_what_a_patients_lesions_share_is_found(shapes_as_they_were):
    rng = np.random.default_rng(1)
    common = np.repeat(rng.normal(0, 1, 40), 10)
    frame = looks(400, rng).assign(
        core_contrast_hu=-40 + 6 * (common + rng.normal(0, 1, 400)), sigma_c_mm=1 + 0.1 * rng.normal(0, 1, 400)
    )
    assert share_of_patients(frame, 0.0) == pytest.approx(own_part(40) * 0.25, abs=0.06)  # mean of one half and none
    assert share_of_patients(frame.iloc[:5], 0.36) == 0.36


def test_a_lesion_that_was_scanned_twice_is_not_two_that_are_alike():
    rng = np.random.default_rng(2)
    once = looks(48, rng).assign(
        scan=[f"a{i // 2}" for i in range(48)],
        patient=[f"p{i // 2}" for i in range(48)],
        sigma_c_mm=rng.uniform(0.5, 1.5, 48),
    )
    again = once.assign(scan=once["scan"] + " later")
    alone, both = (share_of_patients(frame, 0.0) for frame in (once, pd.concat([once, again], ignore_index=True)))
    assert both == pytest.approx(alone, abs=0.05)
    one_each = pd.concat([once[::2], again[::2]], ignore_index=True)  # a lesion a scan
    assert share_of_patients(one_each, 0.36) == 0.36


def test_file_is_read_back_and_says_what_it_was_made_of(tmp_path, shapes_as_they_were):
    rng = np.random.default_rng(0)
    fit = fit_recipe([label_map(f"s{i}", np.full(5, 8.0)) for i in range(4)], looks(8, rng), LIFELIKE, jobs=1)
    write_recipe(fit, tmp_path / "mine.toml", "tumorgen fit real --output mine.toml")
    text = (tmp_path / "mine.toml").read_text(encoding="utf-8")
    assert load_settings(tmp_path / "mine.toml") == fit.settings
    assert text.startswith("# tumorgen fit real --output mine.toml\n")
    assert "20 lesions, 4 scans, 4 patients" in text
    counts = "depth and shape 20 (86%), contrast 8 (50%), edge 8 (50%), heterogeneity 8 (50%)."
    assert f"Lesions, and their part in the tables: {counts}" in text.replace("\n# ", " ")
    assert len(fit.settings.real.bins) == len(BINS_MM)
    assert max(map(len, text.splitlines())) < 170


def test_label_maps_are_measured_alone_and_one_that_cannot_be_costs_no_other(tmp_path):
    write_discs(tmp_path, 2, lesions=3)
    write_scan(tmp_path, "odd", *(lambda hu, labels: (hu, labels + 3))(*disc_scan(1)))
    measured, failures = measure_label_maps(tmp_path / "labels", call_after_scans({"p1": "p0"}), jobs=1)
    # The table calls the patient of p1 as another case is called that it does not list: these are two.
    assert [(each.case, each.patient, each.burden.lesions) for each in measured] == [("p0", "p0", 3), ("p1", "p1", 3)]
    assert measured[0].spacing_mm == (2.5, 1.0, 1.0)
    assert "holds the labels 3, 4, 5; only 0, 1 (liver) and 2 (tumour) are known" in failures[0].reason


def run(*words: object):
    return CliRunner().invoke(main, ["fit", *map(str, words), "--jobs", "1"])


class TestCommand:
    @pytest.fixture
    def real(self, tmp_path: Path, monkeypatch) -> Path:
        monkeypatch.setattr(bin_tables, "fit_shapes", lambda real, start, limits, settings: start)
        return write_discs(tmp_path / "real", 3, lesions=8)

    def test_learns_from_images_and_labels(self, real, tmp_path, monkeypatch):
        drawn = []
        monkeypatch.setattr(
            fit_chart, "save_figure", lambda figure, path: drawn.append(figure) or save_figure(figure, path)
        )
        done = run(real, "--output", tmp_path / "mine.toml", "--plot", tmp_path / "mine.png")
        assert done.exit_code == 0, done.output
        assert "of 24 lesions in 3 label maps; contrast, edge and heterogeneity of 24 lesions" in done.output
        found = load_settings(tmp_path / "mine.toml").real
        assert 3.4 < found.radius_mm[2] < found.radius_mm[-3] < 8.5  # drawn from 3.5 to 7; lifelike has a tenth of it
        lifelike, part = prior_bin(LIFELIKE.real, 10.0), own_part(24 * 2 / 3.5)  # those of 5 to 7 mm
        assert found.bins[1].contrast_hu[5] == pytest.approx(
            part * -45 + (1 - part) * lifelike.contrast_hu[5], abs=4
        )  # drawn from -54 to -36
        assert found.bins[1].sigma_c_mm[5] == pytest.approx(part * 1.2 + (1 - part) * lifelike.sigma_c_mm[5], abs=0.2)
        assert (tmp_path / "mine.png").stat().st_size > 10_000
        (figure,) = drawn
        assert figure.get_suptitle() == "real: 24 lesions in 3 label maps"
        assert figure.axes[2].get_ylabel() == "radius 0 to 5 mm\nshare of lesions up to this value"
        before, ours = figure.axes[-1].lines[:2]
        assert (before.get_linestyle(), ours.get_linestyle()) == ("-", "--")  # both are seen where they agree

    def test_says_of_how_many_lesions_the_look_was_measured_and_why_not_of_the_others(self, real, tmp_path):
        hu, labels = disc_scan(7, lesions=4)
        hu[labels == 2] = -200
        write_scan(real, "clipped", hu, labels)
        done = run(real, "--output", tmp_path / "mine.toml")
        assert "of 28 lesions in 4 label maps; contrast, edge and heterogeneity of 24 lesions" in done.output
        assert "note: real: 4 lesions measured in part or not at all: clipped" in done.output
        assert "heterogeneity are those of 24 lesions, 3 scans, 3 patients" in (tmp_path / "mine.toml").read_text()

    def test_a_recipe_is_written_anew_unless_it_was_changed_since(self, real, tmp_path):
        mine, words = tmp_path / "mine.toml", (real, "--output", tmp_path / "mine.toml", "--plot", tmp_path / "m.png")
        for _ in range(2):
            assert run(*words).exit_code == 0
        changed = mine.read_text().replace("least_chance = ", "least_chance = 0")
        mine.write_text(changed)
        refused = run(*words)
        assert refused.exit_code == 1
        assert refused.output == (
            f"Error: {mine}: may have been changed by hand since it was written, and stays as it is; choose another"
            " --output\n"
        )
        assert mine.read_text() == changed

    @pytest.mark.parametrize("text", ["case,patient\np0,ann\n", "# tumorgen fit\n[[real.bins]]", "[[real.bins]]\n", ""])
    def test_files_of_others_are_left_alone(self, real, tmp_path, text, monkeypatch):
        monkeypatch.setattr("tumorgen.realism.measure_folder", lambda *_, **__: pytest.fail("has begun"))
        file = tmp_path / "keep.png"
        file.write_text(text)
        for words in (("--output", file), ("--output", tmp_path / "mine.toml", "--plot", file)):
            refused = run(real, *words)
            assert refused.exit_code == 1
            assert refused.output == (
                f"Error: {file}: was not written by this command, and stays as it is; choose another {words[-2]}\n"
            )
            assert file.read_text() == text

    def test_the_first_line_is_what_was_typed(self, real, tmp_path, monkeypatch):
        """A number stands for a folder below $nnUNet_raw, whose path is nobody else's matter."""
        monkeypatch.setenv("nnUNet_raw", str(tmp_path / "raw"))
        monkeypatch.chdir(tmp_path)
        shutil.copytree(real, tmp_path / "raw" / "Dataset003_Liver")
        for typed in ("3", "Dataset003_Liver", "raw/Dataset003_Liver"):
            assert run(typed, "--output", f"{len(typed)}.toml").exit_code == 0
            text = Path(f"{len(typed)}.toml").read_text()
            assert text.startswith(f"# tumorgen fit {typed} --output {len(typed)}.toml\n")
            assert str(tmp_path) not in text

    def test_a_picture_is_called_what_it_is(self, real, tmp_path):
        refused = run(real, "--output", tmp_path / "mine.toml", "--plot", tmp_path / "patients.csv")
        assert refused.exit_code == 2
        assert "patients.csv' does not end in .png, and the picture is a PNG." in refused.output
        assert {path.name for path in tmp_path.iterdir()} == {"real"}

    def test_samples_of_one_scan_weigh_as_one_in_looks_and_shapes(self, real, tmp_path):
        """A manifest beside the labels says whose they are."""
        (real / "manifest.csv").write_text("sample,case\np0,x\np1,x\np2,y\n")
        run(real, "--output", tmp_path / "mine.toml")
        assert (tmp_path / "mine.toml").read_text().count("24 lesions, 3 scans, 2 patients") == 2

    def test_learns_from_label_maps_alone(self, real, tmp_path):
        done = run("--labels", real / "labels", "--output", tmp_path / "mine.toml")
        assert done.exit_code == 0, done.output
        bins = load_settings(tmp_path / "mine.toml").real.bins
        assert bins[1].contrast_hu == pytest.approx(prior_bin(LIFELIKE.real, 10.0).contrast_hu)
        assert bins[1].depth != prior_bin(LIFELIKE.real, 10.0).depth

    def test_patients_are_named_by_a_table(self, real, tmp_path):
        (tmp_path / "patients.csv").write_text("case,patient\np0,ann\np1,ann\np2,bob\n")
        words = ("--patients", tmp_path / "patients.csv", "--output", tmp_path / "mine.toml")
        assert run(real, *words).exit_code == 0
        assert "24 lesions, 3 scans, 2 patients" in (tmp_path / "mine.toml").read_text()

    def test_table_of_other_patients_is_refused(self, real, tmp_path):
        (tmp_path / "patients.csv").write_text("case,patient\nq0,ann\n")
        refused = run(real, "--patients", tmp_path / "patients.csv", "--output", tmp_path / "mine.toml")
        assert refused.exit_code == 1
        assert "lists none of the cases (such as p0)" in refused.output

    def test_wrong_input_gets_one_line(self, real, tmp_path):
        output = ("--output", tmp_path / "mine.toml")
        assert "Give REAL" in run(*output).output
        assert "not a set of images and labels" in run(tmp_path, *output).output
        assert "no volumes in it" in run("--labels", tmp_path, *output).output
        hu, labels = disc_scan(1, lesions=0)
        write_scan(tmp_path / "healthy", "p0", hu, labels)
        for words in ((tmp_path / "healthy",), ("--labels", tmp_path / "healthy" / "labels")):
            refused = run(*words, *output)
            assert refused.exit_code == 1
            assert "no lesions (label 2) in any of its" in refused.output
        assert not (tmp_path / "mine.toml").exists()

    def test_scan_on_another_grid_is_listed_and_the_rest_is_learnt_from(self, real, tmp_path):
        hu, labels = disc_scan(9)
        write_scan(real, "moved", hu, None)
        write_scan(tmp_path / "other", "moved", hu, labels, spacing_mm=(2.0, 1.0, 1.0))
        (tmp_path / "other" / "labels" / "moved.nii.gz").rename(real / "labels" / "moved.nii.gz")
        done = run(real, "--output", tmp_path / "mine.toml")
        assert done.exit_code == 1
        assert "is not on the grid of" in done.output
        assert (tmp_path / "mine.toml").is_file()
