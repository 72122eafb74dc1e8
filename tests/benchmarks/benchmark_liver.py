"""What finding a liver costs with the model that ships: `make bench` runs it. No test; pytest leaves it alone.

A phantom of clinical size through `tumorgen liver-mask`, as a user types it, in a process of its own: start, import,
reading, network, writing, all of it.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

from tumorgen.evaluation.overlap import dsc
from tumorgen.imaging.mask_labels import read_mask
from tumorgen.phantom.folder import write_phantoms

SHAPE, SPACING_MM = (200, 512, 512), (1.5, 0.75, 0.75)
MOST_SECONDS, MOST_GB = 60.0, 6.0
CASE = "phantom_000.nii.gz"


def liver_mask(folder: Path, threads: int, device: str) -> float:
    """Seconds of the command on the only scan of a folder."""
    command = [str(Path(sys.executable).with_name("tumorgen")), "liver-mask", "scans/images", "livers"]
    command += ["--overwrite", "--jobs", str(threads), "--device", device]
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": str(threads)}
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return time.perf_counter() - began


@click.command()
@click.option("--repeats", type=click.IntRange(1), default=2, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def main(repeats: int, threads: int, device: str) -> None:
    """Print seconds, peak memory and agreement for a scan of 512 x 512 x 200 voxels."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantoms(folder / "scans", 1, shape=SHAPE, spacing_mm=SPACING_MM)
        seconds = min(liver_mask(folder, threads, device) for _ in range(repeats))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e9
        agreed = dsc(read_mask(folder / "scans" / "masks" / CASE).array, read_mask(folder / "livers" / CASE).array)
    rows = (
        ("seconds, from start to end", f"{seconds:.1f}", f"{MOST_SECONDS:g}", seconds <= MOST_SECONDS),
        ("peak memory, GB", f"{peak:.2f}", f"{MOST_GB:g}", peak <= MOST_GB),
        ("DSC of this phantom, which no model has seen", f"{agreed:.3f}", "", True),
    )
    click.echo(
        f"\nFinding the liver in 512 x 512 x 200 voxels, own model: {device}, {threads} threads, best of {repeats}\n"
    )
    click.echo("| figure | measured | at most | |\n|---|---|---|---|")
    for figure, value, most, held in rows:
        click.echo(f"| {figure} | {value} | {most} | {'' if held else 'missed'} |")


if __name__ == "__main__":
    main()
