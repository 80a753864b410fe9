"""The engine against a real server process that misbehaves on purpose: nothing is lost or asked twice."""

import logging
import socket
import threading
import traceback
from collections.abc import Iterator
from itertools import pairwise

import pytest

from woolgather.core.errors import ConfigError, EngineError
from woolgather.core.fingerprint import canonical
from woolgather.engines.base import EngineOptions, Request
from woolgather.engines.openai.server import Patience
from woolgather.runs.call import EngineHandle

from ..serving import KEY, expected, requests, texts, until


def test_every_request_is_answered_once_whatever_the_server_does(server, engine_at):
    faults = ["429:0", "500", "503", "reset", "cut", "truncated", "html", "empty", "429:0.05"]
    server.tell(
        by_prompt={f"question {i}": [faults[i % 9], faults[(i + 4) % 9]] for i in range(60)}
    )
    results = list(engine_at(server.url).complete(requests(60)))
    assert len(results) == 60
    assert texts(results) == expected(60)
    stats = server.stats
    assert stats["answered"] == {f"question {i}": 1 for i in range(60)}
    assert len(stats["requests"]) == 60 * 3


def test_a_request_that_hangs_is_given_up_and_asked_again(server, engine_at):
    server.tell(by_prompt={"question 1": ["hang"]})
    engine = engine_at(server.url, patience=Patience(8, 0.01, 1.0, timeout=2.0))
    assert texts(engine.complete(requests(3))) == expected(3)
    until(lambda: server.stats["abandoned"] == 1)


def test_retry_after_is_honoured_in_seconds(server, engine_at):
    server.tell(faults=["429:0.4"])
    assert texts(engine_at(server.url).complete(requests(1))) == expected(1)
    first, again = (r["at"] for r in server.stats["requests"])
    assert again - first >= 0.4


def test_retry_after_is_bounded(server, engine_at):
    server.tell(faults=["429:86400", "503:Fri, 31 Dec 2150 23:59:59 GMT", "503:nonsense"])
    engine = engine_at(server.url, patience=Patience(8, 0.01, 0.1, 60.0))
    assert texts(engine.complete(requests(1))) == expected(1)


def test_requests_in_flight_stay_below_concurrency_and_are_pulled_lazily(server, engine_at):
    server.tell(delay=0.02)
    pulled = 0

    def source() -> Iterator[Request]:
        nonlocal pulled
        for request in requests(60):
            pulled += 1
            yield request

    for received, _ in enumerate(engine_at(server.url, concurrency=5).complete(source()), start=1):
        assert pulled <= received + 5
    assert pulled == 60
    assert 1 < server.stats["most_in_flight"] <= 5


def test_concurrency_adapts_to_what_a_server_bears(server, engine_at):
    server.tell(capacity=3, delay=0.01)
    patience = Patience(attempts=50, first_wait=0.01, longest_wait=0.05, timeout=60.0)
    engine = engine_at(server.url, concurrency=32, patience=patience)
    assert texts(engine.complete(requests(200))) == expected(200)
    refused = len(server.stats["requests"]) - 200
    # A fixed 32 at a capacity of 3 is turned away far more often than once a request.
    assert 0 < refused < 200


def test_concurrency_grows_while_all_is_well(server, engine_at):
    server.tell(delay=0.05)
    assert texts(engine_at(server.url, concurrency=24).complete(requests(150))) == expected(150)
    assert server.stats["most_in_flight"] > 8


def test_after_a_lasting_failure_what_was_answered_is_yielded_first(server, engine_at):
    server.tell(by_prompt={"question 3": ["500"] * 50})
    engine = engine_at(server.url, patience=Patience(4, 0.01, 0.02, 60.0), concurrency=8)
    got = {}

    def take() -> None:
        for index, completion in engine.complete(requests(6)):
            got[index] = completion.text

    with pytest.raises(EngineError) as caught:
        take()
    assert got == {i: text for i, text in expected(6).items() if i != 3}
    message = str(caught.value)
    assert f"{server.url}/v1/completions" in message
    assert "status 500" in message
    assert "4 times" in message
    assert [b["prompt"] for b in server.bodies].count("question 3") == 4
    assert caught.value.exit_code == 1


def test_nothing_more_is_pulled_after_a_failure(server, engine_at):
    server.tell(error={"status": 400, "message": "bad idea"})
    with pytest.raises(EngineError, match=r"status 400 \(bad idea"):
        list(engine_at(server.url, concurrency=4).complete(requests(500)))
    assert len(server.stats["requests"]) < 50


def test_a_server_that_is_not_there_is_named(engine_at):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        engine = engine_at(url, patience=Patience(2, 0.01, 0.01, 60.0))
        with pytest.raises(EngineError, match=f"{url}/v1/models: no connection.*same command"):
            list(engine.complete(requests(1)))


def test_two_servers_share_the_work(server, second, engine_at):
    server.tell(delay=0.02)
    second.tell(delay=0.02)
    assert texts(engine_at(server.url, second.url).complete(requests(60))) == expected(60)
    one, two = (len(s.stats["requests"]) for s in (server, second))
    assert one + two == 60
    assert min(one, two) >= 15


