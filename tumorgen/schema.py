"""What every column of the manifest means: the one source of the schemas in `manifests/` and of `manifests/README.md`.

Types and order come from the dataclasses; a test holds that no column is without a description.
"""

from __future__ import annotations

import json
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from .evaluation.scores import CaseScore, LesionScore
from .method.patch import Outcome
from .method.plan import DOMAINS, Plan, Tumor
from .tables.manifest import Dial, Files
from .tables.scans import ScanRow

DRAWN, MEASURED = "drawn", "measured"

# column: (unit, meaning); the symbol is the paper's (Hu et al., CVPR 2023)
_SAMPLE: Mapping[str, tuple[str, str]] = {
    "sample": ("", "name of the sample, `<case>_v<variant>`; its files are named after it"),
    "case": ("", "name of the scan"),
    "variant": ("", "number of the sample among those of its scan, from 0"),
    "pattern": ("", "`classes`, `single`, `multifocal` or `satellite`"),
    "size_class": ("", "size class of the sample: a row of the size table, or `mix`; of a benchmark, the dimension"),
    "seed": ("", "seed of the run; with case and variant it decides every draw"),
    "source_image_sha256": ("", "SHA-256 of the healthy scan's voxels and geometry; another image is refused"),
    "source_mask_sha256": ("", "SHA-256 of the liver mask's voxels and geometry"),
    "shape_z": ("voxels", "size of the scan along z"),
    "shape_y": ("voxels", "size of the scan along y"),
    "shape_x": ("voxels", "size of the scan along x"),
    "spacing_z_mm": ("mm", "spacing of the scan along z"),
    "spacing_y_mm": ("mm", "spacing of the scan along y"),
    "spacing_x_mm": ("mm", "spacing of the scan along x"),
    "mu_p_hu": ("HU", "mu_p, mean of the parenchyma"),
    "sigma_p_hu": ("HU", "sigma_p, standard deviation of the parenchyma; the noise that the mass effect keeps"),
    "sigma_a": (
        "mm",
        "sigma_a, width of the filter that finds vessels (Eq. 1); along no axis less than as many voxels",
    ),
    "mu_t_low_hu": ("HU", "lower end of what mu_t was drawn from"),
    "mu_t_high_hu": ("HU", "upper end of what mu_t was drawn from"),
    "vessels_avoided": ("", "whether locations were drawn clear of vessels"),
    "vessel_offset_hu": ("HU", "b of Eq. 2: vessels are brighter than the liver's mean by this"),
    "sigma_a_base": ("mm", "constant term of sigma_a (Table 1)"),
    "sigma_a_per_hu": ("mm/HU", "factor of sigma_p in sigma_a (Table 1)"),
    "tumors_requested": ("", "number of tumours drawn"),
    "notes": (
        "",
        "what departed from the settings, in words: `mu_t_lowered` (Table 1's interval was empty),"
        " `vessels_unavoidable` (no place clear of vessels), `fewer_placed` (no room for every tumour)",
    ),
}
_FILES: Mapping[str, tuple[str, str]] = {
    "tumors_placed": ("", "number of tumours in the sample"),
    "tumor_volume_mm3": ("mm3", "volume of all its tumours"),
    "source_image": ("", "the healthy scan's file"),
    "source_mask": ("", "the liver mask's file"),
    "image_file": ("", "image of the sample, relative to the dataset's folder"),
    "label_file": ("", "label of the sample, relative to the dataset's folder"),
    "image_sha256": ("", "SHA-256 of the image's file"),
    "label_sha256": ("", "SHA-256 of the label's file"),
    "tumorgen_version": ("", "version of tumorgen that rendered it"),
    "numpy_version": ("", "version of numpy; the same bits are promised for the same versions"),
    "scipy_version": ("", "version of scipy"),
}
_DIAL: Mapping[str, tuple[str, str]] = {
    "dimension": (
        "",
        "what was dialled: `location`, `size`, `shape`, `intensity`, `texture`, or `control`; in a manifest of"
        " `tumorgen worst` also `size_class`",
    ),
    "level": (
        "",
        "how far: a region of the liver, r in mm, sigma_e in mm, mu_t - mu_p in HU, eta, or `healthy`; in a manifest of"
        " `tumorgen worst` the level that the sample was drawn around",
    ),
}
_TUMOR: Mapping[str, tuple[str, str]] = {
    "size_class": ("", "row of the size table that it was drawn from; of a benchmark, the dimension"),
    "center_x_mm": ("mm", "centre in space, LPS (3D Slicer shows RAS: negate x and y); rendering reads this"),
    "center_y_mm": ("mm", "as above"),
    "center_z_mm": ("mm", "as above"),
    "radius_mm": ("mm", "r"),
    "half_axis_z_mm": ("mm", "half-axis of the ellipsoid along the image's z, U(0.75 r, 1.25 r)"),
    "half_axis_y_mm": ("mm", "the same along y"),
    "half_axis_x_mm": ("mm", "the same along x"),
    "sigma_e_mm": ("mm", "sigma_e, standard deviation of the elastic displacement at its control points; 0: ellipsoid"),
    "deform_points": ("", "control points per axis, over 4 r; odd, the middle one stays in place"),
    "shape_seed": ("", "seed of the displacement"),
    "mu_t_hu": ("HU", "mu_t, mean of the texture"),
    "sigma_t_hu": ("HU", "standard deviation of the texture (sigma_p)"),
    "eta": ("voxels", "eta, coarseness of the noise grid (Eq. 3)"),
    "sigma_b_mm": ("mm", "sigma_b, blur of the texture (Eq. 3)"),
    "texture_seed": ("", "seed of the noise"),
    "sigma_c_mm": ("mm", "sigma_c, blur of the edge, t' to t''; 0: hard edge"),
    "mass_effect_percent": ("%", "I of Eq. 5; 0: no mass effect"),
    "gamma_max_mm": ("mm", "gamma_max, reach of the mass effect (Eq. 5)"),
    "capsule_low": ("", "lb of Eq. 6"),
    "capsule_high": ("", "ub of Eq. 6"),
    "capsule_hu": ("HU", "d of Eq. 8; 0: no capsule"),
    "sigma_d_mm": ("mm", "sigma_d, blur of the capsule (Eq. 7)"),
}
_OUTCOME: Mapping[str, tuple[str, str]] = {
    "center_z_voxel": ("voxels", "voxel that the centre lies in; measured, not read by rendering"),
    "center_y_voxel": ("voxels", "as above"),
    "center_x_voxel": ("voxels", "as above"),
    "volume_mm3": ("mm3", "volume of the voxels that it labels tumour"),
    "equivalent_radius_mm": ("mm", "radius of the sphere of that volume"),
    "mean_hu": ("HU", "mean of the image in them; `nan` where there is none"),
    "sd_hu": ("HU", "standard deviation of the image in them"),
    "contrast_hu": ("HU", "mean_hu - mu_p"),
    "vessel_overlap": ("", "fraction of them that is vessel in the healthy scan"),
    "clipped_fraction": ("", "fraction of the tumour that the edge of the liver or of the scan cut off"),
    "box_z0": ("voxels", "box of voxels that it may have changed, half-open"),
    "box_z1": ("voxels", "as above"),
    "box_y0": ("voxels", "as above"),
    "box_y1": ("voxels", "as above"),
    "box_x0": ("voxels", "as above"),
    "box_x1": ("voxels", "as above"),
}
_SCAN: Mapping[str, tuple[str, str]] = {
    "case": ("", "name of the scan"),
    "image": ("", "file of the CT"),
    "mask": ("", "file of its liver mask; empty where there is none"),
    "shape_z": ("voxels", "size of the scan along z"),
    "shape_y": ("voxels", "size of the scan along y"),
    "shape_x": ("voxels", "size of the scan along x"),
    "spacing_z_mm": ("mm", "spacing of the scan along z"),
    "spacing_y_mm": ("mm", "spacing of the scan along y"),
    "spacing_x_mm": ("mm", "spacing of the scan along x"),
    "liver_ml": ("ml", "volume of the liver"),
    "hu_mean": ("HU", "mean of the CT in it"),
    "hu_sd": ("HU", "standard deviation of the CT in it"),
    "status": ("", "`ok`; `check`: something looks wrong; `failed`: no liver to use"),
    "flags": (
        "",
        "what looks wrong, separated by semicolons: `empty`, `volume_low` (under 500 ml), `volume_high` (over 4000 ml),"
        " `hu_low`, `hu_high`, `cut_by_edge`, `pieces_dropped`; of a DICOM series `copied_slices` (files twice),"
        " `damaged_beside` (damaged files in its folder), `derived` (not an original), `lossy` (compressed with loss),"
        " `no_uid` (its UID was taken out)",
    ),
    "reason": ("", "the same in a sentence, or why it failed"),
    "source": (
        "",
        "of a DICOM series, 16 digits of the SHA-256 of its UID (of its folder, if it has none); else empty",
    ),
}
_EVALUATED: Mapping[str, tuple[str, str]] = {
    "case": ("", "name of the label file, without its ending"),
    "patient": ("", "who is resampled as one: `case` of the manifest where it lists the file, else the file's name"),
    "dimension": ("", "what the robustness benchmark has dialled, from the manifest; empty where there is none"),
    "level": ("", "how far; `healthy` for the control"),
}
_CASE: Mapping[str, tuple[str, str]] = {
    **_EVALUATED,
    "status": (
        "",
        "`scored`, or the fault: `missing_prediction`, `extra_prediction`, `other_geometry`, `unknown_labels`,"
        " `unreadable`; a case with a fault has no scores",
    ),
    "reason": ("", "what is wrong, in a sentence"),
    "reference_file": ("", "file of the reference, as given"),
    "prediction_file": ("", "file of the prediction, as given"),
    "liver_dsc": ("", "Dice of the liver, tumours included; `nan` where both masks are empty"),
    "liver_nsd": ("", "normalised surface distance of the liver at the tolerance; `nan` as above"),
    "tumor_dsc": ("", "Dice of the tumour; `nan` as above"),
    "tumor_nsd": ("", "normalised surface distance of the tumour; `nan` as above"),
    "reference_tumor_mm3": ("mm3", "volume of the reference's tumour"),
    "predicted_tumor_mm3": ("mm3", "volume of the predicted tumour"),
    "lesions": ("", "lesions of the reference: components of 26 neighbours"),
    "detected_any": ("", "how many of them a predicted tumour voxel lies in"),
    "detected_iou": ("", "how many of them are matched with an intersection over union above 0.5"),
    "false_positives": ("", "predicted lesions that overlap none of the reference"),
}
_LESION: Mapping[str, tuple[str, str]] = {
    **_EVALUATED,
    "kind": ("", "`reference`, or `false_positive`: predicted where the reference has none"),
    "lesion": ("", "number within the case and the kind, from 1"),
    "volume_mm3": ("mm3", "its volume"),
    "radius_mm": ("mm", "radius of the sphere of that volume"),
    "radius_bin": ("mm", "`<5`, `5-10`, `10-20` or `>20`; 5 and 10 begin a bin, 20 ends one"),
    "center_x_mm": ("mm", "mean of its voxels in space, LPS"),
    "center_y_mm": ("mm", "as above"),
    "center_z_mm": ("mm", "as above"),
    "detected_any": ("", "a predicted tumour voxel lies in it"),
    "detected_iou": ("", "matched with an intersection over union above 0.5"),
    "iou": ("", "that intersection over union; 0 where nothing is matched to it"),
    "dsc": ("", "Dice of the same match"),
}
_JSON_TYPES: Mapping[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}

