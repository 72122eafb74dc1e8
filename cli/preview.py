"""`tumorgen preview`."""

import click


@click.command("preview")
def preview() -> None:
    """Not written yet."""
    raise click.ClickException("not written yet")
