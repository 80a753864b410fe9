"""Drawings: what the numbers say is where the marks are."""

import re
from itertools import pairwise

import pytest

from woolgather.core import views
from woolgather.core.intervals import Estimate
from woolgather.report.charts import TABLE_ROWS, colours, draw, grid, trend
from woolgather.report.frame import Axis, Frame, ticks, value_range


@pytest.mark.parametrize(
    ("low", "high", "marks"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (3, 97, [20, 40, 60, 80]), (5, 5, [5])],
)
def test_ticks_are_round(low: float, high: float, marks: list[float]) -> None:
    assert ticks(low, high, 5) == marks


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([], (0, 1)),
        ([0, 0], (0, 1)),
        ([1, 5], (0.6, 5.4)),
        ([0, 4], (0, 4.4)),
        ([-4, 0], (-4.4, 0.4)),
        ([2, 2], (1.8, 2.2)),
    ],
)
def test_an_axis_has_room_but_none_below_zero_without_a_value_there(
    values: list[float], shown: tuple[float, float]
) -> None:
    assert value_range(values, pad=0.1) == pytest.approx(shown)


def test_the_frame_maps_ends_to_ends() -> None:
    frame = Frame(Axis(0, 10), Axis(0, 1))
    assert frame.x(0) == frame.left
    assert frame.x(10) == frame.width - 12
    assert frame.y(0) > frame.y(1) == frame.top


def test_bars_are_as_high_as_their_counts() -> None:
    drawn = draw(views.histogram("h", {"a": [0.1, 0.1, 0.9]}, edges=[0, 0.5, 1]))
    heights = [float(h) for h in re.findall(r'<rect class="s0"[^>]*height="([\d.]+)"', drawn)]
    assert heights[0] == pytest.approx(2 * heights[1], rel=0.01)
    assert "0 – 0.5: 2" in drawn


def test_unequal_series_are_compared_as_shares_and_empty_ones_are_named() -> None:
    drawn = draw(views.histogram("h", {"few": [1.0], "many": [1.0] * 9 + [2.0], "none": []}))
    assert ">share of rows<" in drawn
    assert "many (10)" in drawn
    assert "none (0)" in drawn
    assert drawn.count("<polygon") == 2


def test_a_funnel_tells_what_was_lost_and_sums_rare_reasons() -> None:
    reasons = {f"reason_{i}": 20 - i for i in range(15)}
    drawn = draw(views.funnel("f", [("read", 100), ("kept", 40)], reasons))
    assert "−60" in drawn
    assert "reason 0" in drawn
    assert "3 other reasons" in drawn


def test_unknown_points_leave_a_gap() -> None:
    drawn = trend("m", [("before", None), ("iter0", 0.5), ("iter1", 0.75)])
    assert drawn.count("<circle") == 2
    assert ">before<" in drawn


def test_a_small_change_is_no_cliff() -> None:
    drawn = trend("m", [("a", 0.801), ("b", 0.803)])
    ys = [float(y) for y in re.findall(r'cy="([\d.]+)"', drawn)]
    assert abs(ys[0] - ys[1]) < 5


def test_whiskers_tell_sure_from_unsure() -> None:
    values = [(2.0, 1.0, 3.0), (0.5, -1.0, 2.0), (-2.0, -3.0, -1.0)]
    drawn = grid(["x", "by"], [["a", views.table_cell(Estimate(*v), "change")] for v in values])
    marks = re.findall(r'<circle class="(\w+)"', drawn)
    assert marks == ["s0", "unsure", "aside"]
    assert "+2.0 [+1.0, +3.0]" in drawn


def test_a_cell_with_an_interval_has_a_whisker_and_others_have_none() -> None:
    auc = views.table_cell(Estimate(0.9, 0.8, 0.95), "score")
    rows = [
        ["a", auc],
        ["b", None],
        ["c", views.table_cell(0.5, "score")],
        ["d", "0.9 [0.8, 0.95]"],
    ]
    drawn = grid(["model", "auc"], rows)
    assert "0.90 [0.80, 0.95]" in drawn
    assert ">0.50<" in drawn
    assert ">0.9 [0.8, 0.95]<" in drawn
    assert drawn.count("class=whisk") == 1


def test_a_row_that_is_too_short_has_empty_cells() -> None:
    assert grid(["a", "b"], [["x"]]).count("<td") == 2


def test_long_tables_are_cut_and_say_so() -> None:
    drawn = draw(views.table("t", ["n"], [[i] for i in range(TABLE_ROWS + 7)]))
    assert drawn.count("<tr>") == 1 + TABLE_ROWS
    assert "7 more" in drawn


@pytest.mark.parametrize(
    "view",
    [
        views.table("<b>", ["<b>"], [["<b>"]]),
        views.funnel("<b>", [("<b>", 1)], {"<b>": 1}),
        views.histogram("<b>", {"<b>": [1.0], "c": [2.0]}, x="<b>"),
        views.curve("<b>", {"<b>": [(0, 1)], "c": [(0, 2)]}, x="<b>", y="<b>"),
        views.scatter("<b>", {"<b>": [(0, 1)]}, labels={"<b>": ["<b>"]}, x="<b>", y="<b>"),
        views.alarm("<b>", "<b>"),
    ],
    ids=lambda view: view.kind,
)
def test_names_are_escaped(view: views.View) -> None:
    drawn = draw(view)
    own = 1 if view.kind == "alarm" else 0
    assert drawn.count("<b>") == own
    assert "&lt;b&gt;" in drawn


def test_ticks_say_what_they_are_and_a_share_ends_at_the_whole() -> None:
    close = str(draw(views.curve("c", {"": [(0, 0.9322), (1, 0.9418)]})))
    marked = [float(t) for t in re.findall(r'class="tick end"[^>]*>([^<]*)<', close)]
    gaps = [round(b - a, 9) for a, b in pairwise(marked)]
    assert len(set(gaps)) == 1, f"evenly apart, as written: {marked}"
    whole = str(draw(views.curve("c", {"": [(0, 100), (1, 100)]}, y="% of rows")))
    assert ">100<" in whole
    assert ">105<" not in whole


def test_what_others_are_seen_against_is_grey_and_lies_lowest() -> None:
    groups = {"iter0": [(0.0, 0.0)] * 3, "iter1": [(1.0, 1.0)], "reference": [(0.5, 0.5)]}
    drawn = str(draw(views.put_behind(views.scatter("s", groups), "reference")))
    assert re.findall(r'<circle class="([^"]*)"', drawn) == [
        "behind cloud", *["s0 cloud"] * 3, "s1 cloud",
    ]  # fmt: skip
    assert colours(groups, "reference") == {
        "iter0": "s0", "iter1": "s1", "reference": "behind",
    }  # fmt: skip
