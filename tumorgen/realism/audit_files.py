"""What an audit leaves behind: `audit.json`, tables, figures, contact sheets, and one page that holds them all."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ..errors import TumorgenError
from ..evaluation import RADIUS_BINS
from ..fields import columns
from ..figures import page_environment, save_figure, svg_of
from ..imaging import whole_file
from ..plain_json import json_text
from ..seeds import stable_rng
from ..tables import cells_of, write_records, write_table
from .appearance import PROFILE_MM, Appearance
from .audit_charts import draw_histograms, draw_profiles
from .audit_sheets import KeyRow, choose_pairs, draw_pairs, shuffle_pairs
from .auditing import Audit
from .comparing import (
    ALL,
    APPEARANCE,
    LEAST_LESIONS,
    SCANS,
    SHAPE,
    SHARE_NAMES,
    STATISTIC_NAMES,
    Comparison,
    ShareComparison,
)
from .measuring import LesionPlace, MeasuredScan, MeasuredSet
from .scans import LAYOUTS
from .shapes import LesionShape, TumorBurden
from .telling import Giveaway

AUDIT_PAGE, RECORD = "audit.html", "audit.json"
PAIRS, BLIND, BLIND_KEY = "pairs.png", "blind.png", "blind_key.csv"
MARKS = {
    AUDIT_PAGE: ("<title>Audit", "tumorgen"),
    RECORD: ("tumorgen_version", "within_scans"),
    **dict.fromkeys((PAIRS, BLIND, "profiles.png", "histograms.png"), ("tumorgen",)),
    BLIND_KEY: ("pair", "side", "set"),
    "comparison.csv": ("synthetic_median",),
    "shares.csv": ("synthetic_from",),
    "giveaways.csv": ("importance", "alone"),
    "lesions.csv": ("set", "host", "radius_bin"),
    "profiles.csv": ("set", "scan", "lesion"),
    "scans.csv": ("set", "scan", "host"),
}
_DPI = 130


def write_audit(audit: Audit, real: MeasuredSet, synthetic: MeasuredSet, output: Path) -> None:
    """Write an audit of two measured sets into a folder; each file appears whole or not at all.

    Raises
    ------
    TumorgenError
        The folder cannot be written to, or is one of cases, which may hold nothing else.
    """
    refuse_case_folder(output)
    _write_record(audit, output / RECORD)
    _write_tables(audit, real, synthetic, output)
    figures = {"profiles": draw_profiles, "histograms": draw_histograms}
    for name, draw in figures.items():
        _save_plot(draw(real, synthetic), output / f"{name}.png")
    pairs = choose_pairs(real, synthetic)
    if pairs:
        shuffled, key = shuffle_pairs(pairs, stable_rng(audit.seed, "blind"))
        save_figure(draw_pairs(pairs, blind=False), output / PAIRS)
        save_figure(draw_pairs(shuffled, blind=True), output / BLIND)
        write_records(output / BLIND_KEY, KeyRow, key)
    plots = {name: svg_of(draw(real, synthetic), name) for name, draw in figures.items()}
    _write_page(audit, plots, output / PAIRS if pairs else None, output / AUDIT_PAGE)


def refuse_case_folder(output: Path) -> None:
    """Refuse to write into a folder in which nnU-Net and this audit take every file for a case.

    Raises
    ------
    TumorgenError
        It is called as such folders are.
    """
    if output.resolve().name in {name for pair in LAYOUTS for name in pair}:
        raise TumorgenError(f"{output}: is a folder of cases, which may hold nothing else; choose another")


def _write_record(audit: Audit, path: Path) -> None:
    found = asdict(audit) | {"inside": audit.inside}
    with whole_file(path) as partial:
        partial.write_text(json_text(found), encoding="utf-8")


def _write_tables(audit: Audit, real: MeasuredSet, synthetic: MeasuredSet, output: Path) -> None:
    """Write what is compared, and what was measured of every lesion and scan of both sets."""
    write_records(output / "comparison.csv", Comparison, audit.comparisons)
    write_records(output / "shares.csv", ShareComparison, audit.shares)
    write_records(output / "giveaways.csv", Giveaway, (each for one in audit.verdicts for each in one.giveaways))
    lesions = [*real.lesions, *synthetic.lesions]
    kinds = (LesionPlace, LesionShape, Appearance)
    write_table(
        output / "lesions.csv",
        [name for kind in kinds for name in columns(kind)],
        (
            cells_of(LesionPlace, each.place)
            | cells_of(LesionShape, each.shape)
            | cells_of(Appearance, each.appearance)
            for each in lesions
        ),
    )
    distances = [f"{mm:g}" for mm in PROFILE_MM]
    write_table(
        output / "profiles.csv",
        ["set", "scan", "lesion", *distances],
        (
            {"set": each.place.set, "scan": each.place.scan, "lesion": str(each.place.lesion)}
            | dict(zip(distances, map(str, each.appearance.profile_hu), strict=True))
            for each in lesions
            if each.appearance.profile_hu
        ),
    )
    write_table(
        output / "scans.csv",
        ["set", "scan", "host", "patient", *columns(TumorBurden), "note"],
        (_scan_cells(found.name, each) for found in (real, synthetic) for each in found.scans),
    )


def _scan_cells(name: str, each: MeasuredScan) -> dict[str, str]:
    scan = each.scan
    named = {"set": name, "scan": scan.case, "host": scan.host, "patient": scan.patient, "note": each.note}
    return named | cells_of(TumorBurden, each.burden)


def _save_plot(figure: Figure, path: Path) -> None:
    """Write a plot as PNG, on white."""
    FigureCanvasAgg(figure)
    figure.set_facecolor("white")
    figure.set_dpi(_DPI)
    save_figure(figure, path)


def _write_page(audit: Audit, plots: dict[str, str], pairs: Path | None, path: Path) -> None:
    environment = page_environment(Path(__file__).with_name("templates"))
    environment.filters |= {"short": _short, "share": _share, "percent": _percent}
    page = environment.get_template("audit.html.j2").render(
        audit=audit,
        names=STATISTIC_NAMES,
        share_names=SHARE_NAMES,
        groups={"Intensities": tuple(APPEARANCE), "Places and shapes": tuple(SHAPE), "Scans": tuple(SCANS)},
        rows=_rows_of(audit),
        least=LEAST_LESIONS,
        all=ALL,
        radii=RADIUS_BINS,
        plots=plots,
        pairs=base64.b64encode(pairs.read_bytes()).decode() if pairs else "",
        blind=BLIND,
        blind_key=BLIND_KEY,
    )
    with whole_file(path) as partial:
        partial.write_text(page, encoding="utf-8", newline="")


def _rows_of(audit: Audit) -> Callable[[str], list[Comparison]]:
    """What gives the rows of a statistic: all sizes first, then each bin that has lesions of both sets."""

    def rows(statistic: str) -> list[Comparison]:
        chosen = [row for row in audit.comparisons if row.statistic == statistic]
        return [*chosen[-1:], *(row for row in chosen[:-1] if row.real_count or row.synthetic_count)]

    return rows


def _short(value: float) -> str:
    """A number with as many digits as tell something, a dash for nan."""
    if math.isnan(value):
        return "\N{EN DASH}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:z.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _share(value: float) -> str:
    return "\N{EN DASH}" if math.isnan(value) else f"{value:.2f}"


def _percent(value: float) -> str:
    return "\N{EN DASH}" if math.isnan(value) else f"{100 * value:.0f} %"
