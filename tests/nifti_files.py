"""NIfTI files as SimpleITK writes them, which the files of a run are held against; and a place along no axis."""

from __future__ import annotations

from pathlib import Path

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
