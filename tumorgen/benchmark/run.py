"""A run of the robustness benchmark: a test set of nnU-Net's with one variant of each scan for every dial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from ..dataset import BENCHMARK, Dataset, is_only_begun
from ..errors import TumorgenError
from ..fields import dump_toml, load_toml
from ..generation import Run, RunReport, synthesize_dataset
from ..tables import Record
from .dials import Benchmark, benchmark_sampler

CLIPPED = 0.1  # of a tumour cut off by the liver's edge: worth a note


def benchmark_run(run: Run, benchmark: Benchmark) -> Run:
    """The run that makes a benchmark, of a run of ordinary samples (`make_benchmark`).

    Raises
    ------
    TumorgenError
        The folder holds a benchmark of other levels.
    """
    _refuse_other_levels(run.dataset, benchmark)
    dials = benchmark.dials()
    return replace(
        run,
        per_scan=len(dials),
        sampler=partial(benchmark_sampler, benchmark),
        dials=dials,
        descriptions={BENCHMARK: dump_toml(benchmark)},
    )


def make_benchmark(run: Run, benchmark: Benchmark) -> RunReport:
    """Write a control and a variant for every level of every dimension, of each scan; what is there already is kept.

    Parameters
    ----------
    run
        Scans, dataset (a test set), and how the work is done. Its settings say which steps make the tumours; how many
        variants there are, and how they are drawn, follows from the benchmark.
    benchmark
        The default tumour, and the levels of each dimension.

    Raises
    ------
    TumorgenError
        The folder holds a benchmark of other levels, another dataset or one of other settings or versions; another run
        writes to it; it cannot be written to, or its disk does not have enough room; or two scans have one name.
    """
    return synthesize_dataset(benchmark_run(run, benchmark))


def _refuse_other_levels(dataset: Dataset, benchmark: Benchmark) -> None:
    path = dataset.folder / BENCHMARK
    if path.exists() and not is_only_begun(dataset) and load_toml(Benchmark, path) != benchmark:
        raise TumorgenError(
            f"{dataset.folder}: was begun with other levels or another default tumour ({BENCHMARK}); continue with"
            " those, or choose another --dataset-id, --name or --output"
        )


@dataclass(frozen=True, slots=True)
class Departure:
    """Samples of one level whose tumour the liver's edge cut, or that vessels run through."""

    dimension: str
    level: str
    samples: int
    clipped: int
    on_vessels: int


def find_departures(records: Sequence[Record]) -> list[Departure]:
    """Levels at which a tumour was not what was dialled, in the order of the variants.

    Counted are tumours of which the liver's edge cut off more than a tenth, and those that found no place, or not one
    large enough, clear of vessels.
    """
    found: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.dial and record.plan.tumors:
            found.setdefault((record.dial.dimension, record.dial.level), []).append(record)
    found_at = [
        Departure(
            dimension,
            level,
            len(mine),
            sum(any(o is not None and o.clipped_fraction > CLIPPED for o in r.outcomes) for r in mine),
            sum("vessels_unavoidable" in r.plan.notes.split() for r in mine),
        )
        for (dimension, level), mine in found.items()
    ]
    return [departure for departure in found_at if departure.clipped or departure.on_vessels]
