"""What servers answer, in the shapes that they give it, against a real process."""

from __future__ import annotations

from dataclasses import replace

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError, EngineError
from woolgather.engines.base import Completion, EngineOptions, Request, Sampling, ask
from woolgather.engines.openai.engine import OpenAIEngine
from woolgather.prompting.messages import Message

from ..serving import QUICK, requests

TALK = Request((Message("user", "hello"),), Sampling())
ANSWER = "Rivers run to the sea."


def said(content, **more):
    return {"message": {"role": "assistant", "content": content, **more}}


@pytest.mark.parametrize(("choice", "expected"), [
    (said(f"<think>\nThe user asks.\n</think>\n\n{ANSWER}"), (ANSWER, "stop", "The user asks.")),
    (said(f"The user asks.\n</think>\n\n{ANSWER}"), (ANSWER, "stop", "The user asks.")),
    (said(ANSWER, reasoning_content="The user asks."), (ANSWER, "stop", "The user asks.")),
    (said(ANSWER, reasoning="The user", reasoning_content=None), (ANSWER, "stop", "The user")),
    (said(ANSWER, reasoning="Once.", reasoning_content="Once."), (ANSWER, "stop", "Once.")),
    (said([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
           {"type": "text", "text": ANSWER}]), (ANSWER, "stop", "hm")),
    (said([{"type": "text", "text": "Rivers run "}, {"type": "text", "text": "to the sea."}]),
     (ANSWER, "stop", "")),
    (said("<think>\nThe user") | {"finish_reason": "length"}, ("", "length", "The user")),
    (said("<think>\nThe user"), ("", "length", "The user")),
    (said(None, reasoning_content="The user") | {"finish_reason": "length"}, ("", "length", "The user")),
    (said(None, reasoning="The user"), ("", "length", "The user")),
    (said(None), ("", "stop", "")),
])  # fmt: skip
def test_reasoning_is_told_from_the_answer(server, engine_at, choice, expected):
    server.tell(choice=choice)
    ((_, found),) = engine_at(server.url).complete([TALK])
    assert (found.text, found.finish_reason, found.reasoning) == expected


def test_reasoning_in_raw_text_is_told_from_the_answer_too(server, engine_at):
    server.tell(text=f"<think>hm</think>\n{ANSWER}")
    ((_, found),) = engine_at(server.url).complete(requests(1))
    assert (found.text, found.reasoning) == (ANSWER, "hm")
    server.tell(text="The user asks")
    opened = Request("Say hi.\n<think>\n", Sampling())
    ((_, found),) = engine_at(server.url).complete([opened])
    assert (found.text, found.finish_reason, found.reasoning) == ("", "length", "The user asks")


def test_a_server_has_its_own_template():
    options = EngineOptions(name="openai", urls=("http://127.0.0.1:1",))
    other = Model("some/model", "f00d").with_template("{{ messages }}")
    with pytest.raises(ConfigError, match="Leave chat_template out, or use --engine transformers"):
        OpenAIEngine(other, options)
    OpenAIEngine(replace(other, prompt_format="raw"), options).close()
    OpenAIEngine(Model("some/model", "f00d").with_template("own"), options).close()


def test_template_variables_are_sent_with_every_conversation(server):
    model = Model("some/model", "f00d").with_variables({"enable_thinking": False})
    engine = OpenAIEngine(model, EngineOptions(name="openai", urls=(server.url,)), QUICK)
    begun = Request((Message("user", "a"), Message("assistant", "b")), Sampling())
    list(engine.complete([TALK, begun, *requests(1)]))
    engine.close()
    sent = [body.get("chat_template_kwargs") for body in server.bodies if "messages" in body]
    assert sent == [{"enable_thinking": False}] * 2
    assert next(b for b in server.bodies if "prompt" in b).get("chat_template_kwargs") is None


def test_template_variables_are_never_dropped_in_silence(server):
    server.tell(refuse=["chat_template_kwargs"])
    model = Model("some/model", "f00d").with_variables({"enable_thinking": False})
    engine = OpenAIEngine(model, EngineOptions(name="openai", urls=(server.url,)), QUICK)
    with pytest.raises(CapabilityError, match="Leave --chat-template-kwargs out"):
        list(engine.complete([TALK]))
    engine.close()


@pytest.mark.parametrize(("word", "meaning"), [
    ("abort", "error"), ("tool_calls", "error"), ("content_filter", "error"), ("recitation", "error"),
    ("STOP", "stop"), ("end_turn", "stop"), ("MAX_TOKENS", "length"), ("model_length", "length"),
    ({"type": "length", "length": 4}, "length"), ({"type": "stop", "matched": 2}, "stop"),
])  # fmt: skip
def test_an_unknown_word_at_the_end_is_never_success(server, engine_at, word, meaning):
    server.tell(choice={"finish_reason": word}, text="two words")
    ((_, found),) = engine_at(server.url).complete(requests(1))
    assert found.finish_reason == meaning
    assert found.why == (f"finish_reason {word}" if meaning == "error" else "")


def test_a_stop_text_that_a_server_returns_is_cut(server, engine_at):
    server.tell(text=f"{ANSWER}\n### Task\nAnother")
    for stop, reason in (("\n### ", "stop"), ("nowhere", "length")):
        server.tell(text=f"{ANSWER}\n### Task\nAnother", finish="length")
        ((_, found),) = engine_at(server.url).complete(requests(1, stop=(stop,)))
        cut = ANSWER if reason == "stop" else f"{ANSWER}\n### Task\nAnother"
        assert (found.text, found.finish_reason) == (cut, reason)


