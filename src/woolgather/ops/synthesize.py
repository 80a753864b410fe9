"""Write new instructions: show the model a few tasks, ask for more, keep what is sound and new.

The one idea (Self-Instruct, arXiv 2212.10560, as used in I-SHEEP, arXiv 2408.08072): a prompt is
an unfinished numbered list, and the model goes on with it. Prompts are asked in waves and read in
the order of asking, so what is accepted never depends on which answer arrived first. Every item
comes out: the accepted ones, and the others with the reason. Responses are written by `respond`;
nothing here rates a task.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

from woolgather.engines.base import Completion, Engine, Message, Prompt, Request, Sampling, ask
from woolgather.errors import ConfigError, YieldError
from woolgather.expect import Expected, expects
from woolgather.fingerprint import seed_of
from woolgather.ops.demos import DemoOptions, Demos
from woolgather.ops.items import read_items, stop_after, write_items
from woolgather.ops.novelty import NOTHING, NoveltyIndex, NoveltyOptions, is_novel
from woolgather.ops.rules import InstructionRules, broken_instruction_rule
from woolgather.ops.words import scripts_of
from woolgather.prompts import Template, fill
from woolgather.records import Example
from woolgather.views import View, alarm, funnel, histogram

FIELDS = frozenset({"items", "demos", "next"})
"""Fields that a template may use."""
TRIAL_WAVES = 3
"""Waves after which a hopeless acceptance rate ends the work."""
PROMPT_TOKENS_PER_DEMO = 60
"""For plans, with the template's own length on top."""


def prompt_bound(n: int, max_prompts: int | None) -> int:
    """Prompts at most: `max_prompts`, or two for every task wanted and 64 to begin with."""
    return 2 * n + 64 if max_prompts is None else max_prompts


def _expected(
    seeds: Iterable[Example],
    engine: Engine,
    *,
    n: int,
    template: Template,
    sampling: Sampling,
    demos: DemoOptions | None = None,
    max_prompts: int | None = None,
    **_: Any,
) -> Expected:
    calls = prompt_bound(n, max_prompts) if n else 0
    shown = (demos or DemoOptions()).count
    per_prompt = len(template.text) // 4 + shown * PROMPT_TOKENS_PER_DEMO
    return Expected(
        rows=n,
        calls=calls,
        prompt_tokens=calls * per_prompt,
        new_tokens=calls * sampling.max_tokens,
    )


