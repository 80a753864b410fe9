"""Ask for new tasks until enough are accepted, or until it is plain that they will not be.

The one idea: what is accepted never depends on which answer arrived first, so prompts are asked in
batches and read in the order of asking, and each task is compared with all before it. A batch is no
larger than the rate so far says is needed. What is asked, and how a reply is read, is the op's.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Self

from pydantic import Field

from woolgather.core.artifacts import PromptFormat
from woolgather.core.errors import YieldError
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import seed_of
from woolgather.core.options import Options
from woolgather.core.rows import Example
from woolgather.core.views import View, alarm, funnel, histogram
from woolgather.engines.base import Completion, Engine, Sampling
from woolgather.ops.curate.response_rules import InstructionRules, broken_instruction_rule
from woolgather.ops.curate.rouge_l import (
    LIKE_MEASURED,
    NOT_NOVEL,
    NOTHING,
    NoveltyIndex,
    NoveltyOptions,
    is_novel,
    why_not_novel,
)
from woolgather.ops.text.ask import ask_rows, no_reply
from woolgather.ops.text.words import scripts_of
from woolgather.prompting.messages import Message, Prompt
from woolgather.prompting.templates import Template, fill

KNOWN = (NOT_NOVEL, LIKE_MEASURED)
"""Reasons of a task that keeps the rules and is too like another."""
TRIAL_BATCHES = 3
"""Batches after which a hopeless acceptance rate ends the work."""


class OpenPrompt(Options):
    """A prompt whose last line is left open, and how the model goes on with it."""

    template: Template
    """One of our templates, or the path of a .md file."""
    format: Literal["raw", "chat", "auto"] = "auto"
    """raw: the prompt is a text to complete, also for a tuned model; chat: it is a user turn, and the
    reply begins with the prompt's last line; auto: as the model is prompted."""
    sampling: Sampling

    def settled(self, prompt_format: PromptFormat) -> Self:
        """Returns the same settings with `prompt_format` in place of auto: they say what is sent."""
        return self.model_copy(update={"format": prompt_format}) if self.format == "auto" else self

    def stopping_at(self, text: str) -> Sampling:
        """Returns the sampling with one more text at which a completion ends."""
        return self.sampling.model_copy(update={"stop": (*self.sampling.stop, text)})

    def prompt(self, engine: Engine, **values: str) -> Prompt:
        """Returns the filled template as `engine` is to be asked. Raises InputError for a field of the
        template without a value."""
        form = engine.model.prompt_format if self.format == "auto" else self.format
        return open_ended(fill(self.template, **values), form)


class Writing(OpenPrompt):
    """Asking until enough tasks are accepted."""

    rules: InstructionRules = InstructionRules()
    """Rules that a new task must keep."""
    novelty: NoveltyOptions = NoveltyOptions()
    """How unlike all others a new task must be."""
    wave: int = Field(default=32, ge=1)
    """Prompts asked at once, a batch; no more are asked when enough of its tasks are accepted."""
    max_prompts: int | None = Field(default=None, ge=1)
    """Prompts asked at most; None: two for each task wanted and 64 to begin with."""
    minimum: float = Field(default=0.1, ge=0, le=1)
    """Least share of the tasks wanted that must be accepted; below it the run ends with advice."""

    def bound(self, wanted: int) -> int:
        """Returns the most prompts to ask for `wanted` tasks."""
        return 2 * wanted + 64 if self.max_prompts is None else self.max_prompts

    def expected(self, wanted: int, prompt_tokens: int, prompts: int | None = None) -> Expected:
        """Returns the cost of `wanted` tasks, at most, for prompts of that many tokens. `prompts` is how
        many there are with a task in each, None where there is no end of them."""
        calls = self.bound(wanted) if wanted else 0
        if prompts is not None:
            calls, wanted = min(calls, prompts), min(wanted, prompts)
        return Expected(
            rows=wanted,
            calls=calls,
            prompt_tokens=calls * prompt_tokens,
            new_tokens=calls * self.sampling.max_tokens,
        )


class Exchange(NamedTuple):
    """One prompt, and how the reply to it is read."""

    prompt: Prompt
    read: Callable[[Completion], Iterable[Example]]
    """The tasks of a reply, those out of form already set aside."""


@dataclass(frozen=True)
class Gate:
    """The rules and the index that a new task must pass."""

    rules: InstructionRules
    scripts: frozenset[str] | None
    """Scripts that a task may be written in; None allows all."""
    novelty: NoveltyOptions
    index: NoveltyIndex
    """All that it must be unlike; what is accepted goes in."""
    measured: int = 0
    """The first so many of these are tasks that models are measured on."""


def gate_of(
    how: Writing,
    seeds: Iterable[Example],
    others: Iterable[Iterable[Example]],
    measured: Iterable[Iterable[Example]] = (),
) -> Gate:
    """Returns the gate for tasks in the scripts of the seeds, unlike these, unlike all `others`, and
    unlike what models are `measured` on."""
    seeds = list(seeds)
    asked = [row for group in measured for row in group]
    known = [*asked, *seeds, *(row for group in others for row in group)]
    index = NoveltyIndex([how.novelty.text(row) for row in known])
    return Gate(how.rules, scripts_of(seeds) or None, how.novelty, index, len(asked))


