"""The body that a phantom shows: the organs as solids in the order they are painted.

Written for an adult of reference size lying on the back; (x, y, z) in mm, LPS, so x runs to the patient's left, y to
the back and z to the head. The origin lies in the middle of the liver's height, about 45 mm in front of the spine's
centre. A vertebra every 31 mm puts T12 at z = 12 mm, the dome of the liver at T9 and its tip at L3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, pi
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .solids import (
    Array,
    Coordinates,
    Field,
    Point,
    Shape,
    Slices,
    Tubes,
    complement,
    ellipsoid,
    grow_tree,
    intersection,
    lumps,
    occupancy,
    rods,
    smooth_intersection,
    smooth_union,
    strands,
    tube,
)
from .tissues import TISSUES, Phase

Part = Literal["liver", "vessel", "other"]
VERTEBRA_MM = 31.0  # height of a vertebra and its disc around T12
RIB_12_Z_MM = 12.0
COARSE_MM = 4.0  # steps in which the liver is measured before any voxel is drawn
LIVER_ML = (1250.0, 1850.0)  # adults: about 1500 ml, sd 350 (Vauthey et al., Liver Transpl 2002;8:233)


@dataclass(frozen=True, slots=True, eq=False)
class Organ:
    """One layer of paint: a tissue, the share of each voxel it covers, the box (x, y, z) it lies in, and its part."""

    tissue: str
    cover: Callable[[Coordinates], Array]
    low: Point
    high: Point
    part: Part = "other"

    def paint(self, at: Coordinates) -> tuple[Slices, Array] | None:
        """Where the organ lies among the coordinates, and its share of each voxel there; None where it is elsewhere."""
        part = at.crop(self.low, self.high)
        return None if part is None else (part[0], self.cover(part[1]))


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """One patient: the organs in the order they are painted, HU by tissue, and the size against the reference."""

    organs: list[Organ]
    hu: dict[str, float]
    stretch: Point


def draw_body(rng: np.random.Generator, phase: Phase = "portal") -> Anatomy:
    """Draw a patient. The anatomy does not depend on the phase, nor on any voxel grid."""
    hu = {name: getattr(tissue, phase) + tissue.spread * rng.uniform(-1, 1) for name, tissue in TISSUES.items()}
    stretch = (rng.uniform(0.94, 1.05), rng.uniform(0.94, 1.06), rng.uniform(0.95, 1.04))
    torso = Torso(
        fat_mm=rng.uniform(7, 26),
        dome_mm=rng.uniform(84, 92),
        left_dome_mm=rng.uniform(70, 82),
        bend_phase=rng.uniform(-0.3, 0.3),
    )
    abdomen = _abdomen(rng, torso, float(np.prod(stretch)))
    organs = [*_wall(rng, torso), *_chest(rng, torso), *_spine(torso), *_bowel(rng, torso), *abdomen, *_table(torso)]
    return Anatomy(organs, hu, stretch)


def _solid(tissue: str, shape: Shape, part: Part = "other") -> Organ:
    return Organ(tissue, lambda at: occupancy(np.broadcast_to(shape.field(at), at.shape)), shape.low, shape.high, part)


def _branches(tissue: str, tubes: Tubes, part: Part = "other") -> Organ:
    lows, highs = tubes.boxes(2.0)
    (ax, ay, az), (bx, by, bz) = lows.min(axis=0), highs.max(axis=0)
    return Organ(tissue, lambda at: strands(tubes, at), (ax, ay, az), (bx, by, bz), part)


def _layers(shape: Shape, *tissues: tuple[str, float]) -> list[Organ]:
    """Nested layers of one solid: each tissue fills what lies deeper than its depth in mm."""
    return [_solid(tissue, shape.grown(-depth)) for tissue, depth in tissues]


def _near(rng: np.random.Generator, point: Point, mm: float) -> Point:
    """A point shifted by up to `mm` along each axis."""
    dx, dy, dz = rng.uniform(-mm, mm, 3)
    return point[0] + dx, point[1] + dy, point[2] + dz


def _mirrored(at: Coordinates) -> Coordinates:
    """The coordinates with right and left folded onto each other, for what the body has in pairs."""
    return Coordinates(np.abs(at.x), at.y, at.z)


@dataclass(frozen=True, slots=True)
class Torso:
    """What the organs have to fit into."""

    fat_mm: float
    dome_mm: float
    left_dome_mm: float
    bend_phase: float

    def cavity(self, at: Coordinates) -> Array:
        """Inner outline of the abdominal wall and the ribs."""
        return _outline(at, 132, 84, -8)

    def wall(self, at: Coordinates) -> Array:
        """Outer outline of the muscles."""
        return _outline(at, 147, 102.5, -1.5)

    def skin(self, at: Coordinates) -> Array:
        """Outline of the body; fat is thickest in front and thinnest at the sides."""
        fat = self.fat_mm
        return _outline(at, 147 + 0.6 * fat, 102.5 + 0.95 * fat, -1.5 - 0.05 * fat)

    def bend(self, at: Coordinates) -> Array:
        """How far the spine lies behind the straight line: lordosis below, kyphosis above."""
        return np.asarray(np.float32(6) * np.sin(at.z / np.float32(75) + np.float32(self.bend_phase)), np.float32)

    def diaphragm_z(self, at: Coordinates) -> Array:
        """Height of the diaphragm: two domes, the heart's saddle between them, the recess around the edge."""
        right = self.dome_mm - 92 * _radius(at, -62, -6, 80, 84) ** 3
        left = self.left_dome_mm - 85 * _radius(at, 66, 2, 70, 80) ** 3
        saddle = self.left_dome_mm - 7 - 30 * _radius(at, 10, -30, 70, 60) ** 2
        top = smooth_intersection(smooth_intersection(right, left, 10), saddle, 10)
        return smooth_intersection(top, self.recess_z(at), 10)

    def recess_z(self, at: Coordinates) -> Array:
        """Height at which aerated lung ends along the wall: lower at the back."""
        return np.float32(28) - np.float32(0.4) * at.y

    def below_diaphragm(self, at: Coordinates) -> Array:
        """Field of everything under the diaphragm's muscle."""
        return at.z - self.diaphragm_z(at) + np.float32(4)

    def above_diaphragm(self, at: Coordinates) -> Array:
        """Field of everything over the diaphragm."""
        return self.diaphragm_z(at) - at.z

    def spine_bed(self, at: Coordinates) -> Array:
        """Field of the spine with the vessels and crura before it: no organ lies there."""
        y = at.y - self.bend(at)
        column = np.sqrt((at.x / 30) ** 2 + ((y - 52) / 27) ** 2) * 28 - 28
        crura = np.sqrt(((at.x - 3) / 22) ** 2 + ((y - 22) / 15) ** 2) * 17 - 17
        return np.asarray(np.minimum(column, crura), np.float32)


