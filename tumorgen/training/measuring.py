"""What the method measures in preprocessed cases: statistics, vessels, and what the settings' tumours need besides.

It is measured once and kept on disk.

The arrays are mapped into memory when they are read, so that all worker processes share them. Nothing here imports
nnU-Net: a dataset is anything with `source_folder`, `identifiers` and `load_case`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..dataset import write_json
from ..errors import TumorgenError
from ..imaging import whole_file
from ..labels import TUMOR
from ..method import Scan, Settings, measured_arrays, measured_from, needed_by
from ..parallel import Case, map_cases, split_failures
from .arrays import prepare_arrays
from .frame import Frame

_NUMBERS = ("mu_p_hu", "sigma_p_hu", "sigma_a", "image_sha256", "mask_sha256")
_FORMAT = 2  # of the stored measurements


def measure_cases(dataset: Any, folder: Path, frame: Frame, settings: Settings, jobs: int) -> dict[str, str]:
    """Measure every case of a dataset over processes; return the cases that get no tumours, and why.

    Raises
    ------
    TumorgenError
        A case cannot be read, or what was measured cannot be stored: training on would leave its tumours out unseen.
    """
    work = partial(measure_case, dataset, folder=folder, frame=frame, settings=settings)
    names = [*dict.fromkeys(dataset.identifiers)]  # a mixture lists a case as often as its share wants it
    cases = [Case(case, case) for case in names]
    reasons, failures = split_failures(map_cases(work, cases, max(1, jobs)))
    if failures:
        raise TumorgenError(f"{failures[0].name}: cannot be measured: {failures[0].reason}")
    return {case: reason for case, reason in zip(names, reasons, strict=True) if reason}


def measure_case(dataset: Any, case: str, folder: Path, frame: Frame, settings: Settings) -> str:
    """Measure a case at its preprocessed spacing and store the result, if that has not been done.

    Statistics and vessels are those of the clipped and resampled voxels: those that the network sees.

    Returns
    -------
    str
        Why the case gets no tumours: it has some already, or nothing can be measured in it; else empty.

    Raises
    ------
    TumorgenError
        The result cannot be stored.
    """
    about = describe_source(dataset, case, frame, settings)
    if recall_scan(case, folder, about) is not None:
        return ""
    data, seg, _, properties = dataset.load_case(case)
    image, label = frame.normalization.to_hu(np.array(data[0:1])[0]), np.array(seg[0:1])[0]
    if (label == TUMOR).any():
        return "has tumours already; it is used as it is"
    try:
        spacing_mm = frame.spacing_of(properties)
        scan = prepare_arrays(image, label, spacing_mm, case=case, settings=settings, clipped=True)
    except TumorgenError as error:
        return str(error)
    store_scan(scan, folder, about)
    return ""


def store_scan(scan: Scan, folder: Path, about: Mapping[str, Any]) -> None:
    """Write what was measured in a scan. `about` says in what, and what is needed; it is written last."""
    arrays = {"vessels": scan.vessels, **measured_arrays(scan, about["needed"])}
    for name, array in arrays.items():
        with whole_file(folder / f"{scan.case}_{name}.npy") as partial:
            np.save(partial, array)
    numbers = {name: getattr(scan, name) for name in _NUMBERS}
    roi = [[s.start, s.stop] for s in scan.roi]
    spacing = list(scan.geometry.spacing_mm)
    found = {"about": about, "roi": roi, "spacing_mm": spacing, "arrays": list(arrays), **numbers}
    write_json(found, folder / f"{scan.case}.json", parents=True)


def recall_scan(case: str, folder: Path, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read what `store_scan` wrote: fields of a `Scan`, its spacing, and what it is `knowing`. None if it is not fit.

    The arrays are mapped into memory.
    """
    try:
        found = json.loads((folder / f"{case}.json").read_text(encoding="utf-8"))
        if found["about"] != json.loads(json.dumps(about)):
            return None
        arrays = {name: np.load(folder / f"{case}_{name}.npy", mmap_mode="r") for name in found["arrays"]}
        roi = tuple(slice(int(start), int(stop)) for start, stop in found["roi"])
        spacing = tuple(float(s) for s in found["spacing_mm"])
        numbers = {name: found[name] for name in _NUMBERS}
        return {
            "roi": roi,
            "spacing_mm": spacing,
            "vessels": arrays["vessels"],
            "knowing": measured_from(arrays),
            **numbers,
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None


def describe_source(dataset: Any, case: str, frame: Frame, settings: Settings) -> dict[str, Any]:
    """Describe what a measurement depends on: the case's files, the frame, vessels, and what tumours need of it."""
    files = [Path(dataset.source_folder) / f"{case}{end}" for end in (".b2nd", "_seg.b2nd", ".npz", ".pkl")]
    states = [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.exists()]
    source = {"files": states, "frame": asdict(frame), "vessels": asdict(settings.vessels)}
    return {"format": _FORMAT, "needed": needed_by(settings), **source}
