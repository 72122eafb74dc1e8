"""Phantoms: plausible abdomens, whose liver and vessels are known."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_erosion

from tumorgen import __version__
from tumorgen.cli import main
from tumorgen.errors import TumorgenError
from tumorgen.imaging.geometry import Geometry
from tumorgen.imaging.mask_labels import read_mask
from tumorgen.imaging.reading import read_ct
from tumorgen.phantom import folder
from tumorgen.phantom.anatomy import LIVER_ML, coarse_coordinates, draw_body
from tumorgen.phantom.folder import PhantomRecord, write_phantoms
from tumorgen.phantom.scanner import Phantom, correlated_noise, draw_phantom
from tumorgen.phantom.solids import coordinates_of, ellipsoid, grow_tree, lumps, occupancy, strands, tube
from tumorgen.phantom.tissues import TISSUES

SMALL = {"shape": (80, 112, 128), "spacing_mm": (3.0, 3.0, 3.0)}
TINY = {"shape": (30, 42, 48), "spacing_mm": (8.0, 8.0, 8.0)}


def seeded(seed: int = 0, index: int = 0) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, index]))


def liver_ml(drawn: Phantom) -> float:
    return int(drawn.liver.array.sum()) * drawn.liver.geometry.voxel_volume_mm3 / 1000


def parenchyma(drawn: Phantom) -> NDArray[np.bool_]:
    """Liver without its vessels and without the voxels that share its edges."""
    return binary_erosion(drawn.liver.array, iterations=2) & ~binary_dilation(drawn.vessels.array, iterations=2)


@pytest.fixture(scope="module")
def portal() -> Phantom:
    return draw_phantom(seeded(), **SMALL)


@pytest.fixture(scope="module")
def unenhanced() -> Phantom:
    """The same patient without contrast medium."""
    return draw_phantom(seeded(), **SMALL, phase="none")


@pytest.fixture(scope="module")
def tiny() -> tuple[Phantom, Phantom]:
    """The first two phantoms of a seed."""
    return draw_phantom(seeded(0, 0), **TINY), draw_phantom(seeded(0, 1), **TINY)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[PhantomRecord]]:
    """A folder that they are written into, and what is said of them."""
    folder = tmp_path_factory.mktemp("written")
    return folder, write_phantoms(folder, 2, **TINY)


@pytest.fixture(scope="module")
def fine() -> Phantom:
    """In-plane voxels small enough to measure noise between vessels."""
    return draw_phantom(seeded(), shape=(48, 224, 256), spacing_mm=(5.0, 1.5, 1.5))


class TestLiver:
    @pytest.mark.parametrize("seed", range(1, 5))
    def test_has_an_adult_volume_in_one_piece_within_the_field_of_view(self, seed: int) -> None:
        drawn = draw_phantom(seeded(seed), shape=(60, 84, 96), spacing_mm=(4.0, 4.0, 4.0))
        assert 0.93 * LIVER_ML[0] < liver_ml(drawn) < 1.03 * LIVER_ML[1]  # the vena cava takes up to 5 % out of it
        assert cc3d.connected_components(drawn.liver.array, connectivity=6).max() == 1
        core = np.zeros(drawn.liver.array.shape, bool)
        core[2:-2, 2:-2, 2:-2] = True
        assert not (drawn.liver.array & ~core).any()

    def test_lies_on_the_patients_right_and_under_the_lung(self, portal: Phantom) -> None:
        z, y, x = np.argwhere(portal.liver.array).mean(axis=0)
        assert portal.liver.geometry.to_mm((z, y, x))[0] < -15  # LPS: right is negative
        above = np.roll(portal.liver.array, 6, axis=0) & ~portal.liver.array
        assert np.median(portal.image.array[above]) < -500

    def test_volume_does_not_depend_on_spacing(self, portal: Phantom, fine: Phantom) -> None:
        assert liver_ml(fine) == pytest.approx(liver_ml(portal), rel=0.03)

    def test_is_all_the_liver_there_is(self, portal: Phantom) -> None:
        """What a network could take for liver without being told so stays a small part."""
        body = draw_body(seeded().spawn(2)[0])
        organ = next(organ for organ in body.organs if organ.part == "liver")
        painted = organ.paint(coordinates_of(portal.image.geometry, body.stretch))
        assert painted is not None
        assert portal.liver.array.sum() == pytest.approx((painted[1] > 0.5).sum(), rel=0.06)

    def test_a_small_field_of_view_cuts_it(self) -> None:
        drawn = draw_phantom(seeded(), shape=(20, 84, 96), spacing_mm=(4.0, 4.0, 4.0))
        assert drawn.liver.array[0].any()
        assert drawn.liver.array[-1].any()

    def test_nothing_to_see_is_an_error(self) -> None:
        with pytest.raises(TumorgenError, match="no liver"):
            draw_phantom(seeded(), shape=(4, 4, 4), spacing_mm=(1.0, 300 / 4 / 10, 0.1))


class TestAttenuation:
    @pytest.mark.parametrize("phase", ["portal", "arterial"])
    def test_organs_have_the_tables_values(self, phase: str) -> None:
        """Deep inside an organ the image's mean is the table's value, give or take the patients' spread."""
        drawn = draw_phantom(seeded(), shape=(60, 84, 96), spacing_mm=(4.0, 4.0, 4.0), phase=phase)  # type: ignore[arg-type]
        body = draw_body(seeded().spawn(2)[0], phase)  # type: ignore[arg-type]
        grid = coordinates_of(drawn.image.geometry, body.stretch)
        owner = np.full(grid.shape, "", object)  # the tissue that fills a voxel alone
        for organ in body.organs:
            if (painted := organ.paint(grid)) is not None:
                box, share = painted
                owner[box] = np.where(share > 0.99, organ.tissue, np.where(share > 0.01, "", owner[box]))
        for tissue in ("liver", "spleen", "kidney_cortex", "aorta", "lung", "muscle", "fat"):
            core = owner == tissue
            assert core.sum() > 20
            assert drawn.image.array[core].mean() == pytest.approx(body.hu[tissue], abs=6), tissue
            middle = getattr(TISSUES[tissue], phase)
            assert abs(body.hu[tissue] - middle) <= TISSUES[tissue].spread

    def test_there_is_air_fat_and_bone(self, portal: Phantom) -> None:
        hu = portal.image.array
        assert hu.dtype == np.int16
        assert (hu < -900).mean() > 0.2
        assert ((hu > -140) & (hu < -70)).mean() > 0.05
        assert (hu > 400).mean() > 0.002

    def test_the_anatomy_is_the_same_in_every_phase(self, portal: Phantom, unenhanced: Phantom) -> None:
        assert np.array_equal(unenhanced.liver.array, portal.liver.array)


