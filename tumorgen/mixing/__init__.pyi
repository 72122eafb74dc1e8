from .mixture import MIXTURE, MixReport, find_kept_split, mix_datasets
from .naming import MixedCase
from .parts import HEALTHY, KINDS, REAL, SYNTHETIC, Part, PartCase, read_part
from .ratio import repeat_cases

__all__ = [
    "HEALTHY",
    "KINDS",
    "MIXTURE",
    "REAL",
    "SYNTHETIC",
    "MixReport",
    "MixedCase",
    "Part",
    "PartCase",
    "find_kept_split",
    "mix_datasets",
    "read_part",
    "repeat_cases",
]
