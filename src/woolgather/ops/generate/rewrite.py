"""Let a model rewrite a text as the answer to the instruction that was found for it.

The one idea: a text from elsewhere knows things and is not written for who asks; an answer by the
model alone is the other way round. Rewriting keeps the first and gives the second (arXiv 2408.04614
finds it worth more than filtering, and most after it). The text stays in the data as the parent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Sized
from dataclasses import replace
from typing import Annotated

from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, question, set_aside
from woolgather.core.views import View, funnel, histogram
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.curate.response_rules import ResponseRules, broken_response_rule
from woolgather.ops.text.ask import ask_rows
from woolgather.ops.text.words import count_words
from woolgather.prompting.messages import Prompt
from woolgather.prompting.templates import Template, fill, load, takes
from woolgather.prompting.turns import answer_prompt, stops

PROMPT_TOKENS = 450
"""For plans."""


class Rewriting(Options):
    """Rewriting a text as an answer."""

    template: Annotated[Template, takes("question", "instruction", "input", "response")] = load(
        "rewrite"
    )
    """One of our templates, or the path of a .md file."""
    sampling: Sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=512)
    rules: ResponseRules = ResponseRules()
    """Rules for the new responses."""


def _expect(rows: Sized, engine: Engine, *, how: Rewriting, **_: object) -> Expected:
    return Expected(
        rows=len(rows),
        calls=len(rows),
        prompt_tokens=len(rows) * PROMPT_TOKENS,
        new_tokens=len(rows) * how.sampling.max_tokens,
    )


@op("rewrite", expects=_expect, needs={"rows": ("response",)})
def rewrite(
    rows: Iterable[Example],
    engine: Engine,
    *,
    how: Rewriting = Rewriting(),  # noqa: B008 - frozen
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields each row with its response rewritten by the model, in order of rows.

    Reasons: prompt_too_long, engine_error, unfinished, or the name of the first rule that the new
    response breaks. Verdicts were on the old response and do not go along.
    """

    form = engine.model.prompt_format
    sampling = how.sampling.model_copy(update={"stop": (*how.sampling.stop, *stops(form))})

    def prompt_of(row: Example) -> Prompt:
        text = fill(
            how.template,
            question=question(row),
            instruction=row.instruction,
            input=row.input,
            response=row.response.strip(),
        )
        return answer_prompt(Example(instruction=text), form)

    reasons: Counter[str] = Counter()
    lengths: dict[str, list[float]] = {"before": [], "after": []}
    for old, completion, reason in ask_rows(rows, engine, prompt_of, sampling, seed):
        row = replace(
            old,
            id="",
            response=completion.text.strip(),
            finish_reason=completion.finish_reason,
            verdicts={},
            parents=(old.id,) if old.id else (),
            meta={**old.meta, "rewritten": True},
        )
        reason = reason or broken_response_rule(row, how.rules, None)
        if reason:
            reasons[reason] += 1
        else:
            lengths["before"].append(count_words(old.response))
            lengths["after"].append(count_words(row.response))
        yield set_aside(row, reason) if reason else row
    used = len(lengths["after"])
    stages = [("kept", used + reasons.total()), ("rewritten", used)]
    return [
        funnel("Rewritten", stages, dict(reasons.most_common())),
        histogram("Length of responses", lengths, x="words"),
    ]
