"""What `run` and `plan` were asked for, resolved: recipe, settings, directory, engine and trainer."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from woolgather.core.errors import ConfigError, EngineError

if TYPE_CHECKING:
    from woolgather.core.machine_speed import Precision
    from woolgather.runs.speed import Rates
    from woolgather.training.job import Trainer


class Launch:
    """What a command asked for, resolved: recipe, settings, directory, engine and trainer."""

    def __init__(
        self,
        recipe: str,
        settings: list[str] | None,
        preset: str,
        files: list[Path] | None,
        run_dir: Path | None,
        given: list[str] | None,
        redo: list[str] | None,
        engine: str,
        urls: list[str] | None,
        serve: list[str] | None,
        api_key_env: str,
        dtype: str,
        processes: int,
        replicate: int,
    ) -> None:
        from woolgather.engines.base import EngineOptions
        from woolgather.recipes import config

        if engine not in ("transformers", "openai", "fake"):
            raise ConfigError(f"--engine {engine}: choose transformers, openai or fake.")
        self.module: ModuleType = config.find_recipe(recipe)
        self.module_name = Path(recipe).stem
        settings = list(settings or [])
        if preset == "demo" and not any(s.startswith("base=") for s in settings):
            settings.append("base=embedded")
        if engine == "fake":
            settings = [s for s in settings if not s.startswith("base=")] + ["base=fake"]
        self.config: Any = config.build(
            self.module.Config,
            self.module_name,
            preset=preset,
            files=files or (),
            overrides=settings,
        )
        self.preset: Any = config.build(self.module.Config, self.module_name, preset=preset)
        self.dir = run_dir or Path("runs") / _default_name(self.module_name, self.config, preset)
        self.given = dict(_pair(text) for text in given or ())
        self.redo = tuple(redo or ())
        self.options = EngineOptions(
            name=engine,
            urls=tuple(urls or ()),
            serve=tuple(serve or ()),
            api_key_env=api_key_env,
            dtype=dtype,
        )
        self.processes = processes
        self.replicate = replicate

    def open(self, *, progress: Any = None, plan: bool = False) -> Any:
        from woolgather.core.op import source_hash
        from woolgather.engines import open_engine
        from woolgather.runs.run import Run

        report = progress.training if progress else None
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
        }
        return lines, total


def _default_name(recipe: str, config: Any, preset: str) -> str:
    base = str(getattr(config, "base", ""))
    name = {"embedded": "smollm2-135m"}.get(base, base.rstrip("/").rsplit("/", 1)[-1])
    name = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-")
    return f"{recipe}-{name}" + ("" if preset == "default" else f"-{preset}")


def _pair(text: str) -> tuple[str, str]:
    step, sign, path = text.partition("=")
    if not sign or not path:
        raise ConfigError(f"--given {text}: write STEP=PATH, e.g. iter0/respond=answers.jsonl.")
    return step, path
