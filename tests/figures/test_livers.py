"""The overview of livers: every scan once, those that look wrong first, each liver outlined where it is."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.image import imread
from phantoms import ball_volume, write_balls

from tumorgen.cli import main
from tumorgen.errors import TumorgenError
from tumorgen.figures.livers import PER_PAGE, STRIPS, Page, draw_livers, draw_page, draw_strip
from tumorgen.imaging.geometry import Volume
from tumorgen.tables.scans import ScanRow, write_scans


def row(folder: Path, number: int, status: str = "ok", reason: str = "") -> ScanRow:
    """The row of a ball that `write_balls` has written."""
    files = (str(folder / kind / f"ball_{number}.nii.gz") for kind in ("images", "masks"))
    image, mask = files
    return ScanRow(
        case=f"ball_{number}",
        image=image,
        mask="" if status == "failed" else mask,
        status=status,
        reason=reason,
        liver_ml=905.0,
        hu_mean=100.0,
    )


@pytest.fixture(scope="module")
def balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_balls(tmp_path_factory.mktemp("balls"), 3, "ball")


def texts(page: Page, strips: Path) -> list[str]:
    return [text.get_text() for text in draw_page(page, strips).texts]


def page_of(*rows: ScanRow) -> Page:
    return Page(1, 1, rows, len(rows), 0, 0)


def test_a_page_says_what_is_known_of_each_scan(balls: Path, tmp_path: Path) -> None:
    shown = texts(page_of(row(balls, 0), row(balls, 1, "check", "the liver has 40 ml, less than 500")), tmp_path)
    assert {"ball_0", "ok", "905 ml · 100 HU", "ball_1", "check: the liver has 40 ml, less than 500"} <= set(shown)


def test_a_caption_without_room_for_all_reasons_says_that_it_goes_on(balls: Path, tmp_path: Path) -> None:
    shown = texts(page_of(row(balls, 0, "check", "; ".join(f"reason number {n}" for n in range(20)))), tmp_path)
    assert sum(text.endswith(" …") for text in shown) == 1
    shown = texts(page_of(row(balls, 0, "failed", "; ".join(f"reason number {n}" for n in range(60)))), tmp_path)
    assert sum(text.endswith(" …") for text in shown) == 1


def test_why_a_scan_failed_stands_in_its_place_without_its_folder(balls: Path, tmp_path: Path) -> None:
    failed = row(balls, 0, "failed")
    shown = texts(page_of(replace(failed, reason=f"{failed.image}: is truncated; copy it again")), tmp_path)
    assert "is truncated; copy it again" in shown
    assert not any(str(balls) in text for text in shown)


@pytest.mark.parametrize("spacing_mm", [(4.0, 4.0, 4.0), (5.0, 2.0, 2.0)])
@pytest.mark.parametrize("direction", [(1, 0, 0, 0, 1, 0, 0, 0, 1), (0, 0, -1, 1, 0, 0, 0, 1, 0)])
def test_a_strip_outlines_the_liver_true_to_its_size(spacing_mm, direction, tmp_path: Path) -> None:
    """A ball is as wide as high in all three planes: its diameter and 25 mm on either side fill a panel."""
    volume, liver = ball_volume(spacing_mm)
    volume = replace(volume, geometry=replace(volume.geometry, direction=tuple(map(float, direction))))
    draw_strip(volume, liver).savefig(tmp_path / "strip.png")
    picture = imread(tmp_path / "strip.png")[..., :3]
    outlined = (picture[..., 2] - picture[..., 0]) > 0.3  # the outline's blue
    size = picture.shape[0]
    for number in range(3):
        places = np.argwhere(outlined[:, number * size : (number + 1) * size])
        extent = np.ptp(places, axis=0) / size
        assert extent == pytest.approx([120 / 170] * 2, abs=0.06)
        assert (places.min(axis=0) + places.max(axis=0)) / 2 / size == pytest.approx([0.5, 0.5], abs=0.04)


class TestFiles:
    def test_failed_scans_come_first_then_those_to_check(self, balls: Path, tmp_path: Path, monkeypatch) -> None:
        drawn = []
        monkeypatch.setattr(
            "tumorgen.figures.livers.draw_page", lambda page, strips: drawn.append(page) or draw_page(page, strips)
        )
        rows = [row(balls, 0), row(balls, 1, "check", "odd"), row(balls, 2, "failed", "no liver")]
        found = draw_livers(rows, tmp_path, jobs=1)
        assert [each.case for each in drawn[0].rows] == ["ball_2", "ball_1", "ball_0"]
        assert found.pages == (tmp_path / "overview.png",)
        assert (found.drawn, found.failures) == (2, ())
        assert sorted(path.name for path in (tmp_path / STRIPS).iterdir()) == ["ball_0.png", "ball_1.png"]

    def test_only_what_is_new_or_broken_is_drawn_again(self, balls: Path, tmp_path: Path) -> None:
        rows = [row(balls, 0), row(balls, 1)]
        assert draw_livers(rows, tmp_path, jobs=1).drawn == 2
        assert draw_livers(rows, tmp_path, jobs=1).drawn == 0
        strip = tmp_path / STRIPS / "ball_1.png"
        strip.write_bytes(strip.read_bytes()[:20])
        assert draw_livers(rows, tmp_path, jobs=1).drawn == 1
        strip.unlink()
        assert draw_livers(rows, tmp_path, jobs=1).drawn == 1

    def test_pages_are_kept_until_they_would_show_anything_else(self, balls: Path, tmp_path: Path) -> None:
        """Rows may be corrected by hand, and scans may go."""
        rows, page = [row(balls, 0), row(balls, 1), row(balls, 2, "failed", "no liver")], tmp_path / "overview.png"

        def redrawn(now: list[ScanRow]) -> bool:
            os.utime(page, ns=(0, 0))
            draw_livers(now, tmp_path, jobs=1)
            return page.stat().st_mtime_ns > 0

        draw_livers(rows, tmp_path, jobs=1)
        assert not redrawn(rows)
        assert redrawn([rows[0], replace(rows[1], status="check", reason="it runs into the heart"), rows[2]])
        assert redrawn(rows[:2])
        page.unlink()
        draw_livers(rows[:2], tmp_path, jobs=1)
        assert page.exists()

    def test_pictures_of_others_stay(self, balls: Path, tmp_path: Path) -> None:
        page, other = tmp_path / "overview.png", tmp_path / "overview-of-mine.png"
        page.write_bytes(b"mine")
        other.write_bytes(b"mine, too")
        with pytest.raises(TumorgenError, match=r"overview.png: was not written by this command, and stays as it is"):
            draw_livers([row(balls, 0)], tmp_path, jobs=1)
        assert page.read_bytes() == b"mine"
        page.unlink()
        draw_livers([row(balls, 0)], tmp_path, jobs=1)
        assert other.read_bytes() == b"mine, too"

    def test_livers_that_cannot_be_drawn_cost_no_mask(self, balls: Path, tmp_path: Path, capsys) -> None:
        (tmp_path / "overview.png").mkdir()
        report = SimpleNamespace(rows=(row(balls, 0),))
        assert import_module("tumorgen.cli.liver_mask")._draw(report, tmp_path, 1) == ()
        assert "the livers could not be drawn: " in capsys.readouterr().out

    def test_many_scans_have_several_pages_and_old_ones_go(self, balls: Path, tmp_path: Path) -> None:
        many = [replace(row(balls, 0, "failed"), case=f"case_{n:02d}", reason="no liver") for n in range(PER_PAGE + 1)]
        assert [path.name for path in draw_livers(many, tmp_path, jobs=1).pages] == ["overview.png", "overview-2.png"]
        draw_livers(many[:3], tmp_path, jobs=1)
        assert not (tmp_path / "overview-2.png").exists()

    def test_a_scan_that_is_gone_is_told_and_costs_no_other(self, balls: Path, tmp_path: Path) -> None:
        gone = replace(row(balls, 0), case="gone", image=str(tmp_path / "gone.nii.gz"))
        found = draw_livers([gone, row(balls, 1)], tmp_path, jobs=1)
        assert [failure.name for failure in found.failures] == ["gone"]
        assert found.drawn == 1


class TestSkipCheck:
    @pytest.fixture
    def table(self, balls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        rows = [row(balls, 0), row(balls, 1, "check", "the mask reaches the scan's edge (top)"), row(balls, 2)]
        write_scans(rows, Path("scans.csv"))
        return tmp_path

    def synth(self, *options: str):
        return CliRunner().invoke(
            main, ["synth", "--scans", "scans.csv", "--per-scan", "1", "--output", "raw", "--jobs", "1", *options]
        )

    def cases(self) -> list[str]:
        return sorted(path.name[:6] for path in Path("raw/Dataset501_SynthLiver/labelsTr").iterdir())

    def test_scans_to_check_are_told_with_their_reasons(self, table: Path) -> None:
        made = self.synth()
        assert made.exit_code == 0, made.output
        assert (
            "note: 1 of 3 scans are marked check: ball_1 (the mask reaches the scan's edge (top)); look at them;"
            " --skip-check leaves them out" in made.output
        )
        assert self.cases() == ["ball_0", "ball_1", "ball_2"]

    def test_not_before_the_run_is_refused_for_something_else(self, table: Path) -> None:
        assert self.synth().exit_code == 0
        Path("patients.csv").write_text("case,person\nball_0,a\n")
        for wrong in (("--seed", "5"), ("--patients", "patients.csv")):
            refused = self.synth(*wrong)
            assert refused.exit_code != 0
            assert "marked check" not in refused.output

    def test_and_left_out_where_that_is_asked_for(self, table: Path) -> None:
        made = self.synth("--skip-check")
        assert made.exit_code == 0, made.output
        assert "(the mask reaches the scan's edge (top)); left out" in made.output
        assert self.cases() == ["ball_0", "ball_2"]

    def test_none_left_is_told_as_that(self, table: Path, balls: Path) -> None:
        write_scans([row(balls, 0, "check", "odd"), row(balls, 1, "check", "odd")], Path("scans.csv"))
        made = self.synth("--skip-check")
        assert made.exit_code == 1
        assert "--skip-check leaves out every scan" in made.stderr

    def test_it_goes_with_the_table(self, table: Path, balls: Path) -> None:
        made = self.synth("--skip-check", "--images", str(balls / "images"), "--masks", str(balls / "masks"))
        assert made.exit_code == 2
        assert "--skip-check goes with the table of scans" in " ".join(made.stderr.split())


def test_pictures_beside_masks_are_no_masks(balls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw_livers([row(balls, 0)], balls / "masks", jobs=1)
    made = CliRunner().invoke(
        main,
        ["synth", "--images", str(balls / "images"), "--masks", str(balls / "masks"), "--per-scan", "1", "--jobs", "1"],
    )
    assert made.exit_code == 0, made.output


def test_a_liver_of_one_voxel_is_drawn() -> None:
    volume, liver = ball_volume((8.0, 8.0, 8.0))
    one = np.zeros_like(liver)
    one[0, 0, 0] = True
    assert len(draw_strip(Volume(volume.array, volume.geometry), one).axes) == 3


@pytest.mark.parametrize("kind", ["images", "masks"])
@pytest.mark.parametrize("seconds", [3600, -3600])
def test_a_picture_is_of_the_files_that_are_there_however_old_they_are(tmp_path: Path, kind, seconds) -> None:
    """What is restored or copied with its time may be older than what it takes the place of."""
    folder, out = write_balls(tmp_path, 1, "ball"), tmp_path / "out"
    rows = [row(folder, 0)]
    assert draw_livers(rows, out, jobs=1).drawn == 1
    assert draw_livers(rows, out, jobs=1).drawn == 0
    page = (out / "overview.png").stat().st_mtime_ns
    file = folder / kind / "ball_0.nii.gz"
    other = file.stat().st_mtime_ns + seconds * 10**9
    os.utime(file, ns=(other, other))
    assert draw_livers(rows, out, jobs=1).drawn == 1
    assert (out / "overview.png").stat().st_mtime_ns > page
    assert draw_livers(rows, out, jobs=1).drawn == 0


def test_the_picture_of_a_scan_that_has_gone_since_stays(tmp_path: Path) -> None:
    folder = write_balls(tmp_path, 1, "ball")
    rows = [row(folder, 0)]
    draw_livers(rows, tmp_path / "out", jobs=1)
    (folder / "images" / "ball_0.nii.gz").unlink()
    found = draw_livers(rows, tmp_path / "out", jobs=1)
    assert (found.drawn, found.failures) == (0, ())


def test_a_page_is_drawn_anew_though_the_run_that_drew_its_strips_was_cut_off(tmp_path: Path, monkeypatch) -> None:
    folder, out = write_balls(tmp_path, 1, "ball"), tmp_path / "out"
    rows = [row(folder, 0)]
    draw_livers(rows, out, jobs=1)
    page = (out / "overview.png").stat().st_mtime_ns
    os.utime(rows[0].mask, ns=(0, 0))

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tumorgen.figures.livers._save_pages", die)
        with pytest.raises(KeyboardInterrupt):
            draw_livers(rows, out, jobs=1)
    draw_livers(rows, out, jobs=1)
    assert (out / "overview.png").stat().st_mtime_ns > page
