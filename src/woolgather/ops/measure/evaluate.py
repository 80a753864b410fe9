"""Measure a model: probes against null answers, held-out tasks, and signs of degeneration.

The one idea: a measure that can see. Probes are generated and machine-checked, so there are enough
of them for a narrow interval, and the headline is their pass rate minus that of the best null answer
(a constant, an echo). The first probe seed is for selecting a model, the last for reporting on it.
Every model answers greedily with the same limit, zero-shot by its own format; a base may be shown
`shots`, as a control.

What every model is asked is identical; outcomes per item are kept, so that two models are compared
on the same items. An answer that was cut at the limit does not pass. A question that got no answer
is neither right nor wrong: its outcome is None, and it is counted apart. Win rates need a judge and
are measured apart (win_rate.py); here they are None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import groupby
from typing import ClassVar

from pydantic import Field

from woolgather.core.artifacts import Metrics
from woolgather.core.errors import CapabilityError, ConfigError
from woolgather.core.expected import Expected
from woolgather.core.intervals import Estimate, rate_interval
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import JSON, Example
from woolgather.core.views import View, alarm, table, table_cell
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
from woolgather.ops.measure.margin import measure_margin
from woolgather.ops.measure.null_answers import expected_best_null
from woolgather.ops.measure.outcomes import Outcomes, item_ids
from woolgather.ops.text.ask import ask_rows
from woolgather.probes import Probe, generate, task_of
from woolgather.probes.checks import outcome
from woolgather.prompting.messages import Prompt
from woolgather.prompting.turns import answer_prompt, stops

PROMPT_TOKENS = 60
"""Tokens of a probe or a held-out task, about; for plans."""
SHOWN = 12
"""Answers that a report shows."""
ABSENT, CUT = 0.05, 0.25
"""Shares of answers that are missing, or cut at the limit, above which an alarm says so."""


class EvaluationOptions(Options):
    """What a model is asked."""

    probes: int = Field(default=300, ge=0)
    """Generated test prompts with machine checks, for each probe seed."""
    max_tokens: int = Field(default=128, ge=1)
    """Tokens of an answer, at most."""
    likelihood: bool = True
    """Likelihood of the held-out references at one fitted temperature, where the engine can."""
    margin: int = Field(default=0, ge=0)
    """Probes whose right answer is compared with a near miss by likelihood, where the engine can; this
    chooses among ways to train and claims nothing. 0 leaves it out."""

    added: ClassVar[frozenset[str]] = frozenset({"margin"})

    def __canonical__(self) -> dict[str, JSON]:
        """The fields above: what a subclass adds is for other steps, and no part of a measure. Nor is
        its default: a margin of 0 is what measures were before."""
        fields = EvaluationOptions.model_fields
        found = {name: getattr(self, name) for name in fields}
        return {k: v for k, v in found.items() if k not in self.added or v != fields[k].default}


def _work(
    tasks: Iterable[Example],
    engine: Engine,
    *,
    how: EvaluationOptions,
    probe_seeds: Sequence[int],
    **_: object,
) -> Expected:
    held_out = len(tasks) if isinstance(tasks, Sized) else 0
    asked = how.probes * len(set(probe_seeds)) + held_out
    scored = held_out * (len(TEMPERATURES) + 1) // 2 if how.likelihood else 0
    scored += 2 * (how.margin + held_out) if how.margin else 0
    return Expected(
        calls=asked + scored,
        prompt_tokens=(asked + scored) * PROMPT_TOKENS,
        new_tokens=asked * how.max_tokens,
    )


@dataclass(frozen=True)
class _CheckedProbe:
    """A probe, what came back, and what that is worth."""

    probe: Probe
    answer: Completion
    outcome: float | None

    @property
    def verdict(self) -> str:
        if self.outcome is None:
            return "no answer"
        unfinished = self.answer.finish_reason == "length"
        return "pass" if self.outcome else "unfinished" if unfinished else "fail"


@op("evaluate", version=3, expects=_work)
def evaluate(
    tasks: Iterable[Example],
    engine: Engine,
    *,
    how: EvaluationOptions = EvaluationOptions(),  # noqa: B008 - frozen
    probe_seeds: Sequence[int] = (1, 2),
    shots: Iterable[Example] = (),
    seed: int = 0,
) -> Metrics:
    """Returns what the model behind `engine` can do: numbers with intervals and outcomes per item.

    `tasks` are held out: `response` is the reference, `meta["check"]` the machine check of those
    that have one. `how.probes` are asked per seed of `probe_seeds`; the first seed selects, the last
    reports. `shots` are answered tasks shown before each.

    Values (None is "not measured"; an estimate is {value, low, high, error, count}):
      probes        pass rate on the reporting seed, an estimate; `probes_select` on the selecting one
      null          {name, rate} of the best null answer, as expected on such probes
      above_null    the headline: pass rate minus the best null's, an estimate
      families      pass rate by family, over all seeds
      heldout       pass rate of the held-out tasks with a check, an estimate
      unanswered    share of the questions that got no answer (the prompt does not fit, the engine gave
                    up): neither right nor wrong, they count in no rate
      unfinished    share of the questions whose answer was cut at `how.max_tokens`, which never passes
      stops, loops  share of all answers that end by themselves, and that go round in circles
      length_ratio  median words of held-out answers over that of their references
      distinct_2    distinct pairs of words among all in the held-out answers
      nll, nll_temperature  nats per token of the references, at a temperature fitted on half of them
      margin        nats by which a right answer is likelier than a near miss, of families that select;
                    `margin_right` the share above 0; `margin_heldout` on held-out tasks; estimates
      win_rate      None
      probe_seeds, prompted  how it was asked
    Items: `probes:<seed>` by probe id, `heldout` by task id, `stops` and `loops` by both: 1, 0, or None
    without an answer; `margin` and `margin_heldout` in nats. Raises ConfigError without a probe seed.
    """
    probes = how.probes
    if probes and not probe_seeds:
        raise ConfigError("probe_seeds is empty: name one seed to select on and one to report on")
    held_out, shown = list(tasks), list(shots)
    seeds = list(dict.fromkeys(probe_seeds)) if probes else []
    sets = {s: generate(probes, s) for s in seeds}
    asked = [task_of(p) for s in seeds for p in sets[s]] + held_out
    answers = _answers(asked, engine, shown, how.max_tokens, seed)
    own = answers[len(answers) - len(held_out) :]
    ids = item_ids(held_out)

    values: dict[str, JSON] = {"probe_seeds": seeds, "prompted": _describe_prompt(engine, shown)}
    items: dict[str, Outcomes] = {}
    checked: list[_CheckedProbe] = []
    for s in seeds:
        done = zip(sets[s], answers[len(checked) : len(checked) + probes], strict=True)
        own_set = [_CheckedProbe(p, a, _as_number(outcome(a, p.check))) for p, a in done]
        items[f"probes:{s}"] = {each.probe.id: each.outcome for each in own_set}
        checked += own_set
    values |= _probe_values(sets, items)
    items["heldout"] = {
        name: _as_number(outcome(answer, task.meta["check"]))
        for name, task, answer in zip(ids, held_out, own, strict=True)
        if task.meta.get("check")
    }
    values["heldout"] = table_cell(_rate(items["heldout"]))
    names = [*(each.probe.id for each in checked), *ids]
    items["stops"] = dict(zip(names, map(ends_by_itself, answers), strict=True))
    items["loops"] = dict(zip(names, map(goes_in_circles, answers), strict=True))
    values |= {
        "families": _by_family(checked),
        "unanswered": share(float(flag is None) for flag in items["stops"].values()),
        "unfinished": share(float(answer.finish_reason == "length") for answer in answers),
        "stops": share(items["stops"].values()),
        "loops": share(items["loops"].values()),
        "length_ratio": length_ratio(own, [task.response for task in held_out]),
        "distinct_2": distinct_2([a.text for a in own]),
        "win_rate": None,
    }
    notes = [*_note_endings(values, how.max_tokens), *_note_ids(held_out, ids)]
    values |= _likelihood(held_out, engine, notes) if how.likelihood else {"nll": None}
    margins, nats = measure_margin(how.margin, (*seeds, 1)[0], held_out, engine, notes)
    values |= margins
    items |= nats
    views = (*_views(values, checked, held_out, own), *notes)
    return Metrics(values, items, views=views, headline=_headline(values))


def measures(values: Mapping[str, JSON]) -> list[tuple[str, JSON]]:
    """Returns the main values by the names they are shown with, as cells of a table; None is not
    measured."""
    null = values["null"] or {"name": "", "rate": None}
    found = [
        ("probes above the best null answer", table_cell(values["above_null"], "points")),
        ("probes passed", table_cell(values["probes"], "percent")),
        ("probes passed, selecting seed", table_cell(values["probes_select"], "percent")),
        (f"best null answer ({null['name'] or 'none'})", table_cell(null["rate"], "percent")),
        ("held-out tasks passed", table_cell(values["heldout"], "percent")),
        ("cut at the limit, and so failed", table_cell(values["unfinished"], "percent")),
        ("without an answer, and so not counted", table_cell(values["unanswered"], "percent")),
        ("stops by itself", table_cell(values["stops"], "percent")),
        ("goes round in circles", table_cell(values["loops"], "percent")),
        ("length against the reference", values["length_ratio"]),
        ("distinct-2", values["distinct_2"]),
        ("references, nats per token", values["nll"]),
        ("margin over a near miss, nats", table_cell(values["margin"])),
        ("right answer likelier than it", table_cell(values["margin_right"], "percent")),
        ("margin on held-out tasks, nats", table_cell(values["margin_heldout"])),
    ]
    if len(values["probe_seeds"]) < 2:  # the same seed selects and reports
        found.pop(2)
    return found


def _headline(values: Mapping[str, JSON]) -> str:
    parts = []
    for name, key in (("probes", "probes"), ("held out", "heldout")):
        if values.get(key):
            parts.append(f"{name} {100 * values[key]['value']:.1f} %")
    if values.get("null"):
        parts.append(f"best null answer {100 * values['null']['rate']:.1f} %")
    return ", ".join(parts) or "nothing to measure"


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


def _rate(outcomes: Outcomes) -> Estimate | None:
    return rate_interval([v for v in outcomes.values() if v is not None])


def _probe_values(
    sets: Mapping[int, Sequence[Probe]], items: Mapping[str, Outcomes]
) -> dict[str, JSON]:
    if not sets:
        return dict.fromkeys(("probes", "probes_select", "null", "above_null"))
    selecting, *_, reporting = [*sets, *sets]
    name, null = expected_best_null(sets[reporting])
    rate = _rate(items[f"probes:{reporting}"])
    above = rate and replace(
        rate, value=rate.value - null, low=rate.low - null, high=rate.high - null
    )
    return {
        "probes": table_cell(rate),
        "probes_select": table_cell(_rate(items[f"probes:{selecting}"])),
        "null": {"name": name, "rate": null},
        "above_null": table_cell(above),
    }


def _by_family(checked: Sequence[_CheckedProbe]) -> dict[str, float | None]:
    ordered = sorted(checked, key=lambda each: each.probe.family)
    groups = groupby(ordered, key=lambda each: each.probe.family)
    return {family: share(each.outcome for each in group) for family, group in groups}


def _note_endings(values: Mapping[str, JSON], max_tokens: int) -> list[View]:
    """What makes the rates say less than they seem to."""
    found = []
    if (missing := values["unanswered"] or 0) > ABSENT:
        text = (
            f"{100 * missing:.0f} % of the questions got no answer: the prompt did not fit into the "
            "model's context, or the engine gave up. They count in no rate."
        )
        found.append(alarm("Questions without an answer", text))
    if (cut := values["unfinished"] or 0) > CUT:
        text = (
            f"{100 * cut:.0f} % of the answers were cut at the limit of {max_tokens} tokens, and count "
            "as failed. Set measure.max_tokens higher to see what the model would have said."
        )
        found.append(alarm("Unfinished answers", text, "note"))
    return found


def _note_ids(tasks: Sequence[Example], ids: Sequence[str]) -> list[View]:
    again = [name for task, name in zip(tasks, ids, strict=True) if task.id and task.id != name]
    if not again:
        return []
    are = "task has an id" if len(again) == 1 else "tasks have ids"
    text = (
        f"{len(again)} held-out {are} that an earlier one has. All are measured; the first of the "
        f"later ones is called {again[0]} here. Give every task an id of its own, or none."
    )
    return [alarm("Held-out tasks with the same id", text, "note")]


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


def _views(
    values: Mapping[str, JSON],
    checked: Sequence[_CheckedProbe],
    tasks: Sequence[Example],
    answers: Sequence[Completion],
) -> list[View]:
    rows = [*measures(values), ("win rate", None)]
    shown = [[name, "not measured" if value is None else value] for name, value in rows]
    out = [table("Measures", ["measure", "value"], shown, f"Prompted: {values['prompted']}.")]
    if checked:
        counts = Counter(each.probe.family for each in checked)
        families = [
            [family, table_cell(rate, "percent"), counts[family]]
            for family, rate in values["families"].items()
        ]
        out.append(table("Probes by family", ["family", "passed", "probes"], families))
        step = max(1, len(checked) // SHOWN)
        sample = [
            [o.probe.family, o.probe.instruction, o.probe.input, o.answer.text, o.verdict]
            for o in checked[::step][:SHOWN]
        ]
        columns = ["family", "instruction", "input", "answer", "check"]
        out.append(table("Some probes", columns, sample))
    if tasks:
        sample = [
            [t.instruction, t.input, a.text, t.response]
            for t, a in list(zip(tasks, answers, strict=True))[:SHOWN]
        ]
        out.append(
            table("Some held-out tasks", ["instruction", "input", "answer", "reference"], sample)
        )
    return out
