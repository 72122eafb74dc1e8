"""What finding a liver costs with the model that ships: `make bench` runs it. No test; pytest leaves it alone.

Phantoms of clinical size through `tumorgen liver-mask`, as a user types it, in a process of its own: start, import,
reading, network, outline, writing, picture, all of it. Once with one scan and once with several: what each further one
takes is the difference.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from tumorgen.evaluation.overlap import dsc
from tumorgen.imaging.mask_labels import read_mask
from tumorgen.phantom.folder import write_phantoms

SHAPE, SPACING_MM = (119, 512, 512), (2.5, 0.75, 0.75)
MORE = 3  # further scans
MOST_FIRST_S, MOST_FURTHER_S, MOST_GB = 10.0, 3.5, 1.5


@dataclass(frozen=True, slots=True)
class Run:
    """One command: seconds on the clock, and the most memory of its process in GB."""

    seconds: float
    gigabytes: float


def find_livers(images: Path, threads: int, device: str) -> Run:
    """Run the command on a folder of scans."""
    command = [str(Path(sys.executable).with_name("tumorgen")), "liver-mask", images.name, "livers", "--overwrite"]
    command += ["--jobs", str(threads), "--device", device]
    about = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=images.parent, env=about, stdout=said, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        if status:
            said.seek(0)
            raise SystemExit(said.read().decode())
    return Run(seconds, used.ru_maxrss * 1024 / 1e9)


def rows_of(first: Sequence[Run], several: Sequence[Run], agreed: float) -> list[tuple[str, str]]:
    """What is printed: medians, with the targets where there are some."""
    start = statistics.median(run.seconds for run in first)
    further = (statistics.median(run.seconds for run in several) - start) / MORE
    peak = max(run.gigabytes for run in (*first, *several))

    def beside(value: float, most: float) -> str:
        return f"{value:.2f} (≤ {most:.2f}: {'yes' if value <= most else 'no'})"

    return [
        ("one scan, s from start to end", beside(start, MOST_FIRST_S)),
        ("each further scan, s", beside(further, MOST_FURTHER_S)),
        ("peak memory, GB", beside(peak, MOST_GB)),
        ("DSC of these phantoms, which no model has seen", f"{agreed:.3f}"),
    ]


@click.command()
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
@click.option("--device", default="cpu", show_default=True)
def main(repeats: int, threads: int, device: str) -> None:
    """Print seconds, peak memory and agreement for scans of 512 x 512 x 119 voxels."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantoms(folder / "scans", 1 + MORE, shape=SHAPE, spacing_mm=SPACING_MM)
        images = sorted((folder / "scans" / "images").iterdir())
        (folder / "first").mkdir()
        shutil.copy(images[0], folder / "first")
        first, several = [], []
        for _ in range(repeats):
            first.append(find_livers(folder / "first", threads, device))
            several.append(find_livers(folder / "scans" / "images", threads, device))
        masks = folder / "scans" / "masks"
        livers = folder / "scans" / "livers"
        agreed = statistics.mean(
            dsc(read_mask(masks / image.name).array, read_mask(livers / image.name).array) for image in images
        )
    click.echo(f"\nFinding the liver in 512 x 512 x 119 voxels, own model: {device}, {threads} threads\n")
    click.echo("| figure | value |\n|---|---|")
    for figure, value in rows_of(first, several, agreed):
        click.echo(f"| {figure} | {value} |")


if __name__ == "__main__":
    main()
