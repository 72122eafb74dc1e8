"""Shape and place of lesions on balls of voxels in a liver, whose answers are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tumorgen.fields import check_domains
from tumorgen.realism.label_maps import measure_label_maps
from tumorgen.realism.lesions import find_lesions
from tumorgen.realism.shapes import LesionShape, TumorBurden, measure_burden, measure_shapes

FINE, THICK = (1.0, 1.0, 1.0), (5.0, 0.8, 0.8)
SIZE_MM = 120.0
LIVER_MM = (20.0, 100.0)  # where the liver, a cube, begins and ends along each axis


def cube_with(*lesions: tuple[tuple[float, ...], tuple[float, ...]], spacing=FINE) -> np.ndarray:
    """A cube of liver with ellipsoids in it, each a centre and half-axes (z, y, x) in mm; what lies outside is cut."""
    places = np.ogrid[tuple(slice(round(SIZE_MM / s)) for s in spacing)]
    axes = [place * s for place, s in zip(places, spacing, strict=True)]
    labels = np.ones(np.broadcast_shapes(*(a.shape for a in axes)), np.uint8)
    for axis in axes:
        labels &= ((axis >= LIVER_MM[0]) & (axis < LIVER_MM[1])).astype(np.uint8)
    for center, half_axes in lesions:
        inside = sum(((a - c) / h) ** 2 for a, c, h in zip(axes, center, half_axes, strict=True)) <= 1
        labels[inside & (labels > 0)] = 2
    return labels


def shape_of(labels: np.ndarray, spacing=FINE) -> LesionShape:
    (shape,) = measure_shapes(labels, spacing, find_lesions(labels, spacing).lesions)
    check_domains(shape)
    return shape


@pytest.mark.parametrize("spacing", [FINE, THICK])
def test_ball_inside_the_liver(spacing):
    radius, depth = 8.0, 20.0
    shape = shape_of(cube_with(((60, 60, LIVER_MM[1] - depth), (radius,) * 3), spacing=spacing), spacing)
    assert shape.radius_mm == pytest.approx(radius, rel=0.02)  # a disc of pixels
    assert shape.volume_ml == pytest.approx(4 / 3 * math.pi * radius**3 / 1000, rel=0.03)
    assert shape.depth_mm == pytest.approx(depth, abs=1)  # to a voxel
    assert shape.depth == pytest.approx(depth / radius, rel=0.06)
    assert shape.edge_share == 0
    assert shape.solidity > 0.92  # the hull cuts the corners of pixels' stairs
    assert shape.circularity == pytest.approx(1, abs=0.1)
    assert shape.axis_ratio == pytest.approx(1, abs=0.02)
    assert shape.elongation == pytest.approx(1, abs=0.03 if spacing == FINE else 0.12)  # three slices tell no better
    assert shape.z_extent == pytest.approx(1, abs=spacing[0] / (2 * radius) * 1.2)  # whole slices


@pytest.mark.parametrize("inside_mm", [2.0, 6.0])
def test_ball_cut_by_the_surface_has_the_edge_share_of_its_chords(inside_mm):
    """The centre lies h below a surface across x: the chord of a disc of radius p has 2 sqrt(p^2 - h^2).

    Outlines run along the sides of pixels, so that of a convex figure is its bounding box's: 2 (2 p) + 2 (p + h).
    """
    radius = 10.0
    shape = shape_of(cube_with(((60, 60, LIVER_MM[1] - 0.5 - inside_mm), (radius,) * 3)))
    discs = np.sqrt(radius**2 - np.arange(-10, 11) ** 2.0)
    chords = 2 * np.sqrt(np.clip(discs**2 - inside_mm**2, 0, None))
    outlines = np.where(discs > inside_mm, 4 * discs + 2 * (discs + inside_mm), 8 * discs)
    assert shape.edge_share == pytest.approx(
        chords.sum() / outlines.sum(), abs=0.03
    )  # discs of pixels, up to 0.5 mm off


def test_edge_share_counts_length_in_mm():
    """Half of a disc whose pixels are twice as long along y: its side at the surface is as long as on square pixels."""
    spacing = (2.0, 1.0, 0.5)
    square, flat = cube_with(((60, 60, 99.5), (10,) * 3)), cube_with(((60, 60, 99.75), (10,) * 3), spacing=spacing)
    assert shape_of(flat, spacing).edge_share == pytest.approx(shape_of(square).edge_share, abs=0.03)
    assert shape_of(flat, spacing).solidity == pytest.approx(shape_of(square).solidity, abs=0.03)
    assert shape_of(flat, spacing).circularity == pytest.approx(shape_of(square).circularity, abs=0.1)  # coarser stairs


@pytest.mark.parametrize("spacing", [FINE, THICK])
def test_ellipsoid_has_its_axes(spacing):
    shape = shape_of(cube_with(((60, 60, 60), (8.0, 10.0, 16.0)), spacing=spacing), spacing)
    assert shape.axis_ratio == pytest.approx(10 / 16, rel=0.03)
    assert shape.elongation == pytest.approx(8 / 16, rel=0.04 if spacing == FINE else 0.13)  # three slices
    assert shape.radius_mm == pytest.approx(math.sqrt(10 * 16), rel=0.02)


def test_hole_in_the_liver_is_no_surface_and_a_centre_outside_has_no_depth():
    labels = cube_with(((60, 60, 60), (8.0,) * 3))
    depth = shape_of(labels).depth_mm
    labels[60, 60, 80] = 0
    assert shape_of(labels).depth_mm == depth == pytest.approx(40, abs=1)
    ring = cube_with()
    z, y, x = np.ogrid[:120, :120, :120]
    distance = np.hypot(y - 60, x - 60)
    ring[(distance < 10) & (z > 0)] = 0  # a tunnel through the liver, with tumour around it
    ring[(distance >= 10) & (distance < 14) & (abs(z - 60) < 8)] = 2
    assert shape_of(ring).depth_mm == 0


def test_lesion_that_is_all_there_is_lies_at_the_surface_all_around():
    labels = np.zeros((20, 40, 40), np.uint8)
    labels[0:10, 5:15, 5:15] = 2  # from the first slice of the scan on
    shape = shape_of(labels)
    assert shape.edge_share == 1
    assert shape.depth_mm == pytest.approx(5.5, abs=0.1)  # from the middle to the slice before the first


def test_lobes_lower_solidity_and_circularity():
    labels = cube_with()
    labels[55:65, 50:70, 57:63] = labels[55:65, 57:63, 50:70] = 2  # a cross: 204 of a hull of 302 pixels
    shape = shape_of(labels)
    assert shape.solidity == pytest.approx(204 / 302, rel=0.06)  # pixels' own corners
    assert shape.circularity < 0.5
    assert shape.axis_ratio == pytest.approx(1)


def test_lesions_come_in_order_each_measured_alone():
    centers = [(40, 40, 40), (70, 70, 70)]
    labels = cube_with((centers[0], (6.0,) * 3), (centers[1], (9.0,) * 3))
    alone = [shape_of(cube_with((center, (r,) * 3))) for center, r in zip(centers, (6.0, 9.0), strict=True)]
    found = find_lesions(labels, FINE).lesions
    assert measure_shapes(labels, FINE, found) == tuple(alone)
    assert measure_shapes(labels, FINE, ()) == ()


def test_burden_of_a_liver():
    labels = cube_with(((40, 40, 40), (6.0,) * 3), ((70, 70, 70), (9.0,) * 3))
    labels[90, 90, 90] = 2
    burden = measure_burden(labels, FINE, find_lesions(labels, FINE))
    assert (burden.lesions, burden.too_small) == (2, 1)
    assert burden.liver_ml == pytest.approx(80**3 / 1000)
    assert burden.tumor_ml == pytest.approx(4 / 3 * math.pi * (6**3 + 9**3) / 1000, rel=0.02)
    assert burden.tumor_share == burden.tumor_ml / burden.liver_ml
    assert math.isnan(TumorBurden(0, 0, 0.0, 0.0).tumor_share)


@pytest.mark.slow  # a minute
def test_real_lesions_measure_as_they_are_known_to(data):
    """Published for 837 lesions of 131 label maps, of which 122 may be here: share of lesions, edge share, depth."""
    folder = data / "msd_labels"
    if not folder.is_dir():
        pytest.skip(f"no label maps in {folder}")
    measured, failures = measure_label_maps(folder, {}, jobs=1)
    shapes = [shape for each in measured for shape in each.shapes]
    assert failures == ()
    assert len(shapes) > 700
    known = {
        (0, 5): (0.42, 0.20, 2.5),
        (5, 10): (0.33, 0.31, 1.2),
        (10, 20): (0.19, 0.43, 0.87),
        (20, 99): (0.06, 0.61, 0.68),
    }
    for (low, high), (part, at_edge, depth) in known.items():
        here = [shape for shape in shapes if low <= shape.radius_mm < high]
        assert len(here) / len(shapes) == pytest.approx(part, abs=0.02)
        assert np.mean([shape.edge_share > 0.05 for shape in here]) == pytest.approx(
            at_edge, abs=0.06
        )  # nine maps less
        assert np.median([shape.depth for shape in here]) == pytest.approx(depth, rel=0.06)
    for name, (low, middle, high) in {"solidity": (0.81, 0.94, 0.98), "circularity": (0.53, 0.90, 1.0)}.items():
        quantiles = np.quantile([getattr(shape, name) for shape in shapes], (0.05, 0.5, 0.95))
        assert quantiles == pytest.approx([low, middle, high], abs=0.02)
