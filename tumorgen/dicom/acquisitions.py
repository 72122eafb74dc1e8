"""Whether the slices of a series were taken in one go: phases and reconstructions may share the UID of a series.

Of slices half a step apart, or one behind the other, positions alone make a sound grid. What tells acquisitions apart
is then in the headers, and none of it does so by itself: scanners count acquisitions up in the middle of one spiral,
and give every slice, or every turn of the tube, its own time. So numbers, times, contrast medium, kernel and places
are looked at together.

DICOM PS3.3: C.7.6.1 general image, C.7.6.4 contrast/bolus, C.8.2.1 CT image.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .slices import Slice

PAUSE_S = 10.0  # longer than from one turn of the tube to the next; a phase later, or another breath
STEPS = 10  # a scan of so many blocks with a pause before each goes step by step, as slow scanners do
SLOWER = 5.0  # than its usual step: a pause of such a scan
_DAY_S = 24 * 3600.0
_MOST_TURNS = 4  # phases of a scan

ATTRIBUTES = (
    *("AcquisitionNumber", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "InstanceNumber"),
    *("ContrastBolusAgent", "ContrastBolusVolume", "ContrastBolusStartTime", "ConvolutionKernel"),
    *("SeriesNumber", "FrameOfReferenceUID"),
)
# What is never two things in one acquisition, even if its slices lie behind one another; and what is where they lie
# between one another. Each is a word for what there are then several of.
_ALWAYS_APART = {"contrast": "acquisitions", "kernel": "reconstructions", "frame": "frames of reference"}
_MIXED_APART = {"number": "acquisitions", "pauses": "acquisitions", "series": "series", "order": "acquisitions"}
_NAMES = {
    **{"contrast": "ContrastBolus*", "kernel": "ConvolutionKernel", "frame": "FrameOfReferenceUID"},
    **{"number": "AcquisitionNumber", "pauses": "AcquisitionTime", "series": "SeriesNumber"},
    **{"order": "InstanceNumber"},
}


@dataclass(frozen=True, slots=True)
class Taking:
    """How a slice was taken: what of its header is only ever compared with that of other slices, never shown.

    Attributes
    ----------
    number, series
        Of the acquisition and the series; empty where the header does not say.
    seconds
        When, since any moment that all slices share; None where the header does not say.
    contrast
        What is said of the contrast medium.
    kernel, frame
        Kernel of the reconstruction, and UID of the frame of reference.
    order
        Number of the slice in its series; None where the header does not say.
    """

    number: str = ""
    series: str = ""
    seconds: float | None = None
    contrast: tuple[str, ...] = ()
    kernel: str = ""
    frame: str = ""
    order: int | None = None


def read_taking(header: Any) -> Taking:
    """How a slice was taken, as its header says; what is damaged in it counts as not there."""
    text = {name: _text_of(header, name) for name in ATTRIBUTES}
    return Taking(
        number=text["AcquisitionNumber"],
        series=text["SeriesNumber"],
        seconds=_seconds(text["AcquisitionDateTime"] or text["AcquisitionDate"] + text["AcquisitionTime"]),
        contrast=tuple(text[name] for name in ATTRIBUTES if name.startswith("ContrastBolus")),
        kernel=text["ConvolutionKernel"],
        frame=text["FrameOfReferenceUID"],
        order=int(text["InstanceNumber"]) if re.fullmatch(r"\d{1,9}", text["InstanceNumber"]) else None,
    )


def _text_of(header: Any, name: str) -> str:
    try:
        value = header.get(name)
        return "" if value is None else str(value).strip()
    except Exception:  # what conversion of a damaged value raises
        return ""


def _seconds(text: str) -> float | None:
    """Seconds of a date and a time, or of a time alone (PS3.5 6.2: DA, TM, DT); None of anything else."""
    found = re.match(r"(?:(\d{4})(\d\d)(\d\d))?(\d\d)(\d\d)(\d\d(?:\.\d{1,6})?)(?![\d.])", text)
    if not found:
        return None
    year, month, day, hours, minutes, seconds = found.groups()
    try:
        days = date(int(year), int(month), int(day)).toordinal() if year else 0
    except ValueError:
        return None
    return ((days * 24.0 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)


def find_acquisitions(ordered: Sequence[Slice]) -> tuple[str, str]:
    """Why slices, in order along their normal, are not of one acquisition, and what makes that doubtful; else empty.

    Refused is what was taken of another phase, another reconstruction or after a pause, whether it lies between the
    other slices or behind them. Acquisitions behind one another without a pause are one scan. Where the headers do not
    say when, or say one number on both sides of a pause, that is doubtful.
    """
    labels = _labels(ordered)
    apart = [name for name in _ALWAYS_APART if name in labels]
    mixed = [name for name in _MIXED_APART if name in labels and _is_mixed(labels[name])]
    is_timed = all(one.taking.seconds is not None for one in ordered)
    numbers = {one.taking.number for one in ordered}
    one_number = len(numbers) == 1 and "" not in numbers
    if "pauses" in labels and not one_number:
        apart.append("pauses")
    if mixed or apart:
        return _describe_apart((mixed or apart)[0], labels, is_mixed=bool(mixed)), ""
    if "pauses" in labels:
        return "", "the series was taken with a pause in it; look whether its parts fit together"
    if "number" in labels and not is_timed:
        count = len(set(labels["number"]))
        return "", f"the series is of {count} acquisitions behind one another; look whether they fit together"
    return "", ""


def differing(one: Slice, other: Slice) -> str:
    """The attributes that tell two slices apart, by name; empty where none does."""
    names = {"seconds": "AcquisitionTime", **_NAMES}
    return ", ".join(
        names[field.name]
        for field in fields(Taking)
        if field.name != "order" and getattr(one.taking, field.name) != getattr(other.taking, field.name)
    )


def _labels(ordered: Sequence[Slice]) -> dict[str, list[Hashable]]:
    """By what slices are in groups, and of which each is; what all share, or each has for itself, is left out."""
    names = ("number", "series", "contrast", "kernel", "frame")
    labels: dict[str, list[Hashable]] = {name: [getattr(one.taking, name) for one in ordered] for name in names}
    labels["pauses"] = _between_pauses([one.taking.seconds for one in ordered])
    labels["order"] = _between_numbers([one.taking.order for one in ordered])
    return {name: found for name, found in labels.items() if 1 < len(set(found)) < len(found)}


def _between_pauses(seconds: Sequence[float | None]) -> list[Hashable]:
    """After which pause of the scan each slice was taken; all after none where a time is not known."""
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return [0] * len(seconds)
    if max(known) < _DAY_S and max(known) - min(known) > _DAY_S / 2:  # times without dates, over midnight
        known = [each + _DAY_S * (each < _DAY_S / 2) for each in known]
    moments = np.unique(known)
    steps = np.diff(moments)
    longest = max(PAUSE_S, SLOWER * float(np.median(steps))) if len(steps) >= STEPS else PAUSE_S
    after = np.concatenate([[0], np.cumsum(steps > longest)])
    return [int(after[index]) for index in np.searchsorted(moments, known)]


def _between_numbers(order: Sequence[int | None]) -> list[Hashable]:
    """Which of two or more runs of numbers each slice is of, where the slices take turns among these."""
    known = [each for each in order if each is not None]
    if len(known) == len(order):
        for turns in range(2, _MOST_TURNS + 1):
            parts = sorted((known[first::turns] for first in range(turns)), key=min)
            if all(max(one) < min(other) for one, other in pairwise(parts)):
                return [index % turns for index in range(len(order))]
    return [0] * len(order)


def _is_mixed(labels: Sequence[Hashable]) -> bool:
    """Whether a group's slices lie between those of another one."""
    return _changes(labels) >= len(set(labels))


def _changes(labels: Sequence[Hashable]) -> int:
    return sum(one != other for one, other in pairwise(labels))


def _describe_apart(name: str, labels: Mapping[str, Sequence[Hashable]], *, is_mixed: bool) -> str:
    """The line that says what slices are of, how they lie, and all that tells these groups apart."""
    groups = labels[name]
    count = len(set(groups))
    alike = [_NAMES[other] for other, found in labels.items() if len(set(zip(found, groups, strict=True))) == count]
    sizes = [str(size) for size in Counter(groups).values()]
    shown = f"{', '.join(sizes[:4])}{', ...' if count > 4 else ''} slices"
    lie = "between one another" if is_mixed else "one behind the other"
    what = {**_ALWAYS_APART, **_MIXED_APART}[name]
    return f"its slices are of {count} {what}, {lie} ({shown}), by {', '.join(alike)}; export one of them alone"
