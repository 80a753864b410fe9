"""Values as text."""

import pytest

from woolgather.core.intervals import Estimate
from woolgather.core.views import table_cell
from woolgather.report.text import (
    aside,
    between,
    cell,
    column,
    duration,
    flatten,
    harmless,
    number,
    one_line,
    places_of,
    size,
    speed,
    summary,
    visible,
    when,
)
from woolgather.runs.record import StepRecord

AUC = table_cell(Estimate(0.9412, 0.9169, 0.961, 0.01, 40), "score")
RATE = table_cell(Estimate(0.173, 0.1, 0.255), "percent")
GAIN = table_cell(Estimate(0.01, -0.0193, 0.0381), "points")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1234567, "1,234,567"), (-3, "−3"), (0.5, "0.5"), (0.1234, "0.123"),
        (15.6, "15.6"), (431.26, "431.3"), (2e-4, "2e−4"), (1.5e-5, "1.5e−5"),
        (float("nan"), "–"), (1e20, "1e20"), (8056.6, "8,057"),
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
        ("a\x1b[0m", "a\u241b[0m"), ({"a": [{}]}, '{"a": [{}]}'), ({"a": 1, "b": None}, "a 1, b –"),
    ],
)  # fmt: skip
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (AUC, "0.94 [0.92, 0.96]"), (RATE, "17.3 % [10.0, 25.5]"), (GAIN, "+1.0 points [−1.9, +3.8]"),
        (table_cell(0.0455, "percent"), "4.5 %"), (table_cell(-0.25, "points"), "−25.0 points"),
        (table_cell(1.6, "change"), "+1.6"), (table_cell(None, "percent"), "–"), (table_cell(0.5), "0.5"),
        (table_cell({"value": -0.0001, "low": -0.2, "high": 1e-17}, "points"),
         "+0.0 points [−20.0, +0.0]"),
        (table_cell({"value": 0.5, "low": None, "high": None}, "percent"), "50.0 % [–, –]"),
        ({"value": 0.5, "unit": "furlongs"}, "0.5"),
    ],
)  # fmt: skip
def test_quantities_say_their_unit_and_differences_their_sign(value: object, text: str) -> None:
    assert cell(value) == text


def test_a_unit_that_a_column_shares_is_in_its_head() -> None:
    shown = column("held_out", [RATE, table_cell(0.5, "percent"), None, "not measured"])
    assert (shown.head, shown.numeric) == ("held out %", True)
    assert list(shown.cells) == ["17.3 [10.0, 25.5]", "50.0", "–", "not measured"]
    assert column("gain", ["", GAIN]).head == "gain (points)"
    mixed = column("value", [RATE, GAIN, 0.25, 1])
    assert mixed.head == "value"
    assert list(mixed.cells) == ["17.3 % [10.0, 25.5]", "+1.0 points [−1.9, +3.8]", "0.25", "1.00"]


def test_whole_shares_of_a_column_have_no_places() -> None:
    shares = [table_cell(share, "percent") for share in (1.0, 0.0)]
    assert list(column("stops", shares).cells) == ["100", "0"]
    assert list(column("stops", [*shares, table_cell(1 / 8, "percent")]).cells) == [
        "100.0", "0.0", "12.5",
    ]  # fmt: skip


def test_a_column_of_texts_stands_to_the_left_and_is_cleaned_as_asked() -> None:
    shown = column("said", ["\x1b[31mred", 3, "0.31 [0.27, 0.35]"], clean=harmless)
    assert not shown.numeric
    assert list(shown.cells) == ["red", "3", "0.31 [0.27, 0.35]"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain\n\ttext", "plain\n\ttext"),
        ("\x1b[2J\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;title without end", "0;title without end"),
        ("a\x9b31mb\x00\x07\r\x7f", "ab"),
        ("\u202eabc\u2066\u200f", "abc"),
        ("lone \ud800 surrogate", "lone  surrogate"),
        ("Grüße, 你好, 👋🏽", "Grüße, 你好, 👋🏽"),
    ],
)
def test_harmless(text: str, expected: str) -> None:
    assert harmless(text) == expected


def test_one_line_is_cut_to_its_width() -> None:
    assert one_line("a\n  b\x1b[0m c", 4) == "a b…"
    assert one_line("a\nb") == "a b"


def test_sizes_and_speeds() -> None:
    assert [size(n) for n in (740, 1536, 3 * 2**30, 5 * 2**40)] == [
        "740 B", "1.5 KiB", "3.0 GiB", "5.0 TiB",
    ]  # fmt: skip
    assert speed(12345.6) == "12,346 tok/s"


def test_a_step_in_a_line() -> None:
    calls = {"requests": 1500, "remembered": 30, "completion_tokens": 7500}
    reasons = {"a": 1, "b": 4, "c": 2, "d": 3}
    record = StepRecord("keep", "op", "0" * 64, "dataset", result={"count": 1200}, seconds=75.0,
                        set_aside=reasons, calls=calls)  # fmt: skip
    assert summary(record) == (
        "1,200 rows · set aside 10 (b 4, d 3, c 2, ...) · 1,500 calls (30 remembered) · 100 tok/s"
        " · 1 min 15 s"
    )
    assert aside({}) == ""
    chosen = {"value": {"kind": "yes_no", "fit": True}, "why": ""}
    assert summary(StepRecord("a", "op", "0" * 64, "choice", result=chosen)) == "yes_no · 0.0 s"
    silent = StepRecord("a", "op", "0" * 64, "metrics", result={"values": {"x": 1}})
    assert summary(silent) == "measured · 0.0 s"


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
