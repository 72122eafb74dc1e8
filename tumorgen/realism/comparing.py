"""Two measured sets side by side: medians, 5 to 95 % bands, and the share of synthetic lesions inside the real band.

By radius (<5, 5-10, 10-20, >20 mm in plane) and over all sizes. A band of fewer than eight real lesions is shown, but
nothing is concluded from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd

from ..evaluation import RADIUS_BINS
from ..fields import About, columns
from ..seeds import stable_rng
from .appearance import Appearance
from .measuring import LesionPlace, MeasuredSet
from .shapes import LesionShape
from .weighting import Numbers, Weighted, interval_of, weigh_patients

BAND = (0.05, 0.5, 0.95)
LEAST_LESIONS = 8  # real ones in a bin, for a conclusion
ALL = "all"

APPEARANCE: Mapping[str, str] = {  # statistics of the table of intensities, and what they are called
    "contrast_hu": "contrast of the label, HU",
    "core_contrast_hu": "core contrast, HU",
    "contrast_over_sd": "contrast over ring SD",
    "rim_hu": "rim, HU",
    "rim_over_contrast": "rim over contrast",
    "outside_hu": "0 to 2 mm outside the label, HU",
    "edge_width_mm": "edge width, mm",
    "edge_middle_mm": "middle of the edge from the outline, mm",
    "lag1": "lag-1, inside minus ring",
    "sd_ratio": "SD inside over ring",
    "high_sd_ratio": "high-frequency SD ratio",
    "low_sd_ratio": "low-frequency SD ratio",
}
SHAPE: Mapping[str, str] = {
    "edge_share": "edge share",
    "depth": "depth over radius",
    "solidity": "solidity",
    "circularity": "circularity",
    "axis_ratio": "axis ratio in plane",
    "elongation": "elongation in 3D",
}
SCANS: Mapping[str, str] = {"lesions": "lesions per scan", "tumor_share": "tumour share of the liver"}
STATISTIC_NAMES = {**APPEARANCE, **SHAPE, **SCANS}

SHARES: Mapping[str, tuple[str, str, float]] = {  # name: what it is called, the statistic, and what it is above
    "brighter": ("brighter than parenchyma", "contrast_hu", 0.0),
    "edge_over_5": ("edge share over 5 %", "edge_share", 0.05),
    "edge_over_30": ("edge share over 30 %", "edge_share", 0.30),
}
IN_BIN = "in_bin"
SHARE_NAMES = {**{name: called for name, (called, _, _) in SHARES.items()}, IN_BIN: "share of all lesions"}


def _suffice(real: int, synthetic: int) -> bool:
    return real >= LEAST_LESIONS and synthetic > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A statistic of two sets in a bin of radii; quantiles and shares in which patients weigh alike per scan."""

    statistic: Annotated[str, About("what is compared: a column of lesions.csv or scans.csv")]
    radius_bin: Annotated[str, About("`<5`, `5-10`, `10-20`, `>20` or `all`", "mm")]
    real_count: Annotated[int, About("real lesions (scans, where scans are compared) that it was measured of")]
    real_patients: Annotated[int, About("their patients")]
    real_low: Annotated[float, About("5 % of the real ones lie below")]
    real_median: Annotated[float, About("median of the real ones")]
    real_high: Annotated[float, About("5 % of the real ones lie above")]
    real_median_from: Annotated[float, About("lower limit of that median's 95 % interval over patients")]
    real_median_to: Annotated[float, About("upper limit of the same")]
    synthetic_count: Annotated[int, About("synthetic lesions (scans) that it was measured of")]
    synthetic_patients: Annotated[int, About("their patients")]
    synthetic_low: Annotated[float, About("5 % of the synthetic ones lie below")]
    synthetic_median: Annotated[float, About("median of the synthetic ones")]
    synthetic_high: Annotated[float, About("5 % of the synthetic ones lie above")]
    synthetic_median_from: Annotated[float, About("lower limit of that median's 95 % interval over patients")]
    synthetic_median_to: Annotated[float, About("upper limit of the same")]
    inside: Annotated[float, About("share of the synthetic ones inside the real 5 to 95 % band; 0.90 would be perfect")]
    inside_from: Annotated[float, About("lower limit of its 95 % interval over patients of both sets")]
    inside_to: Annotated[float, About("upper limit of the same")]

    @property
    def conclusive(self) -> bool:
        """Whether there are enough real lesions, and any synthetic ones, for a conclusion."""
        return _suffice(self.real_count, self.synthetic_count)

    @property
    def median_inside(self) -> bool:
        """Whether the synthetic median lies in the real band."""
        return self.real_low <= self.synthetic_median <= self.real_high


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareComparison:
    """How many lesions of two sets are of some kind, in a bin of radii."""

    share: Annotated[str, About("what is counted")]
    radius_bin: Annotated[str, About("`<5`, `5-10`, `10-20`, `>20` or `all`", "mm")]
    real_count: Annotated[int, About("real lesions that it is a share of")]
    real: Annotated[float, About("share of the real ones")]
    real_from: Annotated[float, About("lower limit of its 95 % interval over patients")]
    real_to: Annotated[float, About("upper limit of the same")]
    synthetic_count: Annotated[int, About("synthetic lesions that it is a share of")]
    synthetic: Annotated[float, About("share of the synthetic ones")]
    synthetic_from: Annotated[float, About("lower limit of its 95 % interval over patients")]
    synthetic_to: Annotated[float, About("upper limit of the same")]

    @property
    def conclusive(self) -> bool:
        """Whether there are enough real lesions, and any synthetic ones, for a conclusion."""
        return _suffice(self.real_count, self.synthetic_count)