def _outline(at: Coordinates, half_width: float, half_depth: float, center_y: float) -> Array:
    """Distance in mm, along the radius, to a superellipse that narrows slowly towards waist and armpits."""
    x, y = at.x, at.y - np.float32(center_y)
    u, v = np.abs(x) / np.float32(half_width), np.abs(y) / np.float32(half_depth)
    ratio = (u * u * np.sqrt(u) + v * v * np.sqrt(v)) ** np.float32(0.4)
    distance = np.sqrt(x * x + y * y) * (1 - 1 / np.maximum(ratio, np.float32(0.05)))
    narrowing: Array = 7 * (1 - np.cos(np.clip((at.z - 5) / 130, -1, 1) * np.float32(pi / 2)))
    return np.asarray(distance + narrowing, np.float32)


def _radius(at: Coordinates, x: float, y: float, half_width: float, half_depth: float) -> Array:
    """Distance from a vertical axis, 1 on an ellipse."""
    return np.sqrt(((at.x - np.float32(x)) / half_width) ** 2 + ((at.y - np.float32(y)) / half_depth) ** 2)


def _wall(rng: np.random.Generator, torso: Torso) -> list[Organ]:
    """Skin, fat, muscles with fat between them, ribs, iliac crests, and the fat that fills the inside."""
    cartilage, rib = _ribs(torso, rng.uniform(-6, 6))
    crest = Shape(lambda at: _iliac(torso, at), high=(inf, inf, -95.0))
    return [
        *_layers(Shape(torso.skin).bumpy(lumps(rng, 1.2, 170)), ("skin", 0), ("fat", 2)),
        _solid("muscle", Shape(torso.wall).bumpy(lumps(rng, 1.0, 90))),
        _solid("fat", Shape(lambda at: _septa(torso, at))),
        _solid("visceral_fat", Shape(torso.cavity)),
        _solid("cartilage", cartilage),
        *_layers(rib, ("cortical_bone", 0), ("cancellous_bone", 1.6)),
        *_layers(crest, ("cortical_bone", 0), ("cancellous_bone", 1.8)),
        *_back_muscles(rng),
    ]


