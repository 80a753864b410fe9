"""The prompts that will be answered: any number of sources made one set, clean and without doubles.

The one idea: only the question of a row counts, whatever it came with; its old answer and its system
turn are left behind. A prompt that is held out is set aside here, so that nothing measured is trained
on. What is answered with, and how well, is not asked.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

from woolgather.core.artifacts import Model
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import Example, question, set_aside
from woolgather.core.views import View, alarm, funnel, table
from woolgather.training.job import is_fake

KEPT_META = ("category", "kind", "topic")


def _expect(sources: Sequence[Any], *, limit: int | None = None, **_: Any) -> Expected:
    rows = sum(len(source) for source in sources)
    return Expected(rows=min(rows, limit) if limit is not None else rows)


@op("pool", expects=_expect)
def pool(
    sources: Sequence[Iterable[Example]],
    *,
    base: Model,
    avoid: Iterable[Example] = (),
    min_tokens: int = 0,
    max_tokens: int | None = None,
    limit: int | None = None,
    note: str = "",
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields the prompts of `sources`, in order.

    Set aside: `repeated` (the same text before), `held_out` (the same text in `avoid`), `too_short`
    and `too_long` (outside of `min_tokens`..`max_tokens` tokens of `base`), `over_limit` (a random
    choice when more than `limit` are left). `note` is shown with the result.
    """
    tokens = _counter(base)
    held = {_key(row) for row in avoid}
    seen: set[str] = set()
    rows: list[Example] = []
    for source in sources:
        for row in source:
            made = Example(
                instruction=row.instruction,
                input=row.input,
                parents=(row.id,) if row.id else (),
                meta={
                    "origin": row.meta.get("origin", "machine"),
                    **{k: row.meta[k] for k in KEPT_META if k in row.meta},
                },
            )
            key, reason = _key(row), None
            if key in seen:
                reason = "repeated"
            elif key in held:
                reason = "held_out"
            elif (length := tokens(question(row))) < min_tokens:
                reason = "too_short"
            elif max_tokens is not None and length > max_tokens:
                reason = "too_long"
            seen.add(key)
            rows.append(set_aside(made, reason) if reason else made)
    used = [i for i, row in enumerate(rows) if row.set_aside is None]
    if limit is not None and len(used) > limit:
        for i in random.Random(seed).sample(used, len(used) - limit):
            rows[i] = set_aside(rows[i], "over_limit")
    yield from rows
    reasons = Counter(row.set_aside for row in rows if row.set_aside)
    left = [row for row in rows if row.set_aside is None]
    stages = [("given", len(rows)), ("to be answered", len(left))]
    views = [funnel("Prompts", stages, dict(reasons.most_common()))]
    kinds = Counter(str(row.meta["kind"]) for row in left if "kind" in row.meta)
    if kinds:
        views.append(table("Prompts by kind", ["kind", "prompts"], kinds.most_common()))
    if note:
        views.append(alarm("Prompts", note, "note"))
    return views


def _key(row: Example) -> str:
    return " ".join(question(row).split())


def _counter(base: Model) -> Callable[[str], int]:
    """Counts a prompt's tokens; words for a fake model, which has none."""
    if is_fake(base):
        return lambda text: len(text.split())
    from woolgather.prompting.renderer import Renderer

    renderer = Renderer(base.path)
    return lambda text: len(renderer.continuation_ids(text))
