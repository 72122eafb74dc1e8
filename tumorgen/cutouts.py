"""Cutouts: the axial slice of a case in which reference and prediction disagree most, as a small PNG.

Arrays are (z, y, x). The slice is shown as radiologists look: from the feet, the patient's right on the left.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .boxes import bounding_box
from .dataset import LABELS
from .panels import WINDOW_HU
from .views import to_lps
from .volume import Volume, read_volume

REFERENCE_COLOR, PREDICTION_COLOR = "#56b4e9", "#e69f00"  # Okabe and Ito's, bright on grey
_MARGIN_MM = 12.0
_INCHES, _DPI = 3.2, 110
_LIVER, _TUMOR = LABELS["liver"], LABELS["tumor"]


def draw_cutout(reference: Path, prediction: Path, image: Path | None) -> bytes:
    """PNG of a case: CT if there is one, else the liver's shape; outlines of both tumours, the prediction's dashed.

    Raises
    ------
    TumorgenError
        A file cannot be read.
    """
    truth, found = (to_lps(read_volume(path)) for path in (reference, prediction))
    ct = to_lps(read_volume(image)) if image else None
    index = slice_to_show(truth.array, found.array)
    of_truth, of_found = (volume.array[index] for volume in (truth, found))
    rows, columns = _shown(of_truth, of_found, truth)
    if ct is not None and ct.array.shape == truth.array.shape:
        low, high = WINDOW_HU
        ground = (np.clip(ct.array[index][rows, columns], low, high).astype(np.float32) - low) / (high - low)
    else:
        ground = 0.25 + 0.25 * (of_truth[rows, columns] >= _LIVER)
    return _draw(ground, of_truth[rows, columns], of_found[rows, columns], truth.geometry.spacing_mm[1:])


def slice_to_show(reference: NDArray[Any], prediction: NDArray[Any]) -> int:
    """Index along z of the slice where the tumours differ in most voxels; else with most tumour; else most liver."""
    truth, found = reference == _TUMOR, prediction == _TUMOR
    for mask in (truth ^ found, truth, reference >= _LIVER):
        if mask.any():
            return int(np.argmax(np.count_nonzero(mask, axis=(1, 2))))
    return len(reference) // 2


def _shown(truth: NDArray[Any], found: NDArray[Any], volume: Volume) -> tuple[slice, slice]:
    """Rows and columns of a slice that hold everything that is labelled, with a margin."""
    labelled = (truth > 0) | (found > 0)
    if not labelled.any():
        return slice(None), slice(None)
    _, rows, columns = bounding_box(labelled[None])
    margins = [int(np.ceil(_MARGIN_MM / s)) for s in volume.geometry.spacing_mm[1:]]
    y, x = (slice(max(0, s.start - m), s.stop + m) for s, m in zip((rows, columns), margins, strict=True))
    return y, x


def _draw(ground: NDArray[Any], truth: NDArray[Any], found: NDArray[Any], spacing_mm: tuple[float, ...]) -> bytes:
    figure = Figure(figsize=(_INCHES, _INCHES * ground.shape[0] * spacing_mm[0] / (ground.shape[1] * spacing_mm[1])))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.imshow(ground, cmap="gray", vmin=0, vmax=1, aspect="auto", interpolation="bilinear")
    for label, color, style in ((truth, REFERENCE_COLOR, "solid"), (found, PREDICTION_COLOR, "dashed")):
        mask = (label == _TUMOR).astype(np.float32)
        if mask.any() and not mask.all():
            axes.contour(mask, levels=[0.5], colors=[color], linewidths=[1.4], linestyles=[style])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": "tumorgen"})
    return buffer.getvalue()