Column = dict[str, Any]


def sample_columns() -> list[Column]:
    """Fields of `manifest.csv`, in Frictionless Table Schema's terms."""
    return [*_describe(Plan, _SAMPLE, DRAWN), *_describe(Files, _FILES, MEASURED)]


def benchmark_columns() -> list[Column]:
    """Fields that the `manifest.csv` of a benchmark has at its end, in Frictionless Table Schema's terms."""
    return list(_describe(Dial, _DIAL, DRAWN))


def tumor_columns() -> list[Column]:
    """Fields of `tumors.csv`, in Frictionless Table Schema's terms."""
    key: list[Column] = [
        {"name": "sample", "type": "string", "description": "the sample", "origin": DRAWN},
        {"name": "tumor", "type": "integer", "description": "number of the tumour in it, from 0", "origin": DRAWN},
    ]
    return [*key, *_describe(Tumor, _TUMOR, DRAWN), *_describe(Outcome, _OUTCOME, MEASURED)]


def scan_columns() -> list[Column]:
    """Fields of `manifests/scans.csv`, in Frictionless Table Schema's terms."""
    return list(_describe(ScanRow, _SCAN, MEASURED))


def case_columns() -> list[Column]:
    """Fields of an evaluation's `cases.csv`, in Frictionless Table Schema's terms."""
    return list(_describe(CaseScore, _CASE, MEASURED))


