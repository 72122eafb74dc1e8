"""The dictionary of columns and the schemas say what the tables hold."""

import json
from pathlib import Path

import pytest
from phantoms import ball_scan

from tumorgen import schema as columns
from tumorgen.liver.masks import FLAGS
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.settings import Settings, load_settings
from tumorgen.tables.manifest import (
    DIAL_COLUMNS,
    SAMPLE_COLUMNS,
    TUMOR_COLUMNS,
    Files,
    Record,
    tumors_path,
    write_manifest,
)
from tumorgen.tables.scans import COLUMNS as SCAN_COLUMNS

MANIFESTS = Path(__file__).parents[1] / "manifests"


def test_every_column_is_described_in_order():
    assert [c["name"] for c in columns.sample_columns()] == list(SAMPLE_COLUMNS)
    assert [c["name"] for c in columns.benchmark_columns()] == list(DIAL_COLUMNS)
    assert [c["name"] for c in columns.tumor_columns()] == list(TUMOR_COLUMNS)
    assert [c["name"] for c in columns.scan_columns()] == list(SCAN_COLUMNS)


def test_every_flag_is_described():
    assert all(f"`{flag}`" in columns._SCAN["flags"][1] for flag in FLAGS)


def test_no_description_is_left_over():
    described = {*columns._SAMPLE, *columns._FILES, *columns._DIAL, *columns._TUMOR, *columns._OUTCOME}
    assert described <= {*SAMPLE_COLUMNS, *DIAL_COLUMNS, *TUMOR_COLUMNS}


def test_what_is_checked_in_is_current(tmp_path):
    columns.write_schemas(tmp_path)
    for written in tmp_path.iterdir():
        assert (MANIFESTS / written.name).read_text() == written.read_text(), f"{written.name}: run `make schema`"


def test_frictionless_accepts_a_real_manifest(tmp_path):
    frictionless = pytest.importorskip("frictionless")
    scan = ball_scan((3.0, 3.0, 3.0))
    plan = draw_variant(scan, Settings(), 0, 1)
    outcomes = render(scan, plan).outcomes
    files = Files(len(outcomes), 1.0, "a.nii.gz", "b.nii.gz", "c", "d", "0", "1", "0.1", "2", "1")
    write_manifest([Record(plan, outcomes, files)], tmp_path / "manifest.csv")
    for table, schema in (("manifest.csv", "manifest"), ("tumors.csv", "tumors")):
        descriptor = json.loads((MANIFESTS / f"{schema}.schema.json").read_text())
        descriptor.pop("foreignKeys", None)  # they need the whole package; the rows of one table are looked at here
        resource = frictionless.Resource(
            path=table, basepath=str(tmp_path), schema=frictionless.Schema.from_descriptor(descriptor)
        )
        report = resource.validate()
        assert report.valid, report.flatten(["rowNumber", "fieldName", "type", "message"])
    assert tumors_path(tmp_path / "manifest.csv").is_file()


def test_paper_recipe_is_the_defaults():
    assert load_settings(MANIFESTS / "recipes" / "paper.toml") == Settings()


@pytest.mark.parametrize("recipe", sorted((MANIFESTS / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_recipes_load(recipe):
    load_settings(recipe)
