from .body import occupied_voxels
from .bulk import median_and_robust_sd
from .distances import distance_inside, outside_with_margin
from .labelled import least_radius_mm, render_labelled
from .measured import measure_for, measured_arrays, measured_from, needed_by
from .patch import Block, Outcome, Patch
from .placement import count_clear, move_to_candidate
from .plan import SPACING_MM, Plan, Tumor, sample_name, size_along, spacing_along
from .plausibility import DOUBTS, doubt_liver, refuse_air, refuse_no_liver
from .reach import changed_mm
from .real import SampleTraits, fit_to_real
from .recipes import (
    DEFAULT_RECIPE,
    RECIPES,
    VARIATIONS,
    VARIED_RECIPE,
    find_differences,
    find_idle_settings,
    find_idle_steps,
    find_settings,
    is_variation,
    load_recipe,
    nearest_recipe,
)
from .rendering import count_tumor_voxels, render
from .sampling import (
    MuRange,
    apply_switches,
    draw_drafts,
    draw_plan,
    draw_tumor,
    draw_variant,
    mu_range,
    plan_for,
    variant_class,
)
from .scan import Scan, digest_voxels, load_scan, measure_parenchyma, prepare_scan
from .settings import MIX, REAL, SIZES, Bin, Quantiles, Range, Real, Settings, Size, Vessels, load_settings, override

__all__ = [
    "DEFAULT_RECIPE",
    "DOUBTS",
    "MIX",
    "REAL",
    "RECIPES",
    "SIZES",
    "SPACING_MM",
    "VARIATIONS",
    "VARIED_RECIPE",
    "Bin",
    "Block",
    "MuRange",
    "Outcome",
    "Patch",
    "Plan",
    "Quantiles",
    "Range",
    "Real",
    "SampleTraits",
    "Scan",
    "Settings",
    "Size",
    "Tumor",
    "Vessels",
    "apply_switches",
    "changed_mm",
    "count_clear",
    "count_tumor_voxels",
    "digest_voxels",
    "distance_inside",
    "doubt_liver",
    "draw_drafts",
    "draw_plan",
    "draw_tumor",
    "draw_variant",
    "find_differences",
    "find_idle_settings",
    "find_idle_steps",
    "find_settings",
    "fit_to_real",
    "is_variation",
    "least_radius_mm",
    "load_recipe",
    "load_scan",
    "load_settings",
    "measure_for",
    "measure_parenchyma",
    "measured_arrays",
    "measured_from",
    "median_and_robust_sd",
    "move_to_candidate",
    "mu_range",
    "nearest_recipe",
    "needed_by",
    "occupied_voxels",
    "outside_with_margin",
    "override",
    "plan_for",
    "prepare_scan",
    "refuse_air",
    "refuse_no_liver",
    "render",
    "render_labelled",
    "sample_name",
    "size_along",
    "spacing_along",
    "variant_class",
]
