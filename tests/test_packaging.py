"""The package as users get it: built, installed elsewhere, its help, its make targets, and what its documents claim."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from collections.abc import Sequence
from importlib.metadata import metadata, version
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from tumorgen.cli import main
from tumorgen.liver.models import SHIPPED as MODEL

ROOT = Path(__file__).parents[1]
MODULES = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tumorgen").rglob("*.py")}
COMMANDS = sorted(main.commands)
HEAVY = {
    "SimpleITK",
    "batchgenerators",
    "joblib",
    "matplotlib",
    "nnunetv2",
    "numpy",
    "pandas",
    "scipy",
    "statsmodels",
    "torch",
}


def surroundings(**more: str) -> dict[str, str]:
    """The environment without what a make that runs these tests has put there: a make of theirs would obey it."""
    of_make = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "VENV", "PYTHON", "JOBS", "ARGS"}
    return {name: value for name, value in os.environ.items() if name not in of_make} | more


def shell(command: Sequence[str | Path], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder; what it prints comes back, and is in the message where it fails."""
    done = subprocess.run(command, cwd=cwd, env=surroundings(**environment), capture_output=True, text=True)
    assert done.returncode == 0, f"{command} exited {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the project's folder holds, so that no build writes into it; with a table that a run wrote."""
    copy = tmp_path_factory.mktemp("a checkout")
    for entry in ROOT.iterdir():
        if entry.is_file():
            shutil.copy2(entry, copy)
        elif entry.name in {"tumorgen", "cli", "manifests", "tests", "docs"}:
            shutil.copytree(entry, copy / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "manifests" / "scans.csv").write_text("case\n")
    return copy