def lesion_columns() -> list[Column]:
    """Fields of an evaluation's `lesions.csv`, in Frictionless Table Schema's terms."""
    return list(_describe(LesionScore, _LESION, MEASURED))


def _describe(kind: type, meanings: Mapping[str, tuple[str, str]], origin: str) -> Iterable[Column]:
    hints = typing.get_type_hints(kind)
    for field in fields(kind):
        if field.name == "tumors":
            continue
        unit, meaning = meanings[field.name]
        hint = hints[field.name]
        kind_of_cell = next(t for t in (typing.get_args(hint) or (hint,)) if t in _JSON_TYPES)
        column: Column = {"name": field.name, "type": _JSON_TYPES[kind_of_cell], "description": meaning}
        if unit:
            column["unit"] = unit
        if origin == DRAWN and field.name in DOMAINS:
            low, high = DOMAINS[field.name]
            column["constraints"] = {"required": True, "minimum": low, "maximum": high}
        column["origin"] = origin
        yield column


def sample_schema() -> dict[str, Any]:
    """Table Schema of `manifest.csv`."""
    return {"fields": sample_columns(), "primaryKey": ["sample"]}


def benchmark_schema() -> dict[str, Any]:
    """Table Schema of a benchmark's `manifest.csv`."""
    return {"fields": [*sample_columns(), *benchmark_columns()], "primaryKey": ["sample"]}


