"""Other wordings of the phrases that ask for constraints, written by the model itself.

The one idea: what a constraint asks for is decided by its check, so that only its wording can go wrong,
and a wording that lost the value, or speaks of something else, is told by its words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Annotated

from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, set_aside
from woolgather.core.views import View, funnel
from woolgather.engines.base import Engine, Sampling
from woolgather.ops.curate.constraints import NO_FILE, Check, CheckFile
from woolgather.ops.text.ask import ask_rows
from woolgather.ops.text.words import answer_of, count_words, tokens
from woolgather.prompting.messages import Prompt
from woolgather.prompting.templates import Template, fill, load, takes
from woolgather.prompting.turns import answer_prompt, stops

PLACE = "[X]"
"""What stands for the value where a model is asked; braces are rarer in what it has read."""
PROMPT_TOKENS = 70
"""For plans."""


class Rewording(Options):
    """Asking for other wordings."""

    template: Annotated[Template, takes("phrase", must=["phrase"])] = load("reword")
    """One of our templates, or the path of a .md file."""
    sampling: Sampling = Sampling(temperature=0.8, top_p=0.95, max_tokens=48)


def _expect(engine: Engine, *, n: int, how: Rewording, checks: CheckFile, **_: object) -> Expected:
    calls = n * len(checks.checks())
    return Expected(
        rows=calls,
        calls=calls,
        prompt_tokens=calls * PROMPT_TOKENS,
        new_tokens=calls * how.sampling.max_tokens,
    )


@op("reword", expects=_expect)
def reword(
    engine: Engine,
    *,
    n: int,
    how: Rewording = Rewording(),  # noqa: B008 - frozen
    checks: CheckFile = NO_FILE,
    seed: int = 0,
) -> Generator[Example, None, list[View]]:
    """Yields `n` wordings of each check's phrase: the phrase is the instruction, the wording the
    response, and meta `constraint` the name of the check.

    Reasons: prompt_too_long, engine_error, unfinished, `several_lines`, `loses_the_value` (or has it
    twice), `too_wordy` (more than twice the words), `strays` (no longer word of the phrase is left),
    `repeated`. Raises InputError for a file of checks that cannot be run.
    """
    form = engine.model.prompt_format
    sampling = how.sampling.model_copy(update={"stop": (*how.sampling.stop, *stops(form))})
    asked = [each for each in checks.checks().values() for _ in range(n)]
    seen = {(each.name, answer_of(each.phrase)) for each in asked}

    def prompt_of(each: Check) -> Prompt:
        text = fill(how.template, phrase=each.phrase.replace("{}", PLACE))
        return answer_prompt(Example(instruction=text), form)

    reasons: Counter[str] = Counter()
    for each, completion, reason in ask_rows(asked, engine, prompt_of, sampling, seed):
        said = completion.text.strip().strip('"').replace(PLACE, "{}")
        row = Example(
            instruction=each.phrase,
            response=said,
            finish_reason=completion.finish_reason,
            meta={"constraint": each.name},
        )
        key = (each.name, answer_of(said))
        reason = reason or _fault(each.phrase, said) or ("repeated" if key in seen else None)
        seen.add(key)
        if reason:
            reasons[reason] += 1
        yield set_aside(row, reason) if reason else row
    stages = [("asked", len(asked)), ("kept", len(asked) - reasons.total())]
    return [funnel("Wordings of constraints", stages, dict(reasons.most_common()))]


def _fault(phrase: str, said: str) -> str | None:
    """Returns why a wording does not ask for what the phrase asks for; None where it seems to."""
    if len(said.splitlines()) != 1:
        return "several_lines"
    if said.count("{}") != phrase.count("{}"):
        return "loses_the_value"
    if count_words(said) > 2 * count_words(phrase):
        return "too_wordy"
    longer = {token for token in tokens(phrase) if len(token) > 3}
    return None if longer & set(tokens(said)) else "strays"
