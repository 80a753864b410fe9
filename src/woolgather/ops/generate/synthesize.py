"""Write new instructions: show the model a few tasks, ask for more, keep what is sound and new.

The one idea (Self-Instruct, arXiv 2212.10560, as used in I-SHEEP, arXiv 2408.08072): a prompt is
an unfinished numbered list, and the model goes on with it. Prompts are asked in batches and read in
the order of asking, so what is accepted never depends on which answer arrived first. Every item
comes out: the accepted ones, and the others with the reason. Responses are written by `respond`;
nothing here rates a task.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from woolgather.core.errors import ConfigError
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import Example
from woolgather.core.views import View
from woolgather.engines.base import Completion, Engine, Sampling
from woolgather.ops.generate.demos import DemoOptions, Demos
from woolgather.ops.generate.numbered_list import read_items, stop_after, write_items
from woolgather.ops.generate.until_enough import Exchange, Tally, Writing, gate_of, until_enough
from woolgather.prompting.templates import Template, load, takes

PROMPT_TOKENS_PER_DEMO = 60
"""For plans, with the template's own length on top."""


class Synthesis(Writing):
    """Writing new instructions."""

    template: Annotated[Template, takes("items", "demos", "next", must=("demos", "next"))] = load(
        "synthesize"
    )
    """One of our templates, or the path of a .md file. Its fields are `items` (length of the whole
    list, demos included), `demos` and `next` (number of the first new one)."""
    sampling: Sampling = Sampling(temperature=1.0, top_p=0.95, max_tokens=1000)
    items: int = Field(default=20, ge=2)
    """Tasks that the list in the prompt is said to have; the demos are its first ones."""
    demos: DemoOptions = DemoOptions()

    @model_validator(mode="after")
    def _leave_some_to_write(self) -> Self:
        if self.items <= self.demos.count:
            raise ConfigError(
                f"items is {self.items}, the length of the whole list, and {self.demos.count} of "
                "them are demos: nothing would be left to write. Set items higher."
            )
        return self


def _expect(seeds: object, engine: Engine, *, n: int, how: Synthesis, **_: object) -> Expected:
    shown = how.demos.count * PROMPT_TOKENS_PER_DEMO
    return how.expected(n, len(how.template.text) // 4 + shown)


@op("synthesize", expects=_expect)
def synthesize(
    seeds: Iterable[Example],
    engine: Engine,
    *,
    n: int,
    how: Synthesis = Synthesis(),  # noqa: B008 - frozen
    avoid: Sequence[Iterable[Example]] = (),
    measured: Sequence[Iterable[Example]] = (),
    machine: Iterable[Example] = (),
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields new instructions with inputs, until `n` are accepted or all prompts were asked.

    Novelty is against the seeds, `machine` (accepted tasks of earlier rounds, which may also serve as
    demos), every set in `avoid` (earlier iterations), what this call accepted, and every set in
    `measured`, the tasks that models are measured on.

    Rows carry meta origin "machine", prompt (its index) and nearest (ROUGE-L F to the nearest task,
    in [0, 1]; absent where it was not compared). Reasons: malformed, wrong_number, cut, the names
    of the rules, not_novel, like_measured. Raises YieldError when less than `how.minimum` (a share of
    n) is accepted, or would be as three batches went; with more, fewer rows and an alarm come out.
    """
    seeds, machine = list(seeds), list(machine)
    picker = Demos(seeds, machine, engine, how.demos, seed)
    first = how.demos.count + 1

    def exchange(prompt: int) -> Exchange:
        shown = picker.pick(prompt)
        text = how.prompt(
            engine, items=str(how.items), demos=write_items(shown), next=str(len(shown) + 1)
        )
        return Exchange(text, lambda reply: _read(prompt, shown, reply, first))

    gate = gate_of(how, seeds, [machine, *avoid], measured)
    sampling = how.stopping_at(stop_after(how.items))
    return (yield from until_enough(Tally(n, how), engine, exchange, gate, sampling, seed))


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
