"""`tumorgen healthy`."""

from __future__ import annotations

import click

from tumorgen.wording import plural

from .bars import progress
from .common import report_failures
from .options import AnyScans, NewDataset, block, jobs_option, new_dataset
from .verbosity import say_note, sum_up, telling


@click.command(
    epilog="""\b
Examples:
  tumorgen healthy                                         # the scans of manifests/scans.csv
  tumorgen healthy --images ct/ --masks livers/ --dataset-id 502
\b
Then train with tumours drawn on the fly:
  export nnUNet_extTrainer=$(tumorgen trainer-path)
  nnUNetv2_plan_and_preprocess -d 502 && nnUNetv2_train 502 3d_fullres 0 -tr nnUNetTrainerTumorgen"""
)
@block("scans", AnyScans)
@new_dataset(dataset_id=502, name="HealthyLiver")
@jobs_option
@telling
def healthy(scans: AnyScans, new: NewDataset, jobs: int) -> None:
    """Write healthy scans as an nnU-Net raw dataset for nnUNetTrainerTumorgen, which draws tumours while it trains.

    Labels are background, liver and tumor; no voxel is a tumour yet. Folds are grouped by patient (--patients),
    and by CT where one CT has several names. Running the same command again does only what is missing.
    """
    from tumorgen.tables import HOSTS, read_hosts
    from tumorgen.training import write_healthy_dataset

    dataset = new.dataset()
    sources, missing = scans.sources()
    patients = scans.name_patients(
        {s.case: s.study for s in sources},
        lambda: {case: row.patient for case, row in read_hosts(dataset.folder / HOSTS).items()},
    )
    written = write_healthy_dataset(
        sources, dataset, patients=patients, jobs=jobs, start=scans.telling(progress("healthy", "scan"))
    )
    sum_up(dataset=dataset.folder, scans=len(written.cases), made=written.made)
    kept = len(written.cases) - written.made
    click.echo(
        f"{dataset.folder}: {plural(len(written.cases), 'healthy scan')}, {written.made} written now"
        + (f", {kept} were there" if kept else "")
    )
    for note in written.notes:
        say_note(note)
    if written.cases:
        click.echo(
            f"next:\n  {new.export}export nnUNet_extTrainer=$(tumorgen trainer-path)\n"
            f"  nnUNetv2_plan_and_preprocess -d {new.dataset_id} &&"
            f" nnUNetv2_train {new.dataset_id} 3d_fullres 0 -tr nnUNetTrainerTumorgen"
        )
    report_failures([*missing, *written.failures], there=len(written.cases))
