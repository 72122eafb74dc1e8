"""The recipe's command, but nnU-Net's commands are forked from it rather than begun anew. Not a test module."""

import runpy
from pathlib import Path

from fork_server import fork

from liver_model import train
from tumorgen.errors import TumorgenError


def _run(command: list[str], around: dict[str, str]) -> None:
    """As `train._run`: the interpreter itself is the first word of a module's command."""
    if fork(command[1:] if command[1] == "-m" else command, around, str(Path.cwd())):
        raise TumorgenError("failed, see above")


train._run = _run
runpy.run_module("liver_model", run_name="__main__", alter_sys=True)
