"""A recipe on the fake engine and trainer: built, run, planned, and what its steps are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from woolgather.core.op import source_hash
from woolgather.engines import open_engine
from woolgather.engines.base import EngineOptions
from woolgather.recipes import config
from woolgather.runs.call import StepChoices
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.record import StepRecord, current_steps
from woolgather.runs.run import Backends, Run
from woolgather.training import open_trainer


@dataclass(frozen=True)
class Dry:
    module: ModuleType
    base: Sequence[str] = ()
    """Settings that every run of these tests has."""

    @property
    def name(self) -> str:
        return self.module.__name__.rpartition(".")[2]

    def built(self, *overrides: str, preset: str = "demo") -> Any:
        settings = [*self.base, *overrides]
        return config.build(self.module.Config, self.name, preset=preset, overrides=settings)

    def opened(
        self,
        folder: Path,
        *,
        engine: Any = open_engine,
        plan: bool = False,
        settings: Any = None,
        **choices: Any,
    ) -> Run:
        recipe = AskedRecipe(self.name, settings, source=source_hash(self.module.recipe))
        backends = Backends(engine, open_trainer(fake=True), EngineOptions(name="fake"))
        return Run(folder, recipe, backends, StepChoices(**choices), plan=plan)

    def finished(self, folder: Path, *overrides: str, **options: Any) -> Path:
        """Run, without what a plan finds not needed."""
        plan = self.planned(folder, *overrides, **options) if options.get("given") else {}
        spare = frozenset(step for step, (state, _) in plan.items() if state == "not needed")
        cfg = self.built(*overrides)
        settings = cfg.model_dump(mode="json")
        with self.opened(folder, spare=spare, settings=settings, **options) as run:
            self.module.recipe(run, cfg)
        return folder

    def planned(self, folder: Path, *overrides: str, **options: Any) -> dict[str, tuple[str, str]]:
        """State and reason of each step."""
        with self.opened(folder, plan=True, **options) as run:
            self.module.recipe(run, self.built(*overrides))
        return {p.step: (p.state, p.why) for p in run.planned}

    def holds(
        self, folder: Path, override: str, own: set[str], by_value: Mapping[str, set[str]],
        base: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """One option changes its own steps of a finished run, and what is made from them, only."""
        plan = self.planned(folder, *base, override)
        new = {step for step, (state, _) in plan.items() if state == "new"}
        named = {step for step, (_, why) in plan.items() if "args." in why}
        missing = {s for s in own if s in plan} - named
        assert not missing, f"not changed by themselves: {missing}"
        before, allowed = set(steps(folder)), dependants(folder, own, by_value)
        surplus = (new | named) & before - allowed
        assert not surplus, f"changed without a reason: {sorted(surplus)}"


def steps(folder: Path) -> dict[str, tuple[Path, StepRecord]]:
    """Place and record of each current step."""
    found = current_steps(folder)
    return {record.step: (folder / str(entry["path"]), record) for entry, record in found}


def dependants(folder: Path, changed: set[str], by_value: Mapping[str, set[str]]) -> set[str]:
    """Steps of a finished run that are made, directly or not, from one of `changed`. `by_value` are
    inputs that records do not name: numbers handed on from one step to another."""
    inputs = {
        name: {entry["step"] for entry in record.inputs.values()} | by_value.get(name, set())
        for name, (_, record) in steps(folder).items()
    }
    found = set(changed)
    while more := {step for step, made_of in inputs.items() if made_of & found} - found:
        found |= more
    # Which model is handed over hangs on the choice, not on the model's own fingerprint alone.
    return found | ({"result"} if "select" in found else set())
