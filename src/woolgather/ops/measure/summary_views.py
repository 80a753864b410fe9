"""What a summary shows: all models in one table, the result against each rival, measures and kept rows
over the iterations.

The one idea: the sentence names two rivals, the tables show all there are, also those that were
measured on too little to be named.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass

from woolgather.core.artifacts import Metrics
from woolgather.core.intervals import Estimate
from woolgather.core.rows import JSON, Example
from woolgather.core.views import View, curve, table, table_cell
from woolgather.ops.measure.outcomes import By, difference, mean, rate, side_of
from woolgather.probes.families.sets import PLACES

UNSCALED = ("yes_no", "mutual_information", "channel", "length", "overlap")
"""Verdicts that are on no scale of which a bar could speak."""
Round = tuple[Sized, Sized, Metrics]
"""One iteration: the rows that were rated, those kept, and the map of these (embedding_map.py)."""
Bar = tuple[float, Sequence[int]]
"""What a good row's every verdict is above, and how many rows were generated in each iteration, 0 where
that is not known."""
MATCHED = ("seeds alone", "SFT on the real answers")
"""Controls that are plain fine-tuning (SFT) on the seeds, with as many updates as the result had."""
UNMATCHED = "seeds alone (M_0)"
"""The same with the updates that it had for another purpose."""
GENERATED = "% of generated rows"
FEW_PROBES = 4
"""Probes of a family on the average, from which on families are shown by themselves."""
SHOWN_FAMILIES = 6
"""Families shown that lost most, and as many that gained most."""
SAME = 0.9
"""Share of rated rows that are kept, from which on random ones are nearly the same."""


def name_controls(controls: Mapping[str, Metrics], rounds: Sequence[Round]) -> dict[str, Metrics]:
    """Returns the controls, each under the name of what it is: as many rows drawn at random as the rule
    kept are "random rows" only as long as it left out more than a tenth of what was rated."""
    rated = sum(len(rows) for rows, _, _ in rounds)
    share = sum(len(kept) for rows, kept, _ in rounds if len(rows)) / rated if rated else 0.0
    same = "nearly the same rows" if share < 1 else "the same rows"
    return {
        same if name == "random rows" and share >= SAME else name: measure
        for name, measure in controls.items()
    }


def lead_with_seeds(models: Mapping[str, Metrics]) -> dict[str, Metrics]:
    """Returns the models with plain fine-tuning on the seeds before all others, where it was measured."""
    first = {name: models[name] for name in (*MATCHED, UNMATCHED) if name in models}
    return {**first, **models}


def _describe_seeds(models: Mapping[str, Metrics]) -> str:
    """Says what the first row is; where fine-tuning on the seeds is not there, that it was not run."""
    if any(name in models for name in MATCHED):
        return "The first row is plain fine-tuning (SFT) on the same seeds, with as many updates. "
    if UNMATCHED in models:
        return (
            "The first row is plain fine-tuning (SFT) on the same seeds, with the updates that M_0 had, "
            "which need not be as many. "
        )
    return "Plain fine-tuning (SFT) on the same seeds with as many updates was not run. "


def show_bench(bench: Metrics, result: str, called: Mapping[str, str]) -> View:
    """Returns the table of what all models came to in a suite, with the paired difference of the one
    called `result` to the base, which is the first. `called` are names that the summary changes."""
    found, names = bench.values, bench.values["models"]
    columns = {called.get(name, name): found[name] for name in names}
    gain = f"{result} against {names[0]}"
    columns |= {gain: found[gain]} if gain in found else {}
    rows = [[key, *(column[key] for column in columns.values())] for key in found[names[0]]]
    return table(f"The suite {found['suite']}", ["task", *columns], rows)


def show_models(
    models: Mapping[str, Metrics], *, base: Metrics, result: Metrics, by: By, wins: Metrics | None
) -> View:
    """Returns the table of all models and controls in their order; `by` is what selected the result. The
    forms in which they were asked are shown where they differ."""
    rows: list[list[JSON]] = []
    forms = [str(m.values.get("prompted") or "").partition(",")[0] for m in models.values()]
    varied = len(set(forms)) > 1
    for (name, m), form in zip(models.items(), forms, strict=True):
        null = m.values.get("null") or {}
        against = difference(m, base, "probes", "report") if m is not base else None
        rows.append(
            [
                name + (" ← result" if m is result else ""),
                _rate(m, "probes", by),
                _percent(m.values.get("strict")),
                table_cell(null.get("rate"), "percent"),
                table_cell(against, "points") if against else "",
                _rate(m, "heldout", by),
                table_cell(m.values.get("stops"), "percent"),
                table_cell(m.values.get("loops"), "percent"),
                _round(m.values.get("length_ratio")),
                _round(m.values.get("distinct_2")),
                *([form] if varied else []),
            ]
        )
    columns = [
        "model", "probes", "strict", "best null", "vs base", "held out", "stops", "loops", "length",
        "distinct-2", *(["asked"] if varied else []),
    ]  # fmt: skip
    half = (
        "Held out: the half of the tasks, by a hash of their ids, that did not select. "
        if by == "heldout"
        else ""
    )
    note = (
        f"{_describe_seeds(models)}Probes of the families that report; strict: of answers as they stand, "
        "with no lead-in or code fence taken off. Intervals are 95 %, Wilson's for a rate and Agresti "
        f"and Min's for a difference, over families of probes. {half}Win rate over the base: "
        f"{_describe_wins(wins)}."
    )
    return table("Models", columns, rows, note)


def show_tiers(models: Mapping[str, Metrics]) -> list[View]:
    """Returns the table of what each model passes of the easy, middle and hard probes that report; none
    where no measure has them."""
    by_model = {name: m.values.get("tiers") or {} for name, m in models.items()}
    tiers = list(next(filter(None, by_model.values()), {}))
    if not tiers:
        return []
    rows = [[name, *(_percent(own.get(tier)) for tier in tiers)] for name, own in by_model.items()]
    note = (
        "Probes that report, by how hard their families are; the intervals are over few families."
    )
    return [table("Probes by tier", ["model", *tiers], rows, note)]


def show_families(models: Mapping[str, Metrics], *, base: Metrics, result: Metrics) -> list[View]:
    """Returns the table of the reporting families in which `result` differs most from `base`, those that
    lost first; none where they are the same model, or families have too few probes to be looked at."""
    before, after = (m.values.get("families") or {} for m in (base, result))
    reporting = [family for family in before if PLACES.get(family, ("",))[0] == "report"]
    known = [family for family in reporting if None not in (before[family], after.get(family))]
    probes = len(base.items.get("probes:report", {}))
    if result is base or not known or probes < FEW_PROBES * len(known):
        return []
    ordered = sorted(known, key=lambda family: after[family] - before[family])
    lost = [family for family in ordered[:SHOWN_FAMILIES] if after[family] < before[family]]
    gained = [family for family in ordered[-SHOWN_FAMILIES:] if after[family] > before[family]]
    rows: list[list[JSON]] = [
        [
            family,
            PLACES[family][1],
            *(
                table_cell((m.values.get("families") or {}).get(family), "percent")
                for m in models.values()
            ),
        ]
        for family in (*lost, *gained)
    ]
    count = len([family for family in known if after[family] < before[family]])
    note = (
        f"Of {len(known)} families that report, {count} lost from base to result; those that changed "
        f"most are shown. Each has about {probes // len(known)} probes: they say where to look, and the "
        "mean above says what was gained."
    )
    return [table("Families that changed most", ["family", "tier", *models], rows, note)]


def show_measures(measures: Sequence[Metrics], by: By, names: Sequence[str]) -> View:
    """Returns the curve of what each model passes, in the order they were made."""
    curves = {
        shown: [
            (float(t), 100 * passed)
            for t, m in enumerate(measures)
            if (passed := mean(m, on, side_of(on, by))) is not None
        ]
        for shown, on in (("probes", "probes"), ("held out", "heldout"))
    }
    title = f"Measures over {'stages' if names else 'iterations'}"
    return curve(title, curves, x="0 is the base", y="% passed")


def _describe_wins(wins: Metrics | None) -> str:
    if wins is None:
        return "not measured (no judge was named for it: measure.win_judge)"
    found = wins.values["win_rate"]
    if found is None:
        return f"not measured ({wins.values['why']})"
    return Estimate(**found).format(".1f", 100, " %")


def show_rounds(rounds: Sequence[Round]) -> list[View]:
    """Returns iterations side by side: the share kept of what was rated (a figure of I-SHEEP's paper),
    length, repetition and one-word answers of what was kept."""
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


def show_quality(rounds: Sequence[Round], bar: Bar) -> list[View]:
    """Returns the share of generated rows above the bar, by verdict and by all of them, over iterations
    (as in a figure of I-SHEEP, arXiv 2408.08072), and the share above each threshold; nothing where rows
    have no verdicts on a scale."""
    above, generated = bar
    rated = [
        _read_scores(rows, count) for (rows, _, _), count in zip(rounds, generated, strict=True)
    ]
    return [*_show_above(rated, above), *_show_thresholds(rated)]


def _show_above(rated: Sequence[_Rated], above: float) -> list[View]:
    lines: dict[str, list[tuple[float, float]]] = {}
    for t, found in enumerate(rated):
        for i, name in enumerate(found.names):
            lines.setdefault(name, []).append((float(t), found.share([i], above)))
        if len(found.names) > 1:
            lines.setdefault("all of them", []).append((float(t), found.share_of_all(above)))
    if not any(len(line) > 1 for line in lines.values()):
        return []
    title = f"Share of generated rows rated above {above:g}, by iteration"
    return [curve(title, lines, x="iteration", y=GENERATED)]


def _show_thresholds(rated: Sequence[_Rated]) -> list[View]:
    lines = {
        f"iter{t}": [(float(at), found.share_of_all(at)) for at in range(math.ceil(found.top))]
        for t, found in enumerate(rated)
        if found.top > 1
    }
    note = (
        "Rows whose every verdict is above the threshold. What is missing at 0 was set aside by then, or "
        "has a verdict that could not be read."
    )
    title = "Share of generated rows above each threshold"
    return [curve(title, lines, x="threshold", y=GENERATED, note=note)] if lines else []


@dataclass(frozen=True)
class _Rated:
    """The verdicts on a scale that an iteration's rows have."""

    names: Sequence[str]
    scores: Sequence[Sequence[float | None]]
    """Those of each row that has all of them, in the order of their names; None for an unreadable one."""
    generated: int
    """Rows of the iteration, rated or not."""

    @property
    def top(self) -> float:
        """Returns the highest score; 0 without one."""
        return max(
            (score for own in self.scores for score in own if score is not None), default=0.0
        )

    def share(self, which: Sequence[int], above: float) -> float:
        """Returns the percentage of the generated rows whose verdicts `which`, by place, are above."""
        passed = sum(all(_exceeds(own[i], above) for i in which) for own in self.scores)
        return 100 * passed / max(1, self.generated)

    def share_of_all(self, above: float) -> float:
        """Returns the percentage of the generated rows whose every verdict is above."""
        return self.share(range(len(self.names)), above)


def _read_scores(rated: object, generated: int) -> _Rated:
    known = rated if generated and isinstance(rated, Iterable) else ()
    rows = [row for row in known if isinstance(row, Example)]
    names = list(dict.fromkeys(n for row in rows for n in row.verdicts if n not in UNSCALED))
    scores = [
        [row.verdicts[name].score for name in names]
        for row in rows
        if all(name in row.verdicts for name in names)
    ]
    return _Rated(names, scores if names else [], generated)


def _exceeds(score: float | None, threshold: float) -> bool:
    return score is not None and score > threshold


def _rate(measure: Metrics, on: str, by: By) -> JSON:
    return _percent(rate(measure, on, side_of(on, by)))


def _percent(found: Estimate | Mapping[str, JSON] | None) -> JSON:
    return table_cell(found, "percent") or "not measured"


def _round(value: JSON) -> float | None:
    return round(float(value), 2) if isinstance(value, int | float) else None
