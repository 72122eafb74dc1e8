"""The commands of docs/ablations.md make datasets that differ in exactly what they say."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.plan import Plan, Tumor
from tumorgen.tables.manifest import read_manifest

ROOT = Path(__file__).parents[2]
COMMANDS = re.findall(r"^ {4}tumorgen (synth .*)$", (ROOT / "docs" / "ablations.md").read_text(), re.MULTILINE)
ALL = "Dataset515_AblationAll"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The five datasets of a small scan, each by its command."""
    root = tmp_path_factory.mktemp("ablations")
    volume, liver = ball_volume((5.0, 4.0, 4.0), vessel_radius_mm=4.0)
    write_volume(volume, root / "images" / "ball.nii.gz")
    write_volume(Volume(liver, volume.geometry), root / "masks" / "ball.nii.gz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("nnUNet_raw", raising=False)
        for typed in COMMANDS:
            words = typed.replace("manifests/recipes", str(ROOT / "manifests" / "recipes")).split()
            scans = ["--images", "images", "--masks", "masks", "--per-scan", "5", "--jobs", "1"]
            done = CliRunner().invoke(main, [*words, *scans])
            assert done.exit_code == 0, done.output
    return root / "nnUNet_raw"


def plans(folder: Path) -> list[Plan]:
    return [record.plan for record in read_manifest(folder / "manifest.csv")]


def flat(table: dict, prefix: str = "") -> dict:
    pairs = {}
    for key, value in table.items():
        pairs |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return pairs


def differing_settings(folder: Path, other: Path) -> set[str]:
    ours, theirs = (flat(tomllib.loads((f / "settings.toml").read_text())) for f in (folder, other))
    return {key for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)}


def test_there_are_five(made):
    assert sorted(path.name for path in made.iterdir()) == [
        "Dataset511_AblationPlain",
        "Dataset512_AblationNoElastic",
        "Dataset513_AblationNoBlur",
        "Dataset514_AblationNoTiny",
        ALL,
    ]


@pytest.mark.parametrize(
    ("name", "switches", "columns"),
    [
        ("Dataset511_AblationPlain", {"shape.elastic", "edge.blur"}, {"sigma_e_mm", "sigma_c_mm", "capsule_hu"}),
        ("Dataset512_AblationNoElastic", {"shape.elastic"}, {"sigma_e_mm"}),
        ("Dataset513_AblationNoBlur", {"edge.blur"}, {"sigma_c_mm", "capsule_hu"}),
    ],
)
def test_a_step_is_gone_and_nothing_else(made, name, switches, columns):
    assert differing_settings(made / name, made / ALL) == switches
    ours, full = plans(made / name), plans(made / ALL)
    for mine, other in zip(ours, full, strict=True):
        assert {f.name for f in fields(Plan) if getattr(mine, f.name) != getattr(other, f.name)} == {"tumors"}
        for a, b in zip(mine.tumors, other.tumors, strict=True):
            assert {f.name for f in fields(Tumor) if getattr(a, f.name) != getattr(b, f.name)} == columns
            assert all(getattr(a, column) == 0 for column in columns)
    # And it shows: each image is another one.
    for plan in ours:
        file = f"imagesTr/{plan.sample}_0000.nii.gz"
        assert (made / name / file).read_bytes() != (made / ALL / file).read_bytes()


def test_no_tiny_has_the_other_classes_and_no_tiny_tumour(made):
    folder = made / "Dataset514_AblationNoTiny"
    assert differing_settings(folder, made / ALL) == {"sizes", "mix.tiny"}
    assert {plan.size_class for plan in plans(folder)} == {"small", "medium", "large", "mix"}
    assert {tumor.size_class for plan in plans(folder) for tumor in plan.tumors} == {"small", "medium", "large"}
    assert "tiny" in {tumor.size_class for plan in plans(made / ALL) for tumor in plan.tumors}
