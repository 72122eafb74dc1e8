"""Plans: made with nnU-Net's planner, and made anew when the dataset has changed since; and what plans say of cases.

nnU-Net's residual presets share folders of cases with its default plans. All plans that were made here are therefore
kept to one manifest: they then differ in the network alone, and each describes the cases that it is trained on.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..checksums import sha256_of
from ..errors import TumorgenError, as_unwritable
from ..imaging import scratch_folder, whole_file
from ..wording import typed
from . import nnunet
from .case_files import SCRATCH
from .fingerprint import FINGERPRINT
from .state import State, describe_cases


def make_plans(
    plans: Path, dataset: Path, state: State, manifest: str, write_fingerprint: Callable[[Path], None]
) -> tuple[str, ...]:
    """Make plans that are not there, and all that were made here of another manifest; notes on those not asked for.

    Parameters
    ----------
    plans
        The file that is wanted.
    dataset
        Folder of the raw dataset.
    state, manifest
        What is known of the preprocessed dataset, and checksum of the manifest (`describe_manifest`).
    write_fingerprint
        Writes nnU-Net's fingerprint of the dataset into a file.

    Raises
    ------
    TumorgenError
        It is not known how to make the plans that are wanted, or nnU-Net resamples otherwise than is known here.
    """
    folder = plans.parent
    others = [folder / f"{name}.json" for name in nnunet.PLANNERS if name != plans.stem]
    stale = [path for path in others if state.is_stale(path, manifest)]
    if not plans.is_file() or state.is_stale(plans, manifest):
        nnunet.refuse_unknown_plans(plans)
        stale.insert(0, plans)
    if not stale:
        return ()
    nnunet.refuse_other_resampling()  # before anything is written, and before the scans are read, which takes long
    fingerprint = folder / FINGERPRINT
    if state.manifest != manifest or not state.is_ours(fingerprint):
        write_fingerprint(fingerprint)
        state.manifest = manifest
        state.note(fingerprint)
        state.write(folder)
    changed = [path for path in stale if _plan(path, dataset, state, manifest)]
    return tuple(f"{path}: was made anew, too, for the dataset has changed" for path in changed if path != plans)


def _plan(plans: Path, dataset: Path, state: State, manifest: str) -> bool:
    """Make plans; say whether they are other ones than before.

    They are noted before they are there: a run that ends in between must not leave plans that pass for somebody else's.
    """
    with scratch_folder(plans.parent, prefix=SCRATCH) as scratch:
        made = nnunet.plan(dataset, plans.stem, plans.parent / FINGERPRINT, scratch, plans)
        sha256 = sha256_of(made)
        differ = not plans.is_file() or sha256_of(plans) != sha256
        if differ:
            with as_unwritable(plans):
                plans.unlink(missing_ok=True)
        state.written[plans.name], state.plans[plans.name] = sha256, manifest
        state.write(plans.parent)
        if differ:
            with whole_file(plans) as partial_file:
                shutil.copyfile(made, partial_file)
    return differ


@dataclass(frozen=True, slots=True)
class Planned:
    """What plans say of a folder of cases that was made here.

    Attributes
    ----------
    plans, configuration
        File of the plans, and their configuration.
    fits
        Whether the cases were made as it says, of the dataset as it is.
    """

    plans: Path
    configuration: nnunet.Configuration
    fits: bool

    @property
    def misfit(self) -> str:
        """What to do before these plans are used."""
        return (
            f"its {self.configuration.name} is planned for other cases than {self.configuration.identifier} holds;"
            f" before training with it, run `tumorgen preprocess --plans {typed(self.plans.stem)} -c"
            f" {typed(self.configuration.name)}`"
        )


def find_planned(folder: Path, state: State, manifest: str) -> list[Planned]:
    """All that plans say of folders of cases that were made here, whatever the plans are called.

    Raises
    ------
    TumorgenError
        Plans preprocess otherwise than is known here.
    """
    return [
        Planned(plans, found, state.cases[found.identifier] == describe_cases(manifest, found))
        for plans in sorted(folder.glob("*.json"))
        for found in nnunet.read_configurations_of(plans, state.cases)
    ]


def describe_misfits(folder: Path, state: State, manifest: str) -> tuple[str, ...]:
    """Plans that must not be trained with as the cases are now, in words."""
    try:
        return tuple(f"{each.plans}: {each.misfit}" for each in find_planned(folder, state, manifest) if not each.fits)
    except TumorgenError as error:
        return (str(error),)
