"""Whether an evaluation is of the samples of a manifest: all datasets of a scan call their samples the same.

What the references are is decided by what they hold, since a dataset may have been moved or renamed: by the manifest
beside them while they are where they were, else by the volumes of their tumours. A name alone refuses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ..dataset import is_dataset_name
from ..errors import TumorgenError
from ..evaluation import CaseScore, manifest_beside
from ..tables import Record, read_entries

_SUMMED = "0.1.0"  # version whose volumes count a voxel for each of the tumours that share it
_EXACT = 1e-3  # of a volume: what headers' rounded spacings change in it, and more


def refuse_other_references(
    evaluation: Path, manifest: Path, records: Sequence[Record], scores: Mapping[str, CaseScore]
) -> None:
    """Refuse an evaluation whose references are those of another dataset than the manifest's.

    Raises
    ------
    TumorgenError
        The dataset of the references holds other files of these samples; or it is not there any more, had another name,
        and more than half of the samples had tumours of other volumes.
    """
    folders: dict[Path, list[Record]] = {}
    for record in records:
        score = scores.get(record.plan.sample)
        if record.files and score and score.scored and score.reference_file:
            folders.setdefault(Path(score.reference_file).parent, []).append(record)
    for labels, mine in folders.items():
        same = _hold_same_files(labels, mine)
        if same is None:
            same = _name_of(labels.parent.name) in ("", _name_of(_named(manifest))) or _have_same_volumes(mine, scores)
        if not same:
            raise TumorgenError(
                f"{evaluation}: its references are those of {labels.parent}, and {manifest} has other samples of the"
                " same names; give the manifest of the dataset that was evaluated"
            )


def _hold_same_files(labels: Path, records: Iterable[Record]) -> bool | None:
    """Whether the dataset of a folder of labels has these very files, by its manifest; None where it has none."""
    try:
        beside = manifest_beside(labels)
        entries = {entry.sample: entry for entry in read_entries(beside)} if beside else {}
    except (OSError, ValueError, TumorgenError):  # a folder that may not be entered, a NUL in its name, another table
        return None
    known = [(entries[r.plan.sample], r.files) for r in records if r.plan.sample in entries and r.files]
    if not known:
        return None
    return all((e.image_sha256, e.label_sha256) == (f.image_sha256, f.label_sha256) for e, f in known)


def _have_same_volumes(records: Iterable[Record], scores: Mapping[str, CaseScore]) -> bool:
    """Whether at least half of the references had tumours as large as the manifest says, as far as that is known."""
    pairs = []
    for record in records:
        files, found = record.files, scores[record.plan.sample].reference_tumor_mm3
        if files and files.tumorgen_version != _SUMMED and not files.real_tumor_voxels and found > 0:
            pairs.append(math.isclose(found, files.tumor_volume_mm3, rel_tol=_EXACT))
    return 2 * sum(pairs) >= len(pairs)


def _named(manifest: Path) -> str:
    """The dataset of a manifest, or of its copy in `manifests/`, as it is called."""
    beside = manifest.absolute().parent.name
    return beside if _name_of(beside) else manifest.name.partition(".")[0]


def _name_of(name: str) -> str:
    """The name of a dataset; empty where it is none."""
    return name if is_dataset_name(name) else ""
