"""What version 0.1.0 wrote is read by every later version, and renders again to what it says (tests/golden/0.1.0)."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest

from tumorgen.benchmark.dials import Benchmark
from tumorgen.checksums import sha256_of
from tumorgen.dataset.raw import Dataset
from tumorgen.errors import TumorgenError
from tumorgen.fields import About, check_domains, declared, load_toml, required_columns
from tumorgen.generation.replay import Replay, replay_manifest
from tumorgen.imaging import ChunkedVolume, Volume, read_volume
from tumorgen.method.patch import Outcome
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.rendering import render
from tumorgen.method.scan import Scan, load_scan
from tumorgen.method.settings import Settings, load_settings
from tumorgen.tables.codec import parse_row, rows_of
from tumorgen.tables.manifest import read_manifest

GOLDEN = Path(__file__).parents[1] / "golden" / "0.1.0"
SETS = ("dataset", "benchmark")


def is_installed(*libraries: str) -> bool:
    """Whether these libraries are of the versions that wrote the golden files."""
    versions = json.loads((GOLDEN / "dataset" / "provenance.json").read_text())["versions"]
    return all(importlib.metadata.version(name) == versions[name] for name in libraries)


# The golden files are of a processor without AVX-512, with which numpy rounds exponentials elsewhere. That changes some
# voxels of a phantom by 1 HU; what is rendered from its file has the same bits with and without.
WITHOUT_AVX_512 = {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"}
DRAW_PHANTOMS = """
import sys
from pathlib import Path

from tumorgen.phantom.folder import write_phantoms

write_phantoms(Path(sys.argv[1]), 2, 3, shape=(40, 96, 110), spacing_mm=(6.0, 3.5, 3.5), jobs=1)
"""


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    """The scans of the golden files, drawn again as tests/golden/README.md says."""
    folder = tmp_path_factory.mktemp("scans")
    environment = {**os.environ, **WITHOUT_AVX_512}
    subprocess.run([sys.executable, "-W", "ignore", "-c", DRAW_PHANTOMS, folder], env=environment, check=True)
    return folder


@pytest.fixture(scope="module")
def scans(phantoms) -> dict[str, Scan]:
    return {
        image.name.removesuffix(".nii.gz"): load_scan(image, phantoms / "masks" / image.name)
        for image in (phantoms / "images").iterdir()
    }


@pytest.mark.parametrize("kind", SETS)
def test_tables_and_settings_are_read(kind):
    records = read_manifest(GOLDEN / kind / "manifest.csv")
    assert len(records) == {"dataset": 10, "benchmark": 52}[kind]
    assert {record.files.tumorgen_version for record in records} == {"0.1.0"}
    assert all(None not in record.outcomes for record in records)
    assert all((record.dial is not None) == (kind == "benchmark") for record in records)
    assert load_settings(GOLDEN / kind / "settings.toml") == Settings()
    assert load_toml(Benchmark, GOLDEN / "benchmark" / "benchmark.toml") == Benchmark()


# Other versions of numpy and scipy may round sums and interpolation elsewhere. A voxel at a tumour's edge, of 73.5 mm3,
# may then fall on the other side of it, and with it the mean of few voxels changes.
TOLERANCES = {"voxels": 1, "mm3": 150, "mm": 0.5, "HU": 10, "": 0.1}


def near(outcome: Outcome) -> dict[str, object]:
    return {
        field.name: pytest.approx(getattr(outcome, field.name), abs=TOLERANCES[field.about.unit], nan_ok=True)
        for field in declared(Outcome)
    }


@pytest.mark.parametrize("kind", SETS)
def test_each_row_renders_to_the_outcome_that_it_says(kind, scans):
    """To the last digit with the recorded numpy and scipy, which decide the phantom's last bits, too."""
    for record in read_manifest(GOLDEN / kind / "manifest.csv"):
        plan, scan = record.plan, scans[record.plan.case]
        if is_installed("numpy", "scipy"):
            assert repr(render(scan, plan).outcomes) == repr(record.outcomes), plan.sample  # nan is not itself
        else:
            plan = replace(plan, source_image_sha256=scan.image_sha256, source_mask_sha256=scan.mask_sha256)
            found = [asdict(outcome) for outcome in render(scan, plan).outcomes]
            assert found == [near(outcome) for outcome in record.outcomes], plan.sample


