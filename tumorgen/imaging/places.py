"""Where a NIfTI header says that voxels lie: it may say so twice, and not the same.

A header has two affines from voxels to mm (RAS), `sform` and `qform`, each with a code that says whether it is meant.
Where both are and contradict each other, readers differ by which they take (ITK often the qform, nibabel the sform),
and a mask drawn with one of them lies beside the liver in the other. So it is said, or left to the user: `trust`.

nifti.nimh.nih.gov: nifti1.h, methods 1 to 3 and the quaternion.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from .geometry import GEOMETRY_TOLERANCE_MM

SFORM, QFORM = TRUSTS = ("sform", "qform")
AS_ITK = "itk"  # whichever ITK takes, and no question asked: what version 0.1.0 took
ASSUMED = (
    "its header does not say where its voxels lie (sform_code and qform_code are 0): taken along the patient's axes,"
    " to the left, to the back and upwards, as ITK takes it"
)

_UNITS_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # m, mm, micrometre
_ALMOST_ZERO = 2.5e-7  # one minus the squares of float32 that is less may as well be 0

Affine = NDArray[np.float64]


def said_forms(header: np.ndarray) -> tuple[str, ...]:
    """The forms that a header means: those of `TRUSTS` whose code is above zero."""
    return tuple(form for form in TRUSTS if int(header[f"{form}_code"]) > 0)


def mm_of(header: np.ndarray) -> float:
    """Millimetres in the unit of a header's lengths, as its `xyzt_units` says; without a unit they are mm."""
    return _UNITS_MM.get(int(header["xyzt_units"]) & 7, 1.0)


def affine_of(header: np.ndarray, form: str) -> Affine:
    """From voxels (x, y, z, 1) to RAS (x, y, z) in the header's unit, (3, 4), by one form, whatever its code."""
    if form == SFORM:
        return np.array([header[f"srow_{axis}"] for axis in "xyz"], np.float64)
    a, b, c, d = _quaternion(header)
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    spacing = np.array(header["pixdim"][1:4], np.float64)
    spacing[2] *= -1 if float(header["pixdim"][0]) < 0 else 1  # "qfac"
    offset = [float(header[f"qoffset_{axis}"]) for axis in "xyz"]
    return np.column_stack([rotation * spacing, offset])


def _quaternion(header: np.ndarray) -> NDArray[np.float64]:
    """The quaternion (a, b, c, d) of a header, which has the last three."""
    bcd = np.array([header[f"quatern_{axis}"] for axis in "bcd"], np.float64)
    square = 1.0 - bcd @ bcd
    if square < _ALMOST_ZERO:
        return np.array([0.0, *(bcd / np.linalg.norm(bcd))])
    return np.array([np.sqrt(square), *bcd])


def choose_form(header: np.ndarray, path: Path, trust: str = "") -> str:
    """The form that says where voxels lie; empty where ITK will take the right one by itself.

    Parameters
    ----------
    header
        Of finite numbers.
    path
        The name that errors give.
    trust
        The form to take where both are there and contradict each other: one of `TRUSTS`, or `AS_ITK`.

    Raises
    ------
    TumorgenError
        They contradict each other by more than the tolerance, and `trust` does not say which holds.
    """
    if trust not in ("", AS_ITK, *TRUSTS):
        raise TumorgenError(f"trust {trust!r}: choose from {', '.join(TRUSTS)}")
    contradiction = "" if trust == AS_ITK else describe_contradiction(header)
    if contradiction and not trust:
        raise TumorgenError(
            f"{path}: its sform and qform {contradiction}; say which is right: --trust sform or --trust qform"
        )
    return trust if contradiction else ""


def describe_contradiction(header: np.ndarray) -> str:
    """By how much the two places of a volume differ, in words; empty where there is one, or they differ by rounding.

    The header is one of finite numbers.

    A scan along the patient's axes is turned by half a circle against RAS, where the three numbers of a quaternion,
    float32, leave the angle uncertain by up to a thousandth.
    """
    if len(said_forms(header)) < 2:
        return ""
    sform, qform = (affine_of(header, form) for form in TRUSTS)
    last = np.maximum(np.array(header["dim"][1:4], np.float64) - 1, 1)
    corners = np.array([[*(last * pick), 1.0] for pick in np.ndindex(2, 2, 2)])
    apart = mm_of(header) * np.linalg.norm(corners @ (sform - qform).T, axis=1)
    across = mm_of(header) * float(np.linalg.norm(last * np.array(header["pixdim"][1:4], np.float64)))
    uncertain = 2 * _ALMOST_ZERO / max(float(_quaternion(header)[0]), np.sqrt(_ALMOST_ZERO))
    tolerance = 100 * GEOMETRY_TOLERANCE_MM
    if apart[0] <= tolerance and apart.max() <= tolerance + uncertain * across:
        return ""
    mirrored = np.linalg.det(sform[:, :3]) * np.linalg.det(qform[:, :3]) < 0
    against = "one mirrored against the other" if mirrored else "neither mirrored"
    return f"put voxels up to {apart.max():.1f} mm apart, {against}"
