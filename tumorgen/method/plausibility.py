"""What a liver can be: beyond some limits a mask is refused as none of a liver, beyond others it is doubtful."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError

LIVER_HU = (-50.0, 300.0)  # fatty without contrast to late arterial; outside it the values are not HU
MOST_SD_HU = 100.0  # of parenchyma, noise included: thin slices at a low dose have some 60
VOLUME_ML = (500.0, 4000.0)  # a child's liver to a very large one; the 95 % range of adults is about 900 to 2200
AIR_HU, MOST_AIR = -200.0, 0.05  # of seven livers that were outlined in real scans at most 0.1 % is as dark
MEAN_HU = (0.0, 200.0)  # severe steatosis without contrast, to the brightest hepatic phase

DOUBTS = {
    "volume_low": f"less than {VOLUME_ML[0]:g} ml",
    "volume_high": f"more than {VOLUME_ML[1]:g} ml",
    "hu_low": f"mean below {MEAN_HU[0]:g} HU",
    "hu_high": f"mean above {MEAN_HU[1]:g} HU",
}


def refuse_no_liver(mean_hu: float, sd_hu: float) -> None:
    """Refuse what is not as bright, or not as even, as the parenchyma of a liver.

    Raises
    ------
    TumorgenError
        The mean or the standard deviation is beyond what a liver has.
    """
    low, high = LIVER_HU
    if not low <= mean_hu <= high:
        found, has = f"mean in the liver mask is {mean_hu:.0f}", f"{low:g} to {high:g} HU"
    elif not sd_hu <= MOST_SD_HU:
        found, has = f"standard deviation in the liver mask is {sd_hu:.0f}", f"at most {MOST_SD_HU:g} HU"
    else:
        return
    raise TumorgenError(f"the {found}, but a liver has {has}; the mask is wrong, or the values are not HU")


def refuse_air(hu: NDArray[Any]) -> None:
    """Refuse voxels of a mask of which too many are lung or gas: mean and spread of the rest may be a liver's.

    Raises
    ------
    TumorgenError
        More than `MOST_AIR` of them are below `AIR_HU`.
    """
    share = np.count_nonzero(hu < AIR_HU) / hu.size
    if share > MOST_AIR:
        raise TumorgenError(
            f"{share:.0%} of the liver mask is lung or gas (below {AIR_HU:g} HU), but a liver has none; the mask"
            " is mirrored, shifted or of another scan"
        )


def doubt_liver(volume_ml: float, mean_hu: float) -> dict[str, str]:
    """What is not plausible about a liver's volume and mean, a sentence for each of `DOUBTS` that is true."""
    volume, brightness = f"the liver has {volume_ml:.0f} ml", f"the liver has {mean_hu:.0f} HU on average"
    wrong = {
        "volume_low": f"{volume}, less than {VOLUME_ML[0]:g}" if volume_ml < VOLUME_ML[0] else "",
        "volume_high": f"{volume}, more than {VOLUME_ML[1]:g}" if volume_ml > VOLUME_ML[1] else "",
        "hu_low": f"{brightness}, less than {MEAN_HU[0]:g}" if mean_hu < MEAN_HU[0] else "",
        "hu_high": f"{brightness}, more than {MEAN_HU[1]:g}" if mean_hu > MEAN_HU[1] else "",
    }
    return {doubt: why for doubt, why in wrong.items() if why}
