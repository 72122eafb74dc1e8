"""What `make schema` writes: a schema for each table, and the dictionary of columns in `manifests/README.md`.

All of it stands in the declarations of the records that rows are made of (`fields`).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any

from .evaluation.scores import CaseScore, LesionScore
from .fields import FINITE, Field, column_fields
from .method.patch import Outcome
from .method.plan import Plan, Tumor
from .tables.hosts import HostRow
from .tables.manifest import Dial, Files, TumorKey
from .tables.scans import ScanRow

Column = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the records that a row is made of, the columns that name a row, and the one that names another's."""

    records: tuple[type, ...]
    key: tuple[str, ...]
    refers: tuple[str, str] | None = None  # column, and the table whose key it is


TABLES: Mapping[str, Table] = {
    "scans": Table((ScanRow,), ("case",)),
    "hosts": Table((HostRow,), ("case",)),
    "manifest": Table((Plan, Files), ("sample",)),
    "benchmark": Table((Plan, Files, Dial), ("sample",)),
    "tumors": Table((TumorKey, Tumor, Outcome), ("sample", "tumor"), ("sample", "manifest")),
    "cases": Table((CaseScore,), ("case",)),
    "lesions": Table((LesionScore,), ("case", "kind", "lesion"), ("case", "cases")),
}
_RECORDS = {record.__name__: record for table in TABLES.values() for record in table.records}
_DRAWN = (Plan, Dial, TumorKey, Tumor)  # the others are measured
_WHOLE = (CaseScore, LesionScore)  # of tables that are read only with all of their columns
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def columns_of(*records: type) -> list[Column]:
    """Columns of records, in Frictionless Table Schema's terms."""
    return [_column(record, field) for record in records for field in column_fields(record)]


def _column(record: type, field: Field) -> Column:
    about = field.about
    column: Column = {"name": field.name, "type": _JSON_TYPES[field.kind], "description": about.text}
    if field.default is not MISSING and record not in _WHOLE:
        column["default"] = field.default
    if about.unit:
        column["unit"] = about.unit
    if about.low is not None and (about.low, about.high) != FINITE:
        column["constraints"] = {"required": True, "minimum": about.low, "maximum": about.high}
    if about.choices:
        column["constraints"] = {"required": True, "enum": list(about.choices)}
    column["origin"] = "drawn" if record in _DRAWN else "measured"
    return column


def schema_of(name: str) -> dict[str, Any]:
    """Frictionless Table Schema of a table."""
    table = TABLES[name]
    schema: dict[str, Any] = {"fields": columns_of(*table.records), "primaryKey": list(table.key)}
    if table.refers:
        column, other = table.refers
        reference = {"fields": [column], "reference": {"resource": other, "fields": [column]}}
        schema["foreignKeys"] = [reference]
    return schema


def dictionary(columns: Iterable[Column]) -> str:
    """Columns as a Markdown table."""
    lines = ["| column | type | unit | | default | meaning |", "|---|---|---|---|---|---|"]
    for c in columns:
        default = (c["default"] or "empty") if "default" in c else ""
        cells = (f"`{c['name']}`", c["type"], c.get("unit", ""), c["origin"], default, c["description"])
        lines.append(f"| {' | '.join(cells)} |")
    return "".join(f"{line}\n" for line in lines)


def with_dictionaries(page: str) -> str:
    """A page in which the table below each `<!-- columns: Plan, Files -->` is that of these records."""

    def renewed(found: re.Match[str]) -> str:
        records = (_RECORDS[name] for name in found["records"].split(", "))
        return f"{found['marker']}{dictionary(columns_of(*records))}"

    return re.sub(r"(?P<marker><!-- columns: (?P<records>[\w, ]+) -->\n\n)(\|.*\n)*", renewed, page)


def write_schemas(folder: Path) -> None:
    """Write the schemas into a folder, and the dictionary of columns into its `README.md`."""
    for name in TABLES:
        text = json.dumps(schema_of(name), indent=2, ensure_ascii=False)
        (folder / f"{name}.schema.json").write_text(text + "\n", encoding="utf-8")
    readme = folder / "README.md"
    readme.write_text(with_dictionaries(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
