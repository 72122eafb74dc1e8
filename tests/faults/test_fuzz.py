"""What is read may be anything: only `TumorgenError` comes of it, in one line, and no file outside the output."""

from __future__ import annotations

import csv
import json
import shutil
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from phantoms import ball_volume

from tumorgen.cli import main
from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.evaluation.listings import read_listings
from tumorgen.fields import column_fields, dump_toml, from_plain
from tumorgen.generation.run import Run
from tumorgen.generation.shards import Division, read_division
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.generation.verify import verify_dataset
from tumorgen.imaging.files import case_name, find_volumes, safe_name
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.patch import Outcome
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.settings import Settings, load_settings
from tumorgen.schema import TABLES, columns_of
from tumorgen.tables.hosts import read_hosts
from tumorgen.tables.manifest import Files, read_manifest, recover_manifest, tumors_path
from tumorgen.tables.patients import read_patients
from tumorgen.tables.scans import ScanRow, read_scans, write_scans
from tumorgen.tables.sources import match_sources

FUZZ = settings(
    max_examples=150, suppress_health_check=[*settings().suppress_health_check, HealthCheck.function_scoped_fixture]
)
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A dataset of two scans, and the table of them; everything in one folder that nothing may be written beside."""
    root = tmp_path_factory.mktemp("made")
    rows = []
    for number in range(2):
        volume, liver = ball_volume((5.0, 3.5, 3.5), seed=number)
        image, mask = (root / kind / f"scan_{number}.nii.gz" for kind in ("images", "masks"))
        write_volume(volume, image)
        write_volume(Volume(liver, volume.geometry), mask)
        rows.append(ScanRow(case=f"scan_{number}", image=str(image), mask=str(mask), status="ok"))
    write_scans(rows, root / "scans.csv")
    sources, _ = match_sources(root / "images", root / "masks")
    synthesize_dataset(Run(Dataset(root / "Dataset501_X"), sources, Settings(sizes=("tiny",)), per_scan=1, jobs=1))
    return root


@pytest.fixture(autouse=True)
def beside_the_scans(made, monkeypatch):
    """Where one stands, so that a copy of the dataset finds its scans."""
    monkeypatch.chdir(made)


# --- mutations of what is valid --------------------------------------------------------------------------------------

ODD = [
    "",
    "'",
    '"',
    ",",
    "\n",
    "\r",
    "\0",
    "\ufeff",
    "=",
    "nan",
    "inf",
    "-1",
    "1e999",
    "9" * 5000,
    "true",
    "../x",
    "\\",
]
ODD += [
    "[",
    "]",
    "{",
    "}",
    "null",
    "[" * 3000,
    "0x10",
    "1_0",
    "٣",
    "\ud7ff",
    "# ",
    "[[a]]",
    "a.b = 1",
    '"""',
    "é" * 300,
]