@pytest.mark.skipif(
    not is_installed("numpy", "scipy", "isal"), reason="the bits of files are promised for the same numpy, scipy, isal"
)
@pytest.mark.parametrize("kind", SETS)
def test_replay_writes_the_files_of_the_recorded_checksums(kind, phantoms, scans, tmp_path):
    """In processes of its own: once an image differed here in a process that had run thousands of other tests."""
    manifest = GOLDEN / kind / "manifest.csv"
    dataset = Dataset(tmp_path / "Dataset501_Again")
    report = replay_manifest(
        Replay(dataset, manifest, images=phantoms / "images", masks=phantoms / "masks", jobs=2, val_per_scan=2)
    )
    assert not report.failures
    old, new = ({r.plan.sample: r for r in read_manifest(path)} for path in (manifest, dataset.manifest))
    assert old.keys() == new.keys()
    for sample, record in old.items():
        was, now = record.files, new[sample].files
        assert repr(new[sample].outcomes) == repr(record.outcomes)  # nan is not itself
        assert now.label_sha256 == was.label_sha256, sample
        assert now.image_sha256 == was.image_sha256, describe_image(
            dataset.image(sample), scans[record.plan.case], record.plan
        )


def describe_image(file: Path, scan: Scan, plan: Plan) -> str:
    """What of an image's file is not as its row renders: voxels, or nothing but how they are compressed."""
    wanted = np.array(scan.hu)
    for box, voxels in render(scan, plan).images:
        wanted[box] = voxels
    other = np.argwhere(read_volume(file).array != wanted)
    if len(other):
        return f"{file.name}: {len(other)} voxels differ, from {other[0].tolist()} to {other[-1].tolist()}"
    again = ChunkedVolume.from_volume(Volume(wanted, scan.geometry)).digest()
    return f"{file.name}: its voxels are right; {sha256_of(file)} is its checksum, and {again} when compressed at once"


def test_an_image_that_is_another_one_is_described(scans, tmp_path):
    plan = read_manifest(GOLDEN / "dataset" / "manifest.csv")[0].plan
    scan, file = scans[plan.case], tmp_path / "image.nii.gz"
    plan = replace(plan, source_image_sha256=scan.image_sha256, source_mask_sha256=scan.mask_sha256)
    source = ChunkedVolume.from_volume(scan.image)
    source.write(file, [])
    assert "voxels differ, from [" in describe_image(file, scan, plan)
    source.write(file, render(scan, plan).images)
    assert "its voxels are right" in describe_image(file, scan, plan)


# --- columns that a table does not have -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A record with a field that is younger than some of its tables."""

    name: Annotated[str, About("a name")]
    size_mm: Annotated[float, About("a size", "mm", 0, 9)]
    angle: Annotated[float, About("a younger field", "degrees", 0, 360)] = 90.0

    def __post_init__(self) -> None:
        check_domains(self)


def read_rows(text: str) -> list[Row]:
    return [parse_row(Row, row, where) for where, row in rows_of(Path("t.csv"), text, required_columns(Row))]


def test_a_column_that_an_older_table_lacks_is_its_default():
    assert read_rows("name,size_mm\na,3\n") == [Row("a", 3.0, 90.0)]
    assert read_rows("name,size_mm,angle\na,3,45\n") == [Row("a", 3.0, 45.0)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,angle\na,45\n", "t.csv: columns missing: size_mm"),
        ("name,size_mm,angle\na,3,\n", "t.csv:2, column angle: '' is not of type float"),
        ("name,size_mm,angle\na,3,400\n", "t.csv:2: angle is 400.0; a value from 0 to 360 is needed"),
    ],
)
def test_a_column_without_default_and_an_empty_cell_are_refused(text, message):
    with pytest.raises(TumorgenError) as error:
        read_rows(text)
    assert str(error.value) == message


def without(column: str, table: Path, folder: Path) -> Path:
    """A copy of a dataset's tables without a column of one."""
    for path in (GOLDEN / "dataset").glob("*.csv"):
        lines = [line.split(",") for line in path.read_text().splitlines()]
        if path.name == table.name:
            at = lines[0].index(column)
            lines = [[*cells[:at], *cells[at + 1 :]] for cells in lines]
        (folder / path.name).write_text("".join(",".join(cells) + "\n" for cells in lines))
    return folder / "manifest.csv"


def test_a_manifest_without_notes_has_none(tmp_path):
    records = read_manifest(without("notes", Path("manifest.csv"), tmp_path))
    assert {record.plan.notes for record in records} == {""}
    as_written = read_manifest(GOLDEN / "dataset" / "manifest.csv")
    assert records == [replace(record, plan=replace(record.plan, notes="")) for record in as_written]


@pytest.mark.parametrize(("kind", "table"), [(Plan, "manifest.csv"), (Tumor, "tumors.csv")])
def test_any_other_column_that_rendering_reads_must_be_there(kind, table, tmp_path):
    for column in required_columns(kind):
        with pytest.raises(TumorgenError, match=rf"{table}: columns missing: {column}"):
            read_manifest(without(column, Path(table), tmp_path))
