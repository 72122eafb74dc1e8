"""How a lesion looks against the liver around it: contrast, edge, rim, noise and radial profile.

Measured in those axial slices that hold at least half of the lesion's largest area, on one grid of grey levels for all
scans. Distances d are in mm, in the plane, to the lesion's outline, negative inside it. Other tumours and what lies
within 3 mm of them are left out, and so is what is no liver by the label. Arrays are (z, y, x).

Rules for what cannot be measured: a lesion with too little liver around it, with too few voxels inside, or of which
more than a twentieth lies at an end of the grid of grey levels (a scan that was clipped there) has `nan` in every
field that this concerns, and a reason in words. A scan in coarser steps than the grid is measured all the same; its
noise is then that of its steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from ..fields import About
from ..imaging import Triple, grow, paste
from ..labels import LIVER, TUMOR
from ..method import median_and_robust_sd
from .lesions import Lesion

GREY_LOW_HU, GREY_HIGH_HU, GREY_LEVELS = -160.0, 240.0, 256
GREY_STEP_HU = (GREY_HIGH_HU - GREY_LOW_HU) / (GREY_LEVELS - 1)  # of scans kept in eight bits in the liver's window

RING_MM = (3.0, 8.0)  # the parenchyma's distance from the outline
LIVER_EDGE_MM = 2.0  # parenchyma begins so far inside the liver
OTHERS_MM = 3.0  # what lies so near to another tumour is left out
OUTLIER_SD = 3.0
CORE_MM = 2.0  # depth at which the core begins, or half the radius
NEAR_MM = 2.0  # how far outside the label "just outside" reaches
INSIDE_MM, INSIDE_TINY_MM, TINY_MM = 1.5, 0.7, 4.0  # depth at which noise is measured, and radius of what is tiny
RIM_MM, RIM_WITHIN_MM = 1.0, 3.0
SMOOTH_MM = 1.5  # parts low frequencies from high ones
PROFILE_EDGES_MM = np.arange(-6.0, 6.25, 0.5)
PROFILE_MM = tuple(float(d) for d in (PROFILE_EDGES_MM[1:] + PROFILE_EDGES_MM[:-1]) / 2)  # middles of its bins

LEAST_RING, LEAST_CORE, LEAST_INSIDE, LEAST_IN_BIN = 50, 4, 12, 3  # voxels
MOST_AT_LIMIT = 0.05
WIDTH_OF_SIGMA = 2.563  # 10 to 90 % of an error function
_FLAT_MM = 1e4  # spacing of slices at which distances stay in the plane
_LEAST_BINS = 6  # for four parameters
_MIDDLES_MM, _SIGMAS_MM = np.linspace(-4.0, 4.0, 41), np.geomspace(0.05, 6.0, 33)
_SIGMA_RATIO = float(_SIGMAS_MM[1] / _SIGMAS_MM[0])

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


def _ratio(of: str) -> About:
    return About(f"standard deviation inside over that of the ring, {of}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """How a lesion looks. What cannot be measured is nan; HU are differences to the parenchyma if not said otherwise.

    `profile_hu` has the mean in each bin of `PROFILE_MM`, nan where fewer than three voxels lie in it.
    """

    parenchyma_hu: Annotated[
        float, About("mean of the parenchyma: liver in the ring 3 to 8 mm outside, 2 mm from the liver's edge", "HU")
    ] = math.nan
    parenchyma_sd_hu: Annotated[float, About("standard deviation of the same, beyond 3 robust ones left out", "HU")] = (
        math.nan
    )
    contrast_hu: Annotated[float, About("mean of the label minus the parenchyma", "HU")] = math.nan
    core_contrast_hu: Annotated[
        float, About("mean of the core, 2 mm or half the radius inside, minus the parenchyma", "HU")
    ] = math.nan
    contrast_over_sd: Annotated[float, About("contrast of the label over the parenchyma's standard deviation")] = (
        math.nan
    )
    rim_hu: Annotated[float, About("brightest millimetre of the profile within 3 mm of the outline", "HU")] = math.nan
    rim_over_contrast: Annotated[float, About("rim over the size of the core's contrast")] = math.nan
    outside_hu: Annotated[float, About("mean 0 to 2 mm outside the label", "HU")] = math.nan
    edge_width_mm: Annotated[
        float, About("10 to 90 % width of the edge, 2.563 sigma of an error function fitted to the profile", "mm")
    ] = math.nan
    edge_middle_mm: Annotated[float, About("middle of that edge from the outline; negative inside", "mm")] = math.nan
    lag1: Annotated[
        float, About("in-plane autocorrelation at one voxel, inside minus ring; 0 where the noise goes on unchanged")
    ] = math.nan
    sd_ratio: Annotated[float, _ratio("all frequencies")] = math.nan
    high_sd_ratio: Annotated[float, _ratio("high frequencies, above a Gaussian of 1.5 mm")] = math.nan
    low_sd_ratio: Annotated[float, _ratio("low frequencies, below a Gaussian of 1.5 mm")] = math.nan
    inside_sd_hu: Annotated[float, About("standard deviation inside", "HU")] = math.nan
    inside_low_sd_hu: Annotated[float, About("standard deviation inside, low frequencies", "HU")] = math.nan
    ring_low_sd_hu: Annotated[float, About("standard deviation of the ring, low frequencies", "HU")] = math.nan
    profile_hu: tuple[float, ...] = ()
    reason: Annotated[str, About("why something was not measured; empty where all was")] = ""


@dataclass(frozen=True, slots=True, eq=False)
class _Surroundings:
    """A lesion's slices, cropped to a window: HU on the grid, distance, and which voxels count (z, y, x)."""

    hu: Numbers
    distance_mm: Numbers
    usable: Mask
    ring: Mask
    spacing_mm: Triple

    def inside(self, depth_mm: float) -> Mask:
        """Voxels of the lesion at least so deep."""
        return self.usable & (self.distance_mm <= -depth_mm)


