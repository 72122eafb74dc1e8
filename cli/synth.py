"""`tumorgen synth`."""

import click


@click.command("synth")
def synth() -> None:
    """Not written yet."""
    raise click.ClickException("not written yet")
