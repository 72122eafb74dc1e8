"""An audit: two sets of scans measured, compared, and told apart where a machine can; all of it as one record.

The record says how the sets compare and passes no sentence: what is within the real band, and what gives the synthetic
lesions away, stands side by side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from .. import __version__
from ..parallel import Start, count_jobs, no_progress
from ..wording import few, plural
from .comparing import (
    ALL,
    APPEARANCE,
    LEAST_LESIONS,
    SHAPE,
    Comparison,
    ShareComparison,
    compare_sets,
    compare_shares,
    lesion_frame,
)
from .matching import CALIPER, MATCHES, Contest, arrange_contest
from .measuring import MeasuredSet, measure_set
from .scans import find_labelled
from .telling import ALIGNED, FORESTS, Verdict, judge_by_forest, judge_by_network
from .weighting import RESAMPLES

_SHOWN = 3  # reasons that a note gives

RULES: Mapping[str, str] = {
    "synthetic": "where a manifest says that a sample's scan had tumours of its own, a lesion is synthetic if it lies"
    " where a tumour of its rows reaches; the others are counted and left out",
    "lesion": "a component of label 2, 26 neighbours, of at least 20 voxels and an in-plane radius of at least 2 mm,"
    " that of the circle of its largest axial area; smaller ones are counted, not measured",
    "slices": "what a lesion looks like is measured in the axial slices that hold at least half of that area, with"
    " distances in the plane to the label's outline; other tumours and what is within 3 mm of them are left out, and so"
    " is what is no liver",
    "grey_levels": "both sets on one grid of grey levels, steps of 400/255 HU from -160 to 240 HU; a lesion or ring of"
    " which more than 5 % lies at an end of it counts as clipped, and is not measured",
    "parenchyma": "the ring: liver more than 2 mm from its own edge, 3 to 8 mm outside the outline; what is beyond 3"
    " robust SD is left out; with fewer than 50 voxels of it a lesion's look is not measured",
    "core": "at least 2 mm or half the radius inside the outline",
    "noise": "inside means at least 1.5 mm (0.7 mm for radii below 4 mm) from the outline; lag-1 is the mean in-plane"
    " autocorrelation at one voxel, inside minus ring; low and high frequencies are parted by a masked Gaussian of"
    " 1.5 mm",
    "edge": "10 to 90 % width, 2.563 sigma, of an error function fitted to the radial profile in bins of 0.5 mm",
    "rim": "the profile's brightest 1 mm within 3 mm of the outline, over the parenchyma",
    "places": "edge share: part of the in-plane outline that is the liver's; depth: distance of the centre from the"
    " liver's surface; holes in the liver's label count as liver",
    "band": f"5 to 95 % of the real lesions; inside: share of the synthetic ones between (0.90 would be perfect); bins"
    f" of fewer than {LEAST_LESIONS} real lesions are shown, and nothing is concluded from them",
    "weights": "several scans of one patient weigh as one: a lesion weighs one over the number of its patient's scans",
    "intervals": f"95 %, percentiles of {RESAMPLES} resamples of patients; none with a single patient. That of an AUC"
    " takes what a classifier has learned as given, and is too narrow: of sets that are alike, seven in ten hold 0.5",
    "scans_without_lesions": "count in the number of lesions per scan, and nowhere else",
    "matching": f"each real lesion gets up to {MATCHES} synthetic ones of radii within a factor of {CALIPER}, none"
    " twice: of the same scan where at least two patients have one with lesions of both sets, else of any; what has no"
    " match takes no part",
    "auc": "chance that a synthetic lesion looks more synthetic than a real one to a classifier that has not seen the"
    " patient; 0.5: cannot be told, 1: never wrong; from fewer than"
    f" {LEAST_LESIONS} real lesions nothing is concluded",
    "auc_by_lesion": "the same, lesions being left out instead of patients: too strict where it learns a patient's"
    " lesions by heart, but the better guide where patients are few",
    "aligned": "appearance measured anew with each outline moved, by up to 2 mm, to the middle of its edge; by how much"
    " this AUC is below that of the labels' own outlines is the annotator's part: how far off the edge they draw",
    "unknown": "a lesion of which fewer than half of a forest's statistics could be measured takes no part; what is"
    " missing of others is filled in at random",
    "giveaways": "alone: AUC of a statistic by itself; importance: by how much the forest's AUC falls where it is"
    " shuffled among the lesions left out; ordered by the larger of importance and |alone - 0.5|",
}


@dataclass(frozen=True, slots=True)
class SetFacts:
    """What a set holds: numbers of scans, patients and lesions, of components too small to be measured, of failures.

    `folder` is the name of its folder, without those above, which may name a user; `real_left_out` are lesions that
    were in the scans of a synthetic set before, as its manifest says.
    """

    folder: str
    scans: int
    patients: int
    lesions: int
    scans_without_lesions: int
    too_small: int
    failed: int
    real_left_out: int = 0


@dataclass(frozen=True, slots=True)
class Audit:
    """Two sets compared. What is undefined is nan; `audit.json` has the same fields, with null for nan.

    Attributes
    ----------
    tumorgen_version, seed
        What the numbers depend on.
    real, synthetic
        What the sets hold.
    comparisons
        Each statistic by bin of radii.
    shares
        How many lesions are of some kind, by bin of radii.
    matched, unmatched, within_scans
        Real lesions that classifiers see, those that have no match, and whether lesions match within their scans.
    verdicts
        Whether classifiers can tell the sets apart, and by what.
    notes
        What to keep in mind, in sentences.
    rules
        How the numbers are defined, in words.
    """

    tumorgen_version: str
    seed: int
    real: SetFacts
    synthetic: SetFacts
    comparisons: tuple[Comparison, ...]
    shares: tuple[ShareComparison, ...]
    matched: int
    unmatched: int
    within_scans: bool
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]
    rules: Mapping[str, str]

    @property
    def outside(self) -> tuple[Comparison, ...]:
        """Statistics and bins, with enough real lesions, whose synthetic median lies outside the real band."""
        return tuple(row for row in self.conclusive if not row.median_inside)

    @property
    def conclusive(self) -> tuple[Comparison, ...]:
        """Statistics and bins with enough real lesions for a conclusion."""
        return tuple(row for row in self.comparisons if row.conclusive)

    @property
    def overall(self) -> tuple[Comparison, ...]:
        """Statistics of lesions over all sizes."""
        return tuple(
            row for row in self.comparisons if row.radius_bin == ALL and row.statistic in (*APPEARANCE, *SHAPE)
        )

    @property
    def inside(self) -> float:
        """Mean share of synthetic lesions inside the band, all sizes, over the statistics with enough real lesions.

        nan without any.
        """
        known = [row.inside for row in self.overall if row.conclusive]
        return fmean(known) if known else math.nan


def measure_folder(
    name: str,
    folder: Path,
    patients: Mapping[str, str],
    *,
    trust: str = "",
    jobs: int = -1,
    start: Start = no_progress,
) -> MeasuredSet:
    """Find and measure the scans of a set, `real` or `synthetic`; those that cannot be are among its failures.

    `trust` says which of two places holds, `sform` or `qform`, where those in a file's header contradict each other.

    Raises
    ------
    TumorgenError
        The folder holds no set (`find_labelled`), or none of its scans could be measured or has a lesion.
    """
    scans, unmatched = find_labelled(folder, patients)
    found = measure_set(name, folder, scans, trust=trust, jobs=jobs, start=start)
    return replace(found, failures=(*unmatched, *found.failures))


def audit_sets(
    real: MeasuredSet,
    synthetic: MeasuredSet,
    *,
    seed: int = 0,
    network: bool = True,
    jobs: int = -1,
    start: Start = no_progress,
) -> Audit:
    """Compare two measured sets, and have classifiers tell them apart.

    Parameters
    ----------
    real, synthetic
        The sets.
    seed
        What is drawn: resamples, folds, forests, networks.
    network
        Whether a network is asked as well, which takes minutes.
    jobs, start
        Processes, and progress of the networks (`parallel`).
    """
    frames = lesion_frame(real), lesion_frame(synthetic)
    contest = arrange_contest(*frames)
    verdicts = []
    if contest.real_count:
        count = count_jobs(jobs)
        aligned = lesion_frame(real, aligned=True), lesion_frame(synthetic, aligned=True)
        verdicts = [
            judge_by_forest(each, *(aligned if each == ALIGNED else frames), contest, seed=seed, jobs=count)
            for each in FORESTS
        ]
        if network:
            verdicts.append(judge_by_network(real, synthetic, contest, seed=seed, jobs=jobs, start=start))
    comparisons = compare_sets(real, synthetic, seed)
    return Audit(
        tumorgen_version=__version__,
        seed=seed,
        real=_facts(real),
        synthetic=_facts(synthetic),
        comparisons=comparisons,
        shares=compare_shares(real, synthetic, seed),
        matched=contest.real_count,
        unmatched=contest.unmatched,
        within_scans=contest.within_scans,
        verdicts=tuple(verdicts),
        notes=tuple(_notes(real, synthetic, contest, verdicts)),
        rules=RULES,
    )


def _facts(found: MeasuredSet) -> SetFacts:
    return SetFacts(
        folder=found.folder.resolve().name,
        scans=len(found.scans),
        patients=len({each.scan.patient for each in found.scans}),
        lesions=len(found.lesions),
        scans_without_lesions=sum(not each.lesions for each in found.scans),
        too_small=sum(each.burden.too_small for each in found.scans),
        failed=len(found.failures),
        real_left_out=_count_real(found),
    )


def _count_real(found: MeasuredSet) -> int:
    return sum(each.burden.real for each in found.scans)


def _notes(real: MeasuredSet, synthetic: MeasuredSet, contest: Contest, verdicts: list[Verdict]) -> Iterator[str]:
    for found in (real, synthetic):
        yield from _notes_on(found)
    if not contest.real_count:
        yield "no synthetic lesion has the radius of a real one: no classifier was asked"
    elif not contest.within_scans:
        yield (
            "fewer than two patients have lesions of both sets in one scan: what tells them apart may be the scanner as"
            " much as the tumour"
        )
    if contest.real_count and contest.unmatched:
        yield f"{plural(contest.unmatched, 'real lesion')} without a match, which no classifier has seen"
    for verdict in verdicts:
        real_ones, others = verdict.unknown_real, verdict.unknown_synthetic
        if real_ones or others:
            lesions = f"{plural(real_ones, 'real lesion')} and {plural(others, 'synthetic one')}"
            yield f"{verdict.classifier}: {lesions} took no part: too little of what it goes by could be measured"
    yield from dict.fromkeys(verdict.note for verdict in verdicts if verdict.note)


def _notes_on(found: MeasuredSet) -> Iterator[str]:
    """What is odd about a set: one patient only, scans that failed, lesions not measured, grey levels."""
    patients = {each.scan.patient for each in found.scans if each.lesions}
    if len(patients) == 1:
        yield f"{found.name}: all lesions are of one patient, so there are no intervals"
    if found.failures:
        yield f"{found.name}: {plural(len(found.failures), 'scan')} could not be measured"
    if left_out := _count_real(found):
        lesions = plural(left_out, "real lesion")
        yield f"{found.name}: {lesions} of the scans themselves left out, as the manifest has it"
    yield from describe_looks(found)


def describe_looks(found: MeasuredSet) -> Iterator[str]:
    """What is odd about the looks of a set, in words: lesions of which they could not be measured, grey levels."""
    reasons = Counter(lesion.appearance.reason for lesion in found.lesions if lesion.appearance.reason)
    if reasons:
        most = ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(_SHOWN))
        yield f"{found.name}: {plural(reasons.total(), 'lesion')} measured in part or not at all: {most}"
    odd: dict[str, list[str]] = {}
    for each in found.scans:
        for kind in each.greys:
            odd.setdefault(kind, []).append(each.scan.case)
    for kind, cases in odd.items():
        number = f"{len(cases)} of {plural(len(found.scans), 'scan')}"
        yield f"{found.name}: {number} {kind} ({few(cases, _SHOWN)}; `note` in scans.csv)"
