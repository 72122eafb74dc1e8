from .folder import write_phantoms
from .scanner import correlated_noise, draw_phantom
from .tissues import PHASES, Phase

__all__ = [
    "PHASES",
    "Phase",
    "correlated_noise",
    "draw_phantom",
    "write_phantoms",
]
