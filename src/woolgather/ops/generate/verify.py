"""Tasks with constraints that an answer provably meets, found backwards from the model's own answers.

The one idea: a program reads off an answer what it happens to meet, and asks for that in the task; so
the row is right by construction. What nearly every answer meets would teach nothing, and an answer alone
could be learned without its constraint, so that each stands beside a contrary one: the same task with
another constraint, which another of the model's own samples meets and this answer does not.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from pydantic import Field

from woolgather.core.errors import ConfigError
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import seed_of
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, set_aside, task_key
from woolgather.core.views import View, alarm, funnel, table
from woolgather.ops.curate.constraints import NO_FILE, CheckFile, Constraint, Value, word
from woolgather.ops.generate.reword import Rewording
from woolgather.ops.text.words import answer_of, count_words

ORIGIN = "verified"
"""Kind of the rows that are made here, in meta `origin`."""
MANY = 4
"""Samples of a task, at least: fewer say little of what its answers meet by chance."""
KEPT_META = ("category", "kind", "topic", "prompt_id")


class Verifying(Options):
    """Making rows with constraints that are met."""

    checks: CheckFile = NO_FILE
    """A Python file with checks beside ours; empty takes ours alone (31)."""
    chance: float = Field(default=0.2, gt=0, lt=1)
    """Greatest share of unconditioned answers that meet a constraint by chance, among those of all tasks
    and among the other samples of the task; for a contrary constraint, too."""
    two: float = Field(default=1 / 3, ge=0, le=1)
    """Share of answers with two constraints, where a second one fits."""
    answers: int = Field(default=2, ge=1)
    """Answers of each task that are given a constraint, at most; each makes two rows."""
    min_words: int = Field(default=8, ge=1)
    """Shorter answers are given none."""
    drawn: int = Field(default=200, ge=20)
    """Answers that are drawn to estimate what is met by chance."""
    paraphrases: int = Field(default=0, ge=0)
    """Other wordings of each phrase that the model is asked for; 0 keeps to ours."""
    reword: Rewording = Rewording()

    # These are for `reword`; `verify` is given the wordings that were kept.
    execution: ClassVar[frozenset[str]] = frozenset({"paraphrases", "reword"})


def check_verifiable(samples: int) -> None:
    """Raises ConfigError for fewer samples of a task than contrary constraints need."""
    if samples < MANY:
        raise ConfigError(
            f"verify with {samples} samples of each task: an answer stands beside another sample of its "
            f"task, and fewer than {MANY} say little. Draw more, such as respond.samples=8."
        )


def _expect(answers: Sized, *, how: Verifying, samples: int, **_: object) -> Expected:
    return Expected(rows=2 * min(how.answers, samples) * max(1, len(answers) // samples))


@op("verify", version=2, expects=_expect, needs={"answers": ("response",)})
def verify(
    answers: Iterable[Example],
    *,
    samples: int,
    how: Verifying = Verifying(),  # noqa: B008 - frozen
    phrases: Iterable[Example] = (),
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields, for each answer that can be given a constraint, its task with it and the answer, and then
    the same task with a contrary constraint and the sample that meets that. Memory grows with the rows.

    `answers` are the samples of each task one after another, as `respond` gives them, and `samples` is
    how many were drawn of each; `phrases` are wordings that `reword` kept. A new row names the answer
    as its parent, the contrary one both answers; its meta has `constraints` (the check, its value and
    the share of answers that meet it by chance). Answers that are not used come out set aside:
    `has_check` (the task has one of its own), `unfinished`, `too_short`, `no_constraint`,
    `no_contrary`, `enough_answers`. Raises ConfigError for fewer than four samples, InputError where a
    check raises.
    """
    check_verifiable(samples)
    rows = list(answers)
    maker = _Maker(rows, how, phrases, seed)
    reasons: Counter[str] = Counter()
    made = 0
    for prompt, group in groupby(rows, task_key):
        for row in maker.make(prompt, list(group)):
            if row.set_aside:
                reasons[row.set_aside] += 1
            else:
                made += 1
            yield row
    views = [
        funnel("Answers with constraints", [("answers", len(rows)), ("used", made // 2)], reasons),
        table("Constraints", ["check", "rows"], maker.used.most_common()),
    ]
    if rows and not made:
        text = "No answer meets a constraint that others fail. Draw more or longer answers."
        views.append(alarm("Nothing was verified", text))
    return views


@dataclass(frozen=True, slots=True)
class _Answer:
    """A usable answer with all that it meets."""

    row: Example
    met: Sequence[Constraint]

    @property
    def text(self) -> str:
        return self.row.response


class _Maker:
    """Makes rows task by task, so that each check is used about as often as any other."""

    def __init__(
        self, rows: Sequence[Example], how: Verifying, phrases: Iterable[Example], seed: int
    ) -> None:
        self.how, self.seed = how, seed
        self.checks = how.checks.checks()
        self.used: Counter[str] = Counter()
        usable = [row.response for row in rows if _fault(row, how.min_words) is None]
        count = min(how.drawn, len(usable))
        self.drawn = random.Random(seed_of(seed, "chance")).sample(usable, count)
        self._shares: dict[tuple[str, Value], float] = {}
        self.wordings: dict[str, list[str]] = {c.name: [c.phrase] for c in self.checks.values()}
        for row in phrases:
            self.wordings[str(row.meta["constraint"])].append(row.response)

    def make(self, prompt: str, group: Sequence[Example]) -> Iterator[Example]:
        """Yields the rows of one task, and its answers that are not used."""
        rng = random.Random(seed_of(self.seed, prompt))
        faults = [_fault(row, self.how.min_words) for row in group]
        task = [
            _Answer(row, self._met(row.response))
            for row, fault in zip(group, faults, strict=True)
            if fault is None
        ]
        for row, fault in zip(group, faults, strict=True):
            if fault:
                yield set_aside(row, fault)
        order = rng.sample(task, len(task))
        count = 0
        for sample in order:
            pair = self._pair(sample, task, rng) if count < self.how.answers else "enough_answers"
            if isinstance(pair, str):
                yield set_aside(sample.row, pair)
                continue
            count += 1
            yield from pair

    def _met(self, answer: str) -> list[Constraint]:
        return [found for each in self.checks.values() for found in each.met(answer)]

    def _pair(
        self, sample: _Answer, task: Sequence[_Answer], rng: random.Random
    ) -> tuple[Example, Example] | str:
        """Returns the two rows of an answer, or why there are none."""
        chances = self._chances(sample, task)
        if not chances:
            return "no_constraint"
        order = sorted(chances, key=lambda each: (self.used[each.check.name], rng.random()))
        for first in order:
            if found := self._contrary(first, sample, task, rng):
                other, contrary, chance = found
                break
        else:
            return "no_contrary"
        ours = {first: chances[first]}
        theirs = {contrary: chance}
        if rng.random() < self.how.two:
            ours |= _second(first, chances, order)
            more = self._chances(other, task)
            theirs |= _second(contrary, more, list(more))
        return self._row(sample, ours, rng), self._row(other, theirs, rng, contrary_to=sample)

    def _chances(self, sample: _Answer, task: Sequence[_Answer]) -> dict[Constraint, float]:
        """Returns what an answer meets and few others do, with the share of them."""
        found = {each: self._chance(each, sample, task) for each in sample.met}
        return {each: chance for each, chance in found.items() if chance <= self.how.chance}

    def _chance(self, each: Constraint, sample: _Answer, task: Sequence[_Answer]) -> float:
        """Returns the share of answers that meet it by chance: of all tasks, or of this one."""
        key = (each.check.name, each.value)
        if key not in self._shares:
            self._shares[key] = sum(map(each.holds, self.drawn)) / len(self.drawn)
        others = [other.text for other in task if other is not sample]
        return max(self._shares[key], sum(map(each.holds, others)) / max(1, len(others)))

    def _contrary(
        self, first: Constraint, sample: _Answer, task: Sequence[_Answer], rng: random.Random
    ) -> tuple[_Answer, Constraint, float] | None:
        """Returns another sample that fails `first`, with what it meets and the answer does not, as rare
        as `how.chance`: by the same check if there is something, else by another. The rarest is taken;
        None without any."""

        def find(own: bool) -> list[tuple[_Answer, Constraint, float]]:
            return [
                (other, each, chance)
                for other in failing
                for each in other.met
                if (each.check.name == first.check.name) == own and not each.holds(sample.text)
                if (chance := self._chance(each, other, task)) <= self.how.chance
            ]

        failing = [other for other in task if not first.holds(other.text)]
        found = find(own=True) or find(own=False)
        return min(found, key=lambda each: (each[2], rng.random()), default=None)

    def _row(
        self,
        sample: _Answer,
        constraints: Mapping[Constraint, float],
        rng: random.Random,
        contrary_to: _Answer | None = None,
    ) -> Example:
        row, from_ = sample.row, [sample] + ([contrary_to] if contrary_to else [])
        asked = [
            word(rng.choice(self.wordings[each.check.name]), each.value) for each in constraints
        ]
        self.used.update(each.check.name for each in constraints)
        told = [each.told(chance=round(chance, 4)) for each, chance in constraints.items()]
        kept = {key: row.meta[key] for key in KEPT_META if key in row.meta}
        return Example(
            instruction=_join(row.instruction, asked),
            input=row.input,
            system=row.system,
            response=row.response,
            finish_reason=row.finish_reason,
            parents=tuple(each.row.id for each in from_ if each.row.id),
            meta={
                **kept,
                "origin": ORIGIN,
                "constraints": told,
                **({"contrary": True} if contrary_to else {}),
            },
        )


def _second(
    first: Constraint, chances: Mapping[Constraint, float], order: Sequence[Constraint]
) -> dict[Constraint, float]:
    """Returns one more constraint by another check; nothing where there is none."""
    more = (each for each in order if each.check.name != first.check.name)
    return {each: chances[each] for each in list(more)[:1]}


def _join(instruction: str, phrases: Sequence[str]) -> str:
    """Returns an instruction with what else is asked behind it: on its last line, or below a line that
    does not end as a sentence does."""
    instruction = instruction.strip()
    space = " " if instruction.endswith((".", "!", "?")) else "\n"
    return space.join([instruction, " ".join(phrases)])


def _fault(row: Example, min_words: int) -> str | None:
    if row.meta.get("check"):
        return "has_check"
    if row.finish_reason == "length":
        return "unfinished"
    return "too_short" if count_words(answer_of(row.response)) < min_words else None
