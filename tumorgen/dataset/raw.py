"""A dataset in nnU-Net's raw format (2.x): its layout, dataset.json and splits_final.json.

`DatasetXXX_Name/{imagesTr/{sample}_0000.nii.gz, labelsTr/{sample}.nii.gz, dataset.json, splits_final.json}`, and what
tumorgen adds: `manifest.csv`, `tumors.csv`, `settings.toml`, `provenance.json`, `SHA256SUMS`. A test set has `imagesTs`
and `labelsTs` and no splits; that of a benchmark has `benchmark.toml`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..checksums import SUMS, parse_sums, sums_text
from ..errors import TumorgenError, as_unwritable
from ..imaging import PARTIAL, remove_folder, resolved, whole_file
from ..interruptions import interruptions_held
from ..labels import LABELS
from ..tables import SAMPLES, TUMORS, Entry, Marks, group_scans
from ..wording import typed
from .folds import Split, splits
from .lock import LOCK

HEALTHY_NAME = "Healthy livers (tumorgen)"  # in the dataset.json of healthy scans
MIXTURE_NAME = "Real, synthetic and healthy scans (tumorgen)"  # in that of a mixture
_WITHOUT_MANIFEST = {HEALTHY_NAME: "healthy", MIXTURE_NAME: "mix"}  # name in dataset.json -> the command that wrote it
TRAINING, TEST = "Tr", "Ts"  # what the names of nnU-Net's folders of cases end in
BENCHMARK, PROVENANCE = "benchmark.toml", "provenance.json"
RAW = "raw"  # in the provenance, false: no images and labels are kept
IMAGE_ENDING, LABEL_ENDING = "_0000.nii.gz", ".nii.gz"  # `_0000` is nnU-Net's number of the channel
OVERVIEW = "overview.png"  # of the pictures that show samples, the one that shows several
AUDIT_FILES = (  # what `audit` writes; all of it shows, names or counts the lesions of every scan
    "audit.html",
    "audit.json",
    "blind.png",
    "blind_key.csv",
    "comparison.csv",
    "giveaways.csv",
    "histograms.png",
    "lesions.csv",
    "pairs.png",
    "profiles.csv",
    "profiles.png",
    "scans.csv",
    "shares.csv",
)
_BEGUN = (BENCHMARK, PROVENANCE, "settings.toml")  # what is there before the first sample
SUMMED = (BENCHMARK, "dataset.json", SAMPLES, PROVENANCE, "settings.toml", "splits_final.json", TUMORS)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Paths of a dataset folder.

    Attributes
    ----------
    folder
        The folder.
    part
        Whether its cases are for training or a test set.
    raw
        Whether it keeps images and labels, or only the rows that they are rendered from.
    """

    folder: Path
    part: str = TRAINING
    raw: bool = True

    @property
    def manifest(self) -> Path:
        """Table of samples."""
        return self.folder / SAMPLES

    @property
    def settings(self) -> Path:
        """The settings in force."""
        return self.folder / "settings.toml"

    @property
    def sums(self) -> Path:
        """Checksums of what describes the samples."""
        return self.folder / SUMS

    @property
    def images(self) -> Path:
        """Images."""
        return self.folder / f"images{self.part}"

    @property
    def labels(self) -> Path:
        """Labels."""
        return self.folder / f"labels{self.part}"

    @property
    def pictures(self) -> Path:
        """Pictures of samples, named after them, and the overview."""
        return self.folder / "preview"

    @property
    def audit(self) -> Path:
        """What an audit of the dataset has found."""
        return self.folder / "audit"

    def image(self, sample: str) -> Path:
        """Image of a sample."""
        return self.images / f"{sample}{IMAGE_ENDING}"

    def label(self, sample: str) -> Path:
        """Label of a sample."""
        return self.labels / f"{sample}{LABEL_ENDING}"


def find_dataset(folder: Path) -> Dataset:
    """The dataset in a folder: a test set where it has images for that and none for training."""
    test, training = Dataset(folder, TEST), Dataset(folder, raw=keeps_raw(folder))
    return test if test.images.is_dir() and not training.images.exists() else training


def keeps_raw(folder: Path) -> bool:
    """Whether a dataset keeps images and labels: its provenance says where it does not."""
    try:
        found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return True
    return not (isinstance(found, dict) and found.get(RAW) is False)


def refuse_without_raw(folder: Path) -> None:
    """Refuse a dataset that keeps no images and labels.

    Raises
    ------
    TumorgenError
        It says how to make them.
    """
    if not keeps_raw(folder):
        raise TumorgenError(
            f"{folder}: was made with --no-raw and keeps no images and labels; `tumorgen replay"
            f" {typed(folder / SAMPLES)} --output FOLDER` makes them"
        )


