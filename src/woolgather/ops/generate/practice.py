"""Tasks with known checks beside those that a model writes: practice for what can be verified.

The one idea: a task whose answer a program can check needs no judge. They are probes of the families that
are for training (probes/families/sets.py): no model is chosen by these families, and none is reported on
them, so that a gain elsewhere is not their memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized

from pydantic import Field

from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example
from woolgather.probes import Tier, generate, task_of


class Practice(Options):
    """Generated tasks with a check, from the families for training."""

    tasks: int = Field(default=0, ge=0)
    """Tasks in each iteration, about 3,500 at most; 0 leaves them out."""
    tier: Tier | None = None
    """Those as hard alone: easy, middle or hard; None takes all."""


def _expect(tasks: Sized, *, how: Practice, **_: object) -> Expected:
    return Expected(rows=len(tasks) + how.tasks)


@op("practice", expects=_expect)
def add_practice(tasks: Iterable[Example], *, how: Practice, seed: int = 0) -> Iterator[Example]:
    """Yields the tasks, and behind them generated ones with a check in their meta. Raises InputError
    where the families have no more of them."""
    yield from tasks
    yield from map(task_of, generate(how.tasks, seed, "train", how.tier))