def _septa(torso: Torso, at: Coordinates) -> Array:
    """Thin sheets of fat: around the erector spinae, between the three lateral layers, beside the rectus, midline."""
    folded = _mirrored(at)
    wall, inner = torso.wall(at), torso.cavity(at)
    erector = _radius(folded, 36, 84, 31, 17) * 20 - 20
    erector_sheet = np.abs(erector) - np.float32(0.7)
    share = -wall / np.maximum(inner - wall, 1)
    thirds = (np.abs(np.abs(share - np.float32(0.5)) - np.float32(0.17)) - np.float32(0.03)) * 14
    lateral = np.maximum(np.maximum(thirds, 62 - folded.x), np.maximum(at.z + 25, at.y - 60))
    rectus = np.maximum(np.maximum(np.abs(folded.x - 64) - np.float32(2.2), at.y + 45), at.z - 40)
    midline = np.maximum(folded.x - np.float32(1.6), np.maximum(np.abs(at.y) * -1 + 85, at.z - 60))
    sheets = np.minimum(np.minimum(erector_sheet, lateral), np.minimum(rectus, midline))
    return np.asarray(np.maximum(np.maximum(sheets, wall + 1), -inner + 1), np.float32)


def _ribs(torso: Torso, shift_mm: float) -> tuple[Shape, Shape]:
    """Costal cartilage and bony ribs: a tube wound around the torso, repeated every vertebra, cut at each rib's end."""
    ends = np.array([0.30, 0.50, 0.66, 0.71, 0.75, 0.78, 0.80, 0.82], np.float32) * np.float32(pi)  # rib 12, 11, ...

    def wound(at: Coordinates) -> tuple[Array, Array, Array]:
        angle = np.arctan2(np.abs(at.x), at.y + 8)  # 0 at the back, pi in front
        drop = 150 * np.sin(np.minimum(angle, 2.3) / 2) - 34 * np.maximum(angle - 2.3, 0) + shift_mm * np.sign(at.x)
        along = at.z + drop - np.float32(RIB_12_Z_MM - VERTEBRA_MM / 2)
        across = np.mod(along, np.float32(VERTEBRA_MM)) - np.float32(VERTEBRA_MM / 2)
        depth = torso.cavity(at) - np.float32(5.5)
        rib = (np.sqrt((depth / np.float32(3.6)) ** 2 + (across / np.float32(8)) ** 2) - 1) * np.float32(4.2)
        return rib, along, angle

    def bone(at: Coordinates) -> Array:
        rib, along, angle = wound(at)
        number = np.clip(along / np.float32(VERTEBRA_MM), 0, len(ends) - 1).astype(np.intp)
        return np.asarray(np.maximum(np.maximum(rib, np.clip((angle - ends[number]) * 110, -5, 5)), -along), np.float32)

    def cartilage(at: Coordinates) -> Array:
        rib, along, angle = wound(at)
        return np.asarray(
            np.maximum(np.maximum(rib + np.float32(0.5), (angle - 3) * 110), np.float32(3 * VERTEBRA_MM) - along),
            np.float32,
        )

    low, high = (-160.0, -110.0, -100.0), (160.0, 110.0, inf)
    return Shape(cartilage, low, high), Shape(bone, low, high)


def _iliac(torso: Torso, at: Coordinates) -> Array:
    """The wings of the pelvis, whose crest stands highest at the side of L4."""
    angle = np.arctan2(np.abs(at.x), at.y + 8)
    crest = -108 - 60 * (angle - 1.0) ** 2
    plate = np.abs(torso.cavity(at) - 4) - np.float32(4)
    return np.maximum(plate, at.z - crest)


def _back_muscles(rng: np.random.Generator) -> list[Organ]:
    """Psoas, quadratus lumborum and the diaphragm's crura, in pairs."""
    size = rng.uniform(0.85, 1.15)
    muscles = [
        tube([(28 * side, 42, 0), (33 * side, 42, -40), (43 * side, 44, -100), (54 * side, 34, -190)], [2, 11, 19, 22])
        for side in (-size, size)
    ]
    muscles += [
        tube([(52 * side, 70, 0), (62 * side, 68, -60), (72 * side, 66, -120)], [4, 11, 12]) for side in (-1, 1)
    ]
    crura = Shape(
        lambda at: np.maximum(_radius(_mirrored(at), 13, 24, 6, 15) * 8 - 8, np.abs(at.z - 20) - 65),
        (-20.0, 0.0, -50.0),
        (20.0, 45.0, 90.0),
    )
    return [_solid("muscle", muscle) for muscle in (*muscles, crura)]


