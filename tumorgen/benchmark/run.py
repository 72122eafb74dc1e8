"""A run of the robustness benchmark: a test set of nnU-Net's with one variant of each scan for every dial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..dataset.lock import locked
from ..dataset.raw import BENCHMARK, Dataset
from ..errors import TumorgenError
from ..generation.run import Report, begin, outstanding, synth
from ..generation.space import needed_bytes, refuse_without_room
from ..imaging.files import whole_file
from ..method.settings import Settings, dump_toml, load_toml
from ..tables.manifest import Record
from ..tables.sources import Source
from .dials import Benchmark, benchmark_sampler

LEVELS = BENCHMARK
CLIPPED = 0.1  # of a tumour cut off by the liver's edge: worth telling


def robustness(
    sources: Sequence[Source],
    dataset: Dataset,
    benchmark: Benchmark,
    settings: Settings,
    *,
    seed: int = 0,
    jobs: int = -1,
    force: bool = False,
    copies: Path | None = None,
    start: Callable[[int], Callable[[int], None]] = lambda total: lambda step: None,  # noqa: ARG005
) -> Report:
    """Write a control and a variant for every level of every dimension, of each scan; what is there already is kept.

    Parameters
    ----------
    sources, dataset, benchmark, settings, seed
        What is made, and where: the benchmark says what the tumour is, the settings which steps make it.
    jobs
        Number of processes.
    force
        Begin even where the disk has not the room.
    copies
        Folder that gets copies of the manifest.
    start
        Called with the number of samples to make; returns what is called as they are done.

    Raises
    ------
    TumorgenError
        As `synth`; or the folder holds a benchmark of other levels.
    """
    dials = benchmark.dials()
    todo = outstanding(sources, dataset, settings, seed=seed, per_scan=len(dials))
    _refuse_other_levels(dataset, benchmark)
    if not force:
        refuse_without_room(dataset.folder, needed_bytes(sources, todo.wanted))
    with locked(dataset.folder):
        begin(dataset, settings)
        with whole_file(dataset.folder / LEVELS, parents=False) as partial_file:
            partial_file.write_text(dump_toml(benchmark), encoding="utf-8")
    return synth(
        sources,
        dataset,
        settings,
        seed=seed,
        per_scan=len(dials),
        jobs=jobs,
        force=True,  # asked above
        copies=copies,
        sampler=partial(benchmark_sampler, benchmark),
        dials=dials,
        start=start,
    )


def _refuse_other_levels(dataset: Dataset, benchmark: Benchmark) -> None:
    path = dataset.folder / LEVELS
    if path.exists() and load_toml(Benchmark, path) != benchmark:
        raise TumorgenError(
            f"{dataset.folder}: was begun with other levels or another default tumour ({LEVELS}); continue with those,"
            " or choose another --dataset-id, --name or --output"
        )


@dataclass(frozen=True, slots=True)
class Departure:
    """Samples of one level whose tumour the liver's edge cut, or that vessels run through."""

    dimension: str
    level: str
    samples: int
    clipped: int
    on_vessels: int


def departures(records: Sequence[Record]) -> list[Departure]:
    """Levels at which a tumour was not what was dialled, in the order of the variants.

    Counted are tumours of which the liver's edge cut off more than a tenth, and those that found no place, or not one
    large enough, clear of vessels.
    """
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.dial and record.plan.tumors:
            found.setdefault((record.dial.dimension, record.dial.level), []).append(record)
    told = [
        Departure(
            dimension,
            level,
            len(mine),
            sum(any(o is not None and o.clipped_fraction > CLIPPED for o in r.outcomes) for r in mine),
            sum("vessels_unavoidable" in r.plan.notes.split() for r in mine),
        )
        for (dimension, level), mine in found.items()
    ]
    return [departure for departure in told if departure.clipped or departure.on_vessels]
