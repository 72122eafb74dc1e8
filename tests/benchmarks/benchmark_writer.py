"""What the writer alone costs, by how much changed and by size of chunk: `make bench-writer`. No test.

W, what SimpleITK takes to write the image compressed, and C, what copying a finished file takes, are measured between
the other figures in every repeat, so that a machine which is busy with something else slows all of them alike.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
import numpy as np
import SimpleITK as sitk
from benchmark_samples import describe_machine, find_cases, machine, make_room, write_between_markers

from tumorgen.imaging.boxes import Box
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.itk import to_image
from tumorgen.imaging.mask_labels import read_mask
from tumorgen.imaging.patched_gzip import CHUNK, ChunkedVolume
from tumorgen.imaging.reading import read_ct

BOXES = ((0, 0, 0), (20, 20, 20), (30, 60, 60), (55, 110, 110))  # voxels (z, y, x), in the middle of the liver
CHUNKS = (16, 32, 64, 128)  # KiB
PAGE = Path(__file__).parents[2] / "docs" / "writer.md"
Times = dict[tuple[object, ...], list[float]]
T = TypeVar("T")


def box_around(mask: np.ndarray, shape: tuple[int, int, int]) -> Box:
    """A box of a shape around the middle of a mask, within the volume."""
    starts = (int(places.mean()) - n // 2 for places, n in zip(mask.nonzero(), shape, strict=True))
    z, y, x = (
        slice(max(0, min(a, whole - n)), min(whole, max(0, a) + n))
        for a, n, whole in zip(starts, shape, mask.shape, strict=True)
    )
    return z, y, x


def other(voxels: np.ndarray) -> np.ndarray:
    """Voxels none of which is what it was: in an image with noise of 10 HU, in a label a tumour's."""
    if voxels.dtype == np.uint8:
        return np.full_like(voxels, 2)
    noise = np.random.default_rng(0).normal(0, 10, voxels.shape).round().astype(voxels.dtype)
    return voxels + np.where(noise == 0, 1, noise)


def measure(image: Volume, label: Volume, repeats: int, folder: Path) -> tuple[Times, dict[int, ChunkedVolume]]:
    """Seconds of everything, by what it is; and the chunked images by KiB of their chunks."""
    times: Times = defaultdict(list)
    sources: dict[int, ChunkedVolume] = {}
    itk, boxes = to_image(image), {shape: box_around(label.array, shape) for shape in BOXES}

    def timed(name: tuple[object, ...], call: Callable[..., T], *arguments: object) -> T:
        make_room(folder, image.array.nbytes // 2)
        began = time.perf_counter()
        result = call(*arguments)
        times[name].append(time.perf_counter() - began)
        return result

    for _ in range(repeats):
        timed(("W",), sitk.WriteImage, itk, str(folder / "w.nii.gz"), True)
        for kib in CHUNKS:
            sources[kib] = timed(("once", kib), ChunkedVolume.from_volume, image, kib * 1024)
            for shape, box in boxes.items():
                blocks = [(box, other(image.array[box]))] if all(shape) else []
                timed(("image", kib, shape), sources[kib].write, folder / "image.nii.gz", blocks)
        timed(("C",), shutil.copy, folder / "image.nii.gz", folder / "copy.nii.gz")
        of_label = ChunkedVolume.from_volume(label)
        for shape, box in boxes.items():
            blocks = [(box, other(label.array[box]))] if all(shape) else []
            timed(("label", shape), of_label.write, folder / "label.nii.gz", blocks)
    return times, sources


def report(times: Times, sources: dict[int, ChunkedVolume], label: Volume, simpleitk_bytes: int) -> str:
    """The tables in Markdown."""
    median = {name: statistics.median(values) for name, values in times.items()}
    w, c, kib = median["W",], median["C",], CHUNK // 1024
    of_label = ChunkedVolume.from_volume(label)
    lines = [
        describe_machine(machine()),
        "",
        f"W was {w:.2f} s and C {1000 * c:.0f} ms, medians of {len(times['W',])} like all figures. Deflating the scan,"
        f" once, takes {median['once', kib] / w:.3f} W.",
        "",
        "| changed voxels (x, y, z) | image, x W | x C | chunks deflated again | label, x W | chunks |",
        "|---|---|---|---|---|---|",
    ]
    for shape in BOXES:
        took, box = median["image", kib, shape], box_around(label.array, shape)
        touched = [source.touched(box).size for source in (sources[kib], of_label)]
        size = " x ".join(map(str, shape[::-1])) if all(shape) else "none"
        lines.append(
            f"| {size} | {took / w:.4f} | {took / c:.1f} | {touched[0]} of {len(sources[kib].chunks)}"
            f" | {median['label', shape] / w:.4f} | {touched[1]} of {len(of_label.chunks)} |"
        )
    sizes = [shape for shape in BOXES if all(shape)]
    lines += [
        "",
        f"| chunk | compressed image | {' | '.join(' x '.join(map(str, s[::-1])) + ', x W' for s in sizes)} |",
        "|---" * (2 + len(sizes)) + "|",
    ]
    for size, source in sources.items():
        share = sum(map(len, source.chunks)) / simpleitk_bytes
        costs = " | ".join(f"{median['image', size, shape] / w:.4f}" for shape in sizes)
        lines.append(f"| {size} KiB | {share:.3f} of SimpleITK's | {costs} |")
    return "\n".join([*lines, ""])


@click.command(help="Measure what the writer alone costs; the tables go to stdout.")
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
@click.option(
    "--scan-folder",
    type=click.Path(path_type=Path),
    default=Path(tempfile.gettempdir()) / "tumorgen-benchmark",
    show_default=True,
    help="Where the phantom is kept.",
)
@click.option("--write", is_flag=True, help="Also write them into docs/writer.md.")
def main(repeats: int, scan_folder: Path, write: bool) -> None:
    case = find_cases(scan_folder, real=False)[0]
    image, label = read_ct(case.image), read_mask(case.mask)
    label = Volume(label.array.astype(np.uint8), label.geometry)
    with tempfile.TemporaryDirectory() as name:
        times, sources = measure(image, label, repeats, Path(name))
        text = report(times, sources, label, (Path(name) / "w.nii.gz").stat().st_size)
    if write:
        write_between_markers(PAGE, text)
    click.echo(text, nl=False)


if __name__ == "__main__":
    main()
