"""What a page draws of several iterations."""

from __future__ import annotations

from woolgather.core.views import View, curve, histogram
from woolgather.report.over_iterations import LINES, _overlay


def told(names: list[str], t: int) -> View:
    return curve("Gain", {n: [(1.0, i + t), (2.0, i)] for i, n in enumerate(names)}, x="u", y="n")


def test_one_series_an_iteration_is_named_by_the_iteration() -> None:
    view = _overlay("Gain", "train", [(f"iter{t}", told(["real"], t)) for t in range(2)])
    assert view is not None
    assert list(view.data["series"]) == ["iter0", "iter1"]
    assert view.note == "Step train, each iteration."


def test_several_series_are_all_drawn_where_they_are_few() -> None:
    view = _overlay(
        "Gain", "train", [(f"iter{t}", told(["real", "generated"], t)) for t in range(2)]
    )
    assert view is not None
    assert view.data["series"]["iter1 generated"] == [[1.0, 2], [2.0, 1]]
    assert len(view.data["series"]) == 4


def test_of_too_many_the_first_is_drawn_and_named() -> None:
    parts = [(f"iter{t}", told(["real", "generated"], t)) for t in range(LINES)]
    view = _overlay("Gain", "train", parts)
    assert view is not None
    assert len(view.data["series"]) == LINES
    assert view.note == "Step train, each iteration: real."
    lengths = histogram("Length", {"real": [1, 2], "generated": [3]}, edges=[0, 2, 4])
    view = _overlay("Length", "pairs", [("iter0", lengths), ("iter1", lengths)])
    assert view is not None
    assert view.note == "Step pairs, each iteration: real."