def tumor_schema() -> dict[str, Any]:
    """Table Schema of `tumors.csv`; its `sample` refers to `manifest.csv`."""
    reference = {"fields": ["sample"], "reference": {"resource": "manifest", "fields": ["sample"]}}
    return {"fields": tumor_columns(), "primaryKey": ["sample", "tumor"], "foreignKeys": [reference]}


def scan_schema() -> dict[str, Any]:
    """Table Schema of `scans.csv`."""
    return {"fields": scan_columns(), "primaryKey": ["case"]}


def case_schema() -> dict[str, Any]:
    """Table Schema of `cases.csv`."""
    return {"fields": case_columns(), "primaryKey": ["case"]}


def lesion_schema() -> dict[str, Any]:
    """Table Schema of `lesions.csv`; its `case` refers to `cases.csv`."""
    reference = {"fields": ["case"], "reference": {"resource": "cases", "fields": ["case"]}}
    return {"fields": lesion_columns(), "primaryKey": ["case", "kind", "lesion"], "foreignKeys": [reference]}


_SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "scans": scan_schema,
    "manifest": sample_schema,
    "benchmark": benchmark_schema,
    "tumors": tumor_schema,
    "cases": case_schema,
    "lesions": lesion_schema,
}


def dictionary(columns: Iterable[Column]) -> str:
    """Columns as a Markdown table."""
    lines = ["| column | type | unit | | meaning |", "|---|---|---|---|---|"]
    for c in columns:
        lines.append(f"| `{c['name']}` | {c['type']} | {c.get('unit', '')} | {c['origin']} | {c['description']} |")
    return "\n".join(lines)


_README = """# manifests/

Runs write tables here that record what they drew: `scans.csv`, `DatasetXXX_Name.csv`, `DatasetXXX_Name.tumors.csv`. Git
ignores these tables in this folder; keep them under version control elsewhere. Only this dictionary, the schemas and
`recipes/` are checked in.

Every dataset has two tables, in its own folder and as copies here: `manifest.csv`, a row per sample, and `tumors.csv`,
a row per tumour. `tumorgen replay` renders them again. It reads only the columns marked *drawn*, so you may edit a row
by hand: move the tumour (`center_*_mm`), make it darker (`mu_t_hu`). Columns marked *measured* record the result;
they may be empty. Numbers have a decimal point, truth values are `true` and `false`. Read the tables with the
schemas, or as text: without them pandas turns a case `001` into 1.0. A text that a spreadsheet would take for a formula
has an apostrophe in front, which tumorgen removes when it reads the table.

The schemas are [Frictionless Table Schemas](https://specs.frictionlessdata.io/table-schema/):
`scans.schema.json`, `manifest.schema.json`, `tumors.schema.json`; `cases.schema.json` and `lesions.schema.json` for
evaluations; `benchmark.schema.json` for the `manifest.csv` of a benchmark. `make schema` writes this page and the
schemas.

## Scans: `scans.csv`, from `tumorgen liver-mask`

{scans}

## Samples: `manifest.csv`

{samples}

The manifests of the robustness benchmark and of `tumorgen worst` have two more columns at the end:

{benchmark}

## Tumours: `tumors.csv`

{tumors}

## Evaluated cases: `cases.csv`, from `tumorgen evaluate`

{cases}

## Evaluated lesions: `lesions.csv`

{lesions}
"""


def write_schemas(folder: Path) -> None:
    """Write the schemas and the dictionary of columns into a folder."""
    for name, schema in _SCHEMAS.items():
        text = json.dumps(schema(), indent=2, ensure_ascii=False)
        (folder / f"{name}.schema.json").write_text(text + "\n", encoding="utf-8")
    tables = {"scans": scan_columns(), "samples": sample_columns(), "tumors": tumor_columns()}
    tables |= {"benchmark": benchmark_columns(), "cases": case_columns(), "lesions": lesion_columns()}
    readme = _README.format(**{name: dictionary(columns) for name, columns in tables.items()})
    (folder / "README.md").write_text(readme, encoding="utf-8")


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
