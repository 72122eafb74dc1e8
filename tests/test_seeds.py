"""Seeds come from identity: numbers as they are, words by their CRC-32."""

from __future__ import annotations

import zlib

import numpy as np

from tumorgen.seeds import stable_rng


def test_seeds_come_from_identity() -> None:
    sequence = np.random.SeedSequence([12, zlib.crc32(b"liver_07"), 3])
    assert stable_rng(12, "liver_07", 3).random(4).tolist() == np.random.default_rng(sequence).random(4).tolist()


def test_another_identity_draws_something_else() -> None:
    first = {stable_rng(*identity).random() for identity in ((0,), (0, "a"), (0, "b"), (0, "a", 1), (1, "a"))}
    assert len(first) == 5