def lesion_frame(found: MeasuredSet, *, aligned: bool = False) -> pd.DataFrame:
    """A row for each lesion of a set: its place, shape, look, and its `weight`; in the order of the set.

    `aligned` says whether it is the look with the outline moved to the middle of the edge.
    """
    kinds = (LesionPlace, LesionShape, Appearance)
    parts = [(lesion.place, lesion.shape, lesion.aligned if aligned else lesion.appearance) for lesion in found.lesions]
    named = {name: number for number, kind in enumerate(kinds) for name in columns(kind)}
    frame = pd.DataFrame({name: [getattr(part[number], name) for part in parts] for name, number in named.items()})
    return _weigh(frame, found)


def scan_frame(found: MeasuredSet) -> pd.DataFrame:
    """A row for each scan of a set: how many lesions it has, the tumour's share of the liver, and its `weight`."""
    rows = [
        (each.scan.case, each.scan.patient, float(each.burden.lesions), each.burden.tumor_share) for each in found.scans
    ]
    return _weigh(pd.DataFrame(rows, columns=["scan", "patient", *SCANS]), found)


def _weigh(frame: pd.DataFrame, found: MeasuredSet) -> pd.DataFrame:
    return frame.assign(weight=frame["patient"].map(weigh_patients(scan.scan.patient for scan in found.scans)))


def compare_sets(real: MeasuredSet, synthetic: MeasuredSet, seed: int = 0) -> tuple[Comparison, ...]:
    """Compare every statistic: of lesions in each bin of radii and over all, of scans over all."""
    return (
        *_compare_frames(lesion_frame(real), lesion_frame(synthetic), (*APPEARANCE, *SHAPE), seed),
        *_compare_frames(scan_frame(real), scan_frame(synthetic), tuple(SCANS), seed),
    )


def _compare_frames(
    real: pd.DataFrame, synthetic: pd.DataFrame, statistics: tuple[str, ...], seed: int
) -> Iterator[Comparison]:
    for statistic in statistics:
        for radius_bin, first, second in _by_bin(real, synthetic):
            rng = stable_rng(seed, "compare", statistic, radius_bin)
            yield _compare(statistic, radius_bin, _weighted(first, statistic), _weighted(second, statistic), rng)


