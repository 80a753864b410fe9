"""Pairs of a model's own answers to one task, of which one passes the task's check and the other fails.

The one idea: the check decides which answer is preferred, and nothing else may tell the two apart: both
are finished, both are the same model's, and they are of about one length.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import groupby, product
from typing import ClassVar

from pydantic import Field, model_validator

from woolgather.core.errors import ConfigError
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import seed_of
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, PreferencePair, question, set_aside, task_key
from woolgather.core.views import View, alarm, funnel, histogram
from woolgather.engines.base import Sampling
from woolgather.ops.curate.constraints import (
    NO_FILE,
    Check,
    CheckFile,
    meets_all,
    read_constraints,
)
from woolgather.ops.text.words import count_words
from woolgather.probes.checks import Check as MachineCheck
from woolgather.probes.checks import passes, passes_strictly
from woolgather.training.job import DpoOptions, LoraOptions

FEWEST = 8
"""Pairs below which nothing is trained, as in preference training at large."""
KEPT_META = ("category", "kind", "topic", "constraints", "check")


class Pairing(Options):
    """Preference training on pairs that a check tells apart, from the tuned model's own samples."""

    prompts: int = Field(default=600, ge=1)
    """Tasks that are answered, a random choice where there are more."""
    samples: int = Field(default=8, ge=2)
    """Answers to each."""
    sampling: Sampling = Sampling(temperature=1.0, max_tokens=512)
    ratio: tuple[float, float] = (0.7, 1.4)
    """Least and greatest length, in words, of the answer that passes as a multiple of the other's."""
    dpo: DpoOptions = DpoOptions(
        learning_rate=1e-5,
        nll_weight=1.0,
        batch_size=16,
        optimizer="adamw_torch",
        stop_fall=0.1,
        lora=LoraOptions(r=32, alpha=64.0, dropout=0.0),
    )
    lora_scale: tuple[float, ...] = (0.5, 0.75, 1.0)
    """How much of the trained adapter is merged, tried one by one: the best on what selects goes on."""

    execution: ClassVar[frozenset[str]] = frozenset(
        {"prompts", "samples", "sampling", "dpo", "lora_scale"}
    )  # `pair_checked` is given what was made with them

    @model_validator(mode="after")
    def _check_numbers(self) -> Pairing:
        least, greatest = self.ratio
        if not 0 < least <= greatest:
            raise ConfigError(
                f"pairs.ratio: {list(self.ratio)} are no two numbers above 0 in order."
            )
        if not self.lora_scale or (self.dpo.lora is None and self.lora_scale != (1.0,)):
            raise ConfigError(
                "pairs.lora_scale: give numbers such as [0.5, 1], and [1] where all weights are "
                "trained (pairs.dpo.lora=null), which cannot be scaled."
            )
        if self.dpo.keep_epochs:
            raise ConfigError("pairs.dpo.keep_epochs: pairs train for the last model alone.")
        return self


def _expect_prompts(sources: Sequence[Sized], *, limit: int, **_: object) -> Expected:
    return Expected(rows=min(limit, sum(map(len, sources))))


@op("checked_tasks", expects=_expect_prompts)
def checked_tasks(
    sources: Sequence[Iterable[Example]], *, limit: int, seed: int = 0
) -> Iterator[Example]:
    """Yields the tasks of `sources` that have a check or constraints, each once and without its answer;
    a random choice of `limit` of them where there are more."""
    found: dict[str, Example] = {}
    for row in (row for source in sources for row in source):
        if row.meta.get("constraints") or row.meta.get("check"):
            found.setdefault(question(row), row)
    rows = list(found.values())
    for row in random.Random(seed).sample(rows, min(limit, len(rows))):
        meta = {key: row.meta[key] for key in KEPT_META if key in row.meta}
        parents = (row.id,) if row.id else ()
        yield replace(row, id="", response="", finish_reason=None, parents=parents, meta=meta)


def _expect_pairs(answers: Sized, *, samples: int, **_: object) -> Expected:
    return Expected(rows=max(1, len(answers) // samples))


@op("pair_checked", version=2, expects=_expect_pairs, needs={"answers": ("response",)})
def pair_checked(
    answers: Iterable[Example],
    *,
    samples: int,
    how: Pairing = Pairing(),  # noqa: B008 - frozen
    checks: CheckFile = NO_FILE,
    seed: int = 0,
) -> Generator[PreferencePair, None, list[View]]:
    """Yields one pair per task, a random one of those that fit.

    `answers` are the samples of each task one after another, as `respond` gives them. One side passes as
    it stands, the other fails also without a lead-in or other wrapping. Set aside:
    `none_passes` and `none_fails` (of the finished answers), `unlike_lengths` (no two within
    `how.ratio`). Parents are both answers. Raises InputError for a check that is unknown or raises.
    """
    known = checks.checks()
    reasons: Counter[str] = Counter()
    lengths: dict[str, list[float]] = {"passes": [], "fails": []}
    total = 0
    for prompt, group in groupby(answers, task_key):
        total += 1
        made = _pair(list(group), how, known, random.Random(seed_of(seed, prompt)))
        if made.set_aside:
            reasons[made.set_aside] += 1
        else:
            lengths["passes"].append(count_words(made.chosen))
            lengths["fails"].append(count_words(made.rejected))
        yield made
    used = total - reasons.total()
    views = [
        funnel("Pairs by check", [("tasks", total), ("pairs", used)], reasons),
        histogram("Length of both sides", lengths, x="words"),
    ]
    if used < FEWEST:
        text = (
            f"{used} pairs came out, and fewer than {FEWEST} are not trained on. Ask for more tasks "
            "(pairs.prompts, verify.answers) or more samples (pairs.samples)."
        )
        views.append(alarm("Too few pairs to train on", text))
    return views


def _pair(
    group: Sequence[Example], how: Pairing, checks: Mapping[str, Check], rng: random.Random
) -> PreferencePair:
    finished = [row for row in group if row.finish_reason != "length" and row.response.strip()]
    right = [row for row in finished if _passes(row, checks, passes_strictly)]
    wrong = [row for row in finished if not _passes(row, checks, passes)]
    fitting = [pair for pair in product(right, wrong) if _fits(pair, how.ratio)]
    if fitting:
        return _make(group[0], *rng.choice(fitting))
    reason = "none_passes" if not right else "none_fails" if not wrong else "unlike_lengths"
    return set_aside(_make(group[0], *right[:1], *wrong[:1]), reason)


def _make(task: Example, *sides: Example) -> PreferencePair:
    chosen, rejected = (side.response.strip() for side in (*sides, *[task] * (2 - len(sides))))
    return PreferencePair(
        instruction=question(task),
        system=task.system,
        chosen=chosen,
        rejected=rejected,
        parents=tuple(side.id for side in sides if side.id),
        meta={key: task.meta[key] for key in ("prompt_id", *KEPT_META) if key in task.meta},
    )


def _passes(
    row: Example, checks: Mapping[str, Check], judge: Callable[[str, MachineCheck], bool]
) -> bool:
    told = row.meta.get("constraints")
    if told:
        return meets_all(row.response, read_constraints(told, checks))
    return judge(row.response, row.meta["check"])


def _fits(pair: tuple[Example, Example], ratio: tuple[float, float]) -> bool:
    right, wrong = (max(1, count_words(row.response)) for row in pair)
    return ratio[0] <= right / wrong <= ratio[1]
