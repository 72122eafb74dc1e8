"""The command line: one module a command, each of them options, one library call and one summary.

Command modules import the library inside the function that runs, so that `tumorgen --help` answers at once.
"""

from __future__ import annotations

import errno
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

from tumorgen.errors import NO_TEMPORARY_FOLDER, TumorgenError
from tumorgen.interruptions import (
    ignored_interruptions_repeated,
    interruptions_held,
    interruptions_let_through,
    signal_of,
)

from .audit import audit
from .evaluate import evaluate
from .fit import fit
from .healthy import healthy
from .liver_mask import liver_mask
from .merge import merge
from .mix import mix
from .phantom import phantom
from .preprocess import preprocess
from .preview import preview
from .recipes import recipes
from .remove import remove
from .replay import replay
from .robustness import robustness
from .synth import synth
from .trainer_path import trainer_path
from .turing import turing
from .verify import verify
from .worst import worst

_WHOLE = 1000  # characters: more than any sentence has

EPILOG = """\b
The main job, in three lines:
  tumorgen liver-mask in/ masks/
  tumorgen synth --per-scan 20
  tumorgen preprocess -d 501 && nnUNetv2_train 501 3d_fullres 0

\b
No data at hand? This runs everything on a phantom, in a folder of its own:
  mkdir try && cd try
  tumorgen phantom demo --count 2
  tumorgen liver-mask demo/images demo/livers
  tumorgen synth --per-scan 5
"""


SECTIONS = {
    "Make training data": (liver_mask, synth, mix, preprocess, merge, replay, remove, phantom),
    "Check it": (verify, preview, audit, turing),
    "Train with tumours drawn on the fly": (healthy, trainer_path),
    "Measure a model": (evaluate, robustness, worst),
    "Choose how tumours are drawn": (recipes, fit),
}


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does."""

    signal = signal.SIGTERM


def _terminate(number: int, frame: object) -> None:  # noqa: ARG001
    raise _Terminated


class _Group(click.Group):
    """A group that turns the library's errors into one line and exit code 1; `--debug` lets them through.

    Ctrl-C and SIGTERM come where it says goodbye itself, and not in what click does between.
    """

    def main(self, *arguments: Any, **options: Any) -> Any:
        with _goodbye(), _terminating(), ignored_interruptions_repeated(), interruptions_held():
            return super().main(*arguments, **options)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _goodbye(), interruptions_let_through():
            return super().make_context(info_name, args, parent, **extra)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands by what people do, each with its first sentence, whole."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                rows = [(str(command.name), command.get_short_help_str(_WHOLE)) for command in commands]
                formatter.write_dl(rows, col_max=_WHOLE)

    def invoke(self, ctx: click.Context) -> object:
        if not ctx.params.get("debug"):
            _say_warnings_in_a_line()
        # joblib's advice where a run ends early with work under way: it would come after the one line that says why.
        warnings.filterwarnings("ignore", ".* could benefit from adjusting the input task iterator", UserWarning)
        # It replaces a worker process whose memory has grown, as it does where a network learns; nothing is lost.
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
        try:
            with _goodbye(), interruptions_let_through():
                return super().invoke(ctx)
        except TumorgenError as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(" ".join(str(error).split())) from None
        except OSError as error:  # stdout on a full disk, say
            if ctx.params.get("debug"):
                raise
            if "temporary directory" in str(error):  # tempfile's words, and matplotlib's
                raise click.ClickException(NO_TEMPORARY_FOLDER) from None
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise click.ClickException(f"{error.filename or 'output'}: cannot be written ({error.strerror})") from None


def _say_warnings_in_a_line() -> None:
    """Have a warning of a library be a note, without its file and line, and nothing logged of matplotlib's cache."""
    import logging

    def note(message: Warning | str, *_: object, **__: object) -> None:
        click.echo(f"note: {' '.join(str(message).split())}", err=True)

    warnings.showwarning = note
    logging.getLogger("matplotlib").setLevel(logging.ERROR)


@contextmanager
def _goodbye() -> Iterator[None]:
    """End on Ctrl-C and SIGTERM with one line and the shell's exit code for them."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        with suppress(ValueError):
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would only tear the goodbye apart
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ended = "Terminated" if isinstance(interruption, _Terminated) else "Interrupted"
        click.echo(f"\n{ended}. What is finished stays; the same command does the rest.", err=True)
        sys.exit(128 + signal_of(interruption))


@contextmanager
def _terminating() -> Iterator[None]:
    """Have SIGTERM end the command as Ctrl-C does."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, _terminate)
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is _terminate:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@click.group(
    cls=_Group,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110, "show_default": True},
)
@click.version_option(package_name="tumorgen", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show a traceback instead of one line when something is wrong.")
def main(debug: bool) -> None:
    """Turn healthy liver CT into tumour training data for nnU-Net.

    Synthetic tumours as real ones measure, or after "Label-Free Liver Tumor Segmentation" (Hu et al., CVPR 2023), each
    recorded in a CSV manifest from which it can be made again, bit for bit.
    """


for _commands in SECTIONS.values():
    for _command in _commands:
        main.add_command(_command)
