"""Painted CTs have the HU that their tissues can have; cases depend on seed and name alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from liver_model.cases import Task, folds, make, plan_cases, varied_case, view_along, write_dataset
from liver_model.labels import LIVER_PARTS, MapFile, Source, Tissue
from liver_model.paint import (
    ALIKE_HU,
    AS_DENSE_AS_LIVER,
    LOOKS,
    PHASES,
    draw_hu,
    draw_scanner,
    fine_spacing,
    nearest_slices,
    scan,
)
from liver_model.settings import SETTINGS
from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry, Volume

TINY = replace(SETTINGS["smoke"], painted=0, phantoms=0, copies=2)


def drawn(phase: str, count: int = 300) -> np.ndarray:
    return np.stack([draw_hu(np.random.default_rng(seed), phase) for seed in range(count)])


def test_every_tissue_has_a_look():
    assert set(LOOKS) == set(Tissue)


@pytest.mark.parametrize("phase", PHASES)
def test_fat_lung_and_gas_are_where_a_ct_has_them_in_every_phase(phase):
    hu = drawn(phase)
    assert (hu[:, Tissue.FAT] < -80).all()
    assert (hu[:, Tissue.LUNG] < -600).all()
    assert (hu[:, Tissue.GAS] < -800).all()


def test_contrast_brightens_aorta_first_and_liver_later():
    median = {phase: np.median(drawn(phase), axis=0) for phase in PHASES}
    assert 30 < median["none"][Tissue.AORTA] < 55
    assert median["arterial"][Tissue.AORTA] > median["portal"][Tissue.AORTA] > median["late"][Tissue.AORTA]
    assert median["portal"][Tissue.LIVER] > median["arterial"][Tissue.LIVER] > median["none"][Tissue.LIVER]
    assert median["none"][Tissue.LIVER] == pytest.approx(54, abs=10)  # 58 +- 9 HU, some of them fatty


@pytest.mark.parametrize("tissue", AS_DENSE_AS_LIVER)
def test_every_neighbour_is_as_dense_as_the_liver_at_times(tissue):
    hu = drawn("portal")
    alike = np.abs(hu[:, tissue] - hu[:, Tissue.LIVER]) < 2 * ALIKE_HU
    assert alike.mean() > 0.8 * AS_DENSE_AS_LIVER[tissue]
    assert alike.mean() < 0.75


def test_an_organ_may_end_within_a_slice():
    for seed in range(20):
        scanner = draw_scanner(np.random.default_rng(seed))
        assert fine_spacing(scanner)[0] <= scanner.spacing_mm[0] / 2


def test_a_slice_shows_the_tissue_in_its_middle():
    np.testing.assert_array_equal(nearest_slices(12, 1.0, 3.0), [1, 4, 7, 10])
    np.testing.assert_array_equal(nearest_slices(5, 2.0, 2.0), range(5))


def body(shape=(24, 30, 30)):
    tissues = np.full(shape, Tissue.FAT, np.uint8)
    tissues[6:18, 8:22, 8:22] = Tissue.LIVER
    tissues[10:12, 12:14, 12:14] = Tissue.LIVER_VESSEL
    return tissues


@pytest.mark.parametrize("seed", range(4))
def test_the_liver_is_painted_about_its_hu_and_labelled_with_its_vessels(seed):
    rng = np.random.default_rng(seed)
    scanner = replace(draw_scanner(rng), noise_hu=5.0, metal=False, shading_hu=0.0, streaks=0.0)
    tissues, hu = body(), draw_hu(rng, "portal")
    image, liver = scan(tissues, hu, scanner, rng)
    fine = fine_spacing(scanner)
    volume = np.isin(tissues, LIVER_PARTS).sum() * fine[0]
    assert liver.sum() * scanner.spacing_mm[0] == pytest.approx(volume, rel=0.25)  # a slice more or less of thick ones
    core = liver.astype(bool) & np.pad(np.ones((10, 10), bool), 10)
    assert np.median(image[core]) == pytest.approx(hu[Tissue.LIVER], abs=25)


def test_the_same_generator_scans_the_same():
    made = []
    for _ in range(2):
        rng = np.random.default_rng(5)
        scanner = draw_scanner(rng)
        made.append(scan(body(), draw_hu(rng, "none"), scanner, rng))
    assert np.array_equal(made[0][0], made[1][0])
    assert np.array_equal(made[0][1], made[1][1])


def real():
    """A small scan with a liver in it."""
    rng = np.random.default_rng(0)
    image = np.full((30, 40, 40), -1000, np.int16)
    image[:, 5:35, 5:35] = rng.normal(40, 10, (30, 30, 30))
    liver = np.zeros(image.shape, np.uint8)
    liver[8:22, 10:28, 10:26] = 1
    geometry = Geometry(image.shape, (3.0, 3.0, 3.0))
    return Volume(image, geometry), Volume(liver, geometry)


@pytest.mark.parametrize("seed", range(4))
def test_a_varied_scan_has_its_liver_where_its_liver_is(seed):
    image, liver = real()
    bright = image.array.copy()
    bright[liver.array > 0] = 400
    made, mask = varied_case((Volume(bright, image.geometry), liver), np.random.default_rng(seed))
    assert made.geometry == mask.geometry
    assert mask.array.any()
    found = made.array > 220
    overlap = 2 * (found & (mask.array > 0)).sum() / (found.sum() + (mask.array > 0).sum())
    assert overlap > 0.85  # the surface of a liver this small is a third of it


@pytest.mark.parametrize("kind", ["abdomen", "chest", "pelvis", "all", "cut above", "cut below", "slab", "no liver"])
def test_views_keep_or_cut_the_liver_as_they_say(kind):
    for seed in range(30):
        first, last = view_along(kind, 40, 80, 160, 3.0, np.random.default_rng(seed))
        assert 0 <= first < last <= 160
        whole = first <= 40 and last > 80
        if kind == "no liver":
            assert last <= 40 or first > 80
        elif kind == "slab":
            assert 10 <= last - first <= 28
            assert min(last, 81) - max(first, 40) >= 6
        else:
            assert whole == (not kind.startswith("cut"))
            assert min(last, 81) - max(first, 40) > 12


def test_plans_of_cases_use_every_map_and_rare_sources_more():
    many, few = Source("many", {}), Source("few", {})
    maps = [MapFile(f"m{k}", None, many) for k in range(10)] + [MapFile("f", None, few)]
    tasks = plan_cases(maps, ["scan"], replace(TINY, painted=66, phantoms=3))
    names = [task.name for task in tasks]
    assert len(names) == len(set(names)) == 66 + 3 + 1 + 2
    used = [task.source.name for task in tasks if task.kind == "painted"]
    assert set(used) == {item.name for item in maps}
    assert used.count("f") > 2 * used.count("m0")


def test_a_fold_that_leaves_a_scan_out_has_neither_its_images_nor_its_organs():
    own, other = Source("own", {}, of_scan="one"), Source("other", {})
    maps = [MapFile("its organs", None, own), *(MapFile(f"m{k}", None, other) for k in range(5))]
    tasks = plan_cases(maps, ["one", "two"], replace(TINY, painted=30, phantoms=3, copies=4))
    shown = {task.name: task.of_scan for task in tasks}
    made = {fold.name: fold.cases for fold in folds(tasks, ["one", "two"])}
    assert list(made) == ["base", "without_one", "without_two", "all"]
    for name, left in (("base", {""}), ("without_one", {"", "two"}), ("without_two", {"", "one"})):
        assert {shown[case] for case in made[name]} == left
    assert set(made["all"]) == set(made["without_one"]) | set(made["without_two"])
    assert {case for case, scan in shown.items() if scan == "one"} > {"real_one", "real_one_003"}
    assert any(shown[case] == "one" and case.startswith("painted") for case in made["all"])


def test_a_case_depends_on_seed_and_name_alone(tmp_path):
    task = Task("phantom_0001", "phantom")
    first, again, other = (make(task, tmp_path, seed)[0].array for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_a_dataset_of_another_recipe_is_not_added_to(tmp_path):
    one = replace(TINY, phantoms=1, copies=0)
    said: list[str] = []
    trainings = write_dataset(tmp_path / "set", tmp_path, one, tell=said.append)
    assert [(fold.name, fold.cases) for fold in trainings] == [(name, ("phantom_0000",)) for name in ("base", "all")]
    assert (tmp_path / "set" / "labelsTr" / "phantom_0000.nii.gz").is_file()
    assert any("no label maps" in line or line.startswith("0 label maps") for line in said)
    with pytest.raises(TumorgenError, match="another recipe"):
        write_dataset(tmp_path / "set", tmp_path, one, seed=1, tell=said.append)