def _chest(rng: np.random.Generator, torso: Torso) -> list[Organ]:
    """Diaphragm, lungs with their vessels, heart, oesophagus, sternum."""
    base = (-inf, -inf, -60.0), (inf, inf, inf)
    heart_at = _near(rng, (24, -34, torso.left_dome_mm + 44), 4)
    heart = ellipsoid(heart_at, (60, 50, 50), (0, 0, 25)).within(torso.above_diaphragm)
    chamber = ellipsoid(_near(rng, (heart_at[0] + 12, heart_at[1] + 6, heart_at[2] + 4), 3), (26, 24, 32), (0, 25, 30))
    right = ellipsoid((heart_at[0] - 28, heart_at[1] - 8, heart_at[2] + 4), (24, 30, 36), (0, 0, 20))

    def mediastinum(at: Coordinates) -> Array:
        return _radius(at, 4, 14, 30, 42) * 34 - 34

    def diaphragm(at: Coordinates) -> Array:
        height = torso.diaphragm_z(at)
        sheet = np.abs(at.z - height + np.float32(2)) - np.float32(1.6)
        return np.asarray(np.maximum(np.maximum(sheet, torso.cavity(at)), torso.recess_z(at) + 8 - height), np.float32)

    lung = Shape(torso.above_diaphragm, *base).within(lambda at: torso.cavity(at) + 2)
    lung = lung.without(mediastinum, heart.grown(5).field, lambda at: torso.spine_bed(at) - 3)
    return [
        _solid("muscle", Shape(diaphragm, *base)),
        _solid("lung", lung),
        *(
            Organ(organ.tissue, _inside(organ.cover, lung), organ.low, organ.high)
            for organ in (_lung_vessels(rng, torso, side) for side in (-1, 1))
        ),
        *_layers(heart, ("heart", 0)),
        _solid("heart_blood", chamber.within(heart.grown(-4).field)),
        _solid("heart_blood", right.within(heart.grown(-3).field)),
        _solid("muscle", tube([(8, 20, 200), (8, 16, 110), (14, 10, 72), (26, 4, 58)], [7, 7, 8, 8])),
        *_layers(ellipsoid((0, -92, 130), (17, 6, 58)), ("cortical_bone", 0), ("cancellous_bone", 1.4)),
    ]


def _inside(cover: Callable[[Coordinates], Array], shape: Shape) -> Callable[[Coordinates], Array]:
    """A cover that counts only where a solid is."""
    return lambda at: cover(at) * (shape.field(at) < 0)


def _lung_vessels(rng: np.random.Generator, torso: Torso, side: int) -> Organ:
    """The tree of one lung's base."""
    points = rng.uniform((20, -75, 0), (128, 70, 200), (900, 3))
    points[:, 0] *= side
    at = _scattered(points)
    inside = np.maximum(torso.above_diaphragm(at) + 5, torso.cavity(at) + 6).ravel() < 0
    return _branches(
        "lung_vessel", grow_tree(rng, (side * 28.0, 5.0, 185.0), (side * 60.0, 10.0, 130.0), points[inside][:220], 6.0)
    )


def _scattered(points: NDArray[np.float64]) -> Coordinates:
    """Loose points (n, 3) as coordinates of shape (n, 1, 1)."""
    x, y, z = (column.astype(np.float32)[:, None, None] for column in points.T)
    return Coordinates(x, y, z)


def _spine(torso: Torso) -> list[Organ]:
    """Discs, vertebral bodies, arches with their processes, and the canal."""
    low, high = (-48.0, 10.0, -inf), (48.0, 118.0, inf)

    def in_vertebra(at: Coordinates) -> Coordinates:
        z = np.mod(at.z - np.float32(RIB_12_Z_MM - VERTEBRA_MM / 2), np.float32(VERTEBRA_MM)) - np.float32(
            VERTEBRA_MM / 2
        )
        return Coordinates(np.abs(at.x), at.y - torso.bend(at), z)

    def body(at: Coordinates) -> Array:
        waist = 2 - 2 * np.minimum((at.z / 12) ** 2, 1)
        side = _radius(at, 0, 44, 23, 17) * 20 - 20 + waist
        return np.asarray(np.maximum(side, 12 - _radius(at, 0, 70, 15, 11) * 12), np.float32)

    arch = rods(
        ((11, 58, 3), (14, 72, 1), 5.5, 4.5),  # pedicle
        ((14, 74, 0), (0, 84, -5), 4.5, 4),  # lamina
        ((0, 84, -4), (0, 99, -9), 3.5, 4),  # spinous process
        ((14, 75, 3), (36, 79, 5), 4.5, 3.5),  # transverse process
        ((15, 76, -15.4), (15, 76, 15.4), 4.6, 4.6),  # articular processes
    )
    disc = Shape(lambda at: body(in_vertebra(at)) - 1, low, high)
    bone = Shape(lambda at: _vertebral_body(body, in_vertebra(at)), low, high)
    posterior = Shape(lambda at: arch(in_vertebra(at)), low, high)
    canal = Shape(lambda at: _radius(in_vertebra(at), 0, 70, 11.5, 8) * 9 - 9, low, high)
    return [
        _solid("disc", disc),
        *_layers(bone, ("cortical_bone", 0), ("cancellous_bone", 1.6)),
        *_layers(posterior, ("cortical_bone", 0), ("cancellous_bone", 2.2)),
        _solid("spinal_canal", canal),
    ]


