"""CTs painted from label maps: plausible HU, contrast, texture, slices, noise and faults, all drawn at random.

In the manner of SynthSeg (Billot et al., Med Image Anal 2023;86:102789), but for CT: each tissue keeps to the range of
HU that it can have, because this range identifies a liver in CT. Every eighth scan breaks the rule for soft tissue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from tumorgen.imaging.geometry import Triple
from tumorgen.phantom.scanner import correlated_noise

from .labels import LIVER_PARTS, LabelMap, Tissue
from .waves import Floats, waves

PHASES = ("none", "arterial", "portal", "late")
WILD = 1 / 8  # share of scans in which soft tissues take any HU of theirs, whatever the others have
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Look:
    """HU of a tissue without contrast, what each phase adds, and the standard deviation of its texture.

    Means without contrast and enhancement: the sources in `tumorgen.phantom.tissues`; ranges are wide on purpose.
    """

    none: Range
    arterial: Range = (0, 0)
    portal: Range = (0, 0)
    late: Range = (0, 0)
    texture: float = 3.0


LOOKS: Mapping[Tissue, Look] = {
    Tissue.AIR: Look((-1024, -990), texture=0),
    Tissue.LIVER: Look((40, 72), (5, 30), (30, 75), (20, 50), 4),
    Tissue.SPLEEN: Look((28, 58), (30, 110), (50, 90), (30, 60), 5),
    Tissue.KIDNEY: Look((10, 42), (60, 150), (100, 170), (70, 140), 14),
    Tissue.GALLBLADDER: Look((-5, 25), texture=3),
    Tissue.STOMACH: Look((30, 55), (10, 50), (20, 60), (10, 40), 10),
    Tissue.AORTA: Look((32, 50), (150, 350), (90, 150), (50, 100), 4),
    Tissue.VENA_CAVA: Look((32, 50), (0, 80), (50, 130), (50, 100), 6),
    Tissue.PORTAL_VEIN: Look((32, 50), (10, 110), (90, 160), (50, 100), 6),
    Tissue.ARTERY: Look((32, 50), (120, 300), (80, 140), (40, 90), 10),
    Tissue.PANCREAS: Look((0, 50), (30, 90), (30, 70), (15, 45), 18),
    Tissue.SOFT: Look((5, 55), (5, 60), (10, 60), (10, 50), 14),
    Tissue.BOWEL: Look((15, 55), (10, 70), (20, 75), (10, 45), 18),
    Tissue.COLON: Look((-20, 50), (0, 30), (0, 40), (0, 30), 40),
    Tissue.BLADDER: Look((-5, 20), late=(0, 200), texture=4),
    Tissue.HEART: Look((30, 52), (60, 260), (60, 130), (40, 90), 20),
    Tissue.LUNG: Look((-900, -680), (0, 20), (0, 20), (0, 20), 25),
    Tissue.BONE: Look((180, 900), texture=140),
    Tissue.MUSCLE: Look((12, 65), (0, 12), (3, 20), (3, 18), 14),
    Tissue.FAT: Look((-118, -85), texture=9),
    Tissue.SUBCUTANEOUS_FAT: Look((-120, -92), texture=7),
    Tissue.SKIN: Look((-20, 40), texture=10),
    Tissue.MARROW: Look((20, 280), texture=50),
    Tissue.CARTILAGE: Look((60, 180), texture=35),
    Tissue.CORD: Look((0, 40), texture=10),
    Tissue.GAS: Look((-1000, -850), texture=30),
    Tissue.FLUID: Look((-10, 40), texture=10),
    Tissue.LIVER_VESSEL: Look((32, 50), (0, 90), (60, 140), (40, 90), 4),
    Tissue.LIVER_LESION: Look((0, 45), (-20, 70), (0, 50), (0, 60), 6),
    Tissue.LUNG_VESSEL: Look((0, 50), (40, 200), (40, 120), (20, 80), 20),
    Tissue.DIAPHRAGM: Look((30, 60), (0, 15), (5, 25), (5, 20), 5),
    Tissue.TABLE: Look((-900, -50), texture=30),
    Tissue.MYOCARDIUM: Look((38, 58), (20, 80), (40, 85), (30, 60), 6),
    Tissue.PERICARDIUM: Look((0, 40), (0, 5), (0, 15), (0, 15), 6),
    Tissue.ASCITES: Look((-5, 30), (0, 3), (0, 8), (0, 12), 4),
}
AS_DENSE_AS_LIVER = {  # how often a neighbour has the liver's HU, give or take `ALIKE_HU`
    Tissue.MYOCARDIUM: 0.4,
    Tissue.HEART: 0.15,
    Tissue.SPLEEN: 0.25,
    Tissue.STOMACH: 0.25,
    Tissue.DIAPHRAGM: 0.25,
    Tissue.VENA_CAVA: 0.15,
    Tissue.MUSCLE: 0.15,
}
ALIKE_HU = 7.0
ORAL_CONTRAST = (80, 500)  # of fluid in stomach and bowel, if the patient drank it
FATTY = (-15, 40)  # a fatty liver without contrast
DENSE = (70, 95)  # iron, amiodarone


def draw_hu(rng: Generator, phase: str) -> Floats:
    """HU of every tissue in a phase, by its number."""
    hu = np.zeros(max(Tissue) + 1, np.float32)
    strength = rng.uniform(0.75, 1.1)  # of the contrast: dose, timing, weight
    wild = rng.random() < WILD
    for tissue, look in LOOKS.items():
        added: Range = (0, 0) if phase == "none" else getattr(look, phase)
        own = rng.uniform(0, 1) if wild else rng.beta(2, 2)
        hu[tissue] = look.none[0] + own * (look.none[1] - look.none[0]) + strength * rng.uniform(*added)
    if wild:
        soft = [t for t, look in LOOKS.items() if -20 <= look.none[0] <= 50 and t not in (Tissue.BONE, Tissue.MARROW)]
        hu[soft] = rng.uniform(-10, 180, len(soft))
        hu[Tissue.LIVER] = rng.uniform(10, 160)
        hu[Tissue.LIVER_VESSEL] = hu[Tissue.LIVER] + rng.uniform(-40, 80)
    kind = rng.random()
    if kind < 0.17:
        hu[Tissue.LIVER] += rng.uniform(*FATTY) - 56
    elif kind < 0.22:
        hu[Tissue.LIVER] += rng.uniform(*DENSE) - 56
    for tissue, often in AS_DENSE_AS_LIVER.items():
        if rng.random() < often:
            hu[tissue] = hu[Tissue.LIVER] + rng.normal(0, ALIKE_HU)
    if rng.random() < 0.25:
        hu[Tissue.FLUID] = rng.uniform(*ORAL_CONTRAST)
    return hu


@dataclass(frozen=True, slots=True)
class Scanner:
    """The scanner of a painted body; lengths in mm, noise and shading in HU.

    Attributes
    ----------
    spacing_mm
        Spacing of the resulting voxels (z, y, x).
    thickness_mm
        Thickness of a slice, at least its spacing.
    blur_mm
        Standard deviation of the blur in plane.
    noise_hu, grain
        Standard deviation of the noise in soft tissue; how correlated it is, from 0 (white) to 1 (as the phantoms').
    streaks
        How much stronger the noise is along x between the shoulders or arms: photon starvation.
    shading_hu
        Strength of smooth shading: beam hardening, cupping.
    metal
        Whether streaks run from a piece of metal.
    """

    spacing_mm: Triple
    thickness_mm: float
    blur_mm: float
    noise_hu: float
    grain: float
    streaks: float
    shading_hu: float
    metal: bool


def draw_scanner(rng: Generator) -> Scanner:
    """Draw a protocol: thin or thick slices, low dose or high."""
    spacing_z = float(rng.choice([2.0, 2.5, 3.0, 3.0, 4.0, 5.0, 5.0, 6.0]))
    plane = float(rng.uniform(2.0, 3.2))
    return Scanner(
        spacing_mm=(spacing_z, plane, plane),
        thickness_mm=spacing_z * float(rng.uniform(1.0, 1.5)),
        blur_mm=float(rng.uniform(0.6, 1.8)),
        noise_hu=float(np.exp(rng.uniform(np.log(3), np.log(45)))),
        grain=float(rng.uniform(0, 1)),
        streaks=float(rng.uniform(0.3, 1.2)) if rng.random() < 0.2 else 0.0,
        shading_hu=float(rng.uniform(0, 8)),
        metal=bool(rng.random() < 0.04),
    )


def fine_spacing(scanner: Scanner) -> Triple:
    """Spacing (z, y, x) in mm of the labels that `scan` takes: two in a slice or more, so that organs end in one."""
    return min(2.0, scanner.spacing_mm[0] / 2), scanner.spacing_mm[1], scanner.spacing_mm[2]


def scan(tissues: LabelMap, hu: Floats, scanner: Scanner, rng: Generator) -> tuple[NDArray[np.int16], LabelMap]:
    """Scan a body: image in HU and liver (0, 1), both (z, y, x) at the scanner's spacing.

    Parameters
    ----------
    tissues
        Labels at `fine_spacing(scanner)`.
    hu
        HU by tissue, from `draw_hu`.
    scanner
        The protocol.
    rng
        Draws texture, noise and faults.
    """
    fine = fine_spacing(scanner)
    body = _textured(tissues, hu, fine, rng)
    liver = np.isin(tissues, LIVER_PARTS).astype(np.float32)
    image, share = (_sliced(array, fine[0], scanner) for array in (body, liver))
    blur = scanner.blur_mm / scanner.spacing_mm[1]
    image = gaussian_filter(image, (0, blur, blur))
    if scanner.metal:
        image += _metal(image, rng)
    image += scanner.shading_hu * _shading(image, rng)
    image += _noise(image, scanner, rng)
    return np.clip(np.rint(image), -1024, 3071).astype(np.int16), (share > 0.5).astype(np.uint8)


def _textured(tissues: LabelMap, hu: Floats, fine: Triple, rng: Generator) -> Floats:
    spread = np.array([LOOKS[Tissue(t)].texture for t in range(len(hu))], np.float32) * np.float32(
        rng.uniform(0.4, 1.6)
    )
    coarse, small = (waves(rng, tissues.shape, [mm / s for s in fine]) for mm in (rng.uniform(18, 40), 5.0))
    texture = np.float32(0.6) * coarse + np.float32(0.8) * small
    return np.asarray(hu[tissues] + spread[tissues] * texture, np.float32)


def _sliced(fine: Floats, fine_mm: float, scanner: Scanner) -> Floats:
    """Slices of some thickness, at their spacing."""
    sigma = 0.35 * np.sqrt(max(scanner.thickness_mm**2 - fine_mm**2, 0)) / fine_mm
    blurred = gaussian_filter1d(fine, sigma, axis=0) if sigma > 0.1 else fine
    place = _middles(len(fine), fine_mm, scanner.spacing_mm[0])
    low = np.minimum(place.astype(int), len(fine) - 2)
    share = (place - low).astype(np.float32)[:, None, None]
    return np.asarray(blurred[low] * (1 - share) + blurred[low + 1] * share, np.float32)


def _middles(count: int, fine_mm: float, spacing_mm: float) -> NDArray[np.float64]:
    """Middles of slices, counted in fine slices."""
    slices = max(2, int(count * fine_mm / spacing_mm))
    return np.clip((np.arange(slices) + 0.5) * spacing_mm / fine_mm - 0.5, 0, count - 1)


def nearest_slices(count: int, fine_mm: float, spacing_mm: float) -> NDArray[np.intp]:
    """The fine slice in the middle of each slice, as `scan` lays them."""
    return np.rint(_middles(count, fine_mm, spacing_mm)).astype(np.intp)


def _shading(image: Floats, rng: Generator) -> Floats:
    inside = np.clip((image + 1000) / 1000, 0, 1)
    return np.asarray(waves(rng, image.shape, [max(4.0, n / 2) for n in image.shape]) * inside, np.float32)


def _noise(image: Floats, scanner: Scanner, rng: Generator) -> Floats:
    grain = correlated_noise(rng, image.shape, scanner.spacing_mm)
    white = rng.standard_normal(image.shape, dtype=np.float32)
    noise = scanner.grain * grain + np.sqrt(1 - scanner.grain**2) * white
    if scanner.streaks:
        long = gaussian_filter1d(rng.standard_normal(image.shape, dtype=np.float32), 12, axis=2)
        attenuation = np.clip(image + 1000, 0, None).sum(axis=2, keepdims=True)
        noise += scanner.streaks * 5 * long * (attenuation / max(float(attenuation.max()), 1.0)) ** 2
    weaker = 0.45 + 0.55 * np.clip((image + 1000) / 900, 0, 1)
    return np.asarray(scanner.noise_hu * noise * weaker, np.float32)


def _metal(image: Floats, rng: Generator) -> Floats:
    """Streaks from a bright point, in a few slices."""
    bright = np.argwhere(image > 250)
    result = np.zeros_like(image)
    if not len(bright):
        return result
    z, y, x = bright[rng.integers(len(bright))]
    rows, columns = np.ogrid[: image.shape[1], : image.shape[2]]
    angle, away = np.arctan2(rows - y, columns - x), np.hypot(rows - y, columns - x)
    rays = waves(rng, (64,), 2)[((angle + np.pi) / (2 * np.pi) * 63).astype(int)]
    for k in range(max(0, z - 3), min(len(image), z + 4)):
        result[k] = 180 * rays * np.exp(-away / 30)
        result[k][away < 2] = 2500
    return result
