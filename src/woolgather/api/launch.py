"""What `run` and `plan` are asked for, resolved and carried out, for Python and the command line alike.

The one idea: a launch is made once from names and settings, and then walked as a plan or as a run.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from woolgather.api.headroom import find_headroom
from woolgather.api.plan_lines import plan_line, spell_memory
from woolgather.api.results import PlanLine, PlanTotal
from woolgather.core.errors import ConfigError, DiskError, EngineError, disk_error
from woolgather.engines import check_engine
from woolgather.engines.base import EngineOptions
from woolgather.engines.replicas.cluster import check_replicas, connect_ray
from woolgather.report.headroom import keep_headroom
from woolgather.runs.progress import Progress
from woolgather.training.trackers import Tracking, check_tracker

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

    from woolgather.api.progress.show import Shown
    from woolgather.core.expected import Expected
    from woolgather.core.machine_speed import Precision
    from woolgather.core.rows import JSON
    from woolgather.runs.call import StepChoices
    from woolgather.runs.run import Run
    from woolgather.runs.speed.earlier import SpeedSetup
    from woolgather.runs.speed.rates import Rates
    from woolgather.training.job import Trainer
    from woolgather.training.nodes import ClusterNode, Meeting


@dataclass(frozen=True)
class AskedSettings:
    """Where a launch's settings come from, the later winning."""

    preset: str = "default"
    files: Iterable[Path] = ()
    """YAML."""
    values: Mapping[str, JSON] = field(default_factory=dict)
    """By key, dotted or nested."""
    texts: Iterable[str] = ()
    """`key=value`, the keys dotted."""


@dataclass(frozen=True)
class AskedTraining:
    """How trainings are carried out; none of it changes what comes out."""

    accelerate: str = "ddp"
    """A layout (ddp, fsdp2, zero2, zero3), or the path of a configuration of accelerate."""
    processes: int = 1
    """Processes that train together on all machines, one per GPU."""
    nodes: str = "1"
    """How many machines, or "slurm"."""
    node_rank: int | None = None
    """Which of them this is; 0 has the run."""
    main_address: str = ""
    """HOST:PORT of number 0, as the others reach it."""
    report_to: str = ""
    """Tracker that gets curves and measures as well (see training/trackers.py); empty for none."""

    def read_node(self) -> ClusterNode:
        """Returns which of several machines this is. Raises ConfigError for what does not fit."""
        from woolgather.training.nodes import read_node

        return read_node(self.nodes, self.node_rank, self.main_address)


ALONE = AskedTraining()


