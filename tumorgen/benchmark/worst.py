"""Worst cases: where an evaluation went worst, and plans of new samples around there (the paper's section 5.5).

A cell is what a benchmark has dialled to a level; of any other dataset, a size class. Cells are ranked by the mean
tumour DSC of their scored samples, the lowest first; of two alike the one with the lower sensitivity is worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.random import Generator

from ..errors import Failure, LeftOutError, TumorgenError
from ..evaluation import CaseScore, level_number, read_evaluation
from ..imaging import refuse_foreign_files, refuse_unwritable
from ..method import (
    MuRange,
    Plan,
    Range,
    Scan,
    Settings,
    Size,
    apply_switches,
    count_clear,
    draw_plan,
    draw_tumor,
    least_radius_mm,
    move_to_candidate,
    mu_range,
    plan_for,
    render_labelled,
    sample_name,
)
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from ..seeds import stable_rng
from ..tables import (
    Dial,
    Record,
    Source,
    Sources,
    find_sources,
    read_entries,
    read_manifest,
    tumors_path,
    write_manifest,
)
from .dials import CONTROL, DIALS, DIMENSIONS, LOCATION
from .references import refuse_other_references
from .regions import BEST, REGIONS, Regions, find_site, is_clear

SIZE_CLASS = "size_class"
_MARKS = ("source_image_sha256", "dimension", "level")  # what the tables that are written here hold
_TUMOR_MARKS = ("sample", "center_x_mm", "volume_mm3")
_DRAWS = 20  # of a sample, before its cell counts as too small for the scan


@dataclass(frozen=True, slots=True)
class Cell:
    """What a model did where one thing was dialled to one level.

    Attributes
    ----------
    dial
        The dimension (or `size_class`) and its level.
    cases
        How many scored samples the figures rest on.
    tumor_dsc
        Their mean tumour DSC.
    sensitivity
        The share of their lesions that any predicted voxel overlaps; nan where they have none.
    """

    dial: Dial
    cases: int
    tumor_dsc: float
    sensitivity: float


@dataclass(frozen=True, slots=True)
class Aim:
    """What new samples are drawn around: a cell, the radius its tumours have, and how far a number may be jittered."""

    dial: Dial
    radius_mm: float
    around: Range = (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class WorstCases:
    """Which evaluation is looked into, and which new samples are planned.

    Attributes
    ----------
    evaluation
        The folder that `evaluate` wrote.
    manifest, output
        Table of the samples that were evaluated, and of the new ones. Beside each stands its table of tumours.
    settings
        What is drawn of all that is not dialled.
    count, cells
        How many samples are planned, around how many of the worst cells.
    seed
        Seed of everything drawn.
    sources
        The scans of the new samples; by default those of the manifest, which must not have changed.
    """

    evaluation: Path
    manifest: Path
    output: Path
    settings: Settings
    _: KW_ONLY
    count: int = 100
    cells: int = 3
    seed: int = 0
    sources: Sequence[Source] = ()


@dataclass(frozen=True, slots=True)
class _Share:
    """The new samples of a scan: the plan that pins the scan, if one does, and the number of each sample's cell."""

    source: Source
    pinned: Plan | None
    cells: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WorstReport:
    """What was found and planned: every cell, the worst first; of how many the samples are; and what failed."""

    cells: tuple[Cell, ...]
    worst: int
    records: tuple[Record, ...]
    failures: tuple[Failure, ...]
    unscored: int


def plan_worst(wanted: WorstCases, *, jobs: int = -1, start: Start = no_progress) -> WorstReport:
    """Plan new samples around the worst cells of an evaluation and write their manifest.

    Parameters
    ----------
    wanted
        The evaluation, and which samples are planned.
    jobs
        Number of processes.
    start
        Called with the number of scans; returns what is called as they are done.

    Raises
    ------
    TumorgenError
        A table cannot be used or written, none of the cases is in the manifest or scored, they are another dataset's,
        or a scan is not known.
    """
    manifest = wanted.manifest
    _refuse_output(wanted.output, manifest)
    records = read_manifest(manifest)
    scores = {case.case: case for case in read_evaluation(wanted.evaluation).cases}
    ranked = rank_cells(records, scores)
    if not ranked:
        raise TumorgenError(
            f"{wanted.evaluation}: has no scored case with a tumour that {manifest} lists; another dataset's?"
        )
    refuse_other_references(wanted.evaluation, manifest, records, scores)
    aims = [find_aim(cell.dial, records) for cell in ranked[: wanted.cells]]
    work = partial(_plan_scan, aims=aims, settings=wanted.settings, seed=wanted.seed)
    of_scans, failures = split_failures(map_cases(work, _find_work(wanted, records, len(aims)), jobs, start=start))
    planned, left_out = split_failures(record for of_scan in of_scans for record in of_scan)
    if planned:
        write_manifest(planned, wanted.output, parents=True)
    unscored = sum(record.plan.sample not in scores or not scores[record.plan.sample].scored for record in records)
    return WorstReport(tuple(ranked), len(aims), tuple(planned), failures + left_out, unscored)


