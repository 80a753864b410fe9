"""What a page draws of several iterations."""

from __future__ import annotations

from pathlib import Path

import pytest

from woolgather.core.views import View, curve, histogram, put_behind, scatter
from woolgather.report.collect import read_run_dir
from woolgather.report.figures.overlays import LINES, Part, lay_over
from woolgather.report.over_iterations import series


def part(view: View, t: int) -> Part:
    return Part(f"iter{t}", view, t)


def told(names: list[str], t: int) -> Part:
    lines = {n: [(1.0, i + t), (2.0, i)] for i, n in enumerate(names)}
    return part(curve("Gain", lines, x="update", y="nats"), t)


def test_one_line_an_iteration_is_named_by_the_iteration() -> None:
    drawn, _ = lay_over("train", [told(["real"], t) for t in range(2)])
    assert list(drawn.data["series"]) == ["iter0", "iter1"]
    assert drawn.note == "Step train, each iteration."


def test_several_lines_are_all_drawn_where_they_are_few() -> None:
    drawn, _ = lay_over("train", [told(["real", "generated"], t) for t in range(2)])
    assert drawn.data["series"]["iter1 generated"] == [[1.0, 2], [2.0, 1]]
    assert len(drawn.data["series"]) == 4


def test_of_too_many_each_name_has_a_drawing() -> None:
    *drawn, _ = lay_over("train", [told(["real", "generated"], t) for t in range(LINES)])
    assert [view.title for view in drawn] == ["Gain: real", "Gain: generated"]
    assert [len(view.data["series"]) for view in drawn] == [LINES, LINES]
    assert drawn[1].data["series"]["iter2"] == [[1.0, 3], [2.0, 1]]


def test_what_lines_came_to_is_drawn_by_iteration() -> None:
    """The mean over the last quarter of eight points is that of the last two."""
    parts = [
        part(
            curve("Margin", {"margin": [(u, u * (t + 1)) for u in range(8)]}, x="update", y="b"), t
        )
        for t in range(3)
    ]
    *_, ends = lay_over("train", parts)
    assert ends.title == "Margin, by iteration"
    assert (ends.data["x"], ends.data["y"]) == ("iteration", "b")
    assert ends.data["series"] == {"margin": [[0.0, 6.5], [1.0, 13.0], [2.0, 19.5]]}
    outside = [Part("forward", parts[0].view), Part("backward", parts[1].view)]
    assert [view.title for view in lay_over("train", outside)] == ["Margin"]


def test_series_that_are_everywhere_the_same_are_drawn_once_behind() -> None:
    lengths = [
        histogram("Length", {"real": [1, 2], "generated": [3, 2 * t + 1]}, edges=[0, 2, 4])
        for t in range(2)
    ]
    (drawn,) = lay_over("pairs", list(map(part, lengths, range(2))))
    assert drawn.title == "Length"
    assert drawn.data["series"] == {"iter0": [1, 1], "iter1": [0, 2], "real": [1, 1]}
    assert drawn.data["behind"] == "real"
    alone = histogram("Scores", {"quality": [1, 2]}, edges=[0, 2, 4])
    assert [view.title for view in lay_over("assess", [part(alone, 0), part(alone, 1)])] == [
        "Scores"
    ]


def test_bins_of_their_own_become_common_ones() -> None:
    """Each old bin's count is spread evenly over the new ones that it overlaps."""
    parts = [part(histogram("Words", {"": [1.0, 8.0 * (t + 1)]}, bins=2), t) for t in range(2)]
    (drawn,) = lay_over("respond", parts)
    edges, series = drawn.data["edges"], drawn.data["series"]
    assert (edges[0], edges[-1], len(edges)) == (1.0, 16.0, 17)
    assert [sum(counts) for counts in series.values()] == pytest.approx([2, 2])
    assert not any(series["iter0"][8:]), "nothing lies beyond its own 8"


def test_scores_keep_a_bin_each() -> None:
    parts = [part(histogram("Scores", {"": [1 + t, 4 + t, 4 + t]}), t) for t in range(2)]
    (drawn,) = lay_over("assess", parts)
    assert drawn.data["edges"] == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert drawn.data["series"] == {"iter0": [1, 0, 0, 2, 0], "iter1": [0, 1, 0, 0, 2]}


def test_notes_are_said_once_or_by_iteration() -> None:
    def noted(beta: float, t: int) -> Part:
        return part(curve("Margin", {"margin": [(1, 0), (2, 1)]}, note=f"beta is {beta}."), t)

    alike, other = ([noted(0.1, 0), noted(0.1, 1), noted(beta, 2)] for beta in (0.1, 5))
    assert lay_over("train", alike)[0].note == "Step train, each iteration. beta is 0.1."
    said = "Step train, each iteration. iter0, iter1: beta is 0.1. iter2: beta is 5."
    assert lay_over("train", other)[0].note == said


def test_single_points_have_their_place_by_iteration_alone() -> None:
    lines = {"training": [(1, 3), (2, 2)], "validation": [(2, 2.5)]}
    parts = [part(curve("Loss", lines, x="update"), t) for t in range(LINES)]
    assert [v.title for v in lay_over("train", parts)] == ["Loss: training", "Loss, by iteration"]


def test_maps_are_laid_together_where_they_share_what_they_are_seen_against() -> None:
    def seen(t: int, moved: float, behind: str = "reference") -> Part:
        groups = {"generated": [(t, t)], "reference": [(0.0, moved), (1.0, 1.0)]}
        labels = {"generated": [f"task {t}"], "reference": ["a", "b"]}
        view = scatter("Map", groups, x="first", y="second", labels=labels)
        return part(put_behind(view, behind) if behind else view, t)

    (drawn,) = lay_over("portrait", [seen(t, 0.0) for t in range(3)])
    assert list(drawn.data["groups"]) == ["iter0", "iter1", "iter2", "reference"]
    assert drawn.data["labels"]["iter2"] == ["task 2"]
    assert drawn.data["behind"] == "reference"
    assert not lay_over("portrait", [seen(0, 0.0), seen(1, 0.1)])
    assert not lay_over("portrait", [seen(0, 0.0, ""), seen(1, 0.0, "")])


def test_what_comes_after_the_loop_is_no_iteration(run_dir: Path) -> None:
    run = read_run_dir(run_dir)
    places = {place for _, _, lines in series(run) for _, line in lines for place, _ in line}
    assert places
    assert places <= {"before", *run.iterations}
