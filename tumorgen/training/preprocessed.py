"""nnU-Net's preprocessed cases as scans, with tumours drawn into whatever is cut out of them.

nnU-Net's data loader loads a case, decides where to cut, and cuts. Here the case that it loads is a view: it knows its
tumours at once, so that oversampling finds them, and renders only what is cut. What is measured in a case (statistics,
vessels, clearance) lies beside the preprocessed cases and is mapped into memory, which all worker processes share.

Nothing here imports nnU-Net: a dataset is anything with `source_folder`, `identifiers` and `load_case`. Arrays are
(z, y, x), or whatever order the plans have turned them to; nnU-Net's have the channel first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from ..dataset.raw import write_json
from ..errors import TumorgenError
from ..imaging.boxes import Box, overlap
from ..imaging.files import whole_file
from ..imaging.geometry import Geometry, Triple
from ..labels import LABELS, TUMOR
from ..method.patch import Block
from ..method.plan import Plan
from ..method.sampling import draw_variant, mu_range
from ..method.scan import Scan
from ..method.settings import Settings
from .arrays import draw, prepare_arrays, render_box, tumor_voxels

_ARRAYS = ("vessels", "candidates", "clearance_mm")
_NUMBERS = ("mu_p_hu", "sigma_p_hu", "sigma_a", "image_sha256", "mask_sha256")
_FORMAT = 1  # of the stored measurements


@dataclass(frozen=True, slots=True)
class Normalization:
    """nnU-Net's CT normalisation: clip to [low, high] HU, subtract the mean, divide by the standard deviation.

    It is undone up to the clipping: what was beyond low and high is at low and high.
    """

    mean_hu: float
    sd_hu: float
    low_hu: float
    high_hu: float

    @classmethod
    def of(cls, properties: Mapping[str, float]) -> Normalization:
        """From the plans' `foreground_intensity_properties_per_channel` of the CT."""
        return cls(
            float(properties["mean"]),
            max(float(properties["std"]), 1e-8),  # as nnU-Net guards it
            float(properties["percentile_00_5"]),
            float(properties["percentile_99_5"]),
        )

    def to_hu(self, values: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """HU of normalised values."""
        return np.asarray(values, np.float32) * np.float32(self.sd_hu) + np.float32(self.mean_hu)

    def to_values(self, hu: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
        """Normalised values of HU, clipped."""
        clipped = np.clip(np.asarray(hu, np.float32), np.float32(self.low_hu), np.float32(self.high_hu))
        return (clipped - np.float32(self.mean_hu)) / np.float32(self.sd_hu)


@dataclass(frozen=True, slots=True)
class Frame:
    """What a configuration of nnU-Net's plans makes of every case.

    Attributes
    ----------
    normalization
        Of the CT.
    spacing_mm
        Target spacing: three numbers, or the last two where slices keep their distance (2d).
    transpose
        nnU-Net's `transpose_forward`.
    """

    normalization: Normalization
    spacing_mm: tuple[float, ...]
    transpose: tuple[int, ...] = (0, 1, 2)

    @classmethod
    def of(cls, plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any]) -> Frame:
        """The frame of a configuration, where tumours can be drawn in it.

        Raises
        ------
        TumorgenError
            A cascade, another normalisation than CT's, or other labels than background, liver and tumor.
        """
        chosen = plans["configurations"][configuration]
        chosen = {**plans["configurations"].get(chosen.get("inherits_from"), {}), **chosen}
        if chosen.get("previous_stage"):
            raise TumorgenError(
                f"{configuration} is the second stage of a cascade, which cannot be trained with tumours drawn on the"
                " fly (the first stage has not seen them); train 3d_fullres or 3d_lowres"
            )
        if list(chosen["normalization_schemes"]) != ["CTNormalization"]:
            raise TumorgenError(
                f"tumours need one channel named CT, but the plans normalise with {chosen['normalization_schemes']}"
            )
        if dict(dataset_json["labels"]) != LABELS:
            raise TumorgenError(f"labels are {dataset_json['labels']}, not {LABELS}; make the dataset with `healthy`")
        return cls(
            Normalization.of(plans["foreground_intensity_properties_per_channel"]["0"]),
            tuple(float(s) for s in chosen["spacing"]),
            tuple(plans["transpose_forward"]),
        )

    def spacing_of(self, properties: Mapping[str, Any]) -> Triple:
        """Spacing of a preprocessed case, along its own axes."""
        full = [float(properties["spacing"][axis]) for axis in self.transpose]
        full[3 - len(self.spacing_mm) :] = self.spacing_mm
        return full[0], full[1], full[2]


class _View:
    """An array of one channel in place of which something else is read, box by box."""

    def __init__(self, source: Any, read: Callable[[Box, NDArray[Any]], NDArray[Any]]) -> None:
        self._source, self._read = source, read
        self.shape: tuple[int, ...] = tuple(int(n) for n in source.shape)
        self.ndim, self.dtype = len(self.shape), source.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        parts = key if isinstance(key, tuple) else (key,)
        parts += (slice(None),) * (self.ndim - len(parts))
        if len(parts) != self.ndim or not all(isinstance(part, slice) and part.step in (None, 1) for part in parts):
            raise IndexError(f"only boxes can be cut out of a case, not {key}")
        _, z, y, x = (slice(*part.indices(n)[:2]) for part, n in zip(parts, self.shape, strict=True))
        return self._read((z, y, x), _own(self._source[parts[0], z, y, x]))


class _Voxels(_View):
    """The same without the channel: what a `Scan` has for an array."""

    def __init__(self, source: Any, read: Callable[[Box, NDArray[Any]], NDArray[Any]], dtype: Any) -> None:
        super().__init__(source, read)
        self.shape, self.ndim, self.dtype = self.shape[1:], 3, np.dtype(dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        values: NDArray[Any] = self._read(key, _own(self._source[(slice(0, 1), *key)]))[0]
        return values


def _own(values: Any) -> NDArray[Any]:
    """What was cut, to be written to: Blosc2 has made a new array of it, a slice of an array needs a copy."""
    array: NDArray[Any] = np.asarray(values)
    return array if array.flags.owndata and array.flags.writeable else array.copy()


def store(scan: Scan, folder: Path, about: Mapping[str, Any]) -> None:
    """Write what was measured in a scan; `about` says what it was measured in, and is written last."""
    for name in _ARRAYS:
        with whole_file(folder / f"{scan.case}_{name}.npy") as partial:
            np.save(partial, getattr(scan, name))
    numbers = {name: getattr(scan, name) for name in _NUMBERS}
    roi = [[s.start, s.stop] for s in scan.roi]
    spacing = list(scan.geometry.spacing_mm)
    found = {"about": about, "roi": roi, "spacing_mm": spacing, **numbers}
    write_json(found, folder / f"{scan.case}.json", parents=True)


def recall(case: str, folder: Path, about: Mapping[str, Any]) -> dict[str, Any] | None:
    """What `store` wrote, the arrays mapped into memory; None where it is of something else, or nothing."""
    try:
        found = json.loads((folder / f"{case}.json").read_text(encoding="utf-8"))
        if found["about"] != json.loads(json.dumps(about)):
            return None
        arrays = {name: np.load(folder / f"{case}_{name}.npy", mmap_mode="r") for name in _ARRAYS}
        roi = tuple(slice(int(start), int(stop)) for start, stop in found["roi"])
        spacing = tuple(float(s) for s in found["spacing_mm"])
        return {"roi": roi, "spacing_mm": spacing, **arrays, **{name: found[name] for name in _NUMBERS}}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def measure(dataset: Any, case: str, folder: Path, frame: Frame, settings: Settings) -> str:
    """Measure a case at its preprocessed spacing, once, and store that; why it cannot be, or nothing.

    Statistics and vessels are those of the clipped and resampled voxels: those that the network sees.
    """
    about = _about(dataset, case, frame, settings)
    if recall(case, folder, about) is not None:
        return ""
    data, seg, _, properties = dataset.load_case(case)
    image, label = frame.normalization.to_hu(np.array(data[0:1])[0]), np.array(seg[0:1])[0]
    if (label == TUMOR).any():
        return "has tumours already; it is used as it is"
    try:
        scan = prepare_arrays(image, label, frame.spacing_of(properties), settings.vessels, case)
    except TumorgenError as error:
        return str(error)
    store(scan, folder, about)
    return ""


def _about(dataset: Any, case: str, frame: Frame, settings: Settings) -> dict[str, Any]:
    """What a measurement depends on."""
    files = [Path(dataset.source_folder) / f"{case}{end}" for end in (".b2nd", "_seg.b2nd", ".npz", ".pkl")]
    states = [[f.name, f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.exists()]
    return {"format": _FORMAT, "files": states, "frame": asdict(frame), "vessels": asdict(settings.vessels)}


def measure_all(
    dataset: Any, folder: Path, frame: Frame, settings: Settings, jobs: int, progress: Callable[[], None] = lambda: None
) -> dict[str, str]:
    """Measure every case of a dataset over processes; returns the cases that get no tumours, and why."""
    parallel = joblib.Parallel(n_jobs=max(1, min(jobs, len(dataset.identifiers))), return_as="generator")
    work = joblib.delayed(measure)
    reasons = {}
    results = parallel(work(dataset, case, folder, frame, settings) for case in dataset.identifiers)
    for case, reason in zip(dataset.identifiers, results, strict=True):
        if reason:
            reasons[case] = reason
        progress()
    return reasons


@dataclass(slots=True, eq=False)
class _Painting:
    """A case and its tumours; the blocks of the box that was asked for last are kept, since the label follows."""

    scan: Scan
    plan: Plan
    normalization: Normalization
    _box: Box | None = None
    _blocks: tuple[Block, ...] = ()

    def _of(self, box: Box) -> tuple[Block, ...]:
        if self._box != box:
            self._box, self._blocks = box, render_box(self.scan, self.plan, box)
        return self._blocks

    def image(self, box: Box, values: NDArray[Any]) -> NDArray[Any]:
        """Normalised values (1, z, y, x) of a box with the tumours in them; what they leave keeps its bits."""
        for block in self._of(box):
            windows = overlap(box, block.box)
            if windows:
                here, new = values[0][windows[0]], block.image[windows[1]]
                changed = new != self.normalization.to_hu(here)
                here[changed] = self.normalization.to_values(new[changed])
        return values

    def label(self, box: Box, values: NDArray[Any]) -> NDArray[Any]:
        """Labels (1, z, y, x) of a box with the tumours; nnU-Net's -1, no data here, stays where nothing grows."""
        for block in self._of(box):
            windows = overlap(box, block.box)
            if windows:
                here, new = values[0][windows[0]], block.label[windows[1]]
                here[...] = np.where((new == 0) & (here < 0), here, new)
        return values


# Tells which plan a case has this time.
Draw = Callable[[Scan], Plan]


def fresh(settings: Settings) -> Draw:
    """New tumours at every call.

    They are drawn from a generator seeded by numpy's global state, from which nnU-Net draws cases and places: where its
    workers are seeded, the tumours are too.
    """
    return partial(_fresh, settings)


def _fresh(settings: Settings, scan: Scan) -> Plan:
    return draw(scan, settings, _generator())


def _generator() -> np.random.Generator:
    return np.random.default_rng(np.random.randint(2**32, size=4, dtype=np.uint64))  # noqa: NPY002  # see `fresh`


def fixed(settings: Settings, seed: int) -> Draw:
    """The tumours of a case's first variants, one for each size class: the same ones in every epoch and training."""
    return partial(_fixed, settings, seed)


def _fixed(settings: Settings, seed: int, scan: Scan) -> Plan:
    return draw_variant(scan, settings, seed, int(_generator().integers(len(settings.sizes))))


class TumorCases:
    """nnU-Net's dataset of healthy cases, each with tumours whenever it is loaded; others it gives as they are.

    Parameters
    ----------
    dataset
        nnU-Net's.
    folder
        Where `measure_all` has stored what it measured.
    frame, settings
        As they were measured with.
    drawn
        `fresh` or `fixed`.
    skip
        Cases that get none.
    """

    def __init__(
        self, dataset: Any, folder: Path, frame: Frame, settings: Settings, drawn: Draw, skip: Sequence[str] = ()
    ) -> None:
        self.dataset, self.frame, self.drawn = dataset, frame, drawn
        self.identifiers: list[str] = dataset.identifiers
        self.source_folder = dataset.source_folder
        self.measured: dict[str, dict[str, Any]] = {}
        for case in self.identifiers:
            found = None if case in skip else recall(case, folder, _about(dataset, case, frame, settings))
            if found is None and case not in skip:
                raise TumorgenError(f"{folder}: nothing was measured for {case}")
            if found:
                self.measured[case] = found

    def __getitem__(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        return self.load_case(identifier)

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Data, labels, labels of a previous stage, and properties; the first two may be views to be cut."""
        data, seg, previous, properties = self.dataset.load_case(identifier)
        if identifier not in self.measured:
            return data, seg, previous, properties
        scan = self.scan(identifier, data, seg)
        painting = _Painting(scan, self.drawn(scan), self.frame.normalization)
        voxels = tumor_voxels(painting.plan, scan.geometry, _generator())
        locations = np.insert(voxels, 0, 0, axis=1)  # nnU-Net's have the channel first
        properties = {**properties, "class_locations": {**properties["class_locations"], TUMOR: locations}}
        return _View(data, painting.image), _View(seg, painting.label), previous, properties

    def scan(self, identifier: str, data: Any, seg: Any) -> Scan:
        """A case as a scan whose voxels are read, in HU, when they are asked for."""
        found = dict(self.measured[identifier])
        to_hu = self.frame.normalization.to_hu
        image: Any = _Voxels(data, lambda _, values: to_hu(values), np.float32)
        liver: Any = _Voxels(seg, lambda _, values: values > 0, bool)
        geometry = Geometry(image.shape, found.pop("spacing_mm"))
        return Scan(case=identifier, geometry=geometry, hu=image, inside=liver, **found)


def hidden_share(settings: Settings, scan_mu_hu: float, scan_sigma_hu: float, normalization: Normalization) -> float:
    """Roughly which share of tumours is, by its mean, less than a standard deviation above where HU are clipped.

    Of those texture or even depth is lost: to the network, which sees every scan through the same clipping.
    """
    mu = mu_range(settings, scan_mu_hu)
    rng = np.random.default_rng(0)
    drawn = np.array([mu.draw(rng) for _ in range(1000)])
    return float((drawn - scan_sigma_hu < normalization.low_hu).mean())
