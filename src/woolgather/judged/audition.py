"""The audition of a judge: it is asked just as it will be, about answers whose order is known.

The one idea: a judge that passes a test of another kind has passed another test. Where it will grade, it
grades; where it will compare, it compares, by the same prompt, in both orders, and is read the same way.
One that fails judges nothing; whether it went by the place of an answer, or by its length, is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from woolgather.core.errors import YieldError
from woolgather.core.intervals import Estimate, family_interval, rate_interval
from woolgather.core.rows import JSON, Example
from woolgather.engines.base import Engine
from woolgather.judged.answers import BenchmarkAnswer
from woolgather.judged.compare import BothOrders, compare_answers
from woolgather.judged.judge import GRADING
from woolgather.judged.known_pairs import CUT, KINDS, PADDED, KnownPair, build_known_pairs
from woolgather.judged.questions import BenchmarkQuestion
from woolgather.ops.judge.assessors import TEXT_SCORES, assessor_of
from woolgather.ops.judge.audition import AuditionOptions, audition

PAIRS = 100
"""Pairs in an audition, over all kinds: 200 calls, to grade both answers or to compare them in both
orders."""
CHANCE = 0.5
SHOWN = 60
"""Characters of a reply that an error shows."""
TO_GRADE = AuditionOptions(candidates=("rubric",), probes=0)
"""None of its own answers to probes: a server's are dear, and the built pairs include answers with one
fact exchanged."""


def hire_to_grade(judge: Engine, name: str, seeds: Iterable[Example]) -> str:
    """Returns what the audition of the judge found. `seeds` are answered tasks; `name` is what the user
    calls the judge. Raises YieldError where it failed."""
    how = TO_GRADE.model_copy(update={"pairs": PAIRS})
    found = audition(seeds, judge, how=how, asked=GRADING)
    if not assessor_of(found).fit:
        raise _refuse(name, found.why)
    return found.why


def hire_to_compare(heard: Comparing, name: str) -> str:
    """Returns what the judge's comparisons came to, as `hire_to_grade` does."""
    if unread := heard.find_unread():
        raise _refuse(name, unread)
    if fault := heard.find_fault():
        raise _refuse(name, f"{fault}. It was {heard.told}")
    return heard.told


def _refuse(name: str, why: str) -> YieldError:
    return YieldError(
        f"the judge {name} failed its audition, and judges nothing: {why}. The answers are kept; name a "
        "stronger judge and give the command again."
    )


