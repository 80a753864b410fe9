"""Answer tasks with the model itself.

The one idea: the prompt is the one the measures use (turns.py), so what is gained is seen. A chat
model gets the task as a user turn. A base that completes text gets the task alone (zero-shot, the
paper) or the same handful of answered tasks before every task: fixed, so that the engine computes
that prefix once, and few-shot ability moves into the rows a zero-shot model learns from. Whether an
answer is good is not judged here; whether it is finished is.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Iterator, Sized
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from woolgather.core.artifacts import PromptFormat
from woolgather.core.errors import ConfigError
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import seed_of
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, question
from woolgather.core.views import View, alarm, funnel, histogram
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.text.ask import UNFINISHED, ask_rows, no_reply
from woolgather.ops.text.words import count_words
from woolgather.prompting.forms import is_text
from woolgather.prompting.messages import Prompt
from woolgather.prompting.templates import FIELD, Template, fill
from woolgather.prompting.turns import ANSWER, TASK, answer_prompt, stops

TOKENS_PER_TASK = 60
"""For plans."""
POOL = 200
"""Answered seeds that are drawn from anew for each task, at most."""


class Responding(Options):
    """Answering tasks."""

    sampling: Sampling = Sampling(temperature=0.7, top_p=0.95, max_tokens=512)
    samples: int = Field(default=1, ge=1)
    """Responses to each instruction; with more than one, keep one (`keep.by=best_of_n`)."""
    shots: int = Field(default=5, ge=0)
    """Fixed demo blocks before the task of a model that completes text."""
    redrawn: int = Field(default=0, ge=0)
    """This many demo blocks are drawn anew for each task, from all answered seeds that fit, instead of
    `shots` fixed ones: samples differ more, and no prefix is shared."""
    unfinished: Literal["set_aside", "keep"] = "set_aside"
    """What becomes of responses that ran into max_tokens."""

    # The number is for `fixed_shots`; `respond` is given the rows, and these are its identity.
    execution: ClassVar[frozenset[str]] = frozenset({"shots"})
    added: ClassVar[frozenset[str]] = frozenset({"redrawn"})

    @property
    def pool(self) -> int:
        """Returns how many answered seeds `respond` needs to be given."""
        return POOL if self.redrawn else self.shots


@op("fixed_shots", expects=lambda seeds, k=5, **_: Expected(rows=k))
def fixed_shots(
    seeds: Iterable[Example],
    *,
    k: int = 5,
    min_words: int = 20,
    max_words: int = 120,
    seed: int = 0,
) -> Iterator[Example]:
    """Yields `k` answered seeds to show before every task, of as many categories as there are.

    Only responses of `min_words` to `max_words` words: shorter ones teach one-word answers, longer
    ones fill the context. Fewer than `k` come out when fewer fit.
    """
    fit = [row for row in seeds if min_words <= count_words(row.response) <= max_words]
    random.Random(seed_of(seed, "shots")).shuffle(fit)
    first: dict[str, int] = {}
    for i, row in enumerate(fit):
        first.setdefault(str(row.meta.get("category", i)), i)
    order = [*first.values(), *(i for i in range(len(fit)) if i not in first.values())]
    yield from (fit[i] for i in order[:k])


def _expect(
    tasks: Sized, engine: Engine, *, how: Responding, shots: Sized, **_: object
) -> Expected:
    rows = how.samples * len(tasks)
    return Expected(
        rows=rows,
        calls=rows,
        prompt_tokens=rows * (TOKENS_PER_TASK + 2 * TOKENS_PER_TASK * (how.redrawn or len(shots))),
        new_tokens=rows * how.sampling.max_tokens,
    )


@op("respond", expects=_expect)
def respond(
    tasks: Iterable[Example],
    engine: Engine,
    *,
    how: Responding = Responding(),  # noqa: B008 - frozen
    shots: Iterable[Example] = (),
    template: Template | None = None,
    system: str = "",
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields `how.samples` responses per task, in order of tasks and samples. Memory does not grow with
    them.

    `shots` (see `fixed_shots`) are shown before every task, as earlier turns or, to a model that
    completes text, as blocks; with `how.redrawn` so many of them, drawn for each task. `template` is
    the wording of such a block, with the fields `question` and then `response`; a task's own block ends
    where the response would begin. None takes the house block, or without shots the task and a line
    end. `system` is sent unless the task has its own. Each sample has its own seed.

    A row has the task's fields, the response, `finish_reason`, meta prompt_id (the task's id, or
    its number where it has none) and sample (counted from 0). Reasons: unfinished (cut at
    max_tokens; not with unfinished="keep"), prompt_too_long (the prompt does not fit), engine_error.
    Raises ConfigError for a template that is no such block.
    """
    shots = list(shots)
    form = engine.model.prompt_format
    if not is_text(form):
        template = None
    own = (f"\n{_split(template)[0]}",) if template else _house_stops(form, shots)
    sampling = how.sampling.model_copy(update={"stop": (*how.sampling.stop, *own)})

    def asked() -> Iterator[tuple[Example, Prompt, str, int]]:
        for number, task in enumerate(tasks):
            row = task if task.system or not system else replace(task, system=system)
            name = task.id or f"task-{number}"
            shown = _draw(shots, how.redrawn, seed_of(seed, "shots", name))
            prompt = answer_prompt(row, form, shown)
            if template:
                prompt = _block_prompt(template, row, shown)
            for sample in range(how.samples):
                yield row, prompt, name, sample

    reasons: dict[str, int] = {}
    lengths: list[float] = []
    total = 0
    found = ask_rows(asked(), engine, lambda each: each[1], sampling, seed)
    for (task, _, prompt_id, sample), completion, reason in found:
        if reason == UNFINISHED and how.unfinished == "keep":
            reason = None
        total += 1
        if reason:
            reasons[reason] = reasons.get(reason, 0) + 1
        else:
            lengths.append(count_words(completion.text))
        yield replace(
            task,
            id="",
            response=completion.text.strip(),
            finish_reason=None if no_reply(completion) else completion.finish_reason,
            verdicts={},
            parents=(task.id,) if task.id else (),
            set_aside=reason,
            meta={**task.meta, "prompt_id": prompt_id, "sample": sample},
        )
    done = total - sum(reasons.values())
    views = [
        funnel("Responses", [("asked", total), ("finished", done)], reasons),
        histogram("Length of responses", {"responses": lengths}, x="words"),
    ]
    if reasons.get(UNFINISHED, 0) > total / 2:
        views.append(
            alarm(
                "Most responses do not end",
                f"{reasons[UNFINISHED]} of {total} were cut at {how.sampling.max_tokens} tokens. "
                "Raise sampling.max_tokens, or give stop texts.",
            )
        )
    return views