def _vertebral_body(side: Field, at: Coordinates) -> Array:
    return np.maximum(side(at), np.abs(at.z) - np.float32(11.5))


def _abdomen(rng: np.random.Generator, torso: Torso, stretch: float) -> list[Organ]:
    """Solid organs, stomach, great vessels, the liver after its neighbours; `stretch` is the body's volume factor."""
    kidneys = [_kidney(rng, side) for side in (-1, 1)]
    stomach = _stomach(rng, torso)
    spleen = _spleen(rng, torso, _outside(stomach.grown(2), kidneys[1].grown(3)))
    obstacles = _outside(kidneys[0].grown(5), stomach.grown(3), spleen.grown(2))
    liver, hilum, interior = _liver(rng, torso, obstacles, stretch)
    return [
        *(_solid("adrenal", shape.within(torso.below_diaphragm)) for shape in _adrenals(rng)),
        *(organ for kidney in kidneys for organ in _kidney_layers(rng, kidney)),
        _solid("spleen", spleen),
        _solid("pancreas", _pancreas(rng)),
        *_hollow(stomach, "stomach_wall", 4, "stomach_fluid", rng.uniform(-55, -25)),
        _solid("liver", liver, "liver"),
        *_liver_vessels(rng, hilum, interior),
        *_gallbladder(rng, hilum),
        *_great_vessels(hilum),
    ]


def _outside(*shapes: Shape) -> Field:
    """What lies outside of all the shapes."""
    return intersection(*(complement(shape.field) for shape in shapes))


def _hollow(shape: Shape, wall: str, wall_mm: float, content: str, gas_above_y: float | None) -> list[Organ]:
    """Stomach or bowel: a wall, its content, and gas lying on top of it, which is in front in a patient on the back."""
    layers = _layers(shape, (wall, 0), (content, wall_mm))
    if gas_above_y is None:
        return layers
    level = np.float32(gas_above_y)
    return [*layers, _solid("gas", shape.grown(-wall_mm).within(lambda at: at.y - level))]


def _kidney(rng: np.random.Generator, side: int) -> Shape:
    """A kidney, its upper pole leaning inwards and back; `side` is -1 for the right one."""
    center = _near(rng, (62.0 * side, 45.0, -38.0 + 5 * side), 4)
    size = rng.uniform(0.92, 1.08)
    tilt = (-12.0, -10.0 * side, 30.0 * side)
    sinus = (center[0] - 19 * side, center[1] - 11, center[2])
    whole = ellipsoid(center, (28 * size, 24 * size, 54 * size), tilt).bumpy(lumps(rng, 0.7, 45))
    return whole.without(ellipsoid(sinus, (19, 9, 23), tilt).bumpy(lumps(rng, 1.5, 18)).field)


def _kidney_layers(rng: np.random.Generator, kidney: Shape) -> list[Organ]:
    """Cortex, and under 7 mm of it the medulla in pyramids."""
    pyramids = lumps(rng, 4, 24)
    return [
        _solid("kidney_cortex", kidney),
        _solid("kidney_medulla", kidney.grown(-6).within(lambda at: pyramids(at) - 1)),
    ]


def _adrenals(rng: np.random.Generator) -> list[Shape]:
    """Two thin limbs above either kidney."""
    limbs = []
    for side, z in ((-1, 14), (1, 10)):
        x, y, top = _near(rng, (side * 29.0, 30.0, z + 8.0), 2)
        limbs.append(tube([(x, y, top), (x + 3 * side, y + 9, top - 6), (x + 5 * side, y + 17, top - 16)], [3, 2.4, 2]))
        limbs.append(tube([(x, y, top), (x + 9 * side, y + 6, top - 8), (x + 16 * side, y + 9, top - 18)], [3, 2.4, 2]))
    return limbs


