"""Whether scans whose samples are all there are still those that the samples were made of.

A run reads a scan only to make samples of it, so a mask that was corrected since, or another CT, would pass without a
word where nothing is missing. The table of scans tells without a voxel being read; where it does not say that all is as
it was, the files are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..dataset import Dataset
from ..errors import Failure
from ..imaging import fingerprint_ct
from ..parallel import Case, Start, map_cases
from ..tables import UNSEEN, Entry, Source, stamps_of
from ..wording import plural, typed
from .batches import Batch
from .worker import refuse_changed


def compare_finished(
    finished: Mapping[str, Sequence[Entry]], batches: Sequence[Batch], jobs: int, start: Start
) -> tuple[list[Failure], list[str]]:
    """Scans that are others than those that their samples are of, as failures of these samples; and what was not read.

    Parameters
    ----------
    finished
        The samples that are there of each scan of which none is missing.
    batches
        Batches of these scans without samples, pinned to what the scans were.
    jobs, start
        Processes, and progress over the scans that are read (`map_cases`).
    """
    unknown, cases = 0, []
    for batch in batches:
        source, samples = batch.source, finished[batch.source.case]
        now = stamps_of(source.image, source.mask)
        if not _is_listed(source, samples[0], now):
            unknown += 1
        elif not _is_same(source, samples[0], now):
            cases.append(Case(batch, source.case, len(samples), batch.about))
    found = list(map_cases(_read_and_compare, cases, jobs, start=start)) if cases else []
    return [result for result in found if result], [describe_unread(batches[0].dataset, unknown)] if unknown else []


def describe_unread(dataset: Dataset, count: int) -> str:
    """Say that some scans were not read, since nothing was to be made of them, and what finds out if they changed."""
    return (
        f"{plural(count, 'scan')} whose samples are all there {'was' if count == 1 else 'were'} not read:"
        f" `tumorgen verify {typed(dataset.folder)}` finds out whether they have changed since"
    )


def _is_listed(source: Source, entry: Entry, now: str) -> bool:
    """Whether the table of scans and the sample's row say so much of a scan that they can be compared.

    Of one whose files are gone, by their stamps now, nothing can be said.
    """
    says = source.seen, source.fingerprint, source.mask_sha256, entry.source_fingerprint
    return all(says) and UNSEEN not in now.split()


def _is_same(source: Source, entry: Entry, now: str) -> bool:
    """Whether the table lists the files that are there now, and the scan that the sample is of."""
    listed, drawn = (source.fingerprint, source.mask_sha256), (entry.source_fingerprint, entry.source_mask_sha256)
    return source.seen == now and listed == drawn


def _read_and_compare(batch: Batch) -> None:
    scan = batch.source.load(batch.vessels)
    batch.source.refuse_other_scan(fingerprint_ct(scan.image.array))
    refuse_changed(batch, scan)
