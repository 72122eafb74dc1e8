"""What goes into a mixture: raw datasets of nnU-Net's with real tumours, synthetic ones, or none."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..dataset import HEALTHY_NAME, LOCK, TEST, find_dataset, find_written_dataset, refuse_without_raw
from ..errors import TumorgenError
from ..imaging import AS_ITK, describe_two_places, fingerprint_ct, names_tumor, read_ct
from ..labels import BACKGROUND, LABELS, LIVER, TUMOR
from ..parallel import Case, Start, map_cases, no_progress, split_failures
from ..tables import HOSTS, SAMPLES, VOXELS, Mark, marks_of_records, marks_of_scan, read_hosts, read_manifest
from ..wording import few

REAL, SYNTHETIC, HEALTHY = "real", "synthetic", "healthy"
KINDS = (REAL, SYNTHETIC, HEALTHY)
_CHANNEL = "_0000"


@dataclass(frozen=True, slots=True)
class PartCase:
    """A case of a dataset: its name, the scan that it was made of, and its files."""

    case: str
    scan: str
    image: Path
    label: Path


@dataclass(frozen=True, slots=True)
class Part:
    """A dataset that goes into a mixture.

    Attributes
    ----------
    kind
        What tumours it has: one of `KINDS`.
    folder
        Its folder.
    file_ending
        What its files' names end in.
    cases
        Its cases, by name.
    marks
        What tells whose each scan is.
    foreign_labels
        How its labels differ from background 0, liver 1 and tumour 2, in words; empty where they do not.
    label_names
        Label -> its name, or that of the last region that it belongs to; without the background.
    """

    kind: str
    folder: Path
    file_ending: str
    cases: tuple[PartCase, ...]
    marks: Mapping[str, AbstractSet[Mark]]
    foreign_labels: str = ""
    label_names: Mapping[int, str] = field(default_factory=dict)


def read_part(kind: str, folder: Path, *, jobs: int = -1, start: Start = no_progress) -> Part:
    """Read what a dataset consists of; images are read only where no table says which CT they are.

    Raises
    ------
    TumorgenError
        It is no raw dataset of single-channel CTs, one of its files is missing or unreadable, a real one gives two
        places that contradict each other, a run of tumorgen's did not come to its end in it, or no table of tumorgen's
        lies in a folder that is said to hold its samples, or not of all of them.
    """
    folder = plain_path(folder)
    about = _read_description(folder)
    _refuse_other_kind(kind, folder, about)
    _refuse_unfinished(folder)
    ending = str(about["file_ending"])
    files = _find_files(folder, ending)
    has_hosts = kind == HEALTHY or about.get("name") == HEALTHY_NAME  # `healthy` writes real tumours, too
    scans, said = _scans_of(kind, folder, files, has_hosts=has_hosts)
    cases = tuple(PartCase(case, scans[case], *files[case]) for case in sorted(scans))
    if kind == REAL:
        _refuse_two_places(cases)
    unknown = [case for case in cases if kind != SYNTHETIC and not _tell_ct(said.get(case.scan, ()))]
    found = _mark_scans(unknown, jobs, start)
    marks = {scan: {*said.get(scan, ()), *found.get(scan, ())} for scan in (*said, *found)}
    labels = about["labels"]
    return Part(kind, folder, ending, cases, marks, _foreign_labels(kind, labels), dict(_named(labels)))


def plain_path(path: Path) -> Path:
    """An absolute path without `..`; links are followed, all of them, only in a path that has one."""
    return path.resolve() if ".." in path.parts else path.absolute()


def _read_description(folder: Path) -> dict[str, Any]:
    """Read dataset.json.

    Raises
    ------
    TumorgenError
        It is missing or malformed, or the images are no CTs of one channel.
    """
    path = folder / "dataset.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8-sig"))
        channels, labels, ending = (about[name] for name in ("channel_names", "labels", "file_ending"))
        names = [str(name) for name in channels.values()]
    except FileNotFoundError:
        raise TumorgenError(f"{folder}: holds no dataset.json; give a raw dataset of nnU-Net's") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TumorgenError(f"{path}: is not as nnU-Net writes it ({type(error).__name__}: {error})") from error
    if [name.lower() for name in names] != ["ct"]:
        raise TumorgenError(f"{path}: its channels are {', '.join(names) or 'none'}; a mixture takes CT alone")
    if "dataset" in about:
        raise TumorgenError(f"{path}: lists files of other folders, as a mixture does; give the datasets it is made of")
    if not isinstance(labels, dict) or not isinstance(ending, str) or not ending.startswith("."):
        raise TumorgenError(f"{path}: is not as nnU-Net writes it (labels or file_ending)")
    if "ignore" in labels:
        raise TumorgenError(f"{path}: has voxels that are not annotated (label ignore), which a mixture cannot have")
    return dict(about)


def _refuse_other_kind(kind: str, folder: Path, about: Mapping[str, Any]) -> None:
    """Refuse tumorgen's own datasets under a kind that they are not of.

    Raises
    ------
    TumorgenError
        It is one.
    """
    if (folder / SAMPLES).is_file() and kind != SYNTHETIC:
        raise TumorgenError(f"{folder}: holds samples with synthetic tumours; give it as --{SYNTHETIC}")
    if about.get("name") == HEALTHY_NAME and kind != HEALTHY and "masks" not in about:  # which may have real tumours
        raise TumorgenError(f"{folder}: holds healthy scans; give it as --{HEALTHY}")
    refuse_without_raw(folder)
    if find_dataset(folder).part == TEST:
        raise TumorgenError(f"{folder}: is a test set, of which nothing is trained; give a dataset with imagesTr")


def _refuse_unfinished(folder: Path) -> None:
    """Refuse a dataset in which a run of tumorgen's is at work or was killed: it lacks cases, and files may be torn.

    Raises
    ------
    TumorgenError
        It is one.
    """
    if any(folder.glob(f"{LOCK}*")):
        raise TumorgenError(f"{folder}: a run is writing to it, or one was killed; run its command again, then mix")


def _find_files(folder: Path, ending: str) -> dict[str, tuple[Path, Path]]:
    """Image and label of each case that has a label.

    Raises
    ------
    TumorgenError
        There is no label, or one has no image.
    """
    labels = sorted(path for path in (folder / "labelsTr").glob(f"*{ending}") if not path.name.startswith("."))
    if not labels:
        raise TumorgenError(f"{folder / 'labelsTr'}: holds no file whose name ends in {ending}")
    images = {path: folder / "imagesTr" / f"{path.name[: -len(ending)]}{_CHANNEL}{ending}" for path in labels}
    if alone := [path.name for path, image in images.items() if not image.is_file()]:
        raise TumorgenError(f"{folder / 'imagesTr'}: has no image for {few(alone)}")
    return {path.name[: -len(ending)]: (image, path) for path, image in images.items()}


def _scans_of(
    kind: str, folder: Path, files: Mapping[str, object], *, has_hosts: bool
) -> tuple[dict[str, str], dict[str, AbstractSet[Mark]]]:
    """The scan of each case, and the marks that a table has of it.

    Raises
    ------
    TumorgenError
        The manifest of synthetic samples is missing, lists one that has no files, or does not list one that has.
    """
    if kind != SYNTHETIC:
        rows = read_hosts(folder / HOSTS) if has_hosts else {}
        return {case: case for case in files}, {case: row.marks for case, row in rows.items() if case in files}
    records = read_manifest(find_written_dataset(folder).manifest)
    scans = {record.plan.sample: record.plan.case for record in records}
    if lost := sorted(scans.keys() - files.keys()):
        raise TumorgenError(f"{folder}: has no files of {few(lost)}; see `tumorgen verify`")
    if unlisted := sorted(files.keys() - scans.keys()):  # of shards that are not merged, or whose rows were lost
        raise TumorgenError(f"{folder}: its {SAMPLES} does not list {few(unlisted)}; see `tumorgen verify`")
    return scans, dict(marks_of_records(records))


def _refuse_two_places(cases: Sequence[PartCase]) -> None:
    """Refuse files whose header gives two places: nnU-Net reads them as they lie there, so nobody can choose for it.

    Raises
    ------
    TumorgenError
        It names the first, and what to do.
    """
    for path in (file for case in cases for file in (case.image, case.label)):
        if contradiction := describe_two_places(path):
            raise TumorgenError(
                f"{path}: its sform and qform {contradiction}, and nnU-Net would take whichever ITK takes; write a copy"
                " in which both are the right one (docs/usage.md, Conflicting sform and qform)"
            )


def _tell_ct(marks: Iterable[Mark]) -> bool:
    """Whether marks say which CT a scan is."""
    return any(kind == VOXELS for kind, _ in marks)


def _mark_scans(cases: list[PartCase], jobs: int, start: Start) -> dict[str, AbstractSet[Mark]]:
    """What tells whose some scans are, from their voxels.

    Raises
    ------
    TumorgenError
        An image cannot be read.
    """
    if not cases:
        return {}
    tasks = [Case(case, case.case, about=(str(case.image),)) for case in cases]
    marks, failures = split_failures(map_cases(_mark_scan, tasks, jobs, start=start))
    if failures:
        raise TumorgenError(str(failures[0].reason))
    return {case.scan: mine for case, mine in zip(cases, marks, strict=True)}


def _mark_scan(case: PartCase) -> AbstractSet[Mark]:
    return marks_of_scan(case.scan, fingerprint=fingerprint_ct(read_ct(case.image, AS_ITK).array))


def _foreign_labels(kind: str, labels: Mapping[str, Any]) -> str:
    """How labels differ from background 0, liver 1 and tumour 2, in words; empty where they do not."""
    is_called = {LIVER: lambda name: name.lower() == "liver", TUMOR: names_tumor}
    foreign = any(
        number != BACKGROUND and not (isinstance(number, int) and number in is_called and is_called[number](name))
        for name, number in labels.items()
    )
    lacks = kind == REAL and not {LIVER, TUMOR} <= {each for each in labels.values() if isinstance(each, int)}
    if not foreign and not lacks:
        return ""
    ours, theirs = (", ".join(f"{n} {v}" for n, v in each.items()) for each in (LABELS, labels))
    return f"its labels are {theirs}, but a mixture has {ours}"


def _named(labels: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Each label with its name, or with those of its regions, one after the other."""
    for name, value in labels.items():
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and number != BACKGROUND:
                yield number, name
