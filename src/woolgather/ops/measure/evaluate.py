"""Measure a model: probes against null answers, held-out tasks, and signs of degeneration.

The one idea: a measure that can see. Probes are generated and machine-checked, so there are enough
of them for a narrow interval, and the headline is their pass rate minus that of the best null answer
(a constant, an echo). Some families of probes select a model, others report on it (probes.generate).
Every model answers greedily with the same limit, zero-shot by its own format; a base may be shown
`shots`, as a control.

What every model is asked is identical; outcomes per item are kept, so that two models are compared
on the same items. An answer that was cut at the limit does not pass. A question that got no answer
is neither right nor wrong: its outcome is None, and it is counted apart. Win rates need a judge and
are measured apart (win_rate.py); here they are None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import replace
from itertools import groupby
from typing import ClassVar

from pydantic import Field

from woolgather.core.artifacts import Metrics
from woolgather.core.errors import CapabilityError
from woolgather.core.expected import Expected
from woolgather.core.intervals import Estimate
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import JSON, Example
from woolgather.core.views import View, alarm, table_cell
from woolgather.engines.base import Completion, Engine, Sampling
from woolgather.ops.measure.degeneration import (
    TEMPERATURES,
    distinct_2,
    ends_by_itself,
    goes_in_circles,
    length_ratio,
    reference_likelihood,
    share,
)
from woolgather.ops.measure.evaluate_views import describe, note_endings, note_ids, show_measures
from woolgather.ops.measure.margin import measure_margin
from woolgather.ops.measure.null_answers import expected_best_null
from woolgather.ops.measure.outcomes import Outcomes, rate_of
from woolgather.ops.measure.probe_sets import (
    BOTH,
    PROMPT_TOKENS,
    CheckedProbe,
    Measured,
    check_answer,
    probe_sets,
)
from woolgather.ops.measure.tax.answers import read_drift
from woolgather.ops.text.ask import ask_rows
from woolgather.ops.text.item_ids import item_ids
from woolgather.probes import TIERS, Tier, task_of, tier_of
from woolgather.probes.checks import outcome
from woolgather.prompting.messages import Prompt
from woolgather.prompting.turns import answer_prompt, stops


class EvaluationOptions(Options):
    """What a model is asked."""

    probes: int = Field(default=600, ge=0)
    """Generated test prompts with machine checks, of each set: so many report, and so many select
    (at most 60 per family)."""
    probe_seed: int = 1
    """Random seed of the probes: with another one, other probes of the same families are asked."""
    tier: Tier | None = None
    """How hard the families of the probes that select are; None: of every tier. All tiers report."""
    max_tokens: int = Field(default=128, ge=1)
    """Tokens of an answer, at most."""
    likelihood: bool = True
    """Likelihood of the held-out references at one fitted temperature, where the engine can."""
    margin: int = Field(default=0, ge=0)
    """Probes whose right answer is compared with a near miss by likelihood, where the engine can; this
    chooses among ways to train and claims nothing. 0 leaves it out."""

    added: ClassVar[frozenset[str]] = frozenset({"margin", "probe_seed", "tier"})

    def __canonical__(self) -> dict[str, JSON]:
        """The fields above: what a subclass adds is for other steps, and no part of a measure. Nor is
        the default of one that came later: measures without a margin are what they were."""
        fields = EvaluationOptions.model_fields
        found = {name: getattr(self, name) for name in sorted(fields)}
        return {k: v for k, v in found.items() if k not in self.added or v != fields[k].default}


def _work(
    tasks: Iterable[Example],
    engine: Engine,
    *,
    how: EvaluationOptions,
    purposes: Sequence[Measured],
    **_: object,
) -> Expected:
    held_out = len(tasks) if isinstance(tasks, Sized) else 0
    asked = how.probes * len(purposes) + held_out
    scored = held_out * (len(TEMPERATURES) + 1) // 2 if how.likelihood else 0
    scored += 2 * (how.margin + held_out) if how.margin else 0
    return Expected(
        calls=asked + scored,
        prompt_tokens=(asked + scored) * PROMPT_TOKENS,
        new_tokens=asked * how.max_tokens,
    )


@op("evaluate", version=5, expects=_work)
def evaluate(
    tasks: Iterable[Example],
    engine: Engine,
    *,
    how: EvaluationOptions = EvaluationOptions(),  # noqa: B008 - frozen
    purposes: Sequence[Measured] = BOTH,
    shots: Iterable[Example] = (),
    seed: int = 0,
) -> Metrics:
    """Returns what the model behind `engine` can do: numbers with intervals and outcomes per item.

    `tasks` are held out: `response` is the reference, `meta["check"]` the machine check of those
    that have one. `how.probes` are asked for each of `purposes`: families that select, and others
    that report. `shots` are answered tasks shown before each.

    Values (None is "not measured"; an estimate is {value, low, high, error, count, effect}):
      probes        pass rate of those that report, an estimate; `probes_select` of those that select
      strict        the same as `probes`, of answers as they stand, with no lead-in or code fence taken
                    off
      tiers         pass rates of those that report, estimates by tier: easy, middle, hard
      null          {name, rate} of the best null answer, as expected on such probes
      above_null    the headline: pass rate minus the best null's, an estimate
      families      pass rate by family, of all sets
      heldout       pass rate of the held-out tasks with a check, an estimate
      unanswered    share of the questions that got no answer (the prompt does not fit, the engine gave
                    up): neither right nor wrong, they count in no rate
      unfinished    share of the questions whose answer was cut at `how.max_tokens`, which never passes
      stops, loops  share of all answers that end by themselves, and that go round in circles
      identity, refusals, language  share of all answers that name a maker or another assistant, that
                    refuse, and that are in another language than their task (tax/answers.py)
      length_ratio  median words of held-out answers over that of their references
      distinct_2    distinct pairs of words among all in the held-out answers
      nll, nll_temperature  nats per token of the references, at a temperature fitted on half of them
      margin        nats by which a right answer is likelier than a near miss, of families that select;
                    `margin_right` the share above 0; `margin_heldout` on held-out tasks; estimates
      win_rate      None
      prompted, tier  how it was asked, and how hard the probes that select are; None: of all tiers
    Items: `probes:select` and `probes:report` by probe id, `heldout` by task id, `stops`, `loops` and the
    signs of drift by both: 1, 0, or None without an answer; `margin` and `margin_heldout` in nats.
    Intervals of probes are over their families. Raises ConfigError for a purpose that measures nothing.
    """
    held_out, shown = list(tasks), list(shots)
    sets = probe_sets(how.probes, how.probe_seed, how.tier, purposes)
    asked = [task_of(p) for probes in sets.values() for p in probes] + held_out
    answers = _answers(asked, engine, shown, how.max_tokens, seed)
    own = answers[len(answers) - len(held_out) :]
    ids = item_ids(held_out)

    checked: dict[Measured, list[CheckedProbe]] = {}
    replies = iter(answers)  # in the order of asking: the sets of probes, then the held-out tasks
    for purpose, probes in sets.items():
        checked[purpose] = [check_answer(p, a) for p, a in zip(probes, replies, strict=False)]
    every = [each for own_set in checked.values() for each in own_set]
    items: dict[str, Outcomes] = {
        f"probes:{purpose}": {each.probe.id: each.outcome for each in own_set}
        for purpose, own_set in checked.items()
    }
    values: dict[str, JSON] = {"prompted": _describe_prompt(engine, shown), "tier": how.tier}
    values |= _probe_values(checked)
    items["heldout"] = {
        name: _as_number(outcome(answer, task.meta["check"]))
        for name, task, answer in zip(ids, held_out, own, strict=True)
        if task.meta.get("check")
    }
    values["heldout"] = table_cell(rate_of(items["heldout"]))
    names = [*(each.probe.id for each in every), *ids]
    items["stops"] = dict(zip(names, map(ends_by_itself, answers), strict=True))
    items["loops"] = dict(zip(names, map(goes_in_circles, answers), strict=True))
    drift, signs = read_drift(names, asked, answers)
    items |= signs
    values |= drift | {
        "families": _by_family(every),
        "unanswered": share(float(flag is None) for flag in items["stops"].values()),
        "unfinished": share(float(answer.finish_reason == "length") for answer in answers),
        "stops": share(items["stops"].values()),
        "loops": share(items["loops"].values()),
        "length_ratio": length_ratio(own, [task.response for task in held_out]),
        "distinct_2": distinct_2([a.text for a in own]),
        "win_rate": None,
    }
    notes = [*note_endings(values, how.max_tokens), *note_ids(held_out, ids)]
    values |= _likelihood(held_out, engine, notes) if how.likelihood else {"nll": None}
    margins, nats = measure_margin(how.margin, how.probe_seed, held_out, engine, notes)
    values |= margins
    items |= nats
    views = (*show_measures(values, every, held_out, own), *notes)
    return Metrics(values, items, views=views, headline=describe(values))


def _answers(
    rows: Sequence[Example],
    engine: Engine,
    shots: Sequence[Example],
    max_tokens: int,
    seed: int,
) -> list[Completion]:
    form = engine.model.prompt_format
    sampling = Sampling(temperature=0.0, max_tokens=max_tokens, stop=stops(form, shots))

    def prompt_of(row: Example) -> Prompt:
        return answer_prompt(row, form, shots)

    return [answer for _, answer, _ in ask_rows(rows, engine, prompt_of, sampling, seed)]


def _describe_prompt(engine: Engine, shots: Sequence[Example]) -> str:
    return (
        f"{engine.model.prompt_format}, {len(shots)} shots" if shots else engine.model.prompt_format
    )


def _as_number(passed: bool | None) -> float | None:
    return None if passed is None else float(passed)


def _probe_values(checked: Mapping[Measured, Sequence[CheckedProbe]]) -> dict[str, JSON]:
    reporting = checked.get("report", ())
    rate = _pass_rate(reporting)
    values: dict[str, JSON] = {
        "probes": table_cell(rate),
        "probes_select": table_cell(_pass_rate(checked.get("select", ()))),
        "strict": table_cell(rate_of({each.probe.id: each.strict_outcome for each in reporting})),
        "tiers": None,
        "null": None,
        "above_null": None,
    }
    if not reporting:
        return values
    name, null = expected_best_null([each.probe for each in reporting])
    tiers = {t: [each for each in reporting if tier_of(each.probe.family) == t] for t in TIERS}
    above = rate and replace(
        rate, value=rate.value - null, low=rate.low - null, high=rate.high - null
    )
    return values | {
        "tiers": {tier: table_cell(_pass_rate(own)) for tier, own in tiers.items()},
        "null": {"name": name, "rate": null},
        "above_null": table_cell(above),
    }


def _pass_rate(checked: Iterable[CheckedProbe]) -> Estimate | None:
    return rate_of({each.probe.id: each.outcome for each in checked})


def _by_family(checked: Sequence[CheckedProbe]) -> dict[str, float | None]:
    ordered = sorted(checked, key=lambda each: each.probe.family)
    groups = groupby(ordered, key=lambda each: each.probe.family)
    return {family: share(each.outcome for each in group) for family, group in groups}


def _likelihood(tasks: Sequence[Example], engine: Engine, notes: list[View]) -> dict[str, JSON]:
    try:
        found = reference_likelihood(tasks, engine)
    except CapabilityError as error:
        notes.append(alarm("Likelihood not measured", str(error), "note"))
        found = None
    return {
        "nll": found.nll if found else None,
        "nll_temperature": found.temperature if found else None,
    }
