"""The sizes of the recipe, as a table: from a proof that it runs to the full model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Setting:
    """A size of the recipe.

    Attributes
    ----------
    painted, phantoms, copies
        Training cases: painted CTs, phantoms, and variations of each real scan.
    spacing_mm, patch, batch
        Isotropic spacing at which the network works, voxels along an edge of a patch, patches of a step.
    features
        Channels of each stage.
    epochs, iterations
        Epochs, at most, and steps of each.
    minutes, tuning_minutes
        Time for training without real scans, and for continuing with them. Epochs that do not fit are not begun, and
        the learning rate falls accordingly.
    held_out
        Painted CTs to measure on, besides the phantoms; with 0, no phantom is measured either.
    """

    painted: int
    phantoms: int
    copies: int
    spacing_mm: float
    patch: int
    batch: int
    features: tuple[int, ...]
    epochs: int
    iterations: int
    minutes: float
    tuning_minutes: float
    held_out: int


_LARGE, _SMALL = (16, 32, 64, 128, 160), (8, 24, 48, 96, 128)
SETTINGS = {
    "full": Setting(800, 80, 60, 3.5, 96, 4, _LARGE, 120, 250, minutes=45, tuning_minutes=8, held_out=8),
    "small": Setting(400, 24, 40, 4.0, 64, 2, _SMALL, 200, 100, minutes=110, tuning_minutes=10, held_out=4),
    "smoke": Setting(2, 1, 1, 6.0, 16, 2, (4, 8, 8), 1, 2, minutes=1, tuning_minutes=1, held_out=0),
}
