"""nnU-Net's preprocessed cases, with tumours drawn into whatever is cut out of them.

nnU-Net's data loader loads a case, decides where to cut, and cuts. Here the case that it loads is a view: it knows its
tumours at once, so that oversampling finds them, and renders only what is cut. What was measured in a case lies beside
the preprocessed cases (`training.measuring`).

Nothing here imports nnU-Net: a dataset is anything with `source_folder`, `identifiers` and `load_case`. Arrays are
(z, y, x), or whatever order the plans have turned them to; nnU-Net's have the channel first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..imaging import Box, Geometry, overlap
from ..labels import TUMOR
from ..method import Block, Plan, Scan, Settings, draw_variant
from .frame import Frame, Normalization
from .measuring import describe_source, recall_scan
from .patches import draw_any_class, draw_tumor_voxels, render_box

_FIXED = 5  # variants of a validation case, at least


class _View:
    """An array (1, z, y, x) that gives what `read` makes of each box that is cut out of the source."""

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
    """An array (z, y, x) that gives what `read` makes of each box of a source (1, z, y, x): what a `Scan` takes."""

    def __init__(self, source: Any, read: Callable[[Box, NDArray[Any]], NDArray[Any]], dtype: Any) -> None:
        super().__init__(source, read)
        self.shape, self.ndim, self.dtype = self.shape[1:], 3, np.dtype(dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        values: NDArray[Any] = self._read(key, _own(self._source[(slice(0, 1), *key)]))[0]
        return values


def _own(values: Any) -> NDArray[Any]:
    """What was cut out, as an array that may be written to: Blosc2 makes a new one, a slice of an array is copied."""
    array: NDArray[Any] = np.asarray(values)
    return array if array.flags.owndata and array.flags.writeable else array.copy()


@dataclass(slots=True, eq=False)
class _Painting:
    """A case and its tumours. The blocks of the last box are kept: the label is cut right after the image."""

    scan: Scan
    plan: Plan
    normalization: Normalization
    _box: Box | None = None
    _blocks: tuple[Block, ...] = ()

    def _blocks_of(self, box: Box) -> tuple[Block, ...]:
        if self._box != box:
            self._box, self._blocks = box, render_box(self.scan, self.plan, box)
        return self._blocks

    def image(self, box: Box, values: NDArray[Any]) -> NDArray[Any]:
        """Normalised values (1, z, y, x) of a box, with its tumours; voxels that no tumour changes keep their bits."""
        for block in self._blocks_of(box):
            windows = overlap(box, block.box)
            if windows:
                here, new = values[0][windows[0]], block.image[windows[1]]
                changed = new != self.normalization.to_hu(here)
                here[changed] = self.normalization.to_values(new[changed])
        return values

    def label(self, box: Box, values: NDArray[Any]) -> NDArray[Any]:
        """Labels (1, z, y, x) of a box, with its tumours; nnU-Net's -1 (no data here) stays where no tumour is."""
        for block in self._blocks_of(box):
            windows = overlap(box, block.box)
            if windows:
                here, new = values[0][windows[0]], block.label[windows[1]]
                here[...] = np.where((new == 0) & (here < 0), here, new)
        return values


# Draws the plan that a case has this time.
Draw = Callable[[Scan], Plan]


def fresh_tumors(settings: Settings) -> Draw:
    """Draw new tumours at every call.

    Their generator is seeded from numpy's global state, from which nnU-Net draws cases and places: if its workers are
    seeded, the tumours are too.
    """
    return partial(_fresh, settings)


def _fresh(settings: Settings, scan: Scan) -> Plan:
    return draw_any_class(scan, settings, _generator())


def fixed_tumors(settings: Settings, seed: int) -> Draw:
    """Draw the tumours of a case's first variants, five or more: the same in every epoch and training.

    There are as many of each size class.
    """
    return partial(_fixed, settings, seed)


def _fixed(settings: Settings, seed: int, scan: Scan) -> Plan:
    classes = len(settings.sizes)
    variants = classes * math.ceil(_FIXED / classes)
    return draw_variant(scan, settings, seed, int(_generator().integers(variants)))


def _generator() -> np.random.Generator:
    return np.random.default_rng(np.random.randint(2**32, size=4, dtype=np.uint64))  # noqa: NPY002  # see `fresh_tumors`


class TumorCases:
    """nnU-Net's dataset of healthy cases, each of which has tumours whenever it is loaded.

    Parameters
    ----------
    dataset
        nnU-Net's dataset.
    folder
        Where `measure_cases` has stored what it measured.
    frame, settings
        What the cases were measured with.
    drawn
        Draws the plan of a case: `fresh_tumors(settings)` or `fixed_tumors(settings, seed)`.
    skip
        Cases that get no tumours and are loaded as they are.

    Raises
    ------
    TumorgenError
        A case that is not skipped was not measured.
    """

    def __init__(
        self, dataset: Any, folder: Path, frame: Frame, settings: Settings, drawn: Draw, skip: Sequence[str] = ()
    ) -> None:
        self.dataset, self.frame, self.drawn = dataset, frame, drawn
        self.identifiers: list[str] = dataset.identifiers
        self.source_folder = dataset.source_folder
        self.measured: dict[str, dict[str, Any]] = {}
        for case in dict.fromkeys(self.identifiers):
            found = None if case in skip else recall_scan(case, folder, describe_source(dataset, case, frame, settings))
            if found is None and case not in skip:
                raise TumorgenError(f"{folder}: nothing was measured for {case}; start the training again")
            if found:
                self.measured[case] = found

    def __getitem__(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        return self.load_case(identifier)

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Data, labels, labels of a previous stage, and properties; the first two are views to cut boxes out of."""
        data, seg, previous, properties = self.dataset.load_case(identifier)
        if identifier not in self.measured:
            return data, seg, previous, properties
        scan = self.scan(identifier, data, seg)
        painting = _Painting(scan, self.drawn(scan), self.frame.normalization)
        voxels = draw_tumor_voxels(painting.plan, scan.geometry, _generator())
        locations = np.insert(voxels, 0, 0, axis=1)  # nnU-Net's have the channel first
        properties = {**properties, "class_locations": {**properties["class_locations"], TUMOR: locations}}
        return _View(data, painting.image), _View(seg, painting.label), previous, properties

    def scan(self, identifier: str, data: Any, seg: Any) -> Scan:
        """The case as a scan whose voxels are read, in HU, when they are needed."""
        found = dict(self.measured[identifier])
        to_hu = self.frame.normalization.to_hu
        image: Any = _Voxels(data, lambda _, values: to_hu(values), np.float32)
        liver: Any = _Voxels(seg, lambda _, values: values > 0, bool)
        geometry, known = Geometry(image.shape, found.pop("spacing_mm")), found.pop("knowing")
        return Scan(case=identifier, geometry=geometry, hu=image, inside=liver, **found).knowing(**known)