@dataclass(frozen=True)
class Comparing:
    """What a judge said of pairs whose order is known."""

    pairs: Sequence[KnownPair]
    verdicts: Sequence[BothOrders]
    """By pair; the better answer stands for the model's, the worse one for the reference."""

    @property
    def rights(self) -> list[float]:
        """Returns 1 for each pair on which both orders found the better answer, 0 where both found the
        worse one, .5 where neither is so or a reply could not be read."""
        return [CHANCE if each.win is None else each.win for each in self.verdicts]

    def rate(self, *kinds: str) -> Estimate | None:
        """Returns the mean of `rights` over pairs of these kinds, with an interval over seeds; over all
        without any."""
        chosen = [
            (right, pair.group)
            for right, pair in zip(self.rights, self.pairs, strict=True)
            if not kinds or pair.kind in kinds
        ]
        return rate_interval([right for right, _ in chosen], [group for _, group in chosen])

    def ahead_of(self, rule: Callable[[Example], float]) -> Estimate:
        """Returns `rate` less that of taking the answer that scores more by a rule, or the one that
        scores less where that is right more often."""
        chosen = [_choose_by(rule, pair) for pair in self.pairs]
        if sum(chosen) < CHANCE * len(chosen):
            chosen = [1 - each for each in chosen]
        gains = [mine - theirs for mine, theirs in zip(self.rights, chosen, strict=True)]
        found = family_interval(gains, [pair.group for pair in self.pairs])
        assert found
        return found

    def find_unread(self) -> str:
        """Returns, with a reply for an example, that most pairs have no readable verdict; empty where
        they have."""
        replies = [reply for each in self.verdicts if each.win is None for reply in each.replies]
        said = [reply.text.strip() for reply in replies if reply.preferred is None]
        unreadable, count = len(replies) // 2, len(self.pairs)
        if 2 * unreadable <= count:
            return ""
        return (
            f"on {unreadable} of {count} pairs no verdict could be read, since its replies do not end "
            f"with a line such as 'Better: 1' (one ends with {said[0][-SHOWN:]!r})"
        )

    def find_fault(self) -> str:
        """Returns why a judge whose verdicts can be read is not fit, as a clause about it; empty where it
        is."""
        count = len(self.pairs)
        by_place = sum(map(_goes_by_place, self.verdicts))
        if _is_clear(by_place, count):
            return (
                "it goes by the place of an answer: it named the same place in both orders of "
                f"{by_place} of {count} pairs"
            )
        for kind, longer in ((PADDED, "longer"), (CUT, "shorter")):
            rate = self.rate(kind)
            if rate and rate.high < CHANCE:
                return (
                    f"it goes by length: it took the {longer} answer where that was the worse one "
                    f"({_spell(rate)} right)"
                )
        rate = self.rate()
        if not rate or rate.low <= CHANCE:
            return "it is not seen to be better than chance"
        for name, rule in TEXT_SCORES.items():
            if not self.ahead_of(rule).above_zero:
                return f"it is not seen to be better than a rule that asks no model ({name})"
        return ""

    @property
    def told(self) -> str:
        """Returns how often the judge was right, over all pairs and by kind, and how often the order of
        the two answers changed what it said."""
        rates = ((kind, self.rate(kind)) for kind in KINDS)
        by_kind = ", ".join(f"{kind} {100 * rate.value:.0f}" for kind, rate in rates if rate)
        disagreements = sum(each.disagrees for each in self.verdicts)
        return (
            f"right on {_spell(self.rate())} of {len(self.pairs)} pairs of which one answer was made "
            f"worse (50 is chance; {by_kind}); on {disagreements} its verdict changed with the order"
        )

    def rows(self, judge: str) -> Iterator[dict[str, JSON]]:
        """Yields a record per order, with the texts and the judge's reply as it stands."""
        sides = {"answer": "better", "reference": "worse"}
        for pair, verdict in zip(self.pairs, self.verdicts, strict=True):
            for reply in verdict.replies:
                yield {
                    "judge": judge,
                    "kind": pair.kind,
                    "asked": pair.task,
                    "better": pair.better,
                    "worse": pair.worse,
                    "first": "better" if reply.answer_first else "worse",
                    "preferred": sides.get(str(reply.preferred), reply.preferred),
                    "reply": reply.text,
                }


def hear_comparing(judge: Engine, seeds: Iterable[Example]) -> Comparing:
    """Returns what the judge says of pairs made from answered `seeds`. Raises EngineError where it gave
    up on some."""
    known = build_known_pairs(list(seeds), PAIRS // len(KINDS))
    answers = [
        BenchmarkAnswer(
            BenchmarkQuestion(str(number), (pair.task,), references=(pair.worse,)), (pair.better,)
        )
        for number, pair in enumerate(known)
    ]
    return Comparing(known, compare_answers(answers, judge))


def _choose_by(rule: Callable[[Example], float], pair: KnownPair) -> float:
    better, worse = (
        rule(Example(instruction=pair.task, response=text)) for text in (pair.better, pair.worse)
    )
    return CHANCE + CHANCE * ((better > worse) - (better < worse))


def _goes_by_place(verdict: BothOrders) -> bool:
    return {reply.preferred for reply in verdict.replies} == {"answer", "reference"}


def _is_clear(count: int, of: int) -> bool:
    """Returns whether a count is clearly more than half."""
    found = rate_interval([1.0] * count + [0.0] * (of - count))
    return found is not None and found.low > CHANCE


def _spell(rate: Estimate | None) -> str:
    assert rate
    return rate.format(".0f", 100, " %")
