"""The table of patients, `case,patient`: which scans are of one patient, and how its names fit those of some cases."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import TumorgenError
from ..imaging import extension_of, safe_name
from ..wording import few, plural
from .codec import columns_in, read_text, rows_of
from .groups import Mark, group_scans, list_groups, marks_of_scan

COLUMNS = ("case", "patient")
_LIKENESSES: Mapping[str, Callable[[str], str]] = {  # in what two names may differ and still mean one case
    "the file's ending": lambda name: re.sub(r"_0000$", "", name[: len(name) - len(extension_of(Path(name)))]),
    "a decimal point": lambda name: re.sub(r"^([0-9]+)\.0+$", r"\1", name),
    "leading zeros": lambda name: re.sub(r"(?<![0-9])0+(?=[0-9])", "", name),
    "capitals": str.casefold,
    "blanks or punctuation": lambda name: re.sub(r"[\W_]+", "-", name).strip("-"),
}


@dataclass(frozen=True, slots=True)
class Alike:
    """A case whose name a table has but for a trifle, such as leading zeros that a spreadsheet took away."""

    case: str
    listed: str
    but_for: str

    def __str__(self) -> str:
        return f"{self.case} as {self.listed}"


@dataclass(frozen=True, slots=True)
class NameCheck:
    """How the names in a table fit those of some cases.

    Attributes
    ----------
    table
        The table.
    cases
        Number of cases.
    alike
        Cases whose names it has but for a trifle.
    unlisted
        Other cases that it does not list.
    unmatched
        Other names in it that are no case's.
    respelled
        Of each patient whose name is there in several spellings the first case of each. The name itself is nobody's
        business.
    """

    table: str
    cases: int
    alike: tuple[Alike, ...] = ()
    unlisted: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    respelled: tuple[tuple[str, ...], ...] = ()

    @property
    def misnamed(self) -> str:
        """Say which names differ in a trifle; empty where none does."""
        if not self.alike:
            return ""
        trifles = " and ".join(sorted({each.but_for for each in self.alike}))
        names = few([str(each) for each in self.alike])
        return f"{self.table}: has {len(self.alike)} of {plural(self.cases, 'case')} but for {trifles}: {names}"

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what does not fit, a sentence each."""
        of_all = f"{len(self.unlisted)} of {plural(self.cases, 'case')}"
        spelled = "; ".join(map(few, self.respelled))
        said = [
            (self.alike, f"{self.misnamed}; as long as names differ, each is a patient of its own"),
            (self.unlisted, f"{self.table}: does not list {of_all}, each a patient of its own: {few(self.unlisted)}"),
            (self.unmatched, f"{self.table}: {plural(len(self.unmatched), 'row')} of no case: {few(self.unmatched)}"),
            (
                self.respelled,
                f"{self.table}: patients whose names differ in capitals, zeros, blanks or punctuation alone: those of"
                f" {spelled}; as long as names differ, each is a patient of its own",
            ),
        ]
        return tuple(sentence for names, sentence in said if names)


def read_patients(path: Path) -> dict[str, str]:
    """Read a table of patients: case -> its patient, by any name.

    Raises
    ------
    TumorgenError
        The table cannot be read, has other columns, lists a case twice, or a cell of it is empty.
    """
    text = read_text(path)
    if "sample" in columns_in(path, text):
        raise TumorgenError(
            f"{path}: has a column `sample`; a table of patients has the columns case (the scan) and patient (whose it"
            " is): rename sample to case, and what says the patient to patient"
        )
    patients = {}
    for where, row in rows_of(path, text, COLUMNS, unique="case"):
        case, patient = (row[name].strip() for name in COLUMNS)
        if not case or not patient:
            raise TumorgenError(f"{where}: case or patient is empty")
        patients[case] = patient
    return patients


def check_names(table: str, listed: Iterable[str], cases: Collection[str]) -> NameCheck:
    """Compare the names in a table with those of some cases."""
    names = set(listed)
    unlisted = [case for case in sorted(cases) if case not in names]
    spare: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names - set(cases)):
        spare[_likeness(name)].append(name)
    alike = []
    for case in unlisted:
        if candidates := spare.get(_likeness(case)):
            alike.append(Alike(case, candidates[0], _difference(case, candidates[0])))
    misnamed, meant = {each.case for each in alike}, {each.listed for each in alike}
    return NameCheck(
        table,
        len(cases),
        tuple(alike),
        tuple(case for case in unlisted if case not in misnamed),
        tuple(name for names_alike in spare.values() for name in names_alike if name not in meant),
    )


def fit_names(table: Path, listed: Collection[str], scans: Mapping[str, str]) -> NameCheck:
    """Compare the names in a table with those of some cases, or of the scans that they were made of (case -> scan).

    Raises
    ------
    TumorgenError
        The table lists none of them.
    """
    names = {case if case in listed else scan for case, scan in scans.items()}
    found = check_names(str(table), listed, names)
    if names.isdisjoint(listed) and found.alike:
        raise TumorgenError(f"{found.misnamed}; write the names as they are")
    if names and names.isdisjoint(listed):
        raise TumorgenError(f"{table}: lists none of the cases (such as {min(names)}); is it of other data?")
    return found


def fit_patients(table: Path, patients: Mapping[str, str], scans: Mapping[str, str]) -> NameCheck:
    """Compare a table of patients (case -> patient) with some cases, as `fit_names` does, and its patients' names.

    Raises
    ------
    TumorgenError
        The table lists none of the cases.
    """
    found = fit_names(table, patients, scans)
    named = {name: patients[name] for pair in scans.items() for name in pair if name in patients}
    return replace(found, respelled=_respelled(named))


