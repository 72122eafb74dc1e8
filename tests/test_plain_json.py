"""The text of JSON files of what is found."""

from __future__ import annotations

import json
import math

import pytest

from tumorgen.plain_json import json_text


def test_what_is_not_finite_is_null_however_deep_it_lies():
    found = {"a": math.nan, "b": (1.5, math.inf), "c": {"d": [-math.inf, "nan", 0]}}
    assert json.loads(json_text(found)) == {"a": None, "b": [1.5, None], "c": {"d": [None, "nan", 0]}}


def test_letters_stay_as_they_are_and_a_newline_ends_the_text():
    assert json_text({"ä": True}) == '{\n  "ä": true\n}\n'


def test_what_json_does_not_know_is_refused():
    with pytest.raises(TypeError):
        json_text({"a": {1, 2}})
