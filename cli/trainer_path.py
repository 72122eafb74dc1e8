"""`tumorgen trainer-path`."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(
    epilog="""\b
Examples:
  tumorgen trainer-path                                    # prints the folder
  export nnUNet_extTrainer=$(tumorgen trainer-path)
  nnUNetv2_train 502 3d_fullres 0 -tr nnUNetTrainerTumorgen"""
)
def trainer_path() -> None:
    """Print the folder of nnUNetTrainerTumorgen, for the environment variable nnUNet_extTrainer."""
    import tumorgen

    click.echo(Path(tumorgen.__file__).resolve().parent / "training" / "trainers")