class TestVessels:
    def test_lie_in_the_liver_and_fill_a_few_percent_of_it(self, portal: Phantom) -> None:
        assert not (portal.vessels.array & ~portal.liver.array).any()
        assert 0.01 < portal.vessels.array.sum() / portal.liver.array.sum() < 0.08

    def test_stand_out_in_the_portal_phase(self, fine: Phantom) -> None:
        contrast = fine.image.array[fine.vessels.array].mean() - fine.image.array[parenchyma(fine)].mean()
        assert 30 < contrast < 80  # 40 to 80 HU in their middle; small vessels share their voxels with the liver

    def test_are_darker_than_the_liver_without_contrast(self, unenhanced: Phantom) -> None:
        hu, vessels = unenhanced.image.array, unenhanced.vessels.array
        assert hu[vessels].mean() < hu[parenchyma(unenhanced)].mean()

    def test_a_tree_tapers_and_reaches_every_target(self) -> None:
        targets = seeded().uniform(-50, 50, (40, 3))
        tree = grow_tree(seeded(), (0.0, 0.0, -60.0), (0.0, 0.0, 0.0), targets, 6.0)
        assert tree.start_radius_mm[0] == 6
        assert tree.end_radius_mm.min() >= 0.4
        assert (tree.end_radius_mm <= tree.start_radius_mm).all()
        gaps = np.abs(targets[:, None] - tree.end).sum(axis=2).min(axis=1)
        assert gaps.max() < 1e-9


