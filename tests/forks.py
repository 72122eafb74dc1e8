"""Commands that need torch and nnU-Net, without the six seconds of a processor that their imports take each."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path


@functools.cache
def _server() -> subprocess.Popen[str]:
    """The process that has imported all of it and forks; it ends with this one."""
    server = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("fork_server.py")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    atexit.register(server.communicate)  # closes its standard input and waits
    return server


def run_fork(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> str:
    """Run a script, or a module after `-m`, in a folder, and return what it printed; that it succeeds is asserted."""
    server = _server()
    with tempfile.NamedTemporaryFile() as file:
        asked = {"command": [*map(str, command)], "environment": dict(environment), "folder": str(folder)}
        server.stdin.write(json.dumps({**asked, "printed": file.name}) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        printed = file.read().decode(errors="replace")
    assert code == 0, f"{' '.join(map(str, command))}\n{printed[-4000:]}"
    return printed
