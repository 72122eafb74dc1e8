"""Scans that samples are made of: which are taken, and which cannot go together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tumorgen.errors import TumorgenError
from tumorgen.tables.sources import Source, refuse_same_case


@pytest.mark.parametrize("twin", ["a", "A"])
def test_two_scans_of_one_name_are_refused_capitals_apart(twin):
    """As a manifest refuses their samples: better at the beginning of a run than at its end."""
    sources = [Source(case, Path("image"), Path("mask")) for case in ("b", "a", twin)]
    with pytest.raises(TumorgenError, match="case 'a' is there twice; rename one of the scans"):
        refuse_same_case(sources)
    refuse_same_case(sources[:2])