class TestNoise:
    @pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8)])
    def test_has_unit_deviation_and_the_grain_of_a_ct(self, spacing_mm: tuple[float, float, float]) -> None:
        noise = correlated_noise(seeded(), (40, 128, 128), spacing_mm)
        assert noise.std() == pytest.approx(1, abs=0.01)  # 0.65 million voxels: the standard error is 0.002
        assert (noise[:, :, 1:] * noise[:, :, :-1]).mean() == pytest.approx(0.55, abs=0.02)
        assert (noise[:, 1:] * noise[:, :-1]).mean() == pytest.approx(0.55, abs=0.02)

    def test_slices_are_more_alike_where_they_are_thin(self) -> None:
        def between_slices(slice_mm: float) -> float:
            noise = correlated_noise(seeded(), (30, 64, 64), (slice_mm, 1.0, 1.0))
            return float((noise[1:] * noise[:-1]).mean())

        assert between_slices(1.0) > 0.5 > between_slices(1.5) > 0.2
        assert abs(between_slices(5.0)) < 0.03

    def test_in_the_liver_is_that_of_a_routine_scan(self, fine: Phantom) -> None:
        core = parenchyma(fine)
        residual = np.where(core, fine.image.array - fine.image.array[core].mean(), 0)
        assert 11 < residual[core].std() < 20
        both = core[:, :, 1:] & core[:, :, :-1]
        correlation = (residual[:, :, 1:] * residual[:, :, :-1])[both].mean() / residual[core].var()
        assert 0.5 < correlation < 0.65


class TestSeeds:
    def test_same_seed_same_bits_and_every_seed_another_patient(self) -> None:
        one, same, other = (draw_phantom(seeded(seed), **TINY) for seed in (5, 5, 6))
        assert np.array_equal(one.image.array, same.image.array)
        assert np.array_equal(one.liver.array, same.liver.array)
        assert (one.liver.array != other.liver.array).any()
        assert ((one.image.array > -300) != (other.image.array > -300)).any()

    def test_geometry_is_shared_and_centred(self, portal: Phantom) -> None:
        assert portal.image.geometry == portal.liver.geometry == portal.vessels.geometry
        middle = tuple((n - 1) / 2 for n in portal.image.geometry.shape)
        assert portal.image.geometry.to_mm(middle) == (0, 0, 0)  # type: ignore[arg-type]

    @pytest.mark.parametrize("bad", [{"shape": (2, 40, 40)}, {"spacing_mm": (0.0, 1.0, 1.0)}])
    def test_impossible_volumes_are_refused(self, bad: dict[str, tuple[float, ...]]) -> None:
        with pytest.raises(TumorgenError, match="take"):
            draw_phantom(seeded(), **{**TINY, **bad})  # type: ignore[arg-type]


class TestSolids:
    @pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8)])
    def test_occupancy_adds_up_to_the_volume(self, spacing_mm: tuple[float, float, float]) -> None:
        shape = tuple(int(60 / s) for s in spacing_mm)
        geometry = Geometry(shape, spacing_mm, (-29.0, -29.0, -29.0))  # type: ignore[arg-type]
        share = occupancy(ellipsoid((0, 0, 0), (15, 20, 25), (20, 30, 40)).field(coordinates_of(geometry)))
        expected = 4 / 3 * np.pi * 15 * 20 * 25
        assert float(share.sum()) * geometry.voxel_volume_mm3 == pytest.approx(expected, rel=0.02)

    def test_a_straight_tube_has_the_volume_of_its_capsule(self) -> None:
        geometry = Geometry((40, 40, 80), (1.5, 1.5, 1.5), (-60.0, -30.0, -30.0))
        share = occupancy(tube([(-20, 0, 0), (20, 0, 0)], [10, 10]).field(coordinates_of(geometry)))
        assert float(share.sum()) * geometry.voxel_volume_mm3 == pytest.approx(
            np.pi * 100 * 40 + 4 / 3 * np.pi * 1000, rel=0.03
        )

    def test_a_thread_thinner_than_a_voxel_is_faint(self) -> None:
        tree = grow_tree(seeded(), (-2.0, 2.0, 2.0), (0.0, 2.0, 2.0), np.array([[22.0, 2.0, 2.0]]), 1.0)
        share = strands(tree, coarse_coordinates((-10, -10, -10), (34, 10, 10)))
        assert 0.1 < share.max() < 0.6

    def test_lumps_have_their_amplitude(self) -> None:
        field = lumps(seeded(), 2.0, 30.0)(coarse_coordinates((-200, -200, -200), (200, 200, 200)))
        assert field.std() == pytest.approx(2, rel=0.15)  # six waves on a finite box


