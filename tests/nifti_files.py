"""NIfTI files as SimpleITK writes them, which the files of a run are held against; and a place along no axis."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.itk import to_image

OBLIQUE = tuple(Rotation.from_euler("zyx", (25, -10, 5), degrees=True).as_matrix().ravel().tolist())
PLACE = Geometry((4, 5, 6), (2.5, 0.8, 0.7), (-120.0, 33.5, 900.25), OBLIQUE)


def by_simpleitk(source: Volume, folder: Path) -> bytes:
    """Content of the uncompressed file that SimpleITK writes of a whole volume."""
    path = folder / "reference.nii"
    sitk.WriteImage(to_image(source), str(path))
    return path.read_bytes()


def write_placed(
    array: np.ndarray,
    path: Path,
    *,
    sform: np.ndarray | None = None,
    qform: np.ndarray | None = None,
    codes: tuple[int, int] = (1, 1),
) -> Path:
    """A NIfTI file of voxels (z, y, x) with two places (RAS, 4 x 4); one of a code above 0 is meant."""
    image = nib.Nifti1Image(np.transpose(array, (2, 1, 0)), None)
    image.header.set_xyzt_units("mm")
    for set_form, form in ((image.header.set_sform, sform), (image.header.set_qform, qform)):
        set_form(np.eye(4) if form is None else form, 1)
    image.header["sform_code"], image.header["qform_code"] = codes
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
    return path
