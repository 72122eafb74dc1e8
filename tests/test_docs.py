"""The documentation cannot lie: what it shows is run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.fields import from_plain
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "manifests" / "README.md"])


def code(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)


def test_api_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    volume, liver = ball_volume((3.0, 3.0, 3.0))
    write_volume(volume, Path("images/phantom_000.nii.gz"))
    write_volume(Volume(liver, volume.geometry), Path("masks/phantom_000.nii.gz"))
    blocks = code(ROOT / "docs" / "api.md", "python")
    exec("\n".join(blocks), {})
    assert Path("label.nii.gz").is_file()
    assert blocks[0].count("\n") < 20  # the idea fits in a dozen lines and their imports


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_commands_and_options_exist(page):
    for command, rest in re.findall(r"^ {4}tumorgen ([a-z-]+)(.*)$", page.read_text(), re.MULTILINE):
        found = main.commands[command]
        if isinstance(found, click.Group):
            found = found.commands[rest.split()[0]]
        known = {option for p in found.params for option in (*p.opts, *p.secondary_opts)}
        assert set(re.findall(r"--[a-z-]+", rest.split("#")[0])) <= known, f"{page.name}: tumorgen {command}{rest}"


FILES = {"csv", "html", "json", "toml", "zip"}


def named_modules(page: Path) -> list[str]:
    """Modules of tumorgen, and what is in them, that a page names: `method.shape`, `tumorgen.method.scan.Scan`."""
    packages = "|".join(folder.parent.name for folder in (ROOT / "tumorgen").glob("*/__init__.py"))
    names = re.findall(rf"`(?:tumorgen\.)?((?:{packages})(?:\.\w+)+)`", page.read_text())
    return [name for name in names if name.rpartition(".")[2] not in FILES]


def test_modules_that_a_page_names_are_told_from_files():
    page = "`method.shape` `tumorgen.method.scan.Scan` `dataset.json` `numpy.random` `method` `benchmark.schema.json`"
    assert named_modules(SimpleNamespace(read_text=lambda: page)) == ["method.shape", "method.scan.Scan"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_modules_exist(page):
    for name in named_modules(page):
        package, module, *inside = name.split(".")
        file = ROOT / "tumorgen" / package / f"{module}.py"
        assert file.is_file(), f"{page.name}: {name}"
        for what in inside:
            definition = re.search(rf"(?:def|class) {what}\b|^{what}\b", file.read_text(), re.MULTILINE)
            assert definition, f"{page.name}: {name}"


def test_every_command_is_documented():
    readme = (ROOT / "README.md").read_text()
    for name in main.commands:
        assert f"`{name}" in readme


def test_settings_shown_in_usage_load():
    blocks = re.findall(r"(?:^ {4}.+\n|^\n)+", (ROOT / "docs" / "usage.md").read_text(), re.MULTILINE)
    (example,) = [block for block in blocks if "[classes.subcentimetre]" in block]
    assert from_plain(Settings, tomllib.loads(re.sub(r"^ {4}", "", example, flags=re.MULTILINE))).sizes == (
        "subcentimetre",
    )
