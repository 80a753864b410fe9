"""The probes that select, those that report and those that train are of different families, wherever
they are asked; and the base fixes once how hard those that select are."""

from __future__ import annotations

import pytest

from woolgather.core.errors import ConfigError
from woolgather.core.rows import question
from woolgather.engines.fake import FakeEngine
from woolgather.ops.judge.audition_pairs import SampledAnswers, sample_pairs
from woolgather.ops.measure.evaluate import EvaluationOptions, evaluate
from woolgather.ops.measure.probe_sets import (
    CALIBRATION,
    EACH,
    choose_tier,
    count_listed,
    expect_visible,
    list_probes,
    probe_sets,
)
from woolgather.probes import TIERS, families_of, family_of, generate, task_of, tier_of

SHOTS = [task_of(probe) for probe in generate(2, 9, "train")]


def answering(*tiers: str) -> FakeEngine:
    """Right on the calibration probes of these tiers."""
    right = {
        question(task_of(p)): p.reference
        for tier in TIERS
        if tier in tiers
        for p in generate(8, CALIBRATION, "select", tier)
    }

    def answer(prompt: str, _: object) -> str:
        return next((text for asked, text in right.items() if asked in prompt), "zzz")

    return FakeEngine(answer=answer)


def test_no_family_is_used_for_two_things() -> None:
    """By what is asked: a model is measured, and a judge writes answers for its audition."""
    how = EvaluationOptions(probes=60, likelihood=False)
    items = evaluate([], FakeEngine(["x"]), how=how).items
    asked = {
        key: {family_of(name) for name in items[f"probes:{key}"]} for key in ("select", "report")
    }
    judged: set[str] = set()
    prompts = {question(task_of(p)): p.family for s in ("train",) for p in generate(400, 0, s)}

    def note(prompt: str, _: object) -> str:
        judged.update(family for text, family in prompts.items() if text in prompt)
        return "x"

    judge = FakeEngine(answer=note)
    sample_pairs(judge, 40, SampledAnswers(samples=1), limit=9, shots=[], seed=0)
    assert not asked["select"] & asked["report"]
    assert judge.calls == 40
    assert not judged & (asked["select"] | asked["report"])
    assert all(families_of(purpose) for purpose in ("report", "select", "train"))


def test_those_that_select_are_bounded_by_their_families() -> None:
    sets = probe_sets(2400, 1, "hard")
    assert len(sets["report"]) == 2400
    assert len(sets["select"]) == EACH * len(families_of("select", "hard"))
    assert {tier_of(p.family) for p in sets["select"]} == {"hard"}
    assert probe_sets(0, 1) == {}


@pytest.mark.parametrize("tier", [None, *TIERS])
def test_what_is_listed_holds_all_that_is_asked(tier: str | None) -> None:
    listed = {question(row) for row in list_probes(reporting=count_listed(600), probe_seed=3)}
    for n in (43, 600):
        for probes in probe_sets(n, 3, tier).values():  # type: ignore[arg-type]
            assert {question(task_of(p)) for p in probes} <= listed
    assert count_listed(11) == count_listed(2400) < count_listed(3000) == 3000


@pytest.mark.parametrize(
    ("right", "tier", "told"),
    [
        (("easy",), "easy", "easy 100 %, middle 0 %, hard 0 %; none is between 20% and 80%"),
        (("easy", "middle", "hard"), "easy", "none is between"),
        ((), "easy", "passes easy 0 %"),
    ],
)
def test_the_tier_nearest_to_a_half_selects(right: tuple[str, ...], tier: str, told: str) -> None:
    choice = choose_tier(SHOTS, answering(*right), probes=24)
    assert choice.value == tier
    assert told in choice.why
    assert choice.why.startswith("the base, shown 2 answered tasks, passes easy")


def test_a_tier_with_room_is_chosen_before_others() -> None:
    """All of the easy ones, half of the middle ones, none of the hard ones."""
    easy, middle = (generate(8, CALIBRATION, "select", tier) for tier in TIERS[:2])
    right = {question(task_of(p)): p.reference for p in (*easy, *middle[::2])}
    engine = FakeEngine(
        answer=lambda prompt, _: next((a for q, a in right.items() if q in prompt), "zzz")
    )
    choice = choose_tier(SHOTS, engine, probes=24)
    assert choice.value == "middle"
    assert "none is between" not in choice.why
    names = [row[0] for row in choice.views[0].data["rows"]]
    assert names == ["easy", "middle ← selects", "hard"]


def test_calibration_asks_a_third_of_each_tier_and_needs_one_at_least() -> None:
    engine = FakeEngine(["x"])
    choose_tier(SHOTS, engine, probes=24)
    assert engine.calls == 24
    with pytest.raises(ConfigError, match=r"such as measure\.tier=easy"):
        choose_tier(SHOTS, engine, probes=2)


def test_calibration_probes_are_no_runs() -> None:
    assert CALIBRATION > 1_000_000
    own = {question(task_of(p)) for p in generate(48, CALIBRATION, "select")}
    selecting = {question(task_of(p)) for p in generate(600, 1, "select")}
    assert len(own & selecting) <= 5


def test_more_probes_see_less_and_families_bound_it() -> None:
    seen = [expect_visible(n) for n in (43, 110, 300, 600, 2400)]
    assert seen == sorted(seen, reverse=True)
    assert expect_visible(9600) > 0.02
