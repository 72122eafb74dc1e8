from .appearance import PROFILE_MM, Appearance, measure_appearance, quantize_grey, signed_distance_mm
from .lesions import LEAST_RADIUS_MM, LEAST_VOXELS, FoundLesions, Lesion, find_lesions
from .shapes import LesionShape, TumorBurden, measure_burden, measure_shapes

__all__ = [
    "LEAST_RADIUS_MM",
    "LEAST_VOXELS",
    "PROFILE_MM",
    "Appearance",
    "FoundLesions",
    "Lesion",
    "LesionShape",
    "TumorBurden",
    "find_lesions",
    "measure_appearance",
    "measure_burden",
    "measure_shapes",
    "quantize_grey",
    "signed_distance_mm",
]