@expects(_expected)
def synthesize(
    seeds: Iterable[Example],
    engine: Engine,
    *,
    n: int,
    template: Template,
    sampling: Sampling,
    demos: DemoOptions | None = None,
    rules: InstructionRules | None = None,
    novelty: NoveltyOptions | None = None,
    avoid: Sequence[Iterable[Example]] = (),
    machine: Iterable[Example] = (),
    items: int = 20,
    format: Literal["raw", "chat"] = "raw",  # noqa: A002
    wave: int = 32,
    max_prompts: int | None = None,
    minimum: float = 0.1,
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """New instructions with inputs, until `n` are accepted or `max_prompts` prompts were asked.

    `template` has the fields `items` (length of the whole list, demos included), `demos` and
    `next`; its last line is the open end. `format` "raw" sends it as text to complete, also to a
    tuned model; "chat" makes it a user turn and begins the assistant's turn with its last line.
    `demos`, `rules` and `novelty` are the defaults of their classes when None. Novelty is against
    the seeds, `machine` (accepted tasks of earlier rounds, which may also serve as demos), every
    set in `avoid` (held-out tasks, earlier iterations, evaluation sets) and what this call
    accepted. `wave` is the number of prompts read before the next are asked.

    Rows carry meta origin "machine", prompt (its index) and nearest (ROUGE-L F to the nearest task,
    in [0, 1]; absent where it was not compared). Reasons: malformed, wrong_number, cut, the names
    of the rules, not_novel. Raises YieldError when at the bound, or projected from three waves, less
    than `minimum` (a share of n) is accepted; with more, fewer rows and an alarm come out.
    """
    demos, rules = demos or DemoOptions(), rules or InstructionRules()
    novelty = novelty or NoveltyOptions()
    seeds, machine = list(seeds), list(machine)
    if items <= demos.count:
        raise ConfigError(
            f"items is {items}, the length of the whole list, and {demos.count} of them are demos: "
            "nothing would be left to write. Set items higher."
        )
    if wave < 1:
        raise ConfigError(f"wave is {wave}: it takes at least one prompt to ask. Set wave to 1.")
    picker = Demos(seeds, machine, engine, demos, seed)
    scripts = scripts_of(seeds) or None
    known = [row for group in (seeds, machine, *avoid) for row in group]
    index = NoveltyIndex([novelty.text(row) for row in known])
    tally = Tally(n, prompt_bound(n, max_prompts))

    while tally.accepted < n and tally.prompts < tally.bound:
        shown = [
            picker.pick(i) for i in range(tally.prompts, tally.prompts + tally.next_wave(wave))
        ]
        requests = [
            _request(i, rows, template, sampling, items, format, seed)
            for i, rows in enumerate(shown, tally.prompts)
        ]
        for rows, completion in zip(shown, ask(engine, requests), strict=False):
            parents = tuple(row.id for row in rows if row.id)
            written = _read(completion, demos.count + 1, tally, parents)
            for row in decide(written, rules, scripts, novelty, index):
                tally.count(row)
                yield row
                if tally.accepted == n:
                    return tally.views()
        if tally.prompts >= TRIAL_WAVES * wave and tally.projected() < minimum * n:
            break
    if tally.accepted < max(1 if n else 0, minimum * n):
        raise YieldError(tally.advice(novelty.threshold, sampling))
    return tally.views()


def _request(
    index: int,
    shown: list[Example],
    template: Template,
    sampling: Sampling,
    items: int,
    format_: str,
    seed: int,
) -> Request:
    text = fill(template, items=str(items), demos=write_items(shown), next=str(len(shown) + 1))
    prompt: Prompt = text
    if format_ == "chat":
        body, _, opening = text.rpartition("\n")
        prompt = (Message("user", body.rstrip()), Message("assistant", opening))
    return Request(
        prompt,
        sampling.model_copy(
            update={"stop": (*sampling.stop, stop_after(items)), "seed": seed_of(seed, index)}
        ),
    )


def _read(
    completion: Completion, first: int, tally: Tally, parents: tuple[str, ...]
) -> Iterable[Example]:
    """Items of one answer as rows, those out of form already set aside."""
    prompt = tally.prompts
    tally.prompts += 1
    if completion.finish_reason in ("too_long", "error"):
        tally.reasons[f"prompt_{completion.finish_reason}"] += 1
        return
    written = completion.text.strip().removeprefix(f"{first}. Task:").lstrip()
    if not written:
        return
    text = f"{first}. Task: {written}"
    for item in read_items(text, first, completion.finish_reason == "length"):
        yield Example(
            instruction=item.instruction,
            input=item.input,
            parents=parents,
            set_aside=item.problem,
            meta={"origin": "machine", "prompt": prompt},
        )


def decide(
    rows: Iterable[Example],
    rules: InstructionRules,
    scripts: frozenset[str] | None,
    novelty: NoveltyOptions,
    index: NoveltyIndex,
) -> Iterator[Example]:
    """Each row, set aside by a rule or by novelty, or accepted and remembered in `index`."""
    rows = [
        replace(row, set_aside=row.set_aside or broken_instruction_rule(row, rules, scripts))
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


class Tally:
    """What came out so far, and what that means for the rest."""

    def __init__(self, wanted: int, bound: int, title: str = "Synthesis") -> None:
        self.wanted, self.bound, self.title = wanted, bound, title
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
        """Prompts to ask next: no more than the rate so far says are needed, and a quarter more."""
        left = self.bound - self.prompts
        if self.accepted:
            needed = (self.wanted - self.accepted) * self.prompts / self.accepted * 1.25
            wave = min(wave, math.ceil(needed))
        return min(wave, left)

    def projected(self) -> float:
        """Accepted at the bound, if it goes on like this."""
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
            "prompt_error": "the engine failed on requests: see its log",
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