def _stomach(rng: np.random.Generator, torso: Torso) -> Shape:
    """Fundus under the left dome, body, antrum crossing the midline to the pylorus."""
    fill = rng.uniform(0.8, 1.08)
    points = [_near(rng, p, 4) for p in ((50, 30, 60), (60, 6, 42), (58, -28, 14), (42, -50, -14), (12, -54, -30))]
    shape = tube([*points, (-16, -42, -32)], [f * fill for f in (26, 36, 31, 24, 17)] + [9])
    return shape.bumpy(lumps(rng, 0.9, 55)).within(torso.below_diaphragm, lambda at: torso.cavity(at) + 6)


def _spleen(rng: np.random.Generator, torso: Torso, outside: Field) -> Shape:
    """A crescent between the left dome, the ribs, the stomach and the left kidney."""
    size = rng.uniform(0.88, 1.08)
    shape = ellipsoid(_near(rng, (94, 38, 26), 4), (48 * size, 54 * size, 54 * size), (-20, 0, 0))
    hollow = ellipsoid((51, 6, 16), (44, 43, 84)).bumpy(lumps(rng, 2, 50))
    shape = shape.bumpy(lumps(rng, 1.2, 45)).without(hollow.field)
    return shape.within(torso.below_diaphragm, lambda at: torso.cavity(at) + 3.5, outside)


def _pancreas(rng: np.random.Generator) -> Shape:
    """Head in the loop of the duodenum, neck before the portal vein, tail towards the spleen; lobulated."""
    points = [(-24, -2, -58), (-18, -12, -40), (0, -19, -30), (28, -8, -14), (54, 14, -2), (76, 30, 8)]
    radii = np.array([11, 12, 8, 9, 9.5, 7]) * rng.uniform(0.85, 1.1)
    return tube([_near(rng, p, 2) for p in points], radii.tolist()).bumpy(lumps(rng, 1.1, 18))


def _liver(
    rng: np.random.Generator, torso: Torso, outside: Field, stretch: float
) -> tuple[Shape, Point, NDArray[np.float64]]:
    """The liver, its hilum, and points (n, 3) inside it.

    The diaphragm, the ribs and its neighbours bound it from outside. From below it is bounded by two oblique planes,
    one under either lobe, whose hollow joint is the hilum; they are moved until the volume is the one drawn.
    """
    bumps = lumps(rng, 1.5, 60)
    left_lobe = float(rng.uniform(-8, 10))  # how far the left lobe reaches out

    def bounds(at: Coordinates) -> Array:
        snug = smooth_intersection(torso.cavity(at) + 3, torso.below_diaphragm(at), 4)
        return np.maximum(np.maximum(snug, 3 - torso.spine_bed(at)), outside(at))

    def visceral(at: Coordinates) -> Array:
        x, y, z = at.x, at.y, at.z
        right = np.asarray((x + 0.45 * y - 0.95 * z + 24) / 1.45, np.float32)
        right = smooth_intersection(right, (_ball(at, (-62, -6, 12), (92, 96, 107)) - 1) * 90, 20)
        left = np.asarray((0.5 * x + y - 1.2 * z + 36) / 1.64, np.float32)
        left = smooth_intersection(left, (_ball(at, (-8 + left_lobe, -42, 34), (92, 66, 62)) - 1) * 60, 16)
        return smooth_union(right, left, 14) + bumps(at)

    at = coarse_coordinates((-150, -110, -115), (120, 100, 115))
    allowed = bounds(at)
    reach = np.sort(visceral(at)[allowed < 0])
    voxels = rng.uniform(*LIVER_ML) * 1000 / stretch / COARSE_MM**3
    level = float(reach[min(int(voxels), reach.size - 1)])
    field = intersection(bounds, lambda at: visceral(at) - np.float32(level))
    inside = np.argwhere(np.maximum(allowed, visceral(at) - level) < -6)
    axes = zip((at.x, at.y, at.z), inside.T[::-1], strict=True)
    points = np.column_stack([axis.ravel()[index] for axis, index in axes])
    points = points + rng.uniform(-COARSE_MM / 2, COARSE_MM / 2, points.shape)
    hilum = (-20 + 0.45 * level, -12 + 0.45 * level, -0.75 * level)
    return Shape(field, (-150, -110, -115), (120, 100, 115)), hilum, points


