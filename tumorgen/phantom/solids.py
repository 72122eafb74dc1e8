"""Solids as implicit functions: a field that is negative inside, in mm, evaluated wherever one asks.

Points are (x, y, z) in mm, LPS; coordinates and fields are arrays (z, y, x). No solid knows of voxels, so spacing
changes how finely a body is sampled and never its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import cos, inf, pi, radians, sin

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from ..imaging import Geometry

Array = NDArray[np.float32]
Point = tuple[float, float, float]
Slices = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class Coordinates:
    """Where a field is evaluated: x, y and z in mm (LPS), three arrays that broadcast to (z, y, x)."""

    x: Array
    y: Array
    z: Array

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (z, y, x) of a field at these coordinates."""
        return self.z.shape[0], self.y.shape[1], self.x.shape[2]

    @property
    def edge_mm(self) -> float:
        """Mean edge length of a voxel."""
        return float(np.mean([np.ptp(axis) / max(axis.size - 1, 1) for axis in (self.x, self.y, self.z)]))

    def crop(self, low: Point, high: Point) -> tuple[Slices, Coordinates] | None:
        """The part that a box touches, two voxels at least along each axis; None where there is none."""
        pz = _span(self.z.ravel(), low[2], high[2])
        py = _span(self.y.ravel(), low[1], high[1])
        px = _span(self.x.ravel(), low[0], high[0])
        if px is None or py is None or pz is None:
            return None
        return (pz, py, px), Coordinates(self.x[:, :, px], self.y[:, py], self.z[pz])


def _span(axis: Array, low: float, high: float) -> slice | None:
    """Indices of a regular axis within [low, high], one voxel wider on either side."""
    step = float(axis[1] - axis[0])
    if high < axis[0] - step or low > axis[-1] + step:
        return None
    first = 0 if low == -inf else max(int((low - axis[0]) / step) - 1, 0)
    last = axis.size if high == inf else min(int((high - axis[0]) / step) + 3, axis.size)
    first = min(first, axis.size - 2)
    return slice(first, max(last, first + 2))


def coordinates_of(geometry: Geometry, stretch: Point = (1.0, 1.0, 1.0)) -> Coordinates:
    """Voxel centres of a volume of identity direction; a body drawn there is `stretch` times (x, y, z) as large."""
    (nz, ny, nx), (sz, sy, sx), (ox, oy, oz) = geometry.shape, geometry.spacing_mm, geometry.origin_mm
    x = (ox + sx * np.arange(nx)) / stretch[0]
    y = (oy + sy * np.arange(ny)) / stretch[1]
    z = (oz + sz * np.arange(nz)) / stretch[2]
    return Coordinates(
        x.astype(np.float32)[None, None, :], y.astype(np.float32)[None, :, None], z.astype(np.float32)[:, None, None]
    )


