"""A recipe fitted to measured lesions: their sizes and numbers, and the tables of each bin of radii (`bin_tables`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from ..errors import TumorgenError
from ..fields import columns
from ..method import Bin, Real, Settings
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from .appearance import Appearance
from .bin_tables import (
    BINS_MM,
    LOOKS,
    BinLesions,
    blend,
    blend_bin,
    change_tables,
    fit_bin,
    own_part,
    prior_bin,
    rounded,
    table_of,
    with_drawn,
)
from .label_maps import MeasuredLabels
from .weighting import weigh_patients

MANY_STEPS = 20  # of probability in the tables of sizes and numbers
_DIGITS = 2
_LEAST_PAIRS = 10  # lesions with others of their patient, for what these have in common
_MOST_SHARED = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A fitted recipe, and what it rests on.

    Attributes
    ----------
    settings, prior
        The recipe, and the one that it was blended with; `alone` says that this was not done, but with the tables of
        lesions of all sizes.
    bins
        The lesions of each bin of radii.
    shapes, counts, looks
        A row for each lesion of the label maps, for each label map, and for each lesion whose look was measured; each
        with its `scan` and `patient`.
    """

    settings: Settings
    prior: Settings
    alone: bool
    bins: tuple[BinLesions, ...]
    shapes: pd.DataFrame
    counts: pd.DataFrame
    looks: pd.DataFrame


def no_looks() -> pd.DataFrame:
    """A frame like that of `lesion_frame`, without lesions: where there are no images."""
    names = ["scan", "patient", "weight", "radius_mm", *columns(Appearance)]
    return pd.DataFrame({name: pd.Series(dtype=object if name in names[:2] else float) for name in names})


def shape_frame(measured: Sequence[MeasuredLabels]) -> pd.DataFrame:
    """A row for each lesion of label maps, one at least: its shape, the spacing of its voxels, and its `weight`."""
    rows = [
        {"scan": each.case, "patient": each.patient, **dataclasses.asdict(shape), **_spacing(each)}
        for each in measured
        for shape in each.shapes
    ]
    frame = pd.DataFrame(rows)
    return _weigh(frame, measured)


def _spacing(measured: MeasuredLabels) -> dict[str, float]:
    return {f"spacing_{axis}_mm": mm for axis, mm in zip("zyx", measured.spacing_mm, strict=True)}


def count_frame(measured: Sequence[MeasuredLabels]) -> pd.DataFrame:
    """A row for each label map: how many lesions it has, and its `weight`."""
    frame = pd.DataFrame(
        [{"scan": each.case, "patient": each.patient, "count": float(each.burden.lesions)} for each in measured]
    )
    return _weigh(frame, measured)


def _weigh(frame: pd.DataFrame, measured: Sequence[MeasuredLabels]) -> pd.DataFrame:
    """The rows with the weight of each: one over the number of its patient's scans."""
    return frame.assign(weight=frame["patient"].map(weigh_patients(each.patient for each in measured)))


def fit_recipe(
    measured: Sequence[MeasuredLabels],
    looks: pd.DataFrame,
    prior: Settings,
    *,
    alone: bool = False,
    jobs: int = -1,
    start: Start = no_progress,
) -> Fit:
    """Fit a recipe to measured lesions.

    Parameters
    ----------
    measured
        Label maps that sizes, numbers, places and shapes are learnt from; one of them has a lesion.
    looks
        Lesions that contrast, edge and heterogeneity are learnt from, as `lesion_frame` gives them; those of which none
        of these was measured count for nothing, and there may be none at all.
    prior
        The recipe that all else is taken from, and that bins of few lesions are blended with.
    alone
        Whether such bins are blended with the tables of the lesions of all sizes instead, and sizes and numbers not at
        all.

    """
    shapes, counts, looks = shape_frame(measured), count_frame(measured), _with_drawn(looks, prior.real)
    looks = looks[looks[[*LOOKS.values()]].notna().any(axis=1)]
    ill = counts[counts["count"] > 0]
    bins = [BinLesions(_within(shapes, end), _within(looks, end), prior_bin(prior.real, end)) for end in BINS_MM]
    everything = BinLesions(shapes, looks, bins[1].prior)
    fitted = _fit_bins([*bins, everything] if alone else bins, prior, jobs, start)
    real = dataclasses.replace(
        prior.real,
        radius_mm=_sizes(shapes, "radius_mm", None if alone else prior.real),
        count=_sizes(ill, "count", None if alone else prior.real),
        shared=share_of_patients(looks, prior.real.shared),
        bins=tuple(
            _blended(own, found, fitted[-1] if alone else None) for own, found in zip(bins, fitted, strict=False)
        ),
    )
    settings = dataclasses.replace(prior, real=_rounded_tables(real))
    return Fit(settings, prior, alone, tuple(bins), shapes, counts, looks)


