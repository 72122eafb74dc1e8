"""Tumours for arrays: the engine of `tumorgen synth` for whoever trains with a framework of their own.

Arrays and a spacing go in, arrays come out; there are no files. `add_tumors` does everything in one call.
`prepare_arrays` measures a case once, and `patch_with_tumors` then costs what its tumours cost. Arrays, boxes and
spacings are (z, y, x); HU and mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import MASK, Box, Geometry, LabelChoice, Triple, Volume, find_liver, paste, refuse_no_ct
from ..method import SPACING_MM, Scan, Settings, Vessels, load_recipe, measure_for, prepare_scan, render_labelled
from .patches import draw_any_class, render_box


def prepare_arrays(
    image: NDArray[Any],
    label: NDArray[Any],
    spacing_mm: Triple,
    vessels: Vessels | None = None,
    case: str = "case",
    *,
    settings: Settings | None = None,
    labels: LabelChoice = MASK,
    clipped: bool = False,
) -> Scan:
    """Measure a case once: HU statistics, vessels, where tumours may lie. Keep the result while the case is used.

    Parameters
    ----------
    image
        CT (z, y, x) in HU, of any real data type.
    label
        Mask of the liver, of the same shape: one value above zero. Or a label map, if `labels` are chosen from it.
    spacing_mm
        Size of a voxel (z, y, x).
    vessels
        How vessels are found: by default as the settings say.
    case
        Name of the case; only `method.sampling.draw_variant` uses it, for its seed.
    settings
        What tumours are drawn with: all that they need is measured now, so that processes that are forked later share
        it. What tumours of other settings need is measured when the first are drawn. `load_recipe()` by default.
    labels
        Numbers of the label map that are liver, `LabelChoice(("5",))`, and that are tumours which are really there.
    clipped
        Whether the HU were clipped on purpose, as nnU-Net clips them: then there need not be air in them.

    Returns
    -------
    Scan
        What `patch_with_tumors`, `draw_plan` and `render` work on. It keeps `image` (a copy, where its rows do not lie
        one behind the other in memory) and a mask of its shape.

    Raises
    ------
    TumorgenError
        The image has not three axes, or values that are not those of a CT in HU (no air, no tissue, NaN); a size of a
        voxel is none; the liver is empty, of another shape than the image, or of values that no liver has in HU; the
        label is no mask, and nothing is chosen from it.
    TypeError
        The image is no numpy array, or one with a mask of its own; the settings are none.
    """
    _refuse_no_array(image)
    _refuse_no_volume(image, spacing_mm)
    if not clipped:
        refuse_no_ct(image, "image")
    _refuse_no_settings(settings)
    shape = (int(image.shape[0]), int(image.shape[1]), int(image.shape[2]))
    spacing = (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2]))
    settings = settings or load_recipe()
    volume = Volume(np.ascontiguousarray(image), Geometry(shape, spacing))  # in memory as what scans are read to
    liver = find_liver(np.asarray(label), labels)
    return measure_for(prepare_scan(volume, liver, vessels or settings.vessels, case), settings)


def add_tumors(
    image: NDArray[Any],
    label: NDArray[Any],
    spacing_mm: Triple,
    rng: Generator,
    settings: Settings | None = None,
    *,
    labels: LabelChoice = MASK,
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Add tumours to a whole healthy case, in one call that measures it, draws and renders.

    Parameters
    ----------
    image
        CT (z, y, x) in HU, of any real data type; it is not changed.
    label
        Mask of the liver, of the same shape: one value above zero. Or a label map, if `labels` are chosen from it.
    spacing_mm
        Size of a voxel (z, y, x).
    rng
        Generator that everything is drawn from: the same state gives the same tumours.
    settings
        What is drawn; `load_recipe()` by default.
    labels
        Numbers of the label map that are liver, `LabelChoice(("5",))`, and that are tumours which are really there.

    Returns
    -------
    image, label
        New arrays of the same shape: HU in the image's data type; 0 background, 1 liver, 2 tumour (uint8).

    Raises
    ------
    TumorgenError
        As `prepare_arrays` has it.
    TypeError
        As there; or the generator is none.
    """
    _refuse_no_generator(rng)
    _refuse_no_settings(settings)
    settings = settings or load_recipe()
    scan = prepare_arrays(image, label, spacing_mm, settings=settings, labels=labels)
    return render_labelled(scan, draw_any_class(scan, settings, rng))[1].apply(scan)


