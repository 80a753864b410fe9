"""A recipe at several points of a grid of settings, in one directory, where steps are shared.

The one idea: a point is a run like any other, in a directory of its own, which takes each step that
another point has made by a hard link, and asks models through the one journal of all. So a sweep that
was killed goes on like a run, and every command that reads a run reads a point.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from woolgather.api.launch import ALONE, AskedSettings, AskedTraining, Launch
from woolgather.api.results import PlanTotal
from woolgather.api.sweep_points import Grid, Point, meaning_of, read_grid
from woolgather.core.errors import ConfigError, MistakeError, Stopped, WoolgatherError
from woolgather.engines.base import EngineOptions
from woolgather.report.sweep import SweepRecord, SweptPoint, write_sweep
from woolgather.runs.call import StepChoices
from woolgather.runs.lock import RunLock
from woolgather.runs.progress import Progress


@dataclass(frozen=True)
class PointPlan:
    """What a point would do."""

    point: Point
    new: int
    """Steps that it makes: no point before it needs them."""
    shared: int
    """Steps that a point before it makes."""
    remembered: int
    """Steps whose results are there, in this point or in another."""
    seconds: float
    """Upper bound for the new ones."""
    calls: int
    """Requests to a model for the new ones, at most."""
    disk_bytes: int
    """What the new ones may write, at most."""
    rate_source: str
    """Where the time comes from, in words."""


class Telling:
    """What a sweep tells while it works. The base class is silent; the command line draws it."""

    def begin(self, place: int, launch: Launch, total: PlanTotal) -> Progress:
        """Returns what shows the steps of the point that begins, the `place`-th from 0."""
        return Progress()

    def fail(self, place: int, error: Exception) -> None:
        """A point has failed; the next one begins."""


class Sweep:
    """The points of a sweep, each a launch.

    Raises ConfigError for what `Launch` raises it, naming the point, and for words that are no grid."""

    def __init__(
        self,
        recipe: str | ModuleType,
        settings: AskedSettings,
        *,
        folder: Path | None = None,
        engine: EngineOptions | None = None,
        training: AskedTraining = ALONE,
        choices: StepChoices | None = None,
    ) -> None:
        """As a `Launch`; among the texts of `settings` are some with several values."""
        from woolgather.recipes import config

        module = config.find_recipe(recipe) if isinstance(recipe, str) else recipe
        self.grid: Grid = read_grid(settings.texts)
        self.meanings = getattr(module, "SWEPT", {})
        self.points = self.grid.points(self.meanings)

        def launch(point: Point, place: Path | None) -> Launch:
            chosen = replace(choices or StepChoices(), replicate=point.replicate, shared=folder)
            words = replace(settings, texts=point.settings)
            try:
                return Launch(
                    module, words, folder=place, engine=engine, training=training, choices=chosen
                )
            except ConfigError as error:
                raise ConfigError(f"point {point.name}: {error}") from None

        if folder is None:
            first = launch(self.points[0], None)
            name = first.module_name if "base" in self.grid.axes else first.dir.name
            folder = first.dir.with_name(f"{name}-sweep")
        self.dir = folder.resolve()
        folder = self.dir
        self.launches = [launch(point, self.dir / point.folder) for point in self.points]

    def plan(self) -> list[PointPlan]:
        """Returns what each point would do, in order, a step of several points counted with the first of
        them; nothing is written. Raises what `Launch.plan` raises, naming the point."""
        known: set[tuple[str, str]] = set()
        plans = []
        for point, launch in zip(self.points, self.launches, strict=True):
            try:
                lines, total = launch.plan()
            except MistakeError as error:
                raise type(error)(f"point {point.name}: {error}") from error
            due = {(line["step"], line["fingerprint"]): line for line in lines}
            due = {key: line for key, line in due.items() if line["state"] == "new"}
            first = [line for key, line in due.items() if key not in known]
            known |= due.keys()
            plans.append(
                PointPlan(
                    point,
                    new=len(first),
                    shared=len(due) - len(first),
                    remembered=total["remembered"],
                    seconds=sum(line["seconds"] for line in first),
                    calls=sum(line["calls"] for line in first),
                    disk_bytes=sum(line["disk_bytes"] for line in first),
                    rate_source=total["rate_source"],
                )
            )
        return plans

    def carry_out(self, tell: Telling, *, measure: str = "", report: bool = True) -> int:
        """Runs, or continues, one point after another; returns how many have failed. `measure` is what
        tables and figures show, `report` whether each point has a report of its own, too.

        Raises RunDirError where another process works in the directory, InputError for a `measure` that
        no point has, and Stopped; what is finished is kept, and the sweep's report is written of it."""
        from woolgather.report.sweep.page import write_sweep_report

        self.dir.mkdir(parents=True, exist_ok=True)
        with RunLock(self.dir):
            try:
                failed = self._run_points(tell, measure, report)
            except Stopped:
                with suppress(MistakeError):
                    write_sweep_report(self.dir)
                raise
            write_sweep_report(self.dir)
        return failed

    def _run_points(self, tell: Telling, measure: str, report: bool) -> int:
        errors: dict[str, str] = {}
        write_sweep(self._record(measure, errors), self.dir)
        for place, launch in enumerate(self.launches):
            try:
                launch.carry_out(self._shown(tell, place), report=report)
            except Stopped:
                raise
            except Exception as error:  # whatever it is, it is this point's alone
                said = str(error) if isinstance(error, WoolgatherError) else repr(error)
                errors[self.points[place].folder] = said
                tell.fail(place, error)
                write_sweep(self._record(measure, errors), self.dir)
        return len(errors)

    def _shown(self, tell: Telling, place: int) -> Callable[[PlanTotal], Progress]:
        return lambda total: tell.begin(place, self.launches[place], total)

    def _record(self, measure: str, errors: dict[str, str]) -> SweepRecord:
        meanings = {
            f"{key}={value}": " ".join(found)
            for key, values in self.grid.axes.items()
            for value in values
            if (found := meaning_of(key, value, self.meanings))
        }
        points = [
            SweptPoint(folder=p.folder, values=p.values, error=errors.get(p.folder, ""))
            for p in self.points
        ]
        return SweepRecord(
            recipe=self.launches[0].module_name,
            axes=self.grid.axes,
            settings=self.grid.fixed,
            meanings=meanings,
            measure=measure,
            points=points,
        )