def find_written_dataset(folder: Path, remedies: Mapping[str, str] | None = None) -> Dataset:
    """The dataset that tumorgen wrote into a folder, by its absolute path: worker processes may work elsewhere.

    `remedies` says what to do instead with one that has no manifest, by the command that wrote it.

    Raises
    ------
    TumorgenError
        The folder holds no manifest.
    """
    dataset = find_dataset(folder.absolute())
    if dataset.manifest.is_file():
        return dataset
    command = _WITHOUT_MANIFEST.get(_read_name(folder))
    if command:
        raise TumorgenError(
            f"{folder}: is a dataset of `{command}`; only those of synth, replay and robustness have a manifest"
            + (f"; {remedies[command]}" if remedies else "")
        )
    raise TumorgenError(f"{folder}: holds no {dataset.manifest.name}; give a dataset folder that tumorgen wrote")


def is_dataset_name(name: str) -> bool:
    """Whether a folder is called as nnU-Net wants datasets to be, `DatasetXXX_Name`."""
    return re.match(r"Dataset\d{3}_", name) is not None


def refuse_inside_dataset(output: Path) -> None:
    """Refuse to write something else into a dataset of tumorgen's, or into a folder of it.

    Raises
    ------
    TumorgenError
        It says which dataset that is.
    """
    folder = resolved(output)
    for place in (folder, *folder.parents):
        is_ours = (place / SAMPLES).is_file() or _read_name(place) in _WITHOUT_MANIFEST
        if is_ours and is_dataset_name(place.name):
            raise TumorgenError(
                f"{output}: lies in {place.name}, a dataset, which holds nothing else; choose another --output"
            )


