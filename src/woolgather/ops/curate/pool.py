"""The prompts that will be answered: any number of sources made one set, clean and without doubles.

The one idea: only the question of a row counts, whatever it came with; its old answer and its system
turn are left behind. A prompt that is held out is set aside here, so that nothing measured is trained
on. What is answered with, and how well, is not asked.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from typing import ClassVar

from pydantic import Field

from woolgather.core.artifacts import Model
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, question, set_aside
from woolgather.core.views import View, alarm, funnel, table
from woolgather.ops.curate.rouge_l import LIKE_MEASURED, NoveltyIndex, NoveltyOptions
from woolgather.training.job import is_fake

KEPT_META = ("category", "kind", "topic")


class Pooling(Options):
    """Which prompts are answered."""

    min_tokens: int = Field(default=2, ge=0)
    """Shorter prompts are set aside."""
    max_tokens: int | None = Field(default=256, ge=1)
    """Longer prompts are set aside; None keeps all."""
    limit: int | None = Field(default=None, ge=1)
    """A random choice of this many when there are more; None answers all."""
    novelty: NoveltyOptions = NoveltyOptions(of="question")
    """How unlike all that models are measured on a prompt must be."""

    added: ClassVar[frozenset[str]] = frozenset({"novelty"})


def _expect(sources: Sequence[Sized], *, how: Pooling, **_: object) -> Expected:
    rows = sum(map(len, sources))
    return Expected(rows=min(rows, how.limit) if how.limit is not None else rows)


@op("pool", version=2, expects=_expect)
def pool(
    sources: Sequence[Iterable[Example]],
    *,
    base: Model,
    how: Pooling = Pooling(),  # noqa: B008 - frozen
    measured: Sequence[Iterable[Example]] = (),
    note: str = "",
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields the prompts of `sources`, in order.

    Set aside: `repeated` (the same text before), `like_measured` (the same text as a task in `measured`,
    or nearly so), `too_short` and `too_long` (fewer or more tokens of `base` than `how` allows),
    `over_limit` (a random choice when more than `how.limit` are left). `note` is shown with the result.
    """
    tokens, novelty = _counter(base), how.novelty
    tasks = [row for group in measured for row in group]
    held, index = set(map(_key, tasks)), NoveltyIndex(list(map(novelty.text, tasks)))
    seen: set[str] = set()
    rows: list[Example] = []
    for source in sources:
        given = list(source)
        near = index.nearest_of_each(list(map(novelty.text, given)), novelty.threshold)
        for row, nearest in zip(given, near, strict=True):
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
            elif key in held or nearest is not None:
                reason = LIKE_MEASURED
            elif (length := tokens(question(row))) < how.min_tokens:
                reason = "too_short"
            elif how.max_tokens is not None and length > how.max_tokens:
                reason = "too_long"
            seen.add(key)
            rows.append(set_aside(made, reason) if reason else made)
    used = [i for i, row in enumerate(rows) if row.set_aside is None]
    if how.limit is not None and len(used) > how.limit:
        for i in random.Random(seed).sample(used, len(used) - how.limit):
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
    """Returns what counts a prompt's tokens; words for a fake model, which has none."""
    if is_fake(base):
        return lambda text: len(text.split())
    from woolgather.prompting.renderer import Renderer

    renderer = Renderer(base.path)
    return lambda text: len(renderer.continuation_ids(text))
