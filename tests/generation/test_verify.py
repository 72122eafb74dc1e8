"""Whatever is changed in a dataset, verify says which file and why."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import random
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from click.testing import CliRunner
from phantoms import ball_volume

from tumorgen.benchmark.dials import Benchmark
from tumorgen.benchmark.run import make_benchmark
from tumorgen.cli import main
from tumorgen.dataset import provenance
from tumorgen.dataset.provenance import IN_ROWS, LIBRARIES, find_contradictions
from tumorgen.dataset.raw import TEST, Dataset, find_dataset, write_sums
from tumorgen.errors import TumorgenError
from tumorgen.fields import dump_toml
from tumorgen.generation import verify as verify_module
from tumorgen.generation.replay import Replay, replay_manifest
from tumorgen.generation.run import Run
from tumorgen.generation.scope import Scope
from tumorgen.generation.synth import synthesize_dataset
from tumorgen.generation.verify import verify_dataset
from tumorgen.imaging.geometry import Volume
from tumorgen.imaging.reading import write_volume
from tumorgen.method.settings import Settings, load_settings
from tumorgen.parallel import map_cases
from tumorgen.tables.entries import read_entries
from tumorgen.tables.manifest import DIAL_COLUMNS, SAMPLE_COLUMNS, TUMOR_COLUMNS, read_manifest, spread_samples
from tumorgen.tables.sources import match_sources


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound")
    for number in range(2):
        volume, liver = ball_volume((4.0, 2.5, 2.5), seed=number)
        write_volume(volume, root / "images" / f"scan_{number}.nii.gz")
        write_volume(Volume(liver, volume.geometry), root / "masks" / f"scan_{number}.nii.gz")
    sources, _ = match_sources(root / "images", root / "masks")
    synthesize_dataset(
        Run(Dataset(root / "Dataset501_X"), sources, Settings(sizes=("tiny", "small")), per_scan=2, jobs=1)
    )
    return root / "Dataset501_X"


@pytest.fixture(autouse=True)
def beside_the_scans(sound, monkeypatch):
    """Where one stands, so that a copy of the dataset finds its scans."""
    monkeypatch.chdir(sound.parent)


def test_a_sound_dataset_is_sound(sound):
    verdict = verify_dataset(sound, jobs=1, replays=-1)
    assert verdict.problems == ()
    assert (verdict.samples, verdict.scans, verdict.replayed) == (4, 2, 4)


def test_a_manifest_without_a_last_line_end_has_all_its_rows(sound, tmp_path):
    """Editors take it away; then the checksum differs, and nothing else."""
    folder = tmp_path / sound.name
    shutil.copytree(sound, folder)
    (folder / "manifest.csv").write_bytes((folder / "manifest.csv").read_bytes().rstrip(b"\n"))
    (problem,) = verify_dataset(folder, jobs=1, scope=Scope(quick=True)).problems
    assert str(problem).startswith("manifest.csv: its SHA-256 is not that")


def test_processes_are_told_where_rows_stand_and_not_what_they_say(sound, monkeypatch):
    """So no row is held in memory that nobody is looking at."""
    told = []

    def watched(work, cases, jobs):
        told.extend(case.item.part for case in cases)
        return map_cases(work, cases, jobs)

    monkeypatch.setattr(verify_module, "map_cases", watched)
    assert verify_dataset(sound, jobs=1).problems == ()
    assert [len(part.samples) for part in told] == [2, 2]
    assert all(part.known is None and len(part.spans) == len(part.tumor_spans) == 1 for part in told)


def test_command_says_so(sound):
    result = CliRunner().invoke(main, ["verify", str(sound), "--jobs", "1"])
    assert result.exit_code == 0
    assert "sound (4 samples of 2 scans, 3 rendered again)" in result.stdout


def rewrite(path: Path, change) -> None:
    """Change voxels of a file of the dataset."""
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image)
    array = change(array)
    changed = sitk.GetImageFromArray(array)
    changed.CopyInformation(image)
    sitk.WriteImage(changed, str(path), useCompression=True)


def flip_corner(array):
    array[0, 0, 0] += 1
    return array


def set_nine(array):
    array[0, 0, 0] = 9
    return array


def _brighter(array, folder):
    """One voxel of a tumour."""
    label = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / LABEL)))
    array[tuple(np.argwhere(label == 2)[0])] += 1
    return array


def shift_header(path: Path) -> None:
    image = sitk.ReadImage(str(path))
    image.SetOrigin([c + 1 for c in image.GetOrigin()])
    sitk.WriteImage(image, str(path), useCompression=True)


def edit_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def swap(first: Path, second: Path) -> None:
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


IMAGE, LABEL = "imagesTr/scan_0_v0000_0000.nii.gz", "labelsTr/scan_0_v0000.nii.gz"

TAMPERINGS = {
    "voxel outside the boxes": (
        lambda d: rewrite(d / IMAGE, flip_corner),
        IMAGE,
        "1 voxel differs from the source outside the recorded boxes",
    ),
    "voxel inside a box": (
        lambda d: rewrite(d / IMAGE, lambda array: _brighter(array, d)),
        IMAGE,
        "file was changed; rendered again from its rows, 1 voxel differs",
    ),
    "label of background": (
        lambda d: rewrite(d / LABEL, flip_corner),
        LABEL,
        "1 voxel differs from the source outside the recorded boxes",
    ),
    "unknown label": (lambda d: rewrite(d / LABEL, set_nine), LABEL, "holds the labels [9]"),
    "label's type": (lambda d: rewrite(d / LABEL, lambda a: a.astype("float32")), LABEL, "data type is float32"),
    "header": (lambda d: shift_header(d / IMAGE), IMAGE, "its geometry is not the scan's"),
    "files swapped": (lambda d: swap(d / IMAGE, d / IMAGE.replace("v0000", "v0001")), IMAGE, "SHA-256"),
    "file removed": (lambda d: (d / LABEL).unlink(), LABEL, "is missing"),
    "file added": (
        lambda d: shutil.copy(d / LABEL, d / "labelsTr" / "x.nii.gz"),
        "labelsTr/x.nii.gz",
        "not in the manifest",
    ),
    "file cut off": (lambda d: (d / IMAGE).write_bytes((d / IMAGE).read_bytes()[:-20]), IMAGE, "cut off"),
    "numTraining": (
        lambda d: edit_text(d / "dataset.json", '"numTraining": 4', '"numTraining": 5'),
        "dataset.json",
        "is 5",
    ),
    "labels": (lambda d: edit_text(d / "dataset.json", '"tumor": 2', '"tumor": 3'), "dataset.json", "labels is"),
    "dataset.json gone": (lambda d: (d / "dataset.json").unlink(), "dataset.json", "cannot be read"),
    "drawn cell": (lambda d: _add_one(d, "mu_t_hu"), IMAGE, "rendered again from its rows"),
    "measured cell": (lambda d: _add_one(d, "volume_mm3"), "tumors.csv: scan_0_v0000", "does not say what came out"),
    "tumour's row removed": (lambda d: _drop_last_tumor(d), "imagesTr/scan_1_v0001", "rendered again"),
    "patient on both sides": (lambda d: _leak(d), "splits_final.json", "in training and in validation"),
    "a row without its last letter": (
        lambda d: (d / "manifest.csv").write_bytes((d / "manifest.csv").read_bytes()[:-2]),
        "manifest.csv",
        "its last line has no end",
    ),
    "a folder in a file's place": (lambda d: _replace(d / LABEL, Path.mkdir), LABEL, "is not a regular file"),
    "a pipe in a file's place": (lambda d: _replace(d / IMAGE, os.mkfifo), IMAGE, "is not a regular file"),
    "a loop of links": (lambda d: _replace(d / IMAGE, lambda p: p.symlink_to(p.name)), IMAGE, "is not a regular file"),
    "a setting": (lambda d: edit_text(d / "settings.toml", "eta", "etb"), "settings.toml", "SHA-256"),
    "settings gone": (lambda d: (d / "settings.toml").unlink(), "settings.toml", "is missing"),
    "checksums gone": (lambda d: (d / "SHA256SUMS").unlink(), "SHA256SUMS", "is missing"),
    "a checksum": (lambda d: edit_text(d / "SHA256SUMS", "  tumors.csv", "  ../x"), "SHA256SUMS", "not as the run"),
    "a checksum cut off": (
        lambda d: (d / "SHA256SUMS").write_text((d / "SHA256SUMS").read_text()[:-90]),
        "tumors.csv|SHA256SUMS",
        "not in SHA256SUMS|not as the run",
    ),
    "checksums of no text": (lambda d: (d / "SHA256SUMS").write_bytes(b"\xff"), "SHA256SUMS", "cannot be read"),
    "dataset.json is a list": (lambda d: (d / "dataset.json").write_text("[]"), "dataset.json", "is not nnU-Net's"),
    "dataset.json without end": (lambda d: (d / "dataset.json").write_text("[" * 10**5), "dataset.json", "cannot be"),
    "splits of anything": (
        lambda d: (d / "splits_final.json").write_text('[{"train": [1, "x"], "val": [null]}]'),
        "splits_final.json",
        "not in the manifest",
    ),
    "a sample in no fold": (
        lambda d: edit_text(d / "splits_final.json", '"scan_1_v0001"', '"scan_1_v0000"'),
        "splits_final.json",
        "SHA-256",
    ),
    "provenance gone": (lambda d: (d / "provenance.json").unlink(), "provenance.json", "is missing"),
    "provenance of no text": (lambda d: (d / "provenance.json").write_bytes(b"\xff"), "provenance.json", "cannot be"),
    "provenance without end": (
        lambda d: (d / "provenance.json").write_text('{"a":' * 10**5),
        "provenance.json",
        "cannot be read",
    ),
    "splits gone": (lambda d: (d / "splits_final.json").unlink(), "splits_final.json", "is missing"),
}


def _replace(path: Path, make) -> None:
    path.unlink()
    make(path)


def _add_one(folder: Path, column: str) -> None:
    with (folder / "tumors.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0][column] = repr(float(rows[0][column]) + 1)
    with (folder / "tumors.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _drop_last_tumor(folder: Path) -> None:
    lines = (folder / "tumors.csv").read_text().splitlines(keepends=True)
    (folder / "tumors.csv").write_text("".join(lines[:-1]))


def _leak(folder: Path) -> None:
    folds = json.loads((folder / "splits_final.json").read_text())
    folds[0]["train"].append(folds[0]["val"][0])
    (folder / "splits_final.json").write_text(json.dumps(folds))


@pytest.mark.parametrize("name", TAMPERINGS)
def test_every_tampering_is_found(sound, tmp_path, name):
    tamper, file, reason = TAMPERINGS[name]
    folder = tmp_path / sound.name
    shutil.copytree(sound, folder)
    tamper(folder)
    found = [str(problem) for problem in verify_dataset(folder, jobs=1, replays=-1).problems]
    assert any(p.startswith(tuple(file.split("|"))) and any(r in p for r in reason.split("|")) for p in found), found


# --- every cell, every byte ------------------------------------------------------------------------------------------

CELLS = [("manifest.csv", column) for column in SAMPLE_COLUMNS] + [("tumors.csv", column) for column in TUMOR_COLUMNS]


def rewrite_cell(folder: Path, table: str, column: str, row: int, change) -> None:
    """Change a cell and nothing else of a table."""
    with (folder / table).open(newline="") as file:
        cells = list(csv.reader(file))
    place = cells[0].index(column)
    cells[1 + row][place] = change(cells[1 + row][place])
    with (folder / table).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(cells)


def another(cell: str) -> str:
    """Another cell of the same type, within its domain wherever that is possible."""
    if cell in ("true", "false"):
        return {"true": "false", "false": "true"}[cell]
    if re.fullmatch(r"\d+", cell) and len(cell) < 20:
        return str(int(cell) + 2)  # deform_points stays odd
    try:
        return repr(float(cell) * (1 + 1e-12) + 1e-300)  # what no rounding hides
    except ValueError:
        return cell + "0"


def told(folder: Path, **options) -> list[str]:
    """What verify says, a problem or an error a line."""
    try:
        return [str(problem) for problem in verify_dataset(folder, jobs=1, **options).problems]
    except TumorgenError as error:
        return [str(error)]


@pytest.fixture
def copy(sound, tmp_path) -> Path:
    return shutil.copytree(sound, tmp_path / sound.name)


@pytest.mark.parametrize(("table", "column"), CELLS, ids=lambda value: value)
def test_a_change_of_any_column_is_found_without_rendering(copy, table, column):
    rewrite_cell(copy, table, column, 1, another)
    found = told(copy, replays=0)
    assert any(table in line for line in found), found


ROWS = {
    "removed": lambda rows: rows[:-1],
    "first removed": lambda rows: [rows[0], *rows[2:]],
    "twice": lambda rows: [*rows, rows[-1]],
    "in another order": lambda rows: [rows[0], *reversed(rows[1:])],
    "no column names": lambda rows: rows[1:],
    "a column removed": lambda rows: [row[:-1] for row in rows],
    "a column added": lambda rows: [[*row, "x"] for row in rows],
    "columns swapped": lambda rows: [[row[1], row[0], *row[2:]] for row in rows],
}


@pytest.mark.parametrize("how", ROWS)
@pytest.mark.parametrize("table", ["manifest.csv", "tumors.csv"])
def test_a_change_of_rows_or_columns_is_found(copy, table, how):
    with (copy / table).open(newline="") as file:
        rows = list(csv.reader(file))
    with (copy / table).open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(ROWS[how](rows))
    found = told(copy, replays=0)
    assert any(table in line for line in found), found


# --- every file, every folder, of every kind of dataset ---------------------------------------------------------------


@pytest.fixture(scope="module")
def benchmark(sound):
    """A test set with dials, of one scan."""
    sources, _ = match_sources(sound.parent / "images", sound.parent / "masks")
    levels = Benchmark(location=("left",), size=(8.0,), shape=(), intensity=(), texture=())
    make_benchmark(Run(Dataset(sound.parent / "Dataset502_R", TEST), sources[:1], Settings(), jobs=1), levels)
    return sound.parent / "Dataset502_R"


@pytest.fixture(scope="module")
def replayed(sound):
    """A dataset that has no settings of its own."""
    replay_manifest(
        Replay(Dataset(sound.parent / "Dataset503_A"), sound / "manifest.csv", samples=["scan_0_v0000"], jobs=1)
    )
    return sound.parent / "Dataset503_A"


@pytest.fixture(params=["sound", "benchmark", "replayed"])
def any_copy(request, tmp_path) -> Path:
    folder = request.getfixturevalue(request.param)
    return shutil.copytree(folder, tmp_path / folder.name)


def spoil(path: Path) -> None:
    """Flip one bit."""
    content = bytearray(path.read_bytes())
    chance = random.Random(path.name)
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


HARM = {
    "removed": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "its last byte gone": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a byte added": lambda path: path.write_bytes(path.read_bytes() + b"\n"),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a bit flipped": spoil,
    "a folder in its place": lambda path: _replace(path, Path.mkdir),
}


def names_it(found: list[str], folder: Path, path: Path) -> bool:
    """Whether verify says something of a file, by its name; a line of the checksums names the file that differs."""
    name = path.relative_to(folder).as_posix()
    return any(name in line for line in found)


@pytest.mark.parametrize("how", HARM)
def test_harm_to_any_file_is_found(any_copy, how):
    for path in [path for path in sorted(any_copy.rglob("*")) if path.is_file()]:
        content = path.read_bytes()
        HARM[how](path)
        found = told(any_copy, replays=0)
        meaning = path.name != "SHA256SUMS" or how not in ("its last byte gone", "a byte added")  # line ends
        assert names_it(found, any_copy, path) or not meaning, (path, found)
        if path.is_dir():
            path.rmdir()
        path.write_bytes(content)
    assert told(any_copy, replays=0) == []


def test_files_that_have_changed_places_are_found(any_copy):
    for folder in (any_copy, *(path for path in any_copy.iterdir() if path.is_dir())):
        files = sorted(path for path in folder.iterdir() if path.is_file())
        for first, second in pairwise(files):
            swap(first, second)
            found = told(any_copy, replays=0)
            assert any(names_it(found, any_copy, path) for path in (first, second)), (first, second, found)
            swap(first, second)
    assert told(any_copy, replays=0) == []


@pytest.mark.parametrize(
    "name", ["scan_0_v0009_0000.nii.gz", "notes.txt", ".hidden", "preview.json", ".partial-x", "d/"]
)
def test_whatever_is_added_to_any_folder_is_found(any_copy, name):
    for folder in (any_copy, *sorted(path for path in any_copy.iterdir() if path.is_dir())):
        path = folder / name
        path.mkdir() if name.endswith("/") else path.write_bytes(b"x")
        assert names_it(told(any_copy, replays=0), any_copy, path), folder
        path.rmdir() if name.endswith("/") else path.unlink()


def test_pictures_and_an_audit_are_where_their_commands_put_them(copy):
    for folder in (Dataset(copy).pictures, Dataset(copy).audit):
        folder.mkdir()
        (folder / "any.png").write_bytes(b"png")
    assert told(copy, replays=0) == []


def test_folders_of_the_other_kind_and_what_runs_leave_are_found(copy):
    for name, reason in (
        ("imagesTs", "does not belong"),
        ("shards", "does not belong"),
        (".lock", "a run is writing here"),
    ):
        (copy / name).mkdir()
        assert any(line.startswith(name) and reason in line for line in told(copy, replays=0))
        (copy / name).rmdir()


def test_columns_that_only_a_benchmark_has(benchmark, tmp_path):
    for column in DIAL_COLUMNS:
        folder = shutil.copytree(benchmark, tmp_path / column)
        rewrite_cell(folder, "manifest.csv", column, 1, another)
        assert names_it(told(folder, replays=0), folder, folder / "manifest.csv")


# --- provenance -------------------------------------------------------------------------------------------------------


def leaves(value, path=()):
    """Where every value of a JSON document is."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not isinstance(value, dict | list):
        yield path
    for key, item in items:
        yield from leaves(item, (*path, key))


