from .appearance import PROFILE_MM, Appearance, measure_appearance, quantize_grey, signed_distance_mm
from .lesions import LEAST_RADIUS_MM, LEAST_VOXELS, FoundLesions, Lesion, find_lesions

__all__ = [
    "LEAST_RADIUS_MM",
    "LEAST_VOXELS",
    "PROFILE_MM",
    "Appearance",
    "FoundLesions",
    "Lesion",
    "find_lesions",
    "measure_appearance",
    "quantize_grey",
    "signed_distance_mm",
]
