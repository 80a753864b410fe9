"""A sweep from Python: one call, which runs it or continues it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from woolgather.api.launch import AskedSettings
from woolgather.api.sweeping.at_once import AtOnce
from woolgather.api.sweeping.grid import check_fixed, write_words
from woolgather.api.sweeping.result import SweepResult
from woolgather.api.sweeping.sweep import Sweep
from woolgather.api.sweeping.telling import ShownSweep
from woolgather.core.rows import JSON
from woolgather.engines.base import EngineOptions
from woolgather.runs.call import StepChoices


def sweep(
    recipe: str | ModuleType,
    points: Mapping[str, Iterable[JSON]],
    *,
    dir: str | Path | None = None,  # noqa: A002 - as on the command line
    preset: str = "default",
    engine: str | EngineOptions = "transformers",
    given: Mapping[str, str] | None = None,
    at_once: int = 1,
    ray: str = "",
    settings: Mapping[str, JSON] | None = None,
    **more: JSON,
) -> SweepResult:
    """Runs a recipe at every combination of several settings' values, or continues that: the same call.

    `points` holds the values by setting, dotted within groups, in the order in which figures and tables
    show them: `sweep("isheep", {"keep.above": [4, 6, 8], "replicate": [0, 1, 2]}, base="embedded")`;
    `replicate` draws everything anew. Keywords and `settings` are those of all points, and `preset`,
    `engine` and `given` those of `run`. `dir` is the sweep's directory, `runs/<recipe>-<base>-sweep` if
    not given. A step that several points need is made once; `at_once` points are worked on at the same
    time, here or by the Ray cluster at `ray` (HOST:PORT).

    Returns a row per point, when all have ended. A point that fails does not end the others: its row says
    `failed` and why. Raises, before anything runs, ConfigError for a setting or a value of a point, for a
    value that is given twice and for more points at once than there is room for; RunDirError where
    another sweep works in the directory."""
    from rich.console import Console

    several, fixed = AtOnce(at_once, ray), {**(settings or {}), **more}
    check_fixed(fixed, points)
    asked = Sweep(
        recipe,
        AskedSettings(preset, values=fixed, texts=write_words(points)),
        folder=Path(dir) if dir is not None else None,
        engine=engine if isinstance(engine, EngineOptions) else EngineOptions(name=engine),
        choices=StepChoices(given=dict(given or {})),
    )
    asked.carry_out(ShownSweep(Console(), asked.points), at_once=several)
    return SweepResult(asked.dir)
