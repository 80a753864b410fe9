"""Tasks with known checks beside those that a model writes: practice for what can be verified.

The one idea: a task whose answer a program can check needs no judge. They are probes of the families that
are for training (probes/families/sets.py): no model is chosen by these families, and none is reported on
them, so that a gain elsewhere is not their memory. A measure forgives words around a right answer; what
is trained on is copied, and so an answer for practice may have twice the words of the known one, and two
more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import replace

from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example
from woolgather.probes import Probe, Tier, generate, task_of
from woolgather.probes.answer_parsing import count_words


class Practice(Options):
    """Generated tasks with a check, from the families for training."""

    tasks: int | tuple[int, ...] = 0
    """Tasks in each iteration, about 6,000 at most; 0 leaves them out. A list gives one number per
    iteration: a base answers few of them rightly, and what is tuned in the first round several times as
    many, so that [0, 600] samples less in vain."""
    tier: Tier | None = None
    """Those as hard alone: easy, middle or hard; None takes all."""

    def at(self, t: int) -> Practice:
        """Returns the practice of iteration `t`, with one number of tasks."""
        if not isinstance(self.tasks, tuple):
            return self
        return self.model_copy(update={"tasks": self.tasks[min(t, len(self.tasks) - 1)]})

    @property
    def most(self) -> int:
        """Returns the greatest number of tasks of an iteration."""
        return max(self.tasks, default=0) if isinstance(self.tasks, tuple) else self.tasks


def _expect(tasks: Sized, *, how: Practice, **_: object) -> Expected:
    return Expected(rows=len(tasks) + how.most)


@op("practice", version=2, expects=_expect)
def add_practice(tasks: Iterable[Example], *, how: Practice, seed: int = 0) -> Iterator[Example]:
    """Yields the tasks, and behind them generated ones with a check in their meta. Raises InputError
    where the families have no more of them."""
    yield from tasks
    yield from (task_of(_limit_words(p)) for p in generate(how.most, seed, "train", how.tier))


def _limit_words(probe: Probe) -> Probe:
    """Returns the probe with a check that no long-winded answer passes."""
    most = 2 * count_words(probe.reference) + 2
    parts = [probe.check] if isinstance(probe.check, Mapping) else probe.check
    bounded = [{**part, "max_words": min(most, part.get("max_words", most))} for part in parts]
    return replace(probe, check=bounded[0] if len(bounded) == 1 else bounded)
