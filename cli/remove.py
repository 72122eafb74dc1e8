"""`tumorgen remove`."""

from __future__ import annotations

from pathlib import Path

import click

from tumorgen.wording import few, plural

from .datasets import DATASET
from .kinds import FILE
from .options import COPIES
from .verbosity import say_note, sum_up, telling


@click.command(
    epilog="""\b
Examples:
  tumorgen remove nnUNet_raw/Dataset501_SynthLiver --case liver_12
  tumorgen remove nnUNet_raw/Dataset501_SynthLiver --case liver_12 --case liver_40 --log-file removals.jsonl"""
)
@click.argument("dataset", type=DATASET)
@click.option("--case", "cases", multiple=True, required=True, help="Name of a scan; may be given several times.")
@click.option("--log-file", type=FILE, help="Append a JSON line per scan to it, with the time.")
@telling
def remove(dataset: Path, cases: tuple[str, ...], log_file: Path | None) -> None:
    """Take all samples of a scan out of a dataset: images, labels, rows, checksums, splits, pictures and audit.

    DATASET is a folder, or the name or number of a dataset in $nnUNet_raw (or ./nnUNet_raw). What is left is what a run
    of the other scans would have written. The scans themselves are not touched, nor is what nnU-Net has made of the
    dataset, nor are pictures, audits and studies in other folders.
    """
    from tumorgen.dataset import find_written_dataset
    from tumorgen.generation import INSTEAD, remove_cases

    done = remove_cases(find_written_dataset(dataset, INSTEAD), cases, copies=COPIES, log_file=log_file)
    sum_up(dataset=dataset, removed=done.removed, samples=len(done.report.entries))
    for case, count in done.removed.items():
        click.echo(f"{case}: {plural(count, 'sample')} removed")
    for note in done.report.notes:
        say_note(note)
    click.echo(f"{dataset}: {plural(len(done.report.entries), 'sample')} left")
    inputs = f" ({few(done.inputs)})" if done.inputs else ""
    say_note(
        f"a scan that is still among the inputs{inputs} is drawn into again by the next synth; what"
        " nnU-Net preprocessed or trained before still holds it; so do pictures, audits and studies in other folders"
    )
