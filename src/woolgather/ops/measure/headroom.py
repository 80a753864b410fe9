"""Headroom: what choosing among a base's own samples could reach, before anything is trained.

The one idea: selection is the only thing that self-training adds to what a base does already. So a base
answers probes in each form it may be asked in, and then several times at a temperature; the check says in
how many of these some sample is right, and each way of choosing one how many of them it finds. Whatever
several answers pass by being several is taken off: the answers of another task, held against the check.
What is found is for one round on probes like these, and no limit on what training can do.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from woolgather.core.artifacts import Metrics
from woolgather.core.errors import ConfigError
from woolgather.core.expected import Expected
from woolgather.core.fingerprint import seed_of
from woolgather.core.intervals import Estimate, paired_difference
from woolgather.core.op import op
from woolgather.core.rows import JSON, Example
from woolgather.core.views import View, table, table_cell
from woolgather.ops.judge.assessors import combine_verdicts
from woolgather.ops.measure.outcomes import Outcomes, rate_of
from woolgather.ops.text.words import answer_of
from woolgather.probes import Tier, family_of, generate, task_of
from woolgather.probes.checks import passes

PROBE_SEED = 20_261_126
"""Random seed of the probes: any that no run uses to select."""
CHECK, MAJORITY, CHANCE, ONE = "its check", "majority", "chance", "one sample"


@op("headroom_tasks", expects=lambda *, probes, **_: Expected(rows=probes))
def list_tasks(*, probes: int, tier: Tier | None = None) -> Iterator[Example]:
    """Yields `probes` tasks with their checks, of families that select: a run reports on none of them."""
    yield from map(task_of, generate(probes, PROBE_SEED, "select", tier))


def _expect(*_: object, **__: object) -> Expected:
    return Expected()


@op("headroom", version=2, expects=_expect)
def measure_headroom(
    answers: Sequence[Iterable[Example]],
    samples: Iterable[Example],
    rated: Sequence[Iterable[Example]],
    *,
    forms: Sequence[str],
    assessors: Sequence[str],
    drawn: int,
    seed: int = 0,
) -> Metrics:
    """Returns what a base does, and what choosing among its samples reaches.

    `answers` are one greedy answer to each task, by form, the form that the samples were drawn in last;
    `samples` are `drawn` answers to each task, and `rated` the same with the verdicts of each of
    `assessors`. An answer without an end is a wrong one.

    Values are estimates of pass rates with intervals over families, by form in `forms` and by way of
    choosing in `chosen` (`one sample` is the mean over the samples; `its check` passes where any sample
    does; `chance` where any sample of another task does); `gains` are differences to the greedy answers
    in the last form, and `picks` to one sample at random: choosing finds something where both are above
    zero. Raises ConfigError for no tasks or no samples.
    """
    tasks = {str(row.meta["prompt_id"]): row for row in answers[-1]}
    if not tasks or drawn < 2:
        raise ConfigError("headroom needs tasks, and two samples of each or more.")
    greedy = {form: _outcomes(rows) for form, rows in zip(forms, answers, strict=True)}
    found = _samples_of(samples)
    chosen = {
        ONE: {name: sum(one.right for one in own) / drawn for name, own in found.items()},
        **_pick_all(found, seed),
        CHANCE: _by_chance(found, tasks),
    }
    for kind, rows in zip(assessors, rated, strict=True):
        chosen[kind] = _pick_rated(rows, found)
    for outcome in chosen.values():  # a task without one finished sample has none to choose
        outcome.update({name: 0.0 for name in tasks if name not in outcome})
    last = greedy[forms[-1]]
    gains = {
        name: paired_difference(outcome, last, family_of=family_of)
        for name, outcome in chosen.items()
    }
    picks = {
        name: paired_difference(outcome, chosen[ONE], family_of=family_of)
        for name, outcome in chosen.items()
    }
    room = paired_difference(chosen[CHECK], _greater(last, chosen[CHANCE]), family_of=family_of)
    values: dict[str, JSON] = {
        "probes": len(tasks),
        "samples": drawn,
        "forms": {form: table_cell(rate_of(outcome)) for form, outcome in greedy.items()},
        "chosen": {name: table_cell(rate_of(outcome)) for name, outcome in chosen.items()},
        "gains": {name: table_cell(gain) for name, gain in gains.items()},
        "picks": {name: table_cell(pick) for name, pick in picks.items()},
        "room": table_cell(room),
    }
    headline = _sentence(values, forms[-1])
    items = {f"probes:{name}": outcome for name, outcome in (*greedy.items(), *chosen.items())}
    views = (_show_forms(greedy), _show_choices(chosen, gains, picks))
    return Metrics(values, items, views=views, headline=headline, concludes=True)


@dataclass(frozen=True)
class _Sample:
    text: str
    right: bool


def _outcomes(rows: Iterable[Example]) -> dict[str, float]:
    return {str(row.meta["prompt_id"]): float(_is_right(row)) for row in rows}


def _is_right(row: Example) -> bool:
    return row.finish_reason == "stop" and passes(row.response, row.meta["check"])


def _samples_of(rows: Iterable[Example]) -> dict[str, list[_Sample]]:
    """Returns the finished samples by task."""
    found: dict[str, list[_Sample]] = {}
    for row in rows:
        if row.finish_reason == "stop":
            sample = _Sample(row.response, _is_right(row))
            found.setdefault(str(row.meta["prompt_id"]), []).append(sample)
    return found


def _pick_all(found: Mapping[str, Sequence[_Sample]], seed: int) -> dict[str, dict[str, float]]:
    """Returns the outcomes of choosing by the check, and by the commonest answer."""
    by_check, by_majority = dict[str, float](), dict[str, float]()
    for name, own in found.items():
        by_check[name] = float(any(one.right for one in own))
        votes = Counter(answer_of(one.text) for one in own)
        most = max(votes.values())
        equals = [one for one in own if votes[answer_of(one.text)] == most]
        drawn = random.Random(seed_of(seed, name)).choice(equals)
        by_majority[name] = float(drawn.right)
    return {CHECK: by_check, MAJORITY: by_majority}


def _by_chance(
    found: Mapping[str, Sequence[_Sample]], tasks: Mapping[str, Example]
) -> dict[str, float]:
    """Returns by task whether any sample of another task passes its check: of the next task of another
    family, so that what a family's answers have in common passes for nothing."""
    names = list(found)
    outcomes: dict[str, float] = {}
    for i, name in enumerate(names):
        others = (names[(i + k) % len(names)] for k in range(1, len(names)))
        other = next((o for o in others if family_of(o) != family_of(name)), None)
        texts = [one.text for one in found[other]] if other else []
        outcomes[name] = float(any(passes(t, tasks[name].meta["check"]) for t in texts))
    return outcomes


