"""Shards: a run divided among jobs of a batch scheduler, each with tables of its own in the dataset's folder.

    shards/division.json    what is divided, the same for all
    shards/2-of-8.csv       samples that the second of eight has made; 2-of-8.tumors.csv their tumours

A shard writes images, labels and its tables, and nothing else; `merge` makes a dataset of what they have written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from ..dataset import Dataset, select_complete, write_json
from ..errors import TumorgenError, as_unwritable
from ..imaging import remove_folder
from ..tables import Entry, join_entries, list_patients, read_entries, remove_manifest, select_whole

SHARDS = "shards"
DIVISION = "division.json"

Sample = tuple[str, int]  # case and variant
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of several equal shares of a run, counted from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """The shard's part of a list: contiguous, and as long as any other's, give or take one."""
        return items[len(items) * (self.number - 1) // self.count : len(items) * self.number // self.count]

    def manifest(self, dataset: Dataset) -> Path:
        """The shard's table of samples; that of its tumours lies beside it."""
        return dataset.folder / SHARDS / f"{self.number}-of-{self.count}.csv"


def parse_shard(text: str) -> Shard:
    """`2/8` as a shard.

    Raises
    ------
    TumorgenError
        It is not of that form, or not from 1/n to n/n.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    number, count = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= count:
        raise TumorgenError(f"--shard {text}: give number/count, from 1/8 to 8/8 for eight shards")
    return Shard(number, count)


@dataclass(frozen=True, slots=True)
class Division:
    """What is divided among shards. All of them share it, and what is missing follows from it.

    Attributes
    ----------
    shards
        Number of shards.
    seed, per_scan, val_per_scan
        Options of the run (`tumorgen.generation.run.Run`).
    cases
        Names of the scans, in order.
    """

    shards: int
    seed: int
    per_scan: int
    val_per_scan: int
    cases: tuple[str, ...]

    @property
    def all_shards(self) -> list[Shard]:
        """The shards."""
        return [Shard(number, self.shards) for number in range(1, self.shards + 1)]

    @property
    def samples(self) -> list[Sample]:
        """All samples, scan by scan."""
        return [(case, variant) for case in self.cases for variant in range(self.per_scan)]

    def missing(self, there: Iterable[Entry]) -> dict[Shard, list[Sample]]:
        """For each shard that is not finished, the samples of its share that are not there."""
        made = {(entry.case, entry.variant) for entry in there}
        samples = self.samples
        lacking = {
            shard: [sample for sample in shard.share(samples) if sample not in made] for shard in self.all_shards
        }
        return {shard: samples for shard, samples in lacking.items() if samples}


def read_division(dataset: Dataset) -> Division | None:
    """The division that the dataset's shards share; None if it has no shards.

    Raises
    ------
    TumorgenError
        The file cannot be read.
    """
    path = dataset.folder / SHARDS / DIVISION
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _checked(Division(**{**found, "cases": tuple(found["cases"])}))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TumorgenError(f"{path}: cannot be read ({error})") from error


def _checked(division: Division) -> Division:
    """Refuse numbers that are none, and so many shards or samples that going through them would not end."""
    for name, most in (("shards", 10**5), ("seed", 2**64), ("per_scan", 10**6), ("val_per_scan", 2**31)):
        value = getattr(division, name)
        if type(value) is not int or not 0 <= value <= most:
            raise ValueError(f"{name} is {str(value)[:40]}")
    for case in division.cases:
        if not isinstance(case, str):
            raise TypeError(f"a case is {str(case)[:40]}")
    return division


def refuse_other_division(dataset: Dataset, division: Division) -> None:
    """Hold a shard to what an earlier one has recorded.

    Raises
    ------
    TumorgenError
        The earlier one had another number of shards, other scans or other options.
    """
    before = read_division(dataset)
    for name, value in asdict(division).items():
        if before is not None and asdict(before)[name] != value:
            what = "the scans" if name == "cases" else f"{name} {getattr(before, name)}, now {value}"
            raise TumorgenError(
                f"{dataset.folder / SHARDS}: shards of another run are there ({what}); finish and merge that one first,"
                " or merge what it has made and remove this folder"
            )


def record_division(dataset: Dataset, division: Division) -> None:
    """Record what is divided, or hold this shard to what an earlier one has recorded.

    Raises
    ------
    TumorgenError
        The earlier one had another number of shards, other scans or other options, or it cannot be recorded.
    """
    refuse_other_division(dataset, division)
    with as_unwritable(dataset.folder / SHARDS):
        (dataset.folder / SHARDS).mkdir(exist_ok=True)
    write_json(asdict(division), dataset.folder / SHARDS / DIVISION)


def list_tables(dataset: Dataset) -> list[Path]:
    """The dataset's manifest and the tables of all shards, running ones included, whether they are there or not.

    Raises
    ------
    TumorgenError
        The file that says how the run is divided cannot be read.
    """
    division = read_division(dataset)
    return [dataset.manifest, *(shard.manifest(dataset) for shard in (division.all_shards if division else ()))]


def patients_there(dataset: Dataset) -> dict[str, str]:
    """The scans that a dataset and its shards have samples of, and the patient of each or nothing.

    Raises
    ------
    TumorgenError
        A table cannot be read.
    """
    there: dict[str, str] = {}
    for table in list_tables(dataset):
        for case, patient in list_patients(table).items():
            there[case] = there.get(case) or patient
    return there


def find_unmerged(dataset: Dataset, there: Iterable[Entry]) -> list[str]:
    """The whole samples of shards that are not among those of the manifest."""
    merged = {entry.sample for entry in there}
    tables = [table for table in list_tables(dataset) if table != dataset.manifest and table.exists()]
    if not tables:
        return []
    whole = select_whole(join_entries(*map(read_entries, tables)), tables)
    return [entry.sample for entry in select_complete(dataset, whole) if entry.sample not in merged]


def take_from_division(dataset: Dataset, cases: Collection[str]) -> None:
    """Let shards whose samples are all merged be of the other scans; no shard is running.

    Their tables go first, so that no later merge finds rows of these scans in them.

    Raises
    ------
    TumorgenError
        It cannot be written.
    """
    division = read_division(dataset)
    if division is None:
        return
    for shard in division.all_shards:
        remove_manifest(shard.manifest(dataset))
    left = replace(division, cases=tuple(case for case in division.cases if case not in cases))
    write_json(asdict(left), dataset.folder / SHARDS / DIVISION)


def remove_finished_shards(dataset: Dataset, there: Sequence[Entry]) -> dict[Shard, list[Sample]]:
    """Remove the tables of finished shards, whose samples are in the manifest; return what the others have not made.

    The table of an unfinished shard stays: that shard may be running.
    """
    division = read_division(dataset)
    if division is None:
        return {}
    missing = division.missing(there)
    if not missing:
        remove_folder(dataset.folder / SHARDS)
    for shard in set(division.all_shards) - set(missing):
        remove_manifest(shard.manifest(dataset))
    return missing