def changed_leaf(document, path):
    """The document with another value in one place."""
    document = json.loads(json.dumps(document))
    *way, last = path
    inner = document
    for key in way:
        inner = inner[key]
    old = inner[last]
    inner[last] = (not old) if isinstance(old, bool) else old + 1 if isinstance(old, int | float) else f"{old}0"
    return document


def without_key(document, key):
    return {name: value for name, value in document.items() if name != key}


FOLLOW_FROM_NOTHING = {"python", *LIBRARIES} - set(IN_ROWS)  # versions that no row has


def every_change(document):
    """The document with each of its values changed in turn, and without each of its keys."""
    yield from ((".".join(map(str, place)), changed_leaf(document, place)) for place in leaves(document))
    yield from ((f"without {key}", without_key(document, key)) for key in document)


def test_whatever_follows_from_other_files_is_compared_with_them(any_copy):
    """Of provenance.json, whoever mends the checksums, too; those find all the rest."""
    path, dataset = any_copy / "provenance.json", find_dataset(any_copy)
    entries, whole = read_entries(dataset.manifest), json.loads(path.read_text())
    records = read_manifest(dataset.manifest)
    versions = {tuple(getattr(record.files, f"{name}_version") for name in IN_ROWS) for record in records}
    assert not list(find_contradictions(dataset, entries, versions))
    numbers = {"command"} if "--val-per-scan" in whole["command"] else {"val_per_scan", "without val_per_scan"}
    unknown = FOLLOW_FROM_NOTHING | numbers
    changes = dict(every_change(whole))
    assert len(changes) > 10
    for what, document in changes.items():
        path.write_text(json.dumps(document))
        if what == "without versions":
            with pytest.raises(TumorgenError, match="names no versions"):
                list(find_contradictions(dataset, entries, versions))
            continue
        known = what.removeprefix("versions.") not in unknown
        assert bool(list(find_contradictions(dataset, entries, versions))) == known, what


