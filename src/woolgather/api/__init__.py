"""What `import woolgather` offers: `run` and `plan` from Python. The command line calls exactly this."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from woolgather.api.launch import Launch
from woolgather.api.results import Plan, Result
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

    Returns the result when the run has ended. Raises WoolgatherError: ConfigError or InputError for a
    mistake in what is asked, another for work that failed; what is finished is kept either way.
    """
    from rich.console import Console

    from woolgather.api.show_progress import Shown

    launch = _launch(recipe, dir, preset, engine, given, redo, {**(settings or {}), **more})

    def shown(total: dict[str, Any]) -> Shown:
        return Shown(Console(), launch.dir / "events.jsonl", launch.bound(total["precision"]))

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
    nothing is written. Raises what `run` raises for a mistake in what is asked."""
    launch = _launch(recipe, dir, preset, engine, given, redo, {**(settings or {}), **more})
    steps, total = launch.plan()
    return Plan(launch.dir, tuple(steps), total)


def _launch(
    recipe: str | ModuleType,
    folder: str | Path | None,
    preset: str,
    engine: str | EngineOptions,
    given: Mapping[str, str] | None,
    redo: Iterable[str],
    settings: Mapping[str, JSON],
) -> Launch:
    return Launch(
        recipe,
        settings,
        preset=preset,
        folder=Path(folder) if folder is not None else None,
        given=given,
        redo=redo,
        options=engine if isinstance(engine, EngineOptions) else EngineOptions(name=engine),
    )
