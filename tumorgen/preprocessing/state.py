"""`tumorgen.json` beside nnU-Net's preprocessed cases: what they were made of, so that a run can go on with them.

Cases count as made if their folder was begun with the same manifest, the same plans and the same versions. What
somebody else has written (plans of one's own, other splits) is told apart by its checksum, and kept.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..checksums import sha256_of
from ..dataset import Dataset, versions, write_json
from ..errors import TumorgenError
from ..tables import digest_without_patients, tumors_path

STATE = "tumorgen.json"


@dataclass(slots=True)
class State:
    """What is known of a preprocessed dataset.

    Attributes
    ----------
    manifest
        Checksum of the manifest that the fingerprint was made from.
    written
        Checksums of the fingerprint, the plans and the splits as they were written here, by the name of their file.
    cases
        What the cases of a configuration were made from (`describe_cases`), by the name of their folder.
    plans
        Checksum of the manifest that plans were made from, by the name of their file.
    """

    manifest: str = ""
    written: dict[str, str] = field(default_factory=dict)
    cases: dict[str, str] = field(default_factory=dict)
    plans: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> State:
        """Read it; nothing is known where there is none.

        Raises
        ------
        TumorgenError
            It is there and cannot be read.
        """
        path = folder / STATE
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            plans = dict(found.get("plans", {}))  # earlier versions did not say
            return cls(str(found["manifest"]), dict(found["written"]), dict(found["cases"]), plans)
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise TumorgenError(f"{path}: cannot be read ({error}); remove it, and everything is made anew") from error

    def write(self, folder: Path) -> None:
        """Write it, unless it is there already."""
        if State.read(folder) != self:
            write_json(asdict(self), folder / STATE)

    def is_ours(self, path: Path) -> bool:
        """Whether a file is as it was written here."""
        return path.is_file() and self.written.get(path.name) == sha256_of(path)

    def note(self, path: Path) -> None:
        """Remember a file as it was written here."""
        self.written[path.name] = sha256_of(path)

    def is_stale(self, plans: Path, manifest: str) -> bool:
        """Whether plans are as they were written here, and of another manifest, or of one that is not known."""
        return self.is_ours(plans) and self.plans.get(plans.name) != manifest


def describe_manifest(dataset: Dataset) -> str:
    """Checksum of a dataset's tables, but for whose its scans are: of that no case is made."""
    digests = ((dataset.manifest, digest_without_patients), (tumors_path(dataset.manifest), sha256_of))
    return _digest([digest(path) for path, digest in digests if path.is_file()])


def describe_cases(manifest: str, configuration: Any) -> str:
    """Checksum of all that the cases of a configuration are made from.

    Its name does not matter, nor its patches, which decide the chunks alone: plans of nnU-Net's that differ in these
    share a folder of cases.
    """
    told = {**asdict(configuration), "name": "", "patch": ()}
    return _digest([manifest, told, {**versions(), "nnunetv2": version("nnunetv2")}])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
