"""Whether to go on, and which candidate is the result.

The one idea: a candidate qualifies when the paired interval of its difference to the base is clear
of zero; the best of these is the result, otherwise the base. One probe seed decides (the first that
`evaluate` was given), another reports, so that the winner is not praised for its luck.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from woolgather.core.artifacts import Choice, Metrics
from woolgather.core.expected import Expected
from woolgather.core.intervals import Estimate, paired_difference
from woolgather.core.op import op
from woolgather.core.rows import JSON
from woolgather.core.views import table, table_cell

By = Literal["probes", "heldout", "last"]


def label(index: int, names: Sequence[str] = ()) -> str:
    """Returns the name of measure `index`: the base, then `names`, or iterations without names."""
    return "base" if index == 0 else names[index - 1] if names else f"iter{index - 1}"


def item_key(measure: Metrics, by: str, which: int = 0) -> str | None:
    """Returns the name in `measure.items` that `by` speaks of; for probes that of the selecting seed
    (`which` 0) or of the reporting one (1); None where it was not measured."""
    if by == "heldout":
        return "heldout" if measure.items.get("heldout") else None
    seeds = measure.values.get("probe_seeds")
    keys = (
        [f"probes:{seed}" for seed in seeds]
        if seeds is not None
        else [k for k in measure.items if k.startswith("probes:")]
    )
    return keys[-1 if which else 0] if keys else None


def difference(a: Metrics, b: Metrics, by: str, which: int = 0) -> Estimate | None:
    """Returns the paired difference a - b on the measure `by`; None where either lacks it."""
    key = item_key(a, by, which)
    if key is None or key not in b.items:
        return None
    return paired_difference(a.items[key], b.items[key])


def mean(measure: Metrics, by: str, which: int = 0) -> float | None:
    """Returns the mean outcome; None where it was not measured."""
    key = item_key(measure, by, which)
    values = [v for v in measure.items[key].values() if v is not None] if key else []
    return sum(values) / len(values) if values else None


def _go_on(measures: Sequence[Metrics], **_: object) -> Expected:
    return Expected(value=False)


@op("should_stop", expects=_go_on)
def should_stop(
    measures: Sequence[Metrics],
    *,
    patience: int | None,
    by: By = "probes",
    names: Sequence[str] = (),
) -> Choice:
    """Returns True when the last `patience` iterations (or stages, if `names` are given) gained nothing.

    `measures[0]` is the base's. `patience` None, or `by="last"`, never stops.
    """
    if patience is None or by == "last":
        return Choice(False, "runs all iterations")
    scores = [mean(m, by) for m in measures]
    known = [(s, i) for i, s in enumerate(scores) if s is not None]
    if not known:
        return Choice(False, f"{by} not measured")
    best = max(known, key=lambda pair: (pair[0], -pair[1]))
    since = len(measures) - 1 - best[1]
    where = label(best[1], names) if best[1] else "the base"
    ago = f"{since} {'stage' if names else 'iteration'}{'' if since == 1 else 's'} ago"
    why = f"best on {by} so far: {where} ({best[0]:.3f}), {ago}"
    return Choice(since >= patience, why)


def _longest(measures: Sequence[Metrics], **_: object) -> Expected:
    return Expected(value=len(measures) - 1)


@op("select_model", expects=_longest)
def select_model(
    measures: Sequence[Metrics], *, by: By = "probes", names: Sequence[str] = ()
) -> Choice:
    """Returns the index of the result among the measured models; 0 is the base. `names` are those of
    the others, iterations where not given.

    By "probes" or "heldout" the best of those whose paired interval against the base is above
    zero, the earlier of equal ones; by "last" the last, whatever it is worth.
    """
    if by == "last":
        return Choice(len(measures) - 1, "the last model, as asked")
    rows: list[list[JSON]] = []
    qualified: list[tuple[float, int]] = []
    for index, measure in enumerate(measures):
        score = mean(measure, by)
        gain = difference(measure, measures[0], by) if index else None
        if gain is not None and gain.low > 0:
            qualified.append((gain.value, -index))
        against = table_cell(gain, "points") if index else ""
        rows.append([label(index, names), table_cell(score, "percent"), against])
    chosen = -max(qualified)[1] if qualified else 0
    views = (table(f"Selection on {by}", ["model", by, "against the base"], rows),)
    if not qualified:
        return Choice(0, f"no candidate is better than the base on {by}", views=views)
    why = f"{label(chosen, names)} is the best that is better than the base"
    return Choice(chosen, why, views=views)


def _any(measures: Sequence[Metrics], **_: object) -> Expected:
    return Expected(value=0)


@op("best_of", expects=_any)
def best_of(measures: Sequence[Metrics], *, by: By = "probes") -> Choice:
    """Returns the index of the measure with the highest mean, the first of equals; by "last" the last.

    For variants of one training, which differ in a setting; the base is not among them."""
    if by == "last":
        return Choice(len(measures) - 1, "the last one, as asked")
    scores = [mean(measure, by) for measure in measures]
    known = [i for i, score in enumerate(scores) if score is not None]
    if not known:
        return Choice(len(measures) - 1, f"{by} not measured: the last one")
    best = max(known, key=lambda i: (scores[i], -i))
    told = ", ".join("-" if s is None else f"{s:.3f}" for s in scores)
    return Choice(best, f"{by} of the variants: {told}")
