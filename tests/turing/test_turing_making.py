"""A study: every case a file like the others, the key apart, its tumour where the key says."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner
from mixed_tumors import REAL_RADIUS_MM, write_mixed
from reader_studies import write_scan, write_sets

from tumorgen.checksums import sha256_of
from tumorgen.cli import main
from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import read_volume
from tumorgen.turing import making
from tumorgen.turing.blinding import HIGHEST_HU, LOWEST_HU, resample_ct
from tumorgen.turing.making import Made, Wanted, make_study
from tumorgen.turing.study import case_file, read_key, read_study


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_sets(tmp_path_factory.mktemp("sets"), 3, 4)


@pytest.fixture(scope="module")
def made(sets, tmp_path_factory) -> tuple[Path, Made]:
    study = tmp_path_factory.mktemp("made") / "study"
    return study, make_study(Wanted(*sets, count=5, readers=("anna", "ben")), study, jobs=1)


def test_the_key_says_what_each_case_is(made):
    study, found = made
    key = read_key(study)
    assert tuple(key.values()) == found.rows
    assert Counter(row.kind for row in key.values()) == {"real": 2, "synthetic": 3}
    assert {row.source[:4] for row in key.values() if row.kind == "real"} == {"live"}
    assert all(row.tumors == 1 and abs(row.tumor_radius_mm - 9) < 1.5 for row in key.values())


def test_no_file_names_the_folder_that_a_set_lies_in(sets, made):
    drawn_from = json.loads((made[0] / "key" / "drawn.json").read_text())
    assert (drawn_from["real"], drawn_from["synthetic"]) == tuple(folder.name for folder in sets)
    for file in made[0].rglob("*"):
        assert not file.is_file() or str(sets[0].parent).encode() not in file.read_bytes(), file


def test_files_of_cases_differ_in_their_voxels_alone(made):
    study, found = made
    files = [case_file(study, row.case).read_bytes() for row in found.rows]
    assert len({len(file) for file in files}) == 1
    assert len({file[:352] for file in files}) == 1
    assert len(set(files)) == len(files)
    for row in found.rows:
        image = nib.load(case_file(study, row.case))
        assert image.get_data_dtype() == np.int16
        low, high = np.asarray(image.dataobj).min(), np.asarray(image.dataobj).max()
        assert (low, high) >= (LOWEST_HU, 100)
        assert high <= HIGHEST_HU


def test_nothing_that_is_served_says_which_are_real(made, sets):
    """Not the names, the order of writing, or the study's description; the key is in a folder of its own."""
    study, found = made
    shown = (study / "study.json").read_text()
    assert "real" not in shown
    assert "synthetic" not in shown
    for row in found.rows:
        assert row.source not in shown
        assert row.source.encode() not in case_file(study, row.case).read_bytes()
    assert sorted(path.name for path in study.iterdir()) == ["cases", "key", "study.json"]
    assert sorted(json.loads(shown)) == ["format", "id", "readers", "starts_mm"]


def test_a_case_begins_at_its_tumour_and_the_key_leads_back_into_the_scan(made, sets):
    study, found = made
    shown = read_study(study)
    for row in found.rows:
        start = shown.starts_mm[row.case]
        image = nib.load(case_file(study, row.case))
        ras = np.array([-start[0], -start[1], start[2], 1.0])
        i, j, k = np.rint(np.linalg.solve(image.affine, ras)[:3]).astype(int)
        around = np.asarray(image.dataobj)[i - 1 : i + 2, j - 1 : j + 2, k]
        assert abs(around.mean() - 60) < 15  # liver of 100 HU, 40 darker
        folder = sets[0] if row.kind == "real" else sets[1]
        scan = nib.load(folder / "labels" / f"{row.source}.nii.gz")
        at = np.array([row.center_x_mm, row.center_y_mm, row.center_z_mm]) + start
        index = np.linalg.solve(scan.affine, [-at[0], -at[1], at[2], 1.0])[:3]
        assert np.asarray(scan.dataobj)[tuple(np.rint(index).astype(int))] == 2


