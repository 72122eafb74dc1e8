"""Tables of lesions whose statistics are drawn, as `lesion_frame` makes them of measured ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tumorgen.evaluation.scores import radius_bin
from tumorgen.realism.comparing import APPEARANCE, SHAPE


def lesions(seed: int, count: int = 80, patients: int = 8, name: str = "p", **shifts: float) -> pd.DataFrame:
    """Lesions dealt out to patients, their statistics normal but for shifts in standard deviations."""
    rng = np.random.default_rng(seed)
    names = [f"{name}{number % patients}" for number in range(count)]
    radii = rng.uniform(3, 12, count)
    frame = pd.DataFrame({statistic: rng.standard_normal(count) for statistic in (*APPEARANCE, *SHAPE)})
    frame = frame.assign(host=names, scan=names, patient=names, radius_mm=radii, weight=1.0)
    for statistic, shift in shifts.items():
        frame[statistic] += shift
    return frame.assign(radius_bin=[radius_bin(radius) for radius in radii])
