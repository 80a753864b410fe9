"""What servers refuse, in the words that they use, against a real process."""

from __future__ import annotations

import pytest

from woolgather.core.errors import CapabilityError, ConfigError, EngineError
from woolgather.engines.base import Request, Sampling, ask
from woolgather.engines.openai.refusals import read_refusal, says_too_long
from woolgather.engines.openai.serving import read_endpoint
from woolgather.prompting.messages import Message

from ..serving import expected, requests, texts

PREFILL = (Message("user", "count"), Message("assistant", "one, two,"))


def error(message, **more):
    return {"error": {"message": message, **more}}


TOO_LONG = [
    (400, error("This model's maximum context length is 80 tokens. However, you requested 99 tokens")),
    (400, error("The decoder prompt (length 99) is longer than the maximum model length of 80.")),
    (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 80. Given: "
           "99 `inputs` tokens and 8 `max_new_tokens`", "error_type": "validation"}),
    (422, {"error": "Input validation error: `inputs` must have less than 80 tokens. Given: 99"}),
    (500, {"detail": "[pid=1] The decoder prompt (length 99) is longer than the maximum model length."}),
    (500, error("input (992 tokens) is too large to process. increase the physical batch size")),
    (400, [error("The input token count (99) exceeds the maximum number of tokens allowed (80).")]),
    (400, error("the request exceeds the available context size, try increasing it")),
    (400, error("prompt is too long: 99 tokens > 80 maximum")),
    (400, error("no", code="context_length_exceeded")),
    (400, error("Please reduce the length of the messages or completion.")),
    (413, "<html><h1>413 Request Entity Too Large</h1></html>"),
    (413, {"detail": "no"}),
    (200, error("This endpoint's maximum context length is 80 tokens", code=400)),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), TOO_LONG)
def test_a_prompt_that_does_not_fit_is_one_rows_affair_in_any_wording(
    server, engine_at, status, body
):
    server.tell(told={"question 1": {"status": status, "body": body}})
    found = list(ask(engine_at(server.url), requests(3)))
    assert [c.finish_reason for c in found] == ["stop", "too_long", "stop"]
    assert found[1].text == ""
    assert len(server.bodies) == 3


@pytest.mark.parametrize(("status", "words"), [
    (422, "Input validation error: top_p must be > 0.0 and < 1.0"),
    (422, "Input validation error: temperature must be < 2"),
    (400, "max_tokens is too large: 9000. This model supports at most 4096 completion tokens"),
    (400, "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."),
    (504, "upstream request took too long"), (500, "context deadline exceeded"),
    (429, "Rate limit: too many tokens per minute"), (503, "too many tokens in the queue"),
])  # fmt: skip
def test_other_complaints_are_not_taken_for_a_long_prompt(status, words):
    assert not says_too_long(read_refusal(status, error(words)))


@pytest.mark.parametrize("status", [400, 402 + 16, 422, 451])
def test_an_unknown_refusal_of_one_request_is_that_rows_error(server, engine_at, caplog, status):
    words = "I would rather not answer 1"
    server.tell(told={"question 1": {"status": status, "body": error(words)}})
    found = list(ask(engine_at(server.url), requests(4)))
    assert [c.finish_reason for c in found] == ["stop", "error", "stop", "stop"]
    assert words in found[1].why
    assert words in caplog.text


def test_words_are_said_once_for_rows_that_are_refused_alike(server, engine_at, caplog):
    told = {f"question {i}": {"status": 400, "body": error(f"not {i}")} for i in range(5, 25)}
    server.tell(told=told)
    found = list(ask(engine_at(server.url), requests(40)))
    assert [c.finish_reason for c in found].count("error") == 20
    assert caplog.text.count("a request is set aside") == 1


def test_a_server_that_refuses_every_request_ends_it_with_its_words(server, engine_at):
    server.tell(error={"status": 422, "message": "temperature is not for you"})
    for count in (1, 300):
        with pytest.raises(EngineError, match=r"status 422 \(temperature is not for you\)"):
            list(engine_at(server.url).complete(requests(count)))
    assert len(server.bodies) < 100


