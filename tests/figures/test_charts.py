"""Plots of an evaluation: well-formed SVG with its numbers' places, the same bytes for the same numbers."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter

import pytest
from scored import benchmark, case, evaluation, lesion

from tumorgen.evaluation.scores import Evaluation
from tumorgen.evaluation.summary import summarize
from tumorgen.figures.charts import draw_detection, draw_dice, draw_differences, draw_robustness

CASES = [case(f"c{n}", found=(n % 3, 0), tumor_dsc=n / 10) for n in range(10)]
FOUND = evaluation(
    *CASES, lesions=tuple(lesion(c, radius, detected_any=radius > 5) for c in CASES for radius in (3, 7, 15, 30))
)
OTHER = evaluation(*(case(c.case, tumor_dsc=0.4) for c in CASES))
LEVELS = benchmark({("size", "2"): 0.1, ("size", "8"): 0.9, ("texture", "1"): 0.3}, healthy=0.8)
PLOTS = {
    "radius": lambda: draw_detection(summarize(FOUND)),
    "dice": lambda: draw_dice(FOUND, OTHER),
    "differences": lambda: draw_differences(FOUND, OTHER),
    "robustness": lambda: draw_robustness(LEVELS),
}


def texts(svg: str) -> list[str]:
    return [
        " ".join("".join(e.itertext()).split()) for e in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    ]


@pytest.mark.parametrize("name", PLOTS)
def test_is_an_svg_that_depends_on_its_numbers_alone(name):
    svg = PLOTS[name]()
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert svg == PLOTS[name]()
    assert "<script" not in svg
    assert "http://" not in svg.replace("http://www.w3.org/", "")


def test_ids_of_two_plots_in_a_page_are_not_the_same():
    ids = Counter(e.get("id") for plot in PLOTS.values() for e in ET.fromstring(plot()).iter() if e.get("id"))
    shared = {name for name, count in ids.items() if count > 1}
    assert not shared


def test_every_bin_of_radii_is_named_with_its_count():
    found = texts(PLOTS["radius"]())
    for radius in ("<5 mm", "5-10 mm", "10-20 mm", ">20 mm"):
        assert any(radius in text for text in found)
    assert sum("n = 10" in text for text in found) == 4
    assert "any overlap" in found


def test_each_model_has_its_boxes():
    both = texts(PLOTS["dice"]())
    assert {"liver", "tumour"} <= set(both)
    assert both.count("this") == both.count("other") == 2
    named = texts(draw_dice(FOUND, OTHER, ("$new$", "old")))
    assert named.count("$new$") == named.count("old") == 2
    assert {"$new$", "minus old"} <= set(texts(draw_differences(FOUND, OTHER, ("$new$", "old"))))
    alone = texts(draw_dice(FOUND))
    assert {"liver", "tumour"} <= set(alone)
    assert not any("other" in text for text in alone)


def test_the_differences_are_of_cases_that_both_have():
    fewer = evaluation(*OTHER.cases[:4])
    assert any("4 cases" in text for text in texts(draw_differences(FOUND, fewer)))


def test_a_panel_for_each_dimension_and_one_for_the_control():
    found = texts(PLOTS["robustness"]())
    assert {"size", "texture", "control", "healthy", "2", "8"} <= set(found)
    assert {
        "scans without tumour",
        "specificity",
        "fails: lesions found, or specificity, below 0.5",
        "radius, mm",
    } <= set(found)
    without = texts(draw_robustness(benchmark({("size", "2"): 0.1})))
    assert "control" not in without


@pytest.mark.parametrize(
    "name", ["$\\frac$", "</text><script>alert(1)</script>", "url(#a) #1b1f24", "$x$", "_", "z" * 99]
)
def test_names_of_levels_are_drawn_as_they_are(name):
    """Dollars are no formula, markup is text, and what looks like an id or a colour stays."""
    svg = draw_robustness(benchmark({(name, name): 0.1, ("size", "2"): 0.1}))
    shown = name if len(name) <= 40 else name[:39] + "\u2026"
    assert texts(svg).count(shown) == 2  # title and tick
    assert "<script" not in svg


def test_the_livers_axis_begins_below_its_values():
    close = evaluation(*(case(f"c{n}", liver_dsc=0.95 + n / 1000) for n in range(10)))
    shown = texts(draw_dice(close))
    assert "0.90" in shown
    assert "0.80" not in shown
    assert texts(draw_dice(evaluation(case("a", liver_dsc=0.2)))).count("0.0") == 2


def test_axes_have_the_pages_colours():
    for plot in PLOTS.values():
        svg = plot()
        assert "var(--ink, #1b1f24)" in svg
        assert svg.count("#1b1f24") == svg.count("var(--ink, #1b1f24)")
        assert "#000000" not in svg


def test_nothing_to_draw_is_drawn_too():
    nothing = Evaluation((), ())
    for svg in (draw_detection(summarize(nothing)), draw_dice(nothing), draw_differences(nothing, nothing)):
        assert ET.fromstring(svg) is not None
