"""A field is declared once: what is refused, what is built, and what is said all come from there."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Annotated

import pytest

from tumorgen.benchmark.dials import Benchmark
from tumorgen.errors import TumorgenError
from tumorgen.evaluation.scores import CaseScore, LesionScore
from tumorgen.fields import FINITE, About, check_domains, declared, find_field, from_plain, help_of, to_plain
from tumorgen.method.patch import Outcome
from tumorgen.method.plan import Plan, Tumor
from tumorgen.method.settings import INTENSITIES, PATTERNS, Settings
from tumorgen.tables.manifest import Dial, Files
from tumorgen.tables.scans import ScanRow


@dataclass(frozen=True, slots=True)
class Part:
    """A record in a record."""

    ends: Annotated[tuple[float, float], About("two ends", "mm", 0, 9)] = (1.0, 2.0)
    points: Annotated[int, About("points", "", 3, 15, odd=True, symbol="n", source="Eq. 9")] = 5


@dataclass(frozen=True, slots=True)
class Whole:
    """One field of each sort."""

    name: Annotated[str, About("a name")]
    kind: Annotated[str, About("a kind", choices=("one", "two"))] = "one"
    radius_mm: Annotated[float, About("a radius", "mm", 0.5, 100)] = 1.0
    seed: Annotated[int, About("a seed", "", 0, 2**64 - 1)] = 0
    place_mm: Annotated[float | None, About("a place", "mm", *FINITE)] = None
    score: Annotated[float, About("a score")] = math.nan
    sizes: Annotated[tuple[float, ...], About("sizes", "mm", 1, 50)] = ()
    part: Part = field(default_factory=Part)
    parts: Annotated[Mapping[str, Part], About("parts by name")] = field(default_factory=lambda: {"a": Part()})

    def __post_init__(self) -> None:
        check_domains(self)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "three"}, "unknown kind 'three'; choose from one, two"),
        ({"radius_mm": 0.4}, "radius_mm is 0.4; a value from 0.5 to 100 is needed"),
        ({"radius_mm": math.nan}, "radius_mm is nan; a value from 0.5 to 100 is needed"),
        ({"seed": 2**64}, "seed is 18446744073709551616; a value from 0 to"),
        ({"seed": -1}, "seed is -1"),
        ({"place_mm": math.inf}, "place_mm is inf; a finite number is needed"),
        ({"place_mm": math.nan}, "place_mm is nan; a finite number is needed"),
        ({"sizes": (2.0, 60.0)}, "sizes is 60.0; a value from 1 to 50 is needed"),
        ({"sizes": (2.0, 2.0)}, "sizes 2.0 is there twice"),
        ({"part": Part(ends=(2.0, 1.0))}, "part.ends is 2 to 1; an interval within 0 to 9 is needed"),
        ({"part": Part(ends=(1.0, math.nan))}, "part.ends is 1 to nan; an interval within 0 to 9 is needed"),
        ({"parts": {"b": Part(points=4)}}, "parts.b.points is 4; an odd number from 3 to 15 is needed"),
        ({"parts": {"b": Part(points=17)}}, "parts.b.points is 17; an odd number from 3 to 15 is needed"),
    ],
)
def test_a_value_outside_its_domain_is_refused_by_its_dotted_name(given, message):
    with pytest.raises(TumorgenError) as error:
        Whole("x", **given)
    assert message in str(error.value)


def test_the_ends_of_a_domain_belong_to_it_and_any_number_does_where_none_is_said():
    for given in (
        {"radius_mm": 0.5},
        {"radius_mm": 100.0},
        {"seed": 2**64 - 1},
        {"place_mm": None},
        {"score": -math.inf},
    ):
        Whole("x", **given)


def test_plain_values_become_a_record_and_back():
    whole = Whole("x", seed=7, place_mm=1.5, parts={"a": Part(), "b": Part((0.0, 9.0), 15)})
    back, bare = from_plain(Whole, to_plain(whole)), from_plain(Whole, {"name": "x"})
    assert math.isnan(back.score)
    assert math.isnan(bare.score)  # equal to nothing, from Python 3.13 on in a dataclass, too
    assert replace(back, score=0.0) == replace(whole, score=0.0)
    assert replace(bare, score=0.0) == Whole("x", score=0.0)


def test_a_record_in_a_table_keeps_what_is_not_said_of_it():
    built = from_plain(Whole, {"name": "x", "parts": {"a": {"points": 7}, "b": {}}})
    assert built.parts == {"a": Part(points=7), "b": Part()}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "name missing"),
        ({"name": 1}, "name: 1 is not of type str"),
        ({"name": "x", "part": {"end": 1}}, "unknown setting 'part.end'; choose from ends, points"),
        ({"name": "x", "seed": 10**400}, "seed: a number of 401 digits is out of any range"),
        ({"name": "x", "radius_mm": 10**400}, "radius_mm: a number of 401 digits is out of any range"),
        ({"name": "x", "radius_mm": True}, "radius_mm: True is not of type float"),
        ({"name": "x", "parts": {"a": {"points": 2.0}}}, "parts.a.points: 2.0 is not of type int"),
    ],
)
def test_what_is_no_record_gets_one_line(given, message):
    with pytest.raises(TumorgenError) as error:
        from_plain(Whole, given)
    assert message in str(error.value)


def test_help_and_choices_of_settings():
    assert help_of(Whole, "part.points") == "N, points (Eq. 9)."
    assert find_field(Settings, "pattern").about.choices == PATTERNS
    assert find_field(Settings, "intensity.model").about.choices == INTENSITIES
    assert help_of(Settings, "sizes").startswith("Size classes ")


def test_help_needs_no_numpy():
    code = (
        "import sys; from tumorgen.fields import help_of; from tumorgen.method.settings import Settings;"
        " help_of(Settings, 'sizes'); sys.exit('numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "kind", [Settings, Benchmark, Plan, Tumor, Outcome, Files, Dial, ScanRow, CaseScore, LesionScore]
)
def test_every_field_says_what_it_is(kind):
    for one in declared(kind):
        if is_dataclass(one.kind):
            test_every_field_says_what_it_is(one.kind)
        elif one.name != "tumors":
            assert one.about.meaning, f"{kind.__name__}.{one.name}"
            assert not one.about.meaning.endswith(".")
            assert "as above" not in one.about.meaning
    assert [one.name for one in declared(kind)] == [one.name for one in fields(kind)]