def _pick_rated(
    rows: Iterable[Example], found: Mapping[str, Sequence[_Sample]]
) -> dict[str, float]:
    """Returns the outcomes of taking the sample with the best verdict; where several are as good, or
    none could be read, their mean."""
    scores: dict[str, list[tuple[float, bool]]] = {}
    for row in rows:
        score = combine_verdicts(row.verdicts)
        if score is not None and row.finish_reason == "stop":
            scores.setdefault(str(row.meta["prompt_id"]), []).append((score, _is_right(row)))
    outcomes: dict[str, float] = {}
    for name, own in found.items():
        rated = scores.get(name, [])
        best = max((score for score, _ in rated), default=None)
        right = [is_right for score, is_right in rated if score == best]
        right = right or [one.right for one in own]
        outcomes[name] = sum(right) / len(right)
    return outcomes


def _greater(a: Outcomes, b: Outcomes) -> dict[str, float]:
    return {name: max(value or 0.0, b.get(name) or 0.0) for name, value in a.items()}


def find_best(gains: Mapping[str, JSON], picks: Mapping[str, JSON]) -> str | None:
    """Returns the way of choosing, without a check, that gains most over the greedy answer, where
    that and its difference to a sample at random are above zero; None without one."""
    able = {
        name: gain["value"]
        for name, gain in gains.items()
        if name not in (CHECK, CHANCE, ONE) and min(gain["low"], picks[name]["low"]) > 0
    }
    return max(able, key=lambda name: able[name], default=None)


def _sentence(values: Mapping[str, JSON], form: str) -> str:
    """Returns what is worth trying, in words."""
    checked, greedy = values["chosen"][CHECK], values["forms"][form]
    first = (
        f"What selecting among {values['samples']} of its own samples could reach in one round here: "
        f"{_spell(checked)} % of the probes by their checks, against {_spell(greedy)} % of its greedy "
        f"answers ({form})."
    )
    room = values["room"]
    if room["low"] <= 0:
        return (
            f"{first} Beyond what several answers pass by being several, no headroom is seen: more takes "
            "a judge or a teacher that knows more, or texts."
        )
    best = find_best(values["gains"], values["picks"])
    if best is None:
        return (
            f"{first} {_spell(room)} points of it are headroom, and nothing but the checks finds it: "
            "practice with checks (practice.tasks), or name another judge."
        )
    gain = _spell(values["gains"][best])
    return (
        f"{first} {_spell(room)} points of it are headroom, and {best} finds {gain} of it without a "
        "check."
    )


def _spell(cell: Mapping[str, float]) -> str:
    value, low, high = (format(100 * cell[name], ".1f") for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"


def _show_forms(greedy: Mapping[str, Outcomes]) -> View:
    rows: list[list[JSON]] = [
        [form, table_cell(rate_of(outcome), "percent")] for form, outcome in greedy.items()
    ]
    return table("What the base does, one greedy answer to each probe", ["asked", "passes"], rows)


def _show_choices(
    chosen: Mapping[str, Outcomes],
    gains: Mapping[str, Estimate | None],
    picks: Mapping[str, Estimate | None],
) -> View:
    rows: list[list[JSON]] = [
        [
            name,
            table_cell(rate_of(outcome), "percent"),
            table_cell(gains[name], "points"),
            table_cell(picks[name], "points"),
        ]
        for name, outcome in chosen.items()
    ]
    columns = ["chosen by", "passes", "against a greedy answer", "against a sample at random"]
    return table("Choosing among its own samples", columns, rows)
