"""A sweep as tables: what each point measured, and the mean over replicates of one setting.

The one idea: nothing here knows a recipe. The measure that is shown is the first estimate that the
points' iterations have, and the rows that are shown are those of the step whose share of rows kept
differs most from point to point.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from pathlib import Path

from woolgather.core.errors import InputError
from woolgather.core.intervals import family_interval
from woolgather.core.rows import JSON
from woolgather.core.views import View, table
from woolgather.report import collect
from woolgather.report.collect import RunReport, Step
from woolgather.report.over_iterations import numbers_of, short
from woolgather.report.sweep import REPLICATE, SweepRecord, SweptPoint, read_sweep
from woolgather.report.text import cell, is_estimate, is_number, values_of
from woolgather.runs.record import RUN

BASE = "before"
"""Where a measure of the root stands, which no iteration made."""
Series = Mapping[str, object]
"""A number or an estimate by place: `before`, `iter0`, ..."""


@dataclass(frozen=True)
class PointReport:
    """A point, and what its run directory holds."""

    swept: SweptPoint
    run: RunReport | None
    """None where it has not begun."""

    @property
    def status(self) -> str:
        """Returns how far it is, in a word or two."""
        last = self.run.last if self.run else None
        return "failed" if self.swept.error else last.status if last else "not started"

    @property
    def has_report(self) -> bool:
        """Returns whether it has a page of its own."""
        return self.run is not None and (self.run.path / "report.html").is_file()

    @property
    def steps(self) -> Sequence[Step]:
        """Returns its finished steps, in order."""
        return self.run.steps if self.run else ()

    @cached_property
    def measures(self) -> dict[str, dict[str, object]]:
        """Returns the numbers that it measured, by `step: measure` and by place."""
        found: dict[str, dict[str, object]] = {}
        for step in self.steps:
            if step.record.kind == "metrics":
                for key, value in numbers_of(values_of(step.record)):
                    found.setdefault(f"{step.name}: {key}", {})[short(step)] = value
        return found

    def numbers(self) -> Iterator[tuple[str, object]]:
        """Yields all that it measured as `step: measure`, an estimate whole, and the rows in use after
        each step as `step: rows`."""
        for step in self.steps:
            name = step.record.step
            if step.record.kind == "dataset":
                yield f"{name}: rows", step.used
            elif step.record.kind == "metrics":
                found = numbers_of(values_of(step.record))
                yield from ((f"{name}: {key}", value) for key, value in found)

    def rows(self, name: str) -> dict[str, object]:
        """Returns the rows in use that a step left, by place; none of the root's."""
        return {short(step): step.used for step in self._datasets if step.name == name}

    def shares(self, name: str) -> dict[str, float]:
        """Returns the share of its rows that a step left in use, by place."""
        steps = [step for step in self._datasets if step.name == name and step.used + step.lost]
        return {short(step): step.used / (step.used + step.lost) for step in steps}

    @cached_property
    def _datasets(self) -> list[Step]:
        return [step for step in self.steps if step.record.kind == "dataset" and step.scope]


@dataclass(frozen=True)
class SweepReport:
    """A sweep's directory, read."""

    path: Path
    record: SweepRecord
    points: Sequence[PointReport]

    @property
    def keys(self) -> list[str]:
        """Returns the settings that are swept, without the replicate."""
        return [key for key in self.record.axes if key != REPLICATE]

    @cached_property
    def measure(self) -> str:
        """Returns the measure that is shown, as `step: measure`; empty where nothing was measured.
        Raises InputError where it was named and no point has it."""
        known = list(dict.fromkeys(key for point in self.points for key in point.measures))
        asked = self.record.measure
        if asked and known:
            for key in known:
                if asked in (key, key.partition(": ")[2]):
                    return key
            raise InputError(
                f"--measure {asked}: no point of {self.path} has it. There are: {', '.join(known)}."
            )
        return next(self._estimates(inside=True), next(self._estimates(inside=False), ""))

    def _estimates(self, *, inside: bool) -> Iterator[str]:
        for point in self.points:
            for key, series in point.measures.items():
                if any(is_estimate(v) and (p != BASE or not inside) for p, v in series.items()):
                    yield key

    @cached_property
    def filter(self) -> str:
        """Returns the step whose share of rows kept differs most between points, or else the first whose
        number of rows does; empty where the points' rows are the same."""
        names = dict.fromkeys(step.name for point in self.points for step in point._datasets)
        shares = {name: _spread([p.shares(name) for p in self.points]) for name in names}
        counts = (name for name in names if _spread([p.rows(name) for p in self.points]))
        best = max(shares, key=shares.__getitem__, default="")
        return best if shares.get(best) else next(counts, "")

    @cached_property
    def places(self) -> list[str]:
        """Returns where the measure that is shown stands, in order, without that of the base."""
        found = [place for p in self.points for place in p.measures.get(self.measure, ())]
        return [place for place in dict.fromkeys(found) if place != BASE]

    @cached_property
    def base(self) -> object:
        """Returns the base's measure, where all points have the same; None otherwise."""
        found = [p.measures.get(self.measure, {}).get(BASE) for p in self.points]
        known = [value for value in found if value is not None]
        return known[0] if known and all(value == known[0] for value in known) else None

    @cached_property
    def settings(self) -> dict[tuple[str, ...], list[PointReport]]:
        """Returns the points by their values, the replicates of one setting together."""
        found: dict[tuple[str, ...], list[PointReport]] = {}
        for point in self.points:
            values = tuple(point.swept.values[key] for key in self.keys)
            found.setdefault(values, []).append(point)
        return found

    def measured(self, points: Sequence[PointReport], place: str) -> object:
        """Returns the measure of points that differ in their replicate alone, at a place."""
        return mean_of([p.measures.get(self.measure, {}).get(place) for p in points])

    def why(self, point: PointReport) -> str:
        """Returns why a point failed, in a sentence, and where its log is; empty where it did not."""
        flat = " ".join(point.swept.error.split())
        sentence = re.match(r".+?[.?!](?=\s|$)", flat)
        log = f" Log: {self.path / point.swept.log}" if point.swept.log else ""
        return f"{sentence[0] if sentence else flat}{log}"

    def kept(self, points: Sequence[PointReport], place: str) -> object:
        """Returns the rows that `filter` kept at a place, as `measured` returns a measure."""
        return mean_of([p.rows(self.filter).get(place) for p in points])