@st.composite
def mutations(draw, content: bytes) -> bytes:
    """A valid text with parts cut out, doubled, swapped, or replaced by what is odd."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.sampled_from([0, 1, 2, 5, 20, 200])))
        piece = draw(
            st.one_of(
                st.sampled_from(ODD).map(lambda text: text.encode("utf-8", "surrogatepass")),
                st.binary(max_size=6),
                st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")),
                st.just(content[start:end] * 2),
            )
        )
        content = content[:start] + piece + content[end:]
    return content


def anything(content: bytes) -> st.SearchStrategy[bytes]:
    return st.one_of(mutations(content), st.binary(max_size=60), st.text(max_size=60).map(lambda t: t.encode("utf-8")))


def survives(read, *given) -> None:
    """It reads, or says in one line why not."""
    said = "read"
    try:
        read(*given)
    except TumorgenError as error:
        said = str(error)
    assert said
    assert said.isprintable()


@FUZZ
@given(data=st.data())
@pytest.mark.parametrize("spoiled", ["plans.csv", "plans.tumors.csv"])
def test_manifests(data, spoiled, tmp_path):
    for name in ("plans.csv", "plans.tumors.csv"):
        content = b"".join((GOLDEN / name).read_bytes().splitlines(keepends=True)[:4])
        (tmp_path / name).write_bytes(data.draw(anything(content)) if name == spoiled else content)
    for read in (read_manifest, recover_manifest):
        survives(read, tmp_path / "plans.csv")


@FUZZ
@given(data=st.data())
def test_cells_of_manifests(data, made):
    """A cell of anything, in a row that is otherwise right."""
    folder = made / "Dataset501_X"
    manifest = folder.parent / "cell" / "manifest.csv"
    manifest.parent.mkdir(exist_ok=True)
    for name in ("manifest.csv", "tumors.csv"):
        shutil.copy(folder / name, manifest.with_name(name))
    path = data.draw(st.sampled_from([manifest, tumors_path(manifest)]))
    lines = path.read_text().splitlines()
    cells = lines[1].split(",")
    cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(
        st.one_of(st.sampled_from(ODD), st.floats().map(repr), st.integers().map(str), st.text(max_size=10))
    ).replace("\n", " ")
    path.write_text("\n".join([lines[0], ",".join(cells), *lines[2:]]) + "\n", encoding="utf-8", errors="replace")
    survives(read_manifest, manifest)


@FUZZ
@given(data=st.data())
def test_tables_of_scans(data, made, tmp_path):
    (tmp_path / "scans.csv").write_bytes(data.draw(anything((made / "scans.csv").read_bytes())))
    survives(read_scans, tmp_path / "scans.csv")


@FUZZ
@given(data=st.data())
@pytest.mark.parametrize("read", [read_patients, read_hosts, read_listings])
def test_tables_of_patients_and_of_healthy_scans(data, read, tmp_path):
    content = b"case,patient,source_fingerprint\n098,Doe,\n099,Doe,0f\n"
    (tmp_path / "p.csv").write_bytes(data.draw(anything(content)))
    survives(lambda: list(read(tmp_path / "p.csv")))


def test_a_first_line_without_end_is_no_table(tmp_path):
    (tmp_path / "p.csv").write_text("a" * 200_000)
    with pytest.raises(TumorgenError, match="not a CSV table"):
        read_patients(tmp_path / "p.csv")


@FUZZ
@given(data=st.data())
def test_settings(data, tmp_path):
    (tmp_path / "s.toml").write_bytes(data.draw(anything(dump_toml(Settings()).encode())))
    survives(load_settings, tmp_path / "s.toml")


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(10**300, 10**320), st.floats(), st.text(max_size=4)
)
TREES = st.recursive(
    LEAVES, lambda t: st.one_of(st.lists(t, max_size=3), st.dictionaries(st.text(max_size=4), t)), max_leaves=6
)
DEFAULTS = tomllib.loads(dump_toml(Settings()))


def paths_of(tree, path=()) -> list[tuple]:
    here = [path] if path else []
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return here + [deeper for key, value in inner for deeper in paths_of(value, (*path, key))]


@settings(FUZZ, max_examples=400)
@given(path=st.sampled_from(paths_of(DEFAULTS)), value=TREES)
def test_any_value_of_any_setting(path, value):
    tree = json.loads(json.dumps(DEFAULTS))
    inner = tree
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    survives(from_plain, Settings, tree)


@FUZZ
@given(data=st.data())
def test_divisions(data, tmp_path):
    content = json.dumps({"shards": 8, "seed": 0, "per_scan": 20, "val_per_scan": 2, "cases": ["a", "b"]}).encode()
    (tmp_path / "shards").mkdir(exist_ok=True)
    path = tmp_path / "shards" / "division.json"
    path.write_bytes(data.draw(st.one_of(anything(content), TREES.map(lambda t: json.dumps(t).encode()))))
    survives(lambda: getattr(read_division(Dataset(tmp_path)), "each", []))


@pytest.mark.parametrize(
    "change",
    [
        {"shards": 10**12},
        {"shards": "8"},
        {"per_scan": 1e9},
        {"per_scan": True},
        {"seed": -1},
        {"cases": [1]},
        {"cases": 5},
    ],
)
def test_divisions_that_would_not_end(tmp_path, change):
    whole = {"shards": 8, "seed": 0, "per_scan": 20, "val_per_scan": 2, "cases": ["a"]}
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "division.json").write_text(json.dumps(whole))
    assert read_division(Dataset(tmp_path)) == Division(8, 0, 20, 2, ("a",))
    (tmp_path / "shards" / "division.json").write_text(json.dumps(whole | change))
    with pytest.raises(TumorgenError, match="cannot be read"):
        read_division(Dataset(tmp_path))


@settings(FUZZ, max_examples=40)
@given(data=st.data())
@pytest.mark.parametrize("name", ["dataset.json", "splits_final.json", "SHA256SUMS", "settings.toml"])
def test_what_verify_reads_beside_the_tables(data, name, made, tmp_path):
    folder = tmp_path / "Dataset501_X"
    if not folder.exists():
        shutil.copytree(made / "Dataset501_X", folder)
    content = (made / "Dataset501_X" / name).read_bytes()
    changed = data.draw(st.one_of(anything(content), TREES.map(lambda tree: json.dumps(tree).encode())))
    (folder / name).write_bytes(changed)
    verdict = verify_dataset(folder, jobs=1, replays=0, masks=None)
    assert changed == content or any(
        name in str(problem) or "SHA256SUMS" in str(problem) for problem in verdict.problems
    )
    assert all(str(problem).isprintable() for problem in verdict.problems)


EDGES = {
    field.name: (field.about.low, field.about.high) if field.about.low is not None else (0, 1)
    for kind in (Tumor, Plan, Outcome, Files)
    for field in column_fields(kind)
    if field.about.low is not None or kind in (Outcome, Files)
}


@settings(FUZZ, max_examples=60)
@given(
    column=st.sampled_from(list(EDGES)),
    pick=st.integers(0, 5),
    big=st.sampled_from(["1e308", "-1e308", "9" * 400, "-7"]),
)
def test_verify_takes_any_cell_that_reads(column, pick, big, made, tmp_path):
    """The ends of every domain, and numbers that no array has: a problem or a line, never a traceback."""
    folder = tmp_path / "Dataset501_X"
    if not folder.exists():
        shutil.copytree(made / "Dataset501_X", folder)
    low, high = EDGES[column]
    cell = [repr(low), repr(high), big, "0", "nan", "x"][pick]
    for table in ("manifest.csv", "tumors.csv"):
        with (made / "Dataset501_X" / table).open(newline="") as file:
            rows = list(csv.reader(file))
        if column in rows[0]:
            rows[1][rows[0].index(column)] = cell
        with (folder / table).open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    try:
        problems = [str(problem) for problem in verify_dataset(folder, jobs=1, replays=-1).problems]
    except TumorgenError as error:
        problems = [str(error)]
    same = all(
        (folder / t).read_bytes() == (made / folder.name / t).read_bytes() for t in ("manifest.csv", "tumors.csv")
    )
    assert bool(problems) != same
    assert all(problem.isprintable() for problem in problems)


def test_no_row_asks_for_more_than_is_rendered(made, tmp_path):
    """Each number is within its domain; together they would take hours and a hundred GB."""
    folder = shutil.copytree(made / "Dataset501_X", tmp_path / "Dataset501_X")
    with (folder / "tumors.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    cells = {"mass_effect_percent": "99", "gamma_max_mm": "500", "sigma_e_mm": "0"}
    for column, cell in cells.items():
        rows[1][rows[0].index(column)] = cell
    with (folder / "tumors.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    problems = [str(problem) for problem in verify_dataset(folder, jobs=1, replays=-1).problems]
    assert any("its rows cannot be rendered: scan_0_v0000, tumour 0: it reaches over" in line for line in problems)


# --- no file elsewhere -----------------------------------------------------------------------------------------------

HOSTILE = ["../../x", "/tmp/x", "..", ".", "a/b", "a\\b", "C:x", "con", "nul.v0", "x\ty", "-rf", ".hidden", "x" * 300]
HOSTILE += ["é", "=1+1", "x.", "$(id)", "lpt1", "x\x1b[31m", "~root", "%2e%2e"]


def everything(*folders: Path) -> set[str]:
    return {str(path) for folder in folders for path in folder.rglob("*")}


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code in (0, 1)
    return result.output + (result.stderr if result.exit_code else "")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_manifest_with_a_hostile_name_writes_nothing(name, made, tmp_path, monkeypatch):
    """As a sample's name, as a case's: refused with the place, by replay, preview and verify."""
    monkeypatch.chdir(tmp_path)
    for column in ("sample", "case"):
        folder = tmp_path / column / "Dataset501_X"
        shutil.copytree(made / "Dataset501_X", folder)
        for table in ("manifest.csv", "tumors.csv"):
            text = (folder / table).read_text()
            old = "scan_0_v0000," if column == "sample" else "scan_0_v0000,scan_0,"
            new = f'"{name}",' if column == "sample" else f'scan_0_v0000,"{name}",'
            (folder / table).write_text(text.replace(f"\n{old}", f"\n{new}"))
        before = everything(tmp_path, made)
        out = tmp_path / "out" / "deep"
        for command in (
            ("replay", folder / "manifest.csv", "--output", out, "--jobs", "1"),
            ("preview", folder, "--output", out, "--jobs", "1"),
            ("verify", folder, "--jobs", "1"),
        ):
            said = run(*command)
            assert f"{column} " in said
            assert "is not safe as a file name" in said
        assert everything(tmp_path, made) == before


@pytest.mark.parametrize("name", HOSTILE)
def test_a_table_of_scans_with_a_hostile_name_writes_nothing(name, made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (made / "scans.csv").read_text().replace("\nscan_0,", f'\n"{name}",')
    (tmp_path / "scans.csv").write_text(text)
    before = everything(tmp_path, made)
    said = run("synth", "--scans", "scans.csv", "--output", "out/deep", "--jobs", "1", "--per-scan", "1")
    assert "is not safe as a file name" in said
    assert everything(tmp_path, made) == before


@pytest.mark.parametrize("column", ["image_file", "label_file"])
def test_file_cells_of_a_manifest_are_not_followed(column, made, tmp_path):
    """Where a sample's files lie follows from its name; what the cell says is only compared."""
    folder = tmp_path / "Dataset501_X"
    shutil.copytree(made / "Dataset501_X", folder)
    secret = tmp_path / "secret.nii.gz"
    shutil.copy(folder / "labelsTr" / "scan_0_v0000.nii.gz", secret)
    text = (folder / "manifest.csv").read_text()
    kind = {"image_file": "imagesTr/scan_0_v0000_0000", "label_file": "labelsTr/scan_0_v0000"}[column]
    (folder / "manifest.csv").write_text(text.replace(f"{kind}.nii.gz", "../secret.nii.gz"))
    assert "the manifest says ../secret.nii.gz" in run("verify", folder, "--jobs", "1", "--replays", "0")
    run("replay", folder / "manifest.csv", "--output", tmp_path / "out" / "deep", "--jobs", "1")
    assert {path.name for path in tmp_path.iterdir()} == {"Dataset501_X", "secret.nii.gz", "out"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"deep"}


