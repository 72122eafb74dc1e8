"""`tumorgen turing`: a group of four commands."""

from __future__ import annotations

import math
import webbrowser
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tumorgen.wording import few, plural, typed

from .bars import progress
from .common import report_failures
from .datasets import DATASET
from .kinds import EXISTING_FILE, EXISTING_FOLDER, FOLDER, NATURAL, Once
from .options import ANOTHER_OUTPUT, block, jobs_option, option, trust_option
from .verbosity import say_note, sum_up, telling

if TYPE_CHECKING:
    from tumorgen.turing import StudyScore, Wanted

_WHOLE = 1000  # characters: more than any sentence has


@dataclass(frozen=True, slots=True)
class Draw:
    """From which sets a study is drawn, and for whom."""

    real: Path = option(None, "Set of scans with real, annotated tumours.", type=DATASET, required=True, cls=Once)
    synthetic: Path = option(None, "Set of scans with synthetic tumours.", type=DATASET, required=True, cls=Once)
    count: int = option(50, "Number of cases.", type=click.IntRange(min=2))
    share_real: float = option(
        0.4, "Share of the cases that are real.", type=click.FloatRange(0, 1, min_open=True, max_open=True)
    )
    readers: tuple[str, ...] = option(
        ("reader",), "Name of a reader; may be given several times.", "--reader", multiple=True, metavar="NAME"
    )
    patients: Path | None = option(
        None,
        "Table with columns `case` (a scan of either set) and `patient`.  [default: each scan is a patient of its own;"
        " samples of tumorgen are their scan's]",
        type=EXISTING_FILE,
        cls=Once,
    )
    seed: int = option(0, "Seed of which cases are drawn, and in what order.", type=NATURAL)

    def wanted(self, trust: str | None) -> Wanted:
        """What the study is to be."""
        from tumorgen.turing import Wanted

        return Wanted(**{each.name: getattr(self, each.name) for each in fields(self)}, trust=trust or "")


class _Steps(click.Group):
    """A group that lists its commands in the order in which they are used, each with its first sentence, whole."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list."""
        with formatter.section("Commands"):
            rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in self.commands.items()]
            formatter.write_dl(rows)


@click.group(
    cls=_Steps,
    epilog="""\b
Examples:
  tumorgen turing make --real Dataset003_Liver --synthetic nnUNet_raw/Dataset501_SynthLiver --output study/
  tumorgen turing serve study/                        # opens the browser; Ctrl-C ends it
  tumorgen turing score study/
  tumorgen turing export study/ website/              # for any static web server, answers come back as CSV""",
)
def turing() -> None:
    """Ask people to tell real tumours from synthetic ones: a blinded reader study in the browser.

    The Visual Turing Test of the paper (section 5.1, Table 2): make draws and blinds the cases, serve shows them on
    this machine, score says how well readers told them apart.
    """


@turing.command(
    epilog="""\b
Examples:
  tumorgen turing make --real Dataset003_Liver --synthetic nnUNet_raw/Dataset501_SynthLiver --output study/
  tumorgen turing make --real real/ --synthetic made/ --reader junior --reader senior --output study/
  tumorgen turing make --real real/ --synthetic made/ --count 20 --share-real 0.5 --patients p.csv --output study/"""
)
@click.option("--output", required=True, type=FOLDER, help="New folder for the study.")
@block("draw", Draw)
@trust_option
@jobs_option
@telling
def make(output: Path, draw: Draw, trust: str | None, jobs: int) -> None:
    """Draw cases of two sets by patient, hide what tells them apart as files, and write a study.

    REAL and SYNTHETIC are nnU-Net raw folders (imagesTr and labelsTr, or imagesTs and labelsTs), by path or by name or
    number in $nnUNet_raw, or folders that hold images and labels; CT in HU, labels 0 background, 1 liver, 2 tumour. A
    patient is shown once, though both sets have scans of theirs. All cases get the same field of view around the liver,
    the same grid and greys, files of the same length with the same header, and numbers for names. What is real is in
    OUTPUT/key, which is never served.
    """
    from tumorgen.turing import make_study

    start = progress("cases", "case")
    made = make_study(draw.wanted(trust), output, jobs=jobs, survey=progress("labels", "case"), start=start)
    for note in made.notes:
        say_note(note)
    numbers = [sum(row.kind == kind for row in made.rows) for kind in ("real", "synthetic")]
    z, y, x = made.field.spacing_mm
    sum_up(study=output, real=numbers[0], synthetic=numbers[1], readers=draw.readers, spacing_mm=(z, y, x))
    click.echo(
        f"{output}: {numbers[0]} real and {plural(numbers[1], 'synthetic case')} for"
        f" {plural(len(draw.readers), 'reader')}, at {z:g} x {y:g} x {x:g} mm (z, y, x)\n"
        f"what is real is in {output / 'key'}; next:\n  tumorgen turing serve {typed(output)}"
    )
    report_failures(
        made.failures,
        there=len(made.rows),
        closing=(
            "; the study is whole all the same. To draw from what failed, too, fix it and make another study: give a"
            " new folder as --output."
        ),
    )


