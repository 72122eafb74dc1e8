"""Every command that README, docs and `--help` show is one that the program takes, with all its options and values."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tumorgen.cli import datasets, kinds, main
from tumorgen.cli.kinds import MeantPath

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "manifests" / "README.md"])
AROUND = re.compile(r"^(?:\$ )?(?:for .*; do |nohup |time |srun )?|\s+#\s.*$|\s{2,}\(.*$|\s+>.*$")


def commands_in(text: str) -> Iterator[list[str]]:
    """Words of each command of tumorgen's in indented lines and blocks of code, as a shell expands them."""
    joined = re.sub(r"\\\n\s*", " ", text)
    code = [*re.findall(r"^(?: {4}|  )(\S.*)$", joined, re.MULTILINE)]
    for block in re.findall(r"```(?:bash|sh|console)?\n(.*?)```", joined, re.DOTALL):
        code += block.splitlines()
    for line in code:
        for part in re.split(r"&&|\||;|\bdo\b|&(?!&)|\$\(|\)", AROUND.sub("", line)):
            words = AROUND.sub("", part.strip())
            if words.startswith("tumorgen ") and "..." not in words:
                yield [re.sub(r"\$\w+", "4", re.sub(r"^~/", "/home/", word)) for word in shlex.split(words)[1:]]


SHOWN = {
    **{page.relative_to(ROOT).as_posix(): list(commands_in(page.read_text(encoding="utf-8"))) for page in PAGES},
    "tumorgen --help": list(commands_in(main.epilog or "")),
    **{f"tumorgen {name} --help": list(commands_in(command.epilog or "")) for name, command in main.commands.items()},
}


def parse(words: list[str]) -> None:
    """Parse a command's line as if its files were there; nothing is run."""
    command, context = main, None
    while isinstance(command, click.Group):
        context = command.make_context(str(command.name), words, parent=context)
        words = [*context._protected_args, *context.args]
        _, command, words = command.resolve_command(context, words)
    command.make_context(str(command.name), words, parent=context)


@pytest.mark.parametrize("place", [place for place, lines in SHOWN.items() if lines])
def test_commands_that_are_shown_are_taken(place, monkeypatch):
    for kind in (click.Path, datasets.DatasetPath, datasets.ManifestPath):
        monkeypatch.setattr(kind, "convert", lambda self, value, *_: Path(value))  # files need not be there
    for words in SHOWN[place]:
        try:
            parse(words)
        except click.exceptions.Exit:  # --help and --version have said all
            pass
        except click.UsageError as error:
            pytest.fail(f"{place}: tumorgen {shlex.join(words)}: {error.format_message()}")


def test_commands_are_found():
    assert sum(map(len, SHOWN.values())) > 100
    text = "    $ tumorgen synth --per-scan 2 \\\n      --seed 3    # why\n    x && tumorgen verify D\nsynth"
    assert list(commands_in(text)) == [["synth", "--per-scan", "2", "--seed", "3"], ["verify", "D"]]
    with pytest.raises(click.UsageError, match="No such option"):
        parse(["synth", "--no-such"])
    assert issubclass(kinds.SettingsFile, MeantPath)


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_shells_complete(shell):
    """As docs/usage.md has it; bash is asked for its version by click, so it may be missing here."""
    script = CliRunner().invoke(main, [], prog_name="tumorgen", env={"_TUMORGEN_COMPLETE": f"{shell}_source"})
    assert script.exit_code == 0
    assert "_TUMORGEN_COMPLETE" in script.stdout
    words = {"COMP_WORDS": "tumorgen ver", "COMP_CWORD": "1" if shell == "zsh" else "ver"}
    found = CliRunner().invoke(main, [], prog_name="tumorgen", env={"_TUMORGEN_COMPLETE": f"{shell}_complete", **words})
    assert "verify" in found.stdout