def quantize_grey(hu: NDArray[Any]) -> Numbers:
    """HU on the one grid of grey levels: 256 of them from -160 to 240 HU; what lies beyond becomes its end."""
    steps = np.rint((np.asarray(hu, np.float64) - GREY_LOW_HU) / GREY_STEP_HU)
    return np.clip(steps, 0, GREY_LEVELS - 1) * GREY_STEP_HU + GREY_LOW_HU


def measure_appearance(
    hu: NDArray[Any], labels: NDArray[Any], lesion: Lesion, spacing_mm: Triple, *, outward_mm: float = 0.0
) -> Appearance:
    """Measure how a lesion of a label map looks in its scan.

    Parameters
    ----------
    hu, labels
        Scan in HU and label map (0, 1 liver, 2 tumour) of one shape (z, y, x).
    lesion
        One that `find_lesions` has found in the label map.
    spacing_mm
        Of the voxels (z, y, x).
    outward_mm
        How far outside the label's outline the outline is taken to lie, everywhere; negative inside.
    """
    around = _surroundings(hu, labels, lesion, spacing_mm, outward_mm)
    ring = around.hu[around.ring]
    if ring.size < LEAST_RING:
        return Appearance(reason=f"fewer than {LEAST_RING} voxels of parenchyma around it")
    label = around.hu[around.inside(0)]
    if label.size < LEAST_CORE:
        return Appearance(reason=f"fewer than {LEAST_CORE} voxels in it")
    if max(_share_at_limits(label), _share_at_limits(ring)) > MOST_AT_LIMIT:
        return Appearance(reason=f"clipped at {GREY_LOW_HU:g} or {GREY_HIGH_HU:g} HU")
    mean, sd = float(ring.mean()), float(ring.std())
    at_mm, profile = _radial_profile(around)
    profile -= mean
    core = around.hu[around.inside(min(CORE_MM, lesion.radius_mm / 2))]
    contrast, core_contrast = float(label.mean()) - mean, _mean(core, LEAST_CORE) - mean
    rim = _find_rim(profile)
    middle, sigma = _fit_edge(at_mm, profile)
    noise, reason = _measure_noise(around, lesion.radius_mm)
    return Appearance(
        parenchyma_hu=mean,
        parenchyma_sd_hu=sd,
        contrast_hu=contrast,
        core_contrast_hu=core_contrast,
        contrast_over_sd=contrast / sd if sd else math.nan,
        rim_hu=rim,
        rim_over_contrast=rim / abs(core_contrast) if core_contrast else math.nan,
        outside_hu=_mean(around.hu[around.usable & (around.distance_mm > 0) & (around.distance_mm <= NEAR_MM)]) - mean,
        edge_width_mm=WIDTH_OF_SIGMA * sigma,
        edge_middle_mm=middle,
        **noise,
        profile_hu=tuple(map(float, profile)),
        reason=reason or ("" if core.size >= LEAST_CORE else "core too small"),
    )