class TestFiles:
    def test_are_a_ct_and_its_mask(self, written, tiny) -> None:
        (folder, (record, _)), (expected, _) = written, tiny
        image = read_ct(folder / "images" / "phantom_000.nii.gz")
        mask = read_mask(folder / "masks" / "phantom_000.nii.gz")
        assert image.geometry.difference(mask.geometry) == ""
        assert np.array_equal(image.array, expected.image.array)
        assert np.array_equal(mask.array, expected.liver.array)
        assert record.liver_ml == pytest.approx(liver_ml(expected), abs=0.1)

    def test_phantom_1_does_not_depend_on_the_count(self, written, tiny) -> None:
        image = read_ct(written[0] / "images" / "phantom_001.nii.gz")
        assert np.array_equal(image.array, tiny[1].image.array)

    def test_processes_change_nothing(self, written, tmp_path: Path) -> None:
        one, records = written
        assert write_phantoms(tmp_path, 2, jobs=2, **TINY) == list(records)
        files = [path.relative_to(one) for path in one.rglob("*.*")]
        assert len(files) == 5
        for file in files:
            assert (one / file).read_bytes() == (tmp_path / file).read_bytes()

    def test_of_many_the_table_is_written_a_few_times_and_has_them_all(
        self, tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lengths: list[int] = []
        monkeypatch.setattr(folder, "draw_phantom", lambda *_, **__: tiny[0])
        monkeypatch.setattr(folder, "write_volume", lambda *_: None)
        monkeypatch.setattr(folder, "write_records", lambda table, kind, rows: lengths.append(len(list(rows))))
        write_phantoms(tmp_path, 100, **TINY)
        assert lengths[-1] == 100
        assert lengths == sorted(lengths)
        assert len(lengths) == 60  # of 5000 they are 182

    def test_a_second_run_writes_only_what_is_missing(self, written, tmp_path: Path) -> None:
        shutil.copytree(written[0], tmp_path, dirs_exist_ok=True)
        kept, lost = (tmp_path / "images" / f"phantom_00{k}.nii.gz" for k in (0, 1))
        before, bits = kept.stat().st_mtime_ns, lost.read_bytes()
        lost.unlink()
        write_phantoms(tmp_path, 2, **TINY)
        assert kept.stat().st_mtime_ns == before
        assert lost.read_bytes() == bits
        with (tmp_path / "phantoms.csv").open() as table:
            assert [row["case"] for row in csv.DictReader(table)] == ["phantom_000", "phantom_001"]

    @pytest.mark.parametrize(
        ("other", "said"),
        [
            ({"seed": 1}, r"seed 0 \(not 1\)"),
            ({"phase": "none", "seed": 1}, r"seed 0 \(not 1\), phase portal \(not none\)"),
            ({"spacing_mm": (9.0, 9.0, 9.0)}, r"spacing .* \(not 9 9 9\)"),
            ({}, r"version 0\.0\.1 \(not .*\)"),
        ],
    )
    def test_are_not_replaced_by_others(self, written, tmp_path: Path, other: dict[str, Any], said: str) -> None:
        shutil.copytree(written[0], tmp_path, dirs_exist_ok=True)
        table = tmp_path / "phantoms.csv"
        if not other:
            table.write_text(table.read_text().replace(__version__, "0.0.1"))
        before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
        with pytest.raises(TumorgenError, match=rf"{tmp_path}: holds a phantom_000 of {said}; choose another folder"):
            write_phantoms(tmp_path, 3, **(TINY | other))
        assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before

    @pytest.mark.parametrize("name", ["images", "masks"])
    @pytest.mark.parametrize("listed", [True, False])
    def test_files_that_are_none_of_theirs_are_not_replaced(
        self, written, tmp_path: Path, name: str, listed: bool
    ) -> None:
        path = tmp_path / name / "phantom_000.nii.gz"
        path.parent.mkdir()
        shutil.copy(written[0] / name / "phantom_001.nii.gz", path)
        if listed:  # the other file was deleted
            shutil.copy(written[0] / "phantoms.csv", tmp_path)
        before = path.read_bytes()
        with pytest.raises(TumorgenError, match=rf"{path}: is there and is not the phantom .*; choose another folder"):
            write_phantoms(tmp_path, **TINY)
        assert [file for file in tmp_path.rglob("*.nii.gz") if file.read_bytes() != before] == []

    def test_a_run_that_was_killed_goes_on_with_the_files_that_it_has_left(self, written, tmp_path: Path) -> None:
        shutil.copytree(written[0], tmp_path, dirs_exist_ok=True)
        (tmp_path / "phantoms.csv").unlink()
        assert write_phantoms(tmp_path, 2, **TINY) == list(written[1])
        assert (tmp_path / "phantoms.csv").read_bytes() == (written[0] / "phantoms.csv").read_bytes()

    def test_a_run_that_is_killed_leaves_no_row_for_files_that_it_was_to_make_anew(
        self, tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(folder, "draw_phantom", lambda *_, **__: tiny[0])
        write_phantoms(tmp_path, 2, **TINY)

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(folder, "write_volume", killed)
        (tmp_path / "images" / "phantom_000.nii.gz").unlink()
        with pytest.raises(KeyboardInterrupt):
            write_phantoms(tmp_path, 1, **TINY)
        with (tmp_path / "phantoms.csv").open() as table:
            assert [row["case"] for row in csv.DictReader(table)] == ["phantom_001"]

    @pytest.mark.parametrize("text", ["a,b\n1,2\n", "case,seed\nphantom_000,x\n"])
    def test_a_strange_table_is_an_error(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "phantoms.csv").write_text(text)
        with pytest.raises(TumorgenError, match="not a table of phantoms"):
            write_phantoms(tmp_path, **TINY)


class TestCommand:
    def test_writes_and_says_what_comes_next(self, tmp_path: Path) -> None:
        arguments = ["phantom", str(tmp_path / "demo"), "--shape", "30", "42", "48", "--spacing", "8", "8", "8"]
        result = CliRunner().invoke(main, [*arguments, "--count", "2", "--phase", "arterial"])
        assert result.exit_code == 0, result.output
        assert len(list((tmp_path / "demo" / "images").glob("*.nii.gz"))) == 2
        summary = result.stdout.strip().splitlines()
        assert len(summary) == 1
        assert f"tumorgen synth --images {tmp_path}/demo/images --masks {tmp_path}/demo/masks" in summary[0]
        assert ", 2 made in " in summary[0]
        again = CliRunner().invoke(main, [*arguments, "--count", "3", "--phase", "arterial"])
        assert ", 1 made in " in again.stdout
        assert ", 2 were there. Next:" in again.stdout

    def test_what_comes_next_can_be_copied_into_a_shell(self, tmp_path: Path) -> None:
        arguments = ["phantom", str(tmp_path / "my demo"), "--shape", "30", "42", "48", "--spacing", "8", "8", "8"]
        said = CliRunner().invoke(main, arguments).stdout
        assert f"synth --images '{tmp_path}/my demo/images' --masks '{tmp_path}/my demo/masks'" in said

    def test_help_has_an_example(self) -> None:
        result = CliRunner().invoke(main, ["phantom", "--help"])
        assert result.exit_code == 0
        assert "tumorgen phantom demo --count" in result.output

    @pytest.mark.parametrize("option", [["--count", "0"], ["--phase", "late"], ["--spacing", "0", "1", "1"]])
    def test_bad_options_are_usage_errors(self, tmp_path: Path, option: list[str]) -> None:
        assert CliRunner().invoke(main, ["phantom", str(tmp_path), *option]).exit_code == 2

    def test_its_defaults_are_the_librarys(self) -> None:
        from tumorgen.cli.phantom import phantom as command
        from tumorgen.phantom.scanner import DEFAULT_SHAPE, DEFAULT_SPACING_MM
        from tumorgen.phantom.tissues import PHASES

        options = {parameter.name: parameter for parameter in command.params}
        assert options["shape"].default == DEFAULT_SHAPE
        assert options["spacing_mm"].default == DEFAULT_SPACING_MM
        assert tuple(options["phase"].type.choices) == PHASES  # type: ignore[attr-defined]
