"""The scans of a set: images with their labels, and which patient each comes from.

A set is nnU-Net's raw folder (`imagesTr` and `labelsTr`, or `imagesTs` and `labelsTs`), or any folder that holds
`images` and `labels`. Files are matched by the name of the case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..dataset import refuse_without_raw
from ..errors import Failure, TumorgenError
from ..evaluation import Listing, manifest_beside, read_listings
from ..imaging import find_volumes
from ..tables import group_scans, name_after_scans
from .drawn import DrawnTumors, read_drawn

LAYOUTS = (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs"), ("images", "labels"))


@dataclass(frozen=True, slots=True)
class LabelledScan:
    """A scan of a set.

    Attributes
    ----------
    case
        Its name.
    host
        Name of the scan that it was made from, as the manifest beside the labels says; else its own name.
    patient
        Whose scan it is: several scans of one patient weigh as one.
    image, label
        Its files.
    drawn
        What was drawn into it, where the manifest says that its label has real tumours, too.
    """

    case: str
    host: str
    patient: str
    image: Path
    label: Path
    drawn: DrawnTumors | None = None


def find_labelled(folder: Path, patients: Mapping[str, str]) -> tuple[tuple[LabelledScan, ...], tuple[Failure, ...]]:
    """Find the scans of a set, sorted by name; an image without a label, or a label without an image, is a failure.

    Parameters
    ----------
    folder
        The set.
    patients
        Patient, by any name, of a case, or of the scan that it was made from; a patient is called after the first scan
        in it. What it does not name is a patient of its own.

    Raises
    ------
    TumorgenError
        The folder has none of the layouts; a folder of it holds no volumes, or two of one name; its manifest cannot be
        read; or no image has a label.
    """
    images, labels = find_layout(folder)
    image_files, label_files = find_volumes(images), find_volumes(labels)
    both = sorted(image_files.keys() & label_files.keys())
    if not both:
        some = ", ".join(image_files)[:80]
        raise TumorgenError(f"{labels}: no label has the case name of an image in {images} ({some})")
    named = call_after_scans(patients)
    manifest = manifest_beside(labels)
    listed = read_listings(manifest) if manifest else {}
    drawn = read_drawn(manifest) if manifest and any(each.has_real_tumors for each in listed.values()) else {}
    scans = []
    for case in both:
        known = listed.get(case, Listing(case, case))
        patient = named.get(case) or named.get(known.scan) or known.patient
        scans.append(LabelledScan(case, known.scan, patient, image_files[case], label_files[case], drawn.get(case)))
    alone = [(image_files, label_files, "label", labels), (label_files, image_files, "image", images)]
    failures = [
        Failure(case, f"{path}: no {what} of that name in {where}", 1, about=(str(path),))
        for files, others, what, where in alone
        for case, path in files.items()
        if case not in others
    ]
    return tuple(scans), tuple(failures)


def call_after_scans(patients: Mapping[str, str]) -> dict[str, str]:
    """Patients of cases, by any name, called after the first of their cases: by a name that no other case can have.

    Names that no dataset of tumorgen's has (`tables.name_after_scans`) come after all others.
    """
    named = name_after_scans(patients)
    called = {patients[case]: name for case, name in named.items()}
    for case in sorted(patients.keys() - named.keys()):
        called.setdefault(patients[case], case)
    return {case: called[patient] for case, patient in patients.items()}


def join_patients(*sets: Sequence[LabelledScan]) -> list[dict[str, str]]:
    """Patient of each case of several sets, by one name in all of them: that of the first of the patient's scans.

    Scans are of one patient that have a host or a patient in common, in whichever set: one set may have a manifest that
    says whose its scans are, and another the same scans without.
    """
    marks = {
        f"{number}/{scan.case}": {("", scan.host), ("", scan.patient)}
        for number, scans in enumerate(sets)
        for scan in scans
    }
    groups = group_scans(marks)
    names: dict[str, set[str]] = defaultdict(set)
    for key, mine in marks.items():
        names[groups[key]] |= {name for _, name in mine}
    return [
        {scan.case: min(names[groups[f"{number}/{scan.case}"]]) for scan in scans} for number, scans in enumerate(sets)
    ]


def has_synthetic(labels: Path) -> bool:
    """Whether a folder of labels is of a dataset of tumorgen's with synthetic tumours, as the manifest beside says.

    Raises
    ------
    TumorgenError
        The manifest cannot be read, or the folder holds no volumes.
    """
    manifest = manifest_beside(labels)
    listed = read_listings(manifest) if manifest else {}
    return any(listed[case].has_tumors for case in find_volumes(labels) if case in listed)


def refuse_synthetic(folder: Path, labels: Path) -> None:
    """Refuse a set whose tumours are to be real, and whose labels have synthetic ones.

    Raises
    ------
    TumorgenError
        They have.
    """
    if has_synthetic(labels):
        raise TumorgenError(f"{folder}: holds samples with synthetic tumours; give scans with real, annotated ones")


def find_layout(folder: Path) -> tuple[Path, Path]:
    """The folders of images and of labels of a set.

    Raises
    ------
    TumorgenError
        There is none of the layouts, or the dataset keeps no images and labels.
    """
    refuse_without_raw(folder)
    for images, labels in LAYOUTS:
        if (folder / images).is_dir() and (folder / labels).is_dir():
            return folder / images, folder / labels
    pairs = ", ".join(f"{images} and {labels}" for images, labels in LAYOUTS)
    raise TumorgenError(f"{folder}: not a set of images and labels; one of these pairs of folders is needed: {pairs}")