@pytest.fixture(scope="module")
def sdist(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution."""
    out = tmp_path_factory.mktemp("sdist")
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    shell([sys.executable, "-c", build, out], cwd=checkout)
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as installers do."""
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-cache-dir", "--no-index", "--no-deps"]
    shell([*pip, "--no-build-isolation", "--wheel-dir", out, sdist], cwd=out)
    (archive,) = out.iterdir()
    return archive


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed into, plainly."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    shell([*pip, "--target", target, wheel], cwd=target)
    return target


def test_sdist_holds_what_is_checked_in_and_nothing_that_a_run_wrote(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= MODULES
    assert {f"cli/{path.name}" for path in (ROOT / "cli").glob("*.py")} <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")} <= names
    assert {"pyproject.toml", "LICENSE", "Makefile", "CITATION.cff", "CHANGELOG.md", "docs/development.md"} <= names
    kept = [ROOT / "manifests" / "README.md", *(ROOT / "manifests").glob("*.schema.json")]
    kept += [path for path in (ROOT / "manifests" / "recipes").rglob("*") if path.is_file()]
    kept = [path for path in kept if "__pycache__" not in path.parts]
    assert {path.relative_to(ROOT).as_posix() for path in kept if path.exists()} <= names
    assert "manifests/scans.csv" not in names


def test_wheel_holds_one_package_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    info = f"tumorgen-{version('tumorgen')}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"tumorgen", info}
    trainer = "tumorgen/training/trainers/nnUNetTrainerTumorgen.py"
    model = {
        f"tumorgen/liver/weights/{path.relative_to(MODEL).as_posix()}" for path in MODEL.rglob("*") if path.is_file()
    }
    assert len(model) == 4
    assert model <= set(names)
    assert {f"tumorgen/figures/templates/report.{kind}" for kind in ("html.j2", "css")} <= set(names)
    viewer = {f"tumorgen/turing/page/niivue.{kind}" for kind in ("js", "LICENSE.txt")}
    assert viewer | {"tumorgen/turing/templates/score.html.j2"} <= set(names)
    assert f"{info}/licenses/tumorgen/turing/page/niivue.LICENSE.txt" in names
    assert {"tumorgen/py.typed", "tumorgen/cli/__init__.py", trainer, f"{info}/licenses/LICENSE"} <= set(names)


def test_plain_install_imports_from_another_folder(site: Path, tmp_path: Path) -> None:
    code = (
        "import importlib, importlib.util, pkgutil, tumorgen, tumorgen.cli\n"
        "for module in pkgutil.walk_packages(tumorgen.__path__, 'tumorgen.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(tumorgen.__file__, tumorgen.cli.__file__, importlib.util.find_spec('cli'), sep='\\n')"
    )
    library, commands, top_level = shell(
        [sys.executable, "-c", code], cwd=tmp_path, PYTHONPATH=str(site)
    ).stdout.splitlines()
    assert Path(library) == site / "tumorgen" / "__init__.py"
    assert Path(commands) == site / "tumorgen" / "cli" / "__init__.py"
    assert top_level == "None"


def test_plain_install_runs_from_another_folder(site: Path, tmp_path: Path) -> None:
    script = site / "bin" / "tumorgen"
    done = shell([sys.executable, script, "--version"], cwd=tmp_path, PYTHONPATH=str(site))
    assert done.stdout == f"tumorgen {version('tumorgen')}\n"


def test_plain_install_knows_its_trainer(site: Path, tmp_path: Path) -> None:
    script = site / "bin" / "tumorgen"
    folder = Path(shell([sys.executable, script, "trainer-path"], cwd=tmp_path, PYTHONPATH=str(site)).stdout.strip())
    assert folder == site / "tumorgen" / "training" / "trainers"
    assert (folder / "nnUNetTrainerTumorgen.py").is_file()


@pytest.mark.slow
def test_plain_install_does_the_whole_job_from_another_folder(site: Path, tmp_path: Path) -> None:
    """So that weights, the report's template and whatever else is no module have moved along."""

    def tumorgen(*arguments: str) -> str:
        command = [sys.executable, site / "bin" / "tumorgen", *arguments]
        return shell(command, cwd=tmp_path, PYTHONPATH=str(site), OMP_NUM_THREADS="1", nnUNet_raw="raw").stdout

    dataset = str(Path("raw") / "Dataset501_SynthLiver")
    labels = str(Path(dataset) / "labelsTr")
    tumorgen("phantom", "demo", "--shape", "44", "68", "76", "--spacing", "5", "4", "4")
    assert "1 liver mask, " in tumorgen("liver-mask", "demo/images", "demo/livers", "--device", "cpu", "--jobs", "1")
    tumorgen("synth", "--per-scan", "2", "--sizes", "small", "--jobs", "1")
    assert "sound (2 samples of 1 scan, 2 rendered again)" in tumorgen("verify", dataset, "--jobs", "1")
    assert "1 sheet" in tumorgen("preview", dataset, "--count", "1", "--jobs", "1")
    assert "2 cases scored, 0 faults" in tumorgen("evaluate", labels, labels, "--jobs", "1")
    assert "<html" in (tmp_path / "evaluation" / "report.html").read_text(encoding="utf-8")


def test_version_is_the_same_everywhere() -> None:
    here = version("tumorgen")
    assert CliRunner().invoke(main, ["--version"], prog_name="tumorgen").output == f"tumorgen {here}\n"
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"] == here
    assert str(yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]) == here
    assert here in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_licence_is_apache() -> None:
    assert metadata("tumorgen")["License-Expression"] == "Apache-2.0"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["license"] == "Apache-2.0"


def test_citation_names_the_paper() -> None:
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["references"][0]
    authors = [f"{author['given-names']} {author['family-names']}" for author in paper["authors"]]
    assert paper["title"] == "Label-Free Liver Tumor Segmentation"
    assert (authors[0], authors[-1], len(authors)) == ("Qixin Hu", "Zongwei Zhou", 7)
    assert paper["url"] == "https://arxiv.org/abs/2303.14869"


def test_help_answers_at_once(tmp_path: Path) -> None:
    """Counted in modules, not in seconds, which a busy machine has too few of."""
    script = Path(sysconfig.get_path("scripts")) / "tumorgen"
    done = shell([sys.executable, "-X", "importtime", script, "--help"], cwd=tmp_path)
    imported = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")]
    assert "tumorgen.cli" in imported
    assert HEAVY.isdisjoint(name.partition(".")[0] for name in imported)
    assert len(imported) < 250


def test_commands_are_those_of_the_manual() -> None:
    assert COMMANDS == [
        "audit",
        "evaluate",
        "fit",
        "healthy",
        "liver-mask",
        "merge",
        "mix",
        "phantom",
        "preprocess",
        "preview",
        "recipes",
        "remove",
        "replay",
        "robustness",
        "synth",
        "trainer-path",
        "turing",
        "verify",
        "worst",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help_with_an_example(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"], prog_name="tumorgen")
    assert result.exit_code == 0
    assert re.search(rf"^ *Examples?:\n +tumorgen {name} ", result.output, re.MULTILINE), result.output
    assert main.commands[name].get_short_help_str()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    options = [parameter for parameter in main.commands[name].params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
class TestMake:
    def test_help_is_the_default_and_lists_the_targets(self) -> None:
        listed = shell(["make"], cwd=ROOT).stdout
        assert re.findall(r"^  make ([a-z]+) ", listed, re.MULTILINE) == [
            *("help", "install", "locked", "demo", "test", "quick", "bench", "corpus", "study", "realism"),
            *("check", "format", "schema", "lock", "lowest", "clean", "distclean"),
        ]

    def test_a_python_too_old_is_refused_in_one_line(self, tmp_path: Path) -> None:
        old = tmp_path / "python3.10"
        old.write_text("#!/bin/sh\nexit 1\n")
        old.chmod(0o755)
        typed = ["make", "test", f"PYTHON={old}", f"VENV={tmp_path}/new"]
        done = subprocess.run(typed, cwd=ROOT, env=surroundings(), capture_output=True, text=True)
        assert done.returncode != 0
        assert "needs Python 3.11 or newer" in done.stderr.splitlines()[0]
        assert not (tmp_path / "new").exists()

    @pytest.mark.parametrize(
        ("fast", "slow", "told"),
        [
            (0, 0, "fast tests: passed; slow tests: passed"),
            (1, 0, "fast tests: FAILED; slow tests: passed"),
            (0, 1, "fast tests: passed; slow tests: FAILED"),
            (0, 5, "fast tests: passed; slow tests: none"),
            (5, 5, "fast tests: none; slow tests: none"),
            (2, 0, "fast tests: STOPPED; slow tests: not run"),
        ],
    )
    def test_all_tests_run_and_the_last_line_tells_of_both_parts(self, tmp_path: Path, fast, slow, told) -> None:
        """With a stand-in for pytest, which exits as it is told to."""
        (tmp_path / "bin").mkdir()
        script = tmp_path / "bin" / "pytest"
        script.write_text(f'#!/bin/sh\ncase "$*" in *"not slow"*) exit {fast};; *) exit {slow};; esac\n')
        script.chmod(0o755)
        (tmp_path / ".installed").touch()
        typed = ["make", "test", f"VENV={tmp_path}"]
        done = subprocess.run(typed, cwd=ROOT, env=surroundings(), capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == f"== {told}"
        assert (done.returncode == 0) == ({fast, slow} in ({0}, {0, 5}))

    @pytest.mark.slow
    def test_demo_runs_and_keeps_to_its_folder(self, checkout: Path, tmp_path: Path) -> None:
        """As it is typed, in the environment of this test instead of a new one (--old-file: nothing is installed)."""
        home = tmp_path / "home"
        home.mkdir()
        (checkout / ".venv").symlink_to(sys.prefix)
        shell(["make", "demo", "VENV=.venv", "JOBS=1", "--old-file", ".venv/.installed"], cwd=checkout, HOME=str(home))
        dataset = checkout / "demo" / "nnUNet_raw" / "Dataset501_SynthLiver"
        assert len(list((dataset / "imagesTr").glob("*_0000.nii.gz"))) == 10
        assert json.loads((dataset / "dataset.json").read_text())["numTraining"] == 10
        assert list((checkout / "demo" / "preview").glob("*.png"))
        assert {path.name for path in (checkout / "demo" / "website" / "cases").iterdir()} == {"001.nii", "002.nii"}
        assert list(home.iterdir()) == []


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not a git checkout")
def test_files_are_tidy() -> None:
    """What pre-commit's hygiene hooks hold for a commit, for the whole tree."""
    listed = set(shell(["git", "ls-files", "-z"], cwd=ROOT).stdout.split("\0"))
    listed -= {"", "tumorgen/turing/page/niivue.js"}  # another project's file, as it is
    for path in (ROOT / name for name in sorted(listed) if (ROOT / name).is_file()):
        content = path.read_bytes()
        most = 12_000_000 if path.suffix == ".pth" else 1_000_000
        assert len(content) <= most, f"{path}: above {most / 1e6:g} MB"
        if b"\0" in content or not content:
            continue
        text = content.decode()
        assert text.endswith("\n"), f"{path}: no newline at the end"
        assert not text.endswith("\n\n"), f"{path}: empty lines at the end"
        assert not re.search(r"[ \t\r]$", text, re.MULTILINE), f"{path}: white space at the end of a line"
        if path.suffix in {".yaml", ".yml", ".cff"}:
            yaml.safe_load(text)
        elif path.suffix == ".json":
            json.loads(text)
        elif path.suffix == ".toml":
            tomllib.loads(text)
