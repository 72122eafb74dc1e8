"""Cutouts: the axial slice of a case in which reference and prediction differ most, as a small square PNG.

Arrays are (z, y, x). The slice is shown as radiologists see it: from the feet, the patient's right on the left.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..evaluation import AS_WRITTEN, Conventions
from ..imaging import Volume, bounding_box, read_volume, relabel, round_labels
from ..labels import LIVER, TUMOR
from .panels import WINDOW_HU, Panel, Side, draw_panel, draw_scale_bar, draw_side_letters
from .views import PLANES, Window, cut_window, read_fitting, to_lps

REFERENCE_COLOR, PREDICTION_COLOR = "#56b4e9", "#e69f00"  # Okabe and Ito's, bright on grey
_AXIAL = PLANES[0]
_LEAST_MM = 90.0  # side of a picture: enough of the liver to recognise the place
_SIDE_TO_TUMOR = 2.5  # side of a picture, over the longest side of what is outlined
_INCHES, _DPI = 2.6, 150


@dataclass(frozen=True, slots=True)
class Cutout:
    """A picture as the bytes of a PNG, and why its CT was left out; empty where it was drawn, or none was given."""

    png: bytes
    without_ct: str


def draw_cutout(reference: Path, prediction: Path, image: Path | None, conventions: Conventions = AS_WRITTEN) -> Cutout:
    """Draw a case: the outlines of both tumours, the prediction's dashed, on the CT or, without one, the liver's shape.

    A CT that cannot be read, or lies on another grid than the labels, is left out: outlines in a wrong place would be
    worse than no CT. `conventions` says what the files mean, as it did when they were scored.

    Raises
    ------
    TumorgenError
        One of the label files cannot be read, or they do not lie on the same grid.
    """
    trust, predicted = conventions.trust, conventions.predicted
    truth = _rounded(read_volume(reference, trust))
    found = read_fitting(prediction, truth.geometry, reference, trust)
    found = relabel(found, prediction, predicted) if predicted else _rounded(found)
    ct, without = _read_ct(image, truth, trust) if image else (None, "")
    ground = to_lps(ct).array if ct else _shape(to_lps(truth).array)
    return Cutout(_draw(ground, to_lps(truth), to_lps(found)), without)


def _rounded(labels: Volume) -> Volume:
    """Labels that floating point has left a little off, whole again: as they were scored."""
    return Volume(round_labels(labels.array), labels.geometry)


def _read_ct(path: Path, label: Volume, trust: str) -> tuple[Volume | None, str]:
    """The CT, or why it cannot be shown."""
    try:
        return read_fitting(path, label.geometry, "the labels", trust), ""
    except TumorgenError as error:
        return None, str(error)


def _shape(label: NDArray[Any]) -> NDArray[np.float32]:
    """Liver and background as two shades of grey, in HU within the CT window."""
    low, high = WINDOW_HU
    return np.where(label >= LIVER, 0.5, 0.25).astype(np.float32) * (high - low) + low


def slice_to_show(reference: NDArray[Any], prediction: NDArray[Any]) -> int:
    """Index along z of the slice where the tumours differ most; else of that with most tumour, else with most liver."""
    truth, found = reference == TUMOR, prediction == TUMOR
    for mask in (truth ^ found, truth, reference >= LIVER):
        if mask.any():
            return int(np.argmax(np.count_nonzero(mask, axis=(1, 2))))
    return len(reference) // 2


def window_of(reference: Volume, prediction: NDArray[Any]) -> Window:
    """The square that is shown: around both tumours of the slice, else around the liver, else around everything."""
    index = slice_to_show(reference.array, prediction)
    truth, found = reference.array[index], prediction[index]
    masks = ((truth == TUMOR) | (found == TUMOR), (truth >= LIVER) | (found >= LIVER))
    shown = next((mask for mask in masks if mask.any()), np.ones_like(masks[0]))
    _, rows, columns = bounding_box(shown[None])
    spacing = reference.geometry.spacing_mm[1:]
    longest = max((s.stop - s.start) * mm for s, mm in zip((rows, columns), spacing, strict=True))
    side = max(_LEAST_MM, _SIDE_TO_TUMOR * longest if masks[0].any() else 1.1 * longest)
    center = (float(index), *((s.start + s.stop - 1) / 2 for s in (rows, columns)))
    return Window.around(_AXIAL, center, (side, side), reference.geometry)


def _draw(ground: NDArray[Any], truth: Volume, found: Volume) -> bytes:
    window = window_of(truth, found.array)
    figure = Figure(figsize=(_INCHES, _INCHES))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    draw_panel(axes, Panel(window, Side(ground, None), truth.geometry))
    for label, color, style in ((truth, REFERENCE_COLOR, "solid"), (found, PREDICTION_COLOR, (0, (2, 1.5)))):
        part = cut_window(label.array, truth.geometry, window)
        mask = np.pad(part.values == TUMOR, 1).astype(np.float32)  # closes what ends with the image
        if mask.any():
            across, vertical = (_widened(mm) for mm in (part.across_mm, part.vertical_mm))
            axes.contour(across, vertical, mask, levels=[0.5], colors=[color], linewidths=[1.6], linestyles=[style])
    axes.set_xlim(window.across_mm)
    axes.set_ylim(window.vertical_mm[::-1])
    draw_side_letters(axes, _AXIAL)
    draw_scale_bar(axes, window.across_mm[1] - window.across_mm[0])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": "tumorgen"})
    return buffer.getvalue()


def _widened(positions_mm: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """The positions of a row of voxels, with one more at either end."""
    step = positions_mm[1] - positions_mm[0]
    return np.concatenate([[positions_mm[0] - step], positions_mm, [positions_mm[-1] + step]])
