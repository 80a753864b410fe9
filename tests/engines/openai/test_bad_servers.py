"""Servers that are not what they should be: one sentence each, and what was answered is kept."""

from __future__ import annotations

import time
from email.utils import formatdate
from pathlib import Path

import pytest

from woolgather.core.errors import CapabilityError, ConfigError, EngineError
from woolgather.engines.base import Request, Sampling, ask
from woolgather.engines.journal import Journal, JournaledEngine
from woolgather.engines.openai.server import Patience
from woolgather.prompting.messages import Message

from ..serving import MODEL, QUICK, expected, requests, texts

BEGUN = (Message("user", "count"), Message("assistant", "one, two,"))


def test_a_server_that_never_becomes_healthy(server, engine_at, caplog):
    loading = {"status": 503, "body": {"error": {"message": "Loading model"}}}
    server.tell(told={"question 0": loading})
    engine = engine_at(server.url, patience=Patience(3, 0.01, 0.02, 60.0))
    with pytest.raises(EngineError) as caught:
        list(engine.complete(requests(1)))
    assert str(caught.value) == (
        f"{server.url}/v1/completions: status 503 (Loading model); tried 3 times. What was answered "
        "before is kept: when the server is well again, the same command continues."
    )


def test_a_page_of_a_proxy_is_read_as_its_words(server, engine_at):
    server.tell(
        told={"question 0": {"status": 502, "body": "<html><h1>502 Bad Gateway</h1></html>"}}
    )
    engine = engine_at(server.url, patience=Patience(2, 0.01, 0.02, 60.0))
    with pytest.raises(EngineError, match=r"status 502 \(502 Bad Gateway\); tried 2 times"):
        list(engine.complete(requests(1)))


def test_an_answer_of_another_model_of_the_list_is_an_error(server, engine_at):
    server.tell(models=["one", "two"], answers_as="two")
    with pytest.raises(
        ConfigError, match=r"two answered, and one was asked\. Ask the server that has"
    ):
        list(engine_at(f"{server.url}#one").complete(requests(1)))


def test_another_name_in_the_answer_is_told_once_and_kept(server, engine_at, caplog):
    for name, told in (("tiny-2026-01-01", 0), ("something-else", 1)):
        server.tell(answers_as=name)
        engine = engine_at(server.url)
        assert texts(engine.complete(requests(3))) == expected(3)
        assert engine.served[0]["answered_as"] == name
        assert caplog.text.count("answers to the name tiny as something-else") == told


def test_a_server_that_dies_half_way_loses_nothing(server, engine_at, tmp_path: Path):
    journal = Journal(tmp_path / "journal.sqlite")
    server.tell(dies_after=10)
    dead = engine_at(server.url, patience=Patience(2, 0.01, 0.02, 60.0), concurrency=2)
    with pytest.raises(EngineError, match=r"no connection.*the same command continues"):
        list(JournaledEngine(MODEL, journal, lambda: dead).complete(requests(20)))
    kept = len(journal)
    assert kept == 10
    server.tell()
    again = JournaledEngine(MODEL, journal, lambda: engine_at(server.url))
    assert texts(again.complete(requests(20))) == expected(20)
    assert len(server.bodies) == 10
    assert again.calls.remembered == 10
    journal.close()


def test_connections_that_are_closed_in_silence_cost_no_answer(server, engine_at):
    server.tell(closes=True)
    engine = engine_at(server.url, concurrency=4)
    for _ in range(2):
        assert texts(engine.complete(requests(20))) == expected(20)
    assert set(server.stats["answered"].values()) == {2}


def test_a_reply_that_trickles_without_end_is_given_up(server, engine_at):
    server.tell(by_prompt={"question 1": ["drip"]})
    engine = engine_at(server.url, patience=Patience(8, 0.01, 1.0, timeout=1.5))
    assert texts(engine.complete(requests(3))) == expected(3)


def test_retry_after_may_be_a_date(server, engine_at):
    server.tell(faults=[f"429:{formatdate(time.time() + 2, usegmt=True)}"])
    assert texts(engine_at(server.url, patience=QUICK).complete(requests(1))) == expected(1)
    first, again = (r["at"] for r in server.stats["requests"])
    # A date has whole seconds, and the longest wait here is one.
    assert again - first >= 0.5


def test_a_long_rest_is_told_with_what_was_asked_for(server, engine_at, caplog, monkeypatch):
    monkeypatch.setattr("woolgather.engines.openai.server._WORTH_TELLING", 1.0)
    server.tell(faults=["429:86400", "429:0.1"])
    engine = engine_at(server.url, patience=Patience(8, 0.01, 1.0, 60.0))
    assert texts(engine.complete(requests(1))) == expected(1)
    assert "nothing is sent there for 1 s (it asks for 86400 s)" in caplog.text
    assert caplog.text.count("nothing is sent") == 1


def test_fields_that_change_nothing_are_taken_back_at_once_and_that_is_told(
    server, engine_at, caplog
):
    fields = ["top_k", "min_p", "repetition_penalty", "top_p", "seed"]
    server.tell(refuse=fields)
    # One attempt: what is taken back is no failure.
    engine = engine_at(server.url, patience=Patience(1, 0.01, 0.02, 60.0), concurrency=1)
    assert texts(engine.complete(requests(2))) == expected(2)
    assert not set(fields) & set(server.bodies[-1])
    assert engine.served[0]["without"] == sorted(fields)
    for name in fields:
        assert caplog.text.count(f"goes on without {name}, which this server does not take") == 1
    assert "takes for it itself counts" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("top_k", 5), ("repetition_penalty", 1.2)])
def test_a_field_that_means_something_is_not_taken_back(server, engine_at, name, value):
    server.tell(refuse=[name])
    with pytest.raises(CapabilityError, match=f"Leave {name} at its default"):
        list(engine_at(server.url).complete(requests(1, **{name: value})))


def test_llama_cpp_is_told_a_repetition_penalty_by_its_own_name(server, engine_at):
    server.tell(cards={"tiny": {"owned_by": "llamacpp", "meta": {"n_ctx": 2048}}})
    engine = engine_at(server.url)
    list(engine.complete(requests(1, repetition_penalty=1.2)))
    list(engine.complete(requests(1)))
    told = [(b.get("repeat_penalty"), b.get("repeat_last_n")) for b in server.bodies]
    assert told == [(1.2, 2048), (None, None)]


def test_a_begun_answer_that_is_repeated_is_cut_off(server, engine_at):
    for text in ("one, two, three", " three"):
        server.tell(text=text)
        ((_, found),) = engine_at(server.url).complete([Request(BEGUN, Sampling())])
        assert found.text == " three"


@pytest.mark.parametrize(("limit", "reason"), [(2, "length"), (3, "stop")])
def test_a_reply_that_does_not_say_why_it_ended_was_cut_where_it_is_as_long_as_it_may_be(
    server, engine_at, limit, reason
):
    server.tell(finish=None, text="two words")
    (found,) = ask(engine_at(server.url), requests(1, max_tokens=limit))
    assert found.finish_reason == reason