def coarse_coordinates(low: Point, high: Point) -> Coordinates:
    """Coordinates every COARSE_MM over a box, at which shapes are measured before any voxel is drawn."""
    x, y, z = (np.arange(a, b, COARSE_MM, dtype=np.float32) for a, b in zip(low, high, strict=True))
    return Coordinates(x[None, None, :], y[None, :, None], z[:, None, None])


def _ball(at: Coordinates, center: Point, half_axes: Point) -> Array:
    """Distance from a centre, 1 on an ellipsoid."""
    x, y, z = ((axis - c) / h for axis, c, h in zip((at.x, at.y, at.z), center, half_axes, strict=True))
    return np.asarray(np.sqrt(x * x + y * y + z * z), np.float32)


def _liver_vessels(rng: np.random.Generator, hilum: Point, interior: NDArray[np.float64]) -> list[Organ]:
    """Portal tree from the hilum; right, middle and left hepatic vein from the vena cava under the dome."""
    x, y, z = hilum
    portal = rng.permutation(interior)[:260]
    trees = [grow_tree(rng, hilum, (x - 6, y - 3, z + 8), portal, rng.uniform(5.5, 6.5))]
    root = (-20.0, 0.0, 58.0)
    drained = rng.permutation(interior)[:260]
    around = np.mod(-np.arctan2(drained[:, 1] - root[1], drained[:, 0] - root[0]) + 1.0, 2 * pi)
    drained = drained[np.argsort(around, kind="stable")]
    for territory, radius in zip(np.split(drained, [65, 155]), (3.8, 4.4, 4.8), strict=True):
        middle = territory.mean(axis=0)
        trees.append(grow_tree(rng, root, (middle[0], middle[1], middle[2]), territory, radius))
    tissues = ("portal_vein", "hepatic_vein", "hepatic_vein", "hepatic_vein")
    return [_branches(tissue, tree, "vessel") for tissue, tree in zip(tissues, trees, strict=True)][::-1]


def _gallbladder(rng: np.random.Generator, hilum: Point) -> list[Organ]:
    """Under the right lobe, its neck at the hilum."""
    x, y, z = hilum
    fill = rng.uniform(0.75, 1.15)
    bottom = _near(rng, (x - 26, y - 50, z - 40), 4)
    shape = tube([(x - 6, y - 6, z - 8), (x - 18, y - 30, z - 24), bottom], [3, 11 * fill, 14 * fill])
    return _layers(shape, ("gallbladder_wall", 0), ("gallbladder", 1.2))


def _great_vessels(hilum: Point) -> list[Organ]:
    """Vena cava, aorta, portal vein with its roots, the arteries and veins of the organs."""
    confluence = (-5.0, -7.0, -30.0)
    tubes: list[tuple[str, list[Point], list[float]]] = [
        ("vena_cava", [(-45, 28, -200), (-20, 14, -125), (-21, 15, -60), (-24, 14, -10)], [6, 10, 10, 10.5]),
        ("vena_cava", [(-24, 14, -10), (-24, 9, 30), (-20, 0, 62), (-12, -14, 105)], [10.5, 11, 12, 13]),
        ("vena_cava", [(-22, 16, -42), (-34, 20, -43), (-44, 31, -43)], [5, 4.5, 4]),
        ("vena_cava", [(-20, 9, -32), (6, -1, -32), (26, 14, -32), (44, 31, -33)], [5, 4, 4.5, 4]),
        ("portal_vein", [(-7, -17, -130), (-8, -18, -60), confluence], [3.5, 5, 5.5]),
        ("portal_vein", [confluence, (25, 3, -13), (50, 20, -1), (80, 36, 10)], [4.5, 4.2, 4, 3.2]),
        ("portal_vein", [confluence, (-12, -8, -14), hilum], [6.5, 6.5, 6.5]),
        (
            "artery",
            [(6, 8, 8), (4, -4, 12), (-10, -12, 10), (hilum[0] + 5, hilum[1] - 4, hilum[2])],
            [3.5, 3, 2.2, 1.8],
        ),
        ("artery", [(4, -4, 12), (30, 6, 6), (54, 22, 12), (76, 32, 18)], [2.8, 2.5, 2.3, 2]),
        ("artery", [(5, 8, -8), (7, -9, -26), (9, -18, -80), (16, -20, -150)], [3.6, 3.2, 3, 2]),
        ("artery", [(4, 12, -30), (-22, 29, -36), (-44, 34, -42)], [2.8, 2.4, 2]),
        ("artery", [(7, 12, -28), (28, 26, -31), (44, 34, -34)], [2.8, 2.4, 2]),
        (
            "aorta",
            [(24, 32, 230), (21, 29, 140), (13, 20, 75), (8, 14.5, 20), (6, 12, -40), (4, 6, -122)],
            [12.5, 12, 11, 10.3, 9.5, 8.5],
        ),
        ("aorta", [(3, 6, -118), (-18, 10, -160), (-40, 22, -210)], [7, 6, 5.5]),
        ("aorta", [(5, 6, -118), (24, 10, -160), (46, 22, -210)], [7, 6, 5.5]),
    ]
    return [_solid(tissue, tube(points, radii)) for tissue, points, radii in tubes]


