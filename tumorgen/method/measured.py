"""What is measured in a scan when it is first asked for, as plain arrays and back, for whoever keeps them on disk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scan import Scan
from .settings import PARENCHYMA, SCAN, VESSELS, Settings
from .sites import Sites
from .tissue import Background, Tissue

_BY_CLEARANCE, _TISSUE, _SITES = "by_clearance", "tissue", "sites"  # properties of a `Scan`
_ARRAYS: Mapping[str, tuple[str, ...]] = {
    _BY_CLEARANCE: ("candidates", "clearance_mm"),
    _TISSUE: ("background_hu", "background_cell", "foreign", "parenchyma"),
    _SITES: ("kinds", "sites", "starts"),
}


def needed_by(settings: Settings) -> tuple[str, ...]:
    """Properties of a scan that drawing and rendering tumours of some settings asks for."""
    in_parenchyma = settings.places.model == PARENCHYMA
    needed = {
        _BY_CLEARANCE: settings.places.model == VESSELS,
        _TISSUE: settings.texture.model == SCAN,
        _SITES: in_parenchyma,
    }
    return tuple(name for name, wanted in needed.items() if wanted)


def measure_for(scan: Scan, settings: Settings) -> Scan:
    """Measure all in a scan that tumours of some settings need, so that drawing them costs what they cost."""
    for name in needed_by(settings):
        getattr(scan, name)
    return scan


def measured_arrays(scan: Scan, needed: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Arrays, by name, that some of a scan's properties (`needed_by`) consist of; what was not measured is now."""
    arrays: dict[str, NDArray[Any]] = {}
    for name in needed:
        arrays.update(zip(_ARRAYS[name], _taken_apart(scan, name), strict=True))
    return arrays


def measured_from(arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """A scan's properties made of their arrays, for `Scan.knowing`; those whose arrays are not there are left out."""
    return {
        name: _put_together(name, [arrays[part] for part in parts])
        for name, parts in _ARRAYS.items()
        if all(part in arrays for part in parts)
    }


def _taken_apart(scan: Scan, name: str) -> tuple[NDArray[Any], ...]:
    if name == _BY_CLEARANCE:
        return scan.by_clearance
    if name == _SITES:
        return scan.sites.kinds, scan.sites.voxels, scan.sites.starts
    background = scan.tissue.background
    return background.hu, np.array(background.cell), scan.tissue.foreign, scan.tissue.parenchyma


def _put_together(name: str, arrays: list[NDArray[Any]]) -> Any:
    if name == _BY_CLEARANCE:
        return tuple(arrays)
    if name == _SITES:
        return Sites(*arrays)
    hu, cell, foreign, parenchyma = arrays
    z, y, x = (int(n) for n in cell)
    return Tissue(Background(hu, (z, y, x)), foreign, parenchyma)
