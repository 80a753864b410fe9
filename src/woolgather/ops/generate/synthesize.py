"""Write new instructions: show the model a few tasks, ask for more, keep what is sound and new.

The one idea (Self-Instruct, arXiv 2212.10560, as used in I-SHEEP, arXiv 2408.08072): a prompt is
an unfinished numbered list, and the model goes on with it. Prompts are asked in waves and read in
the order of asking, so what is accepted never depends on which answer arrived first. Every item
comes out: the accepted ones, and the others with the reason. Responses are written by `respond`;
nothing here rates a task.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Literal

from woolgather.core.errors import ConfigError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import Example
from woolgather.core.views import View
from woolgather.engines.base import Completion, Engine, Sampling
from woolgather.ops.curate.response_rules import InstructionRules
from woolgather.ops.curate.rouge_l import NoveltyIndex, NoveltyOptions
from woolgather.ops.generate.demos import DemoOptions, Demos
from woolgather.ops.generate.numbered_list import read_items, stop_after, write_items
from woolgather.ops.generate.until_enough import Gate, Tally, open_ended, prompt_bound, until_enough
from woolgather.ops.text.words import scripts_of
from woolgather.prompting.messages import Prompt
from woolgather.prompting.templates import Template, fill

SYNTHESIS_FIELDS = frozenset({"items", "demos", "next"})
"""Fields that a template may use."""
PROMPT_TOKENS_PER_DEMO = 60
"""For plans, with the template's own length on top."""


def _expect(
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


@op("synthesize", expects=_expect)
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
    """Yields new instructions with inputs, until `n` are accepted or `max_prompts` were asked.

    `template` has the fields `items` (length of the whole list, demos included), `demos` and
    `next`; its last line is the open end. `format` "raw" sends it as text to complete, also to a
    tuned model; "chat" makes it a user turn and begins the assistant's turn with its last line.
    `demos`, `rules` and `novelty` are the defaults of their classes when None. Novelty is against
    the seeds, `machine` (accepted tasks of earlier rounds, which may also serve as demos), every
    set in `avoid` (held-out tasks, earlier iterations, evaluation sets) and what this call
    accepted. `wave` is the number of prompts read before the next are asked.

    Rows carry meta origin "machine", prompt (its index) and nearest (ROUGE-L F to the nearest task,
    in [0, 1]; absent where it was not compared). Reasons: malformed, wrong_number, cut, the names
    of the rules, not_novel. Raises ConfigError when `items` leaves no new task beside the demos or
    `wave` is below 1; YieldError when at the bound, or projected from three waves, less than
    `minimum` (a share of n) is accepted; with more, fewer rows and an alarm come out.
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
    gate = Gate(rules, scripts, novelty, index)

    def prompt_of(shown: list[Example]) -> Prompt:
        text = fill(template, items=str(items), demos=write_items(shown), next=str(len(shown) + 1))
        return open_ended(text, format)

    return (
        yield from until_enough(
            Tally(n, max_prompts),
            engine,
            picker.pick,
            prompt_of,
            lambda i, rows, reply: _read(i, rows, reply, demos.count + 1),
            gate,
            sampling=sampling.model_copy(update={"stop": (*sampling.stop, stop_after(items))}),
            seed=seed,
            wave=wave,
            minimum=minimum,
        )
    )


def _read(
    prompt: int, shown: list[Example], completion: Completion, first: int
) -> Iterable[Example]:
    """Yields the items of one answer as rows, those out of form already set aside."""
    written = completion.text.strip().removeprefix(f"{first}. Task:").lstrip()
    if not written:
        return
    text = f"{first}. Task: {written}"
    for item in read_items(text, first, completion.finish_reason == "length"):
        yield Example(
            instruction=item.instruction,
            input=item.input,
            parents=tuple(row.id for row in shown if row.id),
            set_aside=item.problem,
            meta={"origin": "machine", "prompt": prompt},
        )
