"""A map decorates: whatever an engine says of embeddings, the rest of the portrait is there."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from woolgather.core.errors import CapabilityError, EngineError
from woolgather.core.rows import Example
from woolgather.engines.fake import FakeEngine
from woolgather.ops.measure.embedding_map import map_rows

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
