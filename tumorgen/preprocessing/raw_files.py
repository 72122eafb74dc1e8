"""Files of samples whose dataset keeps none (`synth --no-raw`), made of their rows as `synth` would have made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..checksums import sha256_of
from ..errors import TumorgenError
from ..generation import vessels_of
from ..imaging import ChunkedVolume, Geometry, Volume, scratch_folder
from ..method import Scan, render
from ..tables import Record, Source
from . import nnunet
from .changes import Change

_CORNER = (2, 2, 2)  # voxels of a file that is there for its header


@dataclass(frozen=True, slots=True, eq=False)
class RawFiles:
    """What stands for the files of a scan's samples: the healthy label, deflated, of which their labels are made."""

    label: ChunkedVolume

    @classmethod
    def of(cls, scan: Scan) -> RawFiles:
        """Make it of a scan that holds all its voxels."""
        return cls(ChunkedVolume.from_volume(Volume(scan.label, scan.geometry)))

    def write_label(self, record: Record, changes: Sequence[Change], path: Path) -> None:
        """Write the label of a sample, unless it is there.

        Raises
        ------
        TumorgenError
            It is not what the sample's row says.
        """
        expected = record.files.label_sha256 if record.files else ""
        if path.is_file() and sha256_of(path) == expected:
            return
        blocks = [(change.box, change.label) for change in changes]
        if self.label.write(path, blocks, durable=False) != expected:
            path.unlink()
            raise _other_than_its_row(record)


def read_properties_of(geometry: Geometry) -> dict[str, Any]:
    """What nnU-Net's reader says of images of a geometry, from the header that they would have."""
    corner = Volume(np.zeros(_CORNER, np.int16), replace(geometry, shape=_CORNER))
    with scratch_folder() as scratch:
        ChunkedVolume.from_volume(corner).write(scratch / "corner.nii.gz", durable=False)
        return nnunet.read_properties(scratch / "corner.nii.gz")


def write_raw_files(record: Record, source: Source, image: Path, label: Path) -> None:
    """Write image and label of a sample.

    Raises
    ------
    TumorgenError
        The scan cannot be used, or they are not what the sample's row says.
    """
    scan = source.load(vessels_of(record.plan))
    patch = render(scan, record.plan)
    written = (
        ChunkedVolume.from_volume(scan.image).write(image, patch.images, durable=False),
        ChunkedVolume.from_volume(Volume(scan.label, scan.geometry)).write(label, patch.labels, durable=False),
    )
    if record.files is None or written != (record.files.image_sha256, record.files.label_sha256):
        raise _other_than_its_row(record)


def _other_than_its_row(record: Record) -> TumorgenError:
    return TumorgenError(
        f"{record.plan.sample}: rendered again, it is not what its row in the manifest says; see `tumorgen verify`"
    )
