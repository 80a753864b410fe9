"""What came of a run, in one sentence and one table; and two models side by side.

The one idea: a result is compared with the best thing the same effort could have bought (a control),
not only with the base. Better or worse means an interval clear of zero; otherwise no difference was
seen, and the smallest one that could have been seen is named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass

from woolgather.core.artifacts import Choice, Metrics
from woolgather.core.intervals import Estimate, rate_interval
from woolgather.core.op import op
from woolgather.core.rows import JSON
from woolgather.core.views import Unit, View, curve, table, table_cell
from woolgather.ops.measure.select import difference, item_key, label, mean

Round = tuple[Sized, Sized, Metrics]
"""One iteration: the rows that were rated, those kept, and the map of these (embedding_map.py)."""
DEGENERATED = 0.1
"""A share of answers that is worse than the base's by more than this is told before all else."""
RATES = {"probes": "probes passed", "heldout": "held-out tasks passed"}
SHARES = {"stops": "stops by itself", "loops": "goes round in circles"}
NUMBERS = {
    "length_ratio": "length against the reference",
    "distinct_2": "distinct-2",
    "nll": "references, nats per token",
}


def verdict(gain: Estimate | None) -> str:
    """Returns "better", "worse", "no difference seen" or "not measured"."""
    if gain is None:
        return "not measured"
    if gain.low > 0:
        return "better"
    return "worse" if gain.high < 0 else "no difference seen"


@op("summarize", version=2)
def summarize(
    measures: Sequence[Metrics],
    *,
    chosen: Choice,
    controls: Mapping[str, Metrics],
    by: str = "probes",
    wins: Metrics | None = None,
    rounds: Sequence[Round] = (),
    names: Sequence[str] = (),
) -> Metrics:
    """Returns the run's conclusion in a sentence and a table, on the reporting probe seed.

    `measures[0]` is the base's, `measures[t + 1]` that of `names[t]`, or of iteration t; `controls`
    are named, such as "seeds alone", "random rows", measured by `evaluate` like the others. The headline
    is against the rival over which the lead is least sure: the smallest lower bound, each on the items
    that both have, so that no rival wins it by luck. Rivals are the controls, and the base where there
    are none or where `by` "last" took the result unseen; a control that shares less than half of the
    result's items stays in the table. What is worse than in the base, and an iteration of which no row
    was kept, lead the sentence.

    Values: `verdict` and `difference` against that `rival`, `against_base`, and `win_rate` over the base
    as `win_rate` found it in `wins` (None: not measured).
    `rounds`, one per iteration, are drawn: the share of rows that were good enough, and what the rows
    kept look like.
    """
    index, result = int(chosen.value), measures[int(chosen.value)]
    unseen, by = by == "last" and index > 0, "probes" if by == "last" else by
    rivals = {name: m for name, m in controls.items() if _comparable(result, m, by)}
    if unseen or not rivals:
        rivals["the base"] = measures[0]
    gains = {name: difference(result, m, by, 1) for name, m in rivals.items()}
    known = {name: gain.low for name, gain in gains.items() if gain is not None}
    best = min(known, key=known.__getitem__) if known else next(iter(rivals))
    gain, over_base = gains[best], difference(result, measures[0], by, 1)
    values: dict[str, JSON] = {
        "verdict": verdict(gain),
        "rival": best,
        "difference": table_cell(gain),
        "against_base": table_cell(over_base),
        "chosen": index,
        "win_rate": wins.values["win_rate"] if wins else None,
    }
    views = (
        *_views(measures, controls, index, by, _describe_wins(wins), names),
        *_views_of_rounds(rounds),
    )
    name = label(index, names) if index else ""
    control = "" if best == "the base" else best
    said = _Conclusion(name, control, by, gain, over_base).sentence()
    said = " ".join([*_empty_rounds(rounds), *_harms(result, measures[0], by), said])
    return Metrics(values, views=views, headline=said, concludes=True)


