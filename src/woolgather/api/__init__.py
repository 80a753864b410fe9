"""What `import woolgather` offers: `run` and `plan` from Python. The command line calls exactly this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from woolgather.api.launch import AskedSettings, Launch
from woolgather.api.results import Plan, PlanTotal, Result
from woolgather.core.rows import JSON
from woolgather.engines.base import EngineOptions

__all__ = ["Launch", "Plan", "Result", "plan", "run"]


def run(
    recipe: str | ModuleType,
    *,
    dir: str | Path | None = None,  # noqa: A002 - as on the command line
    preset: str = "default",
    engine: str | EngineOptions = "transformers",
    given: Mapping[str, str] | None = None,
    redo: Iterable[str] = (),
    settings: Mapping[str, JSON] | None = None,
    **more: JSON,
) -> Result:
    """Starts a run, or continues it: the same call.

    `recipe` is a name, the path of a .py file, or a module. Settings are keywords, or `settings` with
    dotted or nested keys: `run("isheep", base="embedded", sft={"learning_rate": 1e-4})`. `dir` is the run
    directory, `runs/<recipe>-<base>` if not given; `engine` a name or the options of one; `given` maps
    steps to files or models that stand for their results; `redo` names steps to do again. Progress is
    shown line by line, live on a terminal and in a notebook.

    Returns the result when the run has ended. Raises ConfigError for a setting, InputError for a file,
    RunDirError for a directory that cannot be used, CapabilityError for a model or engine that cannot do
    what a step needs; and EngineError, TrainingError, DiskError or YieldError where the work failed. All
    are WoolgatherErrors, and what is finished is kept: the same call goes on.
    """
    from rich.console import Console

    from woolgather.api.progress.show import Shown

    asked = AskedSettings(preset, values={**(settings or {}), **more})
    launch = _launch(recipe, asked, dir, engine, given or {}, redo)

    def shown(total: PlanTotal) -> Shown:
        return launch.show(Console(), total)

    launch.carry_out(shown)
    return Result(launch.dir)


def plan(
    recipe: str | ModuleType,
    *,
    dir: str | Path | None = None,  # noqa: A002 - as on the command line
    preset: str = "default",
    engine: str | EngineOptions = "transformers",
    given: Mapping[str, str] | None = None,
    redo: Iterable[str] = (),
    settings: Mapping[str, JSON] | None = None,
    **more: JSON,
) -> Plan:
    """Returns what `run` with the same arguments would do, what is remembered, and how much work it is;
    nothing is written. Raises ConfigError, InputError, RunDirError or CapabilityError as `run` does."""
    asked = AskedSettings(preset, values={**(settings or {}), **more})
    launch = _launch(recipe, asked, dir, engine, given or {}, redo)
    steps, total = launch.plan()
    return Plan(launch.dir, tuple(steps), total)


def _launch(
    recipe: str | ModuleType,
    settings: AskedSettings,
    folder: str | Path | None,
    engine: str | EngineOptions,
    given: Mapping[str, str],
    redo: Iterable[str],
) -> Launch:
    from woolgather.runs.call import StepChoices

    return Launch(
        recipe,
        settings,
        folder=Path(folder) if folder is not None else None,
        engine=engine if isinstance(engine, EngineOptions) else EngineOptions(name=engine),
        choices=StepChoices(given=dict(given), redo=frozenset(redo)),
    )