def _respelled(patients: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Of each patient whose name has several spellings, the first case of each."""
    first: dict[str, str] = {}
    for case in sorted(patients):
        first.setdefault(patients[case], case)
    spellings: dict[str, list[str]] = defaultdict(list)
    for patient, case in first.items():
        spellings[_likeness_of_patient(patient)].append(case)
    return tuple(tuple(cases) for cases in spellings.values() if len(cases) > 1)


def _likeness_of_patient(name: str) -> str:
    """What is left of a patient's name; blanks part numbers alone, so that P1-1 is not P11."""
    left = _likeness(unicodedata.normalize("NFKC", name))
    return re.sub(r"(?<![0-9])-|-(?![0-9])", "", left) or name


def _likeness(name: str) -> str:
    """What is left of a name without what spreadsheets and people change."""
    for simplify in _LIKENESSES.values():
        name = simplify(name)
    return name


def _difference(one: str, other: str) -> str:
    """In what two names differ that mean one case."""
    return next((what for what, simplify in _LIKENESSES.items() if simplify(one) == simplify(other)), "its spelling")


def name_patients(
    path: Path, cases: Collection[str], known: Mapping[str, str] | None = None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Read whose some cases are, each patient called after the first scan in the table, and what there is to note.

    So no name of a patient reaches a dataset. The table may list scans that a dataset has already, and need not:
    `known` says whose these are (case -> patient, or empty).

    Raises
    ------
    TumorgenError
        The table cannot be read (`read_patients`), lists none of the cases, or lists some of them but for a trifle:
        their patients would get apart without anybody's knowing.
    """
    known = known or {}
    listed, every = read_patients(path), {*cases, *known}
    found = fit_patients(path, listed, {case: case for case in every})
    if found.alike:
        raise TumorgenError(f"{found.misnamed}; write the names as they are")
    told = {*known.values(), *(case for case, patient in known.items() if patient)}
    unlisted = tuple(case for case in found.unlisted if case in cases and case not in told)
    return name_after_scans(listed, every), replace(found, cases=len(cases), unlisted=unlisted).notes


def keep_patients(
    known: Iterable[tuple[str, str]], listed: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Whose scans are by a new table (case -> patient), where earlier runs have said whose others are; and notes.

    A scan that the table does not list stays with those of its patient that it lists, so that a table of new scans
    parts nobody. Who was joined wrongly is parted by a table that lists all of them.

    Parameters
    ----------
    known
        Case and patient of the scans in a dataset, as its rows have them; the patient may be empty.
    listed
        What the table says (`name_patients`).

    Raises
    ------
    TumorgenError
        The table parts scans of one patient, and does not say to whom another belongs that was of this patient.
    """
    there = {*known} if listed else set()
    cases, marks = {case for case, _ in there}, dict[str, set[Mark]]()
    for case, patient in there:
        for name in filter(None, (case, patient)):  # the scan that a patient is called after may not be there yet
            marks.setdefault(name, marks_of_scan(name))
        marks[case] |= marks_of_scan(case, patient)
    joined, staying = dict(listed), []
    for names in list_groups(group_scans(marks)):
        mine, rest = ([name for name in names if (name in listed) == is_listed] for is_listed in (True, False))
        left = [name for name in rest if name in cases]
        patients = {listed[name] for name in mine}
        if len(patients) > 1 and left:
            raise TumorgenError(
                f"the table of patients parts {few(mine)}, which were of one patient, and does not say whose"
                f" {few(left)} is then; list all of them"
            )
        if len(patients) == 1:
            joined |= dict.fromkeys(rest, *patients)
            staying += [f"{name} with {mine[0]}" for name in left]
    return _called_after_first(joined), tuple(_describe_staying(staying))


def _called_after_first(patients: Mapping[str, str]) -> dict[str, str]:
    first: dict[str, str] = {}
    for case, patient in patients.items():
        first[patient] = min(first.get(patient, patient), case)
    return {case: first[patient] for case, patient in patients.items()}


def _describe_staying(staying: Sequence[str]) -> Iterator[str]:
    if staying:
        what = "1 scan is" if len(staying) == 1 else f"{len(staying)} scans are"
        yield (
            f"{what} not in the table of patients and, as before, of one patient with scans that are: {few(staying)};"
            " to part them, list all of them"
        )


def name_by_study(studies: Mapping[str, str]) -> dict[str, str]:
    """Whose scans are that are of one DICOM study with others, called after the first; case -> study, or empty."""
    counts = Counter(studies.values())
    return name_after_scans({case: study for case, study in studies.items() if study and counts[study] > 1})


def name_after_scans(listed: Mapping[str, str], cases: Collection[str] = ()) -> dict[str, str]:
    """Whose scans are (case -> patient), each patient called after the first scan of theirs instead of by name.

    What is none of `cases`, and cannot be the name of a case, such as a sentence about the patient, is left out. A scan
    that is in no dataset counts, so that runs over some of the scans each have the same names for patients.
    """
    known = {*cases}
    scans = {case: patient for case, patient in listed.items() if case in known or case == safe_name(case)}
    first: dict[str, str] = {}
    for case in sorted(scans):
        first.setdefault(scans[case], case)
    return {case: first[patient] for case, patient in scans.items()}