def _refuse_output(output: Path, manifest: Path) -> None:
    """Refuse, before the work, tables that cannot be written, those of samples that are made, and those of others."""
    remedy = "choose another --output"
    if output.resolve() in (manifest.resolve(), tumors_path(manifest).resolve()):
        raise TumorgenError(f"{output}: is the manifest of the samples that were evaluated; {remedy}")
    refuse_unwritable(output.parent, remedy)
    refuse_foreign_files(output.parent, {output.name: _MARKS, tumors_path(output).name: _TUMOR_MARKS}, remedy)
    if any(entry.is_written for entry in read_entries(output)):
        raise TumorgenError(f"{output}: is the manifest of samples that have been made, and stays as it is; {remedy}")


def _find_work(wanted: WorstCases, records: Sequence[Record], cells: int) -> list[Case[_Share]]:
    """For each scan the new samples that it gets."""
    pinned = {record.plan.case: record.plan for record in records} if not wanted.sources else {}
    sources = list(wanted.sources) or [s for _, s in sorted(find_sources(records, None, None).items())]
    shares = share_out_samples(wanted.count, cells, len(sources))
    return [
        Case(_Share(s, pinned.get(s.case), tuple(share)), s.case, len(share), (str(s.image), str(s.mask)))
        for s, share in zip(sources, shares, strict=True)
    ]


def cell_of(record: Record) -> Dial:
    """The cell that a sample lies in."""
    return record.dial if record.dial and record.dial.dimension else Dial(SIZE_CLASS, record.plan.size_class)


def rank_cells(records: Sequence[Record], scores: Mapping[str, CaseScore]) -> list[Cell]:
    """Cells by how a model did there, the worst first; of samples with a tumour and a defined score alone."""
    groups: dict[Dial, list[CaseScore]] = {}
    for record in records:
        score = scores.get(record.plan.sample)
        if score and score.scored and record.plan.tumors and not math.isnan(score.tumor_dsc):
            groups.setdefault(cell_of(record), []).append(score)
    groups.pop(CONTROL, None)
    cells = [_cell(dial, mine) for dial, mine in groups.items()]
    return sorted(
        cells, key=lambda c: (c.tumor_dsc, 1.0 if math.isnan(c.sensitivity) else c.sensitivity, *_order(c.dial))
    )


def _cell(dial: Dial, scores: Sequence[CaseScore]) -> Cell:
    lesions = sum(score.lesions for score in scores)
    found = sum(score.detected_any for score in scores) / lesions if lesions else math.nan
    return Cell(dial, len(scores), sum(score.tumor_dsc for score in scores) / len(scores), found)


def _order(dial: Dial) -> tuple[int, float, str]:
    """Of cells that are equally bad: the dimensions in their order, low levels before high ones."""
    known = (*DIMENSIONS, dial.dimension)
    return known.index(dial.dimension), level_number(dial.level), dial.level


def find_aim(dial: Dial, records: Sequence[Record]) -> Aim:
    """What to draw around a cell: a number is jittered between its neighbouring levels, or to itself at an end.

    Raises
    ------
    TumorgenError
        A dimension or level that no tumour can be drawn for.
    """
    mine = [t.radius_mm for r in records if cell_of(r) == dial for t in r.plan.tumors]
    radius = float(np.median(mine))
    if dial.dimension == SIZE_CLASS or (dial.dimension == LOCATION and dial.level in REGIONS):
        return Aim(dial, radius)
    try:
        levels = sorted({float(r.dial.level) for r in records if r.dial and r.dial.dimension == dial.dimension})
    except ValueError:
        levels = []
    if dial.dimension not in DIALS or not levels:
        raise TumorgenError(f"no tumour can be drawn around {dial.dimension} {dial.level!r}")
    at = levels.index(float(dial.level))
    return Aim(dial, radius, (levels[max(0, at - 1)], levels[min(len(levels) - 1, at + 1)]))


def share_out_samples(count: int, cells: int, scans: int) -> list[list[int]]:
    """For each scan, which cell each of its samples is of.

    Cells, scans, and pairs of both get as many as others, give or take one.
    """
    shares: list[list[int]] = [[] for _ in range(scans)]
    for number in range(count):
        turn = number // math.lcm(cells, scans)  # after which the same pairs would come again
        shares[number % scans].append((number + turn) % cells)
    return shares