def _draw(shots: list[Example], count: int, seed: int) -> list[Example]:
    """Returns so many of the shots at random; 0 takes all as they are."""
    return random.Random(seed).sample(shots, min(count, len(shots))) if count else shots


def _house_stops(form: PromptFormat, shots: list[Example]) -> tuple[str, ...]:
    # Shown blocks, a model goes on with their labels, and an answer may have headings of its own;
    # shown none, it goes on with whatever heading comes to its mind.
    labels = (f"\n{TASK.strip()}", f"\n{ANSWER.strip()}")
    return labels if shots and is_text(form) else stops(form)


def _split(template: Template) -> tuple[str, str]:
    """Returns a block's label, and the block up to its response. Raises ConfigError without them."""
    fields = {m.group(1): m for m in FIELD.finditer(template.text)}
    asked, answered = fields.get("question"), fields.get("response")
    if not asked or not answered or asked.start() > answered.start():
        raise ConfigError(
            f"template {template.name}: a block needs {{{{question}}}} and after it {{{{response}}}}."
        )
    label = template.text[: asked.start()].strip().split("\n")[0]
    if not label:
        raise ConfigError(
            f"template {template.name}: a block needs a label before {{{{question}}}}, so that a raw "
            "model can be stopped where it begins the next one."
        )
    return label, template.text[: answered.start()]


def _block_prompt(template: Template, row: Example, shots: list[Example]) -> Prompt:
    blocks = [fill(template, question=question(s), response=s.response.strip()) for s in shots]
    opening = Template(template.name, _split(template)[1])
    return "\n\n".join([*blocks, fill(opening, question=question(row))])
