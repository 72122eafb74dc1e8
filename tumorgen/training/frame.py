"""What nnU-Net's plans make of every case: normalised HU, a target spacing, axes in another order.

Nothing here imports nnU-Net.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import Triple
from ..labels import LABELS
from ..method import Settings, draw_drafts, variant_class

_SAMPLES = 200  # that a share is estimated from


@dataclass(frozen=True, slots=True)
class Normalization:
    """nnU-Net's CT normalisation: clip to [low, high] HU, subtract the mean, divide by the standard deviation.

    It is undone up to the clipping: what was beyond low and high is at low and high.
    """

    mean_hu: float
    sd_hu: float
    low_hu: float
    high_hu: float

    @classmethod
    def of(cls, properties: Mapping[str, float]) -> Normalization:
        """Read the plans' `foreground_intensity_properties_per_channel` of the CT."""
        return cls(
            float(properties["mean"]),
            max(float(properties["std"]), 1e-8),  # as nnU-Net guards it
            float(properties["percentile_00_5"]),
            float(properties["percentile_99_5"]),
        )

    def to_hu(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """HU of normalised values."""
        return np.asarray(values, np.float32) * np.float32(self.sd_hu) + np.float32(self.mean_hu)

    def to_values(self, hu: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Normalised values of HU, clipped."""
        clipped = np.clip(np.asarray(hu, np.float32), np.float32(self.low_hu), np.float32(self.high_hu))
        return (clipped - np.float32(self.mean_hu)) / np.float32(self.sd_hu)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a configuration of nnU-Net's plans makes of every case.

    Attributes
    ----------
    normalization
        Normalisation of the CT.
    spacing_mm
        Target spacing along the transposed axes: three numbers, or the last two where slices keep their distance (2d).
    transpose
        nnU-Net's `transpose_forward`.
    """

    normalization: Normalization
    spacing_mm: tuple[float, ...]
    transpose: tuple[int, ...] = (0, 1, 2)

    @classmethod
    def of(cls, plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any]) -> Frame:
        """Read the frame of a configuration that tumours can be drawn in.

        Raises
        ------
        TumorgenError
            A cascade, another normalisation than CT's, or other labels than background, liver and tumor.
        """
        chosen = plans["configurations"][configuration]
        chosen = {**plans["configurations"].get(chosen.get("inherits_from"), {}), **chosen}
        if chosen.get("previous_stage"):
            raise TumorgenError(
                f"{configuration} is the second stage of a cascade, which cannot be trained with tumours drawn on the"
                " fly (the first stage has not seen them); train 3d_fullres or 3d_lowres"
            )
        if list(chosen["normalization_schemes"]) != ["CTNormalization"]:
            raise TumorgenError(
                f"tumours need one channel named CT, but the plans normalise with {chosen['normalization_schemes']}"
            )
        if dict(dataset_json["labels"]) != LABELS:
            raise TumorgenError(f"labels are {dataset_json['labels']}, not {LABELS}; make the dataset with `healthy`")
        return cls(
            Normalization.of(plans["foreground_intensity_properties_per_channel"]["0"]),
            tuple(float(s) for s in chosen["spacing"]),
            tuple(plans["transpose_forward"]),
        )

    def spacing_of(self, properties: Mapping[str, Any]) -> Triple:
        """Spacing of a preprocessed case, along its own axes."""
        full = [float(properties["spacing"][axis]) for axis in self.transpose]
        full[3 - len(self.spacing_mm) :] = self.spacing_mm
        return full[0], full[1], full[2]


def share_below_clipping(settings: Settings, mu_p_hu: float, sigma_p_hu: float, normalization: Normalization) -> float:
    """Estimate the share of tumours whose mean lies less than a standard deviation above the lower end of the clipping.

    They lose texture or even depth for the network, which sees every scan through the same clipping.
    """
    rng, parenchyma = np.random.default_rng(0), (mu_p_hu, sigma_p_hu)
    samples = [draw_drafts(settings, variant_class(settings, n), parenchyma, rng) for n in range(_SAMPLES)]
    drawn = np.array([tumor.mu_t_hu for sample in samples for tumor in sample])
    return float((drawn - sigma_p_hu < normalization.low_hu).mean())