class Launch:
    """Recipe, settings, directory, engine and trainer.

    Raises ConfigError for a recipe, a preset, a setting or an engine that there is not."""

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
        """`recipe` is a name, the path of a .py file, or a module."""
        from woolgather.recipes import config
        from woolgather.runs.call import StepChoices

        self.options = engine or EngineOptions()
        name = self.options.name
        check_engine(self.options)
        check_replicas(self.options)
        if isinstance(recipe, str):
            self.module, self.module_name = config.find_recipe(recipe), Path(recipe).stem
        else:
            self.module, self.module_name = recipe, recipe.__name__.rpartition(".")[2]
        preset = settings.preset
        base = {"base": "embedded"} if preset == "demo" else {}
        last = ["base=fake"] if name == "fake" else []
        self.config: BaseModel = config.build(
            self.module.Config,
            self.module_name,
            preset=preset,
            files=settings.files,
            values={**base, **settings.values},
            overrides=[*settings.texts, *last],
        )
        self.preset: BaseModel = config.build(self.module.Config, self.module_name, preset=preset)
        self.dir = folder or Path("runs") / _default_name(self.module_name, self.config, preset)
        self.choices = choices or StepChoices()
        self.training = training
        if training.report_to:
            check_tracker(training.report_to)
        self._meeting: Meeting | None = None

    def carry_out(
        self,
        progress: Callable[[PlanTotal], Progress],
        *,
        report: bool = True,
        headroom: Path | None = None,
    ) -> Path | None:
        """Plan, then run or continue; returns the path of the report, None without one.

        `progress` is made from the plan's sums (see `plan`), once it is known that the work can begin.
        `headroom` is the directory of one of the same base, whose lines come first in the report; None
        takes that in the run's own directory, if there is one (see find_headroom).
        Raises DiskError when there is no room for what is planned, and whatever a step raises; what is
        finished is kept, and a report is written of it all the same."""
        written: Path | None = None
        try:
            self.measure_machine()
            lines, total = self.plan(ready=True)
            self._check_disk(total)
            self.check_training(lines)
            before = find_headroom(headroom, self.dir, self.config, self.options)
            self.dir.mkdir(parents=True, exist_ok=True)
            shown = progress(total)
            try:
                spare = frozenset(line["step"] for line in lines if line["state"] == "not needed")
                # Gathered once the run is ours: two with one directory would call the same helpers.
                gathered = self._gather()
                with (
                    self._replicas(total),
                    self.open(progress=shown, spare=spare) as live,
                    gathered,
                ):
                    if before:
                        keep_headroom(self.dir, before[0].resolve().name, before[1])
                    self.module.recipe(live, self.config)
            except DiskError:
                report = False
                raise
            finally:
                shown.close()
                self._keep_speeds(total["precision"])
                if report and (self.dir / "run.json").is_file():
                    written = self._report()
        except OSError as error:
            if full := disk_error(error, self.dir):
                raise full from error
            raise
        return written

    def _report(self) -> Path:
        """The path of the run's report, which is written unless it says all that there is to say."""
        from woolgather.report.current import is_current

        if is_current(self.dir):
            return self.dir / "report.html"
        from woolgather.report.page import write_report

        return write_report(self.dir)

    def open(
        self,
        *,
        progress: Progress | None = None,
        plan: bool = False,
        spare: frozenset[str] = frozenset(),
    ) -> Run:
        """Returns the run, to be entered; with `plan` nothing is written. `spare` are the steps that a
        plan found not needed."""
        from woolgather.core.op import source_hash
        from woolgather.engines import open_engine
        from woolgather.runs.folder import AskedRecipe
        from woolgather.runs.run import Backends, Run

        recipe = AskedRecipe(
            self.module_name,
            config=self.config.model_dump(mode="json"),
            preset=self.preset.model_dump(mode="json"),
            source=source_hash(self.module.recipe),
        )
        trainer = self._trainer(progress.training if progress else None)
        backends = Backends(open_engine, trainer, self.options)
        choices = replace(self.choices, spare=spare)
        return Run(self.dir, recipe, backends, choices, plan=plan, progress=progress)

    def _replicas(self, total: PlanTotal) -> AbstractContextManager[None]:
        """Holds Ray from the first step to the last, where replicas are to be asked for anything."""
        return connect_ray(self.options) if total["calls"] else nullcontext()

    def measure_machine(self) -> None:
        """Measure, before a new run, what this machine computes fast: it decides the run's
        precision and the times of its plan. Once per machine; where torch is missing it is said
        later, by what needs it."""
        if self.options.name != "fake" and not (self.dir / "run.json").is_file():
            with suppress(ConfigError, EngineError):
                self._trainer().precision()

    def rates(self, precision: Precision | None) -> Rates:
        """Returns the speeds of this run on this machine as they are known now."""
        from woolgather.runs.speed.rates import Rates

        return Rates.of_run(self.dir, self._setup(precision))

    def _setup(self, precision: Precision | None) -> SpeedSetup:
        """What the speeds of this run follow from."""
        from woolgather.runs.speed.earlier import SpeedSetup

        base = str(getattr(self.config, "base", ""))
        if base == "embedded":
            from woolgather.core.paths import cache_dir
            from woolgather.models.embedded import DIRECTORY

            base = str(cache_dir() / DIRECTORY)
        options, processes = self.options, self.training.processes
        return SpeedSetup(
            base, options.name, options.dtype, options.replicas, precision, processes=processes
        )

    def show(self, console: Console, total: PlanTotal) -> Shown:
        """Returns what shows the progress of this launch on `console`, and tells it to other programs."""
        from woolgather.api.progress.show import Shown

        return Shown(
            console,
            self.dir / "events.jsonl",
            self.bound(total["precision"]),
            server=self.options.name == "openai",
            tracking=self._tracking(),
        )

    def _keep_speeds(self, precision: Precision | None) -> None:
        """Let the plans of later runs know how fast the steps of this launch were."""
        from woolgather.runs.record import read_launches
        from woolgather.runs.speed.earlier import keep_speeds
        from woolgather.runs.speed.rates import measure_steps

        launches = [] if self.options.name == "fake" else read_launches(self.dir)
        if launches:
            keep_speeds(self._setup(precision), measure_steps(self.dir, launches[-1].launch))

    def bound(self, precision: Precision | None) -> Callable[[Expected], float]:
        """Returns a function: upper bound, in seconds, for a step of a size, by what has been timed
        until it is asked."""
        return lambda size: self.rates(precision).seconds(size)

    def _check_disk(self, total: PlanTotal) -> None:
        """Before the work: is there room for what the plan expects?"""
        from woolgather.report.text import size

        place = self.dir
        while not place.exists():
            place = place.parent
        free, wanted = shutil.disk_usage(place).free, total["disk_bytes"]
        if wanted > free:
            raise DiskError(
                f"{self.dir}: the run may write {size(wanted)} and {place.resolve()} has "
                f"{size(free)} free. Free some space, or give another place with --dir."
            )

    def check_training(self, lines: Iterable[PlanLine]) -> None:
        """Raises ConfigError, before the work, for a training of a plan that this machine cannot carry
        out: too few devices, or too little memory on each; says what would fit."""
        from woolgather.report.text import gigabytes

        new = [line for line in lines if line["state"] == "new" and line["updates"]]
        if new:
            self._trainer().check()
        for line in new:
            memory = line["memory"]
            if memory is None or memory.fits:
                continue
            others = "; or ".join(memory.remedies) or "a device with more memory"
            raise ConfigError(
                f"{line['step']} takes {gigabytes(memory.total)} on each device "
                f"({spell_memory(memory)}), "
                f"and a device has {gigabytes(memory.limit)}. What fits: {others}."
            )

    def _trainer(self, report: Callable[[dict[str, JSON]], None] | None = None) -> Trainer:
        from woolgather.training import open_trainer

        asked = self.training
        return open_trainer(
            self.options.name == "fake",
            asked.processes,
            report,
            asked.accelerate,
            asked.read_node().count,
            self._meeting,
            self._tracking(),
        )

    def _tracking(self) -> Tracking:
        return Tracking(self.training.report_to, self.dir.absolute())

    def _gather(self) -> AbstractContextManager[object]:
        """Holds the other machines' notice from the first step to the last, where there are others."""
        from woolgather.training.nodes import Meeting

        node = self.training.read_node()
        if node.count == 1:
            return nullcontext()
        self._meeting = Meeting(node, self.dir)
        return self._meeting

    def help_out(self, tell: Callable[[str], None]) -> None:
        """Help with the trainings of this run, which another machine has, until it ends; `tell` gets what
        is being done. Raises ConfigError for what cannot be had on this machine, TrainingError when the
        run does not begin or its machine is gone."""
        from woolgather.training.launch import LocalTrainer
        from woolgather.training.nodes import follow

        trainer = self._trainer()
        if not isinstance(trainer, LocalTrainer):
            raise ConfigError("--nodes: with --engine fake nothing is trained. Leave it out.")
        trainer.check()
        follow(self.training.read_node(), self.dir, trainer, tell)

    def plan(self, *, ready: bool = False) -> tuple[list[PlanLine], PlanTotal]:
        """Returns a line per step, and the sums over the new ones. `ready`: raises ConfigError unless
        the engine can run here, and there is a server for each model that servers are to be asked
        for."""
        check_engine(self.options, ready=ready)
        with self.open(plan=True) as walked:
            self.module.recipe(walked, self.config)
            precision = walked.training_precision()
        if ready:
            walked.check_servers()
        rates = self.rates(precision)
        lines = [plan_line(planned, rates) for planned in walked.planned]
        new = [line for line in lines if line["state"] == "new"]
        total: PlanTotal = {
            "calls": sum(line["calls"] for line in new),
            "prompt_tokens": sum(line["prompt_tokens"] for line in new),
            "new_tokens": sum(line["new_tokens"] for line in new),
            "updates": sum(line["updates"] for line in new),
            "train_tokens": sum(line["train_tokens"] for line in new),
            "disk_bytes": sum(line["disk_bytes"] for line in new),
            "new": len(new),
            "remembered": sum(line["state"] in ("remembered", "given") for line in lines),
            "seconds": round(sum(line["seconds"] for line in new), 1),
            "rate_source": rates.source,
            "precision": precision,
            "visible": getattr(self.config, "visible", ""),
            "chat_template": told.told
            if (told := getattr(self.config, "chat_template", None))
            else "",
        }
        return lines, total


def _default_name(recipe: str, config: BaseModel, preset: str) -> str:
    """`<recipe>-<base>`, and the preset where one is named."""
    base = str(getattr(config, "base", ""))
    name = {"embedded": "smollm2-135m"}.get(base, base.rstrip("/").rsplit("/", 1)[-1])
    name = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
    return f"{recipe}-{name}" + ("" if preset == "default" else f"-{preset}")
