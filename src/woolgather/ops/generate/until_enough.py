"""Ask in waves until enough new tasks are accepted, or until it is plain that they will not be.

The one idea: what is accepted never depends on which answer arrived first, so prompts are asked by
the wave and read in the order of asking, and each task is held against all before it. A wave is no
larger than the rate so far says is needed. What is asked, and how a reply is read, is the op's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from woolgather.core.errors import YieldError
from woolgather.core.fingerprint import seed_of
from woolgather.core.rows import Example
from woolgather.core.views import View, alarm, funnel, histogram
from woolgather.engines.base import Completion, Engine, Sampling
from woolgather.ops.curate.response_rules import InstructionRules, broken_instruction_rule
from woolgather.ops.curate.rouge_l import NOTHING, NoveltyIndex, NoveltyOptions, is_novel
from woolgather.ops.text.ask import ask_rows, no_reply
from woolgather.prompting.messages import Message, Prompt

TRIAL_WAVES = 3
"""Waves after which a hopeless acceptance rate ends the work."""

G = TypeVar("G")


def prompt_bound(n: int, max_prompts: int | None) -> int:
    """Returns the most prompts to ask: `max_prompts`, or two per task wanted and 64 to begin with."""
    return 2 * n + 64 if max_prompts is None else max_prompts


@dataclass(frozen=True)
class Gate:
    """The rules and the index that a new task must pass."""

    rules: InstructionRules
    scripts: frozenset[str] | None
    novelty: NoveltyOptions
    index: NoveltyIndex
    """All that it must be unlike; what is accepted goes in."""


def until_enough(
    tally: Tally,
    engine: Engine,
    pick: Callable[[int], G],
    prompt_of: Callable[[G], Prompt],
    read: Callable[[int, G, Completion], Iterable[Example]],
    gate: Gate,
    *,
    sampling: Sampling,
    seed: int,
    wave: int,
    minimum: float,
) -> Generator[Example, None, list[View]]:
    """Yields tasks as they are decided, until `tally` has all it wants or is at its bound.

    `pick` gives what prompt i is made of, `read` the tasks of the reply to it. Raises YieldError, with
    advice, when at the bound, or projected from three waves, less than `minimum` (a share of what is
    wanted) is accepted.
    """
    while tally.accepted < tally.wanted and tally.prompts < tally.bound:
        numbers = range(tally.prompts, tally.prompts + tally.next_wave(wave))
        replies = ask_rows(
            ((i, pick(i)) for i in numbers),
            engine,
            lambda each: prompt_of(each[1]),
            sampling,
            lambda each: seed_of(seed, each[0]),
        )
        for (number, given), reply, _ in replies:
            tally.prompts += 1
            if missing := no_reply(reply):
                tally.reasons[missing] += 1
                continue
            for row in decide(read(number, given, reply), gate):
                tally.count(row)
                yield row
                if tally.accepted == tally.wanted:
                    return tally.views()
        if tally.prompts >= TRIAL_WAVES * wave and tally.projected() < minimum * tally.wanted:
            break
    if tally.accepted < max(1 if tally.wanted else 0, minimum * tally.wanted):
        raise YieldError(tally.advice(gate.novelty.threshold, sampling))
    return tally.views()


def decide(rows: Iterable[Example], gate: Gate) -> Iterator[Example]:
    """Yields each row, set aside by a rule or by novelty, or accepted and remembered in the index."""
    novelty, index = gate.novelty, gate.index
    rows = [
        replace(
            row, set_aside=row.set_aside or broken_instruction_rule(row, gate.rules, gate.scripts)
        )
        for row in rows
    ]
    before = len(index)
    known = index.nearest_of_each([novelty.text(row) for row in rows])
    for row, nearest in zip(rows, known, strict=True):
        if row.set_aside is None:
            sibling = index.nearest(novelty.text(row), since=before)
            likest = max(nearest or NOTHING, sibling or NOTHING)
            row = replace(row, meta={**row.meta, "nearest": round(likest.similarity, 4)})
            if is_novel(likest, novelty):
                index.add(novelty.text(row))
            else:
                row = replace(row, set_aside="not_novel")
        yield row


def open_ended(text: str, prompt_format: Literal["raw", "chat"]) -> Prompt:
    """Returns a filled template whose last line is left open: as text, or as a user's turn and the
    beginning of the reply."""
    if prompt_format == "raw":
        return text
    body, _, opening = text.rpartition("\n")
    return (Message("user", body.rstrip()), Message("assistant", opening))


class Tally:
    """Counts what came out so far, and says what that means for the rest."""

    def __init__(self, wanted: int, max_prompts: int | None, title: str = "Synthesis") -> None:
        self.wanted, self.bound, self.title = wanted, prompt_bound(wanted, max_prompts), title
        self.prompts = self.accepted = self.items = 0
        self.reasons: Counter[str] = Counter()
        self.nearest: dict[str, list[float]] = {"accepted": [], "not novel": []}

    def count(self, row: Example) -> None:
        self.items += 1
        if row.set_aside is None:
            self.accepted += 1
        else:
            self.reasons[row.set_aside] += 1
        if "nearest" in row.meta:
            kind = "not novel" if row.set_aside else "accepted"
            self.nearest[kind].append(row.meta["nearest"])

    def next_wave(self, wave: int) -> int:
        """Returns how many prompts to ask next: as many as the rate so far says, and a quarter more."""
        left = self.bound - self.prompts
        if self.accepted:
            needed = (self.wanted - self.accepted) * self.prompts / self.accepted * 1.25
            wave = min(wave, math.ceil(needed))
        return min(wave, left)

    def projected(self) -> float:
        """Returns how many are accepted at the bound, if it goes on like this."""
        return self.accepted * self.bound / self.prompts

    def views(self) -> list[View]:
        formed = self.items - sum(self.reasons[r] for r in ("malformed", "wrong_number", "cut"))
        stages = [
            ("prompts", self.prompts),
            ("items written", self.items),
            ("in form", formed),
            ("pass the rules", self.accepted + self.reasons["not_novel"]),
            ("novel", self.accepted),
        ]
        out = [
            funnel(self.title, stages, dict(self.reasons.most_common())),
            histogram(
                "Likeness to the nearest task",
                self.nearest,
                edges=[i / 20 for i in range(21)],
                x="ROUGE-L F",
            ),
        ]
        if self.accepted < self.wanted:
            out.append(
                alarm(
                    "Fewer tasks than asked for",
                    f"{self.accepted} of {self.wanted} after {self.prompts} prompts, the bound. "
                    "Most set aside: " + self._most() + ".",
                )
            )
        return out

    def advice(self, threshold: float, sampling: Sampling) -> str:
        remedies = {
            "malformed": "the model does not keep to the form: show shorter demos "
            "(demos.max_words), or lower sampling.temperature",
            "cut": f"answers end at {sampling.max_tokens} tokens: raise sampling.max_tokens or "
            "lower items",
            "not_novel": f"the model repeats what there is: give more seeds, raise "
            f"sampling.temperature, or raise novelty.threshold ({threshold})",
            "prompt_too_long": "prompts do not fit the model's context: fewer or shorter demos",
            "engine_error": "the engine failed on requests: see its log",
        }
        remedies["wrong_number"] = remedies["malformed"]
        first = next(iter(self.reasons.most_common(1)), ("", 0))[0]
        remedy = remedies.get(first, f"see what {first} took (woolgather show --set-aside)")
        if not self.reasons:
            remedy = "the model wrote nothing: try another template, or a model that completes text"
        return (
            f"synthesize: {self.accepted} tasks accepted of {self.wanted} wanted, after "
            f"{self.prompts} prompts (at most {self.bound}) and {self.items} items. "
            f"Most set aside: {self._most() or 'none'}. Remedy: {remedy}."
        )

    def _most(self) -> str:
        return ", ".join(f"{reason} {count}" for reason, count in self.reasons.most_common(4))
