"""A study as a folder that any web server can show: the page and the cases, without the key.

Answers stay in each reader's browser, who downloads them as the table that `score_folder` reads.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ..dataset import write_json
from ..errors import TumorgenError, as_unwritable
from .page_files import page_files
from .study import CASES, STUDY, case_file, plain_study, read_study, whole_folder


def export_study(study: Path, folder: Path) -> int:
    """Write a study into a new folder, and return the number of its cases.

    The folder appears whole, or not at all.

    Raises
    ------
    TumorgenError
        The folder holds something or cannot be written to, or the study cannot be read.
    """
    if folder.absolute().is_relative_to(study.absolute()):
        raise TumorgenError(f"{folder}: lies in the study, beside its key; give a folder elsewhere")
    shown = read_study(study)
    with whole_folder(folder) as made, as_unwritable(folder):
        (made / CASES).mkdir()
        for case in sorted(shown.starts_mm):
            shutil.copyfile(case_file(study, case), case_file(made, case))
        write_json({**plain_study(shown), "answers": "download"}, made / STUDY)
        for name, (path, _) in page_files().items():
            shutil.copyfile(path, made / name)
    return len(shown.starts_mm)
