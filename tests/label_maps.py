"""Label maps of a liver in a box, with tumours in boxes."""

from __future__ import annotations

import numpy as np

SHAPE, SPACING = (12, 40, 50), (3.0, 1.0, 1.0)


def label(*tumors: tuple[slice, slice, slice]) -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[2:10, 5:35, 5:45] = 1
    for tumor in tumors:
        array[tumor] = 2
    return array


HERE = np.s_[4:7, 10:18, 10:18]
THERE = np.s_[5:9, 22:30, 30:38]
