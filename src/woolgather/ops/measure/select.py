"""Whether to go on, and which candidate is the result.

The one idea: a candidate qualifies when the paired interval of its difference to the base is clear
of zero; the best of these is the result, otherwise the base. What decides is not what reports
(outcomes.py), so that the winner is not praised for its luck; and a winner that the reporting items
show to be worse than the base does not win. A guard, where there is one, vetoes candidates beforehand.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

from woolgather.core.artifacts import Choice, Metrics
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.rows import JSON
from woolgather.core.views import View, table, table_cell
from woolgather.ops.measure.harms import find_harm
from woolgather.ops.measure.outcomes import By, difference, list_known, mean, rate
from woolgather.ops.measure.tax.choices import describe_veto, find_vetoes

NAMES = {"probes": "probes", "heldout": "held-out tasks"}


def label(index: int, names: Sequence[str] = ()) -> str:
    """Returns the name of measure `index`: the base, then `names`, or iterations without names."""
    return "base" if index == 0 else names[index - 1] if names else f"iter{index - 1}"


def find_winner(measures: Sequence[Metrics], by: By, vetoed: Container[int] = ()) -> int:
    """Returns the index of the best candidate whose gain over the base is clear of zero on the items
    that select, the earlier of equal ones; 0, the base, where none is. By "last" it is the last one.
    Those that are `vetoed`, by index, are passed over."""
    able = [index for index in range(1, len(measures)) if index not in vetoed]
    if by == "last":
        return max(able, default=0)
    gains = {index: difference(measures[index], measures[0], by) for index in able}
    clear = [(gain.value, -index) for index, gain in gains.items() if gain and gain.low > 0]
    return -max(clear)[1] if clear else 0


def why_refused(measures: Sequence[Metrics], winner: int, by: By, names: Sequence[str] = ()) -> str:
    """Returns why a winner is not the result: the items that report show it to be worse than the base.
    Empty where it stands."""
    harm = find_harm(measures[winner], measures[0], by, by) if winner else None
    if harm is None:
        return ""
    lost = harm.change.format("+.1f", 100, " points")
    return (
        f"{label(winner, names)} was better than the base on the {NAMES[by]} that select, and is worse "
        f"on those that report ({lost})"
    )


def _go_on(measures: Sequence[Metrics], *_: object, **__: object) -> Expected:
    return Expected(value=False)


@op("should_stop", version=3, expects=_go_on)
def should_stop(
    measures: Sequence[Metrics],
    guards: Sequence[Metrics] = (),
    *,
    patience: int | None,
    by: By = "probes",
    names: Sequence[str] = (),
) -> Choice:
    """Returns True when the last `patience` iterations (or stages, if `names` are given) gained nothing.

    `measures[0]` is the base's, and `guards` what `guard` found of each (none: nothing was guarded); one
    that is vetoed is no gain, whatever it scores. `patience` None, or `by="last"`, never stops.
    """
    if patience is None or by == "last":
        return Choice(False, "runs all iterations")
    vetoes = find_vetoes(guards)
    scores = [mean(m, by) for m in measures]
    measured = [(s, i) for i, s in enumerate(scores) if s is not None and i not in vetoes]
    if not measured:
        return Choice(False, f"{by} not measured")
    best = max(measured, key=lambda pair: (pair[0], -pair[1]))
    since = len(measures) - 1 - best[1]
    where = label(best[1], names) if best[1] else "the base"
    ago = f"{since} {'stage' if names else 'iteration'}{'' if since == 1 else 's'} ago"
    passed = ", ".join(label(index, names) for index in vetoes)
    left = f", without {passed}, vetoed by the guard" if passed else ""
    why = f"best on {by} so far{left}: {where} ({best[0]:.3f}), {ago}"
    return Choice(since >= patience, why)


def _longest(measures: Sequence[Metrics], **_: object) -> Expected:
    return Expected(value=len(measures) - 1)


@op("select_model", version=3, expects=_longest)
def select_model(
    measures: Sequence[Metrics], *, by: By = "probes", names: Sequence[str] = ()
) -> Choice:
    """Returns the index of the result among the measured models; 0 is the base. `names` are those of
    the others, iterations where not given.

    By "probes" or "heldout" the best of those whose paired interval against the base is above zero,
    the earlier of equal ones; the base where that one is clearly worse on the items that report. By
    "last" the last, whatever it is worth.
    """
    if by == "last":
        return Choice(len(measures) - 1, "the last model, as asked")
    return _choose(measures, by, names)


@op("select_guarded", expects=_longest)
def select_guarded(
    measures: Sequence[Metrics],
    guards: Sequence[Metrics],
    *,
    by: By = "probes",
    names: Sequence[str] = (),
) -> Choice:
    """Returns what `select_model` does, of the models that are left when those are taken out that lost
    what the base knows; `guards` are what `guard` found of each (tax/choices.py)."""
    vetoes = find_vetoes(guards)
    chosen = _choose(measures, by, names, vetoes)
    told = [describe_veto(label(index, names), loss, guards[0]) for index, loss in vetoes.items()]
    return replace(chosen, why="; ".join([chosen.why, *told]))


def _choose(
    measures: Sequence[Metrics], by: By, names: Sequence[str], vetoed: Container[int] = ()
) -> Choice:
    winner = find_winner(measures, by, vetoed)
    if by == "last":
        last = f"{label(winner, names)} is the last model that the guard leaves" if winner else ""
        return Choice(winner, last or "the base: the guard leaves no other model")
    views = (_selection(measures, by, names),)
    if refused := why_refused(measures, winner, by, names):
        return Choice(0, f"the base: {refused}", views=views)
    if winner:
        why = f"{label(winner, names)} is the best that is better than the base"
        return Choice(winner, why, views=views)
    if not list_known(measures[0], by):
        return Choice(0, f"the base: it was not measured on {NAMES[by]} that select", views=views)
    return Choice(0, f"no candidate is better than the base on {by}", views=views)


def _selection(measures: Sequence[Metrics], by: By, names: Sequence[str]) -> View:
    rows: list[list[JSON]] = []
    for index, measure in enumerate(measures):
        gain = difference(measure, measures[0], by) if index else None
        against = table_cell(gain, "points") if index else ""
        rows.append([label(index, names), table_cell(rate(measure, by), "percent"), against])
    note = f"The {NAMES[by]} that select; the report is on others."
    return table(f"Selection on {by}", ["model", by, "against the base"], rows, note)


def _any(measures: Sequence[Metrics], **_: object) -> Expected:
    return Expected(value=0)


@op("best_of", version=2, expects=_any)
def best_of(measures: Sequence[Metrics], *, by: By = "probes") -> Choice:
    """Returns the index of the measure with the highest mean, the first of equals; by "last" the last.

    For variants of one training, which differ in a setting; the base is not among them."""
    if by == "last":
        return Choice(len(measures) - 1, "the last one, as asked")
    scores = [mean(measure, by) for measure in measures]
    measured = [i for i, score in enumerate(scores) if score is not None]
    if not measured:
        return Choice(len(measures) - 1, f"{by} not measured: the last one")
    best = max(measured, key=lambda i: (scores[i], -i))
    told = ", ".join("-" if s is None else f"{s:.3f}" for s in scores)
    return Choice(best, f"{by} of the variants: {told}")
