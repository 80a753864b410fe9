"""Numbers that give a bad model away although it scores well: form, length, variety, likelihood.

The one idea: a loop left to itself learns to stop early, to repeat itself or to answer in one word,
and a pass rate does not see it. These are shares and ratios to be read beside the base's, not goals.
What got no answer says nothing of form and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from woolgather.core.rows import Example
from woolgather.engines.base import Completion, Engine
from woolgather.ops.text.ask import no_reply
from woolgather.ops.text.words import count_words, loops, ngrams, tokens
from woolgather.prompting.turns import answer_prompt

TEMPERATURES = (0.7, 0.85, 1.0, 1.2, 1.5, 2.0)


def ends_by_itself(answer: Completion) -> float | None:
    """Returns 1 for an answer that ended by itself before `max_tokens`, else 0; None for none."""
    return None if no_reply(answer) else float(answer.finish_reason == "stop")


def goes_in_circles(answer: Completion) -> float | None:
    """Returns 1 for an answer that goes round in circles (see words.loops), else 0; None for none."""
    return None if no_reply(answer) else float(loops(answer.text))


def share(flags: Iterable[float | None]) -> float | None:
    """Returns the mean of the flags that are known; None where none is."""
    found = [flag for flag in flags if flag is not None]
    return sum(found) / len(found) if found else None


def length_ratio(answers: Sequence[Completion], references: Sequence[str]) -> float | None:
    """Returns the median number of words of the answers over that of the references; None without
    references."""
    lengths = [
        (count_words(a.text), count_words(r))
        for a, r in zip(answers, references, strict=True)
        if not no_reply(a)
    ]
    known = [(mine, theirs) for mine, theirs in lengths if theirs]
    if not known:
        return None
    return median(mine for mine, _ in known) / median(theirs for _, theirs in known)


def distinct_2(texts: Sequence[str]) -> float | None:
    """Returns different word pairs over all word pairs, in (0, 1]; None when no text has two words.

    It falls as texts get more or longer, so compare only over the same prompts.
    """
    pairs = [pair for text in texts for pair in ngrams(tokens(text), 2)]
    return len(set(pairs)) / len(pairs) if pairs else None


@dataclass(frozen=True, slots=True)
class Likelihood:
    """Likelihood of the references under the model."""

    nll: float
    """Nats per token on the half that did not fit the temperature."""
    temperature: float
    """Fitted on the other half: the one of TEMPERATURES with the least nats per token."""
    tokens: int
    """Behind `nll`."""


def reference_likelihood(tasks: Sequence[Example], engine: Engine) -> Likelihood | None:
    """Returns the loss on the tasks' responses at one fitted temperature; None with fewer than four.

    A sharper or flatter distribution alone changes the loss; with the temperature fitted, what
    remains is which tokens it prefers. Tasks at even places fit, those at odd places report. Raises
    CapabilityError when the engine has no log-probabilities.
    """
    used = [task for task in tasks if task.response.strip()]
    fitting, reporting = used[::2], used[1::2]
    if len(used) < 4:
        return None
    losses = {t: loss for t in TEMPERATURES if (loss := _loss(fitting, engine, t)) is not None}
    if not losses:
        return None
    best = min(losses, key=lambda t: losses[t][0])
    reported = _loss(reporting, engine, best)
    return Likelihood(reported[0], best, reported[1]) if reported else None


def _loss(tasks: Sequence[Example], engine: Engine, temperature: float) -> tuple[float, int] | None:
    prompts = [answer_prompt(task, engine.model.prompt_format) for task in tasks]
    scored = engine.sequence_logprobs(prompts, [task.response for task in tasks], temperature)
    known = [s for s in scored if s.tokens > 0 and s.total == s.total]
    count = sum(s.tokens for s in known)
    return (-sum(s.total for s in known) / count, count) if count else None
