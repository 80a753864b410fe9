"""What a headroom advises: the command that follows from it, with the time it takes here.

The one idea: advice is a command that may be given as it stands, and its time is that of its plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from woolgather.api.launch import AskedSettings, Launch
from woolgather.core.rows import JSON
from woolgather.engines.base import EngineOptions
from woolgather.ops.measure.headroom import MAJORITY, find_best

SHARED = ("base", "seeds", "chat_template")
AGREE = (
    "iterations=2", "per_iteration=200", "practice.tasks=[0,600]", "respond.samples=8",
    "respond.redrawn=5", "respond.sampling.temperature=0.8", "agreement={}", "mix.one_per_prompt=false",
)  # fmt: skip
"""Settings of I-SHEEP that choose among samples by checks and agreement. Practice begins with what the
first round tuned, which passes several times as many tasks as a base does (docs/studies/default.md)."""


def advise_settings(values: Mapping[str, JSON]) -> tuple[str, ...]:
    """Returns settings of I-SHEEP for the values of a headroom; none where no headroom was seen."""
    if values["room"]["low"] <= 0:
        return ()
    best = find_best(values["gains"], values["picks"])
    if best in (None, MAJORITY):
        return AGREE
    return (
        "iterations=1",
        "per_iteration=200",
        "respond.samples=8",
        f"judge.assessor={best}",
        "keep.by=best_of_n",
    )


def advise(
    values: Mapping[str, JSON], given: Sequence[str], engine: EngineOptions
) -> tuple[str, float] | None:
    """Returns the command that follows from a headroom, and the seconds that it takes at most; None
    where no headroom was seen. `given` are the settings that the headroom had; those of the base and the
    seeds go on."""
    settings = advise_settings(values)
    if not settings:
        return None
    texts = [text for text in given if text.partition("=")[0] in SHARED]
    texts += settings
    launch = Launch("isheep", AskedSettings(texts=texts), engine=engine)
    _, total = launch.plan()
    words = " ".join(f"'{text}'" if set("{[") & set(text) else text for text in texts)
    return f"woolgather run isheep {words}", total["seconds"]
