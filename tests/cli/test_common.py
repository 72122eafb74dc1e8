"""What commands say when they are done."""

from __future__ import annotations

import pytest

from tumorgen.cli.common import report_left_out
from tumorgen.tables.entries import Entry


@pytest.mark.parametrize(
    ("left_out", "placed", "said"),
    [
        ([1], [0], "1 tumour was left out, ...; 1 sample has no tumour at all for that"),
        ([2, 3, 0], [0, 0, 4], "5 tumours were left out, ...; 2 samples have no tumour at all for that"),
        ([2, 0], [1, 0], "2 tumours were left out, ..."),
        ([0, 0], [0, 3], ""),
    ],
)
def test_it_is_said_what_slices_were_too_thick_for(capsys, left_out, placed, said):
    pairs = enumerate(zip(left_out, placed, strict=True))
    report_left_out(
        Entry(f"a_v{n}", "a", n, 0, "", "", tumors_without_voxel=without, tumors_placed=there)
        for n, (without, there) in pairs
    )
    why = "too small for the slices to fill half a voxel (tumors_without_voxel in manifest.csv)"
    assert capsys.readouterr().out == (f"note: {said.replace('...', why)}\n" if said else "")
