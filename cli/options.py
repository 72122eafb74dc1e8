"""Options that several commands share. A block of them is a dataclass whose fields are the options; commands get it."""

from __future__ import annotations

import functools
import os
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tumorgen.wording import few, plural, typed

from .common import as_usage_error, note_places, note_renamed
from .kinds import (
    EXISTING,
    EXISTING_FILE,
    FILE,
    FOLDER,
    NATURAL,
    Once,
    Processes,
    SettingsFile,
    TableChoice,
    find_misread,
)
from .verbosity import say_note

if TYPE_CHECKING:
    from tumorgen.dataset import Dataset
    from tumorgen.errors import Failure
    from tumorgen.imaging import LabelChoice
    from tumorgen.method import Settings
    from tumorgen.parallel import Start
    from tumorgen.tables import Entry, Reading, Source

Command = Callable[..., None]
Decorator = Callable[[Command], Command]

SCANS = Path("manifests/scans.csv")
JOBS = "Processes; -1 is all cores."
FORCE = "Start even if the disk does not have enough room."
METHOD = "tumorgen.method.settings"
RECIPE = "Which tumour model to use (`tumorgen recipes` lists them)."
ANOTHER_OUTPUT = "choose another --output"
RECIPES = "tumorgen.method.recipes"
SETTINGS = "TOML file with any of the method's parameters, or `mild`, `severe`, ...; the rest is the recipe's."
LABEL = "Label of the liver, by number or name, where masks are label maps; given several times, they are joined."
REAL_TUMORS = "Label of tumours that are really there: they stay tumours, and synthetic ones keep clear of them."
NNUNET_FOLDERS = "nnUNet_preprocessed", "nnUNet_results"  # which nnU-Net does not run without, besides nnUNet_raw
COPIES = Path("manifests")  # folder that gets copies of the manifests


class SettingOption(Once):
    """An option for one of the method's settings: its declaration says what it is, read when help is asked for."""

    def __init__(self, param_decls: Sequence[str], setting: str, **attributes: Any) -> None:
        super().__init__(param_decls, **attributes)
        self.setting = setting

    @property
    def help(self) -> str:
        """The setting's meaning."""
        from tumorgen.fields import help_of
        from tumorgen.method import Settings

        return f"{help_of(Settings, self.setting)}  [default: the recipe's]"

    @help.setter
    def help(self, text: str | None) -> None:
        """Ignore the text that click would keep."""


class LateDefault(click.Option):
    """An option whose default is a name of the library's, `module:NAME`, looked up when it is needed."""

    def get_default(self, ctx: click.Context, call: bool = True) -> Any:
        """What the name stands for."""
        return pkgutil.resolve_name(str(super().get_default(ctx, call)))


def option(default: Any, help: str | None = None, *names: str, **attributes: Any) -> Any:
    """A field of a block: the option's default and help, its names if it is not called as the field, and so on."""
    return field(default=default, metadata={"names": names, "help": help, **attributes})


def block(argument: str, kind: type[Any], **defaults: Any) -> Decorator:
    """Declare an option for each field of `kind`, one of which the command gets as its argument of this name."""

    def declare(command: Command) -> Command:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            given = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            command(**values, **{argument: given})

        for each in reversed(fields(kind)):
            attributes = {**each.metadata, "default": defaults.get(each.name, each.default)}
            names = attributes.pop("names") or (f"--{each.name.replace('_', '-')}",)
            click.option(*names, each.name, **attributes)(run)
        return run

    return declare


TRUST: dict[str, Any] = {  # of every command that reads scans or masks
    "help": "Which position to trust if sform and qform of a NIfTI header disagree.",
    "type": TableChoice("tumorgen.imaging.places:TRUSTS"),
}
trust_option = click.option("--trust", **TRUST)
jobs_option = click.option("--jobs", type=Processes(), default=-1, help=JOBS)
force_option = click.option("--force", is_flag=True, help=FORCE)


@dataclass(frozen=True, slots=True)
class Folders:
    """Two folders of scans and of their liver masks, which go together."""

    images: Path | None = option(
        None, "Where the scans are now, if not where the manifest says.", type=EXISTING, cls=Once
    )
    masks: Path | None = option(None, "Where their liver masks are now.", type=EXISTING, cls=Once)
    label: tuple[str, ...] = option(
        (), f"{LABEL}  [default: as the manifest says]", multiple=True, metavar="LABEL", show_default=False
    )

    trust: str | None = option(None, **TRUST)

    @property
    def labels(self) -> LabelChoice:
        """What the labels of the masks are."""
        from tumorgen.imaging import LabelChoice

        with as_usage_error():
            return LabelChoice(self.label)

    @property
    def reading(self) -> Reading:
        """How the scans of a manifest are read, where not as it says."""
        from tumorgen.tables import Reading

        return Reading(self.label, self.trust or "")

    def sources(self) -> tuple[list[Source], list[Failure]]:
        """The scans in the folders, and what is missing; none where no folders are given."""
        from tumorgen.tables import match_sources

        if self.images and self.masks:
            return match_sources(self.images, self.masks, self.labels, self.trust or "")
        if self.images or self.masks:
            raise click.UsageError("--images and --masks go together.")
        if self.label:
            raise click.UsageError("--label goes with --images and --masks.")
        if self.trust:
            raise click.UsageError("--trust goes with --images and --masks.")
        return [], []


