"""A recipe at several points of a grid of settings, in one directory, where steps are shared.

The one idea: a point is a run like any other, in a directory of its own, which takes each step that
another point has made by a hard link, and asks models through the one journal of all. So a sweep that
was killed goes on like a run, every command that reads a run reads a point, and points may be worked on
one after another or at once.
"""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from woolgather.api.launch import ALONE, AskedSettings, AskedTraining, Launch
from woolgather.api.results import PlanTotal
from woolgather.api.sweeping.at_once import SINGLY, AtOnce, carry_out_points, open_place
from woolgather.api.sweeping.grid import Grid, Point, meaning_of, read_grid, write_settings
from woolgather.api.sweeping.point import LOG, PointEnd, PointWork, name_recipe, spell_error
from woolgather.api.sweeping.telling import Telling
from woolgather.core.errors import ConfigError, MistakeError, Stopped
from woolgather.engines.base import EngineOptions
from woolgather.report.sweep import SweepRecord, SweptPoint, write_sweep
from woolgather.runs.call import StepChoices
from woolgather.runs.claims import CLAIMS
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
        self._recipe = recipe
        self._settings = replace(settings, files=tuple(settings.files))
        self.grid: Grid = read_grid(settings.texts)
        self.meanings = getattr(module, "SWEPT", {})
        self.points = self.grid.points(self.meanings)

        def launch(point: Point, place: Path | None) -> Launch:
            chosen = replace(choices or StepChoices(), replicate=point.replicate, shared=folder)
            words = self._words(point)
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

    def carry_out(
        self, tell: Telling, *, measure: str = "", report: bool = True, at_once: AtOnce = SINGLY
    ) -> int:
        """Runs, or continues, all points; returns how many have failed. `measure` is what tables and
        figures show, `report` whether each point has a report of its own, too.

        Raises RunDirError where another process works in the directory, ConfigError where there is no
        room for so many points at once, InputError for a `measure` that no point has, and Stopped; what
        is finished is kept, and the sweep's report is written of it."""
        first = self.launches[0]
        at_once.check(first.options)
        if at_once.count == 1:
            return self._carry_out(tell, measure, lambda points: points.carry_out(report))
        works = self._works(report)
        with open_place(at_once, first.options, first.training.processes) as start:
            return self._carry_out(
                tell,
                measure,
                lambda points: carry_out_points(works, at_once.count, self.dir, start, points),
            )

    def _carry_out(self, tell: Telling, measure: str, work: Callable[[_Points], None]) -> int:
        from woolgather.report.sweep.page import write_sweep_report

        self.dir.mkdir(parents=True, exist_ok=True)
        with RunLock(self.dir):
            points = _Points(self, tell, measure)
            try:
                work(points)
            except BaseException:
                with suppress(MistakeError):
                    write_sweep_report(self.dir)
                raise
            shutil.rmtree(self.dir / CLAIMS, ignore_errors=True)
            write_sweep_report(self.dir)
        return len(points.errors)

    def _works(self, report: bool) -> list[PointWork]:
        """What processes of their own are told."""
        recipe, is_module = name_recipe(self._recipe)
        return [
            PointWork(
                recipe,
                is_module,
                settings=self._words(point),
                folder=launch.dir,
                engine=launch.options,
                training=launch.training,
                choices=launch.choices,
                report=report,
                at=Path.cwd(),
                host=socket.gethostname(),
            )
            for point, launch in zip(self.points, self.launches, strict=True)
        ]

    def _words(self, point: Point) -> AskedSettings:
        return replace(self._settings, texts=tuple(point.settings))

    def record(self, measure: str, errors: Mapping[int, PointError]) -> SweepRecord:
        """Returns what the directory keeps of the sweep; `errors` are by the points' places."""
        meanings = {
            f"{key}={value}": " ".join(found)
            for key, values in self.grid.axes.items()
            for value in values
            if (found := meaning_of(key, value, self.meanings))
        }
        none = PointError()
        points = [
            SweptPoint(folder=p.folder, values=p.values, error=found.said, log=found.log)
            for place, p in enumerate(self.points)
            for found in [errors.get(place, none)]
        ]
        return SweepRecord(
            recipe=self.launches[0].module_name,
            axes=self.grid.axes,
            settings=[*write_settings(self._settings.values), *self.grid.fixed],
            meanings=meanings,
            measure=measure,
            points=points,
        )


@dataclass(frozen=True)
class PointError:
    """Why a point failed."""

    said: str = ""
    log: str = ""
    """Where its process printed, relative to the sweep; empty for a point that had none of its own."""


class _Points:
    """The points while they are worked on: who fails is noted in the directory at once."""

    def __init__(self, sweep: Sweep, tell: Telling, measure: str) -> None:
        self._sweep, self._tell, self._measure = sweep, tell, measure
        self.errors: dict[int, PointError] = {}
        self._write()

    def carry_out(self, report: bool) -> None:
        """Runs one point after another, in this process."""
        for place, launch in enumerate(self._sweep.launches):
            try:
                launch.carry_out(self._shown(place), report=report)
            except Stopped:
                raise
            except Exception as error:  # whatever it is, it is this point's alone
                self._fail(place, PointError(spell_error(error)), error)

    def start(self, place: int) -> None:
        """A process begins with a point."""
        self._tell.start(place, self._sweep.launches[place].dir / LOG)

    def finish(self, place: int, end: PointEnd) -> None:
        """A process has ended, well or not."""
        if end.error:
            self._fail(place, PointError(end.error, f"{self._sweep.points[place].folder}/{LOG}"))
        else:
            self._tell.finish(place, self._sweep.launches[place].dir)

    def _fail(self, place: int, error: PointError, cause: Exception | None = None) -> None:
        self.errors[place] = error
        self._tell.fail(place, error.said, cause)
        self._write()

    def _shown(self, place: int) -> Callable[[PlanTotal], Progress]:
        return lambda total: self._tell.begin(place, self._sweep.launches[place], total)

    def _write(self) -> None:
        write_sweep(self._sweep.record(self._measure, self.errors), self._sweep.dir)
