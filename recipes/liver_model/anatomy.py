"""Whole bodies around labelled organs: what a label map lacks is filled in, differently each time.

This is not exact anatomy. It gives every organ neighbours of the right kind in about the right place, and they differ
from case to case, so that a network cannot recognise the liver by memorised surroundings. Labelled voxels of a map are
kept; only its background is filled.
"""

from __future__ import annotations

from dataclasses import dataclass

import edt
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, gaussian_filter1d, maximum_filter1d

from .labels import GRID_MM, LabelMap, Tissue
from .waves import Floats, waves

Mask = NDArray[np.bool_]

FRAME = (Tissue.BONE, Tissue.CARTILAGE, Tissue.CORD, Tissue.MUSCLE)  # tissues that enclose the trunk's contents
KNOWN_BODY = 0.6  # of the liver's slices with bone: a map with more has its own skeleton
UNDER_DIAPHRAGM = (Tissue.LIVER, Tissue.SPLEEN, Tissue.STOMACH, Tissue.KIDNEY, Tissue.PANCREAS, Tissue.COLON)


@dataclass(frozen=True, slots=True)
class Trunk:
    """A body that is being filled, and the landmarks that place its parts; lengths in voxels unless the name says mm.

    Attributes
    ----------
    out
        Labels so far (z, y, x).
    spine
        Centre of the vertebral body in each slice (z, 2): y and x.
    cavity
        The space that the muscles of the trunk enclose.
    outside_mm
        Distance from the cavity.
    skeleton
        Whether the map has bones of its own.
    mm
        Size of a voxel.
    """

    out: LabelMap
    spine: Floats
    cavity: Mask
    outside_mm: Floats
    skeleton: bool
    mm: float

    @property
    def grid(self) -> tuple[Floats, Floats, Floats]:
        """z, and y and x from the spine, in mm, ready to be broadcast; y runs to the back, x to the left."""
        depth, height, width = self.out.shape
        z = np.arange(depth, dtype=np.float32)[:, None, None] * np.float32(self.mm)
        y = (np.arange(height, dtype=np.float32)[None, :, None] - self.spine[:, 0, None, None]) * np.float32(self.mm)
        x = (np.arange(width, dtype=np.float32)[None, None, :] - self.spine[:, 1, None, None]) * np.float32(self.mm)
        return z, y, x

    def paint(self, where: Mask, tissue: Tissue, over: tuple[Tissue, ...] = (Tissue.AIR,)) -> None:
        """Label the voxels of a mask that still have one of the given tissues."""
        self.out[where & np.isin(self.out, over)] = tissue


def fill(tissues: LabelMap, rng: Generator, mm: float = GRID_MM) -> LabelMap:
    """A body around a map of organs (z, y, x), LPS; with margins, so that it is larger than the map.

    Parameters
    ----------
    tissues
        Labels of `labels.Tissue`; a liver is among them.
    rng
        Draws everything that the map does not have.
    mm
        Size of a voxel.

    Returns
    -------
    LabelMap
        Every labelled voxel keeps its label, except inside an organ: vessels and lesions of the liver, contents of the
        stomach, marrow.
    """
    canvas = _with_margins(tissues, rng, mm)
    skeleton = (canvas[(canvas == Tissue.LIVER).any(axis=(1, 2))] == Tissue.BONE).any(axis=(1, 2)).mean() > KNOWN_BODY
    spine = _spine_line(canvas, rng, mm)
    cavity = _cavity(canvas, spine, rng, mm)
    outside = edt.edt(~cavity, anisotropy=(mm,) * 3).astype(np.float32)
    trunk = Trunk(canvas, spine, cavity, outside, bool(skeleton), mm)
    _wall(trunk, rng)
    if not skeleton:
        _draw_spine(trunk, rng)
        _draw_ribs(trunk, rng)
        _draw_pelvis(trunk, rng)
    ceiling = _draw_chest(trunk, rng)
    _draw_belly(trunk, ceiling, rng)
    _draw_contents(trunk, rng)
    _draw_liver(trunk, rng)
    _draw_marrow(trunk)
    _draw_outside(trunk, rng)
    return trunk.out