# --- names -----------------------------------------------------------------------------------------------------------


@given(st.text(max_size=300), st.integers(5, 300))
def test_safe_names_are_safe_everywhere(text, longest):
    name = safe_name(text, longest)
    assert safe_name(name, longest) == name
    assert 1 <= len(name) <= longest
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert name[0] not in ".-_"
    assert name[-1] not in ".-_"


@pytest.mark.parametrize("name", ["con", "CON", "nul.x", "Com1", "lpt9.a.b", "AUX", "prn"])
def test_names_of_devices_are_not_used(name):
    assert safe_name(name) == f"case-{name}"
    assert safe_name(f"{name[:3]}sole") == f"{name[:3]}sole"


def test_both_forms_of_an_accent_are_one_case(tmp_path):
    composed, decomposed = "Jose\u0301.nii.gz", "Jos\u00e9.nii.gz"
    assert case_name(Path(composed)) == case_name(Path(decomposed)) == "Jos"
    (tmp_path / composed).touch()
    (tmp_path / decomposed).touch()
    with pytest.raises(TumorgenError, match="rename one of them"):
        find_volumes(tmp_path)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A.nii", "a.nii.gz"),
        ("x y.nii", "x-y.nii"),
        ("x_0000.nii", "x.nii"),
        ("肝.nii", "臓.nii"),
        (".mha.mha", "case.mha"),
    ],
)
def test_two_files_of_one_case_are_refused(tmp_path, one, other):
    (tmp_path / one.lstrip(".")).touch()
    (tmp_path / other).touch()
    with pytest.raises(TumorgenError, match=r"case '.*' is also .*; rename one of them"):
        find_volumes(tmp_path) if not one.startswith(".") else _twice(tmp_path)


def _twice(folder: Path) -> None:
    (folder / "--.mha").touch()
    find_volumes(folder)


def test_cases_that_differ_in_capitals_alone_are_refused(tmp_path):
    rows = [ScanRow(case=case, image="/i", mask="/m", status="ok") for case in ("Liver", "liver")]
    write_scans(rows, tmp_path / "scans.csv")
    with pytest.raises(TumorgenError, match="is there twice"):
        read_scans(tmp_path / "scans.csv")


def test_columns_of_all_tables_are_no_formulas():
    for table in TABLES.values():
        assert all(column["name"][0].isalpha() for column in columns_of(*table.records))
