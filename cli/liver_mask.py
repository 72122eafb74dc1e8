"""`tumorgen liver-mask`."""

import click


@click.command("liver-mask")
def liver_mask() -> None:
    """Not written yet."""
    raise click.ClickException("not written yet")