def read_about(folder: Path) -> dict[str, Any]:
    """What a dataset's dataset.json says; nothing where that cannot be read."""
    try:
        found = json.loads((folder / "dataset.json").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _read_name(folder: Path) -> str:
    """What a dataset's dataset.json calls it; empty where nothing can be read."""
    return str(read_about(folder).get("name", ""))


def refuse_other_part(dataset: Dataset) -> None:
    """Refuse training cases in the folder of a test set, and the reverse: the rows of one would pass for the other's.

    Raises
    ------
    TumorgenError
        The folder has images of the other part.
    """
    if any(replace(dataset, part=part).images.is_dir() for part in (TRAINING, TEST) if part != dataset.part):
        raise TumorgenError(
            f"{dataset.folder}: training cases and a test set do not go together; choose another --dataset-id, --name"
            " or --output"
        )


def refuse_unmounted(dataset: Dataset) -> None:
    """Refuse to write where a folder of cases is a link that leads nowhere: all its files would count as lost.

    Raises
    ------
    TumorgenError
        It says which link.
    """
    parts = (replace(dataset, part=part) for part in (TRAINING, TEST)) if dataset.raw else ()
    for folder in (folder for each in parts for folder in (each.images, each.labels)):
        if folder.is_symlink() and not folder.exists():
            raise TumorgenError(f"{folder}: is a link to {folder.readlink()}, which is not there; is its disk mounted?")


def refuse_other_dataset(dataset: Dataset, name: str) -> None:
    """Refuse a folder that holds anything but a dataset of this name, as its dataset.json says it.

    Locks and partial files do not count: a run that was killed may have left nothing else.

    Raises
    ------
    TumorgenError
        It holds something else.
    """
    about = dataset.folder / "dataset.json"
    known = about.is_file() and name in about.read_text(encoding="utf-8", errors="replace")
    there = dataset.folder.iterdir() if dataset.folder.is_dir() else ()
    if not known and any(not path.name.startswith((LOCK, PARTIAL)) for path in there):
        raise TumorgenError(f"{dataset.folder}: holds another dataset; choose another --dataset-id, --name or --output")


def remove_partial_files(dataset: Dataset) -> None:
    """Remove the partial files of processes that were killed; none may be at work any more."""
    for folder in (dataset.folder, dataset.images, dataset.labels):
        for left in folder.glob(f"{PARTIAL}*"):
            with suppress(TumorgenError):  # others may be removing it, too
                remove_folder(left)


def remove_description(dataset: Dataset, written: Collection[str]) -> None:
    """Remove what a run has written into a dataset that has no case, so that its settings bind no later run.

    `written` are the names of these files. Where anything else is in the folder, all of it stays as it is.

    Raises
    ------
    TumorgenError
        It cannot be removed.
    """
    with as_unwritable(dataset.folder):
        if any(_list_beside(dataset, written)):
            return
        for folder in _folders_of_cases(dataset):
            folder.rmdir()
        for name in written:
            (dataset.folder / name).unlink(missing_ok=True)


def is_only_begun(dataset: Dataset) -> bool:
    """Whether a run was begun in a folder and has left nothing but its settings: no case, no row, nor anything else.

    Partial files of a process that was killed do not count.
    """
    described = dataset.settings.is_file() and (dataset.folder / PROVENANCE).is_file()
    return described and all(path.name.startswith(PARTIAL) for path in _list_beside(dataset, _BEGUN))


def forget_beginning(dataset: Dataset) -> None:
    """Remove the settings of a run that left nothing else (`is_only_begun`), so that they bind no later run.

    Raises
    ------
    TumorgenError
        They cannot be removed.
    """
    with interruptions_held(), as_unwritable(dataset.folder):
        for name in _BEGUN:
            (dataset.folder / name).unlink(missing_ok=True)


def _list_beside(dataset: Dataset, written: Collection[str]) -> Iterator[Path]:
    """What is in a dataset besides files of these names, its lock, and its folders of cases."""
    of_cases = _folders_of_cases(dataset)
    for path in (each for folder in (dataset.folder, *of_cases) for each in folder.iterdir()):
        if path not in of_cases and path.name not in written and not path.name.startswith(LOCK):
            yield path


def _folders_of_cases(dataset: Dataset) -> list[Path]:
    return [folder for folder in (dataset.images, dataset.labels) if folder.is_dir()]


def dataset_folder(root: Path, dataset_id: int, name: str) -> Path:
    """`DatasetXXX_Name` under a folder of raw datasets.

    Raises
    ------
    TumorgenError
        An id or a name that nnU-Net does not take, or an id that another dataset there has.
    """
    if not 1 <= dataset_id <= 999:
        raise TumorgenError(f"dataset id {dataset_id}: nnU-Net takes 1 to 999")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise TumorgenError(f"dataset name {name!r}: letters, digits, `_` and `-` only")
    folder = root / f"Dataset{dataset_id:03d}_{name}"
    for other in sorted(root.glob(f"Dataset{dataset_id:03d}_*")):
        if other.name != folder.name and other.is_dir():  # nnU-Net looks at folders alone
            raise TumorgenError(f"{other}: has the id {dataset_id} already; nnU-Net takes an id once, choose another")
    return folder


def dataset_json(
    samples: int, name: str = "Synthetic liver tumours (tumorgen)", part: str = TRAINING
) -> dict[str, Any]:
    """Content of dataset.json; the channel's name "CT" selects nnU-Net's CT normalisation. A test set trains none."""
    return {
        "name": name,
        "reference": "Hu et al., Label-Free Liver Tumor Segmentation, CVPR 2023",
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": samples if part == TRAINING else 0,
        "file_ending": ".nii.gz",
    }


def write_json(value: Any, path: Path, *, parents: bool = False) -> None:
    """Write JSON; the file appears whole or not at all. `parents` says whether missing folders are made."""
    with whole_file(path, parents=parents) as partial:
        partial.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def write_description(dataset: Dataset, entries: Sequence[Entry], marks: Marks, val_per_scan: int) -> None:
    """Write dataset.json and splits_final.json for the samples that are there; `marks` say which scans belong together.

    And SHA256SUMS, the checksums of these and of the tables, which are final by now.
    """
    write_json(dataset_json(len(entries), part=dataset.part), dataset.folder / "dataset.json")
    write_splits(dataset, splits(entries, group_scans(marks), val_per_scan) if dataset.part == TRAINING else [])
    write_sums(dataset)


def write_splits(dataset: Dataset, split: Split) -> None:
    """Write splits_final.json; where there is no split, remove what an earlier run wrote."""
    path = dataset.folder / "splits_final.json"
    if split:
        write_json(split, path)
    else:
        path.unlink(missing_ok=True)


def write_sums(dataset: Dataset) -> None:
    """Write SHA256SUMS of what describes the samples, as `sha256sum --check` reads it; the manifest has the files'."""
    there = [dataset.folder / name for name in SUMMED if (dataset.folder / name).is_file()]
    with whole_file(dataset.sums, parents=False) as partial:
        partial.write_text(sums_text(there, dataset.folder), encoding="utf-8")


def read_sums(dataset: Dataset) -> dict[str, str]:
    """File name -> SHA-256, as the run wrote them.

    Raises
    ------
    TumorgenError
        There is no SHA256SUMS, or it is not such a file.
    """
    try:
        sums = parse_sums(dataset.sums.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TumorgenError("is missing: the run is not finished, or it was removed") from None
    except (OSError, UnicodeDecodeError) as error:
        raise TumorgenError(f"cannot be read ({error})") from error
    except ValueError as error:
        raise TumorgenError("is not as the run wrote it") from error
    if not sums.keys() <= set(SUMMED):
        raise TumorgenError("is not as the run wrote it")
    return sums
