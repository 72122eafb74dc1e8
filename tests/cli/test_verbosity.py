"""`-q`, `-v` and `--json`: what people read, and what scripts read, of every command that works for long."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from phantoms import write_balls

from tumorgen.cli import main
from tumorgen.cli.bars import progress
from tumorgen.cli.liver_mask import Network
from tumorgen.cli.verbosity import say_note, sum_up, tell_step, telling
from tumorgen.errors import TumorgenError
from tumorgen.parallel import tell_under_way

SHORT = {"recipes", "trainer-path", "turing serve"}  # which say what they are asked for, at once
COMMANDS = {
    f"{name} {inner}".strip(): command
    for name, found in main.commands.items()
    for inner, command in (found.commands.items() if isinstance(found, click.Group) else [("", found)])
}


@click.command()
@click.option("--fail", is_flag=True)
@telling
def work(fail: bool) -> None:
    tell_step("looking for scans")
    move = progress("work", "scan")(2)
    show = tell_under_way(move, len)
    if show:  # but where nobody looks on
        show(["a", "b"])
    move(2)
    click.echo("2 scans done")
    say_note("one is odd")
    sum_up(scans=2, output=Path("out"))
    click.echo("problem: gone", err=True)
    if fail:
        raise TumorgenError("in/a.nii.gz: is gone")


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - SHORT))
def test_every_command_that_works_for_long_has_them(name):
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert {"-q", "--quiet", "-v", "--verbose", "--json"} <= options


def test_by_default_there_is_prose():
    said = CliRunner().invoke(work, [])
    assert said.stdout == "2 scans done\nnote: one is odd\n"
    assert said.stderr == "problem: gone\n"


def test_quiet_says_only_what_is_wrong():
    said = CliRunner().invoke(work, ["-q"])
    assert (said.stdout, said.stderr) == ("", "problem: gone\n")


def test_verbose_tells_steps_and_how_work_ended(monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 7.0)
    said = CliRunner().invoke(work, ["-v"])
    assert said.stderr == "0.0 s: looking for scans\nwork: 2 of 2 scans in 0:00\nproblem: gone\n"


def test_json_alone_is_on_stdout():
    said = CliRunner().invoke(work, ["--json"])
    facts = json.loads(said.stdout)
    assert facts.pop("seconds") >= 0
    assert facts == {"command": "work", "exit_code": 0, "scans": 2, "output": "out", "notes": ["one is odd"]}
    assert "2 scans done\nnote: one is odd\nproblem: gone\n" in said.stderr
    quiet = CliRunner().invoke(work, ["--json", "-q"])
    assert json.loads(quiet.stdout)["scans"] == 2
    assert quiet.stderr == "problem: gone\n"


def test_json_says_why_a_command_ended():
    facts = json.loads(CliRunner().invoke(work, ["--json", "--fail"]).stdout)
    assert (facts["exit_code"], facts["error"]) == (1, "in/a.nii.gz: is gone")


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_json_says_which_signal_ended_a_command(number, exit_code):
    interruption = KeyboardInterrupt()
    interruption.signal = number

    @click.command()
    @telling
    def interrupted():
        raise interruption

    assert json.loads(CliRunner().invoke(interrupted, ["--json"]).stdout)["exit_code"] == exit_code


@pytest.mark.parametrize("options", [["-q"], ["--json", "-q"], []])
def test_which_model_finds_livers_is_a_note_like_any_other(monkeypatch, options):
    monkeypatch.setattr("tumorgen.liver.load_model", lambda *_, **__: None)

    @click.command()
    @telling
    def command() -> None:
        Network().load(None)

    result = CliRunner().invoke(command, options)
    note = "using the small liver model of tumorgen; docs/liver-model.md says how good it is"
    assert result.stderr == ""
    if "--json" in options:
        assert json.loads(result.stdout)["notes"] == [note]
    else:
        assert result.stdout == ("" if options else f"note: {note}\n")


def test_what_does_not_go_together_is_the_command_lines_fault():
    said = CliRunner().invoke(work, ["-q", "-v", "--json"])
    assert (said.exit_code, said.stdout) == (2, "")


def test_a_run_and_its_proof_are_summed_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_balls(tmp_path, 2, "liver", (6.0, 4.0, 4.0))
    command = ["synth", "--images", "images", "--masks", "masks", "--per-scan", "2", "--jobs", "1", "--json"]
    facts = json.loads(CliRunner().invoke(main, command).stdout)
    assert (facts["exit_code"], facts["samples"], facts["made"], facts["failures"]) == (0, 4, 4, [])
    (tmp_path / facts["dataset"] / "labelsTr" / "liver_0_v0001.nii.gz").unlink()
    told = CliRunner().invoke(main, ["verify", facts["dataset"], "--jobs", "1", "--json"])
    facts = json.loads(told.stdout)
    assert told.exit_code == facts["exit_code"] == 1
    assert facts["problems"] == [{"file": "labelsTr/liver_0_v0001.nii.gz", "reason": "is missing"}]
