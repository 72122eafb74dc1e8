from .lesions import LEAST_RADIUS_MM, LEAST_VOXELS, FoundLesions, Lesion, find_lesions

__all__ = [
    "LEAST_RADIUS_MM",
    "LEAST_VOXELS",
    "FoundLesions",
    "Lesion",
    "find_lesions",
]