def _surroundings(
    hu: NDArray[Any], labels: NDArray[Any], lesion: Lesion, spacing_mm: Triple, outward_mm: float
) -> _Surroundings:
    """Crop a window around the lesion's main slices and measure distances in it."""
    slices = lesion.main_slices
    first, last = int(slices[0]), int(slices[-1]) + 1
    reach = [math.ceil((RING_MM[1] + OTHERS_MM) / mm) for mm in spacing_mm]
    margin = math.ceil(OTHERS_MM / spacing_mm[0]), *reach[1:]
    window = grow((slice(first, last), *lesion.box[1:]), margin, hu.shape)
    near = labels[window]
    own = np.zeros(near.shape, bool)
    paste(own, window, lesion.mask, lesion.box)
    kept = slices - window[0].start  # of a lesion that narrows in between, only the wide slices
    others = (near == TUMOR) & ~own
    apart = _distance_to(others, spacing_mm) > OTHERS_MM
    own, liver, apart = own[kept], near[kept] >= LIVER, apart[kept]
    distance = signed_distance_mm(own, spacing_mm) - outward_mm
    usable = own | (liver & apart)
    deep = _distance_to(~liver, (_FLAT_MM, *spacing_mm[1:])) > LIVER_EDGE_MM
    grey = quantize_grey(hu[window][kept])
    ring = usable & deep & (distance >= RING_MM[0]) & (distance <= RING_MM[1])
    return _Surroundings(grey, distance, usable, _without_outliers(grey, ring), spacing_mm)


def signed_distance_mm(mask: Mask, spacing_mm: Triple) -> Numbers:
    """Distance in mm, in the axial plane, of each voxel (z, y, x) to the outline of a mask; negative inside.

    The outline runs half a voxel from the centres of the voxels on its two sides.
    """
    flat = (_FLAT_MM, *spacing_mm[1:])
    half = (spacing_mm[1] + spacing_mm[2]) / 4
    outside, inside = (edt.edt(part, anisotropy=flat, parallel=1).astype(np.float64) for part in (~mask, mask))
    distance: Numbers = np.where(mask, half - inside, outside - half)
    return distance