def test_a_synthetic_case_is_shown_at_a_synthetic_tumour_though_a_real_one_is_larger(sets, tmp_path):
    """The scans' own tumours stay labelled in a dataset that `synth --real-tumours` makes of them."""
    source, dataset = write_mixed(tmp_path, 2)
    study = tmp_path / "study"
    found = make_study(Wanted(sets[0], dataset, count=4, share_real=0.5), study, jobs=1)
    assert found.failures == ()
    assert any(note.startswith("in 2 synthetic cases real tumours are there, too: ") for note in found.notes)
    shown = read_study(study)
    synthetic = [row for row in found.rows if row.kind == "synthetic"]
    assert len(synthetic) == 2
    for row in synthetic:
        own, made = (
            read_volume(folder / f"{name}.nii.gz")
            for folder, name in ((source / "labels", row.source[:2]), (dataset / "labelsTr", row.source))
        )
        at = np.array([row.center_x_mm, row.center_y_mm, row.center_z_mm]) + shown.starts_mm[row.case]
        index = tuple(np.rint(made.geometry.to_index(tuple(at))).astype(int))
        assert (int(made.array[index]), int(own.array[index])) == (2, 1)
        assert row.tumor_radius_mm < REAL_RADIUS_MM - 3


def test_a_study_whose_real_side_is_synthetic_is_made_and_says_so(tmp_path):
    """As in a demonstration on phantoms, which have no real tumours."""
    real, synthetic = write_sets(tmp_path, 1, 1)
    (real / "manifest.csv").write_text("sample,case,tumors_placed\nliver_0,ball,1\n")
    given = ["turing", "make", "--real", real, "--synthetic", synthetic, "--count", 2, "--share-real", 0.5]
    done = CliRunner().invoke(main, [str(word) for word in (*given, "--jobs", 1, "--output", tmp_path / "study")])
    assert done.exit_code == 0, done.output
    assert f"note: {real}: holds samples with synthetic tumours, which this study takes for real: " in done.output


def test_the_grid_is_the_coarsest_of_the_cases(made):
    _, found = made
    assert found.field.spacing_mm == (5.0, 3.0, 3.0)
    assert all(n * s > 120 for n, s in zip(found.field.shape, found.field.spacing_mm, strict=True))


def test_the_same_seed_draws_the_same_study_and_another_one_another(made, sets, tmp_path):
    study, found = made
    again = make_study(Wanted(*sets, count=5, readers=("anna", "ben")), tmp_path / "again", jobs=1)
    assert again.rows == found.rows
    assert read_study(tmp_path / "again").readers == read_study(study).readers
    other = make_study(Wanted(*sets, count=5, seed=1), tmp_path / "other", jobs=1)
    assert other.rows != found.rows


def test_voxels_as_large_as_the_fields_are_shown_as_they_are(made, sets):
    """No value of these is interpolated; the scans with finer voxels are."""
    study, found = made
    for row in found.rows:
        if row.kind == "real":
            scan = nib.load(sets[0] / "images" / f"{row.source}_0000.nii.gz")
            shown = np.asarray(nib.load(case_file(study, row.case)).dataobj)
            whole = np.clip(np.rint(np.asarray(scan.dataobj)), LOWEST_HU, HIGHEST_HU)
            middle = shown[10:-10, 10:-10, 5:-5]
            same = [
                whole[i : i + middle.shape[0], j : j + middle.shape[1], k : k + middle.shape[2]]
                for i, j, k in np.ndindex(*(n - m + 1 for n, m in zip(whole.shape, middle.shape, strict=True)))
            ]
            assert any(np.array_equal(part, middle) for part in same)


def test_a_patient_is_shown_once_though_the_manifest_alone_says_whose_the_scans_are(tmp_path):
    """Scans 0 and 1 are of one patient, as the synthetic set's manifest knows; the real set has none."""
    real, synthetic, cases = tmp_path / "annotated", tmp_path / "made", ["scan_0", "scan_1", "scan_2"]
    for case in cases:
        for folder in (real, synthetic):
            write_scan(folder, case, (5.0, 3.0, 3.0))
    rows = "".join(f"{case},{case},{'scan_0' if case == 'scan_1' else case},\n" for case in cases)
    (synthetic / "manifest.csv").write_text("sample,case,patient,source_image_sha256\n" + rows)
    wanted = Wanted(real, synthetic, count=2, share_real=0.5)
    assert {row.patient for row in make_study(wanted, tmp_path / "study", jobs=1).rows} == {"scan_0", "scan_2"}
    with pytest.raises(TumorgenError, match="are needed"):
        make_study(replace(wanted, count=3), tmp_path / "another", jobs=1)


