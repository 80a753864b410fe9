"""Before its first answer a server says what it serves: kept, and a name it does not list is refused."""

from __future__ import annotations

import threading
import time

import pytest

from woolgather.core.errors import ConfigError
from woolgather.engines.openai.cards import choose_name, read_cards

from ..serving import expected, requests, texts

URL = "http://host:8000/v1"


def test_a_card_keeps_short_values_of_known_fields() -> None:
    vllm = {
        "id": "org/name",
        "object": "model",
        "created": 1,
        "owned_by": "vllm",
        "root": "/models/name",
        "parent": None,
        "max_model_len": 4096,
        "permission": [{"id": "modelperm-1"}],
    }
    llama = {"id": "x.gguf", "owned_by": "llamacpp", "meta": {"n_ctx_train": 8192, "n_params": 1}}
    long = {"id": "long", "root": "x" * 201}
    assert read_cards({"data": [vllm, llama, long]}) == {
        "org/name": {
            "id": "org/name",
            "root": "/models/name",
            "owned_by": "vllm",
            "max_model_len": 4096,
        },
        "x.gguf": {"id": "x.gguf", "owned_by": "llamacpp", "n_ctx_train": 8192},
        "long": {"id": "long"},
    }


@pytest.mark.parametrize("reply", ["<html>", {}, {"data": None}, {"data": ["a"]}, None])
def test_anything_else_is_no_list(reply: object) -> None:
    with pytest.raises(ValueError, match="a list of models was expected"):
        read_cards(reply)


def test_the_name_that_is_meant() -> None:
    assert choose_name({"a": {}}, "", URL) == "a"
    assert choose_name({"a": {}, "b": {}}, "b", URL) == "b"
    assert choose_name({}, "b", URL) == "b"
    # An adapter that this run or another had loaded makes no doubt about the base.
    assert choose_name({"a": {}, "woolgather-0123": {"parent": "a"}}, "", URL) == "a"
    remedy = (
        "Give the name of the one that is meant, as --url http://host:8000/v1#NAME, or as --serve "
        "ROLE_OR_PATH=http://host:8000/v1#NAME where several models are asked."
    )
    for cards, name, said in (
        ({"a": {}, "b": {}}, "", f"{URL} serves 2 models (a, b). {remedy}"),
        ({}, "", f"{URL} serves no model. {remedy}"),
        ({"a": {}}, "c", f"{URL} does not serve c, but 1 model (a). {remedy}"),
    ):
        with pytest.raises(ConfigError) as caught:
            choose_name(cards, name, URL)
        assert str(caught.value) == said
    with pytest.raises(ConfigError, match=r"12 models \(m0, .*m7, \.\.\.\)"):
        choose_name({f"m{i}": {} for i in range(12)}, "", URL)


def test_a_server_is_asked_once_what_it_serves(server, engine_at):
    server.tell(models=["one", "two"], says={"one": "I am one", "two": "I am two"})
    for name in ("one", "two"):
        engine = engine_at(f"{server.url}#{name}")
        assert texts(engine.complete(requests(3))) == dict.fromkeys(range(3), f"I am {name}")
        assert texts(engine.complete(requests(1))) == {0: f"I am {name}"}
    assert server.stats["listed"] == 2
    assert [b["model"] for b in server.bodies] == ["one"] * 4 + ["two"] * 4


def test_a_name_that_is_not_there_is_refused_before_the_first_request(server, engine_at):
    server.tell(models=["one", "two"])
    with pytest.raises(
        ConfigError, match=r"does not serve three, but 2 models \(one, two\)\. Give"
    ):
        list(engine_at(f"{server.url}#three").complete(requests(1)))
    with pytest.raises(ConfigError, match=r"serves 2 models \(one, two\)\. Give the name"):
        list(engine_at(server.url).complete(requests(1)))
    assert server.bodies == []


@pytest.mark.parametrize("behaviour", [
    {"paths": ["/completions"]}, {"listing": "500"}, {"listing": "html"}, {"listing": "403"},
    {"models": [], "unlisted": ["tiny"]},
])  # fmt: skip
def test_a_server_without_a_list_is_asked_by_name(server, engine_at, behaviour):
    server.tell(**behaviour)
    engine = engine_at(f"{server.url}#tiny")
    assert texts(engine.complete(requests(2))) == expected(2)
    assert server.stats["listed"] == 1
    assert engine.served == [{"url": f"{server.url}/v1", "name": "tiny", "card": {}}]


def test_a_server_without_a_list_needs_a_name(server, engine_at):
    server.tell(paths=["/completions"])
    with pytest.raises(ConfigError, match=r"/v1/models: status 404.*as --url http\S+#NAME"):
        list(engine_at(server.url).complete(requests(1)))
    server.tell(models=[], unlisted=["tiny"])
    with pytest.raises(ConfigError, match=r"serves no model\. Give the name"):
        list(engine_at(server.url).complete(requests(1)))


def test_a_name_that_only_the_request_finds_unknown_names_the_remedy(server, engine_at):
    server.tell(paths=["/completions"], models=["tiny"])
    with pytest.raises(ConfigError, match=r"model three is not here.*as --url http\S+#NAME"):
        list(engine_at(f"{server.url}#three").complete(requests(1)))


def test_who_answered_and_what_it_says_of_the_model(server, second, engine_at):
    server.tell(cards={"tiny": {"max_model_len": 512, "owned_by": "us"}})
    second.tell(models=["other"])
    engine = engine_at(f"http://me:pw@127.0.0.1:{server.port}/v1", second.url, concurrency=1)
    assert engine.served == []
    assert len(list(engine.complete(requests(1)))) == 1
    first = {
        "url": f"{server.url}/v1",
        "name": "tiny",
        "card": {"id": "tiny", "max_model_len": 512, "owned_by": "us"},
    }
    assert engine.served == [first]
    engine.close()
    assert engine.served == [first]


def test_a_list_that_is_refused_for_now_is_asked_for_again(server, engine_at):
    server.tell(listing="503")
    engine = engine_at(f"{server.url}#tiny")

    def mend() -> None:
        while server.stats["listed"] < 2:
            time.sleep(0.01)
        server.tell()

    mender = threading.Thread(target=mend)
    mender.start()
    assert texts(engine.complete(requests(1))) == expected(1)
    mender.join()
    assert engine.served[0]["card"] == {"id": "tiny"}
