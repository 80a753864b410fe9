"""Prompts as token ids: found out by a probe, once per server; and as text where ids are not taken."""

from __future__ import annotations

from typing import Any

import pytest

from woolgather.core.errors import CapabilityError, ConfigError, InputError
from woolgather.engines.base import Completion, Request, Sampling
from woolgather.engines.openai.engine import OpenAIEngine
from woolgather.engines.openai.token_ids import SHOWN
from woolgather.prompting.messages import Message
from woolgather.prompting.renderer import Renderer

from ..serving import MODEL, texts

TALK = (Message("user", "Is it a dog?"),)
BEGUN = (*TALK, Message("assistant", "Score:"))


def answers(engine: OpenAIEngine, *prompts: Any) -> list[Completion]:
    asked = [Request(prompt, Sampling(max_tokens=9)) for prompt in prompts]
    return [completion for _, completion in sorted(engine.complete(asked))]


def test_template_and_tokens_are_ours_where_a_server_takes_ids(
    server, engine_at, model, ours, vocabulary, caplog
):
    server.tell(vocabulary=vocabulary, text="yes")
    engine = engine_at(server.url, model=model)
    found = answers(engine, TALK, BEGUN, "The dog")
    assert [c.text for c in found] == ["yes"] * 3
    shown, shown_in_ids, *asked = server.stats["requests"]
    assert {r["path"] for r in (shown, shown_in_ids, *asked)} == {"/v1/completions"}
    assert shown["body"]["prompt"] == SHOWN
    assert shown_in_ids["body"]["prompt"] == ours.prompt_ids(SHOWN, "raw")
    wanted = [ours.prompt_ids(p) for p in (TALK, BEGUN, "The dog")]
    assert sorted(r["body"]["prompt"] for r in asked) == sorted(wanted)
    assert {tuple(r["body"]["stop_token_ids"]) for r in asked} == {ours.end_ids}
    assert [c.prompt_tokens for c in found] == [*map(len, wanted)]
    answers(engine, TALK)
    assert len(server.bodies) == 6
    assert engine.served[0]["prompts"] == "token ids"
    assert engine.read_tokens([TALK]).prompts == [ours.prompt_ids(TALK)]
    assert not caplog.records


@pytest.mark.parametrize(("behaviour", "why"), [
    ({}, "it reads text"), ({"ids_status": 500}, "it reads text"), ({"ids_status": 422}, "it reads text"),
    ({"usage": {"prompt_tokens": 0}}, "does not say how many tokens"),
    ({"counts": 2}, "Is it the same model"),
])  # fmt: skip
def test_text_is_asked_where_ids_are_not_taken_and_that_is_told(
    server, engine_at, model, vocabulary, caplog, behaviour, why
):
    taken = {"vocabulary": vocabulary} if {"usage", "counts"} & set(behaviour) else {}
    server.tell(text="yes", **taken, **behaviour)
    engine = engine_at(server.url, model=model)
    assert [c.text for c in answers(engine, TALK, "The dog")] == ["yes", "yes"]
    raw = [b["prompt"] for b in server.bodies if isinstance(b.get("prompt"), str)]
    assert raw == [SHOWN, "The dog"]
    assert [b["messages"][0]["content"] for b in server.bodies if "messages" in b] == [
        "Is it a dog?"
    ]
    assert caplog.text.count("takes no token ids") == 1
    assert why in caplog.text
    assert engine.served[0]["prompts"] == "text"
    with pytest.raises(CapabilityError, match="gives no token ids"):
        engine.read_tokens([TALK])


def test_a_start_token_that_the_server_adds_to_text_alone_is_no_difference(
    server, engine_at, model, vocabulary
):
    server.tell(vocabulary=vocabulary, counts=1)
    engine = engine_at(server.url, model=model)
    answers(engine, TALK)
    assert engine.served[0]["prompts"] == "token ids"


def test_a_server_of_conversations_alone_is_asked_in_them(server, engine_at, model, caplog):
    server.tell(paths=["/chat/completions", "/models"], text="yes")
    assert [c.text for c in answers(engine_at(server.url, model=model), TALK)] == ["yes"]
    assert "it takes no text either" in caplog.text


def test_a_probe_that_fails_for_the_time_being_is_made_again(server, engine_at, model, vocabulary):
    server.tell(vocabulary=vocabulary, text="yes", faults=["503", "ok", "reset", "429:0"])
    engine = engine_at(server.url, model=model)
    assert [c.text for c in answers(engine, TALK)] == ["yes"]
    assert engine.served[0]["prompts"] == "token ids"


def test_of_two_servers_each_is_asked_as_it_takes_it(server, second, engine_at, model, vocabulary):
    server.tell(vocabulary=vocabulary, delay=0.05)
    second.tell(delay=0.05)
    engine = engine_at(server.url, second.url, model=model)
    assert len(answers(engine, *[f"dog {i}" for i in range(30)])) == 30
    assert all(isinstance(b["prompt"], list) for b in server.bodies[1:])
    assert all(isinstance(b["prompt"], str) for b in second.bodies[2:])
    assert min(len(server.bodies), len(second.bodies)) > 5


def test_a_chosen_template_is_used_where_ids_are_taken_and_an_error_elsewhere(
    server, engine_at, model, vocabulary
):
    chosen = model.with_template("{% for m in messages %}[{{ m['content'] }}]{% endfor %}")
    server.tell(vocabulary=vocabulary)
    answers(engine_at(server.url, model=chosen), TALK)
    assert server.bodies[-1]["prompt"] == Renderer.of(chosen).prompt_ids(TALK)
    server.tell()
    with pytest.raises(ConfigError, match="Leave chat_template out, or use --engine transformers"):
        answers(engine_at(server.url, model=chosen), TALK)


def test_what_cannot_be_rendered_is_an_error_of_the_input(server, engine_at, model, vocabulary):
    server.tell(vocabulary=vocabulary)
    with pytest.raises(InputError, match="without a message"):
        answers(engine_at(server.url, model=model), ())


def test_a_prompt_without_room_is_not_sent_and_an_answer_asks_for_the_room_there_is(
    server, engine_at, model, ours, vocabulary
):
    length = len(ours.prompt_ids("The dog"))
    for context, reason in ((length, "too_long"), (length + 3, "stop")):
        server.tell(vocabulary=vocabulary, cards={"tiny": {"max_model_len": context}})
        (found,) = answers(engine_at(server.url, model=model), "The dog")
        assert (found.finish_reason, found.prompt_tokens) == (reason, length)
    assert server.bodies[-1]["max_tokens"] == 3


def test_a_server_that_reads_a_part_of_the_ids_is_noticed(
    server, engine_at, model, ours, vocabulary
):
    engine = engine_at(server.url, model=model)
    server.tell(vocabulary=vocabulary)
    answers(engine, "The dog")
    told = len(ours.prompt_ids("The dog")) - 1
    server.tell(vocabulary=vocabulary, usage={"prompt_tokens": told})
    (found,) = answers(engine, "The dog")
    assert (found.finish_reason, found.prompt_tokens) == ("too_long", told)


def test_a_model_that_only_its_server_has_is_not_probed(server, engine_at):
    engine = engine_at(server.url, model=MODEL)
    assert texts(engine.complete([Request("a", Sampling())])) == {0: "answer to a"}
    assert len(server.bodies) == 1
    assert "prompts" not in engine.served[0]
