"""What a run measures beside its own probes and tasks, and what it refuses to begin without.

The one idea: whatever a measure lacks is said while the run is planned, before any work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from woolgather.core.artifacts import Metrics, Model
from woolgather.core.errors import ConfigError
from woolgather.core.rows import Example
from woolgather.engines.base import EngineOptions
from woolgather.ops.measure.outcomes import selects
from woolgather.ops.text.item_ids import item_ids
from woolgather.recipes.scope import Rows, Scope
from woolgather.recipes.settings import Common
from woolgather.suites.bench import Exam, bench, bench_table, open_exam

AS_CHAT = "base, asked as a chat"
"""The base as tuned models are asked, where it is asked otherwise itself."""


def check_measure(cfg: Common, held_out: Rows[Example]) -> None:
    """Raises ConfigError where the measure that selects the result would have nothing to measure."""
    by = cfg.select_by
    if by == "probes" and not cfg.measure.probes:
        raise ConfigError(
            "select_by=probes with measure.probes=0: nothing would be measured. Ask for probes, such as "
            "measure.probes=600, or take select_by=heldout or select_by=last."
        )
    if by != "heldout":
        return
    tasks = list(held_out)
    checked = [n for n, t in zip(item_ids(tasks), tasks, strict=True) if t.meta.get("check")]
    if len({selects(name) for name in checked}) < 2:
        raise ConfigError(
            f"select_by=heldout with {len(checked)} of {len(tasks)} held-out tasks that have a check: "
            "one half of these selects the result and the other reports on it, and one half is empty. "
            "Give more tasks a check, or take select_by=probes."
        )


def open_bench(run: Scope, cfg: Common, base: Model) -> Exam | None:
    """Returns the suite that the models of the run go through, None where none is asked for. Raises
    ConfigError or InputError for one that cannot be asked."""
    if not cfg.bench:
        return None
    return open_exam(cfg.bench, cfg.harness, run.engine(base).options or EngineOptions())


def bench_models(run: Scope, exam: Exam | None, models: Mapping[str, Model]) -> Metrics | None:
    """Returns what `models`, the base first, each under its name, came to in the suite. `AS_CHAT` is
    asked only what is asked in turns."""
    if exam is None:
        return None
    scope = run.scope("bench")
    found: dict[str, Metrics] = {}
    for name, model in models.items():
        asked = exam.in_turns if name == AS_CHAT else exam
        if asked:
            found[name] = scope.step(step_name(name), bench, scope.engine(model), exam=asked)
    return scope.step("table", bench_table, found, suite=exam.suite, exam=exam)


def step_name(name: str) -> str:
    """Returns a model's name in the form that names of steps have: "random rows" is random-rows."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