def test_any_value_of_dataset_json_is_told_whatever_the_checksums_say(copy):
    path = copy / "dataset.json"
    for what, document in every_change(json.loads(path.read_text())):
        path.write_text(json.dumps(document))
        write_sums(Dataset(copy))
        assert [line for line in told(copy, replays=0) if line.startswith("dataset.json: ")], what


@pytest.mark.parametrize(
    ("old", "new"), [("--seed 0", "--seed 1"), ("tumorgen synth", "rm -rf"), ("--per-scan 2", "--per-scan 2; rm -rf /")]
)
def test_the_command_is_one_that_makes_these_rows(copy, old, new):
    edit_text(copy / "provenance.json", old, new)
    write_sums(Dataset(copy))
    (found,) = told(copy, replays=0)
    assert found.startswith("provenance.json: its command is ")


def test_settings_are_those_of_the_provenance_whatever_the_checksums_say(copy):
    settings = load_settings(copy / "settings.toml")
    (copy / "settings.toml").write_text(dump_toml(replace(settings, sizes=("tiny",))))
    write_sums(Dataset(copy))
    assert told(copy, replays=0) == ["provenance.json: its settings are not those of settings.toml"]


def forge_image(folder: Path) -> None:
    """Change a voxel of a tumour, and mend every checksum."""
    rewrite(folder / IMAGE, lambda array: _brighter(array, folder))
    digest = hashlib.sha256((folder / IMAGE).read_bytes()).hexdigest()
    rewrite_cell(folder, "manifest.csv", "image_sha256", 0, lambda cell: digest)
    write_sums(Dataset(folder))