def _distance_to(mask: Mask, spacing_mm: tuple[float, ...]) -> Numbers:
    """Distance in mm of each voxel to the nearest of a mask; infinite where it is empty."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    distance: Numbers = edt.edt(~mask, anisotropy=spacing_mm, parallel=1).astype(np.float64)
    return distance


def _without_outliers(hu: Numbers, mask: Mask) -> Mask:
    """The mask without voxels beyond three robust standard deviations of its median."""
    if not mask.any():
        return mask
    median, robust_sd = median_and_robust_sd(hu[mask])
    near: Mask = np.abs(hu - median) <= OUTLIER_SD * max(robust_sd, GREY_STEP_HU)
    return mask & near


def _share_at_limits(grey: Numbers) -> float:
    return float(np.mean((grey <= GREY_LOW_HU) | (grey >= GREY_HIGH_HU)))


def _mean(values: Numbers, least: int = LEAST_IN_BIN) -> float:
    return float(values.mean()) if values.size >= least else math.nan


def _radial_profile(around: _Surroundings) -> tuple[Numbers, Numbers]:
    """Mean distance and mean HU in each bin of distances; nan where fewer than three voxels lie in it."""
    distance, hu = around.distance_mm[around.usable], around.hu[around.usable]
    bins = np.digitize(distance, PROFILE_EDGES_MM) - 1
    kept = (bins >= 0) & (bins < len(PROFILE_MM))
    counts = np.bincount(bins[kept], minlength=len(PROFILE_MM)).astype(np.float64)
    counts[counts < LEAST_IN_BIN] = np.nan
    at_mm, means = (np.bincount(bins[kept], each[kept], len(PROFILE_MM)) / counts for each in (distance, hu))
    return at_mm, means


def _find_rim(profile: Numbers) -> float:
    """The brightest millimetre of a profile within 3 mm of the outline; nan where less than that is known."""
    near = profile[np.abs(PROFILE_MM) < RIM_WITHIN_MM]
    width = round(RIM_MM / (PROFILE_MM[1] - PROFILE_MM[0]))
    means = np.convolve(near, np.full(width, 1 / width), "valid")
    return float(np.nanmax(means)) if np.isfinite(means).any() else math.nan


def _fit_edge(at_mm: Numbers, profile: Numbers) -> tuple[float, float]:
    """Middle and sigma in mm of the error function that fits a profile best; nan where it has too few bins.

    Each bin stands where its voxels lie on average: on a grid they do not lie about its middle. All middles and sigmas
    of a coarse and then of a fine grid are tried, so that no start can lead astray.
    """
    known = np.isfinite(profile)
    at, values = at_mm[known], profile[known]
    if known.sum() < _LEAST_BINS or not (at < 0).any() or not (at > 0).any() or not np.ptp(values):
        return math.nan, math.nan
    middle, sigma = _best_edge(at, values, _MIDDLES_MM, _SIGMAS_MM)
    step = _MIDDLES_MM[1] - _MIDDLES_MM[0]
    near = np.clip(middle + np.linspace(-step, step, 21), _MIDDLES_MM[0], _MIDDLES_MM[-1])
    like = np.clip(sigma * np.geomspace(1 / _SIGMA_RATIO, _SIGMA_RATIO, 21), _SIGMAS_MM[0], _SIGMAS_MM[-1])
    return _best_edge(at, values, near, like)


def _best_edge(at: Numbers, values: Numbers, middles: Numbers, sigmas: Numbers) -> tuple[float, float]:
    """Middle and sigma, of those given, whose error function leaves least; its two levels are those that fit best."""
    edges = special.ndtr((at - middles[:, None, None]) / sigmas[:, None])
    edges -= edges.mean(-1, keepdims=True)
    explained = (edges @ (values - values.mean())) ** 2 / np.maximum((edges**2).sum(-1), 1e-12)
    first, second = np.unravel_index(int(explained.argmax()), explained.shape)
    return float(middles[first]), float(sigmas[second])


def _measure_noise(around: _Surroundings, radius_mm: float) -> tuple[dict[str, float], str]:
    """The fields that say what the noise inside is like beside that of the ring, or why there are none."""
    inside = around.inside(INSIDE_TINY_MM if radius_mm < TINY_MM else INSIDE_MM)
    if np.count_nonzero(inside) < LEAST_INSIDE:
        return {}, f"fewer than {LEAST_INSIDE} voxels well inside"
    parts = [(around.hu, _smooth_within(around.hu, mask, around.spacing_mm), mask) for mask in (inside, around.ring)]
    whole, low, high = (
        [float(values[mask].std()) for values, mask in each]
        for each in zip(*[((hu, m), (smooth, m), (hu - smooth, m)) for hu, smooth, m in parts], strict=True)
    )
    return {
        "lag1": _autocorrelate(around.hu, inside) - _autocorrelate(around.hu, around.ring),
        "sd_ratio": _divide(whole),
        "high_sd_ratio": _divide(high),
        "low_sd_ratio": _divide(low),
        "inside_sd_hu": whole[0],
        "inside_low_sd_hu": low[0],
        "ring_low_sd_hu": low[1],
    }, ""


def _divide(pair: list[float]) -> float:
    return pair[0] / pair[1] if pair[1] > 0 else math.nan


def _smooth_within(hu: Numbers, mask: Mask, spacing_mm: Triple) -> Numbers:
    """In-plane Gaussian of 1.5 mm that only sees a mask; meaningful within it."""
    sigma = (0.0, SMOOTH_MM / spacing_mm[1], SMOOTH_MM / spacing_mm[2])
    weight = ndimage.gaussian_filter(mask.astype(np.float64), sigma)
    smooth: Numbers = ndimage.gaussian_filter(np.where(mask, hu, 0.0), sigma) / np.maximum(weight, 1e-9)
    return smooth


def _autocorrelate(hu: Numbers, mask: Mask) -> float:
    """Mean of the autocorrelations at one voxel along the two axes of the plane, in a mask."""
    centered = hu - hu[mask].mean()
    variance = float(np.mean(centered[mask] ** 2))
    found = []
    for axis in (1, 2):
        here, there = (np.take(mask, range(s, mask.shape[axis] - 1 + s), axis) for s in (0, 1))
        one, two = (np.take(centered, range(s, mask.shape[axis] - 1 + s), axis) for s in (0, 1))
        pairs = here & there
        if pairs.any() and variance:
            found.append(float(np.mean(one[pairs] * two[pairs])) / variance)
    return float(np.mean(found)) if found else math.nan
