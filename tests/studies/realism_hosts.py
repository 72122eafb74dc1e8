"""Hosts of the study on realism: annotated scans, and the part of their livers that synthetic tumours may lie in.

Real tumours and what is around them are taken out of the liver; air that was clipped becomes air again. Arrays are
(z, y, x).
"""

from __future__ import annotations

from pathlib import Path

import edt
import numpy as np
from numpy.typing import NDArray
from real_cases import AIR_HU, AROUND_TUMORS_MM
from scipy import ndimage

from tumorgen.imaging import Volume, find_volumes, read_volume, write_volume
from tumorgen.labels import LIVER, TUMOR
from tumorgen.method import Scan, Settings, draw_variant, load_scan
from tumorgen.method.scan import smoothing_sigma
from tumorgen.realism import find_layout

CLIPPED_FROM_HU, CLIPPED_TO_HU = -200.0, -100.0  # a least value between these was clipped, to -160 as a rule
LEVEL_MM = (1.0, 2.0, 3.0)  # widths (sigma) of the filters, besides that of Eq. 1, that a centre is looked at with
LEVEL_SD = 2.0


def write_hosts(real: Path, folder: Path) -> list[str]:
    """Write `images` and `masks` of every annotated scan, if they are not there yet; the names of the scans."""
    images, labels = map(find_volumes, find_layout(real))
    names = sorted(images.keys() & labels.keys())
    for name in names:
        image, mask = folder / "images" / f"{name}.nii.gz", folder / "masks" / f"{name}.nii.gz"
        if not mask.exists():
            scan, label = read_volume(images[name]), read_volume(labels[name])
            write_volume(Volume(with_air(scan.array), scan.geometry), image)
            write_volume(Volume(healthy_liver(label.array, label.geometry.spacing_mm), scan.geometry), mask)
    return names


def with_air(hu: NDArray[np.generic]) -> NDArray[np.generic]:
    """A scan whose clipped voxels are air; one that was not clipped is given back as it is."""
    least = hu.min()
    return np.where(hu == least, hu.dtype.type(AIR_HU), hu) if CLIPPED_FROM_HU < least < CLIPPED_TO_HU else hu


def healthy_liver(labels: NDArray[np.generic], spacing_mm: tuple[float, float, float]) -> NDArray[np.uint8]:
    """The liver without tumours and 6 mm around them, of a label map (0, 1 liver, 2 tumour)."""
    far = edt.edt(labels != TUMOR, anisotropy=spacing_mm, black_border=False, parallel=1) > AROUND_TUMORS_MM
    healthy: NDArray[np.uint8] = ((labels == LIVER) & far).astype(np.uint8)
    return healthy


def count_off_parenchyma(image: Path, mask: Path, settings: Settings, per_scan: int) -> tuple[int, int]:
    """How many tumours a scan gets, and how many of their centres lie in what is no parenchyma.

    There the scan is more than 2 sigma_p off mu_p: smoothed with the filter of Eq. 1, or with 1, 2 or 3 mm. Nothing is
    rendered; the samples are those that `synth` draws, too.
    """
    scan = load_scan(image, mask)
    off = deviations(scan)
    centers = [
        tuple(round(place) for place in scan.geometry.to_index(tumor.center_mm))
        for variant in range(per_scan)
        for tumor in draw_variant(scan, settings, 0, variant).tumors
    ]
    return len(centers), sum(bool(off[center] > LEVEL_SD) for center in centers)


def deviations(scan: Scan) -> NDArray[np.float32]:
    """By how many sigma_p a voxel's surroundings are off mu_p, by the filter that says most."""
    hu = np.asarray(scan.hu, np.float32)
    widths = [
        smoothing_sigma(scan.sigma_a, scan.geometry),
        *(mm / np.array(scan.geometry.spacing_mm) for mm in LEVEL_MM),
    ]
    worst: NDArray[np.float32] = np.max([np.abs(ndimage.gaussian_filter(hu, w) - scan.mu_p_hu) for w in widths], axis=0)
    return worst / np.float32(scan.sigma_p_hu)
