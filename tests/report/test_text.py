"""Values as text."""

import pytest

from woolgather.report.text import (
    as_estimate,
    between,
    cell,
    duration,
    flatten,
    number,
    places_of,
    visible,
    when,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1234567, "1,234,567"), (-3, "−3"), (0.5, "0.5"), (0.1234, "0.123"),
        (15.6, "15.6"), (431.26, "431.3"), (2e-4, "2e−4"), (1.5e-5, "1.5e−5"),
        (float("nan"), "–"), (1e20, "1e20"),
    ],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (True, "yes"), (False, "no"), ([1, 2.5, None], "1, 2.5, –"), ({}, "{}"),
        ({"value": 0.3, "low": 0.25, "high": None}, "0.30 [0.25, –]"),
        ({"value": 0.31, "low": 0.282, "high": 0.338, "error": 0.01, "count": 300},
         "0.310 [0.282, 0.338]"),
        ({"value": 12.5, "low": 9.125, "high": 15}, "12.5 [9.125, 15]"),
        ("a\x1b[0m", "a\u241b[0m"), ({"a": [{}]}, '{"a": [{}]}'),
    ],
)  # fmt: skip
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text


def test_a_written_interval_is_read_and_shown_as_written() -> None:
    found = as_estimate("-1.0 [−2.5, +0.50]")
    assert (found["value"], found["low"], found["high"]) == (-1.0, -2.5, 0.5)
    assert cell(found) == "-1.0 [−2.5, +0.50]"
    assert as_estimate("0.08 (constant)") == "0.08 (constant)"
    assert as_estimate(0.5) == 0.5


def test_a_column_has_as_many_places_as_its_finest_number() -> None:
    assert places_of([1, 2.5, None, "x", 0.125, 1e-9]) == 3
    assert cell(1, places=3) == "1.000"
    assert places_of([182, 0.869]) == 0


def test_cut_text_says_how_much_is_missing() -> None:
    assert visible("abcdef", 4) == "abcd … (2 more characters)"
    assert visible("a\ud800b\r\nc\td") == "a\ufffdb\nc\td"


def test_flatten_keeps_estimates_and_empty_parts_whole() -> None:
    value = {"a": {"b": 1, "c": {}}, "d": {"value": 1, "low": 0, "high": 2}}
    assert dict(flatten(value)) == {"a.b": 1, "a.c": {}, "d": value["d"]}


def test_times() -> None:
    assert [duration(s) for s in (None, 0.42, 59.7, 200, 3600, 18180)] == [
        "–", "0.4 s", "1 min", "3 min 20 s", "1 h", "5 h 3 min",
    ]  # fmt: skip
    assert when("2025-03-01T09:05:10+00:00") == "2025-03-01 09:05 UTC"
    assert when("soon") == "soon"
    assert between("2025-03-01T09:00:00+00:00", "2025-03-01T09:00:30+00:00") == 30
    assert between("2025-03-01T09:00:00+00:00", None) is None