def test_a_stop_text_within_the_reasoning_ends_nothing(server, engine_at):
    server.tell(choice=said(f"<think>first\n\nsecond</think>\n\n{ANSWER}\n\nMore."))
    talk = Request(TALK.prompt, Sampling(stop=("\n\n",)))
    ((_, found),) = engine_at(server.url).complete([talk])
    assert (found.text, found.reasoning) == (ANSWER, "first\n\nsecond")


@pytest.mark.parametrize("logprobs", [
    None, {"content": None, "refusal": None}, {"content": [{"token": "a", "logprob": -0.5}]},
    {"tokens": [1, 2, 3], "token_logprobs": [-0.1] * 3, "top_logprobs": []}, [], "none",
])  # fmt: skip
@pytest.mark.parametrize("usage", [
    {"prompt_tokens": 12.5, "completion_tokens": "7"}, {"prompt_tokens": None, "completion_tokens": "?"},
    "some",
])  # fmt: skip
def test_parts_that_nobody_asked_for_are_read_leniently(server, engine_at, logprobs, usage):
    server.tell(choice={"logprobs": logprobs}, usage=usage)
    for request in (TALK, requests(1)[0]):
        ((_, found),) = engine_at(server.url).complete([request])
        assert (found.text, found.finish_reason) == (
            f"answer to {'hello' if request is TALK else 'question 0'}", "stop",
        )  # fmt: skip
        counted = (12, 7) if isinstance(usage, dict) and usage["prompt_tokens"] else (0, 0)
        assert (found.prompt_tokens, found.completion_tokens) == counted
    assert len(server.bodies) == 2


def test_log_probabilities_of_another_dialect(server, engine_at):
    entries = [
        {"token": t, "logprob": -0.25 * i} for i, t in enumerate(["The", " sky", " is", " blue"])
    ]
    server.tell(choice={"text": "The sky is blue", "logprobs": {"content": entries}},
                usage={"prompt_tokens": 4})  # fmt: skip
    (found,) = engine_at(server.url).sequence_logprobs(["The sky"], [" is blue"])
    assert found == (-1.25, 2)
    server.tell(choice={"text": " next", "logprobs": {"content": entries[:1]}})
    with pytest.raises(CapabilityError, match=r"no log-probabilities of the prompt.*rubric"):
        engine_at(server.url).sequence_logprobs(["The sky"], [" is blue"])
    assert len(server.bodies) == 1


@pytest.mark.parametrize(("reply", "names"), [
    ({"choices": [{"finish_reason": "stop"}]}, "neither `text` nor `message`"),
    ({"choices": []}, "`choices`"), ({"output": "text"}, "`choices`"), (["text"], "`choices`"),
])  # fmt: skip
def test_a_lasting_mismatch_names_the_field_and_is_not_tried_eight_times(
    server, engine_at, reply, names
):
    server.tell(whole=reply)
    with pytest.raises(EngineError, match=names):
        list(engine_at(server.url).complete(requests(1)))
    # Three for the request, and three for the greeting that shows whether any is answered.
    assert len(server.bodies) == 6


def test_a_reply_of_a_strange_shape_is_its_own_rows_affair(server, engine_at):
    server.tell(told={"question 1": {"status": 200, "body": {"choices": []}}})
    found = list(ask(engine_at(server.url), requests(3)))
    assert [c.finish_reason for c in found] == ["stop", "error", "stop"]
    assert "`choices`" in found[1].why


@pytest.mark.parametrize(("usage", "prompt", "cut"), [
    (100, "a word or two " * 400, True), (900, "a word or two " * 400, False),
    (0, "a word or two " * 400, False), (10, "a word or two " * 20, False),
    (20, " " * 8000 + "=" * 8000, False),
])  # fmt: skip
def test_a_server_that_cuts_a_prompt_in_silence_is_noticed(
    server, engine_at, caplog, usage, prompt, cut
):
    server.tell(usage={"prompt_tokens": usage, "completion_tokens": 2})
    ((_, found),) = engine_at(server.url).complete([Request(prompt, Sampling())])
    if cut:
        assert found == Completion("", "too_long", usage)
        assert f"read {usage} tokens" in found.why
        assert "Serve the model with a longer one" in caplog.text
    else:
        assert found.finish_reason == "stop"
        assert not caplog.records


def test_the_models_own_tokenizer_counts_where_it_is_at_hand(server, tiny_model):
    from transformers import AutoTokenizer

    text = "the dog sleeps and the cat runs. " * 40
    count = len(AutoTokenizer.from_pretrained(tiny_model)(text, add_special_tokens=False).input_ids)
    engine = OpenAIEngine(
        Model(str(tiny_model), "t"), EngineOptions(name="openai", urls=(server.url,)), QUICK
    )
    talk = Request((Message("user", text),), Sampling())
    for told, reason in ((count + 9, "stop"), (int(count * 0.9), "too_long")):
        server.tell(usage={"prompt_tokens": told})
        ((_, found),) = engine.complete([talk])
        assert found.finish_reason == reason
    engine.close()
