"""The dictionary of columns and the schemas say what the tables hold."""

import json
import re
from pathlib import Path

import pytest
from phantoms import ball_scan

from tumorgen.evaluation.scores import FAULTS, LESION_KINDS, RADIUS_BINS, CaseScore, LesionScore
from tumorgen.fields import columns
from tumorgen.liver.findings import FLAGS
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.rendering import render
from tumorgen.method.sampling import draw_variant
from tumorgen.method.settings import PATTERNS, Settings, load_settings
from tumorgen.schema import columns_of, schema_of, write_schemas
from tumorgen.tables.manifest import (
    DIAL_COLUMNS,
    SAMPLE_COLUMNS,
    TUMOR_COLUMNS,
    Files,
    Record,
    tumors_path,
    write_manifest,
)
from tumorgen.tables.scans import STATUSES, ScanRow

MANIFESTS = Path(__file__).parents[1] / "manifests"


def names_of(table: str) -> tuple[str, ...]:
    return tuple(field["name"] for field in schema_of(table)["fields"])


def test_schemas_have_the_columns_of_the_tables_in_order():
    assert names_of("manifest") == SAMPLE_COLUMNS
    assert names_of("benchmark") == (*SAMPLE_COLUMNS, *DIAL_COLUMNS)
    assert names_of("tumors") == TUMOR_COLUMNS
    assert names_of("scans") == columns(ScanRow)
    assert names_of("cases") == columns(CaseScore)
    assert names_of("lesions") == columns(LesionScore)


def description(record: type, name: str) -> str:
    return next(column["description"] for column in columns_of(record) if column["name"] == name)


def test_every_word_that_a_column_may_hold_is_described():
    assert all(f"`{flag}`" in description(ScanRow, "flags") for flag in FLAGS)
    assert all(f"`{status}`" in description(ScanRow, "status") for status in STATUSES)
    assert all(f"`{pattern}`" in description(Plan, "pattern") for pattern in PATTERNS)
    assert all(f"`{fault}`" in description(CaseScore, "status") for fault in FAULTS)
    assert all(f"`{kind}`" in description(LesionScore, "kind") for kind in LESION_KINDS)
    assert all(f"`{name}`" in description(LesionScore, "radius_bin") for name in RADIUS_BINS)


def test_a_schema_says_all_that_is_declared():
    (radius,) = (column for column in columns_of(Tumor) if column["name"] == "radius_mm")
    assert (radius["type"], radius["unit"], radius["origin"]) == ("number", "mm", "drawn")
    assert radius["constraints"] == {"required": True, "minimum": 0.001, "maximum": 100}
    assert description(Tumor, "eta") == "eta, coarseness of the noise grid (Eq. 3, Table 1)"
    (kind,) = (column for column in columns_of(LesionScore) if column["name"] == "kind")
    assert kind["constraints"] == {"required": True, "enum": list(LESION_KINDS)}


def test_a_schema_has_the_default_of_a_column_that_may_be_missing():
    defaults = {column["name"]: column["default"] for column in columns_of(Plan, Tumor) if "default" in column}
    assert defaults.items() >= {"notes": "", "texture_model": "paper", "turn_deg": 0.0}.items()
    assert not any("default" in column for column in columns_of(CaseScore, LesionScore))


def test_what_is_checked_in_is_current(tmp_path):
    page = (MANIFESTS / "README.md").read_text()
    (tmp_path / "README.md").write_text(re.sub(r"^\|.*\n", "", page, flags=re.MULTILINE))
    write_schemas(tmp_path)
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


@pytest.mark.parametrize("recipe", sorted((MANIFESTS / "recipes").glob("*.toml")), ids=lambda p: p.stem)
def test_recipes_load(recipe):
    load_settings(recipe)
