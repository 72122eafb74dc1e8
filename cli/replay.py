"""`tumorgen replay`."""

import click


@click.command("replay")
def replay() -> None:
    """Not written yet."""
    raise click.ClickException("not written yet")
