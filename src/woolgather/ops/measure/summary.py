"""What came of a run, in one sentence and a few tables; and two models side by side.

The one idea: a result is compared with the best thing the same effort could have bought (a control),
not only with the base. The rival that comes closest makes the headline: of the base and all controls
the one with the smallest lower bound. Better or worse means an interval clear of zero; otherwise no
difference was seen, and the smallest one that could have been seen is named. What a result costs on
another measure is said first.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from woolgather.core.artifacts import Choice, Metrics
from woolgather.core.intervals import Estimate
from woolgather.core.op import op
from woolgather.core.rows import JSON
from woolgather.core.views import Unit, View, alarm, table, table_cell
from woolgather.ops.measure.harms import RATES, Harm, describe_harms, find_harms
from woolgather.ops.measure.margin import compare_margins, show_margins
from woolgather.ops.measure.outcomes import By, difference, list_known, side_of
from woolgather.ops.measure.select import NAMES, find_winner, label, why_refused
from woolgather.ops.measure.summary_views import (
    Bar,
    Round,
    lead_with_seeds,
    name_controls,
    show_bench,
    show_families,
    show_measures,
    show_models,
    show_quality,
    show_rounds,
    show_tiers,
)
from woolgather.ops.measure.tax.choices import describe_veto, find_loss, find_vetoes, warn_of_vetoes
from woolgather.ops.measure.tax.table import show_tax, warn_of_drift

BASE = "the base"
COMMON = 0.5
"""Share of the result's items that a control must have answered, too, to be named in the sentence. One
measured on fewer could come closest by the luck of a few items; it stands in the table."""
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


@op("summarize", version=7)
def summarize(
    measures: Sequence[Metrics],
    guards: Sequence[Metrics] = (),
    *,
    chosen: Choice,
    controls: Mapping[str, Metrics],
    beside: Mapping[str, Metrics] | None = None,
    control_guards: Mapping[str, Metrics] | None = None,
    by: By = "probes",
    wins: Metrics | None = None,
    bench: Metrics | None = None,
    rounds: Sequence[Round] = (),
    names: Sequence[str] = (),
    bar: Bar | None = None,
) -> Metrics:
    """Returns the run's conclusion in a sentence and tables, on items that selected nothing.

    `measures[0]` is the base's, `measures[t + 1]` that of `names[t]`, or of iteration t, and `guards`
    are in the same order what `guard` found of each (none: nothing was guarded); `controls`
    are named, such as "seeds alone", "random rows", measured by `evaluate` like the others; random rows
    that are the rows the rule kept are called the same rows. `control_guards` is what `guard` found of
    those that are models of their own: one that would be vetoed is shown and is no rival. Fine-tuning on
    the seeds alone is shown first: it is what the seeds give without a method. Those of `beside` are
    shown under the base and compared with nothing. Values:
    `verdict` and `difference` against `rival`, the one that comes closest; `against_base` and
    `against_controls`; `worse_on`, the measures on which the result is worse than the base; and
    `win_rate` over the base as `win_rate` found it in `wins` (None: not measured); `bench`, what the
    result came to in a suite, where the models went through one. `rounds`, one per iteration, are drawn:
    the share of rows that were good enough, and what the rows kept look like. One of which no row was
    kept is told first. With a `bar`, the share of what was generated that is rated above it is drawn,
    too.
    """
    index = int(chosen.value)
    named = name_controls(controls, rounds[: index or len(rounds)])
    called, controls = dict(zip(controls, named, strict=True)), named
    result, base = measures[index], measures[0]
    on = "probes" if by == "last" else by
    known = {called[n]: guard for n, guard in (control_guards or {}).items()}
    forgetful = {n: loss for n, guard in known.items() if (loss := find_loss(guard, guards[0]))}
    vetoes = find_vetoes(guards)
    winner = find_winner(measures, by, vetoes) if by != "last" and not index else 0
    wanted = find_winner(measures, by)
    found = _Conclusion(
        name=label(index, names) if index else "",
        on=on,
        items=len(list_known(result, on, "report")),
        over_base=difference(result, base, on, "report"),
        over_controls={n: difference(result, m, on, "report") for n, m in controls.items()},
        harms=find_harms(result, base, by) if index else [],
        refusal=why_refused(measures, winner, by, names),
        veto=describe_veto(label(wanted, names), vetoes[wanted], guards[0])
        if wanted in vetoes
        else "",
        forgetful=forgetful,
    )
    rival, gain = found.rivals[0] if found.rivals else (BASE, found.over_base)
    values: dict[str, JSON] = {
        "verdict": verdict(gain),
        "rival": rival,
        "difference": table_cell(gain),
        "against_base": table_cell(found.over_base),
        "against_controls": {n: table_cell(over) for n, over in found.over_controls.items()},
        "worse_on": {harm.on: table_cell(harm.change) for harm in found.harms},
        "chosen": index,
        "win_rate": wins.values["win_rate"] if wins else None,
        **({"bench": bench.values[label(index, names)]} if bench else {}),
    }
    tuned = {label(i, names): m for i, m in enumerate(measures) if i}
    models = lead_with_seeds({label(0): base, **(beside or {}), **tuned, **controls})
    candidates = {label(0): base, **tuned}
    views = (
        *found.alarms(),
        *warn_of_vetoes(guards, dict(enumerate(candidates)), forgetful),
        *warn_of_drift(candidates, base),
        show_models(models, base=base, result=result, by=by, wins=wins),
        *show_tiers(models),
        *show_families(models, base=base, result=result),
        *found.tables(),
        *show_tax(
            candidates | {name: controls[name] for name in known},
            dict(zip(candidates, guards, strict=False)) | known,
            known,
        ),
        *show_margins(models, base),
        show_measures(measures, by, names),
        *([show_bench(bench, label(index, names), called)] if bench else ()),
        *show_rounds(rounds),
        *(show_quality(rounds, bar) if bar else ()),
    )
    return Metrics(
        values, views=views, headline=_describe_empty(rounds) + found.sentence(), concludes=True
    )


def _describe_empty(rounds: Sequence[Round]) -> str:
    """Says which iterations kept no row; empty where each kept some."""
    empty = [f"iter{t}" for t, (_, kept, _) in enumerate(rounds) if not len(kept)]
    return (
        f"No row was kept in {', '.join(empty)}: nothing new was trained on there. "
        if empty
        else ""
    )


@dataclass(frozen=True)
class _Conclusion:
    """What the sentence is about."""

    name: str
    """The result's; empty for the base."""
    on: str
    """The measure: probes or heldout."""
    items: int
    """Items that the result was measured on."""
    over_base: Estimate | None
    over_controls: Mapping[str, Estimate | None]
    harms: Sequence[Harm] = field(default_factory=tuple)
    refusal: str = ""
    """Why the winner of the selection is not the result; empty where it is, or there was none."""
    veto: str = ""
    """Why the guard let a model that would have won not be the result; empty where there was none."""
    forgetful: Container[str] = ()
    """Controls that the guard would veto."""

    @property
    def rivals(self) -> list[tuple[str, Estimate]]:
        """Returns the base, if it is not the result, and the control that comes closest, with the
        result's gain over each; the smaller lower bound first."""
        able = {n: gain for n, gain in self.over_controls.items() if n not in self.forgetful}
        controls = {name: gain for name, gain in able.items() if gain and self.is_compared(gain)}
        best = min(controls, key=lambda n: controls[n].low, default="")
        found = [(best, controls[best])] if best else []
        if self.name and self.over_base:
            found.append((BASE, self.over_base))
        return sorted(found, key=lambda each: each[1].low)

    def is_compared(self, gain: Estimate) -> bool:
        """Returns whether enough items are common to both for a word in the sentence."""
        return gain.count >= COMMON * self.items

    def sentence(self) -> str:
        begin = f"Warning: {describe_harms(self.name, self.harms)} " if self.harms else ""
        result = f"Result: {self.name or 'the base itself'}"
        if not self.items:
            return f"{begin}{result}. It was not measured on {NAMES[self.on]}."
        if self.veto:
            result += f"; {self.veto}"
        elif self.refusal:
            result += f"; {self.refusal}"
        elif not self.name and not self.rivals:
            result += "; no candidate was better"
        told = [self._compare(rival, gain) for rival, gain in self.rivals[:1]]
        told += [
            f"against {self._rival(rival)}: {verdict(gain)}, {gain.format('+.1f', 100)}"
            for rival, gain in self.rivals[1:]
        ]
        return f"{begin}{result}." + (f" {'; '.join(told)}." if told else "")

    def _compare(self, rival: str, gain: Estimate) -> str:
        points = gain.format("+.1f", 100, " points")
        text = f"Against {self._rival(rival)}: {verdict(gain)}, {points} of {RATES[self.on]}"
        if verdict(gain) == "no difference seen":
            same = "" if gain.changed else "both gave the same outcome on every one; "
            text += f" ({same}one of {100 * gain.visible:.1f} points could have been seen)"
        return text

    def _rival(self, name: str) -> str:
        return name if name == BASE else f"the best control ({name})"

    def alarms(self) -> list[View]:
        """Returns a warning where the result costs something, or the selection went astray."""
        if self.harms:
            return [alarm("Worse than the base", describe_harms(self.name, self.harms))]
        if self.refusal:
            return [alarm("Back to the base", f"{self.refusal[0].upper()}{self.refusal[1:]}.")]
        return []

    def tables(self) -> list[View]:
        """Returns the result against each rival, on the items that both answered."""
        rivals = {BASE: self.over_base, **self.over_controls}
        rows: list[list[JSON]] = []
        for name, gain in rivals.items():
            if name == BASE and not self.name:
                continue
            few = gain is not None and not self.is_compared(gain)
            said = "on too few items to be named" if few else verdict(gain)
            said += ", and no rival: it forgot" * (name in self.forgetful)
            common = f"{gain.count if gain else 0} of {self.items}"
            rows.append([name, common, table_cell(gain, "points"), said])
        if not rows:
            return []
        note = (
            "Items that both answered. The sentence names the base and the control with the smallest "
            f"lower bound, of those that answered {COMMON:.0%} of the result's items or more."
        )
        title = f"The result against each rival, by {RATES[self.on]}"
        return [table(title, ["rival", "items", "difference", "verdict"], rows, note)]


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
        gain = difference(second, first, key, side_of(key, "probes"))
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
    margins = [measure.values.get("margin") for measure in (first, second)]
    gain = compare_margins(second.items.get("margin", {}), first.items.get("margin", {}))
    gains["margin"] = table_cell(gain)
    add("margin over a near miss, nats", margins, gains["margin"], None, "change")
    view = table(title, ["measure", *names, "difference"], rows)
    said = f"{names[1]} against {names[0]}: {', '.join(told) or 'not measured'}"
    return Metrics({"gain": gains}, views=(view,), headline=said)


def _minus(one: JSON, two: JSON) -> float | None:
    if isinstance(one, int | float) and isinstance(two, int | float):
        return round(float(two) - float(one), 3)
    return None
