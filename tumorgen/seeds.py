"""Random generators with a stable identity, so that whatever is added changes nothing else that is drawn."""

from __future__ import annotations

import zlib

import numpy as np


def stable_rng(seed: int, *identity: str | int) -> np.random.Generator:
    """The generator of what a seed and some words and numbers name; words count by their CRC-32."""
    return np.random.default_rng([seed, *(zlib.crc32(w.encode()) if isinstance(w, str) else w for w in identity)])
