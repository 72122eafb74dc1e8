"""How much of everything: a table of settings, from a proof that the recipe runs to the model that is meant."""

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
    features, most_features, stages
        Channels of the first stage, doubled from stage to stage up to the most; number of stages.
    epochs, iterations
        Epochs, at most, and steps of each.
    minutes
        Time for training. Epochs that do not fit are not begun, and the learning rate falls accordingly.
    held_out_phantoms
        Phantoms and painted CTs, as many of each, to measure on.
    """

    painted: int
    phantoms: int
    copies: int
    spacing_mm: float
    patch: int
    batch: int
    features: int
    most_features: int
    stages: int
    epochs: int
    iterations: int
    minutes: float
    held_out_phantoms: int


SETTINGS = {
    "full": Setting(800, 80, 60, 3.5, 96, 4, 16, 160, 5, epochs=120, iterations=250, minutes=45, held_out_phantoms=8),
    "small": Setting(60, 6, 8, 4.0, 48, 2, 8, 64, 4, epochs=60, iterations=50, minutes=35, held_out_phantoms=2),
    "smoke": Setting(2, 1, 1, 6.0, 32, 2, 4, 8, 3, epochs=1, iterations=2, minutes=1, held_out_phantoms=1),
}
