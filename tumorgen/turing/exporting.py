"""A study as a folder that any web server can show: the page and the cases, without the key.

Answers stay in each reader's browser, who downloads them as the table that `score_folder` reads.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ..dataset import write_json
from ..errors import TumorgenError, as_unwritable
from .page_files import page_files
from .study import CASES, STUDY, case_file, plain_study, read_study


def export_study(study: Path, folder: Path) -> int:
    """Write a study into a new folder, and return the number of its cases.

    The folder is whole when its `index.html` is there, which is copied last.

    Raises
    ------
    TumorgenError
        The folder holds something or cannot be written to, or the study cannot be read.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TumorgenError(f"{folder}: is there already; give a new folder")
    if folder.absolute().is_relative_to(study.absolute()):
        raise TumorgenError(f"{folder}: lies in the study, beside its key; give a folder elsewhere")
    shown = read_study(study)
    with as_unwritable(folder):
        (folder / CASES).mkdir(parents=True, exist_ok=True)
        for case in sorted(shown.starts_mm):
            shutil.copyfile(case_file(study, case), case_file(folder, case))
        write_json({**plain_study(shown), "answers": "download"}, folder / STUDY)
        for name, (path, _) in reversed(page_files().items()):
            shutil.copyfile(path, folder / name)
    return len(shown.starts_mm)
