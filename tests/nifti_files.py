"""NIfTI files as SimpleITK writes them: what the files of a run are held against."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.itk import to_image


def by_simpleitk(source: Volume, folder: Path) -> bytes:
    """Content of the uncompressed file that SimpleITK writes of a whole volume."""
    path = folder / "reference.nii"
    sitk.WriteImage(to_image(source), str(path))
    return path.read_bytes()
