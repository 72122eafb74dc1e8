"""The benchmark of the way to training tells what was measured; it is run by `make bench-training`."""

from __future__ import annotations

import re

from benchmark_training import CLASSES, report


def found(seconds: float) -> dict:
    """A class of which a case took so many seconds."""
    cases, planning = (40 * seconds, 44 * seconds), (8.0, 9.0)
    return {
        "samples": 40,
        "whole_cases": 1,
        "synth_s": (8.0, 9.0),
        "preprocess_s": {"cases": cases, "planning": planning, "whole": (cases[0] + planning[0], 60.0)},
        "nnunet_sample_s": (40.0, 41.0),
        "bytes": 50e6,
        "bytes_of_sample": 50,
        "nnunet_bytes_of_sample": 49,
    }


def test_figures_are_those_of_a_variant_and_of_a_scan_beside_their_targets():
    machine = {
        "processor": "any",
        "architecture": "x86_64",
        "cores": 2,
        "memory_bytes": 2**30,
        "system": "Linux",
        "python": "3.11",
        "packages": {},
        "load_average": 0.0,
    }
    text = report(
        {
            "machine": machine,
            "shape_zyx": [78, 512, 512],
            "per_scan": 20,
            "liver_mask_s": (8.0, 9.0),
            "classes": {name: found(0.8 if name != "mix" else 4.8) for name in CLASSES},
            "two_processes": {"one_s": 19.0, "two_s": 10.0, "loop_speedup": 1.9},
        }
    )
    rows = {cells[1]: cells for cells in (re.split(r" *\| ", line) for line in text.splitlines()) if len(cells) > 5}
    # 0.8 s and a fortieth of 8 s for fingerprint and plans: 40 times faster than 40 s.
    assert rows["tiny"][3].startswith("1.00 (")
    assert rows["tiny"][5] == "40 (≥ 30: yes)"
    assert rows["mix"][5] == "8 (≥ 10: no)"
    # Of each of two scans: half of 8 + 8 + 40 s, and of 8 + 8 + 1600 s.
    assert rows["tiny"][8:10] == ["28", "808"]
    assert "1.9 (≥ 1.8: yes) times" in text
