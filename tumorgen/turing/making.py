"""Making a study: cases drawn from two sets, brought to one form, and written with a key apart from them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .. import __version__
from ..dataset import write_json
from ..errors import Failure, TumorgenError
from ..fields import refuse_twins
from ..imaging import write_volume
from ..parallel import Case, Start, map_cases, no_progress
from ..realism import LabelledScan, find_labelled, find_layout, has_synthetic, join_patients
from ..seeds import stable_rng
from ..tables import fit_patients, read_patients
from ..wording import plural
from .answers import answers_file
from .blinding import Field, Survey, blind_case, common_field, place_field, survey_case
from .drawing import KINDS, SYNTHETIC, Candidate, count_kinds, leave_enough, number_cases, order_cases, queue_patients
from .study import DRAWN, STUDY, KeyRow, Shown, case_file, plain_study, whole_folder, write_key

Surveyed = tuple[Candidate, Survey]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a study is to be.

    Attributes
    ----------
    real, synthetic
        Sets of scans with labels (`realism.find_layout`), with real and with synthetic tumours.
    count, share_real
        Number of cases, and the share of them that are real.
    readers
        Names of the readers, as they stand in the page and name the tables of answers.
    patients
        Table of patients of both sets; without it a scan of its own name is a patient, samples are their scan's.
    seed
        Of which cases are drawn, and in what order they are shown.
    trust
        Which place of a NIfTI header holds where two contradict each other (`imaging.read_volume`).
    """

    real: Path
    synthetic: Path
    count: int = 50
    share_real: float = 0.4
    readers: tuple[str, ...] = ("reader",)
    patients: Path | None = None
    seed: int = 0
    trust: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """A study that was made: its key, the field that its cases are shown in, what could not be drawn, and notes."""

    rows: tuple[KeyRow, ...]
    field: Field
    failures: tuple[Failure, ...] = ()
    notes: tuple[str, ...] = ()


def make_study(
    wanted: Wanted, study: Path, *, jobs: int = -1, survey: Start = no_progress, start: Start = no_progress
) -> Made:
    """Draw a study and write it into a new folder.

    A case whose labels cannot be read, or have no tumour, is replaced by another, of the same patient if there is one.
    The folder appears whole, or not at all. `jobs` are processes; `survey` and `start` show the progress of looking at
    labels and of writing cases.

    Raises
    ------
    TumorgenError
        The folder holds something; a set cannot be found; too few patients have a tumour; or a case cannot be written.
    """
    refuse_twins("reader", [name.lower() for name in wanted.readers])
    for name in wanted.readers:
        answers_file(study, name)
    numbers = count_kinds(wanted.count, wanted.share_real)
    with whole_folder(study) as folder:
        candidates, failures, notes = _candidates(wanted)
        drawn, lost = _draw(wanted, candidates, numbers, jobs, survey)
        field = common_field(found for _, found in drawn)
        named = sorted(zip(number_cases(len(drawn), stable_rng(wanted.seed, "numbers")), drawn, strict=True))
        _write_cases(folder, named, field, wanted.trust, jobs, start)
        rows = tuple(_key_row(name, candidate, found, field) for name, (candidate, found) in named)
        write_key(folder, rows)
        write_json(_drawn_from(wanted), folder / DRAWN)
        write_json(plain_study(_shown(wanted, named, field)), folder / STUDY)
    return Made(rows, field, (*failures, *lost), (*notes, *_notes_on(wanted, drawn)))


def _notes_on(wanted: Wanted, drawn: Sequence[Surveyed]) -> Iterator[str]:
    """What is odd about the cases that were drawn: synthetic ones that play real ones, real ones beside synthetic."""
    if has_synthetic(find_layout(wanted.real)[1]):
        yield (
            f"{wanted.real}: holds samples with synthetic tumours, which this study takes for real: it shows how a"
            " study works, and its score means nothing"
        )
    if beside := sum(each.kind == SYNTHETIC and found.real_beside > 0 for each, found in drawn):
        cases = plural(beside, f"{SYNTHETIC} case")
        yield f"in {cases} real tumours are there, too: a case begins at a synthetic one, and readers are asked of that"


def _shown(wanted: Wanted, named: Sequence[tuple[str, Surveyed]], field: Field) -> Shown:
    """What the page is told: an id, an order for each reader, and where cases begin."""
    names = [name for name, _ in named]
    orders = {name: order_cases(names, stable_rng(wanted.seed, "order", name)) for name in wanted.readers}
    return Shown(secrets.token_hex(8), orders, {name: _start_of(found, field) for name, (_, found) in named})


def _candidates(wanted: Wanted) -> tuple[dict[str, list[Candidate]], tuple[Failure, ...], tuple[str, ...]]:
    """What may be drawn of each kind, what has no label or no image, and how the table of patients fits."""
    named = read_patients(wanted.patients) if wanted.patients else {}
    failures: list[Failure] = []
    sets: dict[str, tuple[LabelledScan, ...]] = {}
    hosts: dict[str, str] = {}
    for kind, folder in zip(KINDS, (wanted.real, wanted.synthetic), strict=True):
        sets[kind], unmatched = find_labelled(folder, named)
        failures += unmatched
        hosts |= {scan.case: scan.host for scan in sets[kind]}
    patients = dict(zip(KINDS, join_patients(*sets.values()), strict=True))
    candidates = {
        kind: [
            Candidate(kind, scan.case, patients[kind][scan.case], scan.image, scan.label, scan.drawn) for scan in scans
        ]
        for kind, scans in sets.items()
    }
    notes = fit_patients(wanted.patients, named, hosts).notes if wanted.patients else ()
    return candidates, tuple(failures), notes