def test_a_dead_server_among_two_costs_only_detours(server, second, engine_at):
    second.tell(always="reset")
    server.tell(delay=0.005)
    assert texts(engine_at(server.url, second.url).complete(requests(60))) == expected(60)
    assert server.stats["answered"] == {f"question {i}": 1 for i in range(60)}
    assert len(second.stats["requests"]) < 60


def test_the_key_is_sent_and_shown_nowhere(server, engine_at, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_KEY", KEY)
    server.tell(key=KEY, faults=["500", "429:0"])
    engine = engine_at(server.url, api_key_env="MY_KEY")
    assert texts(engine.complete(requests(2))) == expected(2)
    assert {r["authorization"] for r in server.stats["requests"]} == {f"Bearer {KEY}"}
    handle = EngineHandle(engine.model, EngineOptions(name="openai", api_key_env="MY_KEY"))
    shown = [repr(engine), str(canonical(handle))]
    for behaviour in ({"always": "500"}, {"key": "another"}, {"always": "418"}):
        server.tell(**behaviour)
        with pytest.raises((EngineError, ConfigError)) as caught:
            list(engine.complete(requests(1)))
        shown += traceback.format_exception(caught.value)
    assert "[key]" in "".join(shown)
    assert KEY not in "".join(shown)
    assert caplog.records
    assert KEY not in caplog.text


def test_a_wrong_key_names_its_variable(server, engine_at, monkeypatch):
    server.tell(key=KEY)
    with pytest.raises(ConfigError, match="NO_SUCH_KEY is not set"):
        list(engine_at(server.url, api_key_env="NO_SUCH_KEY").complete(requests(1)))
    monkeypatch.setenv("MY_KEY", "wrong")
    with pytest.raises(ConfigError, match="MY_KEY is not accepted"):
        list(engine_at(server.url, api_key_env="MY_KEY").complete(requests(1)))
    monkeypatch.setenv("MY_KEY", "two\nlines")
    with pytest.raises(ConfigError, match="MY_KEY does not hold a key") as caught:
        engine_at(server.url, api_key_env="MY_KEY")
    assert "lines" not in str(caught.value).replace("line breaks", "")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://somewhere", "", "http://"])
def test_an_address_that_is_none(url, engine_at):
    with pytest.raises(ConfigError, match="is not an address"):
        engine_at(url)


def test_no_address_and_no_secrets_of_an_address(engine_at):
    with pytest.raises(ConfigError, match="no URL"):
        engine_at()
    assert repr(engine_at("http://me:pw@host/v1?token=1")) == "OpenAIEngine(http://host/v1)"


def test_closing_the_stream_early_cancels_what_is_in_flight(server, engine_at):
    server.tell(by_prompt={f"question {i}": ["hang"] for i in range(1, 500)})
    engine = engine_at(server.url, concurrency=6)
    stream = engine.complete(requests(500))
    assert next(stream)[0] == 0
    until(lambda: server.stats["in_flight"] >= 5)
    stream.close()
    until(lambda: server.stats["in_flight"] == 0)
    stats = server.stats
    assert stats["abandoned"] == len(stats["requests"]) - 1 <= 6
    server.tell()
    assert texts(engine.complete(requests(2))) == expected(2)


def test_closing_the_engine_ends_its_streams_and_its_thread(server, engine_at):
    server.tell(always="hang")
    engine = engine_at(server.url)
    stream = engine.complete(requests(3))
    closer = threading.Thread(
        target=lambda: (until(lambda: server.stats["in_flight"] == 3), engine.close())
    )
    closer.start()
    with pytest.raises(EngineError, match="was closed"):
        list(stream)
    closer.join()
    assert "openai" not in [t.name for t in threading.enumerate()]
    engine.close()
    with pytest.raises(EngineError, match="was closed"):
        list(engine.complete(requests(1)))


def test_an_account_without_credit_is_not_asked_again(server, engine_at):
    server.tell(error={"status": 429, "message": "pay first", "code": "insufficient_quota"})
    with pytest.raises(EngineError, match="no credit left"):
        list(engine_at(server.url).complete(requests(1)))
    assert len(server.bodies) == 1


def test_an_error_in_the_callers_own_requests_passes_through(server, engine_at):
    def source() -> Iterator[Request]:
        yield from requests(1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(engine_at(server.url, concurrency=1).complete(source()))


def test_waits_grow_between_attempts(server, engine_at):
    server.tell(faults=["503"] * 5)
    engine = engine_at(server.url, patience=Patience(8, 0.02, 10.0, 60.0))
    assert texts(engine.complete(requests(1))) == expected(1)
    at = [r["at"] for r in server.stats["requests"]]
    rests = [b - a for a, b in pairwise(at)]
    # The server is left alone for 0.02 s times 1, 2, 4, 8, 16: lower bounds only.
    assert all(rest >= 0.02 * 2**i for i, rest in enumerate(rests))