def claim(folder: Path, **versions: str) -> None:
    """Say that a dataset was made with other versions."""
    path = folder / "provenance.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, "versions": {**found["versions"], **versions}}, indent=2) + "\n")
    write_sums(Dataset(folder))


@pytest.mark.parametrize("jobs", [1, 2])
def test_voxels_that_another_version_may_have_made_are_told_with_it(copy, jobs):
    forge_image(copy)
    same = f"{IMAGE}: rendered again from its rows, 1 voxel differs; the versions are the same"
    assert [str(p).startswith(same) for p in verify_dataset(copy, jobs=jobs, replays=-1).problems] == [True]
    claim(copy, edt="0.0.1", python="2.7")
    verdict = verify_dataset(copy, jobs=jobs, replays=-1)
    now = provenance.versions()["edt"]
    other = (
        f"rendered again from its rows, 1 voxel differs; bits may differ for a version alone: edt was 0.0.1, is {now}"
    )
    assert [str(problem) for problem in verdict.problems] == [f"{IMAGE}: {other}"]
    assert verdict.notes == (f"rendered with edt 0.0.1; this is {now}: replayed bits may differ",)


def test_the_version_of_a_row_counts_too(copy):
    forge_image(copy)
    for row in range(4):
        rewrite_cell(copy, "manifest.csv", "numpy_version", row, lambda _: "1.0")
    claim(copy, numpy="1.0")
    assert any(f"numpy was 1.0, is {np.__version__}" in line for line in told(copy, replays=-1))


