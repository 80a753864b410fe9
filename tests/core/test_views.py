import json
import math

import pytest

from woolgather.core.intervals import Estimate
from woolgather.core.views import (
    MAX_POINTS,
    alarm,
    curve,
    funnel,
    histogram,
    scatter,
    table,
    table_cell,
)


def test_a_funnel_has_stages_and_reasons():
    view = funnel("Kept", [("asked", 10), ("kept", 4)], {"echo": 6}, note="n")
    assert (view.kind, view.title, view.note) == ("funnel", "Kept", "n")
    assert view.data == {"stages": [["asked", 10], ["kept", 4]], "reasons": {"echo": 6}}
    assert funnel("Kept", []).data == {"stages": [], "reasons": {}}


def test_a_histogram_counts_every_value_once():
    view = histogram("Scores", {"a": [1, 2, 2.5, 10], "b": [5]}, edges=[1, 2, 5, 10], x="score")
    assert view.data == {
        "edges": [1, 2, 5, 10],
        "series": {"a": [1, 2, 1], "b": [0, 0, 1]},
        "x": "score",
    }


def test_the_last_bin_is_closed_and_what_is_outside_is_in_no_bin():
    view = histogram("Scores", {"a": [-1, 0, 1, 2, 3]}, edges=[0, 1, 2])
    assert view.data["series"] == {"a": [1, 2]}


def test_equal_bins_over_the_range_of_all_series():
    view = histogram("Scores", {"a": [0, 10], "b": iter([5.0])}, bins=4)
    assert view.data["edges"] == [0, 2.5, 5, 7.5, 10]
    assert view.data["series"] == {"a": [1, 0, 0, 1], "b": [0, 0, 1, 0]}
    assert len(histogram("Scores", {"a": range(100)}).data["edges"]) == 21


@pytest.mark.parametrize("values", [[], [3.0], [3.0, 3.0]])
def test_a_histogram_without_a_range(values):
    data = histogram("Scores", {"a": values}, bins=2).data
    assert data["edges"][0] < data["edges"][-1]
    assert sum(data["series"]["a"]) == len(values)


def test_what_is_not_finite_has_no_bin():
    data = histogram("Scores", {"a": [1.0, math.nan, math.inf, -math.inf, 2.0]}, bins=1).data
    assert data == {"edges": [1.0, 2.0], "series": {"a": [2]}, "x": ""}
    json.dumps(data, allow_nan=False)


def test_long_series_are_thinned_and_keep_their_ends():
    n = 5 * MAX_POINTS + 3
    points = [(float(i), float(-i)) for i in range(n)]
    thinned = curve("Loss", {"a": points, "b": points[:3]}, x="update", y="loss").data["series"]
    assert len(thinned["a"]) == MAX_POINTS
    assert thinned["a"][0] == [0, 0]
    assert thinned["a"][-1] == [n - 1, 1 - n]
    steps = {round(b[0] - a[0]) for a, b in zip(thinned["a"], thinned["a"][1:], strict=False)}
    assert steps <= {5, 6}
    assert thinned["b"] == [[0, 0], [1, -1], [2, -2]]


def test_a_scatters_labels_stay_with_their_points():
    n = 3 * MAX_POINTS
    groups = {"a": [(float(i), 0.0) for i in range(n)]}
    data = scatter("Rows", groups, labels={"a": [f"row {i}" for i in range(n)]}, x="1", y="2").data
    assert len(data["labels"]["a"]) == MAX_POINTS
    assert data["labels"]["a"] == [f"row {x:.0f}" for x, _ in data["groups"]["a"]]
    assert scatter("Rows", groups).data["labels"] == {}


def test_tables_and_alarms():
    view = table("Measures", ("name", "value"), [("pass", 0.5), ("win", None)])
    assert view.data == {"columns": ["name", "value"], "rows": [["pass", 0.5], ["win", None]]}
    assert alarm("Judge", "no better than chance").data["level"] == "warning"
    assert alarm("Judge", "fine", "note").data == {"text": "fine", "level": "note"}


@pytest.mark.parametrize(
    ("cell", "kept"),
    [
        (table_cell(None, "percent"), None),
        (table_cell(0.25), 0.25),
        (table_cell(0.25, "percent"), {"value": 0.25, "unit": "percent"}),
        (table_cell(Estimate(0.2, 0.1, 0.3, 0.05, 9), "points"),
         {"value": 0.2, "low": 0.1, "high": 0.3, "error": 0.05, "count": 9, "changed": 0,
          "effect": 1.0, "unit": "points"}),
        (table_cell({"value": 1, "low": 0, "high": 2}), {"value": 1, "low": 0, "high": 2}),
    ],
)  # fmt: skip
def test_a_cell_keeps_its_number_its_interval_and_its_unit(cell, kept):
    assert cell == kept
    assert table("t", ["a"], [[cell]]).data["rows"] == [[kept]]


def test_every_kind_is_json():
    views = [
        funnel("f", [("a", 1)]),
        histogram("h", {"a": (1, 2)}),
        curve("c", {"a": ((1, 2),)}),
        scatter("s", {"a": ((1, 2),)}),
        table("t", ("a",), ((1,),)),
        alarm("a", "b"),
    ]
    for view in views:
        assert json.loads(json.dumps(view.data, allow_nan=False)) == view.data


def test_few_whole_numbers_have_a_bin_each() -> None:
    data = histogram("Scores", {"a": [1, 1, 3], "b": [4]}).data
    assert data["edges"] == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert data["series"] == {"a": [2, 0, 1, 0], "b": [0, 0, 0, 1]}
    assert len(histogram("Scores", {"a": [1, 3.5]}).data["edges"]) == 21
