"""Answers: one row a sample, parents named, unfinished ones set aside, shots shared by raw prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import pytest
from pydantic import ValidationError

from woolgather.core.artifacts import PromptFormat
from woolgather.core.errors import ConfigError
from woolgather.core.rows import Example
from woolgather.engines.base import Completion, Request, Sampling
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.ops.generate.respond import Responding, fixed_shots, respond
from woolgather.prompting.templates import Template, load

TASKS = [Example(id=f"t{i}", instruction=f"Name a bird {i}") for i in range(3)]
SHOTS = [Example(instruction="Name a fish", response="A trout.")]
TWICE = Responding(sampling=Sampling(), samples=2)


def raw_engine(
    prompts: list[str], reply: str = "A wren.", form: PromptFormat = "raw"
) -> FakeEngine:
    def answer(prompt: str, sampling: Sampling) -> str:
        prompts.append(prompt)
        return reply

    return FakeEngine(answer=answer, model=replace(FAKE_MODEL, prompt_format=form))


def test_each_sample_is_a_row_of_its_own_task() -> None:
    rows = list(respond(TASKS, FakeEngine(), how=TWICE, seed=1))
    assert [row.parents for row in rows] == [("t0",), ("t0",), ("t1",), ("t1",), ("t2",), ("t2",)]
    assert [row.meta["sample"] for row in rows] == [0, 1] * 3
    assert rows[0].response != rows[1].response
    again = list(respond(TASKS, FakeEngine(), how=TWICE, seed=1))
    other = list(respond(TASKS, FakeEngine(), how=TWICE, seed=2))
    assert rows == again
    assert rows != other


def test_unfinished_rows_are_set_aside_unless_asked() -> None:
    engine = FakeEngine(["one two three four"])
    short = Sampling(max_tokens=2)
    assert {r.set_aside for r in respond(TASKS, engine, how=Responding(sampling=short))} == {
        "unfinished"
    }
    rows = list(respond(TASKS, engine, how=Responding(sampling=short, unfinished="keep")))
    assert {r.set_aside for r in rows} == {None}
    assert {r.finish_reason for r in rows} == {"length"}


def test_shots_stand_before_a_raw_prompt_and_stop_the_next_block() -> None:
    prompts: list[str] = []
    engine = raw_engine(prompts, "A wren.\n### Task\nName a tree")
    rows = list(respond(TASKS, engine, shots=SHOTS))
    assert all("A trout." in p and p.index("fish") < p.index("bird") for p in prompts)
    assert {row.response for row in rows} == {"A wren."}
    zero: list[str] = []
    list(respond(TASKS[:1], raw_engine(zero)))
    assert zero == ["Name a bird 0\n"]


def test_blocks_without_shots_end_at_any_heading_and_with_shots_at_their_own() -> None:
    prompts: list[str] = []
    engine = raw_engine(prompts, "A wren.\n### Note\nSmall.\n### Task\nNext", "blocks")
    assert {row.response for row in respond(TASKS[:1], engine)} == {"A wren."}
    assert prompts == ["### Task\nName a bird 0\n\n### Answer\n"]
    with_shots = respond(TASKS[:1], engine, shots=SHOTS)
    assert {row.response for row in with_shots} == {"A wren.\n### Note\nSmall."}
    block = Template("b", "Q: {{question}}\nA: {{ response }}")
    list(respond(TASKS[:1], engine, template=block))
    assert prompts[-1] == "Q: Name a bird 0\nA: "


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


def test_a_template_words_the_blocks_and_where_they_stop() -> None:
    prompts: list[str] = []
    block = Template("b", "Q: {{question}}\nA: {{ response }}")
    engine = raw_engine(prompts, "A wren.\nQ: next")
    rows = list(respond(TASKS[:1], engine, shots=SHOTS, template=block))
    assert prompts == ["Q: Name a fish\nA: A trout.\n\nQ: Name a bird 0\nA: "]
    assert rows[0].response == "A wren."


def test_the_house_block_is_our_template() -> None:
    with_template: list[str] = []
    without: list[str] = []
    block = load("respond-block")
    list(respond(TASKS, raw_engine(with_template), shots=SHOTS, template=block))
    list(respond(TASKS, raw_engine(without), shots=SHOTS))
    assert with_template == without


@pytest.mark.parametrize(
    "text", ["A: {{response}} Q: {{question}}", "Q: {{question}}", "{{question}} {{response}}"]
)
def test_a_block_that_cannot_work_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="template b: a block needs"):
        list(respond(TASKS, raw_engine([]), template=Template("b", text)))


def test_headings_in_an_answer_to_a_raw_prompt_survive() -> None:
    engine = raw_engine([], "Intro\n### History\nOld.")
    rows = list(respond(TASKS[:1], engine, shots=SHOTS))
    assert rows[0].response == "Intro\n### History\nOld."


def test_prompts_that_fail_have_reasons_and_no_verdicts() -> None:
    class Failing(FakeEngine):
        def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
            for i, _ in enumerate(requests):
                yield i, Completion("", "too_long" if i == 0 else "error")

    rows = list(respond(TASKS[:2], Failing()))
    assert [r.set_aside for r in rows] == ["prompt_too_long", "engine_error"]
    assert [r.finish_reason for r in rows] == [None, None]


def test_tasks_are_read_as_answers_are_taken() -> None:
    read: list[int] = []

    def tasks() -> Iterator[Example]:
        for i in range(100):
            read.append(i)
            yield Example(id=str(i), instruction=f"Name a bird {i}")

    op = respond(tasks(), FakeEngine())
    assert next(op).meta["prompt_id"] == "0"
    assert len(read) == 1


def test_a_system_turn_is_sent_unless_the_task_has_its_own() -> None:
    prompts: list[str] = []
    engine = FakeEngine(answer=lambda p, _: prompts.append(p) or "ok")
    tasks = [TASKS[0], replace(TASKS[1], system="Be kind.")]
    rows = list(respond(tasks, engine, system="Be brief."))
    assert [p.split("\n")[0] for p in prompts] == ["system: Be brief.", "system: Be kind."]
    assert [r.system for r in rows] == ["Be brief.", "Be kind."]
    with pytest.raises(ValidationError, match=r"samples\n.*greater than or equal to 1"):
        Responding(samples=0)


def test_shots_that_are_redrawn_differ_by_task_and_not_by_sample() -> None:
    prompts: list[str] = []
    pool = [Example(instruction=f"Name a fish {i}", response=f"A trout {i}.") for i in range(30)]
    how = Responding(samples=2, redrawn=3)
    rows = list(respond(TASKS, raw_engine(prompts), how=how, shots=pool, seed=4))
    assert len(rows) == len(prompts) == 6
    assert {p.count("### Task") for p in prompts} == {4}
    assert len(set(prompts)) == 3
    again: list[str] = []
    list(respond(TASKS[::-1], raw_engine(again), how=how, shots=pool, seed=4))
    assert set(again) == set(prompts)
    assert Responding().unused == {"redrawn"}
