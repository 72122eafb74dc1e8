"""`tumorgen phantom`: abdominal CTs with livers, for whoever has no data at hand."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural, typed

from .bars import progress
from .common import made_in
from .kinds import FOLDER, NATURAL, POSITIVE, TableChoice
from .options import jobs_option
from .verbosity import sum_up, telling

if TYPE_CHECKING:
    from tumorgen.imaging import Index, Triple
    from tumorgen.phantom import Phase


EPILOG = """\b
Examples:
  tumorgen phantom demo --count 4
  tumorgen synth --images demo/images --masks demo/masks --per-scan 5
\b
  tumorgen phantom large --shape 224 512 512 --spacing 1.5 0.75 0.75   (a clinical scan's size; half a minute each)
"""


@click.command("phantom", epilog=EPILOG)
@click.argument("output", metavar="OUT", type=FOLDER)
@click.option("--count", type=POSITIVE, default=1, help="How many phantoms.")
@click.option("--seed", type=NATURAL, default=0, help="Same seed, same phantoms.")
@click.option("--shape", type=click.IntRange(4, 2048), nargs=3, default=(96, 224, 256), help="Voxels, z y x.")
@click.option(
    "--spacing",
    "spacing_mm",
    type=click.FloatRange(0.05, 50),
    nargs=3,
    default=(2.5, 1.5, 1.5),
    help="Size of a voxel in mm, z y x.",
)
@click.option(
    "--phase",
    type=TableChoice("tumorgen.phantom.tissues:PHASES"),
    default="portal",
    help="Contrast phase; none is a scan without contrast.",
)
@jobs_option
@telling
def phantom(output: Path, count: int, seed: int, shape: Index, spacing_mm: Triple, phase: Phase, jobs: int) -> None:
    """Write made-up abdominal CTs with their liver masks.

    Each phantom is a different patient: body, organs, vessels, attenuation and noise are drawn from the seed. Phantoms
    go to OUT/images and OUT/masks; OUT/phantoms.csv lists them. What is there already is kept: the same command
    again makes what is missing, and phantoms of another seed, size or phase need a folder of their own.
    """
    from tumorgen.phantom import write_phantoms

    began, due = time.monotonic(), list[int]()

    def start(missing: int) -> Callable[[int], None]:
        due.append(missing)
        return progress("phantom", "scan")(missing)

    records = write_phantoms(
        output, count, seed, shape=shape, spacing_mm=spacing_mm, phase=phase, jobs=jobs, start=start
    )
    made = sum(due)
    volumes = [record.liver_ml for record in records]
    liver_ml = " to ".join(dict.fromkeys(f"{volume:.0f}" for volume in (min(volumes), max(volumes))))
    sum_up(output=output, phantoms=len(records), made=made)
    click.echo(
        f"{plural(len(records), 'phantom')} in {output}, liver {liver_ml} ml,"
        f" {made_in(made, time.monotonic() - began, len(records) - made)}."
        f" Next: tumorgen synth --images {typed(output / 'images')} --masks {typed(output / 'masks')}"
    )
