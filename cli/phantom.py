"""`tumorgen phantom`."""

import click


@click.command("phantom")
def phantom() -> None:
    """Not written yet."""
    raise click.ClickException("not written yet")
