"""`tumorgen merge`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural, typed

from .datasets import DATASET
from .options import COPIES, NewDataset
from .verbosity import say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.dataset import Dataset
    from tumorgen.generation import MergeReport


@click.command(
    epilog="""\b
Examples:
  tumorgen merge nnUNet_raw/Dataset501_SynthLiver
\b
  for i in 1 2 3 4; do tumorgen synth --shard $i/4 & done; wait
  tumorgen merge nnUNet_raw/Dataset501_SynthLiver"""
)
@click.argument("dataset", type=DATASET)
@telling
def merge(dataset: Path) -> None:
    """Make one dataset of what `synth --shard` has written: manifest, dataset.json, splits.

    DATASET is a folder, or the name or number of a dataset in $nnUNet_raw (or ./nnUNet_raw). Once all shards are
    finished it holds what one run would have written. Until then the command merges what is there, lists what is
    missing, and exits with 1.

    A run without shards that was killed or crashed is repaired: what is whole is kept and described. What the run has
    not made is not known here, so the command says that it was interrupted, and exits with 1.
    """
    from tumorgen.dataset import find_dataset
    from tumorgen.generation import merge_shards

    merged = merge_shards(find_dataset(dataset), copies=COPIES)
    missing = {str(shard): len(samples) for shard, samples in merged.missing.items()}
    samples = len(merged.report.entries)
    sum_up(dataset=dataset, samples=samples, missing=missing, interrupted=merged.interrupted)
    click.echo(f"{dataset}: {plural(samples, 'sample')} in the manifest")
    for note in merged.report.notes:
        say_note(note)
    _stop_unless_whole(merged)
    if merged.untouched:
        say_note("it has no shards, so nothing was merged; if a run left samples unmade, that run's command makes them")
    _print_next_steps(merged.report.dataset, is_whole=not merged.untouched)


def _stop_unless_whole(merged: MergeReport) -> None:
    """Say what is missing, and end with exit code 1; nothing where all is there."""
    if merged.interrupted:
        count = len(merged.report.entries)
        click.echo(
            f"{merged.report.dataset.folder}: an interrupted run was repaired, {plural(count, 'sample')}"
            f" {'is' if count == 1 else 'are'} whole; run its command again to make the rest",
            err=True,
        )
        sys.exit(1)
    for shard, samples in merged.missing.items():
        cases = Counter(case for case, _ in samples)
        most = [f"{count} of {case}" for case, count in cases.most_common(3)]
        if len(cases) > len(most):
            most.append("...")
        click.echo(f"missing: shard {shard}: {plural(len(samples), 'sample')} ({', '.join(most)})", err=True)
    if merged.missing:
        click.echo(
            "Run the commands of these shards again, then merge again; a scan that cannot be made is given up with"
            f" `tumorgen remove {typed(merged.report.dataset.folder)} --case SCAN`.",
            err=True,
        )
        sys.exit(1)


def _print_next_steps(dataset: Dataset, *, is_whole: bool = True) -> None:
    """Say what makes a training of the dataset if it is known to be whole; on a test set none is trained."""
    from tumorgen.dataset import TRAINING

    named = NewDataset.of_folder(dataset.folder)
    if named and dataset.part == TRAINING and is_whole:
        named.say_next(dataset.folder)
    else:
        click.echo(f"next:\n  tumorgen verify {typed(dataset.folder)}")
