"""A map decorates: whatever an engine says of embeddings, the rest of the portrait is there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from woolgather.core.artifacts import Metrics
from woolgather.core.errors import CapabilityError, EngineError
from woolgather.core.rows import Example
from woolgather.engines.fake import FakeEngine
from woolgather.ops.measure.embedding_map import fit_axes, map_rows, place_rows

ROWS = [Example(instruction=f"Name {i} rivers.", response=f"River {i} runs.") for i in range(6)]


class Embedding(FakeEngine):
    def __init__(self, answer: Exception | list[float]) -> None:
        super().__init__()
        self.answer = answer

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer for _ in texts]


def test_a_map_is_drawn_where_there_are_embeddings() -> None:
    found = map_rows(ROWS, ROWS[:3], FakeEngine())
    assert [view.kind for view in found.views] == ["table", "histogram", "scatter"]


@pytest.mark.parametrize("answer", [
    CapabilityError("This server has no embeddings."), EngineError("status 500 (too large)"),
    [float("nan"), 1.0], [1.0, 1.0],
])  # fmt: skip
def test_without_them_the_reason_stands_in_its_place(answer: Exception | list[float]) -> None:
    found = map_rows(ROWS, ROWS[:3], Embedding(answer))
    drawn = map_rows(ROWS, ROWS[:3], FakeEngine())
    assert (found.values, found.headline) == (drawn.values, drawn.headline)
    note = str(found.views[-1])
    assert "No map" in note
    assert (str(answer) if isinstance(answer, Exception) else "alike") in note


REFERENCE = [Example(instruction=f"Say {i}.", response=f"It is {i * i}.") for i in range(20)]


class Seeing(FakeEngine):
    """Embeds a text by its length and its number, stretched along a line that no axis is."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[len(t), 2.0 * len(t) + sum(map(ord, t)) % 7, 1.0] for t in texts]


def placed(rows: Sequence[Example], points: int = 400) -> Metrics:
    engine = Seeing()
    axes = fit_axes(REFERENCE, engine, points=points)
    return place_rows(rows, REFERENCE, engine, axes=axes, points=points)


def test_the_reference_lies_alike_in_every_map() -> None:
    one, two = placed(ROWS).views[-1].data, placed(REFERENCE[:5]).views[-1].data
    assert one["groups"]["reference"] == two["groups"]["reference"]
    assert one["behind"] == two["behind"] == "reference"
    assert two["groups"]["generated"] == two["groups"]["reference"][:5], (
        "the same row, the same place"
    )
    assert two["labels"]["generated"] == two["labels"]["reference"][:5]
    one, two = (
        map_rows(rows, REFERENCE, Seeing()).views[-1].data for rows in (ROWS, REFERENCE[:5])
    )
    assert one["groups"]["reference"] != two["groups"]["reference"], (
        "without a reference they do not"
    )


def test_places_are_counted_in_deviations_of_the_reference() -> None:
    own = placed(REFERENCE)
    assert own.values["place"] == {
        "first component, mean": pytest.approx(0, abs=1e-3),
        "first component, deviation": pytest.approx(1, abs=1e-3),
        "second component, mean": pytest.approx(0, abs=1e-3),
        "second component, deviation": pytest.approx(1, abs=1e-3),
    }
    title = "Place on the reference's axes"
    table = next(view for view in own.views if view.title == title)
    assert table.data["rows"] == [list(own.values["place"].values())]
    long = [Example(instruction="Say much.", response="word " * 40)]
    assert abs(placed(long).values["place"]["first component, mean"]) > 10


def test_axes_are_those_of_the_embeddings() -> None:
    axes = fit_axes(REFERENCE, Seeing(), points=4)
    assert axes.values["rows"] == 20
    assert axes.values["variance"] == pytest.approx(1), "two of three dimensions vary"
    first, second = ([*axes.items[f"{n} component"].values()] for n in ("first", "second"))
    assert sum(a * a for a in first if a is not None) == pytest.approx(1)
    assert sum((a or 0) * (b or 0) for a, b in zip(first, second, strict=True)) == pytest.approx(0)
    assert len(axes.items["x"]) == len(axes.items["y"]) == 4
    assert len(placed(ROWS, points=4).views[-1].data["groups"]["reference"]) == 4


@pytest.mark.parametrize(("rows", "why"), [([], "No row was kept"), (ROWS, "No axes were fitted")])
def test_what_cannot_be_placed_is_told(rows: list[Example], why: str) -> None:
    alike = Embedding([1.0, 2.0])
    axes = fit_axes(REFERENCE, alike) if rows else fit_axes(REFERENCE, FakeEngine())
    found = place_rows(rows, REFERENCE, FakeEngine(), axes=axes)
    assert "place" not in found.values
    assert why in str(found.views[-1])
    if rows:
        assert "alike" in str(axes.views[0])
