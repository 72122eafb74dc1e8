"""What tables say of the cases to evaluate: whose they are, and what the robustness benchmark has dialled in them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import TumorgenError
from ..tables import (
    SAMPLES,
    NameCheck,
    columns_in,
    fit_names,
    fit_patients,
    group_scans,
    marks_of_scan,
    read_patients,
    read_text,
    rows_of,
)

_PINNED = "source_image_sha256"  # a column that tumorgen's manifests have, and no other table of samples
_NAMED = "named"  # a mark: the patient, as a table of patients has it


@dataclass(frozen=True, slots=True)
class Listing:
    """What is known of a case.

    Attributes
    ----------
    scan
        Name of the scan that it was made of; its own name where no manifest lists it.
    patient
        Whose it is: of one name are all cases that are resampled as one.
    dimension, level
        What the robustness benchmark has dialled in it, and how far.
    has_tumors
        Whether tumours were placed in it, as a manifest says, whatever its label shows.
    has_real_tumors
        Whether its label has tumours that are really there, too, as a manifest says.
    """

    scan: str
    patient: str
    dimension: str = ""
    level: str = ""
    has_tumors: bool = False
    has_real_tumors: bool = False


@dataclass(frozen=True, slots=True)
class Listings:
    """What is known of each case, and how the names in the tables fit the cases."""

    cases: Mapping[str, Listing] = field(default_factory=dict)
    checks: tuple[NameCheck, ...] = ()

    def of(self, case: str) -> Listing:
        """What is known of a case; of one that no table lists, that it is a patient of its own."""
        return self.cases.get(case) or Listing(case, case)


def find_listings(cases: Collection[str], manifest: Path | None = None, patients: Path | None = None) -> Listings:
    """Find out what a manifest and a table of patients say of some cases.

    What the table of patients says of a case, or of the scan that it was made of, goes before what the manifest says;
    scans that are one CT, as the manifest has it, are of one patient in any case.

    Raises
    ------
    TumorgenError
        A table cannot be read (`read_listings`, `tables.read_patients`), or lists none of the cases.
    """
    checks: list[NameCheck] = []
    listings = {case: Listing(case, case) for case in cases}
    if manifest:
        known = read_listings(manifest)
        checks.append(fit_names(manifest, known, {case: case for case in cases}))
        listings |= {case: known[case] for case in listings.keys() & known.keys()}
    if patients:
        named = read_patients(patients)
        checks.append(fit_patients(patients, named, {case: each.scan for case, each in listings.items()}))
        listings = _with_patients(listings, named)
    return Listings(listings, tuple(checks))


def _with_patients(listings: Mapping[str, Listing], named: Mapping[str, str]) -> dict[str, Listing]:
    """Listings whose patients are those of a table; patients of one CT are one, by the first of their names.

    Where a patient of the table has the name of a case that it does not list, that case is called otherwise.
    """
    marks: dict[str, set[tuple[str, str]]] = {}
    for case, each in listings.items():
        said = {named[name] for name in (case, each.scan) if name in named}
        marks[case] = {("", each.patient), *((_NAMED, patient) for patient in said)}
    groups = group_scans(marks)
    names: dict[str, set[str]] = defaultdict(set)
    for case, mine in marks.items():
        names[groups[case]] |= {patient for kind, patient in mine if kind == _NAMED}
    taken = {*named.values()}
    own = {
        each.patient: f"{each.patient} (unlisted)" if each.patient in taken else each.patient
        for each in listings.values()
    }
    return {
        case: replace(each, patient=min(names[groups[case]], default=own[each.patient]))
        for case, each in listings.items()
    }


def read_listings(manifest: Path) -> dict[str, Listing]:
    """Read what a table of samples, such as a dataset's manifest, says of each: the columns `sample` and `case`.

    In a manifest of tumorgen, scans of one patient and scans that are one CT are one patient, called after the first of
    them; in any other table the patient is `case`.

    Raises
    ------
    TumorgenError
        The table cannot be read, a column is missing, a sample is listed twice, or a sample or case is empty.
    """
    text = read_text(manifest)
    columns = columns_in(manifest, text)
    if {"case", "patient"} <= columns and "sample" not in columns:
        raise TumorgenError(f"{manifest}: is a table of patients, not of samples; give it as --patients")
    listings: dict[str, Listing] = {}
    marks: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for where, row in rows_of(manifest, text, ("sample", "case"), unique="sample"):
        sample, case = row["sample"].strip(), row["case"].strip()
        if not sample or not case:
            raise TumorgenError(f"{where}: sample or case is empty")
        dial = row.get("dimension", "").strip(), row.get("level", "").strip()
        has_tumors, has_real = (
            row.get(name, "").strip() not in ("", "0", "0.0") for name in ("tumors_placed", "real_tumor_voxels")
        )
        listings[sample] = Listing(case, case, *dial, has_tumors, has_real)
        known = (row.get(name, "") for name in ("patient", "source_fingerprint", _PINNED))
        marks[case] |= marks_of_scan(case, *(known if _PINNED in row else ()))
    groups = group_scans(marks)
    return {sample: replace(each, patient=groups[each.scan]) for sample, each in listings.items()}


def manifest_beside(reference: Path) -> Path | None:
    """The manifest of the dataset that a folder of labels belongs to, by a path like theirs; None if there is none."""
    parent = reference / ".." if reference.name in ("", "..") else reference.parent
    manifest = parent / SAMPLES
    if not manifest.is_file():
        return None
    with manifest.open(encoding="utf-8-sig", errors="replace") as file:
        columns = {name.strip(' "') for name in re.split(r"[,;|\t]", file.readline().strip())}  # reading says which
    return manifest if {"sample", "case"} <= columns else None