def _by_bin(real: pd.DataFrame, synthetic: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """The rows of each bin of radii, where there are such, and all of them."""
    for radius_bin in RADIUS_BINS if "radius_bin" in real else ():
        first, second = (frame[frame["radius_bin"] == radius_bin] for frame in (real, synthetic))
        yield radius_bin, first, second
    yield ALL, real, synthetic


def _weighted(frame: pd.DataFrame, statistic: str) -> Weighted:
    return Weighted.of(frame[statistic], frame["weight"], frame["patient"].to_numpy(str))


def _compare(
    statistic: str, radius_bin: str, real: Weighted, synthetic: Weighted, rng: np.random.Generator
) -> Comparison:
    """Compare a statistic in a bin; each resample draws patients of both sets anew."""
    draws = real.resample(rng), synthetic.resample(rng)
    bands, others = real.quantiles(BAND, draws[0]), synthetic.quantiles(BAND, draws[1])
    shares = synthetic.shares(bands[:, 0], bands[:, 2], draws[1])
    inside_from, inside_to = interval_of(shares[1:], min(real.patient_count, synthetic.patient_count))
    return Comparison(
        statistic=statistic,
        radius_bin=radius_bin,
        **_describe("real", real, bands),
        **_describe("synthetic", synthetic, others),
        inside=float(shares[0]),
        inside_from=inside_from,
        inside_to=inside_to,
    )


def _describe(name: str, sample: Weighted, quantiles: Numbers) -> dict[str, Any]:
    """The fields of a set: those of the sample, whose quantiles come first, and intervals by the resamples'."""
    low, median, high = map(float, quantiles[0])
    median_from, median_to = interval_of(quantiles[1:, 1], sample.patient_count)
    return {
        f"{name}_count": sample.count,
        f"{name}_patients": sample.patient_count,
        f"{name}_low": low,
        f"{name}_median": median,
        f"{name}_high": high,
        f"{name}_median_from": median_from,
        f"{name}_median_to": median_to,
    }


def compare_shares(real: MeasuredSet, synthetic: MeasuredSet, seed: int = 0) -> tuple[ShareComparison, ...]:
    """Compare how many lesions are brighter than the parenchyma, lie at the liver's edge, and lie in each bin."""
    frames = lesion_frame(real), lesion_frame(synthetic)
    found = [
        _compare_share(name, radius_bin, _above(first, statistic, least), _above(second, statistic, least), seed)
        for name, (_, statistic, least) in SHARES.items()
        for radius_bin, first, second in _by_bin(*frames)
    ]
    for radius_bin in RADIUS_BINS:
        first, second = (_of_kind(frame, frame["radius_bin"] == radius_bin) for frame in frames)
        found.append(_compare_share(IN_BIN, radius_bin, first, second, seed))
    return tuple(found)


def _above(frame: pd.DataFrame, statistic: str, least: float) -> Weighted:
    """1 for each row whose statistic is above a threshold, 0 for each other where it is known."""
    return _of_kind(frame, (frame[statistic] > least).where(frame[statistic].notna()))


def _of_kind(frame: pd.DataFrame, kind: pd.Series[Any]) -> Weighted:
    return Weighted.of(kind.astype(float), frame["weight"], frame["patient"].to_numpy(str))


def _compare_share(name: str, radius_bin: str, real: Weighted, synthetic: Weighted, seed: int) -> ShareComparison:
    rng = stable_rng(seed, "share", name, radius_bin)
    fields: dict[str, Any] = {}
    for which, sample in (("real", real), ("synthetic", synthetic)):
        draws = sample.resample(rng)
        ones = np.ones(len(draws))
        shares = sample.shares(ones, ones, draws)
        low, high = interval_of(shares[1:], sample.patient_count)
        fields |= {f"{which}_count": sample.count, which: float(shares[0]), f"{which}_from": low, f"{which}_to": high}
    return ShareComparison(share=name, radius_bin=radius_bin, **fields)
