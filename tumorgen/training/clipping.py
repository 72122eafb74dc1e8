"""What nnU-Net's clipping does to tumours that are drawn after it, told before there are plans.

nnU-Net clips HU to the percentiles 0.5 and 99.5 of the foreground, of which it samples as many voxels of each case. Of
healthy scans that is liver: the cleaner the masks, the less fat is in it, and the more tumours reach below.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..labels import LIVER
from ..method import DEFAULT_RECIPE, load_recipe, measure_parenchyma, refuse_air, refuse_no_liver
from .frame import Normalization, share_below_clipping

_QUANTILES = (np.arange(2000) + 0.5) / 2000  # ten of them below 0.5 %
_CASES = 20  # that a share is estimated from
_SMALL = 0.05  # share of tumours that nothing is said of


@dataclass(frozen=True, slots=True)
class LiverHu:
    """HU of a case's liver: mean and standard deviation without outliers, and quantiles of all that is labelled."""

    mu_p_hu: float
    sigma_p_hu: float
    quantiles_hu: NDArray[np.float32]

    @classmethod
    def of(cls, hu: NDArray[Any], label: NDArray[Any]) -> LiverHu:
        """Measure a case.

        Raises
        ------
        TumorgenError
            What is labelled liver cannot be one.
        """
        liver_hu = hu[label == LIVER]
        mu_p, sigma_p = measure_parenchyma(liver_hu)
        refuse_no_liver(mu_p, sigma_p)
        refuse_air(liver_hu)
        return cls(mu_p, sigma_p, np.quantile(hu[label > 0], _QUANTILES).astype(np.float32))


def describe_clipping(livers: Sequence[LiverHu]) -> str:
    """Say which share of the default recipe's tumours nnU-Net would flatten, if it is not small; else nothing."""
    if not livers:
        return ""
    low, high = np.percentile(np.concatenate([liver.quantiles_hu for liver in livers]), (0.5, 99.5))
    clipping = Normalization(0.0, 1.0, float(low), float(high))
    settings, some = load_recipe(DEFAULT_RECIPE), livers[:: -(-len(livers) // _CASES)]
    share = np.mean([share_below_clipping(settings, each.mu_p_hu, each.sigma_p_hu, clipping) for each in some])
    if share < _SMALL:
        return ""
    return (
        f"nnU-Net will clip HU to about {low:.0f} to {high:.0f}, as these livers have them, and about {share:.0%} of"
        f" the tumours of recipe {DEFAULT_RECIPE} reach below that and lose their texture: widen the range in the plans"
        " before nnU-Net preprocesses (docs/training.md, Clipping)"
    )
