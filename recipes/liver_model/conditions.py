"""Variations as in clinics, from one case: other headers, thicker slices, a liver that the scan cuts; and phantoms.

A case is an image in HU and a liver (0, 1) of one geometry. None of these is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

from tumorgen.imaging.geometry import Geometry, Triple, Volume
from tumorgen.imaging.itk import to_image
from tumorgen.phantom.scanner import draw_phantom
from tumorgen.phantom.tissues import Phase
from tumorgen.seeds import stable_rng

from .cases import Case, volume_of

TURNS = {"RAS": "header RAS", "LPI": "feet first", "PSR": "stored sagittally"}
THICK_MM = 5.0
CUT = 0.3  # of the liver's height
LEAST_MM = 60.0  # of liver must remain after a cut; a slab is cut already
PHANTOMS: tuple[tuple[str, Phase, Triple], ...] = (
    ("portal, slices of 0.7 mm", "portal", (0.7, 1.5, 1.5)),
    ("portal, slices of 2.5 mm", "portal", (2.5, 0.8, 0.8)),
    ("arterial, slices of 1.5 mm", "arterial", (1.5, 1.2, 1.2)),
    ("arterial, slices of 5 mm", "arterial", (5.0, 1.0, 1.0)),
    ("no contrast, slices of 3 mm", "none", (3.0, 1.0, 1.0)),
    ("no contrast, slices of 5 mm", "none", (5.0, 0.8, 0.8)),
)
FIELD_MM = (260.0, 300.0, 380.0)  # (z, y, x): from the heart to the pelvis


def variations(name: str, case: Case) -> Iterator[tuple[str, Case]]:
    """A case (LPS), and the same patient with other headers, thick slices, and cut at the top where there is enough."""
    yield name, case
    for letters, said in TURNS.items():
        yield f"{name}, {said}", turned(case, letters)
    yield f"{name}, slices of {THICK_MM:g} mm or more", thickened(case)
    cut = cut_above(case)
    if np.count_nonzero(cut[1].array.any(axis=(1, 2))) * cut[1].geometry.spacing_mm[0] >= LEAST_MM:
        yield f"{name}, cut at the top", cut


def turned(case: Case, letters: str) -> Case:
    """A case stored along other axes, with the matching header; the patient keeps his place."""
    image, liver = (volume_of(sitk.DICOMOrient(to_image(part), letters)) for part in case)
    return image, liver


def thickened(case: Case) -> Case:
    """Means of at least two neighbouring slices; a voxel is liver if most of these slices have it."""
    depth, z_mm = case[0].geometry.shape[0], case[0].geometry.spacing_mm[0]
    together = max(2, round(THICK_MM / z_mm))
    used = depth // together * together
    image, share = (
        part.array[:used].reshape(-1, together, *part.array.shape[1:]).mean(axis=1, dtype=np.float32) for part in case
    )
    _, y_mm, x_mm = case[0].geometry.spacing_mm
    geometry = Geometry(image.shape, (z_mm * together, y_mm, x_mm))
    return Volume(np.rint(image).astype(np.int16), geometry), Volume((share > 0.5).astype(np.uint8), geometry)


def cut_above(case: Case) -> Case:
    """A case in LPS without the upper part of its liver and what lies above."""
    rows = np.flatnonzero(case[1].array.any(axis=(1, 2)))
    last = round(float(rows[-1]) - CUT * float(rows[-1] - rows[0])) + 1
    image, liver = (
        Volume(part.array[:last], Geometry((last, *part.array.shape[1:]), part.geometry.spacing_mm)) for part in case
    )
    return image, liver


def phantoms(seed: int) -> Iterator[tuple[str, Case]]:
    """A phantom of each phase and slice thickness, each a different patient."""
    for name, phase, spacing_mm in PHANTOMS:
        depth, height, width = (round(mm / step) for mm, step in zip(FIELD_MM, spacing_mm, strict=True))
        drawn = draw_phantom(stable_rng(seed, name), shape=(depth, height, width), spacing_mm=spacing_mm, phase=phase)
        liver = Volume(drawn.liver.array.astype(np.uint8), drawn.liver.geometry)
        yield f"phantom, {name}", (drawn.image, liver)
