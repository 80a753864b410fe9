"""Tasks with a check beside those that a model wrote."""

from __future__ import annotations

from woolgather.core.rows import Example, question
from woolgather.ops.generate.practice import Practice, add_practice
from woolgather.probes import families_of, family_of, generate, task_of
from woolgather.probes.checks import passes_strictly, validate


def test_they_come_behind_the_tasks_from_families_for_training_alone() -> None:
    own = [Example(instruction="Say hello.", id="t0")]
    rows = list(add_practice(own, how=Practice(tasks=40), seed=5))
    assert rows[0] == own[0]
    assert len(rows) == 41
    families = {family_of(row.id) for row in rows[1:]}
    assert families == set(families_of("train"))
    assert not families & {*families_of("report"), *families_of("select")}
    for row in rows[1:]:
        validate(row.meta["check"])
    assert rows == list(add_practice(own, how=Practice(tasks=40), seed=5))


def test_a_tier_and_another_seed() -> None:
    easy = list(add_practice([], how=Practice(tasks=20, tier="easy"), seed=1))
    assert {family_of(row.id) for row in easy} == set(families_of("train", "easy"))
    other = list(add_practice([], how=Practice(tasks=20, tier="easy"), seed=2))
    assert len({row.instruction for row in easy} & {row.instruction for row in other}) < 15


def test_a_known_answer_passes_as_it_stands_and_one_three_times_as_long_does_not() -> None:
    rows = list(add_practice([], how=Practice(tasks=290), seed=3))
    known = {question(task_of(p)): p.reference for p in generate(290, 3, "train")}
    for row in rows:
        right, check = known[question(row)], row.meta["check"]
        assert passes_strictly(right, check), row
        long = " ".join([right, *["and so on"] * (1 + len(right.split()))])
        assert not passes_strictly(long, check), row