@dataclass(frozen=True, slots=True)
class Scans(Folders):
    """Healthy scans: those in two folders, or those in the table that liver-mask wrote."""

    images: Path | None = option(
        None, "Folder of healthy CTs; with --masks, instead of manifests/scans.csv.", type=EXISTING, cls=Once
    )
    masks: Path | None = option(None, "Folder of their liver masks, of the same case names.", type=EXISTING, cls=Once)
    label: tuple[str, ...] = option((), LABEL, multiple=True, metavar="LABEL")
    scans: Path = option(SCANS, "What liver-mask wrote.", type=FILE, cls=Once)
    skip_check: bool = option(
        False, "Leave out scans that the table marks `check`, in which something looks wrong.", is_flag=True
    )
    patients: Path | None = option(
        None,
        "Table with columns `case` (a scan) and `patient`, whose scans stay together: in folds, and for `evaluate`."
        "  [default: each scan is a patient of its own; files of one CT are one]",
        type=EXISTING_FILE,
        cls=Once,
    )

    def sources(self) -> tuple[list[Source], list[Failure]]:
        """The scans, and what is missing."""
        from tumorgen.tables import read_scans, sources_of_scans

        if self.images or self.masks:
            if self.skip_check:
                raise click.UsageError("--skip-check goes with the table of scans, not with --images and --masks.")
            if self.scans != SCANS:
                raise click.UsageError("--scans FILE is instead of --images and --masks; leave one out.")
            sources, failures = Folders.sources(self)
            note_renamed({source.case: source.image for source in sources})
        else:
            rows = read_scans(self.scans)
            sources, failures = sources_of_scans(rows, self.labels, self.trust or "", skip_check=self.skip_check)
        note_places(path for source in sources for path in (source.image, source.mask))
        return sources, failures

    def telling(self, start: Start) -> Start:
        """Say which scans are doubtful when work starts, and not before: a run that is refused has none to look at."""

        def tell_and_start(count: int) -> Callable[[int], None]:
            if not self.images:
                self._tell_doubtful()
            return start(count)

        return tell_and_start

    def _tell_doubtful(self) -> None:
        """Say which scans are marked `check`, and what becomes of them."""
        from tumorgen.tables import read_scans

        rows = read_scans(self.scans)
        doubtful = [row for row in rows if row.status == "check"]
        if doubtful:
            told = few([f"{row.case} ({row.reason or 'no reason given'})" for row in doubtful])
            way = "left out" if self.skip_check else "look at them; --skip-check leaves them out"
            say_note(f"{len(doubtful)} of {plural(len(rows), 'scan')} are marked check: {told}; {way}")

    def tell_unlikely(self, entries: Sequence[Entry]) -> None:
        """Say which livers are hardly one by volume or HU; of those that liver-mask has listed, its table says it."""
        from tumorgen.method import DOUBTS

        for doubt, what in DOUBTS.items() if self.images else ():
            cases = sorted({entry.case for entry in entries if doubt in entry.notes.split()})
            if cases:
                say_note(
                    f"{plural(len(cases), 'liver')} of {what}: {few(cases)}; is it the liver, and is the spacing right?"
                    f" ({doubt} in manifest.csv)"
                )

    def name_patients(self, studies: Mapping[str, str], known: Callable[[], Mapping[str, str]]) -> dict[str, str]:
        """Whose the scans are, as far as the table of patients says, or their DICOM studies; what is odd is printed.

        `studies` has the scans, and of which study each is, or nothing. `known` finds whose the scans of a dataset are
        that is there; it is called where there is a table of patients.
        """
        from tumorgen.tables import keep_patients, name_by_study, name_patients

        by_study = name_by_study(studies)
        if by_study:
            what = f"{len(by_study)} scans are of one DICOM study with others, and so of one patient"
            say_note(f"{what}: {few([f'{case} with {first}' for case, first in by_study.items() if case != first])}")
        if self.patients is None:
            return by_study
        patients, notes = name_patients(self.patients, set(studies), known())
        joined, more = keep_patients(by_study.items(), patients)
        for note in (*notes, *more):
            say_note(note)
        return {**by_study, **joined}


@dataclass(frozen=True, slots=True)
class AnyScans(Scans):
    """Healthy scans, and if they are asked for those with tumours that are really there."""

    real_tumors: tuple[str, ...] = option((), REAL_TUMORS, "--real-tumours", multiple=True, metavar="LABEL")

    @property
    def labels(self) -> LabelChoice:
        """What the labels of the masks are."""
        from tumorgen.imaging import LabelChoice

        with as_usage_error():
            return LabelChoice(self.label, self.real_tumors)


def raw_root(given: Path | None, instead: str = "--output") -> Path:
    """The folder of raw datasets; a usage error where nnU-Net's variable can hardly mean what it says.

    `instead` is what to give then.
    """
    named = named_root()
    why = "" if given else find_misread(str(named))
    if why:
        raise click.UsageError(f"the environment's nnUNet_raw is {str(named)!r}, which {why}; or give {instead}.")
    return given or named


