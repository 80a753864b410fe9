"""Three methods in one run: Humback's M1 starts SPIN, and what SPIN makes goes through I-SHEEP.

    woolgather plan ./examples/compose.py base=Qwen/Qwen3-0.6B-Base seeds=mine.jsonl texts=./notes
    woolgather run  ./examples/compose.py base=Qwen/Qwen3-0.6B-Base seeds=mine.jsonl texts=./notes

The one idea: a recipe is a function from a scope and settings to a model, so that methods are chained
by calling them. Each works in a scope of its own (`humback/iter0/keep`, `spin/iter0/train`), all in
one directory: killed anywhere, the same command continues, and a changed setting of one method
re-runs it and what comes after it. A method that gains nothing hands its base on.
"""

from __future__ import annotations

from typing import Any, TypeVar

from woolgather import Model, Scope
from woolgather.core.options import Options
from woolgather.ops.train.merge import merge
from woolgather.recipes import humback, isheep, spin
from woolgather.recipes.humback import Config as HumbackConfig
from woolgather.recipes.isheep import Config as IsheepConfig
from woolgather.recipes.spin import Config as SpinConfig

C = TypeVar("C", bound=Options)


class Config(Options):
    """Settings of the chain; those of a method are below its name: spin.iterations=1."""

    base: str | Model = ""
    """Base model: a folder, `repo[@revision]` on the hub, or `embedded`."""
    seeds: str = ""
    """File of answered tasks, for all three; empty takes ours."""
    texts: str = ""
    """Texts without instructions, for Humback; empty takes ours."""
    humback: HumbackConfig = HumbackConfig(iterations=1)
    """One round makes M1."""
    spin: SpinConfig = SpinConfig(iterations=1)
    isheep: IsheepConfig = IsheepConfig(iterations=1)


def recipe(run: Scope, cfg: Config) -> Model:
    """Each method starts from the model that the one before handed over."""

    def start(method: C, model: Model, **more: Any) -> C:
        """Returns the settings of `method` with `model` as its base."""
        return method.model_copy(update={"base": model, "seeds": cfg.seeds, **more})

    base = run.model("base", cfg.base)
    m1 = humback.recipe(run.scope("humback"), start(cfg.humback, base, texts=cfg.texts))
    played = spin.recipe(run.scope("spin"), start(cfg.spin, m1))
    last = isheep.recipe(run.scope("isheep"), start(cfg.isheep, played))
    card = {"method": "instruction backtranslation, then SPIN, then I-SHEEP"}
    return run.step("result", merge, last, trainer=run.trainer(), card=card)
