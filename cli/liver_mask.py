"""`tumorgen liver-mask`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.errors import TumorgenError
from tumorgen.wording import few, plural, typed

from .bars import progress
from .common import as_usage_error, is_debug, made_in, note_places, note_renamed, report_failures
from .kinds import EXISTING, FILE, FOLDER, Processes, TableChoice
from .options import SCANS, block, option, trust_option
from .verbosity import said_so_far, say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.liver import MaskReport, Model, Segment


@dataclass(frozen=True, slots=True)
class Network:
    """Which model finds the liver, and how it runs."""

    model: Path | None = option(
        None,
        "Trained nnU-Net v2 model that knows the liver: a folder or a zip.  [default: the small one of tumorgen]",
        type=EXISTING,
    )
    labels: tuple[str, ...] = option(
        ("liver",), "Name of the liver's label in the model; give it again to join several.", "--label", multiple=True
    )
    folds: tuple[str, ...] = option(
        (), "Fold of the model to use; may be repeated  [default: all]", "--fold", multiple=True
    )
    device: str = option("auto", "What to run on.", type=TableChoice("tumorgen.liver.devices:DEVICES"))
    jobs: int = option(-1, "CPU threads; -1 is all cores.", type=Processes())
    mirror: bool | None = option(
        None,
        "Average over mirrored images, 8 times slower; the small model cannot.  [default: not on the CPU]",
        "--mirror/--no-mirror",
    )
    fit: bool | None = option(
        None,
        "Move outlines to where the scan's HU change.  [default: only with the small model of tumorgen]",
        "--fit-outline/--keep-outline",
    )

    def load(self, model: Model) -> Segment:
        """The model, loaded; what runs is printed."""
        from tumorgen.liver import load_model
        from tumorgen.parallel import count_jobs

        if self.model is None:
            say_note("using the small liver model of tumorgen; docs/liver-model.md says how good it is")
        else:  # with --quiet, too
            click.echo(
                f"note: loading {self.model}; a model file is code, so use none from people you do not trust", err=True
            )
        return load_model(
            model,
            self.labels,
            device=self.device,
            threads=count_jobs(self.jobs),
            mirror=self.mirror,
            fit=self.model is None if self.fit is None else self.fit,
            verbose=is_debug(),
        )


@click.command(
    "liver-mask",
    epilog="""\b
Examples:
  tumorgen liver-mask ct/ livers/
  tumorgen liver-mask dicom/ livers/ --jobs 8      (images become livers/images/CASE.nii.gz)
  tumorgen liver-mask ct/ livers/ --model nnUNet_results/Dataset003_Liver/nnUNetTrainer__nnUNetPlans__3d_fullres
  tumorgen liver-mask ct/ livers/ --model ~/.totalsegmentator/nnunet/results/Dataset291_...
  tumorgen liver-mask scan.nii.gz livers/ --model exported.zip --label liver --label liver_tumor --fold 0
