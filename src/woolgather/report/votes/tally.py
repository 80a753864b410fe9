"""What the votes of a poll say: which model is preferred, how surely, and which judges agree with people.

The one idea: a few votes can only show that a judge is bad. So every number has its interval, agreement
and preference have exact ones, a win rate over all prompts is given from a hundred votes on, and that
one model is preferred is said when an interval says so that holds whenever one stops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from woolgather.core.intervals import Estimate
from woolgather.core.views import View, table, table_cell
from woolgather.report.votes.ballot import AnswerPair, Poll, Preferred, read_polls
from woolgather.report.votes.intervals import anytime_interval, exact_interval, powered_interval

FEW, ENOUGH = 20, 100
"""Votes that can only reject a bad judge, and votes from which on a win rate is given."""
_WORTH: Mapping[Preferred, float] = {"first": 1.0, "tie": 0.5, "second": 0.0}


@dataclass(frozen=True)
class VoteAgreement:
    """How often a judge and people prefer the same answer, where both prefer one."""

    judge: str
    rate: Estimate | None
    """None where there is no such pair."""
    ties: int
    """Pairs that people prefer one answer of, and that are equal to the judge."""

    @property
    def clear(self) -> int:
        """Returns the number of pairs that the rate is of."""
        return self.rate.count if self.rate else 0

    @property
    def said(self) -> str:
        """Returns what the interval excludes, in a few words."""
        if self.rate is None:
            return "not known"
        if self.rate.high < 0.5:
            return "worse than a coin"
        return "better than a coin" if self.rate.low > 0.5 else "not told from a coin"


@dataclass(frozen=True)
class VoteTally:
    """The votes of a poll, counted."""

    poll: Poll
    votes: Mapping[str, Preferred]
    """By pair; those on pairs that the run no longer has are left out."""

    @classmethod
    def count(cls, poll: Poll, votes: Mapping[str, Preferred]) -> VoteTally:
        """Returns the tally of the votes on pairs of the poll."""
        known = {pair.id for pair in poll.pairs}
        return cls(poll, {name: choice for name, choice in votes.items() if name in known})

    @cached_property
    def counts(self) -> dict[Preferred, int]:
        """Returns the votes by choice."""
        choices = list(self.votes.values())
        return {choice: choices.count(choice) for choice in _WORTH}

    @cached_property
    def preferred(self) -> Estimate | None:
        """Returns how often people prefer the first model where they prefer one."""
        first, second = self.counts["first"], self.counts["second"]
        return exact_interval(first, first + second)

    @cached_property
    def anytime(self) -> tuple[float, float]:
        """Returns the interval of the same share that holds whenever one stops."""
        return anytime_interval(self.counts["first"], self.counts["second"])

    @property
    def winner(self) -> str:
        """Returns the model that is preferred whenever one stops; empty while that is open."""
        low, high = self.anytime
        first, second = self.poll.models
        return first if low > 0.5 else second if high < 0.5 else ""

    @cached_property
    def judges(self) -> list[str]:
        """Returns the names of all judges, assessors first."""
        return list(dict.fromkeys(name for pair in self.poll.pairs for name in pair.judged))

    @cached_property
    def win_rate(self) -> Estimate | None:
        """Returns the win rate of the first model over all prompts, ties half; None for fewer votes than
        ENOUGH. The first judge of all takes part; where it said nothing, it prefers neither."""
        if len(self.votes) < ENOUGH:
            return None
        seen = [pair for pair in self.poll.pairs if pair.id in self.votes]
        rest = [pair for pair in self.poll.pairs if pair.id not in self.votes]
        worth = [_WORTH[self.votes[pair.id]] for pair in seen]
        return powered_interval(worth, self._judged(seen), self._judged(rest))

    def _judged(self, pairs: Sequence[AnswerPair]) -> list[float]:
        return [pair.judged.get(judge, 0.5) for judge in self.judges[:1] for pair in pairs]

    @cached_property
    def agreements(self) -> list[VoteAgreement]:
        """Returns how far each judge agrees with the votes."""
        return [self._agreement(judge) for judge in self.judges]

    def _agreement(self, judge: str) -> VoteAgreement:
        both = [
            (_WORTH[vote], pair.judged[judge])
            for pair in self.poll.pairs
            if (vote := self.votes.get(pair.id, "tie")) != "tie" and judge in pair.judged
        ]
        clear = [vote == said for vote, said in both if said != 0.5]
        return VoteAgreement(judge, exact_interval(sum(clear), len(clear)), len(both) - len(clear))

    @property
    def sentence(self) -> str:
        """Returns what came of the votes."""
        first, second = self.poll.models
        count = len(self.votes)
        if self.preferred is None:
            return f"{count} vote{'' if count == 1 else 's'}, and none that prefers {first} or {second}."
        said = f"{first} is preferred to {second} in {self.preferred.format('.0f', 100, ' %')} of "
        said += f"{self.preferred.count} votes that prefer one of them"
        if self.winner:
            return f"{said}; that {self.winner} is the better holds whenever one stops."
        return f"{said}; which of them is the better is still open."

    def views(self) -> list[View]:
        """Returns the tables that a report draws."""
        first, second = self.poll.models
        low, high = self.anytime
        always = self.preferred and replace(self.preferred, low=low, high=high)
        rows = [
            [f"votes for {first}", self.counts["first"]],
            [f"votes for {second}", self.counts["second"]],
            ["ties", self.counts["tie"]],
            ["pairs without a vote", len(self.poll.pairs) - len(self.votes)],
            [f"{first} preferred, ties left out", table_cell(self.preferred, "percent")],
            ["the same, whenever one stops", table_cell(always, "percent")],
            [self._win_rate_name(), table_cell(self.win_rate, "percent") or self._still()],
        ]
        found = [table("Votes", ["measure", "value"], rows, explain(len(self.votes)))]
        if self.judges:
            lines = [
                [each.judge, table_cell(each.rate, "percent"), each.clear, each.ties, each.said]
                for each in self.agreements
            ]
            columns = ["judge", "agrees with the votes", "pairs", "equal to it", "verdict"]
            note = (
                "On pairs of which people and the judge both prefer one answer, with exact intervals. "
                "An interval that holds 50 % does not tell the judge from a coin."
            )
            found.append(table("Judges against the votes", columns, lines, note))
        return found

    def _win_rate_name(self) -> str:
        by = f", by votes and {self.judges[0]}" if self.judges and self.win_rate else ""
        return f"win rate of {self.poll.models[0]}, ties half{by}"

    def _still(self) -> str:
        return f"from {ENOUGH} votes on"


def explain(count: int) -> str:
    """Returns what so many votes can tell and what they cannot."""
    if count >= ENOUGH:
        return (
            "The win rate is over all prompts of the poll: votes on some, and a judge's verdicts on all "
            "that the votes correct."
        )
    agreed = 4 * FEW // 5
    rate = exact_interval(agreed, FEW)
    assert rate is not None
    return (
        f"{FEW} votes can only reject a bad judge: one that agrees with {agreed} of them may agree with "
        f"{100 * rate.low:.0f} to {100 * rate.high:.0f} % of all. From {ENOUGH} on there is a win rate."
    )


def read_tallies(run_dir: Path) -> list[VoteTally]:
    """Returns the tally of every poll of a run that has a vote. Raises RunDirError for a broken file."""
    found = [VoteTally.count(poll, file.read()) for poll, file in read_polls(run_dir)]
    return [tally for tally in found if tally.votes]
