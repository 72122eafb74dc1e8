"""What nnU-Net's fingerprint needs of each sample, found without reading the sample."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..errors import Failure
from ..imaging import EMPTY, Box, bounding_box, hull, overlap, part_of, shape_of
from ..parallel import Case, attempt
from ..tables import Record
from .cases import find_crop
from .draws import draw_intensities
from .healthy import Healthy, Part, keep_changes, load_healthy


@dataclass(frozen=True, slots=True, eq=False)
class Traits:
    """What the fingerprint needs of a sample: its shape when it is cropped, and intensities of its foreground."""

    sample: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    relative_size: float
    intensities: NDArray[Any]


def find_traits(part: Part) -> list[Traits | Failure]:
    """What the fingerprint needs of each sample of a part."""
    with threadpool_limits(1):
        healthy = attempt(load_healthy, Case(part, part.source.case, len(part.records), part.about))
        if isinstance(healthy, Failure):
            return [healthy]
        foreground = bounding_box(healthy.label > 0)
        work = partial(_find_traits, part=part, healthy=healthy, foreground=foreground)
        return [attempt(work, Case(record, record.plan.sample, about=part.about)) for record in part.records]


def _find_traits(record: Record, part: Part, healthy: Healthy, foreground: Box) -> Traits:
    changes = healthy.changes(record)
    keep_changes(changes, part, record)
    outside, _ = healthy.outside_with(changes)
    crop = find_crop(outside, healthy.hu.shape)
    box = foreground
    for change in changes:
        box = hull(box, change.box)
    shared = overlap(box, crop)
    box = part_of(box, shared[0]) if shared else EMPTY
    with healthy.holding(changes):
        intensities = draw_intensities(healthy.hu[box], healthy.label[box], part.draws)
    shape = shape_of(crop)
    relative = float(np.prod(shape) / np.prod(healthy.hu.shape))
    return Traits(record.plan.sample, shape, tuple(map(float, healthy.properties["spacing"])), relative, intensities)