@turing.command(
    epilog="""\b
Examples:
  tumorgen turing serve study/
  tumorgen turing serve study/ --port 8123 --no-browser    # then, from elsewhere: ssh -L 8123:127.0.0.1:8123 HOST"""
)
@click.argument("study", type=EXISTING_FOLDER)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; 0 is any that is free.")
@click.option("--browser/--no-browser", default=True, help="Whether the browser is opened.")
def serve(study: Path, port: int, browser: bool) -> None:
    """Show a study in the browser of this machine until Ctrl-C.

    Each answer is on disk before the next case shows. Only the loopback interface is served, under an address that
    nobody can guess; there is no network access. A reader who stops goes on where they stopped, whenever the study is
    served again.
    """
    from tumorgen.turing import StudyServer

    with StudyServer(study, port) as server:
        click.echo(f"{server.address}\nserving {study} to this machine alone; Ctrl-C ends it")
        if browser and not webbrowser.open(server.address):
            click.echo("note: no browser could be opened; open that address yourself")
        server.serve_forever()


@turing.command(
    epilog="""\b
Examples:
  tumorgen turing score study/
  tumorgen turing score study/ --answers downloaded/ --output score/    # CSV files that readers sent"""
)
@click.argument("study", type=EXISTING_FOLDER)
@click.option(
    "--answers",
    type=EXISTING_FOLDER,
    cls=Once,
    help="Folder of tables of answers, NAME.csv of each reader  [default: STUDY/answers]",
)
@click.option("--output", type=FOLDER, help="Folder for the score  [default: STUDY/score]")
@telling
def score(study: Path, answers: Path | None, output: Path | None) -> None:
    """Score the answers to a study as the paper's Table 2 does.

    For each reader: accuracy, sensitivity and specificity with 95 % intervals; tests against guessing; time for a case.
    Cases a reader was unsure of are left out and counted. For all readers: how far they agree. Synthetic is the
    positive answer. Written are score.html, score.json, score.csv, and answers.csv with what each case is.
    """
    from tumorgen.imaging import refuse_foreign_files
    from tumorgen.turing import MARKS, PAGE, SCORE, score_folder, write_score

    folder = output or study / SCORE
    refuse_foreign_files(folder, MARKS, ANOTHER_OUTPUT)
    found = score_folder(study, answers)
    write_score(found, folder)
    _print_score(found.score)
    for note in found.notes:
        say_note(note)
    shares = {
        each.reader: {name: _known(share.value) for name, share in each.shares.items()} for each in found.score.readers
    }
    sum_up(folder=folder, readers=shares)
    click.echo(f"{folder}: {PAGE}, score.json, score.csv, answers.csv")


def _print_score(score: StudyScore) -> None:
    """Print each reader's shares, and how far readers agree."""
    click.echo(f"{score.real} real and {plural(score.synthetic, 'synthetic case')}")
    click.echo(
        f"\n{'':<20}{'accuracy':>10}{'sensitivity':>13}{'specificity':>13}{'unsure':>8}{'p (coin)':>10}{'median':>9}"
    )
    for each in score.readers:
        told = ["-" if _known(share.value) is None else f"{share.value:.1%}" for share in each.shares.values()]
        unsure = each.unsure_real + each.unsure_synthetic
        p_coin = "-" if _known(each.p_guessing) is None else f"{each.p_guessing:.2g}"
        click.echo(
            f"{each.reader[:19]:<20}{told[0]:>10}{told[1]:>13}{told[2]:>13}{unsure:>8}{p_coin:>10}"
            f"{each.seconds_median:>7.1f} s"
        )
    for pair in score.agreement:
        kappa = "undefined" if _known(pair.kappa) is None else f"{pair.kappa:z.2f}"
        click.echo(f"kappa of {few(pair.readers)}: {kappa} ({plural(pair.cases, 'case')})")
    click.echo()


def _known(value: float) -> float | None:
    """A number, or None for nan."""
    return None if math.isnan(value) else value


@turing.command(
    epilog="""\b
Examples:
  tumorgen turing export study/ website/
  python -m http.server --directory website/    # to try it"""
)
@click.argument("study", type=EXISTING_FOLDER)
@click.argument("folder", type=FOLDER)
@telling
def export(study: Path, folder: Path) -> None:
    """Write a study into FOLDER for any static web server, without the key.

    Answers stay in the browser of each reader, who downloads them as CSV and sends them; `turing score --answers` reads
    them. Whoever has the address can see the cases: they are patients' scans.
    """
    from tumorgen.turing import export_study

    count = export_study(study, folder)
    sum_up(folder=folder, cases=count)
    click.echo(
        f"{folder}: {plural(count, 'case')} and the page; readers send NAME.csv, and then:\n"
        f"  tumorgen turing score {typed(study)} --answers FOLDER_OF_CSV"
    )