def test_rows_that_an_earlier_launch_left_are_not_every_row(server, engine_at):
    bad = {"status": 400, "body": error("not this one")}
    server.tell(told={f"question {i}": bad for i in range(20)})
    for count in (1, 3, 20):
        found = list(ask(engine_at(server.url), requests(count)))
        assert [c.finish_reason for c in found] == ["error"] * count
    assert server.stats["answered"] == {"Hello": 3}


def test_an_error_with_the_status_of_success_is_in_the_servers_own_words(server, engine_at):
    server.tell(whole=error("Insufficient credits", code=402))
    with pytest.raises(EngineError, match=r"Insufficient credits.*no credit left"):
        list(engine_at(server.url).complete(requests(1)))
    assert len(server.bodies) == 1
    server.tell(whole=error("The provider is away", code=502))
    with pytest.raises(EngineError, match=r"status 502 \(The provider is away\); tried 8 times"):
        list(engine_at(server.url).complete(requests(1)))
    server.tell(
        told={"question 1": {"status": 200, "body": error("flagged", code="content_filter")}}
    )
    found = list(ask(engine_at(server.url), requests(2)))
    assert [c.finish_reason for c in found] == ["stop", "error"]
    server.tell(whole={"object": "error", "message": "The model does not support Embeddings API",
                       "code": 400})  # fmt: skip
    with pytest.raises(EngineError, match="does not support Embeddings API"):
        engine_at(server.url).embed(["a"])
    assert len(server.bodies) == 1


def test_an_error_within_a_choice_is_that_rows(server, engine_at):
    choice = {"finish_reason": "error", "error": {"message": "lost it"}}
    server.tell(choice=choice)
    ((_, found),) = engine_at(server.url).complete(requests(1))
    assert (found.finish_reason, found.why) == ("error", "lost it")


def test_a_neutral_top_p_is_taken_back_and_no_other(server, engine_at):
    server.tell(refuse=["top_p"])
    engine = engine_at(server.url)
    assert texts(engine.complete(requests(2))) == expected(2)
    assert "top_p" not in server.bodies[-1]
    with pytest.raises(CapabilityError, match="Leave top_p at its default"):
        list(engine.complete(requests(1, top_p=0.9)))


def test_a_begun_answer_is_asked_for_without_reasoning_where_it_must(server, engine_at):
    server.tell(continues=False)
    engine = engine_at(server.url)
    for _ in range(2):
        ((_, found),) = engine.complete([Request(PREFILL, Sampling())])
        assert found.finish_reason == "stop"
    plain = Request(PREFILL[:1], Sampling())
    list(engine.complete([plain]))
    first, *rest = server.bodies
    assert "chat_template_kwargs" not in first
    assert [b.get("chat_template_kwargs") for b in rest] == [
        {"enable_thinking": False}, {"enable_thinking": False}, None,
    ]  # fmt: skip


def test_a_server_that_never_continues_an_answer_names_what_to_do(server, engine_at):
    server.tell(told={PREFILL[-1].content: {"status": 400, "body": error("no prefill here")}})
    with pytest.raises(CapabilityError, match=r"--chat-template-kwargs.*--engine transformers"):
        list(engine_at(server.url).complete([Request(PREFILL, Sampling())]))


def test_a_key_that_was_good_before_makes_a_403_one_rows_affair(server, engine_at):
    engine = engine_at(server.url, concurrency=1)
    server.tell(told={"question 1": {"status": 403, "body": error("your input was flagged")}})
    assert [c.finish_reason for c in ask(engine, requests(3))] == ["stop", "error", "stop"]
    server.tell(key="a key")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY is not set"):
        list(engine_at(server.url).complete(requests(1)))


def test_a_page_in_place_of_the_list_is_said_at_once_with_the_remedy(server, engine_at):
    server.tell(listing="html")
    with pytest.raises(ConfigError, match=r"mostly ends in /v1.*as --url http\S+#NAME"):
        list(engine_at(server.url).complete(requests(1)))
    assert server.stats["listed"] == 1


@pytest.mark.parametrize(
    "path", ["/chat/completions", "/completions", "/embeddings/", "/models", ""]
)
def test_the_address_of_a_request_is_as_good_as_the_servers(path):
    assert read_endpoint(f"http://host:8000/v1{path}#NAME").text == "http://host:8000/v1#NAME"
