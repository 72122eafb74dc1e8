"""`tumorgen verify`."""

import click


@click.command("verify")
def verify() -> None:
    """Not written yet."""
    raise click.ClickException("not written yet")
