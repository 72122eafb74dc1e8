"""`tumorgen mix`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import plural, typed

from .bars import progress
from .common import as_usage_error
from .datasets import DATASET_NAME, find_dataset
from .kinds import EXISTING_FILE, Once
from .options import NewDataset, block, jobs_option, named_root, new_dataset, option
from .verbosity import say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.imaging import LabelChoice
    from tumorgen.mixing import Part


RATIOS = {2: (5.0, 5.0), 3: (4.0, 4.0, 2.0)}  # by number of kinds, where none is given; that of two is the paper's best


class Ratio(click.ParamType):  # type: ignore[type-arg]  # a type of its own it has since click 8.4 only
    """Numbers above zero with colons between, such as 5:5."""

    name = "ratio"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """The numbers, or a usage error."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(float(part) for part in str(value).split(":"))
        except ValueError:
            numbers = ()
        if not numbers or not all(0 < number < float("inf") for number in numbers):
            self.fail(f"{value!r} is not numbers above 0 with colons between, such as 5:5.", param, ctx)
        return numbers


@dataclass(frozen=True, slots=True)
class Given:
    """The datasets to mix, and the ratio of their kinds."""

    real: tuple[Path, ...] = option(
        (),
        "Raw dataset of real, annotated tumours.",
        type=DATASET_NAME,
        multiple=True,
        required=True,
        metavar="DATASET",
    )
    synthetic: tuple[Path, ...] = option(
        (), "Dataset that synth wrote.", type=DATASET_NAME, multiple=True, metavar="DATASET"
    )
    healthy: tuple[Path, ...] = option(
        (), "Dataset that healthy wrote.", type=DATASET_NAME, multiple=True, metavar="DATASET"
    )
    ratio: tuple[float, ...] | None = option(
        None,
        "How often a training draws of each kind: real, synthetic, healthy, as far as they are given.  [default: 5:5 of"
        " two kinds, 4:4:2 of three]",
        type=Ratio(),
        metavar="R:S[:H]",
    )

    @property
    def folders(self) -> dict[str, tuple[Path, ...]]:
        """Kind -> its datasets; a usage error where there is one kind only."""
        from tumorgen.mixing import HEALTHY, REAL, SYNTHETIC

        given = {REAL: self.real, SYNTHETIC: self.synthetic, HEALTHY: self.healthy}
        there = {kind: folders for kind, folders in given.items() if folders}
        if len(there) < 2:
            raise click.UsageError("a mixture needs --real and one of --synthetic and --healthy.")
        return there

    @property
    def weights(self) -> dict[str, float]:
        """Kind -> its share; a usage error where a number is missing, or one too many."""
        kinds = list(self.folders)
        ratio = self.ratio or RATIOS[len(kinds)]
        if len(ratio) != len(kinds):
            raise click.UsageError(f"--ratio needs {len(kinds)} numbers here: {':'.join(kinds)}.")
        return dict(zip(kinds, ratio, strict=True))

    def read(self, root: Path, jobs: int) -> list[Part]:
        """What the datasets consist of."""
        from tumorgen.mixing import read_part

        found = [
            (kind, find_dataset(name, root, named_root())) for kind, names in self.folders.items() for name in names
        ]
        return [read_part(kind, folder, jobs=jobs, start=progress(folder.name, "scan")) for kind, folder in found]


@click.command(
    epilog="""\b
Examples:
  tumorgen mix --real Dataset003_Liver --synthetic Dataset501_SynthLiver
  tumorgen mix --real Dataset003_Liver --synthetic Dataset501_SynthLiver --healthy Dataset502_HealthyLiver \\
      --ratio 4:4:2 --patients patients.csv
  tumorgen mix --real Dataset007_Abdomen --synthetic Dataset501_SynthLiver --map liver=6 --map tumor=14
\b
Then:
  nnUNetv2_plan_and_preprocess -d 510 && nnUNetv2_train 510 3d_fullres 0"""
)
@block("given", Given)
@click.option(
    "--map",
    "mapped",
    multiple=True,
    metavar="OURS=THEIRS",
    help="Label of real datasets of other numbers, by number or name, that is `liver` or `tumor`; what is not named is"
    " background.",
)
@click.option(
    "--patients",
    type=EXISTING_FILE,
    cls=Once,
    help="Table with columns `case` (a scan of any of the datasets) and `patient`.  [default: each scan is a patient of"
    " its own; files of one CT, and scans of one name, are one]",
)
@new_dataset(dataset_id=510, name="Mixed")
@jobs_option
@telling
def mix(given: Given, mapped: tuple[str, ...], patients: Path | None, new: NewDataset, jobs: int) -> None:
    """Make one nnU-Net dataset of real, synthetic and healthy scans, without copying an image.

    A DATASET is a folder, or the name or number of a dataset in $nnUNet_raw; each option may be given several times.
    dataset.json says where the files are. Folds hold out real cases alone, by patient, and train on nothing that was
    made of their scans. In a fold's list, cases are repeated until the kinds come in the ratio: an epoch draws from
    that list.

    mix.csv says where each case is from. Running the same command again writes the mixture anew.
    """
    from tumorgen.mixing import find_kept_split, mix_datasets
    from tumorgen.tables import name_patients

    labels, dataset, weights = _choose_labels(mapped), new.dataset(), given.weights
    parts = given.read(new.root, jobs)
    named, notes = name_patients(patients, {scan for part in parts for scan in part.marks}) if patients else ({}, ())
    start = progress("labels", "scan")
    made = mix_datasets(parts, weights, dataset, patients=named, labels=labels, jobs=jobs, start=start)
    counts = ", ".join(f"{sum(case.kind == kind for case in made.cases)} {kind}" for kind in weights)
    click.echo(f"{made.dataset.folder}: {plural(len(made.cases), 'case')} ({counts}), {plural(made.folds, 'fold')}")
    sum_up(dataset=made.dataset.folder, cases=len(made.cases), folds=made.folds, shares=made.shares)
    if made.shares:
        click.echo(f"a training draws {', '.join(f'{share:.0%} {kind}' for kind, share in made.shares.items())}")
    for note in (*notes, *made.notes):
        say_note(note)
    kept = os.environ.get("nnUNet_preprocessed")
    if kept and (split := find_kept_split(made.dataset, Path(kept))):
        say_note(f"nnU-Net keeps the split of an earlier mixture until it is removed: rm {typed(split)}")
    click.echo(
        f"next:\n  {new.export}nnUNetv2_plan_and_preprocess -d {new.dataset_id} &&"
        f" nnUNetv2_train {new.dataset_id} 3d_fullres 0"
    )


def _choose_labels(mapped: tuple[str, ...]) -> LabelChoice | None:
    """What `--map` says; a usage error where it makes no sense."""
    from tumorgen.imaging import LabelChoice

    chosen: dict[str, list[str]] = {"liver": [], "tumor": []}
    for text in mapped:
        ours, _, theirs = text.partition("=")
        if ours not in chosen or not theirs:
            raise click.UsageError(f"--map {text}: write liver=LABEL or tumor=LABEL.")
        chosen[ours].append(theirs)
    if mapped and not all(chosen.values()):
        raise click.UsageError("--map: say both, liver=LABEL and tumor=LABEL.")
    with as_usage_error():
        return LabelChoice(tuple(chosen["liver"]), tuple(chosen["tumor"])) if mapped else None