def _plan_scan(share: _Share, aims: Sequence[Aim], settings: Settings, seed: int) -> list[Record | Failure]:
    """New samples of one scan; those of a cell that it cannot hold are left out."""
    source = share.source
    scan = source.load(settings.vessels)
    if share.pinned:
        share.pinned.check_fits(scan.geometry, scan.image_sha256, scan.mask_sha256)
    regions = Regions.of(scan) if any(a.dial.dimension == LOCATION for a in aims) else None
    files = Sources(
        str(source.image.absolute()), str(source.mask.absolute()), *source.labels.cells, source.trusted_form
    )
    records: list[Record | Failure] = []
    for variant, number in enumerate(share.cells):
        try:
            plan = plan_labelled(scan, regions, aims[number], settings, seed, variant)
        except LeftOutError as error:
            records.append(Failure.of(error, sample_name(source.case, variant), about=(source.case,)))
            continue
        records.append(Record(plan, (None,) * len(plan.tumors), None, aims[number].dial, files))
    return records


def plan_labelled(scan: Scan, regions: Regions | None, aim: Aim, settings: Settings, seed: int, variant: int) -> Plan:
    """Plan of a new sample around a cell, drawn anew until a voxel is labelled with each tumour that is left.

    Raises
    ------
    LeftOutError
        None of some draws has such a tumour.
    TumorgenError
        The settings do not know the size class.
    """
    for attempt in range(_DRAWS):
        drawn = plan_around(scan, regions, aim, settings, seed, variant, attempt)
        plan, _ = render_labelled(scan, drawn)
        if plan.tumors or not drawn.tumors:
            return plan
    raise LeftOutError(
        f"no tumour around {aim.dial.dimension} {aim.dial.level} fills half of a voxel; voxels of"
        f" {max(plan.spacing_mm):g} mm hold tumours of {least_radius_mm(plan.spacing_mm):g} mm radius and more"
    )


def plan_around(
    scan: Scan, regions: Regions | None, aim: Aim, settings: Settings, seed: int, variant: int, attempt: int = 0
) -> Plan:
    """Plan of a new sample around a cell, with draws that no other command makes; others for each attempt.

    Of a benchmark's cell: one tumour, its dialled number jittered, or its place in the dialled region; all else drawn
    from the settings, of the size that the cell's tumours have. Of a size class: what `synth` draws of it.

    Raises
    ------
    TumorgenError
        The settings do not know the size class.
    """
    rng = stable_rng(seed, scan.case, "worst", variant, *([attempt] if attempt else []))
    if aim.dial.dimension == SIZE_CLASS:
        plan = draw_plan(scan, settings, rng, aim.dial.level)
    else:
        plan = _plan_dialled(scan, regions, aim, settings, rng)
    return replace(plan, seed=seed, variant=variant, sample=sample_name(scan.case, variant))


def _plan_dialled(scan: Scan, regions: Regions | None, aim: Aim, settings: Settings, rng: Generator) -> Plan:
    dimension, level = aim.dial.dimension, round(float(rng.uniform(*aim.around)), 4)
    draws, places = rng.spawn(2)
    size = near_class(settings, level if dimension == "size" else aim.radius_mm)
    mu = mu_range(settings, scan.mu_p_hu)
    if dimension == "shape":
        size = replace(size, sigma_e_mm=(level, level))
    if dimension == "intensity":
        mu = MuRange(scan.mu_p_hu + level, scan.mu_p_hu + level)
    if dimension == "texture":
        settings = replace(settings, texture=replace(settings.texture, eta=(level, level)))
    avoid = settings.vessels.avoid
    if regions is not None and dimension == LOCATION:
        site = find_site(regions, aim.dial.level, size.radius_mm, places, avoid=avoid)
    else:
        site = _anywhere(scan, size.radius_mm if avoid else None, places)
    tumor = apply_switches(
        move_to_candidate(scan, draw_tumor(settings, dimension, size, mu, scan.sigma_p_hu, draws), site), settings
    )
    notes = {"mu_t_lowered"} if mu.lowered else set()
    if avoid and not is_clear(scan, site, size.radius_mm):
        notes.add("vessels_unavoidable")
    return plan_for(scan, replace(settings, pattern="single"), mu, dimension, [tumor], requested=1, notes=notes)


def _anywhere(scan: Scan, radius_mm: float | None, rng: Generator) -> int:
    """A candidate of the liver, clear of vessels, or else of the tenth with the most clearance."""
    total = scan.candidates.size
    clear = total if radius_mm is None else count_clear(scan, radius_mm)
    return int(rng.integers(clear or max(1, total // BEST)))


def near_class(settings: Settings, radius_mm: float) -> Size:
    """The row of the size table that is nearest in size, scaled to a radius."""
    near = min(settings.classes.values(), key=lambda size: abs(math.log(size.radius_mm / radius_mm)))
    low, high = (edge * radius_mm / near.radius_mm for edge in near.sigma_e_mm)
    return Size(radius_mm, (1, 1), (low, high))
