"""Preview: pictures with known answers, where a radiologist expects them, and the command around them."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy
from click.testing import CliRunner
from examples import BALL
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from phantoms import ball_scan
from PIL import Image
from scipy import ndimage

from tumorgen import __version__
from tumorgen.benchmark.dials import CONTROL, DIMENSIONS
from tumorgen.cli import main
from tumorgen.dataset.provenance import finish_provenance
from tumorgen.dataset.raw import Dataset, write_description, write_sums
from tumorgen.errors import TumorgenError
from tumorgen.figures.overview import draw_overview, order_classes
from tumorgen.figures.page import DIMENSION_COLORS, DPI, RANGES, SIZE_COLORS, WIDTH, class_color, color_sizes, kind_of
from tumorgen.figures.panels import LIVER_COLOR, REAL_COLOR, REAL_TUMOR, TUMOR_COLOR, Side
from tumorgen.figures.preview import preview_dataset, read_sheet
from tumorgen.figures.sheets import (
    MAX_ROWS,
    TALLEST,
    Sheet,
    crop_thumbnail,
    draw_sheet,
    liver_size_mm,
    sort_tumors,
    zoom_mm,
)
from tumorgen.figures.views import PLANES, Window, cut_window, to_lps
from tumorgen.generation.verify import verify_dataset
from tumorgen.imaging.boxes import bounding_box
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import read_volume, write_volume
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.scan import Scan, load_scan
from tumorgen.method.settings import SIZES, Settings
from tumorgen.tables.entries import Entry
from tumorgen.tables.groups import marks_of_entries
from tumorgen.tables.manifest import Files, Record, read_manifest, write_manifest

OBLIQUE = tuple(np.linalg.qr(np.eye(3) + 0.2 * np.array([[0, 1, 0], [-1, 0, 1], [0, -1, 0]]))[0].ravel() * -1)
DIRECTIONS = {
    "LPS": (1, 0, 0, 0, 1, 0, 0, 0, 1),
    "RAS": (-1, 0, 0, 0, -1, 0, 0, 0, 1),
    "LPI": (1, 0, 0, 0, 1, 0, 0, 0, -1),
    "permuted": (0, 0, 1, 1, 0, 0, 0, 1, 0),
    "permuted and flipped": (0, -1, 0, 0, 0, 1, -1, 0, 0),
    "oblique": OBLIQUE,
}
any_direction = pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)


def sheet_of(image: Volume, label: Volume, record: Record, healthy: Volume | None = None) -> Sheet:
    turned, outlines = to_lps(image), to_lps(label).array
    side = Side(to_lps(healthy).array, (outlines > 0).astype(np.uint8)) if healthy else None
    box = bounding_box(np.asarray(outlines > 0))
    return Sheet(record, turned.geometry, box, Side(turned.array, outlines), side, "" if healthy else "it is gone")


@functools.lru_cache(maxsize=1)
def pixels(figure: Figure) -> NDArray[np.uint8]:
    """RGB (rows from the top, columns, 3)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()


def panel_pixels(figure: Figure, name: str) -> NDArray[np.uint8]:
    """The pixels of one panel."""
    (axes,) = [a for a in figure.axes if a.get_label() == name]
    image = pixels(figure)
    box = axes.get_window_extent()
    top = image.shape[0] - round(box.y1)
    return image[top : top + round(box.height), round(box.x0) : round(box.x0) + round(box.width)]


def colored(image: NDArray[np.uint8], color: str) -> NDArray[np.bool_]:
    """Pixels of nearly one colour."""
    return np.abs(image / 255 - to_rgb(color)).max(axis=-1) < 0.2


@pytest.fixture(scope="session")
def base() -> Scan:
    """A coarse ball, so that everything is fast."""
    return ball_scan((2.0, 2.0, 2.0), case="ball")


def record_of(scan: Scan, size: str = "medium", variant: int = 0) -> Record:
    plan = draw_variant(scan, Settings(sizes=(size,)), 0, variant)
    return Record(plan, render(scan, plan).outcomes, None)


def files_of(real_tumor_voxels: int) -> Files:
    """Where a sample is from, in whose scan so many voxels are really tumours."""
    return Files(1, 0.0, "ct", "mask", *[""] * 7, "1", "2", real_tumor_voxels)


