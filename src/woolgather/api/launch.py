"""What `run` and `plan` are asked for, resolved and carried out, for Python and the command line alike.

The one idea: a launch is made once from names and settings, and then walked as a plan or as a run.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from woolgather.core.errors import ConfigError, DiskError, EngineError, disk_error
from woolgather.engines.base import EngineOptions
from woolgather.runs.progress import Progress

if TYPE_CHECKING:
    from woolgather.core.expected import Expected
    from woolgather.core.machine_speed import Precision
    from woolgather.core.rows import JSON
    from woolgather.runs.run import Run
    from woolgather.runs.speed import Rates
    from woolgather.training.job import Trainer

ENGINES = ("transformers", "openai", "fake")


class Launch:
    """Recipe, settings, directory, engine and trainer. Raises ConfigError for what cannot be."""

    def __init__(
        self,
        recipe: str | ModuleType,
        settings: Iterable[str] | Mapping[str, JSON] = (),
        *,
        preset: str = "default",
        files: Iterable[Path] = (),
        folder: Path | None = None,
        given: Mapping[str, str] | None = None,
        redo: Iterable[str] = (),
        options: EngineOptions | None = None,
        processes: int = 1,
        replicate: int = 0,
    ) -> None:
        """`settings` are `key=value` texts, or a mapping of keys, dotted or nested, to values. `given`
        maps steps to files, or to directories of models, that stand for their results."""
        from woolgather.recipes import config

        self.options = options or EngineOptions()
        name = self.options.name
        if name not in ENGINES:
            raise ConfigError(f"--engine {name}: choose transformers, openai or fake.")
        if isinstance(recipe, str):
            self.module, self.module_name = config.find_recipe(recipe), Path(recipe).stem
        else:
            self.module, self.module_name = recipe, recipe.__name__.rpartition(".")[2]
        texts, values = ((), settings) if isinstance(settings, Mapping) else (settings, {})
        base = {"base": "embedded"} if preset == "demo" else {}
        last = ["base=fake"] if name == "fake" else []
        self.config: Any = config.build(
            self.module.Config,
            self.module_name,
            preset=preset,
            files=files,
            values={**base, **values},
            overrides=[*texts, *last],
        )
        self.preset: Any = config.build(self.module.Config, self.module_name, preset=preset)
        self.dir = folder or Path("runs") / _default_name(self.module_name, self.config, preset)
        self.given, self.redo = dict(given or {}), tuple(redo)
        self.processes, self.replicate = processes, replicate

    def carry_out(
        self, progress: Callable[[dict[str, Any]], Progress], *, report: bool = True
    ) -> Path | None:
        """Plan, then run or continue; the path of the report, None without one.

        `progress` is made from the plan's sums (see `plan`), once it is known that the work can begin.
        Raises DiskError when there is no room for what is planned, and whatever a step raises; what is
        finished is kept, and a report is written of it all the same."""
        written: Path | None = None
        try:
            self.measure_machine()
            _, total = self.plan(ready=True)
            self._check_disk(total)
            self.dir.mkdir(parents=True, exist_ok=True)
            shown = progress(total)
            try:
                with self.open(progress=shown) as live:
                    self.module.recipe(live, self.config)
            except DiskError:
                report = False
                raise
            finally:
                shown.close()
                if report and (self.dir / "run.json").is_file():
                    from woolgather.report.page import write_report

                    written = write_report(self.dir)
        except OSError as error:
            if full := disk_error(error, self.dir):
                raise full from error
            raise
        return written

    def open(self, *, progress: Progress | None = None, plan: bool = False) -> Run:
        """The run, to be entered; with `plan` nothing is written."""
        from woolgather.core.op import source_hash
        from woolgather.engines import open_engine
        from woolgather.runs.run import Run

        report = getattr(progress, "training", None)
        return Run(
            self.dir,
            self.module_name,
            open_engine=open_engine,
            trainer=self._trainer(report),
            engine_options=self.options,
            config=self.config.model_dump(mode="json"),
            preset=self.preset.model_dump(mode="json"),
            recipe_source=source_hash(self.module.recipe),
            replicate=self.replicate,
            given=self.given,
            redo=self.redo,
            progress=progress,
            plan=plan,
        )

    def measure_machine(self) -> None:
        """Before a new run: what this machine computes fast decides its precision and the times of
        its plan. Once per machine; where torch is missing it is said later, by what needs it."""
        if self.options.name != "fake" and not (self.dir / "run.json").is_file():
            with suppress(ConfigError, EngineError):
                self._trainer().precision()

    def rates(self, precision: Precision | None) -> Rates:
        """The speeds of this run on this machine as they are known now."""
        from woolgather.runs.speed import Rates

        base = str(getattr(self.config, "base", ""))
        if base == "embedded":
            from woolgather.core.paths import cache_dir
            from woolgather.models.embedded import DIRECTORY

            base = str(cache_dir() / DIRECTORY)
        return Rates.of_run(self.dir, base, self.options.name, precision)

    def bound(self, precision: Precision | None) -> Callable[[Expected], float]:
        """Returns a function: upper bound, in seconds, for a step of a size, by what has been timed
        until it is asked."""
        return lambda size: self.rates(precision).seconds(size)

    def _check_disk(self, total: Mapping[str, Any]) -> None:
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

    def _trainer(self, report: Any = None) -> Trainer:
        from woolgather.training import open_trainer

        return open_trainer(self.options.name == "fake", self.processes, report)

    def plan(self, *, ready: bool = False) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """A mapping per step, and the sums over the new ones. `ready`: raises ConfigError unless
        there is a server for each model that servers are to be asked for."""
        with self.open(plan=True) as walked:
            self.module.recipe(walked, self.config)
            precision = walked.training_precision()
        if ready:
            walked.check_servers()
        rates = self.rates(precision)
        lines = []
        for p in walked.planned:
            size = p.expected
            seconds = rates.seconds(size) if p.state == "new" else p.seconds or 0.0
            sizes = {k: v for k, v in asdict(size).items() if k != "value"}
            line = {"step": p.step, "state": p.state, "why": p.why, "seconds": round(seconds, 1)}
            lines.append({**line, **sizes})
        new = [line for line in lines if line["state"] == "new"]
        keys = ("calls", "prompt_tokens", "new_tokens", "updates", "train_tokens", "disk_bytes")
        total: dict[str, Any] = {k: sum(line[k] for line in new) for k in keys}
        total |= {
            "new": len(new),
            "remembered": len(lines) - len(new),
            "seconds": round(sum(line["seconds"] for line in new), 1),
            "rate_source": rates.source,
            "precision": precision,
            "visible": getattr(self.config, "visible", ""),
        }
        return lines, total


def _default_name(recipe: str, config: Any, preset: str) -> str:
    """`<recipe>-<base>`, and the preset where one is named."""
    base = str(getattr(config, "base", ""))
    name = {"embedded": "smollm2-135m"}.get(base, base.rstrip("/").rsplit("/", 1)[-1])
    name = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
    return f"{recipe}-{name}" + ("" if preset == "default" else f"-{preset}")
