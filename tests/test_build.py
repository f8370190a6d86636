"""Names and keywords to objects, and the words of the errors."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molflow.build import UserError, build, coerce, from_mapping, unknown


@dataclasses.dataclass
class Shape:
    sides: int
    name: Literal["flat", "round"] = "flat"
    colours: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Drawing:
    shape: Shape | None = None
    scale: float = 1.0
    corners: tuple[float, float] = (0.0, 1.0)
    labels: dict[str, int] = dataclasses.field(default_factory=dict)


class Plain:
    def __init__(self, size: int, wide: bool = False):
        self.size, self.wide = size, wide


CHOICES = {"plain": Plain, "shape": Shape}


def test_a_name_or_a_mapping_builds():
    assert build("thing", CHOICES, {"name": "plain", "size": "3", "wide": "true"}).__dict__ == {"size": 3, "wide": True}
    assert build("thing", CHOICES, "plain", size=4, unused=5).size == 4  # given by the program; takes those it names
    assert build("path", {"posix": "pathlib:PurePosixPath"}, "posix") is not None  # imported when it is built


@pytest.mark.parametrize(
    ("spec", "given", "message"),
    [
        ("plane", {}, "unknown thing 'plane' (did you mean 'plain'?); choose from plain, shape"),
        ({"name": "plain"}, {}, "thing 'plain' needs size"),
        ({"name": "plain", "size": 1, "sise": 2}, {}, "unknown key of thing 'plain' 'sise' (did you mean 'size'?)"),
        ({"name": "plain", "size": 1.5}, {}, "thing 'plain': size: expected int, not 1.5"),
        ({"name": "plain", "size": 1}, {"size": 2}, "'size' is set by the program"),
        ({"size": 1}, {}, "expected a name, or a mapping with 'name'"),
        ({"name": ["plain"]}, {}, "unknown thing ['plain']"),
        (7, {}, "expected a name, or a mapping with 'name'"),
    ],
)
def test_mistakes_are_named_with_the_choices(spec, given, message):
    with pytest.raises(UserError) as caught:
        build("thing", CHOICES, spec, **given)
    assert message in str(caught.value)


def test_nested_mappings_become_dataclasses():
    drawing = from_mapping(
        Drawing, {"shape": {"sides": 3, "colours": ["red"]}, "corners": [1, "2"], "labels": {"a": "1"}}
    )
    assert drawing == Drawing(Shape(3, "flat", ["red"]), 1.0, (1.0, 2.0), {"a": 1})
    assert from_mapping(Drawing, None) == Drawing()
    assert from_mapping(Drawing, {"shape": None}).shape is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"shape": {"sides": 3, "colour": "red"}}, "unknown key of the configuration: shape 'colour'"),
        ({"shape": {"sides": 3, "name": "square"}}, "unknown value for the configuration: shape: name 'square'"),
        ({"shape": {"sides": 3, "colours": ["red", 1]}}, "colours[1]: expected str, not 1"),
        ({"corners": [1, 2, 3]}, "corners: expected tuple[float, float], not [1, 2, 3]"),
        ({"labels": {"a": "x"}}, "labels.a: expected int, not 'x'"),
        ({"scale": "big"}, "scale: expected float, not 'big'"),
        ([], "expected keys and values, not []"),
    ],
)
def test_mistakes_say_where_they_are(values, message):
    with pytest.raises(UserError) as caught:
        from_mapping(Drawing, values)
    assert message in str(caught.value)


@given(st.integers(-(10**15), 10**15))
def test_whole_numbers_survive_every_spelling(number):
    for spelling in (number, str(number), float(number)):
        assert coerce(spelling, int, "x") == number
    assert coerce(str(number), float, "x") == number


@given(st.floats(allow_nan=False))
def test_floats_survive_their_text(number):
    assert coerce(repr(number), float, "x") == number


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ("1e-3", float, 1e-3),
        ("1e3", int, 1000),
        ("False", bool, False),
        ("none", str, "none"),
        (None, int | None, None),
        ("5", int | str, 5),
        ("five", int | str, "five"),
        ("2", Literal[1, 2], 2),
        ([1, 2], tuple[int, ...], (1, 2)),
        ([], list[int], []),
        ("a/b", Path, Path("a/b")),
        ({"a": 1}, Any, {"a": 1}),
    ],
)
def test_values_take_the_annotated_type(value, hint, expected):
    found = coerce(value, hint, "x")
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (True, int),
        (1, bool),
        ("yes", bool),
        (math.inf, int),
        (math.nan, int),
        ("inf", int),
        (None, int),
        ("ab", list[str]),
    ],
)
def test_values_of_another_type_are_refused(value, hint):
    with pytest.raises(UserError, match="x: expected"):
        coerce(value, hint, "x")


def test_an_unknown_name_without_choices():
    assert str(unknown("path", "x", [])) == "unknown path 'x'; choose from nothing"
