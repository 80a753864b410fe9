"""Measure a model: probes against null answers, held-out tasks, and signs of degeneration.

The one idea: a measure that can see. Probes are generated and machine-checked, so there are enough
of them for a narrow interval, and the headline is their pass rate minus that of the best null answer
(a constant, an echo), with a paired interval. The first probe seed is for selecting a model, the
last for reporting on it. Every model answers greedily with the same limit, zero-shot by its own
format; a base may be shown `shots`, as a control.

What every model is asked is identical; outcomes per item are kept, so that two models are compared
on the same items. Win rates need a judge and are measured apart (win_rate.py); here they are None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Sized
from itertools import groupby

from pydantic import Field

from woolgather.core.artifacts import Metrics
from woolgather.core.errors import CapabilityError, ConfigError
from woolgather.core.expected import Expected
from woolgather.core.intervals import paired_difference, rate_interval
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import JSON, Example
from woolgather.core.views import View, alarm, table, table_cell
from woolgather.engines.base import Completion, Engine, Sampling
from woolgather.ops.measure.degeneration import (
    TEMPERATURES,
    distinct_2,
    length_ratio,
    loop_share,
    reference_likelihood,
    stop_share,
)
from woolgather.ops.text.ask import ask_rows
from woolgather.probes import NULL_ANSWERS, Probe, best_null, generate, task_of
from woolgather.probes.checks import outcome, passes
from woolgather.prompting.messages import Prompt
from woolgather.prompting.turns import answer_prompt, stops

PROMPT_TOKENS = 60
"""Tokens of a probe or a held-out task, about; for plans."""
SHOWN = 12
"""Answers that a report shows."""
ABSENT, CUT = 0.05, 0.25
"""Shares of answers that are missing, or cut by their length, above which an alarm says so."""
_WORDS = {True: "pass", False: "fail", None: "no answer"}
_Outcome = tuple[Probe, Completion, bool | None]


class EvaluationOptions(Options):
    """What a model is asked."""

    probes: int = Field(default=300, ge=0)
    """Generated test prompts with machine checks, for each probe seed."""
    max_tokens: int = Field(default=128, ge=1)
    """Tokens of an answer, at most."""
    likelihood: bool = True
    """Likelihood of the held-out references at one fitted temperature, where the engine can."""

    def __canonical__(self) -> dict[str, JSON]:
        """The fields above: what a subclass adds is for other steps, and no part of a measure."""
        return {name: getattr(self, name) for name in EvaluationOptions.model_fields}


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
    return Expected(
        calls=asked + scored,
        prompt_tokens=(asked + scored) * PROMPT_TOKENS,
        new_tokens=asked * how.max_tokens,
    )


@op("evaluate", version=2, expects=_work)
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
      null          {name, rate} of the best null answer on the reporting seed
      above_null    the headline: pass rate minus the best null's, a paired estimate
      families      pass rate by family, over all seeds
      heldout       pass rate of the held-out tasks with a check, an estimate
      unanswered    share of the probes and checked tasks to which no answer came (the prompt does not
                    fit, the engine gave up): neither right nor wrong, they count in no rate
      unfinished    share of them whose answer ran into `how.max_tokens`, which never passes
      stops, loops  share of all answers that end by themselves, and that go round in circles
      length_ratio  median words of held-out answers over that of their references
      distinct_2    distinct pairs of words among all in the held-out answers
      nll, nll_temperature  nats per token of the references, at a temperature fitted on half of them
      win_rate      None
      probe_seeds, prompted  how it was asked
    Items: `probes:<seed>` by probe id and `heldout` by task id: 1 or 0, None without an answer.
    Raises ConfigError without a probe seed.
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

    values: dict[str, JSON] = {"probe_seeds": seeds, "prompted": _describe_prompt(engine, shown)}
    items: dict[str, Mapping[str, float | None]] = {}
    outcomes: list[_Outcome] = []
    start = 0
    for s in seeds:
        done = list(zip(sets[s], answers[start : start + probes], strict=True))
        checked = [(p, a, outcome(a, p.check)) for p, a in done]
        items[f"probes:{s}"] = {p.id: _number(ok) for p, _, ok in checked}
        outcomes += checked
        start += probes
    values |= _probe_values(sets, items, seed)
    items["heldout"] = _rate_held_out(held_out, own)
    values["heldout"] = _rate(items["heldout"])
    checkable = [a for _, a, _ in outcomes] + [
        a for task, a in zip(held_out, own, strict=True) if task.meta.get("check")
    ]
    values |= {
        "unanswered": _share(a.finish_reason not in ("stop", "length") for a in checkable),
        "unfinished": _share(a.finish_reason == "length" for a in checkable),
    }
    values |= {
        "families": _by_family(outcomes),
        "stops": stop_share(answers),
        "loops": loop_share(answers),
        "length_ratio": length_ratio(own, [task.response for task in held_out]),
        "distinct_2": distinct_2([a.text for a in own]),
        "win_rate": None,
    }
    notes = _doubts(values, how.max_tokens)
    values |= _likelihood(held_out, engine, notes) if how.likelihood else {"nll": None}
    views = (*_views(values, outcomes, held_out, own), *notes)
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
        ("cut by its length, and so failed", table_cell(values.get("unfinished"), "percent")),
        ("without an answer", table_cell(values.get("unanswered"), "percent")),
        ("stops by itself", table_cell(values["stops"], "percent")),
        ("goes round in circles", table_cell(values["loops"], "percent")),
        ("length against the reference", values["length_ratio"]),
        ("distinct-2", values["distinct_2"]),
        ("references, nats per token", values["nll"]),
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


def _share(flags: Iterable[bool]) -> float | None:
    known = list(flags)
    return sum(known) / len(known) if known else None


def _number(ok: bool | None) -> float | None:
    return None if ok is None else float(ok)


def _rate(outcomes: Mapping[str, float | None]) -> JSON:
    found = rate_interval([o for o in outcomes.values() if o is not None])
    return found.json() if found else None


def _doubts(values: Mapping[str, JSON], max_tokens: int) -> list[View]:
    """What makes the rates say less than they seem to, as alarms."""
    found = []
    if (values["unanswered"] or 0) > ABSENT:
        share = f"{100 * values['unanswered']:.0f} %"
        found.append(
            alarm(
                "Prompts without an answer",
                f"{share} of the probes and held-out tasks got no answer: the prompt did not fit into "
                "the model's context, or the engine gave up. They count in no rate.",
                "warning",
            )
        )
    if (values["unfinished"] or 0) > CUT:
        share = f"{100 * values['unfinished']:.0f} %"
        found.append(
            alarm(
                "Unfinished answers",
                f"{share} of the answers ran into the limit of {max_tokens} tokens, and count as failed. "
                "Set measure.max_tokens higher to see what the model would have said.",
                "note",
            )
        )
    return found


def _probe_values(
    sets: Mapping[int, Sequence[Probe]],
    items: Mapping[str, Mapping[str, float | None]],
    seed: int,
) -> dict[str, JSON]:
    if not sets:
        return dict.fromkeys(("probes", "probes_select", "null", "above_null"))
    selecting, *_, reporting = [*sets, *sets]
    name, rate = best_null(sets[reporting])
    null = {p.id: float(passes(NULL_ANSWERS[name](p), p.check)) for p in sets[reporting]}
    above = paired_difference(items[f"probes:{reporting}"], null, seed)
    return {
        "probes": _rate(items[f"probes:{reporting}"]),
        "probes_select": _rate(items[f"probes:{selecting}"]),
        "null": {"name": name, "rate": rate},
        "above_null": above.json() if above else None,
    }


def _rate_held_out(
    tasks: Sequence[Example], answers: Sequence[Completion]
) -> dict[str, float | None]:
    return {
        task.id or f"task-{index}": _number(outcome(answer, task.meta["check"]))
        for index, (task, answer) in enumerate(zip(tasks, answers, strict=True))
        if task.meta.get("check")
    }


def _by_family(outcomes: Sequence[_Outcome]) -> dict[str, float | None]:
    ordered = sorted(outcomes, key=lambda o: o[0].family)
    found: dict[str, float | None] = {}
    for family, group in groupby(ordered, key=lambda o: o[0].family):
        passed = [ok for _, _, ok in group if ok is not None]
        found[family] = sum(passed) / len(passed) if passed else None
    return found


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
    outcomes: Sequence[_Outcome],
    tasks: Sequence[Example],
    answers: Sequence[Completion],
) -> list[View]:
    rows = [*measures(values), ("win rate", None)]
    shown = [[name, "not measured" if value is None else value] for name, value in rows]
    out = [table("Measures", ["measure", "value"], shown, f"Prompted: {values['prompted']}.")]
    if outcomes:
        families = [
            [family, table_cell(rate, "percent"), sum(p.family == family for p, _, _ in outcomes)]
            for family, rate in values["families"].items()
        ]
        out.append(table("Probes by family", ["family", "passed", "probes"], families))
        step = max(1, len(outcomes) // SHOWN)
        sample = [
            [p.family, p.instruction, p.input, a.text, _WORDS[ok]]
            for p, a, ok in outcomes[::step][:SHOWN]
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
