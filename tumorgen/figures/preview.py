"""Pictures of a dataset: a sheet for each of some samples, source beside synthetic, and one overview.

The synthetic side shows the files of the dataset; nothing is rendered again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..dataset import OVERVIEW, Dataset, find_written_dataset, refuse_without_raw
from ..errors import Failure, TumorgenError
from ..imaging import Volume, bounding_box, read_mask, read_volume, refuse_foreign_files, refuse_unwritable, safe_name
from ..labels import LIVER, TUMOR
from ..method import digest_voxels
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from ..tables import Reading, Record, Source, find_sources, read_manifest, spread_samples
from .overview import draw_overview
from .page import PICTURE_MARKS, save_figure
from .panels import REAL_TUMOR, Panel, Side
from .sheets import Sheet, crop_thumbnail, draw_sheet, has_real_tumors
from .views import read_fitting, to_lps

GRID = 10  # samples on the overview

_Find = Callable[[Sequence[Record]], Mapping[str, Source]]  # finds the scan of each case
_AS_RECORDED = partial(find_sources, images=None, masks=None)


@dataclass(frozen=True, slots=True)
class Preview:
    """What was drawn: files, samples that failed, and samples drawn without their healthy scan (sample, reason)."""

    folder: Path
    overview: Path
    sheets: tuple[Path, ...]
    failures: tuple[Failure, ...]
    without_healthy: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """What a worker returns for a sample."""

    record: Record
    path: Path
    panel: Panel
    missing: str
    tells_real: bool


def preview_dataset(
    folder: Path,
    output: Path | None = None,
    *,
    count: int = 10,
    images: Path | None = None,
    masks: Path | None = None,
    reading: Reading | None = None,
    jobs: int = -1,
    start: Start = no_progress,
) -> Preview:
    """Draw sheets of `count` samples, spread evenly over a dataset (all of them if negative), and its overview.

    They go to `output`, by default the folder `preview` of the dataset. The healthy scans are those that the manifest
    names, or those of the folders `images` and `masks`; they are read as the manifest says, unless `reading` says
    otherwise. If a scan is missing, or is not the one that the sample was made from, the sheet shows the synthetic
    side alone and says so.

    Raises
    ------
    TumorgenError
        The folder holds no dataset of tumorgen, its manifest cannot be read or is empty, or the output folder cannot
        be used.
    """
    dataset = find_written_dataset(folder)
    refuse_without_raw(dataset.folder)
    output = (output or dataset.pictures).absolute()
    _refuse_training_folders(output, dataset)
    find = partial(find_sources, images=images, masks=masks, reading=reading)
    find([])
    records = read_manifest(dataset.manifest)
    if not records:
        raise TumorgenError(f"{dataset.manifest}: lists no samples, so there is nothing to draw")
    refuse_unwritable(output, "choose another --output")
    chosen = spread_samples([record.plan.sample for record in records], count)
    pictures = (OVERVIEW, *map(_picture_of, chosen))
    refuse_foreign_files(output, dict.fromkeys(pictures, PICTURE_MARKS), "choose another --output")
    work = partial(_draw, dataset=dataset, output=output, find=find)
    cases = [_case(record) for record in records if record.plan.sample in chosen]
    drawn, failures = split_failures(map_cases(work, cases, jobs, start=start))
    told = [each.tells_real for each in drawn if has_real_tumors(each.record)]
    save_figure(draw_overview(folder.resolve().name, records, _grid(drawn), told), output / OVERVIEW)
    return Preview(
        output,
        output / OVERVIEW,
        tuple(d.path for d in drawn),
        failures,
        tuple((d.record.plan.sample, d.missing) for d in drawn if d.missing),
    )


def _refuse_training_folders(output: Path, dataset: Dataset) -> None:
    """Refuse to draw into the folders in which nnU-Net takes every file for a case."""
    here = output.resolve()
    for training in (dataset.images.resolve(), dataset.labels.resolve()):
        if here == training or training in here.parents:
            raise TumorgenError(f"{output}: is a folder of cases, which may hold nothing else; choose another")


def _draw(record: Record, dataset: Dataset, output: Path, find: _Find) -> _Drawn:
    """Draw one sample's sheet."""
    sheet = read_sheet(dataset, record, find)
    path = output / _picture_of(record.plan.sample)
    save_figure(draw_sheet(sheet), path)
    return _Drawn(record, path, crop_thumbnail(sheet), sheet.missing, sheet.tells_real)


def _picture_of(sample: str) -> str:
    """The file of a sample's sheet."""
    return f"{safe_name(sample)}.png"


def _case(record: Record) -> Case[Record]:
    """A sample to draw; its name and the files of its scan are its own."""
    files = (record.files.source_image, record.files.source_mask) if record.files else ()
    return Case(record, record.plan.sample, about=(record.plan.sample, *files))


def read_sheet(dataset: Dataset, record: Record, find: _Find = _AS_RECORDED) -> Sheet:
    """Read what a sample's sheet shows, and turn it for display; `find` knows where healthy scans are.

    Raises
    ------
    TumorgenError
        Image or label of the sample is missing or unreadable, or they do not lie on the same grid.
    """
    image_file = dataset.image(record.plan.sample)
    image = read_volume(image_file)
    label = read_fitting(dataset.label(record.plan.sample), image.geometry, image_file)
    try:
        healthy, missing = _read_healthy(record, image, find), ""
    except TumorgenError as error:
        healthy, missing = None, str(error)
    turned, outlines = to_lps(image), to_lps(label).array
    seen = outlines >= LIVER
    liver = bounding_box(seen if seen.any() else np.ones_like(seen))
    if healthy is not None and healthy.label is not None and has_real_tumors(record):
        there = healthy.label == TUMOR
        healthy = Side(healthy.image, np.where(there, REAL_TUMOR, healthy.label))
        outlines = np.where(there & (outlines == TUMOR), REAL_TUMOR, outlines)
    return Sheet(record, turned.geometry, liver, Side(turned.array, outlines), healthy, missing)


def _read_healthy(record: Record, synthetic: Volume, find: _Find) -> Side:
    """Read the healthy scan and its liver mask.

    Raises
    ------
    TumorgenError
        The scan is not known, missing or unreadable, or is not the one that the sample was made from.
    """
    source = find([record])[record.plan.case]
    image, mask = read_volume(source.image, source.trust), read_mask(source.mask, source.labels, source.trust)
    if digest_voxels(image.array, image.geometry) != record.plan.source_image_sha256:
        raise TumorgenError(f"{source.image}: is not the image that the sample was made from (SHA-256 differs)")
    for path, volume in ((source.image, image), (source.mask, mask)):
        difference = synthetic.geometry.difference(volume.geometry)
        if difference:
            raise TumorgenError(f"{path}: does not fit the sample: {difference}")
    return Side(to_lps(image).array, to_lps(mask).array.astype(np.uint8))


def _grid(drawn: Sequence[_Drawn]) -> list[tuple[Record, Panel]]:
    """Pictures of a few samples for the overview, spread evenly over those that were drawn."""
    chosen = spread_samples([d.record.plan.sample for d in drawn], GRID)
    return [(d.record, d.panel) for d in drawn if d.record.plan.sample in chosen]
