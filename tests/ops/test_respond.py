"""Answers: one row a sample, parents named, unfinished ones set aside, shots shared by raw prompts."""

from __future__ import annotations

from dataclasses import replace

from woolgather.engines.base import Sampling
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.ops.respond import fixed_shots, respond
from woolgather.records import Example

TASKS = [Example(id=f"t{i}", instruction=f"Name a bird {i}") for i in range(3)]
SHOTS = [Example(instruction="Name a fish", response="A trout.")]


def raw_engine(prompts: list[str], reply: str = "A wren.") -> FakeEngine:
    def answer(prompt: str, sampling: Sampling) -> str:
        prompts.append(prompt)
        return reply

    return FakeEngine(answer=answer, model=replace(FAKE_MODEL, prompt_format="raw"))


def test_each_sample_is_a_row_of_its_own_task() -> None:
    rows = list(respond(TASKS, FakeEngine(), sampling=Sampling(), n=2, seed=1))
    assert [row.parents for row in rows] == [("t0",), ("t0",), ("t1",), ("t1",), ("t2",), ("t2",)]
    assert [row.meta["sample"] for row in rows] == [0, 1] * 3
    assert rows[0].response != rows[1].response
    again = list(respond(TASKS, FakeEngine(), sampling=Sampling(), n=2, seed=1))
    other = list(respond(TASKS, FakeEngine(), sampling=Sampling(), n=2, seed=2))
    assert rows == again
    assert rows != other


def test_unfinished_rows_are_set_aside_unless_asked() -> None:
    engine = FakeEngine(["one two three four"])
    short = Sampling(max_tokens=2)
    assert {r.set_aside for r in respond(TASKS, engine, sampling=short)} == {"unfinished"}
    rows = list(respond(TASKS, engine, sampling=short, unfinished="keep"))
    assert {r.set_aside for r in rows} == {None}
    assert {r.finish_reason for r in rows} == {"length"}


def test_shots_stand_before_a_raw_prompt_and_stop_the_next_block() -> None:
    prompts: list[str] = []
    engine = raw_engine(prompts, "A wren.\n### Task\nName a tree")
    rows = list(respond(TASKS, engine, sampling=Sampling(), shots=SHOTS))
    assert all("A trout." in p and p.index("fish") < p.index("bird") for p in prompts)
    assert {row.response for row in rows} == {"A wren."}
    zero: list[str] = []
    list(respond(TASKS[:1], raw_engine(zero), sampling=Sampling()))
    assert zero == ["Name a bird 0\n"]


def test_shots_are_of_the_right_length_one_a_category() -> None:
    seeds = [
        Example(instruction=f"i{i}", response="word " * n, meta={"category": c})
        for i, (n, c) in enumerate(
            [(5, "a"), (30, "a"), (40, "a"), (50, "b"), (200, "c"), (60, "d")]
        )
    ]
    shots = list(fixed_shots(seeds, k=3, seed=0))
    assert {s.meta["category"] for s in shots} == {"a", "b", "d"}
    assert all(20 <= len(s.response.split()) <= 120 for s in shots)
    assert shots == list(fixed_shots(seeds, k=3, seed=0))
