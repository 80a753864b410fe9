"""Answers to instructions.

A model prompted by its chat template gets the task as a user turn. One prompted as raw text gets
it after a handful of fixed answered tasks, the same for every task, so that an engine computes them
once; without them it gets instruction and input and a newline, as the paper's first iteration did.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any

from woolgather.engines.base import Engine, Request, Sampling, ask
from woolgather.expect import Expected, expects
from woolgather.fingerprint import seed_of
from woolgather.ops.turns import answer_prompt, stops
from woolgather.ops.words import count_words
from woolgather.records import Example, set_aside
from woolgather.views import View, histogram, table

PROMPT_TOKENS = 120
"""Of a task, for plans."""


@expects(lambda seeds, k=5, **_: Expected(rows=k))
def fixed_shots(
    seeds: Iterable[Example],
    *,
    k: int = 5,
    min_words: int = 20,
    max_words: int = 120,
    seed: int = 0,
) -> Iterator[Example]:
    """`k` answered seeds whose responses have `min_words` to `max_words` words, one a category first.

    The rest of the seeds is not passed on. Fewer than `k` come out when fewer fit."""
    fitting = [s for s in seeds if min_words <= count_words(s.response) <= max_words]
    random.Random(seed).shuffle(fitting)
    first: dict[str, Example] = {}
    for row in fitting:
        first.setdefault(str(row.meta.get("category", row.id)), row)
    chosen = [*first.values(), *(row for row in fitting if row not in first.values())]
    yield from chosen[:k]


def _work(
    tasks: Any, engine: Engine, *, sampling: Sampling, shots: Any = (), n: int = 1, **_: Any
) -> Expected:
    calls = len(tasks) * n
    return Expected(
        rows=calls,
        calls=calls,
        prompt_tokens=calls * PROMPT_TOKENS,
        new_tokens=calls * sampling.max_tokens,
        disk_bytes=calls * 2048,
    )


@expects(_work)
def respond(
    tasks: Iterable[Example],
    engine: Engine,
    *,
    sampling: Sampling,
    shots: Iterable[Example] = (),
    n: int = 1,
    system: str = "",
    finished_only: bool = True,
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """`n` responses to each task, each a row of its own whose parent is the task's row.

    `shots` are shown to a model that is prompted as raw text only. With `finished_only`, responses
    that ran into `sampling.max_tokens` are set aside as `unfinished`; tasks that leave no room in
    the model's context as `prompt_too_long`, and those the engine gave up on as `engine_error`.
    """
    form = engine.model.prompt_format
    blocks = list(shots) if form == "raw" else []
    asked: list[Example] = []

    def requests() -> Iterator[Request]:
        for task in tasks:
            row = replace(task, system=system or task.system)
            prompt = answer_prompt(row, form, blocks)
            for sample in range(n):
                drawn = sampling.model_copy(
                    update={
                        "seed": seed_of(seed, len(asked)),
                        "stop": (*sampling.stop, *stops(form, blocks)),
                    }
                )
                asked.append(
                    replace(row, meta={**row.meta, "prompt_id": task.id, "sample": sample})
                )
                yield Request(prompt, drawn)

    ends: Counter[str] = Counter()
    lengths: list[float] = []
    aside = {"too_long": "prompt_too_long", "error": "engine_error"}
    for index, completion in enumerate(ask(engine, requests())):
        source = asked[index]
        row = replace(
            source,
            id="",
            parents=(source.id,) if source.id else (),
            response=completion.text.strip(),
            finish_reason=completion.finish_reason,
        )
        ends[completion.finish_reason] += 1
        lengths.append(count_words(row.response))
        reason = aside.get(completion.finish_reason)
        if completion.finish_reason == "length" and finished_only:
            reason = "unfinished"
        yield set_aside(row, reason) if reason else row
    return [
        histogram("Response length", {"responses": lengths}, x="words"),
        table("How responses ended", ["ended by", "responses"], sorted(ends.items())),
    ]
