"""The engine against a real server process that misbehaves on purpose."""

import json
import logging
import socket
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from woolgather.artifacts import Model
from woolgather.engines.base import Completion, Engine, EngineOptions, Message, Request, Sampling
from woolgather.engines.openai import OpenAIEngine
from woolgather.engines.servers import Patience
from woolgather.errors import CapabilityError, ConfigError, EngineError
from woolgather.fingerprint import canonical

MODEL = Model(path="some/model", fingerprint="f00d", prompt_format="raw")
PROGRAM = Path(__file__).with_name("misbehaving_server.py")
KEY = "sk-very-secret-0123456789"
QUICK = Patience(attempts=8, first_wait=0.01, longest_wait=1.0, timeout=60.0)


class Told:
    """A running server: tell it what to do, ask it what it saw."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(PROGRAM)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())
        self.url = f"http://127.0.0.1:{self.port}"

    def tell(self, **behaviour: Any) -> None:
        data = json.dumps(behaviour).encode()
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/control", data)).close()

    @property
    def stats(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/stats") as reply:
            found: dict[str, Any] = json.load(reply)
        return found

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [r["body"] for r in self.stats["requests"]]

    def stop(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(20) == 0


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Told, Told]]:
    pair = (Told(), Told())
    yield pair
    for server in pair:
        server.stop()


@pytest.fixture
def server(running: tuple[Told, Told], monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    running[0].tell()
    return running[0]


@pytest.fixture
def second(running: tuple[Told, Told]) -> Told:
    running[1].tell()
    return running[1]


@pytest.fixture
def engine_at() -> Iterator[Callable[..., OpenAIEngine]]:
    made = []

    def make(*urls: str, patience: Patience = QUICK, **options: Any) -> OpenAIEngine:
        engine = OpenAIEngine(MODEL, EngineOptions(name="openai", urls=urls, **options), patience)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


def requests(count: int, **sampling: Any) -> list[Request]:
    return [Request(f"question {i}", Sampling(**sampling)) for i in range(count)]


def texts(results: Iterator[tuple[int, Completion]]) -> dict[int, str]:
    return {index: completion.text for index, completion in results}


def expected(count: int) -> dict[int, str]:
    return {i: f"answer to question {i}" for i in range(count)}


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


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
    shown = [repr(engine), str(canonical(engine))]
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
            "max_tokens": 256,
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
            "repetition_penalty": 1.1,
        },
    }


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
    with pytest.raises(CapabilityError, match=r"takes no raw text.*engine=transformers"):
        list(engine_at(server.url).complete(requests(1)))
    server.tell(error={"status": 400, "message": "you must provide a chat template"})
    with pytest.raises(CapabilityError, match="base_format=raw"):
        list(engine_at(server.url).complete([talk]))


def test_the_models_name(server, engine_at):
    server.tell(models=["one", "two"])
    with pytest.raises(ConfigError, match=r"2 models \(one, two\).*served_name"):
        list(engine_at(server.url).complete(requests(1)))
    assert texts(engine_at(server.url, served_name="two").complete(requests(1))) == expected(1)
    assert server.bodies[-1]["model"] == "two"
    with pytest.raises(ConfigError, match=r"model three is not here.*served_name"):
        list(engine_at(server.url, served_name="three").complete(requests(1)))
    server.tell(paths=["/completions"])
    with pytest.raises(ConfigError, match=r"/v1/models: status 404.*served_name"):
        list(engine_at(server.url).complete(requests(1)))


def test_an_account_without_credit_is_not_asked_again(server, engine_at):
    server.tell(error={"status": 429, "message": "pay first", "code": "insufficient_quota"})
    with pytest.raises(EngineError, match="no credit left"):
        list(engine_at(server.url).complete(requests(1)))
    assert len(server.bodies) == 1


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
        CapabilityError, match=r"not after a conversation.*engine=transformers.*rubr"
    ):
        engine.sequence_logprobs([talk], [" yes"])
    with pytest.raises(CapabilityError, match="not after a conversation"):
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
    with pytest.raises(EngineError, match=r"too_long.*Set long rows aside"):
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
    with pytest.raises(CapabilityError, match=r"no embeddings. Use engine=transformers"):
        engine_at(server.url).embed(["a"])


def test_it_is_an_engine_whose_identity_is_its_model(engine_at):
    one, two = engine_at("http://a"), engine_at("http://b", concurrency=2)
    assert isinstance(one, Engine)
    assert canonical(one) == canonical(two) == {"engine": "f00d", "format": "raw"}
    assert one.model is MODEL


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
