"""Options that several commands share. A block of them is declared once and reaches a command as one typed value."""

from __future__ import annotations

import functools
import os
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .common import as_usage_error

if TYPE_CHECKING:
    from tumorgen.dataset.raw import Dataset
    from tumorgen.errors import Failure
    from tumorgen.method.settings import Settings
    from tumorgen.tables.sources import Source

Command = Callable[..., None]
Decorator = Callable[[Command], Command]

FOLDER = click.Path(path_type=Path, file_okay=False)
EXISTING = click.Path(path_type=Path, exists=True)
EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
EXISTING_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
SCANS = Path("manifests/scans.csv")
COPIES = Path("manifests")  # folder that gets copies of the manifests


class TableChoice(click.Choice[str]):
    """One of the words of a table of the library, `module:TABLE`.

    The table is read when the words are needed: it is not on the way of `tumorgen --help`.
    """

    def __init__(self, table: str) -> None:
        self.table = table
        self.case_sensitive = True

    @functools.cached_property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]  # read-only, and read late
        """The words, in the order of the table."""
        return tuple(pkgutil.resolve_name(self.table))


class SettingOption(click.Option):
    """An option for one of the method's settings: its declaration says what it is, read when help is asked for."""

    def __init__(self, param_decls: Sequence[str], setting: str, **attributes: Any) -> None:
        super().__init__(param_decls, **attributes)
        self.setting = setting

    @property
    def help(self) -> str:
        """The setting's meaning and its default."""
        from tumorgen.fields import find_field, help_of
        from tumorgen.method.settings import Settings

        default = find_field(Settings, self.setting).default
        words = default if isinstance(default, str) else ",".join(default)
        return f"{help_of(Settings, self.setting)}  [default: {words}]"

    @help.setter
    def help(self, text: str | None) -> None:
        """Ignore the text that click would keep."""


def block(name: str, kind: type[Any], *options: Decorator) -> Decorator:
    """Declare options together: a command gets their values as its argument `name`, a `kind` with a field for each."""

    def declare(command: Command) -> Command:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            given = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
            command(**values, **{name: given})

        for option in reversed(options):
            option(run)
        return run

    return declare


@dataclass(frozen=True, slots=True)
class Folders:
    """Two folders of scans and of their liver masks, which go together."""

    images: Path | None
    masks: Path | None

    def sources(self) -> tuple[list[Source], list[Failure]]:
        """The scans in the folders, and what is missing; none where no folders are given."""
        from tumorgen.tables.sources import match_sources

        if self.images and self.masks:
            return match_sources(self.images, self.masks)
        if self.images or self.masks:
            raise click.UsageError("--images and --masks go together.")
        return [], []


@dataclass(frozen=True, slots=True)
class Scans(Folders):
    """Healthy scans: those in two folders, or those in the table that liver-mask wrote."""

    scans: Path

    def sources(self) -> tuple[list[Source], list[Failure]]:
        """The scans, and what is missing."""
        from tumorgen.tables.scans import read_scans
        from tumorgen.tables.sources import sources_of_scans

        if self.images or self.masks:
            return Folders.sources(self)
        return sources_of_scans(read_scans(self.scans))


@dataclass(frozen=True, slots=True)
class NewDataset:
    """The raw dataset to write: a folder of datasets, nnU-Net's number and a name."""

    output: Path | None
    dataset_id: int
    name: str

    @property
    def root(self) -> Path:
        """The folder of raw datasets."""
        return self.output or Path(os.environ.get("nnUNet_raw") or "nnUNet_raw")

    def dataset(self) -> Dataset:
        """The dataset; what it cannot be called is a usage error."""
        from tumorgen.dataset.raw import Dataset, dataset_folder

        with as_usage_error():
            return Dataset(dataset_folder(self.root, self.dataset_id, self.name))

    @property
    def export(self) -> str:
        """The line that tells nnU-Net where the dataset is; empty where it knows."""
        known = os.environ.get("nnUNet_raw") == str(self.root)
        return "" if known else f"export nnUNet_raw={self.root.resolve()}\n  "


@dataclass(frozen=True, slots=True)
class Method:
    """How tumours are drawn: a file of settings, and the seed."""

    settings: Path | None
    seed: int

    def load(self) -> Settings:
        """The settings in the file, or the defaults."""
        from tumorgen.method.settings import Settings, load_settings

        return load_settings(self.settings) if self.settings else Settings()


jobs_option = click.option("--jobs", type=int, default=-1, show_default=True, help="Processes; -1 is all cores.")
force_option = click.option("--force", is_flag=True, help="Start even if the disk does not have enough room.")
seed_option = click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of everything drawn."
)
scans_option = click.option("--scans", type=FILE, default=SCANS, show_default=True, help="What liver-mask wrote.")
scans_block = block(
    "scans",
    Scans,
    click.option(
        "--images", type=EXISTING, help="Folder of healthy CTs; with --masks, instead of manifests/scans.csv."
    ),
    click.option("--masks", type=EXISTING, help="Folder of their liver masks, of the same case names."),
    scans_option,
)
method_block = block(
    "method",
    Method,
    click.option("--settings", type=EXISTING, help="TOML file with parameters of the method, as for synth."),
    seed_option,
)


def folders_block(images: str, masks: str) -> Decorator:
    """`--images` and `--masks` with these help texts, as the argument `folders`."""
    return block(
        "folders",
        Folders,
        click.option("--images", type=EXISTING, help=images),
        click.option("--masks", type=EXISTING, help=masks),
    )


moved_block = folders_block(
    "Where the scans are now, if not where the manifest says.", "Where their liver masks are now."
)


def dataset_block(number: int, name: str) -> Decorator:
    """`--output`, `--dataset-id` and `--name` with these defaults, as the argument `new`."""
    return block(
        "new",
        NewDataset,
        click.option("--output", type=FOLDER, help="Folder of raw datasets  [default: $nnUNet_raw, else ./nnUNet_raw]"),
        click.option(
            "--dataset-id", type=click.IntRange(1, 999), default=number, show_default=True, help="nnU-Net's number."
        ),
        click.option("--name", default=name, show_default=True, help="Name of the dataset."),
    )
