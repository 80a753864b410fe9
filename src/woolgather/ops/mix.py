"""The rows that training sees: what was kept, earlier rounds, and the seeds, in one shuffled order.

One row a prompt (the latest, best one). Rows too long for training are set aside whole: a cut row
would lose its end token.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import Field

from woolgather.artifacts import Dataset, Model
from woolgather.engines.base import Message
from woolgather.expect import Expected, expects
from woolgather.options import Options
from woolgather.records import Example, question, set_aside
from woolgather.views import View, table


class MixOptions(Options):
    """What goes into training besides the rows just kept."""

    seeds: bool = True
    """The seeds stay in."""
    seed_repeats: int = Field(default=1, ge=1)
    """Times each seed is there."""
    one_per_prompt: bool = True
    """Of several rows with the same instruction and input, the latest one only."""


def _work(
    kept: Any, seeds: Any, *, options: MixOptions, history: Sequence[Dataset] = (),
    max_rows: int | None = None, **_: Any,
) -> Expected:  # fmt: skip
    rows = len(kept) + sum(len(h) for h in history)
    rows = min(rows, max_rows) if max_rows else rows
    return Expected(rows=rows + (len(seeds) * options.seed_repeats if options.seeds else 0))


@expects(_work)
def mix(
    kept: Iterable[Example],
    seeds: Iterable[Example],
    *,
    base: Model,
    max_length: int,
    max_rows: int | None = None,
    options: MixOptions = MixOptions(),  # noqa: B008 - frozen
    history: Sequence[Iterable[Example]] = (),
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Rows of `kept`, of `history` (earlier iterations, oldest first) and of `seeds`, shuffled.

    `max_rows` bounds the machine's own rows: more are set aside at random as `over_max_rows`. Rows
    over `max_length` tokens, prompt and response, are set aside as `too_long`, repeated prompts as
    `repeated_prompt`.
    """
    rng = random.Random(seed)
    latest = [row for rows in (*history, kept) for row in rows][::-1]
    own: list[Example] = []
    aside: list[Example] = []
    seen: set[str] = set()
    for row in latest:
        asked = question(row)
        if options.one_per_prompt and asked in seen:
            aside.append(set_aside(row, "repeated_prompt"))
        else:
            seen.add(asked)
            own.append(row)
    rng.shuffle(own)
    if max_rows is not None:
        aside += [set_aside(row, "over_max_rows") for row in own[max_rows:]]
        own = own[:max_rows]
    repeats = options.seed_repeats if options.seeds else 0
    rows = own + [replace(row) for row in seeds for _ in range(repeats)]
    rng.shuffle(rows)
    tokens = token_counter(base)
    counts: Counter[str] = Counter()
    for row in rows:
        if not row.response.strip():
            out = set_aside(row, "empty")
        elif tokens(row) > max_length:
            out = set_aside(row, "too_long")
        else:
            out = row
            counts[str(row.meta.get("origin", "machine"))] += 1
        yield out
    yield from aside
    return [table("Training rows", ["origin", "rows"], sorted(counts.items()))]


def messages_of(row: Example) -> tuple[Message, ...]:
    """The turns before the response."""
    system = (Message("system", row.system),) if row.system else ()
    return (*system, Message("user", question(row)))


def token_counter(base: Model) -> Callable[[Example], int]:
    """Counts the tokens that a row is in training; words for a fake model."""
    if base.path.startswith("fake") or "/fake" in base.path:
        return lambda row: len(f"{question(row)} {row.response}".split()) + 1
    from woolgather.tokens import Renderer

    renderer = Renderer(base.path)
    return lambda row: len(renderer.training_ids(messages_of(row), row.response)[0])