def ball_sheet(
    record: Record,
    spacing_mm: tuple[float, float, float],
    direction: tuple[float, ...] = DIRECTIONS["LPS"],
    radius_mm: float = 15.0,
    *,
    healthy: bool = True,
) -> Sheet:
    """One tumour of 15 mm radius in a liver of 50 mm radius, at the patient's left, front and top; a marker in it."""
    shape = tuple(round(130 / s) for s in spacing_mm)
    geometry = Geometry(shape, spacing_mm, (0.0, 0.0, 0.0), tuple(float(d) for d in direction))
    middle = np.array(geometry.to_mm(tuple((n - 1) / 2 for n in shape)))
    center = middle + np.array([18.0, -18.0, 18.0])  # LPS
    z, y, x = np.indices(shape)
    scaled = np.stack([x * spacing_mm[2], y * spacing_mm[1], z * spacing_mm[0]], axis=-1)
    points = scaled @ np.reshape(direction, (3, 3)).T

    def ball(at: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
        return np.linalg.norm(points - at, axis=-1) <= radius

    label = ball(middle, 50).astype(np.uint8)
    label[ball(center, radius_mm)] = 2
    hu = np.where(ball(center, 6), 400, np.where(ball(middle, 55), 50, -1000)).astype(np.int16)
    tumor = replace(
        record.plan.tumors[0],
        center_x_mm=float(center[0]),
        center_y_mm=float(center[1]),
        center_z_mm=float(center[2]),
        radius_mm=radius_mm,
    )
    mine = Record(replace(record.plan, tumors=(tumor,)), (None,), None)
    plain = Volume(np.full(shape, 50, np.int16), geometry)
    return sheet_of(Volume(hu, geometry), Volume(label, geometry), mine, plain if healthy else None)


@pytest.fixture(scope="module")
def drawn(base: Scan) -> Figure:
    """The sheet of the ball at 2 mm."""
    return draw_sheet(ball_sheet(record_of(base), (2.0, 2.0, 2.0)))


@any_direction
def test_display_volumes_run_left_posterior_superior(direction: tuple[float, ...]) -> None:
    geometry = Geometry((6, 7, 8), (3.0, 2.0, 1.0), (10.0, -20.0, 30.0), tuple(map(float, direction)))
    volume = Volume(np.arange(6 * 7 * 8).reshape(6, 7, 8), geometry)
    turned = to_lps(volume)
    axes = np.reshape(turned.geometry.direction, (3, 3))
    assert (np.diag(axes) > 0.8).all()
    assert turned.array.base is not None  # a view
    for index in [(0, 0, 0), (1, 2, 3), (5, 6, 7)]:  # every voxel stays where it is in the patient
        at = geometry.to_mm(tuple(map(float, index)))
        there = tuple(round(i) for i in turned.geometry.to_index(at))
        assert turned.array[there] == volume.array[index]
        np.testing.assert_allclose(turned.geometry.to_mm(tuple(map(float, there))), at, atol=1e-9)


@any_direction
def test_marker_is_where_a_radiologist_expects_it(base: Scan, direction: tuple[float, ...]) -> None:
    # Left, front, top of the patient: up and right in axial and coronal, up and left in sagittal (nose to the left).
    figure = draw_sheet(ball_sheet(record_of(base), (2.0, 2.0, 2.0), direction))
    for plane, right in (("axial", True), ("coronal", True), ("sagittal", False)):
        panel = panel_pixels(figure, f"liver {plane} synthetic, label")
        bright = colored(panel, "white")
        bright[:, : panel.shape[1] // 10] = bright[:, -panel.shape[1] // 10 :] = False  # the letters at the sides
        bright[: panel.shape[0] // 10] = bright[-panel.shape[0] // 10 :] = False
        row, column = ndimage.center_of_mass(bright)
        assert row < 0.45 * panel.shape[0], plane
        assert (column > 0.55 * panel.shape[1]) if right else (column < 0.45 * panel.shape[1]), plane


def test_sides_are_lettered(drawn: Figure) -> None:
    letters = {
        axes.get_label(): [t.get_text() for t in axes.texts if len(t.get_text()) == 1]
        for axes in drawn.axes
        if axes.get_label().startswith("liver") and axes.get_label().endswith("healthy")
    }
    assert letters == {
        "liver axial healthy": ["R", "L", "A"],
        "liver coronal healthy": ["R", "L", "S"],
        "liver sagittal healthy": ["A", "P", "S"],
    }


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (5.0, 0.8, 0.8)], ids=["isotropic", "5 mm slices"])
def test_outline_is_a_circle_of_the_tumours_size_in_every_plane(
    base: Scan, spacing: tuple[float, float, float]
) -> None:
    radius = 15.0
    figure = draw_sheet(ball_sheet(record_of(base), spacing, radius_mm=radius))
    for plane in PLANES:
        panel = panel_pixels(figure, f"tumour 0 {plane.name} synthetic, label")
        mm = zoom_mm(radius, (100, 100)) / panel.shape[1]  # per pixel
        rows, columns = np.nonzero(colored(panel, TUMOR_COLOR))
        height, width = np.ptp(rows) * mm, np.ptp(columns) * mm
        # The outline runs between voxels: within half a voxel on either side, plus a line's width of two pixels.
        assert width == pytest.approx(2 * radius, abs=spacing[plane.across] + 2 * mm)
        assert height == pytest.approx(2 * radius, abs=spacing[plane.vertical] + 2 * mm)
        assert (rows.max() + rows.min()) / 2 == pytest.approx(panel.shape[0] / 2, abs=spacing[plane.vertical] / mm)
        assert (columns.max() + columns.min()) / 2 == pytest.approx(panel.shape[1] / 2, abs=spacing[plane.across] / mm)


def test_only_the_labelled_panels_have_outlines(drawn: Figure) -> None:
    for name in ("liver", "tumour 0"):
        assert not colored(panel_pixels(drawn, f"{name} axial healthy"), TUMOR_COLOR).any()
        assert not colored(panel_pixels(drawn, f"{name} axial synthetic"), TUMOR_COLOR).any()
        assert colored(panel_pixels(drawn, f"{name} axial synthetic, label"), TUMOR_COLOR).any()
    assert colored(panel_pixels(drawn, "liver axial healthy"), LIVER_COLOR).any()
    assert not colored(panel_pixels(drawn, "liver axial synthetic"), LIVER_COLOR).any()


def test_grey_levels_follow_the_ct_window(drawn: Figure) -> None:
    # 50 HU in a window from -100 to 240: (50 + 100) / 340 of white.
    panel = panel_pixels(drawn, "tumour 0 axial healthy")
    assert panel[10, panel.shape[1] // 2] / 255 == pytest.approx([150 / 340] * 3, abs=0.01)


def test_scale_bar_has_its_length(drawn: Figure) -> None:
    (axes,) = [a for a in drawn.axes if a.get_label() == "tumour 0 axial healthy"]
    (bar,) = axes.lines
    (text,) = axes.texts
    assert np.ptp(bar.get_xdata()) == 20
    assert text.get_text() == "20 mm"


def test_a_liver_of_one_column_makes_no_page_without_end(base: Scan) -> None:
    sheet = ball_sheet(record_of(base), (2.0, 2.0, 2.0))
    z, y, x = sheet.liver
    column = replace(sheet, liver=(z, slice(y.start, y.start + 1), slice(x.start, x.start + 1)))
    (axes,) = [a for a in draw_sheet(column).axes if a.get_label() == "liver coronal synthetic, label"]
    extent = axes.get_window_extent()
    assert extent.height / extent.width == pytest.approx(TALLEST)
    # The same 2 mm are as many pixels along both axes, and the whole liver fits.
    across, vertical = np.abs(np.ptp(axes.get_xlim())), np.abs(np.ptp(axes.get_ylim()))
    assert vertical / across == pytest.approx(TALLEST, rel=0.02)
    assert liver_size_mm(column)[1] > (z.stop - z.start) * 2.0


def test_without_a_healthy_scan_the_sheet_says_so(base: Scan) -> None:
    figure = draw_sheet(ball_sheet(record_of(base), (2.0, 2.0, 2.0), healthy=False))
    assert any("it is gone" in text.get_text() for text in figure.texts)
    assert colored(panel_pixels(figure, "tumour 0 axial synthetic, label"), TUMOR_COLOR).any()
    (axes,) = [a for a in figure.axes if a.get_label() == "tumour 0 axial healthy"]
    assert "not available" in axes.texts[0].get_text()


def test_the_largest_few_are_shown_and_the_rest_counted(base: Scan) -> None:
    record = record_of(base, "mix", variant=1)
    image, label = render(base, record.plan).apply(base)
    sheet = sheet_of(Volume(image, base.geometry), Volume(label, base.geometry), record, base.image)
    shown = sort_tumors(sheet)
    assert len(shown) > MAX_ROWS
    assert [t.radius_mm for t in shown] == sorted((t.radius_mm for t in shown), reverse=True)
    figure = draw_sheet(sheet)
    rows = {a.get_label().split(" axial")[0] for a in figure.axes if " axial" in a.get_label()}
    assert rows == {"liver", *(f"tumour {t.number}" for t in shown[:MAX_ROWS])}
    assert any(t.get_text().startswith(f"{len(shown) - MAX_ROWS} smaller tumour") for t in figure.texts)


def test_a_sample_without_tumours_still_has_a_sheet(base: Scan) -> None:
    sheet = ball_sheet(record_of(base), (2.0, 2.0, 2.0))
    bare = replace(sheet, record=Record(replace(sheet.record.plan, tumors=()), (), None))
    words = [text.get_text() for text in draw_sheet(bare).texts]
    assert "no tumour" in words
    assert any(word.endswith("· no tumour") for word in words)
    overview = draw_overview("D", [bare.record], [(bare.record, crop_thumbnail(bare))])
    assert any(text.get_text().endswith("· no tumour") for text in overview.texts)
    assert colored(panel_pixels(overview, f"grid {bare.record.plan.sample}"), LIVER_COLOR).any()


def test_counts_have_whole_ticks(base: Scan) -> None:
    """Of one sample with one tumour, too, where half a tumour would be the next round number."""
    sheet = ball_sheet(record_of(base), (2.0, 2.0, 2.0))
    one = replace(sheet.record, plan=replace(sheet.record.plan, tumors=sheet.record.plan.tumors[:1]))
    overview = draw_overview("D", [one], [(one, crop_thumbnail(sheet))])
    (counts,) = (axes for axes in overview.axes if axes.get_title(loc="left") == "Tumours per sample")
    for ticks in (counts.get_xticks(), counts.get_yticks()):
        assert all(float(tick).is_integer() for tick in ticks)
        assert 1 in ticks


def sheet_with_a_real_tumor(record: Record) -> Sheet:
    """The ball's tumour, and beside it in both scans a real one."""
    sheet = ball_sheet(record, (2.0, 2.0, 2.0))
    outlines, before = sheet.synthetic.label.copy(), sheet.healthy.label.copy()
    for label in (outlines, before):
        label[39:47, 26:34, 28:36] = REAL_TUMOR
    real = replace(sheet.record, files=files_of(8**3))
    return replace(
        sheet,
        record=real,
        synthetic=replace(sheet.synthetic, label=outlines),
        healthy=replace(sheet.healthy, label=before),
    )


def test_real_tumours_are_told_from_synthetic_ones_and_their_scan_is_not_called_healthy(base: Scan) -> None:
    sheet = sheet_with_a_real_tumor(record_of(base))
    figure = draw_sheet(sheet)
    words = [text.get_text() for text in figure.texts]
    assert "healthy" not in words
    assert words.count("source") == 3
    assert {"synthetic tumour", "real tumour"} <= {*words}
    assert any(word.endswith("1 synthetic tumour, and real ones") for word in words)
    for side, synthetic in (("healthy", False), ("synthetic, label", True)):
        panel = panel_pixels(figure, f"liver axial {side}")
        assert colored(panel, REAL_COLOR).any()
        assert colored(panel, TUMOR_COLOR).any() == synthetic
    (kept,) = [
        text.get_text() for text in draw_overview("D", [sheet.record], [], [True]).texts if "chart" in text.get_text()
    ]
    assert kept == "1 scan, 1 sample, 1 synthetic tumour; real ones, which the charts leave out, in 1 scan"


@pytest.fixture
def no_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sheets without slices, where their words are looked at."""
    monkeypatch.setattr("tumorgen.figures.sheets._draw_row", lambda *_, **__: None)


@pytest.mark.usefixtures("no_panels")
def test_where_real_tumours_cannot_be_told_from_synthetic_ones_the_sheet_says_so(base: Scan) -> None:
    sheet = sheet_with_a_real_tumor(record_of(base))
    without = replace(sheet, healthy=None, missing="it is gone")
    another = replace(sheet, healthy=Side(sheet.healthy.image, np.minimum(sheet.healthy.label, 1)))
    assert sheet.tells_real
    for each in (without, another):
        assert not each.tells_real
    words = [text.get_text() for text in draw_sheet(without).texts]
    assert "real or synthetic" in words
    assert "real tumour" not in words


@pytest.mark.usefixtures("no_panels")
def test_a_tumour_says_what_cut_it_off(base: Scan) -> None:
    sheet = ball_sheet(record_of(base), (2.0, 2.0, 2.0))
    outcome = replace(record_of(base).outcomes[0], clipped_fraction=0.09)
    words = " ".join(
        t.get_text() for t in draw_sheet(replace(sheet, record=replace(sheet.record, outcomes=(outcome,)))).texts
    )
    assert "9 % cut by the edge of liver or scan" in words


def test_names_are_never_formulas(base: Scan) -> None:
    sheet = ball_sheet(record_of(base), (2.0, 2.0, 2.0), healthy=False)
    odd = replace(sheet.record, plan=replace(sheet.record.plan, size_class=r"a$\frac$b"))
    pixels(draw_sheet(replace(sheet, record=odd, missing=r"x$\nonsense{$: no such file")))
    pixels(draw_overview(r"$\frac$", [odd], []))


def test_cut_keeps_a_margin_and_stays_inside() -> None:
    geometry = Geometry((10, 20, 30), (5.0, 1.0, 1.0))
    array = np.arange(6000).reshape(10, 20, 30)
    window = Window.around(PLANES[1], (4.0, 7.0, 15.0), (10.0, 20.0), geometry)  # coronal: across x, up z
    part = cut_window(array, geometry, window)
    assert part.across_mm[0] <= window.across_mm[0] - 1
    assert part.across_mm[-1] >= window.across_mm[1] + 1
    np.testing.assert_array_equal(part.vertical_mm % 5, 0)
    z, x = (int(part.vertical_mm[0] / 5), int(part.across_mm[0]))
    assert part.values[0, 0] == array[z, 7, x]
    corner = cut_window(array, geometry, Window.around(PLANES[0], (99.0, 0.0, 29.0), (4.0, 4.0), geometry))
    assert corner.values.shape == (5, 5)
    assert corner.values[0, -1] == array[9, 0, 29]


def test_classes_are_ordered_by_size_and_mix_is_last() -> None:
    assert order_classes(["mix", "zebra", "large", "tiny", "large"]) == ["tiny", "large", "zebra", "mix"]
    assert order_classes(["real", ">20 mm", "<5 mm", "10-20 mm"]) == ["<5 mm", "10-20 mm", ">20 mm", "real"]


def test_tumours_as_real_ones_are_shown_by_their_radius_in_the_colours_of_classes_as_large(base: Scan) -> None:
    assert [class_color(name) for name in RANGES] == [class_color(name) for name in SIZES]
    assert len({class_color(name) for name in (*SIZES, "real", "mix")}) == 6
    record = record_of(base, "small")
    tumors = [replace(BALL, size_class="real", radius_mm=radius) for radius in (3.0, 5.0, 12.0, 30.0)]
    real = Record(replace(record.plan, size_class="real", tumors=tuple(tumors)), (None,) * 4, None)
    assert [kind_of(tumor) for tumor in (*tumors, record.plan.tumors[0])] == [*RANGES, "small"]
    (classes,) = [axes for axes in draw_overview("D", [real, record], []).axes if axes.get_label() == "classes"]
    assert [tick.get_text() for tick in classes.get_xticklabels()] == ["small", *RANGES]
    assert [bar.get_height() for bar in classes.patches][1:] == [1, 1, 1, 1]


def test_dimensions_of_a_benchmark_have_colours_of_their_own_and_are_called_so(base: Scan) -> None:
    names = (*DIMENSIONS, CONTROL.dimension)
    assert set(DIMENSION_COLORS) == set(names)
    assert len({class_color(name) for name in names}) == len(names)
    plan = record_of(base, "small").plan
    records = [
        Record(replace(plan, size_class=name, tumors=(replace(BALL, size_class=name),)), (None,), None)
        for name in DIMENSIONS
    ]
    (classes,) = [axes for axes in draw_overview("D", records, []).axes if axes.get_label() == "classes"]
    assert classes.get_title("left") == "Tumours per dimension"
    (classes,) = [axes for axes in draw_overview("D", [record_of(base)], []).axes if axes.get_label() == "classes"]
    assert classes.get_title("left") == "Tumours per size class"


def test_no_picture_calls_a_synthetic_tumour_real(base: Scan) -> None:
    """A sample whose sizes are those of real tumours is of the class `real`, which says something else on a sheet."""
    record = record_of(base)
    plan = replace(
        record.plan, size_class="real", tumors=tuple(replace(t, size_class="real") for t in record.plan.tumors)
    )
    real = replace(record, plan=plan)
    for figure in (draw_sheet(ball_sheet(real, (2.0, 2.0, 2.0))), draw_overview("D", [real], [])):
        words = [text.get_text() for text in figure.texts]
        assert "real" not in words
        assert any("real sizes" in text for text in words)


def test_any_number_of_size_classes_has_colours() -> None:
    """A fifth class gets a colour of its own, the first four keep theirs; there may be more classes than colours."""
    assert color_sizes(SIZES) == dict(zip(SIZES, SIZE_COLORS, strict=True))
    five = color_sizes([*SIZES, "huge"])
    assert {name: five[name] for name in SIZES} == color_sizes(SIZES)
    assert len(set(five.values())) == 5
    assert len(color_sizes(map(str, range(50)))) == 50


def test_overview_counts_what_the_manifest_says(base: Scan) -> None:
    records = [record_of(base, "tiny", v) for v in range(3)] + [record_of(base, "medium", 3)]
    figure = draw_overview("Dataset501_Test", records, [])
    charts = {axes.get_label(): axes for axes in figure.axes}
    tumors = sum(len(r.plan.tumors) for r in records)
    for name, total in (("radii", tumors), ("contrast", tumors), ("per sample", 4), ("classes", tumors)):
        assert sum(bar.get_height() for bar in charts[name].patches) == total, name
    (tiny,) = [bar for bar, tick in zip(charts["classes"].patches, charts["classes"].get_xticklabels(), strict=True)
               if tick.get_text() == "tiny"]  # fmt: skip
    assert tiny.get_height() == sum(len(r.plan.tumors) for r in records[:3])
    assert any("1 scan, 4 samples" in text.get_text() for text in figure.texts)


def write_dataset(folder: Path, scan: Scan) -> None:
    """A small dataset of one scan, with its source beside it."""
    dataset = Dataset(folder / "Dataset501_Test")
    source, mask = folder / "ct" / f"{scan.case}.nii.gz", folder / "livers" / f"{scan.case}.nii.gz"
    write_volume(scan.image, source)
    write_volume(Volume(scan.liver, scan.geometry), mask)
    loaded = load_scan(source, mask)
    records = []
    for variant in range(3):
        plan = draw_variant(loaded, Settings(pattern="single", sizes=("medium",)), 0, variant)
        patch = render(loaded, plan)
        paths = dataset.image(plan.sample), dataset.label(plan.sample)
        for path, array in zip(paths, patch.apply(loaded), strict=True):
            write_volume(Volume(array, loaded.geometry), path)
        sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
        names = [path.relative_to(dataset.folder).as_posix() for path in paths]
        volume = sum(outcome.volume_mm3 for outcome in patch.outcomes)
        versions = __version__, np.__version__, scipy.__version__
        files = Files(len(plan.tumors), volume, str(source), str(mask), *names, *sums, *versions)
        records.append(Record(plan, patch.outcomes, files))
    write_manifest(records, dataset.manifest)
    entries = list(map(Entry.of, records))
    finish_provenance(dataset, entries)
    write_description(dataset, entries, marks_of_entries(entries), 1)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, base: Scan) -> Path:
    """A folder with three samples of one scan."""
    folder = tmp_path_factory.mktemp("template")
    write_dataset(folder, base)
    return folder


@pytest.fixture
def dataset(template: Path, tmp_path: Path) -> Dataset:
    """A copy of it that a test may change."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    dataset = Dataset(tmp_path / "Dataset501_Test")
    records = [
        replace(
            record,
            files=replace(
                record.files,
                source_image=str(tmp_path / "ct" / "ball.nii.gz"),
                source_mask=str(tmp_path / "livers" / "ball.nii.gz"),
            ),
        )
        for record in read_manifest(dataset.manifest)
    ]
    write_manifest(records, dataset.manifest)
    write_sums(dataset)
    return dataset


@pytest.fixture
def blank(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sheets and overviews that show nothing, where it matters which are written: drawing one takes a second."""
    for name in ("draw_sheet", "draw_overview"):
        monkeypatch.setattr(f"tumorgen.figures.preview.{name}", lambda *_: Figure((1, 1)))


def test_command_draws_sheets_and_overview(dataset: Dataset) -> None:
    result = CliRunner().invoke(main, ["preview", str(dataset.folder), "--jobs", "1"])
    assert result.exit_code == 0, result.output
    folder = dataset.folder / "preview"
    assert {path.name for path in folder.iterdir()} == {
        "ball_v0000.png",
        "ball_v0001.png",
        "ball_v0002.png",
        "overview.png",
    }
    for path in folder.iterdir():
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width == pytest.approx(WIDTH * DPI, abs=2)
            assert 400 < image.height < 3000
            assert set(image.info) <= {"Software", "dpi"}  # no date
    assert str(folder) in result.output
    assert "3 sheets" in result.output


def test_verify_and_the_training_folders_do_not_mind(dataset: Dataset) -> None:
    preview_dataset(dataset.folder, count=1, jobs=1)
    assert not verify_dataset(dataset.folder, jobs=1).problems


def test_same_bytes_again_and_on_two_cores(dataset: Dataset, tmp_path: Path) -> None:
    for name, jobs in (("one", 1), ("two", 2)):
        preview_dataset(dataset.folder, tmp_path / name, count=2, jobs=jobs)
    assert len(list((tmp_path / "two").iterdir())) == 3
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


@pytest.mark.parametrize(("count", "sheets"), [(-1, [0, 1, 2]), (2, [0, 2]), (0, [])])
@pytest.mark.usefixtures("blank")
def test_count_is_spread_over_the_dataset(dataset: Dataset, tmp_path: Path, count: int, sheets: list[int]) -> None:
    report = preview_dataset(dataset.folder, tmp_path / "out", count=count, jobs=1)
    assert [path.name for path in report.sheets] == [f"ball_v000{n}.png" for n in sheets]
    assert report.overview.is_file()


@pytest.mark.usefixtures("blank")
def test_a_source_that_is_gone_is_said_and_can_be_given(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "ct").rename(tmp_path / "moved")
    arguments = ["preview", str(dataset.folder), "--jobs", "1", "--count", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "note: drawn without the source scan" in result.output
    again = CliRunner().invoke(
        main, [*arguments, "--images", str(tmp_path / "moved"), "--masks", str(tmp_path / "livers")]
    )
    assert again.exit_code == 0, again.output
    assert "note" not in again.output


def test_real_tumours_are_found_by_the_mask_of_the_scan(dataset: Dataset, tmp_path: Path) -> None:
    record = read_manifest(dataset.manifest)[0]
    mask, label = tmp_path / "livers" / "ball.nii.gz", dataset.label(record.plan.sample)
    drawn = read_volume(label)
    z, y, x = np.argwhere(drawn.array == 1)[0]
    for path in (mask, label):
        volume = read_volume(path)
        values = volume.array.astype(np.uint8)
        values[z, y, x] = 2
        write_volume(Volume(values, volume.geometry), path)
    files = replace(record.files, liver_labels="1", real_tumor_labels="2", real_tumor_voxels=1)
    sheet = read_sheet(dataset, replace(record, files=files))
    assert not sheet.missing
    assert sheet.tells_real
    for side in (sheet.healthy, sheet.synthetic):
        assert np.count_nonzero(side.label == REAL_TUMOR) == 1
    assert np.count_nonzero(sheet.synthetic.label == 2) == np.count_nonzero(drawn.array == 2)


@pytest.mark.usefixtures("blank")
def test_another_scan_is_not_shown_as_the_healthy_one(dataset: Dataset, tmp_path: Path) -> None:
    write_volume(ball_scan((2.0, 2.0, 2.0), seed=5).image, tmp_path / "ct" / "ball.nii.gz")
    report = preview_dataset(dataset.folder, count=1, jobs=1)
    assert len(report.sheets) == 1
    assert "SHA-256" in report.without_healthy[0][1]


def test_a_row_written_by_hand_is_drawn(dataset: Dataset, tmp_path: Path) -> None:
    records = read_manifest(dataset.manifest)
    write_manifest([Record(r.plan, (None,) * len(r.outcomes), None) for r in records], dataset.manifest)
    report = preview_dataset(dataset.folder, images=tmp_path / "ct", masks=tmp_path / "livers", count=1, jobs=1)
    assert len(report.sheets) == 1
    assert not report.without_healthy
    assert "names no scan" in preview_dataset(dataset.folder, count=1, jobs=1).without_healthy[0][1]


@pytest.mark.usefixtures("blank")
@pytest.mark.parametrize("what", ["missing", "truncated", "of another grid"])
def test_a_bad_file_costs_only_its_own_sheet(dataset: Dataset, what: str) -> None:
    label = dataset.label("ball_v0000")
    if what == "missing":
        label.unlink()
    elif what == "truncated":
        label.write_bytes(label.read_bytes()[:200])
    else:
        write_volume(Volume(np.ones((8, 8, 8), np.uint8), Geometry((8, 8, 8), (1.0, 1.0, 1.0))), label)
    result = CliRunner().invoke(main, ["preview", str(dataset.folder), "--jobs", "1"])
    assert result.exit_code == 1
    assert "failed: ball_v0000" in result.output
    assert label.name in result.output
    assert {path.name for path in (dataset.folder / "preview").iterdir()} == {
        "ball_v0001.png",
        "ball_v0002.png",
        "overview.png",
    }


@pytest.mark.usefixtures("blank")
def test_where_every_label_is_lost_no_sheet_is_said_to_be_drawn(dataset: Dataset) -> None:
    for label in dataset.labels.iterdir():
        label.unlink()
    result = CliRunner().invoke(main, ["preview", str(dataset.folder), "--jobs", "1"])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("all 3 failed, for 1 reason: no sheet was drawn.")


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["preview", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds no manifest.csv" in result.output
    assert CliRunner().invoke(main, ["preview", str(tmp_path / "nowhere")]).exit_code == 2
    write_manifest([], tmp_path / "manifest.csv")
    with pytest.raises(TumorgenError, match="lists no samples"):
        preview_dataset(tmp_path)


def test_pictures_never_lie_among_the_cases(dataset: Dataset) -> None:
    for folder in (dataset.images, dataset.labels / "preview"):
        with pytest.raises(TumorgenError, match="folder of cases"):
            preview_dataset(dataset.folder, folder)


@pytest.mark.parametrize("name", ["overview.png", "ball_v0001.png"])
def test_pictures_of_others_are_left_alone(dataset: Dataset, tmp_path: Path, name: str, blank: None) -> None:
    preview_dataset(dataset.folder, tmp_path, jobs=1)
    preview_dataset(dataset.folder, tmp_path, jobs=1)
    Image.new("L", (1, 1)).save(tmp_path / name)
    mine = (tmp_path / name).read_bytes()
    with pytest.raises(TumorgenError, match=f"{name}: was not written by this command, and stays as it is; choose"):
        preview_dataset(dataset.folder, tmp_path, jobs=1)
    assert (tmp_path / name).read_bytes() == mine


def test_images_without_masks_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TumorgenError, match="go together"):
        preview_dataset(dataset.folder, images=tmp_path / "ct")


def test_an_output_that_cannot_be_written_is_one_line(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    arguments = ["preview", str(dataset.folder), "--output", str(tmp_path / "file" / "x"), "--jobs", "1"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    assert "cannot be written" in result.output


def test_help_has_examples_and_nothing_touches_pyplot() -> None:
    result = CliRunner().invoke(main, ["preview", "--help"])
    assert result.exit_code == 0
    assert "Examples:" in result.output
    code = "import sys, tumorgen.figures.preview; sys.exit('matplotlib.pyplot' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_real_scan_lies_on_its_back(data: Path, tmp_path: Path) -> None:
    # Direction (-1, -1, 1). The spine is at the back, so in the axial panel bone is in the lower half; the liver is on
    # the patient's right, so on the left.
    scan = load_scan(data / "example_ct" / "ct.nii.gz", data / "example_ct" / "liver.nii.gz")
    plan = draw_variant(scan, Settings(sizes=("medium",)), 0, 0)
    patch = render(scan, plan)
    image, label = patch.apply(scan)
    dataset = Dataset(tmp_path)
    write_volume(Volume(image, scan.geometry), dataset.image(plan.sample))
    write_volume(Volume(label, scan.geometry), dataset.label(plan.sample))
    sheet = read_sheet(dataset, Record(plan, patch.outcomes, None))
    assert "names no scan" in sheet.missing
    panel = panel_pixels(draw_sheet(sheet), "liver axial synthetic")
    middle = panel[:, panel.shape[1] // 3 :]  # without the ribs beside the liver
    row, _ = ndimage.center_of_mass(colored(middle, "white"))
    assert row > 0.6 * panel.shape[0]
    outline = colored(panel_pixels(draw_sheet(sheet), "liver axial synthetic, label"), LIVER_COLOR)
    whole = sheet.synthetic.label >= 1
    assert ndimage.center_of_mass(whole)[2] < 0.5 * whole.shape[2]
    assert outline.any()