def _draw(
    wanted: Wanted, candidates: Mapping[str, Sequence[Candidate]], numbers: Mapping[str, int], jobs: int, start: Start
) -> tuple[list[Surveyed], list[Failure]]:
    """Draw cases of each kind, first where fewer patients are to spare; a patient of both sets is drawn once."""
    queues = {kind: queue_patients(candidates[kind], stable_rng(wanted.seed, kind)) for kind in KINDS}
    drawn: list[Surveyed] = []
    failures: list[Failure] = []
    move = start(sum(numbers.values()))
    first, then = sorted(KINDS, key=lambda kind: len(queues[kind]) - numbers[kind])
    queues[first] = leave_enough(queues[first], queues[then], numbers[then])
    for kind in (first, then):
        taken = {candidate.patient for candidate, _ in drawn}
        queue = [cases for cases in queues[kind] if cases[0].patient not in taken]
        found = 0
        for result in _survey_enough(queue, numbers[kind], wanted.trust, jobs):
            if isinstance(result, Failure):
                failures.append(result)
                continue
            drawn.append(result)
            found += 1
            move(1)
        if found < numbers[kind]:
            other = then if kind == first else first
            raise TumorgenError(
                f"{wanted.real if kind == KINDS[0] else wanted.synthetic}: {plural(found, 'patient')} with a {kind}"
                f" tumour that can be shown, and {numbers[kind]} are needed"
                f"{_describe_taken(len(queues[kind]) - len(queue), other)}; lower --count, or change --share-real"
            )
    return sorted(drawn, key=lambda each: (each[0].kind, each[0].case)), failures


def _describe_taken(taken: int, other: str) -> str:
    """Why patients of a set are not shown with its tumours, though they may have some; empty where there are none."""
    if not taken:
        return ""
    return f", beside {taken} shown with a {other} one: both sets have them, and a patient is shown once"


def _survey_enough(
    queue: Sequence[Sequence[Candidate]], number: int, trust: str, jobs: int
) -> Iterator[Surveyed | Failure]:
    """Look at a case of each patient until there are as many as are wanted, with those that could not be taken.

    A patient whose case could not be taken stays in the queue with the others of their cases.
    """
    waiting = list(queue)
    found = 0
    while found < number and waiting:
        batch, waiting = waiting[: number - found], waiting[number - found :]
        cases = [Case(mine[0], mine[0].case, about=(str(mine[0].label),)) for mine in batch]
        left: list[Sequence[Candidate]] = []
        for mine, result in zip(batch, map_cases(partial(_survey, trust=trust), cases, jobs), strict=True):
            if not isinstance(result, Failure):
                found += 1
            elif mine[1:]:
                left.append(mine[1:])
            yield result
        waiting = left + waiting


def _survey(candidate: Candidate, trust: str) -> Surveyed:
    return candidate, survey_case(candidate.label, trust, candidate.drawn)


def _write_cases(
    study: Path, named: Sequence[tuple[str, Surveyed]], field: Field, trust: str, jobs: int, start: Start
) -> None:
    """Write the cases; the first that fails ends it, since a study of fewer cases is another study."""
    work = partial(_write_case, study=study, field=field, trust=trust)
    cases = [Case(each, each[1][0].case) for each in named]
    for result in map_cases(work, cases, jobs, start=start):
        if isinstance(result, Failure):
            raise TumorgenError(f"{result.reason}; mend it or take it out, and make the study again")


def _write_case(named: tuple[str, Surveyed], study: Path, field: Field, trust: str) -> None:
    name, (candidate, found) = named
    shown = blind_case(candidate.image, candidate.label, found, field, trust)
    write_volume(shown, case_file(study, name))


def _key_row(name: str, candidate: Candidate, found: Survey, field: Field) -> KeyRow:
    x, y, z = (round(value, 3) for value in place_field(found, field))
    radius = round(found.tumor_radius_mm, 2)
    return KeyRow(name, candidate.kind, candidate.case, candidate.patient, found.tumors, radius, x, y, z)


def _start_of(found: Survey, field: Field) -> tuple[float, float, float]:
    """Where a case begins: its largest tumour, from the middle of the field."""
    x, y, z = (round(t - c, 1) for t, c in zip(found.tumor_mm, place_field(found, field), strict=True))
    return x, y, z


def _drawn_from(wanted: Wanted) -> dict[str, object]:
    return {
        "tumorgen_version": __version__,
        "real": wanted.real.resolve().name,  # no path: studies are handed on
        "synthetic": wanted.synthetic.resolve().name,
        "count": wanted.count,
        "share_real": wanted.share_real,
        "seed": wanted.seed,
    }