def named_root() -> Path:
    """The folder of raw datasets as nnU-Net's variable says it; else ./nnUNet_raw."""
    return Path(os.environ.get("nnUNet_raw") or "nnUNet_raw")


@dataclass(frozen=True, slots=True)
class NewDataset:
    """The raw dataset to write: a folder of datasets, nnU-Net's number and a name."""

    output: Path | None = option(
        None,
        "Folder of raw datasets, or the dataset itself, DatasetXXX_Name  [default: $nnUNet_raw, else ./nnUNet_raw]",
        type=FOLDER,
    )
    dataset_id: int = option(501, "nnU-Net's number.", type=click.IntRange(1, 999))
    name: str = option("SynthLiver", "Name of the dataset.")

    @classmethod
    def of_folder(cls, folder: Path) -> NewDataset | None:
        """The dataset that a folder is by its name, `Dataset501_SynthLiver`; None where it has another."""
        named = re.fullmatch(r"Dataset(\d{3})_(.+)", folder.name)
        return cls(folder.parent, int(named[1]), named[2]) if named else None

    def named_by_output(self) -> NewDataset:
        """The dataset that `--output` is by its name, and this where it is none; it must not be told otherwise.

        A name alone is that of a folder that is there, or else below the folder of raw datasets.
        """
        named = self.of_folder(self.output) if self.output else None
        if not (named and self.output):
            return self
        given = click.get_current_context().get_parameter_source
        for name, told, its in (
            ("dataset_id", self.dataset_id, named.dataset_id),
            ("name", self.name, named.name),
        ):
            if told != its and given(name) is click.core.ParameterSource.COMMANDLINE:
                flag = f"--{name.replace('_', '-')}"
                raise click.UsageError(
                    f"--output {self.output} and {flag} {told} contradict each other; leave one out."
                )
        is_path = len(self.output.parts) > 1 or self.output.is_dir()
        return named if is_path else replace(named, output=None)

    @property
    def root(self) -> Path:
        """The folder of raw datasets (`raw_root`)."""
        return raw_root(self.output)

    def dataset(self) -> Dataset:
        """The dataset; what it cannot be called is a usage error."""
        from tumorgen.dataset import Dataset, dataset_folder, refuse_inside_dataset

        with as_usage_error():
            refuse_inside_dataset(self.root)
            return Dataset(dataset_folder(self.root, self.dataset_id, self.name))

    @property
    def export(self) -> str:
        """The line that tells nnU-Net which of its folders are where; empty where it knows."""
        root = self.root.resolve()
        folders = {"nnUNet_raw": root} if os.environ.get("nnUNet_raw") != str(self.root) else {}
        folders |= {name: root.parent / name for name in NNUNET_FOLDERS if not os.environ.get(name)}
        given = " ".join(f"{name}={typed(folder)}" for name, folder in folders.items())
        return f"export {given}\n  " if given else ""

    def say_next(self, folder: Path) -> None:
        """Print what makes a training of the samples in a folder."""
        number = self.dataset_id
        click.echo(
            f"next:\n  tumorgen verify {typed(folder)}\n  {self.export}"
            f"tumorgen preprocess -d {number} && nnUNetv2_train {number} 3d_fullres 0"
        )


def new_dataset(**defaults: Any) -> Decorator:
    """Declare the options of the dataset to write, which the command gets as its argument `new`."""

    def declare(command: Command) -> Command:
        @functools.wraps(command)
        def run(new: NewDataset, **values: Any) -> None:
            command(new=new.named_by_output(), **values)

        return block("new", NewDataset, **defaults)(run)

    return declare


@dataclass(frozen=True, slots=True)
class Method:
    """How tumours are drawn: a recipe, a file of settings on top of it, and the seed."""

    recipe: str = option(f"{RECIPES}:DEFAULT_RECIPE", RECIPE, cls=LateDefault, type=TableChoice(f"{RECIPES}:RECIPES"))
    settings: Path | None = option(None, SETTINGS, type=SettingsFile(), cls=Once)
    seed: int = option(0, "Seed of everything drawn.", type=NATURAL)

    def load(self) -> Settings:
        """The recipe's settings, with what the file says on top."""
        from tumorgen.method import load_recipe, load_settings

        base = load_recipe(self.recipe)
        if self.settings is None:
            return base
        settings = load_settings(self.settings, base)
        self._note_idle_steps(self.settings, settings)
        return settings

    def _note_idle_steps(self, path: Path, settings: Settings) -> None:
        """Say which steps the file is about that are switched off; it would do nothing of that without a word."""
        from tumorgen.method import VARIED_RECIPE, find_idle_steps, is_variation

        idle = find_idle_steps(path, settings)
        if idle and is_variation(path):
            way = f"{path.stem} is about {few(idle)}, too, which {self.recipe} does not use; it was written for"
            say_note(f"{way} --recipe {VARIED_RECIPE}")
        elif idle:
            say_note(
                f"{path}: is about {few(idle)}, which {self.recipe} has switched off; enabled = true switches it on"
            )
