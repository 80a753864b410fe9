"""woolgather: align a language model with data the model writes itself.

    import woolgather

    result = woolgather.run("isheep", base="embedded", preset="demo")
    result.headline, result.model, result.rows("iter0/keep")
    points = woolgather.sweep("isheep", {"keep.above": [4, 6, 8]}, base="embedded", preset="demo")
    points.to_pandas(), points.figures

Importing this package loads nothing heavy; what is named here is fetched when it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from woolgather.api import Plan, Result, plan, run
    from woolgather.api.sweeping.result import PointResult, SweepResult
    from woolgather.api.sweeping.start import sweep
    from woolgather.core.artifacts import Choice, Metrics, Model
    from woolgather.core.op import op
    from woolgather.core.rows import Example, PreferencePair
    from woolgather.recipes.scope import Rows, Scope

__version__ = "0.1.0"
__all__ = [
    "Choice", "Example", "Metrics", "Model", "Plan", "PointResult", "PreferencePair", "Result", "Rows",
    "Scope", "SweepResult", "op", "plan", "run", "sweep",
]  # fmt: skip

_HOMES = {
    "api": ("Plan", "Result", "plan", "run"),
    "api.sweeping.result": ("PointResult", "SweepResult"),
    "api.sweeping.start": ("sweep",),
    "core.artifacts": ("Choice", "Metrics", "Model"),
    "core.op": ("op",),
    "core.rows": ("Example", "PreferencePair"),
    "recipes.scope": ("Rows", "Scope"),
}


def __getattr__(name: str) -> object:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"woolgather.{module}"), name)
    raise AttributeError(f"module 'woolgather' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