def _with_margins(tissues: LabelMap, rng: Generator, mm: float) -> LabelMap:
    """Crop to the organs, with room for the body on all sides; never beyond an organ that the map cuts."""
    used = np.argwhere(tissues > 0)
    low, high = used.min(axis=0), used.max(axis=0) + 1
    box = tissues[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
    cut_above, cut_below = (bool((tissues[k] == Tissue.LIVER).any()) for k in (-1, 0))
    above = 0 if cut_above else rng.uniform(20, 130)
    below = 0 if cut_below else rng.uniform(0, 120)
    sides = 190 if rng.random() < 0.25 else 90  # with arms at its sides, or without
    margins = [(below, above), (90, 80), (sides, sides)]
    return np.pad(box, [(round(a / mm), round(b / mm)) for a, b in margins])


def _along(values: NDArray[np.float64], smooth: float) -> NDArray[np.float64]:
    """A value for each slice, from slices that have one (others are nan), smoothed."""
    known = np.flatnonzero(np.isfinite(values))
    filled = np.interp(np.arange(len(values)), known, values[known])
    return np.asarray(gaussian_filter1d(filled, smooth, mode="nearest"))


def _centres(mask: Mask) -> NDArray[np.float64]:
    """Centre (y, x) of a mask in each slice; nan where there is none."""
    count = mask.sum(axis=(1, 2)).astype(float)
    count[count == 0] = np.nan
    y, x = (np.arange(n, dtype=float) for n in mask.shape[1:])
    return np.stack([mask.sum(axis=2) @ y / count, mask.sum(axis=1) @ x / count], axis=1)


def _spine_line(canvas: LabelMap, rng: Generator, mm: float) -> Floats:
    """Place of the vertebrae in each slice, from the vertebrae themselves, the cord, the aorta or the kidneys."""
    cord, aorta, kidneys = (canvas == t for t in (Tissue.CORD, Tissue.AORTA, Tissue.KIDNEY))
    if cord.any():
        line, shift = _centres(cord), (-22.0, 0.0)
    elif aorta.any():
        line, shift = _centres(aorta), (rng.uniform(27, 36), -rng.uniform(10, 20))
    elif kidneys.any():
        _, y, x = np.nonzero(kidneys)  # as a pair: many slices have only one
        line = np.full((len(canvas), 2), (y.mean(), (x.min() + x.max()) / 2))
        shift = (-rng.uniform(5, 20), rng.uniform(-4, 4))
    else:
        line, shift = _centres(canvas > 0), (60.0, 0.0)
    smooth = [_along(values, 25 / mm) + by / mm for values, by in zip(line.T, shift, strict=True)]
    return np.stack(smooth, axis=1).astype(np.float32)


def _cavity(canvas: LabelMap, spine: Floats, rng: Generator, mm: float) -> Mask:
    """The inner outline of the trunk: a rounded tube around the organs, bulging where one of them needs it."""
    content = (canvas > 0) & ~np.isin(canvas, FRAME)
    z, y, x = np.nonzero(content)
    depth = len(canvas)

    def reach(values: NDArray[np.float64], share: float) -> NDArray[np.float64]:
        ends = np.full(depth, np.nan)
        for k in np.unique(z):
            ends[k] = np.percentile(values[z == k], share)
        known = np.isfinite(ends)
        ends[known] = np.maximum(ends[known], np.percentile(ends[known], 30))  # no waist in slices with only an aorta
        at, value, far = np.flatnonzero(known), ends[known], round(50 / mm)
        at, usual = np.array([at[0] - far, *at, at[-1] + far]), float(np.percentile(value, 75))
        filled = np.interp(np.arange(depth), at, [usual, *value, usual])  # chest and pelvis are as wide as the belly
        return np.asarray(gaussian_filter1d(maximum_filter1d(filled, round(15 / mm)), 20 / mm, mode="nearest"))

    width = np.maximum(reach(np.abs(x - spine[z, 1]), rng.uniform(94, 100)), 95 / mm) + rng.uniform(0, 8) / mm
    front = np.maximum(reach(spine[z, 0] - y, rng.uniform(94, 100)), 70 / mm) + rng.uniform(0, 15) / mm
    back = np.maximum(reach(y - spine[z, 0], rng.uniform(94, 100)), 20 / mm) + rng.uniform(0, 8) / mm
    power = rng.uniform(2.0, 3.0)
    rows, columns = (np.arange(n)[None, :] for n in canvas.shape[1:])
    across = np.abs(columns - spine[:, 1:]) / width[:, None]
    along = np.abs(rows - spine[:, :1] + ((front - back) / 2)[:, None]) / ((front + back) / 2)[:, None]
    tube = (along**power)[:, :, None] + (across**power)[:, None, :] < 1 + 0.06 * waves(rng, canvas.shape, 60 / mm)
    soft = gaussian_filter(_closed(tube | content, rng.uniform(30, 60), mm).astype(np.float32), 4 / mm)
    return np.asarray((soft > 0.5) | content)


def _closed(mask: Mask, radius_mm: float, mm: float) -> Mask:
    """A mask without the dents that a ball of a radius does not fit into."""
    room = round(radius_mm / mm) + 1
    padded = np.pad(mask, [(room, room)] * 3, mode="edge")
    swollen = edt.edt(~padded, anisotropy=(mm,) * 3) <= radius_mm
    shrunk = edt.edt(swollen, anisotropy=(mm,) * 3) > radius_mm
    return np.asarray(shrunk[room:-room, room:-room, room:-room]) | mask


def _wall(trunk: Trunk, rng: Generator) -> None:
    """Muscle and fat around the cavity, both of varying thickness."""
    mm, shape = trunk.mm, trunk.out.shape
    muscle_mm, fat_mm = rng.uniform(6, 22), rng.uniform(3, 12) if rng.random() < 0.4 else rng.uniform(8, 45)
    muscle = muscle_mm * (1 + 0.25 * waves(rng, shape, 70 / mm))
    _, y, _ = trunk.grid
    muscle = muscle + np.clip(y - 15, 0, 40) * np.float32(rng.uniform(0.3, 0.9))  # the back is thick
    fat = fat_mm * np.clip(1 + 0.3 * waves(rng, shape, 90 / mm), 0.3, 2.0)
    away, skin = trunk.outside_mm, muscle + fat
    if trunk.skeleton:  # the map's own muscles and ribs lie outside the cavity; what they leave is muscle and fat
        frame = _closed(trunk.cavity | np.isin(trunk.out, FRAME), 35, mm)
        away, skin = edt.edt(~frame, anisotropy=(mm,) * 3).astype(np.float32), fat
        muscle = np.where(frame & (waves(rng, shape, 20 / mm) > rng.uniform(-1, 1)), 1, -1).astype(np.float32)
    trunk.paint(~trunk.cavity & (away <= muscle), Tissue.MUSCLE)
    trunk.paint(~trunk.cavity & (away <= skin), Tissue.SUBCUTANEOUS_FAT)
    trunk.paint(~trunk.cavity & (away <= skin + 1.5), Tissue.SKIN)


def _draw_spine(trunk: Trunk, rng: Generator) -> None:
    z, y, x = trunk.grid
    wide, deep = rng.uniform(19, 27), rng.uniform(15, 20)
    pitch, phase = rng.uniform(28, 38), rng.uniform(0, 1)
    place = (z / pitch + phase) % 1
    body = (x / wide) ** 2 + (y / deep) ** 2 < 1 - 0.12 * np.cos(2 * np.pi * place) ** 2
    every = tuple(t for t in (Tissue.AIR, Tissue.MUSCLE, Tissue.SUBCUTANEOUS_FAT))
    back = y - deep
    arch = (np.hypot(x, back - 9) < 15) & (back > 0) & (place > 0.25)
    process = (np.abs(x) < 4) & (back > 12) & (back < rng.uniform(38, 52)) & (place > 0.4)
    wings = (np.abs(x) < rng.uniform(32, 42)) & (np.abs(back - 10 + place) < 5) & (np.abs(place - 0.7) < 0.17)
    trunk.paint(np.hypot(x, back - 9) < 8, Tissue.CORD, every)
    trunk.paint(body & (place > 0.22), Tissue.BONE, every)
    trunk.paint(body, Tissue.CARTILAGE, every)
    trunk.paint(arch | process | wings, Tissue.BONE, every)
    erector = ((np.abs(x) - 30) / rng.uniform(24, 32)) ** 2 + ((back - 26) / rng.uniform(18, 26)) ** 2 < 1
    trunk.paint(erector, Tissue.MUSCLE, every)
    waist = _level(trunk, Tissue.KIDNEY, 40)
    psoas = (((np.abs(x) - wide - 12) / rng.uniform(12, 20)) ** 2 + ((y - 2) / 20) ** 2 < 1) & (z < waist)
    trunk.paint(psoas, Tissue.MUSCLE, every)


def _level(trunk: Trunk, tissue: Tissue, percent: float) -> float:
    """Height in mm with the given percentage of a tissue below it; of the liver if the map lacks the tissue."""
    heights = np.nonzero((trunk.out == tissue).any(axis=(1, 2)))[0]
    if not heights.size:
        heights = np.nonzero((trunk.out == Tissue.LIVER).any(axis=(1, 2)))[0]
    return float(np.percentile(heights, percent)) * trunk.mm


def _draw_ribs(trunk: Trunk, rng: Generator) -> None:
    z, y, x = trunk.grid
    slope, pitch, share = rng.uniform(0.25, 0.7), rng.uniform(24, 34), rng.uniform(0.35, 0.5)
    ring = ((z - slope * y) / pitch + rng.uniform(0, 1)) % 1 < share
    layer = (trunk.outside_mm > 0) & (trunk.outside_mm < rng.uniform(7, 11))
    arch = z > _level(trunk, Tissue.LIVER, rng.uniform(0, 40)) + np.clip(-y, 0, None) * rng.uniform(0.2, 0.7)
    front = y < -rng.uniform(70, 95)
    ribs = ring & layer & arch & (np.abs(x) > 20)
    over = (Tissue.MUSCLE, Tissue.SUBCUTANEOUS_FAT)
    trunk.paint(ribs & front, Tissue.CARTILAGE, over)
    trunk.paint(ribs, Tissue.BONE, over)
    sternum = layer & (np.abs(x) < 18) & (y < -60) & (z > _level(trunk, Tissue.LIVER, 85))
    trunk.paint(sternum, Tissue.BONE, over)


def _draw_pelvis(trunk: Trunk, rng: Generator) -> None:
    """Iliac wings behind and beside, from some way below the kidneys on; sockets and heads further down."""
    z, y, x = trunk.grid
    crest = _level(trunk, Tissue.KIDNEY, 0) - rng.uniform(20, 70)
    layer = (trunk.outside_mm > 0) & (trunk.outside_mm < rng.uniform(8, 14)) & (np.abs(x) > 25)
    wings = layer & (z < crest - 0.3 * np.abs(y)) & (y > -rng.uniform(20, 60))
    trunk.paint(wings, Tissue.BONE, (Tissue.AIR, Tissue.MUSCLE))
    heads = np.sqrt((np.abs(x) - 90) ** 2 + (y + 25) ** 2 + (z - crest + 110) ** 2) < 25
    trunk.paint(heads, Tissue.BONE, (Tissue.AIR, Tissue.MUSCLE))


def _draw_chest(trunk: Trunk, rng: Generator) -> Floats:
    """Diaphragm, lungs, heart; returns the height (y, x) of the diaphragm, in slices."""
    mm, out = trunk.mm, trunk.out
    depth = len(out)
    below = np.isin(out, UNDER_DIAPHRAGM)
    has = below.any(axis=0)
    top = np.where(has, depth - 1 - below[::-1].argmax(axis=0), 0)
    away, (row, column) = distance_transform_edt(np.asarray(~has), return_indices=True)
    falling = top[row, column] - away * rng.uniform(0.3, 1.5)
    ceiling = np.maximum(gaussian_filter(falling, 6 / mm), np.where(has, top, -np.inf)).astype(np.float32)
    if (out == Tissue.LUNG).any():
        return ceiling
    z, y, x = trunk.grid
    dome = _level(trunk, Tissue.LIVER, 100)
    high = (z > ceiling * mm) & (z > dome - rng.uniform(40, 120)) & trunk.cavity
    if rng.random() < 0.7:
        trunk.paint(high & (z < (ceiling + 1.5) * mm), Tissue.DIAPHRAGM)
    middle = rng.uniform(18, 38)
    _draw_heart(trunk, high, ceiling, dome, rng)
    trunk.paint(high & (np.hypot(x - 20, y + 22) < rng.uniform(9, 14)), Tissue.AORTA)
    trunk.paint(high & (np.hypot(x - 6, y + 30) < rng.uniform(5, 9)), Tissue.SOFT)
    trunk.paint(high & (np.hypot(x + 22, y + 50) < rng.uniform(9, 14)), Tissue.VENA_CAVA)
    wobble = 8 * waves(rng, out.shape, 40 / mm)
    mediastinum = (np.abs(x - 3) + wobble < middle) & (y < 12)
    trunk.paint(high & mediastinum, Tissue.FAT)
    branches = np.hypot(*(waves(rng, out.shape, 22 / mm) for _ in range(2)))
    trunk.paint(high & (branches < rng.uniform(0.1, 0.2)), Tissue.LUNG_VESSEL)
    trunk.paint(high, Tissue.LUNG)
    return ceiling


def _draw_heart(trunk: Trunk, high: Mask, ceiling: Floats, dome: float, rng: Generator) -> None:
    """A heart that lies on the diaphragm: blood, its wall, fat and the sac around them, each thick or thin.

    Only the diaphragm, which is thinner than a voxel of most scans, parts it from the liver, and in the portal venous
    phase its wall may be as dense: this is where masks of livers run on into hearts.
    """
    z, y, x = trunk.grid
    half = rng.uniform(40, 60), rng.uniform(38, 55), rng.uniform(50, 70)
    away = np.sqrt(
        ((x - rng.uniform(10, 40)) / half[2]) ** 2
        + ((y + rng.uniform(70, 100)) / half[1]) ** 2
        + ((z - dome - rng.uniform(5, 45)) / half[0]) ** 2
    )
    depth_mm = np.minimum((1 - away) * np.float32(np.mean(half)), z - ceiling * np.float32(trunk.mm))
    wall = rng.uniform(3, 14) * (1 + 0.4 * waves(rng, trunk.out.shape, 25 / trunk.mm))
    sac = rng.uniform(5, 14) if rng.random() < 0.1 else rng.uniform(0, 3)  # fluid in it, or none
    fat = rng.uniform(3, 10) if rng.random() < 0.4 else rng.uniform(0, 2)
    trunk.paint(high & (depth_mm > sac + fat + wall), Tissue.HEART)
    trunk.paint(high & (depth_mm > sac + fat), Tissue.MYOCARDIUM)
    trunk.paint(high & (depth_mm > sac), Tissue.FAT)
    trunk.paint(high & (depth_mm > 0), Tissue.PERICARDIUM)


def _draw_belly(trunk: Trunk, ceiling: Floats, rng: Generator) -> None:
    """The space between the organs: stomach and vena cava if the map has none, bowel, colon, and fat."""
    mm, out = trunk.mm, trunk.out
    z, y, x = trunk.grid
    inside = trunk.cavity & (out == Tissue.AIR)
    liver_top, liver_low = _level(trunk, Tissue.LIVER, 100), _level(trunk, Tissue.LIVER, 0)
    if not (out == Tissue.VENA_CAVA).any():
        side, front, size = rng.uniform(16, 26), rng.uniform(18, 30), rng.uniform(8, 14)
        trunk.paint(inside & (((x + side) / size) ** 2 + ((y + front) / (0.7 * size)) ** 2 < 1), Tissue.VENA_CAVA)
    if not (out == Tissue.STOMACH).any():
        middle = liver_top - rng.uniform(50, 90)
        where = (
            ((x - rng.uniform(50, 80)) / rng.uniform(30, 60)) ** 2
            + ((y + rng.uniform(50, 80)) / rng.uniform(30, 50)) ** 2
            + ((z - middle) / rng.uniform(40, 70)) ** 2
        )
        trunk.paint(inside & (where < 1), Tissue.STOMACH)
    vessels = np.hypot(*(waves(rng, out.shape, 30 / mm) for _ in range(2)))
    trunk.paint(inside & (vessels < rng.uniform(0.03, 0.1)), Tissue.ARTERY)
    trunk.paint(inside & (vessels < rng.uniform(0.1, 0.16)), Tissue.PORTAL_VEIN)
    intraperitoneal = inside & (y < rng.uniform(-5, 10)) & (z < liver_top - rng.uniform(10, 80))
    if not (out == Tissue.COLON).any():
        tube = np.hypot(*(waves(rng, out.shape, rng.uniform(55, 90) / mm) for _ in range(2)))
        trunk.paint(intraperitoneal & (tube < rng.uniform(0.2, 0.5)), Tissue.COLON)
    low = intraperitoneal & (z < liver_low + rng.uniform(0.2, 0.9) * (liver_top - liver_low))
    loops = waves(rng, out.shape, rng.uniform(14, 28) / mm)
    trunk.paint(low & (loops > rng.uniform(-1.2, 0.9)), Tissue.BOWEL)
    if rng.random() < 0.15:
        trunk.paint(inside & (z < ceiling * mm), Tissue.ASCITES)
    elif rng.random() < 0.15:  # a seam of it around the liver alone
        away_mm = edt.edt(out != Tissue.LIVER, anisotropy=(mm,) * 3)
        trunk.paint(inside & (away_mm < rng.uniform(3, 15)) & (z < ceiling * mm), Tissue.ASCITES)
    trunk.paint(trunk.cavity, Tissue.FAT)


def _draw_contents(trunk: Trunk, rng: Generator) -> None:
    """Gas, fluid and wall in stomach and bowel; gas lies in front, except in the rare prone patient."""
    mm, out = trunk.mm, trunk.out
    _, y, _ = trunk.grid
    up = y if rng.random() < 0.93 else -y
    for tissue, gas_share, wall_mm in ((Tissue.STOMACH, 0.7, 5.0), (Tissue.BOWEL, 0.25, 3.0), (Tissue.COLON, 0.8, 3.0)):
        organ = out == tissue
        if not organ.any():
            continue
        lumen = organ & (edt.edt(organ, anisotropy=(mm,) * 3) > wall_mm * rng.uniform(0.7, 1.2))
        patches = waves(rng, out.shape, 35 / mm)
        heights = np.broadcast_to(up, out.shape)[organ]
        level = np.percentile(heights, rng.uniform(0, 60)) + 12 * patches
        gas = lumen & (up < level) & (patches < rng.uniform(-0.5, 2.0))
        if rng.random() < gas_share:
            out[gas] = Tissue.GAS
        if rng.random() < 0.7:
            out[lumen & (out == tissue) & (waves(rng, out.shape, 50 / mm) > rng.uniform(-1, 1))] = Tissue.FLUID


def _draw_liver(trunk: Trunk, rng: Generator) -> None:
    """Vessels in every liver, lesions in every fourth."""
    out, mm = trunk.out, trunk.mm
    liver = out == Tissue.LIVER
    branches = np.hypot(*(waves(rng, out.shape, rng.uniform(22, 34) / mm) for _ in range(2)))
    out[liver & (branches < rng.uniform(0.08, 0.2))] = Tissue.LIVER_VESSEL
    if rng.random() < 0.25:
        places = np.argwhere(liver)
        z, y, x = (np.arange(n, dtype=np.float32) * mm for n in out.shape)
        for _ in range(int(rng.integers(1, 6))):
            cz, cy, cx = places[rng.integers(len(places))] * mm
            square = ((z - cz) ** 2)[:, None, None] + ((y - cy) ** 2)[None, :, None] + ((x - cx) ** 2)[None, None, :]
            out[liver & (square < rng.uniform(4, 28) ** 2)] = Tissue.LIVER_LESION


def _draw_marrow(trunk: Trunk) -> None:
    bone = trunk.out == Tissue.BONE
    trunk.out[bone & (edt.edt(bone, anisotropy=(trunk.mm,) * 3) > 1.4 * trunk.mm)] = Tissue.MARROW


def _draw_outside(trunk: Trunk, rng: Generator) -> None:
    """Arms, if there is room for them, and the table."""
    out, mm = trunk.out, trunk.mm
    body = out > 0
    _, y, x = trunk.grid
    half = np.abs(np.broadcast_to(x, out.shape)[body]).max()
    room = out.shape[2] * mm / 2 - half
    if room > 100:
        radius = rng.uniform(32, min(55.0, room / 2))
        away = np.hypot(np.abs(x) - half - radius - rng.uniform(0, 8), y + rng.uniform(-20, 40))
        for limit, tissue in ((11, Tissue.BONE), (0.75 * radius, Tissue.MUSCLE), (radius, Tissue.SUBCUTANEOUS_FAT)):
            trunk.paint(away < limit, tissue)
    if rng.random() < 0.8:
        back = np.flatnonzero(body.any(axis=(0, 2)))[-1] + 1
        row, column = np.arange(out.shape[1])[:, None], np.arange(out.shape[2])[None, :]
        bend = rng.uniform(0, 1.2e-3) * mm * (column - out.shape[2] / 2) ** 2
        plate = row + bend - back - rng.uniform(0, 15) / mm
        thick = rng.uniform(1, 4)
        trunk.paint(np.broadcast_to((plate >= 0) & (plate < thick), out.shape), Tissue.TABLE)
