"""How much a command says, and to whom: `-q`, `-v`, and `--json`, a summary that scripts read.

With `--json` nothing else is on stdout: what people read goes to stderr.
"""

from __future__ import annotations

import functools
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from typing import Any

import click

from tumorgen.interruptions import signal_of

Command = Callable[..., None]

_SAID = f"{__name__}.said"


@dataclass(slots=True)
class Said:
    """What was asked for, and what there is to say at the end.

    Attributes
    ----------
    quiet, verbose, as_json
        Whether only what is wrong is told, whether each step is, and whether the summary is for scripts.
    summary
        What the summary holds.
    began
        When the command began, on a clock of seconds.
    """

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False
    summary: dict[str, Any] = field(default_factory=dict)
    began: float = 0.0


def telling(command: Command) -> Command:
    """Give a command that works for long the options `-q`, `-v` and `--json`."""

    @functools.wraps(command)
    def run(quiet: bool, verbose: bool, as_json: bool, **values: Any) -> None:
        if quiet and verbose:
            raise click.UsageError("--quiet and --verbose do not go together.")
        context = click.get_current_context()
        said = context.meta[_SAID] = Said(quiet, verbose, as_json, began=time.monotonic())
        with _summary_on_stdout(said, str(context.info_name)):
            command(**values)

    for names, text in (  # the last is listed first
        (("--json", "as_json"), "Print a summary as JSON on stdout, and all else on stderr."),
        (("-v", "--verbose"), "Say what is being done, in plain lines, every ten seconds."),
        (("-q", "--quiet"), "Say only what is wrong."),
    ):
        click.option(*names, is_flag=True, help=text)(run)
    return run


def said_so_far() -> Said:
    """What the command that is running was asked to say; of others the ordinary."""
    context = click.get_current_context(silent=True)
    return context.meta.get(_SAID, Said()) if context else Said()


def sum_up(**facts: Any) -> None:
    """Put facts into the summary; what JSON does not know stands there as text."""
    said_so_far().summary.update(facts)


def say_note(text: str) -> None:
    """Say what is worth knowing, in a line, and in the summary."""
    said_so_far().summary.setdefault("notes", []).append(text)
    click.echo(f"note: {text}")


def tell_step(words: str) -> None:
    """Say what is being done, where somebody looks on or wants to know."""
    said = said_so_far()
    if said.verbose or (sys.stderr.isatty() and not said.quiet):
        click.echo(f"{time.monotonic() - said.began:.1f} s: {words}", err=True)


@contextmanager
def _summary_on_stdout(said: Said, name: str) -> Iterator[None]:
    """Let through to stdout what was asked for: all that is said, nothing, or the summary."""
    if not (said.quiet or said.as_json):
        yield
        return
    stdout, code = sys.stdout, 0
    try:
        with redirect_stdout(io.StringIO() if said.quiet else sys.stderr):
            yield
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
        raise
    except click.UsageError:
        said.as_json = False  # the command line's fault: nothing was done
        raise
    except Exception as error:
        code = 1
        said.summary["error"] = " ".join(str(error).split())
        raise
    except KeyboardInterrupt as interruption:
        code = 128 + signal_of(interruption)
        raise
    finally:
        if said.as_json:
            facts = {"command": name, "exit_code": code, "seconds": round(time.monotonic() - said.began, 1)}
            print(json.dumps({**facts, **said.summary}, indent=2, default=str), file=stdout, flush=True)
