"""What the engine sends to a server and how it reads what comes back, against a real process."""

import sys
from dataclasses import replace

import pytest

from woolgather.core.errors import CapabilityError
from woolgather.engines.base import Completion, Engine, Request, Sampling
from woolgather.prompting.messages import Message

from ..serving import MODEL, PROGRAM, requests, texts


def test_what_is_sent(server, engine_at):
    full = Sampling(
        temperature=0.5,
        top_p=0.9,
        top_k=7,
        max_tokens=11,
        stop=("END",),
        repetition_penalty=1.1,
        seed=3,
    )
    talk = (Message("system", "be brief"), Message("user", "hello"))
    asked = [Request("plain", Sampling()), Request(talk, full)]
    assert len(list(engine_at(server.url).complete(asked))) == 2
    by_path = {r["path"]: r["body"] for r in server.stats["requests"]}
    assert by_path == {
        "/v1/completions": {
            "model": "tiny",
            "prompt": "plain",
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "max_tokens": 256,
            "seed": 0,
        },
        "/v1/chat/completions": {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": "hello"},
            ],
            "temperature": 0.5,
            "top_p": 0.9,
            "max_tokens": 11,
            "stop": ["END"],
            "seed": 3,
            "top_k": 7,
            "min_p": 0.0,
            "repetition_penalty": 1.1,
        },
    }


def test_chatml_is_a_text_whatever_the_servers_template(server, engine_at):
    talk = (Message("user", "hi"), Message("assistant", "Score:"))
    text = "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nScore:"
    engine = engine_at(server.url, model=replace(MODEL, prompt_format="chatml"))
    server.tell(text=" 7<|im_end|>\n<|im_start|>user")
    ((_, completion),) = engine.complete([Request(talk, Sampling(stop=("END",)))])
    assert (completion.text, completion.finish_reason) == (" 7", "stop")
    (asked,) = server.stats["requests"]
    assert asked["path"] == "/v1/completions"
    assert asked["body"]["prompt"] == text
    assert asked["body"]["stop"] == ["END", "<|im_end|>"]
    server.tell(text=None)
    as_text = engine_at(server.url).sequence_logprobs([text], [" 7"])
    assert engine.sequence_logprobs([talk], [" 7"]) == as_text


PREFILL = (Message("user", "count"), Message("assistant", "one, two,"))


def test_a_last_assistant_turn_is_continued(server, engine_at):
    list(engine_at(server.url).complete([Request(PREFILL, Sampling())]))
    (body,) = server.bodies
    assert body["continue_final_message"] is True
    assert body["add_generation_prompt"] is False
    assert body["messages"][-1] == {"role": "assistant", "content": "one, two,"}


def test_a_server_that_does_not_know_the_extra_fields_is_asked_without(server, engine_at):
    server.tell(refuse=["continue_final_message", "add_generation_prompt", "max_tokens"])
    engine = engine_at(server.url)
    for _ in range(2):
        list(engine.complete([Request(PREFILL, Sampling(max_tokens=9))]))
    last, before = server.bodies[-1], server.bodies[-2]
    assert last == before
    assert len(server.bodies) == 5
    assert last["max_completion_tokens"] == 9
    assert not {"continue_final_message", "add_generation_prompt", "max_tokens"} & set(last)


@pytest.mark.parametrize("name", ["trigram_penalty", "quadgram_penalty"])
def test_a_penalty_that_no_server_has_is_refused_before_anything_is_sent(server, engine_at, name):
    engine = engine_at(server.url)
    with pytest.raises(CapabilityError, match=f"no {name}.*engine=transformers"):
        list(engine.complete(requests(3, **{name: 1.0})))
    assert not server.bodies
    assert len(list(engine.complete(requests(1, **{name: 0.0})))) == 1


def test_a_sampling_setting_is_never_dropped_in_silence(server, engine_at):
    server.tell(refuse=["top_k"])
    with pytest.raises(CapabilityError, match="Leave top_k at its default"):
        list(engine_at(server.url).complete(requests(1, top_k=5)))
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("stop", "stop"),
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        (None, "stop"),
        ("length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "error"),
    ],
)
def test_finish_reasons(server, engine_at, word, meaning):
    server.tell(finish=word, text="two words")
    ((_, completion),) = engine_at(server.url).complete(requests(1))
    assert completion == Completion("two words", meaning, 2, 2)


def test_a_prompt_too_long_for_the_context_is_one_rows_affair(server, engine_at):
    server.tell(context=20)
    asked = [Request("short", Sampling()), Request("x" * 30, Sampling())]
    results = dict(engine_at(server.url).complete(asked))
    assert results[0].finish_reason == "stop"
    assert results[1] == Completion("", "too_long")
    server.tell(error={"status": 400, "message": "policy", "code": "content_filter"})
    assert dict(engine_at(server.url).complete(asked[:1]))[0] == Completion("", "error")


def test_an_empty_answer_is_an_answer(server, engine_at):
    server.tell(text="")
    ((_, completion),) = engine_at(server.url).complete(requests(1))
    assert completion == Completion("", "stop", 2, 0)