\b
Next: tumorgen synth --per-scan 20, which reads the table of scans that this writes.""",
)
@click.argument("source", metavar="IN", type=EXISTING)
@click.argument("output", metavar="OUT", type=FOLDER)
@block("network", Network)
@click.option("--scans", type=FILE, default=SCANS, help="Table of scans to write; rows of other scans stay.")
@trust_option
@click.option("--overwrite", is_flag=True, help="Make masks again that exist already.")
@telling
def liver_mask(source: Path, output: Path, network: Network, scans: Path, trust: str | None, overwrite: bool) -> None:
    """Find the liver in CT scans with nnU-Net: OUT/CASE.nii.gz for each, 0 and 1, on the scan's own grid.

    IN is a folder of volumes (.nii.gz, .nii, .nrrd, .mha, .mhd) or of folders CASE/ct.nii.gz, one volume, or a folder
    with DICOM series in it or below it, one per folder or mixed. Each mask is the largest connected piece, its holes
    filled, without what hangs on by a neck. With the small model, which works at 4 mm, the scan says where it ends.
    What looks wrong is flagged in the table of scans, not hidden: status ok, check or failed, with the reason.
    OUT/overview.png shows every liver in its scan, those that look wrong first. Running the same command again does
    only what is missing. A mask that is in OUT, and that the table does not list or that was changed since, is kept,
    measured and listed.
    """
    from tumorgen.dicom import find_scans
    from tumorgen.liver import mask_scans, open_model, refuse_same_folder

    with ExitStack() as held:
        with as_usage_error():
            model = held.enter_context(open_model(network.model, network.labels, network.folds))
            refuse_same_folder([source / "any" if source.is_dir() else source], output)
            found = find_scans(source)
            for line in found.skipped:
                click.echo(f"skipped: {line}", err=True)
            found.refuse_empty(source)
        note_renamed(found.volumes)
        _note_numbered(found.numbered)
        note_places(found.volumes.values())
        began = time.monotonic()
        report = mask_scans(
            found.volumes,
            output,
            lambda: network.load(model),
            series=found.series,
            table=scans,
            trust=trust or "",
            overwrite=overwrite,
            start=progress("liver-mask", "scan"),
        )
    seconds = time.monotonic() - began
    pages = _draw(report, output, network.jobs)
    livers = len(report.rows) - len(report.having("failed"))
    _print_report(report, output, scans, seconds, pages)
    _print_failed(report.failed, source, scans)
    report_failures(report.failures, there=livers, nothing="no mask was written")


def _note_numbered(numbered: Mapping[str, str]) -> None:
    """Say which series have digits in their names, case name -> folder; of many with --verbose alone all."""
    if numbered:
        most = len(numbered) if said_so_far().verbose else 3
        told = few([f"{folder} is case {case}" for case, folder in numbered.items()], most)
        say_note(f"series whose folders have one name, or a UID for a name (--verbose names all): {told}")


def _draw(report: MaskReport, output: Path, jobs: int) -> tuple[Path, ...]:
    """Draw the livers; what cannot be drawn is said, and costs no mask."""
    from tumorgen.figures import draw_livers

    try:
        pictures = draw_livers(report.rows, output, jobs=jobs, start=progress("draw the livers", "scan"))
    except TumorgenError as error:
        say_note(f"the livers could not be drawn: {error}")
        return ()
    for failure in pictures.failures:
        say_note(f"{failure.name} could not be drawn: {failure.reason}")
    return pictures.pages


def _print_report(report: MaskReport, output: Path, scans: Path, seconds: float, pages: tuple[Path, ...]) -> None:
    for note in report.notes:
        say_note(note)
    doubtful = report.having("check")
    for row in doubtful:
        click.echo(f"check: {row.case}: {row.reason}")
    livers = len(report.rows) - len(report.having("failed"))
    sum_up(output=output, table=scans, masks=livers, to_check=[row.case for row in doubtful], made=report.made)
    made = made_in(report.made, seconds, livers - report.made, " (--overwrite makes them again)")
    click.echo(f"{output}: {plural(livers, 'liver mask')}, {len(doubtful)} to check, {made}; listed in {scans}")
    if pages:
        more = f" to {pages[-1].name}" if len(pages) > 1 else ""
        click.echo(f"look at {pages[0]}{more}: every liver, those that look wrong first")
    if livers:
        click.echo("next:\n  tumorgen synth --per-scan 20" + ("" if scans == SCANS else f" --scans {typed(scans)}"))


def _print_failed(cases: Sequence[str], source: Path, scans: Path) -> None:
    """Say of scans that failed that the table lists them, too, and how they are got rid of."""
    if cases:
        say_note(
            f"{scans} lists what failed, too: {few(cases)}; to leave a scan out for good, take it out of {source} and"
            " delete its row: as long as it is there, each run lists it again"
        )