def read_sweep_dir(folder: Path) -> SweepReport:
    """Returns what a sweep's directory holds. Raises RunDirError where it is none, or holds a broken
    record."""
    record = read_sweep(folder)
    points = [
        PointReport(p, collect.read_run_dir(place) if (place / RUN).is_file() else None)
        for p in record.points
        for place in [folder / p.folder]
    ]
    return SweepReport(folder, record, points)


def mean_of(values: Sequence[object]) -> object:
    """Returns the mean over replicates with its interval (Student's, over the replicates that have a
    value), one value as it is, and None where there is none."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return known[0] if known else None
    middles = [v["value"] if is_estimate(v) else v for v in known]
    numbers = [float(v) for v in middles if is_number(v)]
    found = family_interval(numbers, [str(i) for i in range(len(numbers))])
    return found.json() if found else None


def tables(sweep: SweepReport, *, why: bool = True) -> list[View]:
    """Returns a table with a row per setting where there are replicates, and one with a row per point; a
    last column says `why` some have failed."""
    heads = [f"{sweep.measure.partition(': ')[2]}, {place}" for place in sweep.places]
    counted = [f"{sweep.filter} rows, {place}" for place in sweep.places] if sweep.filter else []

    def cells(points: Sequence[PointReport]) -> list[JSON]:
        measured = [sweep.measured(points, place) for place in sweep.places]
        return [*measured, *(sweep.kept(points, p) for p in (sweep.places if counted else ()))]

    found = []
    if REPLICATE in sweep.record.axes:
        note = "Means over replicates, with Student's 95 % interval over them."
        rows = [[*v, len(points), *cells(points)] for v, points in sweep.settings.items()]
        columns = [*sweep.keys, "replicates", *heads, *counted]
        found.append(table("Settings", columns, rows, note))
    note = f"The base, before: {cell(sweep.base)}." if sweep.base is not None else ""
    why = why and any(p.swept.error for p in sweep.points)
    rows = [
        [*p.swept.values.values(), p.status, *cells([p]), *([sweep.why(p)] if why else [])]
        for p in sweep.points
    ]
    columns = [*sweep.record.axes, "status", *heads, *counted, *(["why"] if why else [])]
    return [*found, table("Points", columns, rows, note)]


def alike(sweep: SweepReport) -> list[list[str]]:
    """Returns the names of points that are made of the very same steps: what tells them apart is not
    used."""
    found: dict[frozenset[str], list[str]] = {}
    for point in sweep.points:
        if point.status == "finished":
            made = frozenset(step.record.fingerprint for step in point.steps)
            found.setdefault(made, []).append(point.swept.folder)
    return [names for names in found.values() if len(names) > 1]


def write_csv(sweep: SweepReport) -> str:
    """Returns every number of every point, a row per point: the values that are swept, the status, then
    each measure and the rows in use after each step; an estimate has its ends beside it."""
    rows = [
        {
            **p.swept.values,
            "status": p.status,
            "folder": p.swept.folder,
            **({"why": sweep.why(p)} if p.swept.error else {}),
            **dict(_with_ends(p)),
        }
        for p in sweep.points
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    out = StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _with_ends(point: PointReport) -> Iterator[tuple[str, object]]:
    """A point's numbers, the ends of an estimate's interval beside it."""
    for key, value in point.numbers():
        parts = value if is_estimate(value) else {"value": value}
        yield key, parts["value"]
        yield from ((f"{key} {end}", parts[end]) for end in ("low", "high") if end in parts)


def _spread(points: Sequence[Mapping[str, object]]) -> float:
    """How far the values of one place are apart, at the place where they are farthest."""
    places = {place for point in points for place in point}
    found = 0.0
    for place in places:
        values = [float(v) for point in points if is_number(v := point.get(place))]
        found = max(found, max(values) - min(values)) if values else found
    return found
