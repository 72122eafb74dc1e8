from .appearance import PROFILE_MM, Appearance, measure_appearance, quantize_grey, signed_distance_mm
from .audit_files import AUDIT_PAGE, MARKS, refuse_case_folder, write_audit
from .auditing import Audit, audit_sets, describe_looks, measure_folder
from .comparing import LEAST_LESIONS, STATISTIC_NAMES, lesion_frame
from .drawn import DrawnTumors, find_drawn
from .fit_chart import draw_fit
from .fitting import Fit, fit_recipe, no_looks
from .label_maps import MeasuredLabels, measure_label_maps, read_labels
from .lesions import LEAST_RADIUS_MM, LEAST_VOXELS, FoundLesions, Lesion, find_lesions
from .measuring import MeasuredSet, join_sets
from .recipe_files import refuse_other_recipe, write_recipe
from .scans import (
    LabelledScan,
    call_after_scans,
    find_labelled,
    find_layout,
    has_synthetic,
    join_patients,
    refuse_synthetic,
)
from .shapes import LesionShape, TumorBurden, measure_burden, measure_shapes
from .telling import Verdict

__all__ = [
    "AUDIT_PAGE",
    "LEAST_LESIONS",
    "LEAST_RADIUS_MM",
    "LEAST_VOXELS",
    "MARKS",
    "PROFILE_MM",
    "STATISTIC_NAMES",
    "Appearance",
    "Audit",
    "DrawnTumors",
    "Fit",
    "FoundLesions",
    "LabelledScan",
    "Lesion",
    "LesionShape",
    "MeasuredLabels",
    "MeasuredSet",
    "TumorBurden",
    "Verdict",
    "audit_sets",
    "call_after_scans",
    "describe_looks",
    "draw_fit",
    "find_drawn",
    "find_labelled",
    "find_layout",
    "find_lesions",
    "fit_recipe",
    "has_synthetic",
    "join_patients",
    "join_sets",
    "lesion_frame",
    "measure_appearance",
    "measure_burden",
    "measure_folder",
    "measure_label_maps",
    "measure_shapes",
    "no_looks",
    "quantize_grey",
    "read_labels",
    "refuse_case_folder",
    "refuse_other_recipe",
    "refuse_synthetic",
    "signed_distance_mm",
    "write_audit",
    "write_recipe",
]