Field = Callable[[Coordinates], Array]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A solid: its field (roughly mm, negative inside) and a box (x, y, z) that holds it."""

    field: Field
    low: Point = (-inf, -inf, -inf)
    high: Point = (inf, inf, inf)

    def grown(self, mm: float) -> Shape:
        """The solid with its surface moved outwards; inwards where `mm` is negative."""
        low, high = _widened(self.low, self.high, max(mm, 0.0))
        return Shape(lambda at: self.field(at) - np.float32(mm), low, high)

    def within(self, *fields: Field) -> Shape:
        """What lies in all of the given fields as well."""
        return replace(self, field=intersection(self.field, *fields))

    def without(self, *fields: Field) -> Shape:
        """What is left when the given fields are cut away."""
        return replace(self, field=intersection(self.field, *(complement(field) for field in fields)))

    def bumpy(self, lumps: Field) -> Shape:
        """The solid with an uneven surface."""
        return replace(self, field=lambda at: self.field(at) + lumps(at))


def _widened(low: Point, high: Point, mm: float) -> tuple[Point, Point]:
    """A box moved outwards by `mm`."""
    return (low[0] - mm, low[1] - mm, low[2] - mm), (high[0] + mm, high[1] + mm, high[2] + mm)


def intersection(*fields: Field) -> Field:
    """What lies in all of the fields."""

    def field(at: Coordinates) -> Array:
        result = fields[0](at)
        for other in fields[1:]:
            result = np.maximum(result, other(at))
        return result

    return field


def complement(field: Field) -> Field:
    """What lies outside a field."""
    return lambda at: -field(at)


def smooth_union(first: Array, second: Array, blend_mm: float) -> Array:
    """Union of two fields with a fillet of about `blend_mm`."""
    near = np.maximum(np.float32(blend_mm) - np.abs(first - second), 0)
    return np.asarray(np.minimum(first, second) - near * near / np.float32(4 * blend_mm), np.float32)


def smooth_intersection(first: Array, second: Array, blend_mm: float) -> Array:
    """Intersection of two fields with a rounded edge of about `blend_mm`."""
    return -smooth_union(-first, -second, blend_mm)


def occupancy(field: Array) -> Array:
    """Share of each voxel inside a solid, 0 to 1, taking the surface as flat across a voxel.

    Dividing by the field's own change across the voxel makes edges one voxel wide at any spacing, thick slices
    included, and for any implicit function, distance or not.
    """
    field = np.ascontiguousarray(field)
    change = np.full(field.shape, 1e-6, np.float32)
    for axis in range(3):
        change += np.abs(np.gradient(field, axis=axis))
    share: Array = np.clip(np.float32(0.5) - field / change, 0, 1)
    return share


def ellipsoid(center: Point, half_axes: Point, tilt_deg: Point = (0.0, 0.0, 0.0)) -> Shape:
    """An ellipsoid; `tilt_deg` turns it about x, then y, then z."""
    size = np.float32(min(half_axes))
    rows = (_rotation(tilt_deg).T / np.reshape(half_axes, (3, 1))).astype(np.float32)

    def field(at: Coordinates) -> Array:
        x, y, z = at.x - np.float32(center[0]), at.y - np.float32(center[1]), at.z - np.float32(center[2])
        square = np.float32(0)
        for row in rows:
            along = row[0] * x + row[1] * y + row[2] * z
            square = square + along * along
        return np.asarray((np.sqrt(square) - 1) * size, np.float32)

    reach = max(half_axes) + 1
    return Shape(field, *_widened(center, center, reach))


def _rotation(tilt_deg: Point) -> NDArray[np.float64]:
    """Matrix that turns about x, then y, then z; written out, so that no linear algebra library rounds it."""
    (cx, sx), (cy, sy), (cz, sz) = ((cos(radians(angle)), sin(radians(angle))) for angle in tilt_deg)
    return np.array(
        [
            [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
            [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
            [-sy, cy * sx, cy * cx],
        ]
    )


def lumps(rng: np.random.Generator, amplitude_mm: float, wavelength_mm: float) -> Field:
    """An irregular, smooth field of standard deviation `amplitude_mm`: six plane waves in random directions."""
    directions = rng.normal(size=(6, 3))
    directions /= np.sqrt((directions**2).sum(axis=1, keepdims=True))
    waves = (directions * rng.uniform(0.7, 1.3, (6, 1)) * 2 * pi / wavelength_mm).astype(np.float32)
    phases = rng.uniform(0, 2 * pi, 6).astype(np.float32)
    scale = np.float32(amplitude_mm / 3**0.5)  # six cosines add up to a standard deviation of 3 ** 0.5

    def field(at: Coordinates) -> Array:
        total = np.zeros((1, 1, 1), np.float32)
        for (kx, ky, kz), phase in zip(waves, phases, strict=True):
            flat, upright = kx * at.x + ky * at.y + phase, kz * at.z  # cos(a + b), so that cosines stay 2D
            total = total + np.cos(flat) * (scale * np.cos(upright)) - np.sin(flat) * (scale * np.sin(upright))
        return total

    return field


@dataclass(frozen=True, slots=True, eq=False)
class Tubes:
    """Tapered tubes: ends (n, 3) as (x, y, z) in mm, and the radius at either end (n,)."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    start_radius_mm: NDArray[np.float64]
    end_radius_mm: NDArray[np.float64]

    def boxes(self, margin_mm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Low and high corner (n, 3) of each tube's box."""
        reach = (np.maximum(self.start_radius_mm, self.end_radius_mm) + margin_mm)[:, None]
        return np.minimum(self.start, self.end) - reach, np.maximum(self.start, self.end) + reach

    def near(self, at: Coordinates, margin_mm: float) -> Iterator[tuple[int, Slices, Coordinates]]:
        """Each tube whose box is touched, and the part of the coordinates in its box."""
        lows, highs = self.boxes(margin_mm)
        step = margin_mm + at.edge_mm  # what is painted is a slab of a volume: most tubes lie below or above it
        touching = (highs[:, 2] > at.z.min() - step) & (lows[:, 2] < at.z.max() + step)
        for index in np.flatnonzero(touching).tolist():
            if (part := at.crop(tuple(lows[index].tolist()), tuple(highs[index].tolist()))) is not None:
                yield index, *part

    def distance(self, index: int, at: Coordinates) -> tuple[Array, Array]:
        """Distance to the surface of one tube, negative inside, and the radius at the nearest point, both in mm."""
        ax, ay, az = self.start[index].astype(np.float32)
        bx, by, bz = (self.end[index] - self.start[index]).astype(np.float32)
        x, y, z = at.x - ax, at.y - ay, at.z - az
        length_square = max(bx * bx + by * by + bz * bz, np.float32(1e-6))
        along = np.clip((x * bx + y * by + z * bz) / length_square, 0, 1)
        first, last = np.float32(self.start_radius_mm[index]), np.float32(self.end_radius_mm[index])
        radius = first + along * (last - first)
        x, y, z = x - along * bx, y - along * by, z - along * bz
        return np.sqrt(x * x + y * y + z * z) - radius, radius


def tube(points: Sequence[Point], radii_mm: Sequence[float], steps: int = 5) -> Shape:
    """A tube along a smooth curve through the points, `steps` straight pieces between each two.

    Its field is a distance near the surface only: further than three voxels out it stays at its largest value.
    """
    knots = np.arange(len(points))
    fine = np.linspace(0, len(points) - 1, steps * (len(points) - 1) + 1)
    path = CubicSpline(knots, np.array(points, float))(fine)
    radii = np.interp(fine, knots, radii_mm)
    tubes = Tubes(path[:-1], path[1:], radii[:-1], radii[1:])

    def field(at: Coordinates) -> Array:
        margin = 3 * at.edge_mm + 6
        nearest = np.full(at.shape, margin, np.float32)
        for index, box, part in tubes.near(at, margin):
            distance, _ = tubes.distance(index, part)
            np.minimum(nearest[box], distance, out=nearest[box])
        return nearest

    reach = max(radii_mm)
    low, high = path.min(axis=0) - reach, path.max(axis=0) + reach
    return Shape(field, (low[0], low[1], low[2]), (high[0], high[1], high[2]))


def rods(*ends: tuple[Point, Point, float, float]) -> Field:
    """The union of straight tapered rods, each given by its two ends and the radius in mm at either."""
    starts, stops, first, last = zip(*ends, strict=True)
    tubes = Tubes(np.array(starts, float), np.array(stops, float), np.array(first, float), np.array(last, float))

    def field(at: Coordinates) -> Array:
        result, _ = tubes.distance(0, at)
        for index in range(1, len(ends)):
            result = np.minimum(result, tubes.distance(index, at)[0])
        return result

    return field


def strands(tubes: Tubes, at: Coordinates) -> Array:
    """Share of each voxel inside any of many thin tubes; a tube thinner than a voxel fills only a part of it."""
    edge = np.float32(at.edge_mm)
    share = np.zeros(at.shape, np.float32)
    for index, box, part in tubes.near(at, float(edge)):
        distance, radius = tubes.distance(index, part)
        inside = np.clip(np.float32(0.5) - distance / edge, 0, 1) * np.minimum(2 * radius / edge, 1)
        np.maximum(share[box], inside, out=share[box])
    return share


def grow_tree(
    rng: np.random.Generator, root: Point, toward: Point, targets: NDArray[np.float64], radius_mm: float
) -> Tubes:
    """A tree of vessels from a root to every target point, halving the territory at each fork.

    A branch runs from its start towards the middle of its territory and forks there. Radii follow Murray's law: the
    cube of a vessel's radius is proportional to the territory it feeds (Murray 1926, PNAS 12:207).

    Parameters
    ----------
    rng
        Draws where territories are cut and how branches bend.
    root, toward
        Where the trunk starts and the direction it sets out in; (x, y, z) in mm.
    targets
        (n, 3) points that the tree reaches.
    radius_mm
        Radius of the trunk at the root.
    """
    total = len(targets)
    pieces: list[tuple[NDArray[np.float64], NDArray[np.float64], float, float]] = []
    heading = np.subtract(toward, root)
    stack = [(np.array(root, float), heading / max(_length(heading), 1e-6), targets, radius_mm)]
    while stack:
        start, direction, territory, radius = stack.pop()
        alone = len(territory) == 1
        goal = territory.mean(axis=0)
        end = goal if alone else start + rng.uniform(0.45, 0.65) * (goal - start)
        radius_end = radius * (0.6 if alone else 0.93)
        path = _bend(rng, start, end, direction)
        radii = np.linspace(radius, radius_end, len(path))
        pieces += list(zip(path[:-1], path[1:], radii[:-1].tolist(), radii[1:].tolist(), strict=True))
        if alone:
            continue
        leaving = path[-1] - path[-2]
        for part in _halves(rng, territory):
            child = max(radius_mm * (len(part) / total) ** (1 / 3), 0.7)
            stack.append((end, leaving / max(_length(leaving), 1e-6), part, min(child, radius_end)))
    starts, ends, first, last = zip(*pieces, strict=True)
    return Tubes(np.array(starts), np.array(ends), np.array(first), np.array(last))


def _length(vector: NDArray[np.float64]) -> float:
    return float(np.sqrt((vector * vector).sum()))


def _bend(
    rng: np.random.Generator, start: NDArray[np.float64], end: NDArray[np.float64], direction: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Points (n, 3) on a quadratic Bezier curve that leaves in the given direction, as vessels do at a fork."""
    length = _length(end - start)
    control = start + 0.4 * length * direction + rng.normal(0, 0.05 * length, 3)
    t = np.linspace(0, 1, 3 + int(length / 12))[:, None]
    curve: NDArray[np.float64] = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
    return curve


def _halves(rng: np.random.Generator, points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """The points cut in two, unequally, across the widest of five random directions."""
    directions = rng.normal(size=(5, 3))
    directions /= np.sqrt((directions**2).sum(axis=1, keepdims=True))
    along = (points[:, None, :] * directions).sum(axis=2)
    order = np.argsort(along[:, int(along.std(axis=0).argmax())], kind="stable")
    cut = min(max(round(rng.uniform(0.3, 0.7) * len(points)), 1), len(points) - 1)
    return [points[order[:cut]], points[order[cut:]]]