def _comparable(result: Metrics, control: Metrics, by: str) -> bool:
    """Whether a control was measured on at least half of the result's items."""
    key = item_key(result, by, 1)
    asked = result.items.get(key, {}) if key else {}
    both = sum(name in control.items.get(key or "", {}) for name in asked)
    return 2 * both >= len(asked)


def _empty_rounds(rounds: Sequence[Round]) -> Iterator[str]:
    empty = [f"iter{t}" for t, (_, kept, _) in enumerate(rounds) if not len(kept)]
    if empty:
        yield f"No row was kept in {', '.join(empty)}: nothing new was trained on there."


def _harms(result: Metrics, base: Metrics, by: str) -> Iterator[str]:
    """In what the result is clearly worse than the base, beside the measure that selected it."""
    if result is base:
        return
    for key in ("probes", "heldout"):
        lost = difference(result, base, key, 1)
        if lost is not None and lost.high < 0:
            yield f"Worse than the base: {lost.format('+.1f', 100, ' points')} of {RATES[key]}."
    for key, sign, what in (
        ("stops", -1, "end by themselves"),
        ("loops", 1, "go round in circles"),
    ):
        now, before = result.values.get(key), base.values.get(key)
        if now is not None and before is not None and sign * (now - before) > DEGENERATED:
            yield (
                f"Worse than the base: {100 * now:.0f} % of the answers {what}, "
                f"{100 * before:.0f} % of the base's."
            )


@dataclass(frozen=True)
class _Conclusion:
    """What the sentence is about."""

    name: str
    """The result's; empty for the base."""
    control: str
    """The best control's name; empty where there is none, and the base is the rival."""
    by: str
    gain: Estimate | None
    """Over the rival."""
    over_base: Estimate | None

    def sentence(self) -> str:
        gain, name = self.gain, self.name or "the base itself"
        if gain is None:
            return f"Result: {name}. It was not measured on {self.by}."
        if not self.name and not self.control:
            return "Result: the base itself; no candidate was better."
        rival = f"the best control ({self.control})" if self.control else "the base"
        points = gain.format("+.1f", 100, " points")
        text = f"Result: {name}. Against {rival}: {verdict(gain)}, {points} of {RATES[self.by]}"
        if verdict(gain) == "no difference seen":
            same = "" if gain.changed else "both gave the same outcome on every one; "
            text += f" ({same}one of {100 * gain.visible:.1f} points could have been seen)"
        if self.over_base is not None and self.control and self.name:
            over = self.over_base
            text += f"; against the base: {verdict(over)}, {over.format('+.1f', 100)}"
        return text + "."


def _views(
    measures: Sequence[Metrics],
    controls: Mapping[str, Metrics],
    chosen: int,
    by: str,
    preferred: str,
    names: Sequence[str],
) -> tuple[View, ...]:
    named = {label(i, names): m for i, m in enumerate(measures)}
    rows = []
    for name, m in {**named, **controls}.items():
        null = m.values.get("null") or {}
        against = difference(m, measures[0], by, 1) if m is not measures[0] else None
        mark = " ← result" if measures[chosen] is m else ""
        rows.append(
            [
                name + mark,
                _rate(m, "probes"),
                table_cell(null.get("rate"), "percent"),
                table_cell(against, "points") if against else "",
                _rate(m, "heldout"),
                table_cell(m.values.get("stops"), "percent"),
                table_cell(m.values.get("loops"), "percent"),
                _round(m.values.get("length_ratio")),
                _round(m.values.get("distinct_2")),
            ]
        )
    columns = [
        "model", "probes", "best null", "vs base", "held out", "stops", "loops", "length",
        "distinct-2",
    ]  # fmt: skip
    note = (
        "Probes of the reporting seed; intervals are 95 %, paired bootstrap over the same probes. "
        f"Win rate over the base: {preferred}."
    )
    curves = {
        label: [
            (float(t), 100 * s)
            for t, m in enumerate(measures)
            if (s := mean(m, key, 1)) is not None
        ]
        for label, key in (("probes", "probes"), ("held out", "heldout"))
    }
    return (
        table("Models", columns, rows, note),
        curve(
            f"Measures over {'stages' if names else 'iterations'}",
            curves,
            x="0 is the base",
            y="% passed",
        ),
    )