def test_half_a_character_does_not_come_through(server, engine_at):
    server.tell(text="a \ud83d b 😀")
    assert texts(engine_at(server.url).complete(requests(1))) == {0: "a \ufffd b 😀"}


def test_a_server_with_one_way_of_asking_only(server, engine_at):
    server.tell(paths=["/completions", "/models"])
    talk = Request((Message("user", "hi"),), Sampling())
    with pytest.raises(CapabilityError, match=r"takes no conversations.*base_format=raw"):
        list(engine_at(server.url).complete([talk]))
    server.tell(paths=["/chat/completions", "/models"])
    with pytest.raises(CapabilityError, match=r"takes no raw text.*--engine transformers"):
        list(engine_at(server.url).complete(requests(1)))
    server.tell(error={"status": 400, "message": "you must provide a chat template"})
    with pytest.raises(CapabilityError, match="base_format=raw"):
        list(engine_at(server.url).complete([talk]))


def sum_of(*tokens: str) -> float:
    sys.path.insert(0, str(PROGRAM.parent))
    try:
        from misbehaving_server import logprob
    finally:
        sys.path.pop(0)
    return sum(map(logprob, tokens))


@pytest.mark.parametrize("shown", ["plain", "start", "bare"])
def test_sequence_logprobs_sum_over_the_continuation(server, engine_at, shown):
    server.tell(logprobs=shown, faults=["429:0", "truncated"])
    prompts = ["The sky is", "One two", "One two"]
    found = engine_at(server.url).sequence_logprobs(prompts, [" blue today.", " three", ""])
    assert [lp.tokens for lp in found] == [3, 1, 0]
    assert found[0].total == pytest.approx(sum_of(" blue", " today", "."))
    assert found[1].total == pytest.approx(sum_of(" three"))
    assert found[2].total == 0.0


def test_a_token_across_the_border_counts(server, engine_at):
    (found,) = engine_at(server.url).sequence_logprobs(["It is un"], ["clear now"])
    assert found.tokens == 2
    assert found.total == pytest.approx(sum_of(" unclear", " now"))


def test_option_logprobs_in_the_shape_of_prompts_and_options(server, engine_at):
    engine = engine_at(server.url)
    found = engine.option_logprobs(["Score:", "Is it?"], [" 1", " 2", " 10"])
    row = [pytest.approx(sum_of(t)) for t in (" 1", " 2", " 10")]
    assert found == [row, row]
    assert engine.option_logprobs([], ["a"]) == []
    assert engine.option_logprobs(["a", "b"], []) == [[], []]


def test_log_probabilities_that_cannot_be_had_name_another_way(server, engine_at):
    engine = engine_at(server.url)
    talk = (Message("user", "hi"),)
    with pytest.raises(
        CapabilityError, match=r"not after a conversation.*--engine transformers.*rubr"
    ):
        engine.sequence_logprobs([talk], [" yes"])
    with pytest.raises(CapabilityError, match=r"no log-probabilities of the prompt.*rubric"):
        engine.option_logprobs([talk], [" yes"])
    with pytest.raises(CapabilityError, match="temperature 1 only"):
        engine.sequence_logprobs(["a"], [" b"], temperature=0.7)
    with pytest.raises(CapabilityError, match="first token"):
        engine.sequence_logprobs([""], ["word"])
    server.tell(logprobs="none")
    with pytest.raises(CapabilityError, match=r"no log-probabilities of the prompt.*rubric"):
        engine.sequence_logprobs(["a"], [" b"])
    server.tell(refuse=["logprobs"])
    with pytest.raises(CapabilityError, match=r"unknown argument: logprobs.*rubric"):
        engine.sequence_logprobs(["a"], [" b"])
    server.tell(context=3)
    with pytest.raises(CapabilityError, match=r"too_long.*Set long rows aside"):
        engine.sequence_logprobs(["a"], [" long"])


def test_after_a_start_token_an_empty_prompt_will_do(server, engine_at):
    server.tell(logprobs="start")
    (found,) = engine_at(server.url).sequence_logprobs([""], ["word one"])
    assert found.total == pytest.approx(sum_of("word", " one"))
    assert found.tokens == 2


def test_embeddings_in_order_and_in_batches(server, engine_at):
    found = engine_at(server.url).embed(["x" * n for n in range(1, 151)])
    assert found == [[float(n), 1.0] for n in range(1, 151)]
    assert sorted(len(b["input"]) for b in server.bodies) == [22, 64, 64]


def test_a_server_without_embeddings(server, engine_at):
    server.tell(paths=["/completions", "/models"])
    with pytest.raises(CapabilityError, match=r"no embeddings. Use --engine transformers"):
        engine_at(server.url).embed(["a"])


def test_it_is_an_engine_of_its_model_wherever_that_is_served(engine_at):
    one, two = engine_at("http://a"), engine_at("http://b", concurrency=2)
    assert isinstance(one, Engine)
    assert one.model is two.model is MODEL