def _with_drawn(looks: pd.DataFrame, prior: Real) -> pd.DataFrame:
    """Measured lesions with what is drawn of their look, a field having the median grain of a prior for their size."""
    grains = [float(np.median(prior.bin_of(radius).grain_mm)) for radius in looks["radius_mm"]]
    return with_drawn(looks, pd.Series(grains, looks.index, float))


def _within(frame: pd.DataFrame, end: float) -> pd.DataFrame:
    """The rows of the bin of radii that ends there."""
    begin = max((other for other in BINS_MM if other < end), default=0.0)
    return frame[(frame["radius_mm"] >= begin) & (frame["radius_mm"] < end)]


def _fit_bins(bins: Sequence[BinLesions], prior: Settings, jobs: int, start: Start) -> list[Bin]:
    """Fit bins over processes."""
    cases = [Case(each, f"radii below {each.prior.below_mm:g} mm") for each in bins]
    fitted, failures = split_failures(map_cases(partial(fit_bin, settings=prior), cases, jobs, start=start))
    if failures:
        raise TumorgenError(failures[0].reason)
    return fitted


def _blended(own: BinLesions, fitted: Bin, everything: Bin | None) -> Bin:
    """A fitted bin, blended with its prior, or with the tables of lesions of all sizes."""
    prior = own.prior
    if everything:
        prior = dataclasses.replace(everything, below_mm=prior.below_mm, grain_mm=prior.grain_mm)
    return blend_bin(fitted, prior, own)


def _sizes(frame: pd.DataFrame, name: str, prior: Real | None) -> tuple[float, ...]:
    """The table of sizes or of numbers, blended with a prior's if there is one."""
    fitted = table_of(frame, name, name, MANY_STEPS)
    return blend(fitted, getattr(prior, name), own_part(float(frame["weight"].sum()))) if prior else fitted


def share_of_patients(looks: pd.DataFrame, prior: float) -> float:
    """Part of the variance of contrast and edge that the lesions of a scan have in common, blended with a prior.

    Intraclass correlation (one-way analysis of variance) of the normal scores of each, the mean of both. What is alike
    in two scans of a patient says nothing: it may be one lesion. Patients who have two lesions or more in a scan weigh
    as lesions do in a table.
    """
    found = [_intraclass(looks, column) for column in ("core_contrast_hu", "sigma_c_mm")]
    several = looks["scan"].map(looks["scan"].value_counts()) > 1
    patients = looks["patient"][several].nunique()
    if patients < 2 or len(looks) < _LEAST_PAIRS or np.isnan(found).any():
        return prior
    own = own_part(patients)
    return own * float(np.clip(np.mean(found), 0, _MOST_SHARED)) + (1 - own) * prior


def _intraclass(looks: pd.DataFrame, column: str) -> float:
    """Intraclass correlation of a column's normal scores within scans; nan with too few, or where all are equal."""
    known = looks[looks[column].notna()]
    groups = known.assign(score=stats.norm.ppf((known[column].rank() - 0.5) / max(1, len(known)))).groupby("scan")
    sizes = groups.size().to_numpy(float)
    total, number = sizes.sum(), len(sizes)
    if number < 2 or total <= number:
        return float("nan")
    within = float((groups["score"].var(ddof=0) * groups.size()).sum()) / (total - number)
    means, mean = groups["score"].mean().to_numpy(float), float(groups["score"].mean().mul(groups.size()).sum()) / total
    between = float((sizes * (means - mean) ** 2).sum()) / (number - 1)
    typical = (total - (sizes**2).sum() / total) / (number - 1)
    total_variance = between + (typical - 1) * within
    return float((between - within) / total_variance) if total_variance > 0 else float("nan")


def _rounded_tables(real: Real) -> Real:
    """Tables of numbers that people can read."""
    bins = tuple(change_tables(each, lambda table: rounded(table, _DIGITS)) for each in real.bins)
    return dataclasses.replace(
        real,
        radius_mm=rounded(real.radius_mm, _DIGITS),
        count=rounded(real.count, 1),
        shared=round(real.shared, _DIGITS),
        bins=bins,
    )