def _describe_wins(wins: Metrics | None) -> str:
    if wins is None:
        return "not measured (no judge was named for it: measure.win_judge)"
    found = wins.values["win_rate"]
    if found is None:
        return f"not measured ({wins.values['why']})"
    return Estimate(**found).format(".1f", 100, " %")


def _views_of_rounds(rounds: Sequence[Round]) -> list[View]:
    """Iterations side by side: the share kept of what was rated (a figure of I-SHEEP's paper), length,
    repetition and one-word answers of what was kept."""
    views: list[View] = []
    shares = [
        (float(t), 100 * len(kept) / len(rated))
        for t, (rated, kept, _) in enumerate(rounds)
        if len(rated)
    ]
    if len(shares) > 1:
        title = "Share of high-quality data, by iteration"
        views.append(curve(title, {"kept": shares}, x="iteration", y="% of rated rows"))
    facts = [looks.values["generated"] for _, _, looks in rounds]
    for title, keys in (
        ("Length of kept responses", ("median words",)),
        ("Diversity of kept responses", ("distinct-2",)),
        ("Kept responses of one word, and duplicates", ("one-word %", "duplicates %")),
    ):
        lines = {
            key: [(float(t), float(f[key])) for t, f in enumerate(facts) if f[key] is not None]
            for key in keys
        }
        if any(len(line) > 1 for line in lines.values()):
            views.append(curve(title, lines, x="iteration", y=keys[0] if len(keys) == 1 else "%"))
    return views


def _rate(measure: Metrics, by: str) -> JSON:
    key = item_key(measure, by, 1)
    outcomes = [v for v in measure.items.get(key, {}).values() if v is not None] if key else []
    return table_cell(rate_interval(outcomes), "percent") or "not measured"


def _round(value: JSON) -> float | None:
    return round(float(value), 2) if isinstance(value, int | float) else None


# Side by side


@op("side_by_side")
def side_by_side(first: Metrics, second: Metrics, *, names: Sequence[str], title: str) -> Metrics:
    """Returns measures of `evaluate` in one table: `names[0]`, `names[1]`, the second minus the first.

    A stage may help one thing and cost another (longer answers, fewer right ones), which a single
    number hides. Values: `gain` by measure: an estimate where outcomes are known per item, else a
    number; None where either was not measured.
    """
    gains: dict[str, JSON] = {}
    rows: list[list[JSON]] = []
    told: list[str] = []

    def add(shown: str, both: Sequence[JSON], gain: JSON, unit: Unit | None, of_gain: Unit) -> None:
        rows.append([shown, *(table_cell(one, unit) for one in both), table_cell(gain, of_gain)])

    for key, shown in RATES.items():
        found = [measure.values.get(key) for measure in (first, second)]
        rates = [one["value"] if isinstance(one, Mapping) else None for one in found]
        gain = difference(second, first, key, 1)
        gains[key] = table_cell(gain)
        add(shown, rates, gain, "percent", "points")
        if gain:
            told.append(f"{shown} {gain.format('+.1f', 100, ' points')}")
    families = [dict(measure.values.get("families") or {}) for measure in (first, second)]
    for family in families[0]:
        both = [found.get(family) for found in families]
        add(f"probes: {family}", both, _minus(*both), "percent", "points")
    for key, shown in {**SHARES, **NUMBERS}.items():
        both = [measure.values.get(key) for measure in (first, second)]
        gains[key] = _minus(*both)
        units: tuple[Unit | None, Unit] = (
            ("percent", "points") if key in SHARES else (None, "change")
        )
        add(shown, both, gains[key], *units)
    view = table(title, ["measure", *names, "difference"], rows)
    said = f"{names[1]} against {names[0]}: {', '.join(told) or 'not measured'}"
    return Metrics({"gain": gains}, views=(view,), headline=said)


def _minus(one: JSON, two: JSON) -> float | None:
    if isinstance(one, int | float) and isinstance(two, int | float):
        return round(float(two) - float(one), 3)
    return None
