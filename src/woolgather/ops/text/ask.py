"""Ask an engine row by row: one request per row, one completion per row, in the order of the rows.

The one idea: what a row gets follows from the row, the seed and the row's place alone, never from
batches or from which answer arrived first; and why a row got no whole answer has one name in every
op. Rows are read as the engine takes requests and come out as soon as their order allows, so memory
holds what is in flight and no more. What a reply means is for the op to say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from woolgather.core.errors import EngineError
from woolgather.core.fingerprint import seed_of
from woolgather.engines.base import Completion, Engine, Request, Sampling, ask
from woolgather.prompting.messages import Prompt

T = TypeVar("T")

NO_REPLY: Mapping[str, str] = {"too_long": "prompt_too_long", "error": "engine_error"}
"""Reasons, by finish reason, to set a row aside for which nothing came back."""
UNFINISHED = "unfinished"
"""The reason to set a row aside whose reply was cut at max_tokens; an op may keep such rows."""
REASONS: Mapping[str, str] = {**NO_REPLY, "length": UNFINISHED}
"""Every reason that follows from how a completion ended, by finish reason."""


def ask_rows(
    rows: Iterable[T],
    engine: Engine,
    prompt_of: Callable[[T], Prompt],
    sampling: Sampling | Callable[[T], Sampling],
    seed: int | Callable[[T], int],
) -> Iterator[tuple[T, Completion, str | None]]:
    """Yields each row with its completion and the reason to set it aside, None where it ended well.

    A row may be anything. Row number i is asked with the seed `seed_of(seed, i)`, or with the one
    that `seed` returns for it; `sampling` may be a function of the row likewise. Raises EngineError
    when the engine ends before it has answered every request that it took.
    """
    asked: deque[T] = deque()

    def requests() -> Iterator[Request]:
        for index, row in enumerate(rows):
            own = sampling if isinstance(sampling, Sampling) else sampling(row)
            number = seed_of(seed, index) if isinstance(seed, int) else seed(row)
            request = Request(prompt_of(row), own.model_copy(update={"seed": number}))
            asked.append(row)
            yield request

    for completion in ask(engine, requests()):
        yield asked.popleft(), completion, REASONS.get(completion.finish_reason)
    if asked:
        raise EngineError(
            f"the engine of {engine.model.path} ended without an answer to {len(asked)} of "
            "its requests. Start the same command again: a run asks only for what is missing."
        )


def no_reply(completion: Completion) -> str | None:
    """Returns the reason why nothing came back; None where text did, whole or cut."""
    return NO_REPLY.get(completion.finish_reason)