def patch_with_tumors(
    scan: Scan, box: Box, rng: Generator, settings: Settings | None = None
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    """Cut a box out of a prepared case, with tumours whose centres lie in it; a box without liver gets none.

    Parameters
    ----------
    scan
        The case, from `prepare_arrays`.
    box
        Slices (z, y, x), with start and stop inside the case.
    rng
        Generator that everything is drawn from: the same state gives the same tumours.
    settings
        What is drawn; `load_recipe()` by default.

    Returns
    -------
    image, label
        New arrays of the box's shape: HU in the case's data type; 0 background, 1 liver, 2 tumour (uint8).

    Raises
    ------
    TumorgenError
        The box is not three slices inside the case.
    TypeError
        The generator or the settings are none.
    """
    _refuse_no_generator(rng)
    _refuse_no_settings(settings)
    _refuse_no_box(box, scan.geometry.shape)
    image, label = scan.hu[box].copy(), scan.inside[box].astype(np.uint8)
    if not label.any():
        return image, label
    for block in render_box(scan, draw_any_class(scan, settings or load_recipe(), rng, box), box):
        paste(image, box, block.image, block.box)
        paste(label, box, block.label, block.box)
    return image, label


def _refuse_no_array(image: object) -> None:
    """Refuse tensors, lists and images of other libraries, and masked arrays, whose masks would be lost."""
    if not isinstance(image, np.ndarray) or isinstance(image, np.ma.MaskedArray):
        raise TypeError(
            f"the image is a {type(image).__name__}, but a plain numpy array is needed, as tensor.numpy() gives"
        )


def _refuse_no_box(box: Sequence[object], shape: Sequence[int]) -> None:
    """Refuse what numpy would cut otherwise than tumours are placed: from the end, in steps, or beyond the case."""
    if len(box) != len(shape) or not all(
        isinstance(cut, slice)
        and cut.step in (None, 1)
        and cut.start is not None
        and cut.stop is not None
        and 0 <= cut.start < cut.stop <= size
        for cut, size in zip(box, shape, strict=True)
    ):
        raise TumorgenError(
            f"the box is {box}, but three slices (z, y, x) with start and stop inside a case of {tuple(shape)} are"
            " needed"
        )


def _refuse_no_volume(image: NDArray[Any], spacing_mm: Triple) -> None:
    """Refuse an image without three axes, and sizes of a voxel that are none."""
    if np.ndim(image) != 3 or not np.size(image):
        raise TumorgenError(f"the image has the shape {np.shape(image)}, but (z, y, x) is needed, without channels")
    low_mm, high_mm = SPACING_MM  # what a plan may hold
    if np.shape(spacing_mm) != (3,) or not all(low_mm <= size <= high_mm for size in spacing_mm):
        raise TumorgenError(
            f"spacing_mm is {spacing_mm}, but three sizes of a voxel (z, y, x) are needed, each of {low_mm:g} to"
            f" {high_mm:g} mm"
        )


def _refuse_no_generator(rng: object) -> None:
    if not isinstance(rng, Generator):
        raise TypeError(f"rng is a {type(rng).__name__}, but a numpy.random.Generator is needed: default_rng(seed)")


def _refuse_no_settings(settings: object) -> None:
    if not isinstance(settings, Settings | None):
        raise TypeError(
            f"settings are a {type(settings).__name__}, but Settings are needed, as load_recipe(name) gives"
        )
