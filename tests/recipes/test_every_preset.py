"""Every preset of every recipe passes the dry run, small, with rows of the machine's own kept in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from dry import Dry, steps

from woolgather.core.storage import read_rows
from woolgather.recipes import config

EVERY = [(recipe, preset) for recipe in config.RECIPES for preset in config.presets(recipe)]
SMALL = {
    "isheep": [
        "iterations=2", "per_iteration=40", "judge.pairs=8", "judge.probes=0",
        "sft.max_updates=2",
    ],
    "humback": [
        "text.min_chars=100", "text.limit=30", "judge.pairs=8", "judge.probes=0",
    ],
    "dromedary": [
        "tasks=8", "questions.n=8", "topics.rounds=1", "topics.calls=1", "pool.limit=16",
        "judge.pairs=8", "judge.probes=0", "adherence.sample=4", "teacher.probes=11",
    ],
    "spin": ["pairs.max_prompts=16", "iterations=2", "window=2"],
}  # fmt: skip
"""Numbers alone: what is asked, read, kept and trained on is the preset's."""
KEPT = {
    "isheep": ["iter0/keep", "iter1/keep"],
    "humback": ["iter0/keep", "iter1/keep"],
    "dromedary": ["engrave/align", "engrave/rules"],
    "spin": ["iter0/pairs", "iter1/pairs"],
}
"""Steps that decide what is trained on."""


def kept_rows(place: Path) -> int:
    """Rows that a step did not set aside."""
    return sum(row.set_aside is None for row in read_rows(place))


@pytest.mark.parametrize(("recipe", "preset"), EVERY)
def test_it_ends_with_rows_kept(tmp_path: Path, recipe: str, preset: str) -> None:
    dry = Dry(config.find_recipe(recipe), ["base=fake", "measure.probes=11", *SMALL[recipe]])
    with dry.opened(tmp_path / "run") as run:
        dry.module.recipe(run, dry.built(preset=preset))
    found = steps(tmp_path / "run")
    deciding = [step for step in KEPT[recipe] if step in found]
    assert deciding[0] == KEPT[recipe][0]
    for step in deciding:
        assert kept_rows(found[step][0]) >= 8, step
    assert "result" in found