def test_a_file_that_was_compressed_anew_is_told_so(copy):
    (copy / LABEL).write_bytes(gzip.compress(gzip.decompress((copy / LABEL).read_bytes()), 9))
    same = "its SHA-256 is not the manifest's: the file was changed; its voxels are those of its rows rendered again"
    assert told(copy, replays=-1) == [f"{LABEL}: {same}"]
    claim(copy, isal="0.0.1")
    now = provenance.versions()["isal"]
    assert told(copy, replays=-1) == [f"{LABEL}: {same}; versions differ: isal was 0.0.1, is {now}"]


# --- images and labels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", [IMAGE, LABEL])
def test_any_voxel_is_found(copy, file):
    path, chance = copy / file, np.random.default_rng(1)
    content = path.read_bytes()
    for _ in range(6):
        rewrite(path, lambda array: _one_more(array, chance))
        assert f"{file}: its SHA-256 is not the manifest's: the file was changed" in told(copy, replays=0)
        path.write_bytes(content)


def _one_more(array, chance):
    array[tuple(chance.integers(0, n) for n in array.shape)] += 1
    return array


def regions(content: bytes) -> dict[str, tuple[int, int]]:
    """Where the parts of a compressed file lie."""
    length = len(content)
    middle = {f"stream {k}": (20 + (length - 30) * k // 6, 20 + (length - 30) * (k + 1) // 6) for k in range(6)}
    return {"gzip header": (0, 10), "first block": (10, 20), **middle, "gzip trailer": (length - 8, length)}


@pytest.mark.parametrize("file", [IMAGE, LABEL])
def test_a_byte_changed_in_any_region_of_a_file_is_found(copy, file):
    content = (copy / file).read_bytes()
    chance = random.Random(file)
    for start, end in regions(content).values():
        spoiled = bytearray(content)
        spoiled[chance.randrange(start, end)] ^= 1 << chance.randrange(8)
        (copy / file).write_bytes(spoiled)
        found = told(copy, replays=0)
        assert f"{file}: its SHA-256 is not the manifest's: the file was changed" in found


@pytest.mark.parametrize("file", [IMAGE, LABEL])
def test_a_byte_changed_in_any_field_of_the_header_is_found(copy, file):
    content = gzip.decompress((copy / file).read_bytes())
    chance = random.Random(file)
    for start in range(0, 352, 16):
        spoiled = bytearray(content)
        spoiled[start + chance.randrange(16)] ^= 1 << chance.randrange(8)
        (copy / file).write_bytes(gzip.compress(spoiled, 1))
        assert f"{file}: its SHA-256 is not the manifest's: the file was changed" in told(copy, replays=0)


def test_who_mends_the_checksums_too_is_found_out_by_rendering(copy):
    """A forger that knows SHA256SUMS: drawn and measured cells still have to fit the voxels."""
    for column in ("mu_t_hu", "radius_mm", "texture_seed", "volume_mm3", "mean_hu", "box_z1", "center_x_mm"):
        folder = shutil.copytree(copy, copy.with_name(column))
        rewrite_cell(folder, "tumors.csv", column, 0, lambda cell: str(type(_number(cell))(_number(cell) + 1)))
        write_sums(Dataset(folder))
        found = told(folder, replays=-1)
        assert any("scan_0_v0000" in line for line in found), (column, found)


def _number(cell: str) -> float | int:
    return int(cell) if cell.isdigit() else float(cell)


def test_sums_are_those_of_sha256sum(sound):
    for line in (sound / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((sound / name).read_bytes()).hexdigest() == digest
    assert len((sound / "SHA256SUMS").read_text().splitlines()) == 6


def test_command_lists_problems_and_fails(sound, tmp_path):
    folder = tmp_path / sound.name
    shutil.copytree(sound, folder)
    (folder / LABEL).unlink()
    result = CliRunner().invoke(main, ["verify", str(folder), "--jobs", "1"])
    assert result.exit_code == 1
    assert f"problem: {LABEL}: is missing" in result.stderr


def test_a_folder_that_is_no_dataset(tmp_path):
    result = CliRunner().invoke(main, ["verify", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds no manifest.csv" in result.stderr


def test_a_source_that_is_gone_is_told(sound, tmp_path):
    images, one = sound.parent / "images", sound.parent / "images" / "scan_0.nii.gz"
    one.rename(tmp_path / "one.nii.gz")
    try:
        found = verify_dataset(sound, jobs=1).problems
        assert len(found) == 2
        assert all("its scan cannot be read" in problem.reason for problem in found)
    finally:
        (tmp_path / "one.nii.gz").rename(one)
    images.rename(tmp_path / "elsewhere")
    try:
        with pytest.raises(TumorgenError, match=r"no scan is where the table says .* with --images and --masks"):
            verify_dataset(sound, jobs=1)
        assert not verify_dataset(sound, jobs=1, images=tmp_path / "elsewhere", masks=sound.parent / "masks").problems
    finally:
        (tmp_path / "elsewhere").rename(images)


@pytest.mark.parametrize(("count", "expected"), [(0, ""), (1, "a"), (2, "ae"), (3, "ace"), (9, "abcde"), (-1, "abcde")])
def test_spread_is_even(count, expected):
    assert spread_samples("abcde", count) == frozenset(expected)
