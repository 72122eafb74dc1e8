"""`tumorgen merge`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click

from tumorgen.wording import plural

from .kinds import EXISTING_FOLDER
from .options import COPIES, NewDataset
from .verbosity import say_note, sum_up, telling


@click.command(
    epilog="""\b
Examples:
  tumorgen merge nnUNet_raw/Dataset501_SynthLiver
\b
  for i in 1 2 3 4; do tumorgen synth --shard $i/4 & done; wait
  tumorgen merge nnUNet_raw/Dataset501_SynthLiver"""
)
@click.argument("dataset", type=EXISTING_FOLDER)
@telling
def merge(dataset: Path) -> None:
    """Make one dataset of what `synth --shard` has written: manifest, dataset.json, splits.

    DATASET is the dataset's folder. Once all shards are finished it holds what one run would have written. Until then
    the command merges what is there, lists what is missing, and exits with 1.
    """
    from tumorgen.dataset import find_dataset
    from tumorgen.generation import merge_shards

    merged = merge_shards(find_dataset(dataset), copies=COPIES)
    missing = {str(shard): len(samples) for shard, samples in merged.missing.items()}
    sum_up(dataset=dataset, samples=len(merged.report.entries), missing=missing)
    click.echo(f"{dataset}: {plural(len(merged.report.entries), 'sample')} in the manifest")
    for note in merged.report.notes:
        say_note(note)
    for shard, samples in merged.missing.items():
        cases = Counter(case for case, _ in samples)
        most = [f"{count} of {case}" for case, count in cases.most_common(3)]
        if len(cases) > len(most):
            most.append("...")
        click.echo(f"missing: shard {shard}: {plural(len(samples), 'sample')} ({', '.join(most)})", err=True)
    if merged.missing:
        click.echo("Run the commands of these shards again, then merge again.", err=True)
        sys.exit(1)
    named = NewDataset.of_folder(dataset)
    if named:
        named.say_next(dataset)
    else:
        click.echo(f"next:\n  tumorgen verify {dataset}")
