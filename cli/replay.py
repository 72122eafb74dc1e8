"""`tumorgen replay`."""

from __future__ import annotations

from pathlib import Path

import click

from tumorgen.wording import plural

from .bars import progress
from .common import report_failures, report_left_out, report_without_voxel
from .datasets import MANIFEST
from .kinds import FOLDER
from .options import Folders, block, force_option, jobs_option
from .verbosity import say_note, sum_up, tell_step, telling


@click.command(
    epilog="""\b
Examples:
  tumorgen replay manifests/Dataset501_SynthLiver.csv --output again/
  tumorgen replay nnUNet_raw/Dataset501_SynthLiver --sample liver_01_v0003 --output one/
  tumorgen replay edited.csv --images ct/ --masks livers/ --output edited/    # rows of edited.tumors.csv, as edited"""
)
@click.argument("manifest", type=MANIFEST)
@click.option("--sample", "samples", multiple=True, help="Only this sample; may be given several times.")
@click.option("--output", type=FOLDER, required=True, help="Folder of the dataset to write, in nnU-Net's raw format.")
@block("folders", Folders)
@jobs_option
@force_option
@telling
def replay(manifest: Path, samples: tuple[str, ...], output: Path, folders: Folders, jobs: int, force: bool) -> None:
    """Render rows of a manifest again, to identical bits, from the rows and the scans alone.

    MANIFEST is a table of samples, whose tumours stand beside it in tumors.csv (or NAME.tumors.csv); or a dataset that
    has one: its folder, or its name or number in $nnUNet_raw (or ./nnUNet_raw). A row that was
    edited by hand renders as edited: centres are read from the columns in mm.
    """
    from tumorgen.dataset import Dataset
    from tumorgen.generation import Replay, describe_moved, replay_manifest
    from tumorgen.tables import read_manifest

    wanted = Replay(
        Dataset(output),
        manifest,
        samples=samples,
        images=folders.images,
        masks=folders.masks,
        reading=folders.reading,
        jobs=jobs,
        force=force,
        start=progress("replay", "sample"),
        check=progress("compare what an interrupted run left", "sample"),
        tell=tell_step,
    )
    report = replay_manifest(wanted)
    records = report.records
    for note in (*report.notes, *describe_moved(read_manifest(manifest), records)):
        say_note(note)
    sum_up(dataset=output, samples=len(report.entries), made=report.made)
    click.echo(f"{output}: {plural(len(report.entries), 'sample')}, {report.made} rendered now")
    report_left_out(report.entries)
    report_without_voxel(records)
    report_failures(report.failures, there=len(report.entries))