def test_a_case_without_tumour_or_that_cannot_be_read_is_replaced(tmp_path):
    real, synthetic = write_sets(tmp_path, 2, 1)
    write_scan(real, "clean", (5.0, 3.0, 3.0), tumor=False)
    (synthetic / "labels" / "scan_0.nii.gz").write_bytes(gzip.compress(b"no volume"))
    write_scan(synthetic, "scan_1", (5.0, 3.0, 3.0))
    found = make_study(Wanted(real, synthetic, count=3, share_real=0.67), tmp_path / "study", jobs=1)
    assert {row.source for row in found.rows} == {"liver_0", "liver_1", "scan_1"}
    with pytest.raises(TumorgenError, match="2 patients with a real tumour that can be shown, and 3 are needed"):
        make_study(Wanted(real, synthetic, count=4, share_real=0.75), tmp_path / "more", jobs=1)
    assert not (tmp_path / "more").exists()


def test_a_study_without_a_scan_is_whole_and_the_way_to_one_with_it_is_told(tmp_path):
    """Not the same command again, which is refused where a study is."""
    real, synthetic = write_sets(tmp_path, 2, 1)
    (real / "images" / "liver_1_0000.nii.gz").unlink()
    given = ["turing", "make", "--real", real, "--synthetic", synthetic, "--count", 2, "--share-real", 0.5]
    done = CliRunner().invoke(main, [str(word) for word in (*given, "--jobs", 1, "--output", tmp_path / "study")])
    assert done.exit_code == 1
    closing = done.stderr.splitlines()[-1]
    assert closing.startswith("1 failed; the study is whole all the same.")
    assert closing.endswith("give a new folder as --output.")
    assert len(read_key(tmp_path / "study")) == 2


@pytest.mark.parametrize("seed", range(4))
def test_a_patient_with_a_tumour_to_show_is_shown_whichever_of_their_scans_is_drawn_first(tmp_path, seed):
    """Each of two patients has a scan with a tumour and one without, and both patients are needed."""
    real, synthetic = write_sets(tmp_path, 2, 2)
    for n in range(2):
        write_scan(real, f"clean_{n}", (5.0, 3.0, 3.0), tumor=False)
    rows = [f"{case}_{n},p{n}\n" for case in ("liver", "clean") for n in range(2)]
    (tmp_path / "patients.csv").write_text("case,patient\n" + "".join(rows))
    wanted = Wanted(real, synthetic, count=4, share_real=0.5, patients=tmp_path / "patients.csv", seed=seed)
    found = make_study(wanted, tmp_path / "study", jobs=1)
    assert {row.source for row in found.rows} == {"liver_0", "liver_1", "scan_0", "scan_1"}
    assert {failure.name for failure in found.failures} <= {"clean_0", "clean_1"}


