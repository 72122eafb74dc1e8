"""What a mask is: a volume of one value above zero; and how the liver is chosen from a map of several labels.

Whole numbers that came through floating point count as whole, so 0.9999 is 1 beside 0. Arrays are (z, y, x).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TumorgenError
from ..labels import LIVER, TUMOR
from .geometry import Volume
from .label_names import is_number, read_label_names
from .reading import read_volume
from .tumor_names import names_tumor

ANY = "any"  # word that stands for every label
BETWEEN = ";"  # words of a choice in a table

_MOST = 512  # labels of a map; an image has more values
_LEAST = -1  # where nnU-Net has no data; an image goes lower
_ROUNDING = 1e-3  # by which a label may be off
_BLOCK = 1 << 24  # voxels that are looked at together
_NAMED = 8  # labels that a message names
_LITS = (LIVER, TUMOR)  # in its label maps, and in those of the Medical Segmentation Decathlon


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """Which labels of a file are what: numbers, or names that the file or a JSON file beside it gives them.

    Attributes
    ----------
    liver
        Labels that together are the liver; `any` is every one. None: the file must be a mask.
    real_tumors
        Labels of tumours that are really there, which are kept; the scan may have none of them.
    unchecked
        Nothing is asked of the values: of a file that is no mask, whatever is above zero is liver. So are those of a
        manifest, whose rows know their masks by a checksum.
    traces
        What rounding has left in the background of such a mask is liver, too, as masks were read before 0.2.
    recorded
        The choice is that of a row, which renders again as it was: no label is looked at for a tumour.

    Raises
    ------
    TumorgenError
        A label is empty or holds what parts labels in a table, or is chosen twice over.
    """

    liver: tuple[str, ...] = ()
    real_tumors: tuple[str, ...] = ()
    unchecked: bool = False
    traces: bool = field(default=False, compare=False)
    recorded: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        for word in (*self.liver, *self.real_tumors):
            if not word.strip() or BETWEEN in word:
                raise TumorgenError(f"label {word!r}: a number or a name is needed")
        for word in set(self.liver) & set(self.real_tumors):
            raise TumorgenError(f"label {word!r} is both liver and a real tumour; choose one")

    @classmethod
    def of_cells(cls, liver: str, real_tumors: str) -> LabelChoice:
        """The choice that a row has recorded; of no words, what is above zero."""
        chosen, there = (tuple(filter(None, cell.split(BETWEEN))) for cell in (liver, real_tumors))
        return cls(chosen, there, unchecked=not (chosen or there), recorded=True)

    @property
    def cells(self) -> tuple[str, str]:
        """The choice as a row records it."""
        return BETWEEN.join(self.liver), BETWEEN.join(self.real_tumors)


MASK = LabelChoice()
EVERYTHING = LabelChoice(unchecked=True)


def read_mask(path: Path, labels: LabelChoice = MASK, trust: str = "") -> Volume:
    """Read the liver from a mask or, where labels are chosen, from a label map (`find_liver`).

    `trust` is that of `read_volume`.

    Raises
    ------
    TumorgenError
        The file is not a volume that can be read (`read_volume`), it is empty, it is no mask and nothing is chosen from
        it, or what is chosen is not in it.
    """
    volume = read_volume(path, trust)
    liver = find_liver(volume.array, labels, read_label_names(path), where=str(path), own=True)
    return Volume(liver, volume.geometry)


def find_liver(
    array: NDArray[Any],
    labels: LabelChoice = MASK,
    names: Mapping[int, str] | None = None,
    *,
    where: str = "label",
    own: bool = False,
) -> NDArray[Any]:
    """Find the liver, and tumours that are really there, in the values of a mask or a label map.

    Parameters
    ----------
    array
        Values (z, y, x) of any real type; zero and below are background.
    labels
        What is chosen.
    names
        Label -> name, where names are known.
    where
        What the values are of, for messages.
    own
        Whether the array may be written over: a new one takes as long as all else that is done to a large mask.

    Returns
    -------
    liver
        Boolean (z, y, x); or, where tumours are kept and are there, 0, 1 (liver) and 2 (such a tumour) as uint8.

    Raises
    ------
    TumorgenError
        There is no value above zero; there are several, and nothing is chosen from them; they are fractions, or those
        of an image; what is chosen is not there; or a tumour that is there by its name is not chosen.
    """
    if labels.unchecked:
        liver: NDArray[np.bool_] = array > 0
        if not liver.any():
            raise _empty(where)
        return liver if labels.traces or not _is_rounded_mask(array) else _is_high(array)
    found = _labels_in(array, where)
    chosen, tumors = _choose(found, labels, names or {}, where)
    liver = _is_high(array, own=own and not tumors) if len(found) == 1 else _holds(array, chosen)
    if not tumors:
        return liver
    both = liver.astype(np.uint8)
    both[_holds(array, tumors)] = TUMOR
    return both


def chooses_same(one: LabelChoice, other: LabelChoice, path: Path) -> bool:
    """Whether two choices are of the same labels of a file, by number or by the names that it has now, in any order."""
    pairs = ((one.liver, other.liver), (one.real_tumors, other.real_tumors))
    if all(set(words) == set(others) for words, others in pairs):
        return True
    names = read_label_names(path)
    return all(_labels_of(words, names) == _labels_of(others, names) for words, others in pairs)


def round_labels(array: NDArray[Any]) -> NDArray[Any]:
    """Labels (z, y, x) that floating point has left a little off are whole again, 1.9999999 as 2; the rest stays."""
    if array.dtype.kind != "f":
        return array
    whole = np.rint(array)
    return np.where(np.abs(array - whole) <= _ROUNDING, whole, array)


def find_renumbering(path: Path) -> str:
    """How the names of a file's labels, where they are known, contradict 1 for liver and 2 for tumour; else empty.

    A model that was trained with other numbers writes them, and its dataset.json beside them.
    """
    names = read_label_names(path)
    liver = [label for label, name in names.items() if name.lower() == "liver"]
    tumors = [label for label, name in names.items() if names_tumor(name)]
    if all(not found or label in found for label, found in zip(_LITS, (liver, tumors), strict=True)) and (
        LIVER not in tumors and TUMOR not in liver
    ):
        return ""
    named = _listed(sorted({*liver, *tumors}), names)
    return (
        f"its labels are named {named}, but here {LIVER} is liver and {TUMOR} tumour; renumber them, or correct"
        " the names (in the file, or in a JSON file beside it)"
    )


def relabel(volume: Volume, path: Path, labels: LabelChoice) -> Volume:
    """Bring a label map to 0, 1 (liver) and 2 (tumour), whatever its numbers for both; what is chosen may be missing.

    Parameters
    ----------
    volume
        Values (z, y, x) of any real type; zero and below are background.
    path
        Its file, for the names of its labels.
    labels
        Labels that are liver, and those that are tumour: where none are chosen, those that are so by their names.

    Raises
    ------
    TumorgenError
        The values are fractions or those of an image, a name is not known, or a label is both.
    """
    array, names, where = volume.array, read_label_names(path), str(path)
    both = np.zeros(array.shape, np.uint8)
    if not (array > 0).any():
        return Volume(both, volume.geometry)
    found = _labels_in(array, where)
    tumors = {number for word in labels.real_tumors for number in _numbers_of(word, found, names, where)}
    if not labels.real_tumors:
        tumors = {number for number, name in names.items() if names_tumor(name)}
    rest = [label for label in found if label not in tumors]  # what `any` joins
    liver = {number for word in labels.liver for number in _numbers_of(word, rest, names, where)}
    tumors -= set() if labels.real_tumors else liver
    if shared := sorted(liver & tumors):
        raise TumorgenError(f"{where}: label {_listed(shared, names)} is both liver and tumour; choose one")
    both[_holds(array, liver)] = LIVER
    both[_holds(array, tumors)] = TUMOR
    return Volume(both, volume.geometry)


def _empty(where: str) -> TumorgenError:
    return TumorgenError(f"{where}: the mask is empty; check the output of liver-mask")


def _is_high(array: NDArray[Any], *, own: bool = False) -> NDArray[np.bool_]:
    """Voxels of the one value above zero; what floating point has left in the background is none."""
    in_place = own and array.itemsize == 1 and array.flags.writeable
    least = array.max() / 2 if array.dtype.kind == "f" else 0
    high: NDArray[np.bool_] = np.greater(array, least, out=array.view(bool) if in_place else None)
    return high


def _is_rounded_mask(array: NDArray[Any]) -> bool:
    """Whether these are the values of a mask that may have come through floating point."""
    try:
        return array.dtype.kind == "f" and len(_labels_in(array, "")) == 1
    except TumorgenError:
        return False


def _holds(array: NDArray[Any], labels: Collection[int]) -> NDArray[np.bool_]:
    """Voxels that have one of some labels, up to rounding."""
    whole = np.rint(array) if array.dtype.kind == "f" else array
    return np.isin(whole, list(labels))


def _labels_in(array: NDArray[Any], where: str) -> tuple[int, ...]:
    """The labels of a mask or a label map, rising; a mask of whatever value has one."""
    values = _values_above_zero(array)
    if not values:
        raise _empty(where)
    low, high = values[0], values[-1]
    if any(abs(value - np.rint(value)) > _ROUNDING for value in values):
        if high - low <= _ROUNDING * high:
            return (max(1, round(high)),)
        raise TumorgenError(
            f"{where}: holds fractions ({low:.4g} to {high:.4g}), as a map of probabilities does: no mask; cut it off"
            " at one half, and save that"
        )
    if len(values) > _MOST or array.min() < _LEAST:
        many = f"more than {_MOST}" if len(values) > _MOST else f"{len(values)}"
        raise TumorgenError(
            f"{where}: holds {many} values above 0, and down to {array.min():g}, as an image does: neither a mask nor a"
            " label map"
        )
    return tuple(sorted({round(value) for value in values} - {0})) or (1,)


def _values_above_zero(array: NDArray[Any]) -> list[float]:
    """Distinct values above zero, rising; of more than a label map has, some. In blocks, to save memory."""
    found: set[Any] = set()
    flat = array.reshape(-1)
    for first in range(0, flat.size, _BLOCK):
        block = flat[first : first + _BLOCK]
        block = block[block > 0]
        for known in found:
            block = block[block != known]
        if block.size:
            common = block[0]  # nearly all masks have no other value, and need no sorting
            others = block[block != common]
            found |= {common, *(np.unique(others)[: _MOST + 1] if others.size else ())}
        if len(found) > _MOST:
            break
    return sorted(float(value) for value in found)


def _choose(
    found: tuple[int, ...], labels: LabelChoice, names: Mapping[int, str], where: str
) -> tuple[set[int], set[int]]:
    """Those of the labels found that are liver, and those that are real tumours.

    Raises
    ------
    TumorgenError
        Nothing is chosen from several, what is chosen is not there, or a tumour is there that is not chosen.
    """
    tumors = {number for word in labels.real_tumors for number in _numbers_of(word, found, names, where)}
    rest = [label for label in found if label not in tumors]
    if labels.liver:
        liver = {number for word in labels.liver for number in _numbers_of(word, rest, names, where)}
    else:
        liver = {_only_liver(found, rest, names, where)}
    if both := sorted(liver & tumors):
        raise TumorgenError(f"{where}: label {_listed(both, names)} is both liver and a real tumour; choose one")
    if not liver.intersection(rest):
        raise TumorgenError(f"{where}: holds no label {' or '.join(labels.liver)}; it holds {_listed(found, names)}")
    if not labels.recorded:
        _refuse_unasked(found, labels, tumors, names, where)
    return liver, tumors.intersection(found)


def _refuse_unasked(
    found: Sequence[int], labels: LabelChoice, kept: Collection[int], names: Mapping[int, str], where: str
) -> None:
    """Refuse tumours that nobody has chosen: `any` chooses none."""
    chosen = {number for word in labels.liver if word != ANY for number in _numbers_of(word, found, names, where)}
    unasked = [label for label in _tumors_in(found, names) if label not in chosen and label not in kept]
    if unasked:
        raise _not_healthy(where, unasked, names, joined=ANY in labels.liver)


def _numbers_of(word: str, found: Sequence[int], names: Mapping[int, str], where: str) -> list[int]:
    """The labels that a number or a name stands for."""
    if is_number(word):
        return [int(word)]
    if word == ANY:
        return list(found)
    numbers = [number for number, name in names.items() if name.lower() == word.lower()]
    if not numbers:
        known = f"names are {_some(list(names.values()))}" if names else "no names are known; give a number"
        raise TumorgenError(f"{where}: no label is called {word[:80]!r}: {known}; it holds {_listed(found, names)}")
    return numbers


def _labels_of(words: Sequence[str], names: Mapping[int, str]) -> set[int | str]:
    """The labels that words stand for; `any`, and a name that is not known, stand for themselves."""
    labels: set[int | str] = set()
    for word in words:
        known = {label for label, name in names.items() if word != ANY and name.lower() == word.lower()}
        labels |= {int(word)} if is_number(word) else known or {word}
    return labels


def _only_liver(found: Sequence[int], rest: Sequence[int], names: Mapping[int, str], where: str) -> int:
    """The liver of a file from which nothing is chosen: the one label that is there.

    Raises
    ------
    TumorgenError
        There are several, or the one is something else by its name.
    """
    holds = f"holds {_listed(found, names)}"
    if not rest:
        raise TumorgenError(f"{where}: {holds}, and no liver")
    if len(rest) == 1:
        name = names.get(rest[0], "").lower()
        if name != "liver" and name and (names_tumor(name) or "liver" in {other.lower() for other in names.values()}):
            raise TumorgenError(f"{where}: {holds}, and no liver")
        return rest[0]
    if tumors := _tumors_in(rest, names):
        raise _not_healthy(where, tumors, names)
    known = next((name for name in names.values() if name.lower() == "liver"), "")
    way = f"--label {known}" if known else "--label NUMBER (5 in TotalSegmentator's maps)"
    joined = "" if known else f"; where all are parts of the liver, --label {ANY} joins them"
    raise TumorgenError(
        f"{where}: {holds}: a label map, no mask; choose the liver with {way}, which may be given several times{joined}"
    )


def _tumors_in(found: Sequence[int], names: Mapping[int, str]) -> list[int]:
    """Labels that are tumours by their names or, where none is, 1 and 2 are alone and nothing names 2, as in LiTS."""
    named = [label for label in found if names_tumor(names.get(label, ""))]
    return named or ([TUMOR] if tuple(found) == _LITS and not names.get(TUMOR) else [])


def _not_healthy(where: str, tumors: Sequence[int], names: Mapping[int, str], *, joined: bool = False) -> TumorgenError:
    """Why a scan with such labels is refused, and what to do; `joined` says that all its labels were to be liver."""
    unnamed = not names.get(tumors[0])
    other = f'"segment {TUMOR}"}}, or add --label {TUMOR}' if joined else '"spleen"}'
    elsewhere = (
        f' (as in LiTS and MSD; if it is not, name it in a JSON file beside: {{"{TUMOR}": {other})' if unnamed else ""
    )
    keep = f"--label {LIVER} " if unnamed else ""
    return TumorgenError(
        f"{where}: label {_listed(tumors, names)} is a tumour that is really there{elsewhere}, so the scan is not"
        f" healthy; leave it out, or keep the tumour (in synth and healthy) with {keep}--real-tumours {tumors[0]}"
    )


def _listed(labels: Sequence[int], names: Mapping[int, str]) -> str:
    """`1 (spleen), 5 (liver), ...`: some labels, with their names where these are known."""
    return _some([f"{label} ({names[label]})" if names.get(label) else str(label) for label in labels])


def _some(words: Sequence[str]) -> str:
    return ", ".join(word[:40] for word in words[:_NAMED]) + (", ..." if len(words) > _NAMED else "")
