"""DICOM files for tests, made from nothing by pydicom: a CT series of a phantom whose HU are known, with any fault.

Not a test module; test modules import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

CT = "1.2.840.10008.5.1.4.1.1.2"
SECRETS = ("Doe^Jane", "PAT-4711-XY", "19570312", "ACC-0815", "Mercy Hospital of Nowhere", "Dr. Who^Ever")
ROOT = "1.2.826.0.1.3680043.8.498."  # of UIDs made here; no output may hold it


def phantom(count: int = 16, side: int = 16, liver_hu: int = 120) -> np.ndarray:
    """HU (z, y, x) from the feet up: air, body at 30, liver; nothing about it is symmetric."""
    hu = np.full((count, side, side), -1000, np.int16)
    hu[1:-1, 2:-2, 2:-2] = 30
    hu[3:-4, 4:-5, 3:-6] = liver_hu
    hu[2:3, 2, 3] = 500
    return hu


def header(hu: np.ndarray, uid: str, number: int, position: Sequence[float], **changes: object) -> Dataset:
    """A CT slice with a patient in its header; stored as HU + 1024, of 12 bits."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = SECRETS[:3]
    ds.AccessionNumber, ds.InstitutionName, ds.ReferringPhysicianName = SECRETS[3:]
    ds.StudyDescription = f"CT of {SECRETS[0]}"
    ds.SOPClassUID, ds.Modality = CT, "CT"
    ds.SOPInstanceUID, ds.SeriesInstanceUID = f"{ROOT}{uid}.{number + 1}", f"{ROOT}{uid}"
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = f"{ROOT}9", f"{ROOT}8"
    ds.InstanceNumber = number + 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.ImagePositionPatient = [float(value) for value in position]
    ds.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    ds.PixelSpacing = [2.5, 3.5]
    ds.SliceThickness = 5.0
    ds.Rows, ds.Columns = hu.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = 1, -1024, "HU"
    ds.PixelData = (hu.astype(np.int32) + 1024).astype("<u2").tobytes()
    for name, value in changes.items():
        if value is None:
            delattr(ds, name)
        else:
            setattr(ds, name, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID or f"{ROOT}7"
    return ds


def save(ds: Dataset, path: Path) -> Path:
    """Write a dataset as a DICOM file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    uid: str = "1",
    *,
    hu: np.ndarray | None = None,
    positions: Sequence[Sequence[float]] | None = None,
    suffix: str = ".dcm",
    prefix: str = "IM",
    **changes: object,
) -> list[Path]:
    """A series, a slice a file, in the order of `hu` (z, y, x); by default 5 mm apart, from (-20, -30, 40) up."""
    hu = phantom() if hu is None else hu
    positions = [(-20.0, -30.0, 40.0 + 5 * k) for k in range(len(hu))] if positions is None else positions
    return [
        save(header(one, uid, k, place, **changes), folder / f"{prefix}{k:04d}{suffix}")
        for k, (one, place) in enumerate(zip(hu, positions, strict=True))
    ]
