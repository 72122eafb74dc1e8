"""Run commands that need torch and nnU-Net in forks of one process that has imported them. Not a test module.

Each line of the standard input asks for a command, its environment, its folder and the file for what it prints, in
JSON; each line of the output is an exit code. A fork is as a new interpreter but for what is imported already. nnU-Net
itself begins anew, since it reads its folders from the environment when it is imported. It has one thread, and what it
would spawn it forks.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.context
import os
import runpy
import sys
import traceback
from collections.abc import Mapping, Sequence


def import_all() -> None:
    """Import what nnU-Net's commands need, and have its processes forked."""
    import nnunetv2.experiment_planning.plan_and_preprocess_entrypoints
    import nnunetv2.inference.predict_from_raw_data
    import nnunetv2.run.run_training  # noqa: F401

    contexts = multiprocessing.context._concrete_contexts
    contexts["spawn"] = contexts["fork"]
    multiprocessing.cpu_count = lambda: 1


def fork(command: Sequence[str], environment: Mapping[str, str], folder: str, printed: str = "") -> int:
    """Run a script, or a module after `-m`, in a fork, what it prints going to a file; return its exit code."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    code = 1
    try:
        if printed:
            _redirect(printed)
        os.chdir(folder)
        _run(command, environment)
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(printed: str) -> None:
    out = os.open(printed, os.O_WRONLY)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = environment.get("PYTHONPATH", "").split(os.pathsep)
    for name in [name for name in sys.modules if name.partition(".")[0] == "nnunetv2"]:
        del sys.modules[name]
    if command[0] == "-m":
        sys.argv = list(command[1:])
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = list(command)
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    import_all()
    for line in sys.stdin:
        print(fork(**json.loads(line)), flush=True)  # noqa: T201
