"""A judge that is neither the writer nor the base: who is asked what, in every recipe that judges."""

from __future__ import annotations

from pathlib import Path

import pytest
from dry import Dry, steps

from woolgather.core.errors import ConfigError
from woolgather.models.open import open_model
from woolgather.recipes import config
from woolgather.runs.record import StepRecord

JUDGE = "fake-judge"
ASKED = {
    "isheep": {"iter0/audition", "iter0/assess"},
    "humback": {"iter0/audition", "iter0/assess"},
    "dromedary": {"adherence/audition", "adherence/judge"},
}
SELECTS = ("isheep", "humback")
"""Where it decides what is trained on."""
SMALL = {
    "isheep": ["iterations=1", "per_iteration=12"],
    "humback": ["iterations=1", "rewrite=true", "keep.by=all"],
    "dromedary": ["adherence.sample=8", "pool.limit=24"],
}


def dry(recipe: str) -> Dry:
    base = ["base=fake", "measure.probes=55", "measure.calibration=12", "judge.pairs=24"]
    return Dry(config.find_recipe(recipe), [*base, "controls=false", *SMALL[recipe]])


def asks(record: StepRecord, name: str) -> bool:
    return open_model(name).fingerprint in str(record.payload)


@pytest.mark.parametrize("recipe", list(ASKED))
def test_it_rates_writes_nothing_and_is_no_judge_of_its_own_choice(
    recipe: str, tmp_path: Path
) -> None:
    wins = [f"measure.win_judge={JUDGE}"] if recipe in SELECTS else []
    folder = dry(recipe).finished(tmp_path / "run", f"judge_model={JUDGE}", *wins)
    made = steps(folder)
    found = {name for name, (_, record) in made.items() if asks(record, JUDGE)}
    assert {name for name in found if not name.startswith("win-rate/")} == ASKED[recipe]
    told = made["summary"][1].shown()[0].note
    assert ("this judge selected training data" in told) == bool(wins)
    again = dry(recipe).planned(folder, f"judge_model={JUDGE}", *wins)
    assert {state for state, _ in again.values()} == {"remembered"}
    for other in ("fake-other", "base"):
        plan = dry(recipe).planned(folder, f"judge_model={other}")
        assert {s for s, (_, why) in plan.items() if "args.engine" in why} == ASKED[recipe]


def test_spin_judges_nothing() -> None:
    with pytest.raises(ConfigError, match="there is no setting 'judge_model'"):
        config.build(config.find_recipe("spin").Config, "spin", overrides=["judge_model=fake"])
