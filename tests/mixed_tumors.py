"""A dataset whose samples have synthetic tumours beside a real one, the larger: `synth --real-tumours`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from click.testing import CliRunner
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.imaging.geometry import Geometry, Volume
from tumorgen.imaging.reading import write_volume

SPACING_MM = (4.0, 2.5, 2.5)
REAL_MM = (10.0, -15.0, 20.0)  # (z, y, x) from the middle of the ball, in voxels' order
REAL_RADIUS_MM = 16.0


def write_mixed(root: Path, scans: int, *options: object, per_scan: int = 2) -> tuple[Path, Path]:
    """Write balls of liver with a real tumour, as a set, and the dataset that `synth` makes of them.

    The scans lie turned about the patient's axis, so that who reads them turns them round.
    """
    shape = tuple(round(140 / s) for s in SPACING_MM)
    turned = Geometry(shape, SPACING_MM, (70.0, 60.0, 30.0), (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0))
    z, y, x = np.meshgrid(*[(np.arange(n) - n // 2) * s for n, s in zip(shape, SPACING_MM, strict=True)], indexing="ij")
    real = np.sqrt((z - REAL_MM[0]) ** 2 + (y - REAL_MM[1]) ** 2 + (x - REAL_MM[2]) ** 2) < REAL_RADIUS_MM
    source = root / "source"
    for number in range(scans):
        volume, liver = ball_volume(SPACING_MM, seed=number, geometry=turned)
        volume.array[real] -= 40
        labels = np.where(real, 2, liver).astype(np.uint8)
        write_volume(volume, source / "images" / f"p{number}.nii.gz")
        write_volume(Volume(labels, turned), source / "labels" / f"p{number}.nii.gz")
    folders = ("--images", source / "images", "--masks", source / "labels", "--label", 1, "--real-tumours", 2)
    out = ("--output", root, "--per-scan", per_scan, "--sizes", "small", "--jobs", 1)
    done = CliRunner().invoke(main, ["synth", *(str(word) for word in (*folders, *out, *options))])
    assert done.exit_code == 0, done.output
    return source, root / "Dataset501_SynthLiver"
