"""Keep what a model's own samples agree on: rejection sampling by checks and by majority.

The one idea: where a base can do more in one of many samples than in most of them, choosing among its
samples shows it what it can do, and no judge is asked. A task with a check has right answers, right as
they stand, for a lead-in that a measure forgives would be learned. One without has at most a commonest
answer (self-consistency, arXiv 2203.11171), and a task whose samples are all right, or nearly all wrong,
teaches nothing. A task that is open has no commonest answer: one of its samples is drawn, as a control
draws them, until a judge has earned the choice.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from dataclasses import replace
from itertools import groupby

from pydantic import Field, model_validator

from woolgather.core.errors import ConfigError
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import seed_of
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, set_aside, task_key
from woolgather.core.views import View, alarm, funnel, histogram
from woolgather.ops.text.words import answer_of, count_words
from woolgather.probes.checks import passes_strictly

MANY = 4
"""Samples of a task from which an agreement says something."""


class Agreement(Options):
    """Choosing among several samples of each task."""

    share: float = Field(default=0.375, gt=0, le=1)
    """Least share of a task's samples that give the commonest answer, where the task has no check."""
    rates: tuple[float, float] = (0.1, 0.9)
    """Least and greatest share of right samples, or of those that agree, of a task that is kept."""
    answers: int = Field(default=2, ge=1)
    """Different right answers of one task that are kept, at most, the commonest first, of those as common
    the shortest."""
    words: int = Field(default=12, ge=1)
    """A task is open where most of its samples have more words than this."""

    @model_validator(mode="after")
    def _check_rates(self) -> Agreement:
        least, greatest = self.rates
        if not 0 <= least < greatest <= 1:
            raise ConfigError(
                f"agreement.rates: {list(self.rates)} are no two shares from 0 to 1, the lesser first."
            )
        return self


def _expect(rows: Sized, *, samples: int, **_: object) -> Expected:
    return Expected(rows=max(1, len(rows) // samples))


@op("agree", version=2, expects=_expect, needs={"rows": ("response",)})
def agree(
    rows: Iterable[Example],
    *,
    samples: int,
    rule: Agreement = Agreement(),  # noqa: B008 - frozen
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields every sample again, those not kept set aside.

    `rows` are the samples of each task one after another, as `respond` gives them, and `samples` is how
    many were drawn of each: one that is missing (cut, or against a rule) is a wrong one. A task has a
    check in its meta, or it is closed where most samples are short. Reasons: `check_failed`,
    `not_the_commonest`, `no_agreement` (of no answer enough samples), `too_easy` and `too_hard` (the
    share of right samples beyond `rule.rates`), `one_more_like_it`, `enough_answers`, `not_drawn` (of
    an open task). Rows kept have meta `agreed`, the share of samples that are right or alike. Raises
    ConfigError for fewer than four samples.
    """
    check_samples(samples)
    counts: Counter[str] = Counter()
    tasks: Counter[str] = Counter()
    shares: list[float] = []
    total = 0
    for prompt, group in _by_task(rows):
        total += len(group)
        kind, share, reasons = _decide(group, samples, rule, random.Random(seed_of(seed, prompt)))
        tasks[kind] += 1
        if kind != "open":
            shares.append(share)
        for row, reason in zip(group, reasons, strict=True):
            if reason:
                counts[reason] += 1
                yield set_aside(row, reason)
            else:
                agreed = {} if kind == "open" else {"agreed": round(share, 4)}
                yield replace(row, meta={**row.meta, **agreed})
    kept = total - counts.total()
    views = [
        funnel("Kept by agreement", [("samples", total), ("kept", kept)], counts),
        histogram(
            "Agreement",
            {"tasks": shares},
            x="share of samples",
            note=", ".join(f"{tasks[kind]} {kind}" for kind in ("checked", "closed", "open")),
        ),
    ]
    if total and not kept:
        text = (
            "No task has samples that are right, or that agree, in a share within agreement.rates."
        )
        views.append(alarm("Nothing was kept", text))
    return views


def check_samples(samples: int) -> None:
    """Raises ConfigError for fewer samples of a task than can say anything by agreeing."""
    if samples < MANY:
        raise ConfigError(
            f"agreement with {samples} samples of each task: fewer than {MANY} that agree say nothing. "
            "Draw more, such as respond.samples=8."
        )


def _by_task(rows: Iterable[Example]) -> Iterator[tuple[str, list[Example]]]:
    for prompt, group in groupby(rows, task_key):
        yield prompt, list(group)


def _decide(
    group: Sequence[Example], samples: int, rule: Agreement, rng: random.Random
) -> tuple[str, float, list[str | None]]:
    """Returns the kind of task, the share of samples that are right or alike, and by sample the reason
    to set it aside."""
    check = group[0].meta.get("check")
    said = [answer_of(row.response) for row in group]
    if check:
        right = [passes_strictly(row.response, check) for row in group]
        share = sum(right) / samples
        return "checked", share, _pick(said, right, "check_failed", share, rule)
    if 2 * sum(count_words(row.response) <= rule.words for row in group) <= len(group):
        drawn = rng.randrange(len(group))
        return "open", 0.0, [None if i == drawn else "not_drawn" for i in range(len(group))]
    answer, votes = Counter(said).most_common(1)[0]
    share = votes / samples
    if share < rule.share:
        return "closed", share, ["no_agreement"] * len(group)
    alike = [one == answer for one in said]
    return "closed", share, _pick(said, alike, "not_the_commonest", share, rule)


def _pick(
    said: Sequence[str], right: Sequence[bool], wrong: str, share: float, rule: Agreement
) -> list[str | None]:
    """Returns by sample the reason to set it aside: the first of each answer stays, the commonest
    answers first, of those as common the shortest."""
    least, greatest = rule.rates
    if not least <= share <= greatest:
        return ["too_easy" if share > greatest else "too_hard"] * len(said)
    votes = Counter(one for one, is_right in zip(said, right, strict=True) if is_right)
    ranked = sorted(votes, key=lambda answer: (-votes[answer], len(answer)))
    wanted = set(ranked[: rule.answers])
    reasons: list[str | None] = []
    taken: set[str] = set()
    for one, is_right in zip(said, right, strict=True):
        if not is_right:
            reasons.append(wrong)
        elif one not in wanted:
            reasons.append("enough_answers")
        else:
            reasons.append("one_more_like_it" if one in taken else None)
            taken.add(one)
    return reasons


@op("draw_alike", expects=lambda rows, like, **_: Expected(rows=len(like)))
def draw_alike(
    rows: Iterable[Example], like: Iterable[Example], *, seed: int = 0
) -> Iterator[Example]:
    """Yields for each row of `like` a random one of `rows` to the same task, each once: what choosing
    among samples is compared with. A task has as many samples as it has rows in `like`, or all."""
    wanted = Counter(task_key(row) for row in like)
    for prompt, group in _by_task(rows):
        count = min(wanted[prompt], len(group))
        drawn = set(random.Random(seed_of(seed, prompt)).sample(range(len(group)), count))
        for i, row in enumerate(group):
            if i in drawn:
                yield row