def test_an_image_of_other_greys_is_named_and_nothing_is_left(tmp_path):
    """Windowed, as some public copies of real scans are: its greys alone would tell."""
    real, synthetic = write_sets(tmp_path, 1, 1)
    image = nib.load(real / "images" / "liver_0_0000.nii.gz")
    clipped = np.clip(np.asarray(image.dataobj), -160, 240)
    nib.save(nib.Nifti1Image(clipped, image.affine), real / "images" / "liver_0_0000.nii.gz")
    wanted = Wanted(real, synthetic, count=2, share_real=0.5)
    with pytest.raises(TumorgenError, match=r"liver_0_0000\.nii\.gz: not a CT in HU.* make the study again"):
        make_study(wanted, tmp_path / "study", jobs=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["annotated", "made"]
    nib.save(nib.Nifti1Image(clipped * np.float32(4), image.affine), real / "images" / "liver_0_0000.nii.gz")
    assert len(make_study(wanted, tmp_path / "study", jobs=1).rows) == 2


def test_a_patient_of_both_sets_is_shown_once(tmp_path):
    real, synthetic = write_sets(tmp_path, 2, 2)
    rows = ["liver_0,Jane-Doe", "scan_0,Jane-Doe", "liver_1,b", "scan_1,c"]
    (tmp_path / "patients.csv").write_text("case,patient\n" + "".join(f"{row}\n" for row in rows))
    wanted = Wanted(real, synthetic, count=2, share_real=0.5, patients=tmp_path / "patients.csv")
    for seed in range(4):
        drawn = make_study(
            Wanted(real, synthetic, 2, 0.5, patients=wanted.patients, seed=seed), tmp_path / str(seed), jobs=1
        )
        assert {row.source for row in drawn.rows} != {"liver_0", "scan_0"}
        written = [path.read_bytes() for path in (tmp_path / str(seed)).rglob("*") if path.is_file()]
        assert not any(b"Doe" in content for content in written)


@pytest.mark.parametrize("seed", [0, 6, 7])  # the last two draw both for one set
def test_patients_of_both_sets_are_shared_out_so_that_each_set_has_enough(tmp_path, seed):
    """Of two patients whom both sets have, each needs one, whichever is drawn first."""
    real, synthetic = write_sets(tmp_path, 3, 3)
    rows = ["liver_0,a", "scan_0,a", "liver_1,b", "scan_1,b", "liver_2,c", "scan_2,d"]
    (tmp_path / "patients.csv").write_text("case,patient\n" + "".join(f"{row}\n" for row in rows))
    wanted = Wanted(real, synthetic, 4, 0.5, patients=tmp_path / "patients.csv", seed=seed)
    drawn = make_study(wanted, tmp_path / "study", jobs=1)
    assert len({row.patient for row in drawn.rows}) == 4
    assert Counter(row.kind for row in drawn.rows) == {"real": 2, "synthetic": 2}


def test_patients_who_are_missing_since_the_other_set_has_them_are_told(tmp_path):
    """Three patients, all of them in both sets, are too few for five cases; none of them lacks a tumour."""
    real, synthetic = write_sets(tmp_path, 3, 3)
    rows = [f"{case}_{n},p{n}\n" for case in ("liver", "scan") for n in range(3)]
    (tmp_path / "patients.csv").write_text("case,patient\n" + "".join(rows))
    wanted = Wanted(real, synthetic, 5, 0.4, patients=tmp_path / "patients.csv")
    with pytest.raises(TumorgenError) as refused:
        make_study(wanted, tmp_path / "study", jobs=1)
    assert str(refused.value) == (
        f"{real}: 0 patients with a real tumour that can be shown, and 2 are needed, beside 3 shown with a"
        " synthetic one: both sets have them, and a patient is shown once; lower --count, or change --share-real"
    )


def test_a_study_is_never_overwritten(made, sets):
    study, _ = made
    with pytest.raises(TumorgenError, match="is there already"):
        make_study(Wanted(*sets, count=5), study, jobs=1)


@pytest.mark.parametrize("readers", [("anna", "Anna"), ("a/b",)])
def test_readers_have_names_for_files_of_their_own(sets, tmp_path, readers):
    with pytest.raises(TumorgenError, match="reader"):
        make_study(Wanted(*sets, count=5, readers=readers), tmp_path / "study", jobs=1)


def test_a_blurred_scan_has_the_greys_and_the_place_of_the_scan():
    """A ramp along each axis stays the ramp, and a point keeps its place, when voxels get three times as large."""
    shape, spacing = (30, 40, 40), (2.0, 1.0, 1.0)
    z, y, x = np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, spacing, strict=True)), indexing="ij")
    image = Volume((z + 2 * y - x).astype(np.float32), Geometry(shape, spacing))
    target = Geometry((6, 8, 8), (4.0, 3.0, 3.0), (8.0, 9.0, 20.0))
    found = resample_ct(image, target)
    k, j, i = np.meshgrid(*(np.arange(n) for n in target.shape), indexing="ij")
    assert np.abs(found - ((20 + 4 * k) + 2 * (9 + 3 * j) - (8 + 3 * i)))[1:-1, 1:-1, 1:-1].max() < 0.05
    noise = np.random.default_rng(0).normal(0, 15, shape).astype(np.float32)
    same = resample_ct(Volume(noise, Geometry(shape, spacing)), Geometry(shape, spacing))
    assert np.abs(same - noise).max() < 0.01  # voxels of the field's size are not blurred


def test_the_viewer_is_niivues_own_file_with_its_licence():
    """Version 0.69.0 of npm's @niivue/niivue, unchanged (docs/turing.md); 3.1 MB."""
    page = Path(making.__file__).with_name("page")
    assert sha256_of(page / "niivue.js") == "d6c2be4feb1ad53b2ac76b4196da8d8fd2263b662b511c55ca0fd127eb6a6532"
    assert (page / "niivue.js").stat().st_size < 3_200_000
    licence = (page / "niivue.LICENSE.txt").read_text()
    assert "@niivue/niivue 0.69.0" in licence
    assert "BSD 2-Clause License" in licence


@pytest.mark.parametrize("share", ["0", "1"])
def test_a_share_that_leaves_cases_of_one_kind_is_outside_the_range_that_the_help_states(share):
    assert "0<x<1" in CliRunner().invoke(main, ["turing", "make", "--help"]).stdout
    done = CliRunner().invoke(main, ["turing", "make", "--share-real", share])
    assert done.exit_code == 2
    assert f"{share}.0 is not in the range 0<x<1" in done.stderr
