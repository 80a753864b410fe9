"""The fake engine keeps to the form that a prompt leaves open, and follows from the request alone."""

from __future__ import annotations

import pytest

from woolgather.core.rows import Example
from woolgather.engines.base import Request, Sampling, ask
from woolgather.engines.fake import FakeEngine, make_text, text_of
from woolgather.ops.generate.topics import read_topics
from woolgather.ops.judge.assessors import score_options
from woolgather.ops.judge.rubrics import curation_rubric, rubrics_of, slot_prompt
from woolgather.ops.principles.files import builtin, read_exemplars, read_principles
from woolgather.ops.principles.prompt import Guide
from woolgather.ops.principles.replies import find_principles, split_reply
from woolgather.prompting.messages import Prompt
from woolgather.prompting.templates import load

SAMPLING = Sampling(max_tokens=512)
ROWS = [Example(instruction=f"Name {i} rivers.", response=f"River {i}.") for i in range(60)]


def reply(prompt: Prompt, sampling: Sampling = SAMPLING) -> str:
    return next(ask(FakeEngine(), [Request(prompt, sampling)])).text


def test_reasoning_in_a_script_is_told_from_the_answer() -> None:
    engine = FakeEngine(["<think>one END</think>two END three"])
    found = next(ask(engine, [Request("q", Sampling(stop=(" END",)))]))
    assert (found.text, found.finish_reason, found.reasoning) == ("two", "stop", "one END")


def guide() -> Guide:
    principles = read_principles(builtin("principles", "v1"))
    exemplars = read_exemplars(builtin("exemplars", "v1"), principles)
    return Guide(load("align"), load("align-block"), principles, exemplars)


@pytest.mark.parametrize("form", ["raw", "chat"])
@pytest.mark.parametrize("style", ["full", "simple", "icl"])
def test_a_rubric_gets_its_score_first(style, form) -> None:
    for rubric in rubrics_of(style):
        prompts = [slot_prompt(rubric.template, row, form) for row in ROWS]
        scores = [rubric.score(reply(prompt)) for prompt in prompts]
        assert None not in scores
        assert len(set(scores)) > 4
        assert sum(score > 8 for score in scores if score is not None) > 15


@pytest.mark.parametrize("form", ["raw", "chat"])
def test_the_likeliest_score_is_the_one_that_it_writes(form) -> None:
    rubric = rubrics_of("full")[0]
    prompts = [slot_prompt(rubric.template, row, form) for row in ROWS]
    scores = [float(i) for i in range(1, 11)]
    for prompt, logs in zip(
        prompts, FakeEngine().option_logprobs(prompts, score_options(scores)), strict=True
    ):
        likeliest = scores[logs.index(max(logs))]
        assert rubric.score(reply(prompt, Sampling(temperature=0))) == likeliest


@pytest.mark.parametrize("form", ["raw", "chat"])
def test_a_curation_gets_reasons_and_its_score_last(form) -> None:
    rubric = curation_rubric()
    replies = [reply(slot_prompt(rubric.template, row, form)) for row in ROWS]
    scores = [rubric.score(text) for text in replies]
    assert None not in scores
    assert set(scores) == {1, 2, 3, 4, 5}
    assert all(text.count("\n") == 1 for text in replies)


@pytest.mark.parametrize("form", ["raw", "chat"])
def test_a_principled_prompt_gets_a_thought_that_names_principles_and_an_answer(form) -> None:
    how = guide()
    for row in ROWS:
        text = reply(how.prompt(row.instruction, form))
        thought, answer = split_reply(text, how.form)
        known, unknown = find_principles(thought, how.names)
        assert answer
        assert len(answer.split()) >= 24
        assert (len(known), unknown) == (2, [])


@pytest.mark.parametrize("form", ["raw", "chat"])
def test_an_answer_that_is_asked_for_is_an_answer_alone(form) -> None:
    text = reply(guide().prompt("Name a river.", form, thought="A river. Principles: candor."))
    assert "\n" not in text


def test_few_shot_blocks_get_an_answer_alone() -> None:
    shots = "".join(f"### Task\nName {i}.\n\n### Answer\nRiver {i}.\n\n" for i in range(3))
    assert "\n" not in make_text(f"{shots}### Task\nName one.\n\n### Answer\n", SAMPLING)
    assert "\n" not in make_text("Write a page.\n\n### Answer\n", SAMPLING)


def test_a_list_goes_on_with_its_numbers() -> None:
    done = next(ask(FakeEngine(), [Request("Topics\n\n1. sea\n2.", SAMPLING)]))
    assert len(read_topics(done)) >= 4
    assert "\n3. " in done.text


def test_equal_requests_have_equal_answers_in_any_order() -> None:
    prompts = [slot_prompt(rubrics_of("full")[0].template, row, "chat") for row in ROWS[:5]]
    prompts += [guide().prompt(row.instruction, "raw") for row in ROWS[:5]]
    there = [reply(prompt) for prompt in prompts]
    back = [reply(prompt) for prompt in reversed(prompts)]
    assert there == back[::-1]
    assert there == [make_text(text_of(prompt), SAMPLING) for prompt in prompts]
    assert reply(prompts[0], SAMPLING.model_copy(update={"seed": 1})) != there[0]