def _bowel(rng: np.random.Generator, torso: Torso) -> list[Organ]:
    """Mesenteric vessels, duodenum, loops of small bowel, and the colon as a frame around them."""
    room = (-62.0, -62.0, -190.0), (78.0, 18.0, -50.0)
    mesentery = grow_tree(rng, (6.0, -18.0, -55.0), (8.0, -22.0, -90.0), rng.uniform(*room, (110, 3)), 3.2)
    duodenum = tube(
        [(-16, -42, -32), (-34, -34, -34), (-44, -14, -50), (-40, 4, -84), (-8, 4, -96), (24, -4, -84)],
        [10, 11, 12, 12, 11, 11],
    )
    organs = [
        _branches("artery", mesentery),
        *_hollow(duodenum.bumpy(lumps(rng, 0.7, 28)), "bowel_wall", 2.8, "bowel_fluid", None),
    ]
    for gas_above_y in (None, None, -38.0, None, None, -30.0, None, None, None):
        loop = tube(_wandering(rng, *room), [rng.uniform(9, 13)] * 12).bumpy(lumps(rng, 0.7, 28))
        inside = loop.within(lambda at: torso.cavity(at) + 5)
        organs += _hollow(inside, "bowel_wall", 2.6, "bowel_fluid", gas_above_y)
    return organs + _colon(rng, torso)


def _wandering(rng: np.random.Generator, low: Point, high: Point) -> list[Point]:
    """Twelve points of a loop that wanders about a box without leaving it."""
    point = rng.uniform(low, high)
    points = []
    for _ in range(12):
        step = rng.normal(size=3)
        point = point + 30 * step / np.sqrt((step**2).sum())
        point = np.where(point < low, 2 * np.array(low) - point, point)
        point = np.where(point > high, 2 * np.array(high) - point, point)
        points.append((float(point[0]), float(point[1]), float(point[2])))
    return points


def _colon(rng: np.random.Generator, torso: Torso) -> list[Organ]:
    """Ascending colon, transverse colon hanging under liver and stomach, descending colon, each with its gas."""
    sag = rng.uniform(-22, 8)
    courses: list[tuple[list[Point], list[float], float]] = [
        ([(-92, 24, -215), (-98, 26, -150), (-96, 24, -104)], [24, 25, 21], rng.uniform(8, 24)),
        (
            [
                (-96, 24, -104),
                (-84, -22, -96),
                (-44, -62, -100 + sag),
                (8, -68, -92 + sag),
                (54, -60, -66),
                (92, -22, -26),
            ],
            [20, 19, 19, 18, 18, 17],
            rng.uniform(-72, -54),
        ),
        ([(92, -22, -26), (106, 10, -8), (106, 36, -50), (104, 38, -110), (98, 30, -215)], [17, 16, 15, 14, 14], 24.0),
    ]
    organs = []
    for points, radii, gas_above_y in courses:
        shape = tube([_near(rng, p, 2) for p in points], radii).bumpy(lumps(rng, 1.2, 30))
        inside = shape.within(lambda at: torso.cavity(at) + 4, torso.below_diaphragm)
        organs += _hollow(inside, "bowel_wall", 2.2, "stool", gas_above_y)
    return organs


def _table(torso: Torso) -> list[Organ]:
    """The curved top of the scanner's table."""
    top = np.float32(107 + 0.9 * torso.fat_mm)

    def field(at: Coordinates) -> Array:
        return np.asarray(
            np.maximum(np.abs(at.y + np.float32(9e-4) * at.x**2 - top) - np.float32(1.5), np.abs(at.x) - 205),
            np.float32,
        )

    return [_solid("table", Shape(field, (-210.0, 60.0, -inf), (210.0, inf, inf)))]