def until_enough(
    tally: Tally,
    engine: Engine,
    exchange: Callable[[int], Exchange],
    gate: Gate,
    sampling: Sampling,
    seed: int,
) -> Generator[Example, None, list[View]]:
    """Yields tasks as they are decided, until `tally` has all it wants or is at its bound.

    `exchange` returns prompt number i with the way to read its reply. Raises YieldError, with advice,
    when at the bound, or as projected from three batches, fewer tasks are accepted than `tally.least`.
    """
    how = tally.how
    while tally.accepted < tally.wanted and tally.prompts < tally.bound:
        numbers = range(tally.prompts, tally.prompts + tally.next_batch())
        replies = ask_rows(
            ((i, exchange(i)) for i in numbers),
            engine,
            lambda each: each[1].prompt,
            sampling,
            lambda each: seed_of(seed, each[0]),
        )
        for (_, asked), reply, _ in replies:
            tally.prompts += 1
            if missing := no_reply(reply):
                tally.reasons[missing] += 1
                continue
            for row in decide(asked.read(reply), gate):
                tally.count(row)
                yield row
                if tally.accepted == tally.wanted:
                    return tally.views()
        if tally.prompts >= TRIAL_BATCHES * how.wave and tally.projected() < tally.least:
            break
    if tally.accepted < max(1 if tally.wanted else 0, tally.least):
        raise YieldError(tally.advice())
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
                row = replace(row, set_aside=why_not_novel(likest, gate.measured))
        yield row


def open_ended(text: str, prompt_format: PromptFormat) -> Prompt:
    """Returns a filled template whose last line is left open: as text, or as a user's turn and the
    beginning of the reply."""
    if prompt_format == "raw":
        return text
    body, _, opening = text.rpartition("\n")
    return (Message("user", body.rstrip()), Message("assistant", opening))


class Tally:
    """Counts what came out so far, and says what that means for the rest. `wanted` tasks are asked for
    as `how` says, with the `prompts` that there are (None: no end of them); `title` is the view's."""

    def __init__(
        self, wanted: int, how: Writing, title: str = "Synthesis", prompts: int | None = None
    ) -> None:
        self.wanted, self.how, self.title = wanted, how, title
        self.bound = how.bound(wanted) if prompts is None else min(how.bound(wanted), prompts)
        """Prompts asked at most."""
        self.least = how.minimum * wanted
        """Fewer accepted tasks than this are a failure."""
        self.prompts = self.accepted = self.items = 0
        self.reasons: Counter[str] = Counter()
        self.nearest: dict[str, list[float]] = {"accepted": [], "not novel": []}

    def count(self, row: Example) -> None:
        """Count one decided task."""
        self.items += 1
        if row.set_aside is None:
            self.accepted += 1
        else:
            self.reasons[row.set_aside] += 1
        if "nearest" in row.meta:
            kind = "not novel" if row.set_aside else "accepted"
            self.nearest[kind].append(row.meta["nearest"])

    def next_batch(self) -> int:
        """Returns how many prompts to ask next: as many as the rate so far says, and a quarter more."""
        size = self.how.wave
        if self.accepted:
            needed = (self.wanted - self.accepted) * self.prompts / self.accepted * 1.25
            size = min(size, math.ceil(needed))
        return min(size, self.bound - self.prompts)

    def projected(self) -> float:
        """Returns how many are accepted at the bound, if it goes on like this."""
        return self.accepted * self.bound / self.prompts

    def views(self) -> list[View]:
        """Returns the funnel, how new the tasks are, and an alarm when there are too few."""
        formed = self.items - sum(self.reasons[r] for r in ("malformed", "wrong_number", "cut"))
        stages = [
            ("prompts", self.prompts),
            ("items written", self.items),
            ("in form", formed),
            ("pass the rules", self.accepted + sum(self.reasons[r] for r in KNOWN)),
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

    def advice(self) -> str:
        """Returns what to change, by the reason that most were set aside for."""
        remedies = {
            "malformed": "the model does not keep to the form: show shorter demos "
            "(demos.max_words), or lower sampling.temperature",
            "cut": f"answers end at {self.how.sampling.max_tokens} tokens: raise sampling.max_tokens or "
            "lower items",
            NOT_NOVEL: f"the model repeats what there is: give more seeds, raise "
            f"sampling.temperature, or raise novelty.threshold ({self.how.novelty.threshold})",
            "prompt_too_long": "prompts do not fit the model's context: fewer or shorter demos",
            "engine_error": "the engine failed on requests: see its log",
        }
        remedies["wrong_number"] = remedies["malformed"]
        remedies[LIKE_MEASURED] = remedies[NOT_NOVEL]
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
