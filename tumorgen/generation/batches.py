"""Batches of samples of one scan, each done by one process, and how the samples of a run are cut into them.

Large batches cost few preparations of scans, small ones keep every process busy to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise

from ..dataset import Dataset
from ..method import Plan, Scan, Settings, Vessels, draw_variant, measure_for
from ..tables import Dial, Source
from ..wording import typed

PREPARATION = 10.0  # samples; what preparing a scan costs, by `make bench`: 0.3 to 0.5 W against 0.03 to 0.1 W
OVERHEAD = 0.03  # samples; what a batch costs by itself, 5 to 8 ms: sent, answered, its thread pools held to one
LOSS = 0.1  # of a batch's samples; progress is reported in batches, and a process that is killed loses one
LARGEST_BATCH = 64  # samples
FEW = 4  # samples of a scan; they are done before a second process has started and prepared the scan, too

# Scan, settings and seed -> what draws a variant; so that what is measured in a scan for it is measured once.
Sampler = Callable[[Scan, Settings, int], Callable[[int], Plan]]


def ordinary_sampler(scan: Scan, settings: Settings, seed: int) -> Callable[[int], Plan]:
    """How `synth` draws variants of a scan."""
    return partial(draw_variant, measure_for(scan, settings), settings, seed)


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one scan for one process: variants to draw, or plans that are there already.

    Where `image_sha256` is given, the scan must still be that one: samples of it are in the dataset already. `dials`
    says what is dialled in a benchmark's samples, by their names; `patient` whose the scan is. `folders_made` says that
    the dataset's folders were made when the run began; then none is made again, so that a dataset that vanishes stays
    away.
    """

    source: Source
    dataset: Dataset
    vessels: Vessels
    settings: Settings = field(default_factory=Settings)
    seed: int = 0
    variants: tuple[int, ...] = ()
    plans: tuple[Plan, ...] = ()
    image_sha256: str | None = None
    mask_sha256: str | None = None
    sampler: Sampler = ordinary_sampler
    dials: Mapping[str, Dial] = field(default_factory=dict)
    patient: str = ""
    folders_made: bool = False

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.variants) + len(self.plans)

    @property
    def about(self) -> tuple[str, ...]:
        """What the reason of a failure may name that is this scan's own."""
        return (str(self.source.image), str(self.source.mask), f"--case {typed(self.source.case)}")


def split_batches(batches: Iterable[Batch], wanted: Mapping[str, Sequence[int]], jobs: int) -> list[Batch]:
    """Cut the batch of each scan into batches of its wanted variants, so small that every process has work."""
    batches = list(batches)
    size = batch_size([len(wanted[batch.source.case]) for batch in batches], jobs)
    return [replace(batch, variants=part) for batch in batches for part in cut_samples(wanted[batch.source.case], size)]


def useful_processes(counts: Sequence[int]) -> int:
    """How many processes have something to do, for scans of which `counts` samples are to be made.

    One, where a second would not have started before the first is done.
    """
    total = sum(counts)
    return 1 if total <= FEW and max(counts, default=0) == total else total


def batch_size(counts: Sequence[int], processes: int) -> int:
    """Samples a batch has at most, for scans of which `counts` samples are to be made: the size that ends soonest.

    Many scans with few samples become a batch each; a single scan with a thousand becomes many.
    """
    most = min(LARGEST_BATCH, max(counts, default=1))
    return min(range(1, most + 1), key=lambda size: (span(counts, processes, size), -size), default=1)


def span(counts: Sequence[int], processes: int, size: int) -> float:
    """Upper bound of how long batches of a size take, in samples' time: work / m + longest (1 - 1 / m) (Graham 1969).

    It holds for processes that take the next batch whenever they are free. One that goes on with the same scan need not
    prepare it again, so a scan costs at most a preparation a process.
    """
    batches = [-(-count // size) for count in counts]
    preparations = sum(min(number, processes) for number in batches)
    work = PREPARATION * preparations + OVERHEAD * sum(batches) + sum(counts)
    largest = min(size, max(counts, default=0))
    return work / processes + (PREPARATION + largest) * (1 - 1 / processes) + LOSS * largest


def cut_samples(samples: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """Samples in parts no longer than a size, their lengths equal, give or take one."""
    parts = -(-len(samples) // size)
    edges = [len(samples) * part // parts for part in range(parts + 1)] if parts else []
    return [tuple(samples[a:b]) for a, b in pairwise(edges)]
