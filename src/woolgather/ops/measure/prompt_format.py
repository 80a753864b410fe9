"""The form in which a base is asked: bare text, blocks under headings, or turns.

The one idea: the right form is the one in which the model answers, and many base checkpoints carry a
template that they were never trained on. So each form is tried: forms that make known answers much
less likely are left out, the others answer a few probes, and where the passes do not tell them apart
the likelier answers decide. In any other form a tuned model's gain over its base is mostly the form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from woolgather.core.artifacts import Choice, PromptFormat
from woolgather.core.errors import CapabilityError, EngineError
from woolgather.core.expected import Expected
from woolgather.core.intervals import paired_difference
from woolgather.core.op import op
from woolgather.core.rows import JSON, Example
from woolgather.core.views import View, table
from woolgather.engines.base import Engine, LogProb, Sampling
from woolgather.ops.text.ask import ask_rows
from woolgather.probes import Probe, generate, task_of
from woolgather.probes.checks import outcome
from woolgather.prompting.forms import FORMS, forms_of, spell_out
from woolgather.prompting.messages import Prompt
from woolgather.prompting.turns import answer_prompt, stops

MARGIN = 0.5
"""Nats per token by which a form may fall behind the likeliest and still be asked probes."""
PROBES = 48
"""Calibration probes: a few of each family that selects."""
PROBE_SEED = 20_230_402
"""Random seed of the calibration probes; any that no run uses."""
ANSWER_TOKENS = 64
"""Tokens of an answer to one of them, at most."""
ROW_TOKENS = 60
"""Tokens of a prompt, about; for plans."""


def _work(
    rows: Iterable[Example], text: Engine, chat: Engine, *, rows_used: int, probes: int
) -> Expected:
    forms = len(forms_of(text.model.path, text.model.chat_template))
    calls = forms * (rows_used + probes)
    return Expected(
        calls=calls,
        prompt_tokens=calls * ROW_TOKENS,
        new_tokens=forms * probes * ANSWER_TOKENS,
        value="blocks",  # a form in which a base is measured twice, in its own and in chat
    )


@dataclass
class _Trial:
    """What one form came to."""

    form: PromptFormat
    loss: float | None = None
    """Nats per token of the seed responses; None where the engine has no likelihoods in this form."""
    outcomes: Mapping[str, float | None] = field(default_factory=dict)
    """By calibration probe; empty where none was asked."""

    @property
    def passes(self) -> float:
        """Returns the number of probes that it passed."""
        return sum(passed or 0.0 for passed in self.outcomes.values())

    def is_clearly_better(self, other: _Trial) -> bool:
        """Returns whether it passes more probes than the other, by an interval clear of zero."""
        gain = paired_difference(self.outcomes, other.outcomes)
        return gain is not None and gain.above_zero


@op("choose_format", version=3, expects=_work)
def choose_format(
    rows: Iterable[Example],
    text: Engine,
    chat: Engine,
    *,
    rows_used: int = 32,
    probes: int = PROBES,
) -> Choice:
    """Returns the form, of those that the model can be asked in, which passes most of `probes`; among
    forms that pass as many, within noise, the one with the lowest loss per token on the responses of
    the first `rows_used` rows.

    `text` asks the model with raw text, and all forms but one are sent through it; `chat` asks it
    through its template. Forms more than MARGIN nats per token behind the likeliest are asked no
    probes. A row that is too long for the model in any form is left out, and so is a form that the
    engine cannot ask in. Where it has no likelihoods, the probes alone decide. Raises CapabilityError
    or EngineError where it can ask in no form.
    """
    used = [row for row in islice(rows, rows_used) if row.response]
    engines = {form: chat if form == "chat" else text for form in FORMS}
    trials = [_Trial(form) for form in forms_of(text.model.path, text.model.chat_template)]
    scored = _compare_losses(trials, used, engines)
    likeliest = min((t.loss for t in trials if t.loss is not None), default=math.inf)
    asked = [t for t in trials if t.loss is None or t.loss <= likeliest + MARGIN]
    chosen, why = asked[0], "no other form is as likely"
    if len(asked) > 1:
        _ask_probes(asked, engines, probes)
        chosen, why = _decide([t for t in asked if t.outcomes])
    return Choice(
        chosen.form,
        f"{why}; {_tell(trials, scored, probes)}",
        views=(_show(trials, scored, probes),),
    )


def _compare_losses(
    trials: Sequence[_Trial], rows: Sequence[Example], engines: Mapping[PromptFormat, Engine]
) -> int:
    """Fills in the losses, and returns on how many rows: those that every form has room for."""
    # Two engines may not fit into memory together: the one is done with before the other is opened.
    ordered = sorted(trials, key=lambda t: t.form == "chat")
    scored = {t.form: _score(rows, t.form, engines[t.form]) for t in ordered}
    able = {form: logs for form, logs in scored.items() if any(logs)}
    common = [i for i in range(len(rows)) if all(logs[i] for logs in able.values())]
    for trial in trials:
        logs = [log for i in common if (log := scored[trial.form][i])]
        if logs:
            trial.loss = -sum(log.total for log in logs) / sum(log.tokens for log in logs)
    return len(common) if able else 0


def _score(rows: Sequence[Example], form: PromptFormat, engine: Engine) -> list[LogProb | None]:
    """Returns the likelihood of each response; None for a row that is too long, or for all of them
    where the engine has none to give."""
    prompts = [_word(row, form) for row in rows]
    answers = [row.response for row in rows]
    try:
        found = engine.sequence_logprobs(prompts, answers)
    except CapabilityError:  # of one row or of all: each alone tells
        return [_score_alone(engine, p, a) for p, a in zip(prompts, answers, strict=True)]
    return [log if _is_sound(log) else None for log in found]


def _score_alone(engine: Engine, prompt: Prompt, answer: str) -> LogProb | None:
    try:
        (log,) = engine.sequence_logprobs([prompt], [answer])
    except CapabilityError:
        return None
    return log if _is_sound(log) else None


def _is_sound(log: LogProb) -> bool:
    return log.tokens > 0 and math.isfinite(log.total)


def _ask_probes(
    trials: Sequence[_Trial], engines: Mapping[PromptFormat, Engine], count: int
) -> None:
    """Fills in the outcomes of the calibration probes. A form without a loss may be one that a server
    does not take: it is left without outcomes. Raises its error where no other can be asked."""
    probes = generate(count, PROBE_SEED, purpose="select")
    failure: CapabilityError | EngineError | None = None
    for trial in sorted(trials, key=lambda t: t.form != "chat"):  # that engine is open already
        try:
            trial.outcomes = _answer(probes, trial.form, engines[trial.form])
        except (CapabilityError, EngineError) as error:
            if trial.loss is not None:
                raise
            failure = error
    if failure and not any(t.outcomes for t in trials):
        raise failure


def _answer(
    probes: Sequence[Probe], form: PromptFormat, engine: Engine
) -> Mapping[str, float | None]:
    sampling = Sampling(temperature=0.0, max_tokens=ANSWER_TOKENS, stop=stops(form))
    found = ask_rows(probes, engine, lambda probe: _word(task_of(probe), form), sampling, 0)
    passed = {probe.id: outcome(answer, probe.check) for probe, answer, _ in found}
    return {name: None if flag is None else float(flag) for name, flag in passed.items()}


def _word(task: Example, form: PromptFormat) -> Prompt:
    return spell_out(answer_prompt(task, form), form)


def _decide(trials: Sequence[_Trial]) -> tuple[_Trial, str]:
    """Returns the trial that is chosen, and by what."""
    leader = max(trials, key=lambda t: t.passes)
    level = [t for t in trials if not leader.is_clearly_better(t)]
    losses = {t.form: t.loss for t in level if t.loss is not None}
    if len(level) == 1 or len(losses) < len(level):
        return leader, "it passes most probes"
    likeliest = min(level, key=lambda t: losses[t.form])
    return likeliest, "the likeliest of those that pass as many probes, within noise"


def _tell(trials: Sequence[_Trial], scored: int, probes: int) -> str:
    """Returns both numbers of each form in words."""
    losses = [f"{t.form} {t.loss:.3f}" for t in trials if t.loss is not None]
    passes = [f"{t.form} {t.passes:.0f}" for t in trials if t.outcomes]
    told = [
        f"loss per token on {scored} seed responses: {', '.join(losses) or 'not known'}",
        f"of {probes} probes passed: {', '.join(passes) or 'not asked'}",
    ]
    return "; ".join(told)


def _show(trials: Sequence[_Trial], scored: int, probes: int) -> View:
    rows: list[list[JSON]] = [
        [t.form, t.loss and round(t.loss, 3), t.passes if t.outcomes else None] for t in trials
    ]
    columns = ["form", "loss per token", f"of {probes} probes passed"]
    note = (
        f"The loss is that of {scored} seed responses. Forms more than {MARGIN:g} nats per token behind "
        "the likeliest are asked no probes."
    )
    return table("Forms in which the base can be asked", columns, rows, note)
