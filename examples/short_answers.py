"""A recipe and an op of your own in one file: tune a model on its own short answers.

    woolgather run ./examples/short_answers.py base=embedded words=12
    woolgather run ./examples/short_answers.py base=fake --engine fake      # a dry run in seconds

The one idea: a recipe is a `Config` and a function `recipe`, an op is a function over rows that says
what it makes and what it costs. Neither needs a line anywhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

from woolgather import Example, Model, Scope, op
from woolgather.core.expected import Expected
from woolgather.core.options import Options
from woolgather.core.rows import set_aside
from woolgather.data import builtin_seeds
from woolgather.engines.base import Sampling
from woolgather.ops.generate.respond import Responding, respond
from woolgather.ops.train.merge import merge
from woolgather.ops.train.sft import sft
from woolgather.training.job import SftOptions


class Config(Options):
    base: str = ""
    """Base model: a folder, `repo[@revision]` on the hub, or `embedded`."""
    seeds: str = ""
    """File of tasks; empty takes ours."""
    words: int = 20
    """Longest answer to be tuned on, in words."""
    answers: Responding = Responding(sampling=Sampling(temperature=0.7, max_tokens=64))
    sft: SftOptions = SftOptions(max_updates=20, warmup_updates=0.1)


def _at_most(rows: Any, **_: Any) -> Expected:
    """The size of the work, for `plan`: no call to a model, and no more rows than came in."""
    return Expected(rows=len(rows) if isinstance(rows, Sized) else 0)


@op("keep_short", expects=_at_most)
def keep_short(rows: Iterable[Example], *, words: int) -> Iterator[Example]:
    """Yields every row; an answer of more than `words` words is set aside as too_wordy."""
    for row in rows:
        yield set_aside(row, "too_wordy") if len(row.response.split()) > words else row


def recipe(run: Scope, cfg: Config) -> Model:
    seeds, base = run.rows("seeds", cfg.seeds or builtin_seeds()), run.model("base", cfg.base)
    answers = run.step("respond", respond, seeds, run.engine(base), how=cfg.answers)
    short = run.step("short", keep_short, answers, words=cfg.words)
    tuned = run.step("train", sft, short, start=base, config=cfg.sft, trainer=run.trainer())
    return run.step("result", merge, tuned, trainer=run.trainer())
