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
def test_it_rates_and_writes_nothing(recipe: str, tmp_path: Path) -> None:
    folder = dry(recipe).finished(tmp_path / "run", f"judge_model={JUDGE}")
    found = {name for name, (_, record) in steps(folder).items() if asks(record, JUDGE)}
    assert found == ASKED[recipe]
    again = dry(recipe).planned(folder, f"judge_model={JUDGE}")
    assert {state for state, _ in again.values()} == {"remembered"}
    for other in ("fake-other", "base"):
        plan = dry(recipe).planned(folder, f"judge_model={other}")
        assert {s for s, (_, why) in plan.items() if "args.engine" in why} == ASKED[recipe]


@pytest.mark.parametrize("recipe", ["isheep", "humback"])
def test_who_selected_data_does_not_measure_the_win_rate(recipe: str, tmp_path: Path) -> None:
    """The judge of the data would rate its own choice; another one may."""
    folder = dry(recipe).finished(
        tmp_path / "run", f"judge_model={JUDGE}", f"measure.win_judge={JUDGE}"
    )
    told = steps(folder)["summary"][1].shown()[0].note
    assert "this judge selected training data" in told


def test_spin_judges_nothing() -> None:
    with pytest.raises(ConfigError, match="there is no setting 'judge_model'"):
        config.build(config.find_recipe("spin").Config, "spin", overrides=["judge_model=fake"])
