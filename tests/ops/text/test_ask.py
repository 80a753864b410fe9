"""Rows are asked one by one, answered in their order, and seeded by their place alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count

import pytest

from woolgather.core.errors import EngineError
from woolgather.core.fingerprint import seed_of
from woolgather.engines.base import Completion, Request, Sampling
from woolgather.engines.fake import FakeEngine
from woolgather.ops.text.ask import ask_rows, no_reply

SAMPLING = Sampling(max_tokens=9, stop=("#",))


class Ahead(FakeEngine):
    """Takes up to `window` requests before it answers, and then the latest first."""

    def __init__(self, window: int) -> None:
        super().__init__()
        self.window, self.taken = window, 0

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        waiting: list[tuple[int, Request]] = []

        def answers() -> Iterator[tuple[int, Completion]]:
            while waiting:
                index, request = waiting.pop()
                yield index, Completion(f"re {request.prompt} {request.sampling.seed}", "stop")

        for numbered in enumerate(requests):
            self.taken += 1
            waiting.append(numbered)
            if len(waiting) == self.window:
                yield from answers()
        yield from answers()


class Ending(FakeEngine):
    """Ends each completion as told; a request beyond these is never answered."""

    def __init__(self, *reasons: str) -> None:
        super().__init__()
        self.reasons = reasons

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        for (index, _), reason in zip(enumerate(requests), self.reasons, strict=False):
            yield index, Completion("some text", reason)  # type: ignore[arg-type]


def asked(rows: Iterable[int], engine: FakeEngine, **given: object) -> list[tuple[int, str]]:
    how: dict[str, object] = {"sampling": SAMPLING, "seed": 3, **given}
    found = ask_rows(rows, engine, str, **how)  # type: ignore[arg-type]
    return [(row, completion.text) for row, completion, _ in found]


@pytest.mark.parametrize("window", [1, 2, 5, 100])
def test_rows_keep_their_order_and_their_own_answer(window: int) -> None:
    expected = [(row, f"re {row} {seed_of(3, i)}") for i, row in enumerate(range(10, 22))]
    assert asked(range(10, 22), Ahead(window)) == expected


def test_the_request_is_the_prompt_and_the_sampling_with_the_rows_seed() -> None:
    seen: list[Request] = []

    class Watching(FakeEngine):
        def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
            for index, request in enumerate(requests):
                seen.append(request)
                yield index, Completion("x", "stop")

    asked([7, 8], Watching())
    assert seen == [
        Request("7", Sampling(max_tokens=9, stop=("#",), seed=seed_of(3, 0))),
        Request("8", Sampling(max_tokens=9, stop=("#",), seed=seed_of(3, 1))),
    ]
    seen.clear()
    asked(
        [7, 8],
        Watching(),
        sampling=lambda row: Sampling(max_tokens=row),
        seed=lambda row: seed_of(3, "name", row),
    )
    assert seen == [
        Request(str(row), Sampling(max_tokens=row, seed=seed_of(3, "name", row))) for row in (7, 8)
    ]


def test_how_a_completion_ended_is_the_reason() -> None:
    engine = Ending("stop", "length", "too_long", "error")
    found = list(ask_rows("abcd", engine, str, SAMPLING, 0))
    assert [(row, reason) for row, _, reason in found] == [
        ("a", None),
        ("b", "unfinished"),
        ("c", "prompt_too_long"),
        ("d", "engine_error"),
    ]
    nothing = [no_reply(completion) for _, completion, _ in found]
    assert nothing == [None, None, "prompt_too_long", "engine_error"]


def test_rows_are_read_as_far_as_the_engine_takes_them_and_answers_stream_out() -> None:
    read: list[int] = []

    def endless() -> Iterator[int]:
        for row in count():
            read.append(row)
            yield row

    engine = Ahead(4)
    found = ask_rows(endless(), engine, str, SAMPLING, 0)
    assert read == []
    assert [next(found)[0] for _ in range(4)] == [0, 1, 2, 3]
    assert engine.taken == len(read) == 4
    assert next(found)[0] == 4
    assert engine.taken == len(read) == 8


def test_no_rows_ask_nothing() -> None:
    engine = Ahead(1)
    assert asked([], engine) == []
    assert engine.taken == 0


def test_an_engine_that_ends_early_loses_no_row_in_silence() -> None:
    found = ask_rows("abcd", Ending("stop"), str, SAMPLING, 0)
    assert next(found)[0] == "a"
    with pytest.raises(EngineError, match="fake ended without an answer to 1 of its requests"):
        next(found)
