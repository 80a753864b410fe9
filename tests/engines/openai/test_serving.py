"""--url and --serve: read, matched with models, and refused where one server would stand for two."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from woolgather.core.errors import ConfigError
from woolgather.engines.base import EngineOptions
from woolgather.engines.openai.serving import (
    Asked,
    Endpoint,
    ask_at,
    assign,
    read_endpoint,
    read_options,
)

HOST = "http://host:8000/v1"
BASE = Asked(roles=("base",), sources=("models/base",), path="/m/base")
JUDGE = Asked(roles=("judge_model",), sources=("org/judge",), path="/hub/judge")


def said(urls: list[str], serve: list[str], models: list[Asked]) -> str:
    with pytest.raises(ConfigError) as caught:
        assign(read_options("openai", urls, serve), models)
    return str(caught.value)


def found(urls: list[str], serve: list[str], models: list[Asked]) -> list[list[str]]:
    assigned = assign(read_options("openai", urls, serve), models)
    return [[endpoint.text for endpoint in endpoints] for endpoints in assigned]


# -- reading ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "url", "name"), [
    ("http://host:8000", HOST, ""),
    ("http://host:8000/", HOST, ""),
    ("http://host:8000#org/name", HOST, "org/name"),
    ("https://host/some/v2/#a#b", "https://host/some/v2", "a#b"),
    ("http://me:pw@host:8000/v1?key=1#n", "http://me:pw@host:8000/v1?key=1", "n"),
])  # fmt: skip
def test_an_endpoint(text: str, url: str, name: str) -> None:
    endpoint = read_endpoint(text)
    assert endpoint == Endpoint(url, name)
    assert read_endpoint(endpoint.text) == endpoint
    assert not re.search("pw|key", str(endpoint))


@pytest.mark.parametrize(("text", "message"), [
    ("localhost:8000", "is not an address"),
    ("#name", "is not an address"),
    ("http://#name", "is not an address"),
    ("http://host#", "http://host# has no name behind the #"),
    ("http://host# ", "has no name behind the #"),
])  # fmt: skip
def test_an_endpoint_that_is_none(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_endpoint(text)


@pytest.mark.parametrize(("text", "key", "endpoint"), [
    ("base=http://host:8000#n", "base", f"{HOST}#n"),
    ("a=b/c=http://host:8000?x=http://y", "a=b/c", f"{HOST}?x=http://y"),
    ("org/name@rev=http://host:8000", "org/name@rev", HOST),
])  # fmt: skip
def test_one_model_of_several(text: str, key: str, endpoint: str) -> None:
    assert read_options("openai", [], [text]).serve == ((key, read_endpoint(endpoint)),)


@pytest.mark.parametrize("text", ["base", "base=", "=http://h", "http://h#n", "http://h/?a=b", ""])
def test_one_that_is_not_written_so(text: str) -> None:
    with pytest.raises(ConfigError, match=r"write ROLE_OR_PATH=URL#NAME, e\.g\. --serve base=http"):
        read_options("openai", [], [text])


def test_a_secret_in_what_is_not_written_so_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        read_options("openai", [], ["http://me:pw@host?token=abc#n"])
    assert "pw" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_an_address_that_is_none() -> None:
    with pytest.raises(ConfigError, match="'host' is not an address"):
        read_options("openai", [], ["base=host#n"])


@pytest.mark.parametrize("engine", ["transformers", "fake"])
def test_another_engine_asks_the_models_without_a_server(engine: str) -> None:
    assert read_options(engine, [], []).urls == ()
    with pytest.raises(ConfigError, match=f"--url names .*, and --engine {engine} asks none"):
        read_options(engine, ["http://h"], [])
    serving = read_options(engine, [], ["a=http://h#x"])
    models = [Asked(sources=("a",), path="/a"), Asked(sources=("b",), path="/b")]
    at, nowhere = assign(serving, models)
    assert [str(endpoint) for endpoint in at] == ["http://h/v1#x"]
    given = EngineOptions(engine, python="p", args={"x": 1}, replicas=2, serve=("a=http://h#x",))
    assert ask_at(nowhere, given) == replace(given, serve=())
    assert ask_at(at, given) == EngineOptions("openai", urls=("http://h/v1#x",))
    with pytest.raises(ConfigError, match="called c"):
        assign(read_options(engine, [], ["c=http://h"]), models)


# -- matching --------------------------------------------------------------------------------------


def test_what_a_model_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b").mkdir()
    (tmp_path / "other").mkdir()
    model = Asked(("second/base",), ("./b", "org/b@rev"), str(tmp_path / "b"))
    for key in (
        "base",
        "second/base",
        "./b",
        "b",
        "b/",
        f"{tmp_path}/b",
        "other/../b",
        "org/b@rev",
    ):
        assert model.matches(key), key
    for key in ("first/base", "second", "org/b", "other", "", "/b"):
        assert not model.matches(key), key


def test_one_url_serves_the_one_model_and_several_serve_it_too() -> None:
    assert found(["http://host:8000"], [], [BASE]) == [[HOST]]
    assert found(["http://a#x", "http://b#y"], [], [BASE]) == [["http://a/v1#x", "http://b/v1#y"]]


def test_each_of_several_has_its_own() -> None:
    by_role = ["base=http://a#x", "judge_model=http://a#y", "base=http://b#x"]
    both = [["http://a/v1#x", "http://b/v1#x"], ["http://a/v1#y"]]
    assert found([], by_role, [BASE, JUDGE]) == both
    by_source = ["models/base=http://a#x", "org/judge=http://a#y", "/m/base=http://b#x"]
    assert found([], by_source, [BASE, JUDGE]) == both


def test_url_is_for_the_one_that_has_no_serve() -> None:
    assert found(["http://a"], ["judge_model=http://b#y"], [BASE, JUDGE]) == [
        ["http://a/v1"],
        ["http://b/v1#y"],
    ]


def test_two_models_at_one_url_are_refused_with_the_options_to_add() -> None:
    assert said(["http://host:8000"], [], [BASE, JUDGE]) == (
        "--url is for one model, and base (models/base) and judge_model (org/judge) are asked. Say "
        f"where each is: --serve base={HOST}#NAME --serve judge_model={HOST}#NAME."
    )


def test_no_server() -> None:
    assert said([], [], [BASE]) == (
        "--engine openai: no server is named for base (models/base). "
        "Add --url URL, or --serve base=URL#NAME."
    )
    assert said([], ["base=http://a#x"], [BASE, JUDGE]) == (
        "--engine openai: no server is named for judge_model (org/judge). "
        "Add --serve judge_model=URL#NAME."
    )


def test_a_server_for_nobody() -> None:
    assert said([], ["win_judge=http://a"], [BASE, JUDGE]) == (
        "--serve win_judge=...: no model that is asked is called win_judge. "
        "Those that are asked: base (models/base) and judge_model (org/judge)."
    )
    assert said([], ["base=http://a"], []).endswith("is called base. None is asked.")
    assert said(["http://a"], ["base=http://b"], [BASE]) == (
        "--url http://a/v1: every model that is asked has a --serve of its own. Leave --url out."
    )


def test_a_key_of_two_models() -> None:
    one, two = Asked(("first/base",), ("a",), "/m/a"), Asked(("second/base",), ("b",), "/m/b")
    assert said([], ["base=http://h"], [one, two]) == (
        "--serve base=...: first/base (a) and second/base (b) are called so, and are different "
        "models. Give the path of the one that is meant, or its name in full."
    )
    in_full = ["first/base=http://h#a", "b=http://h#b"]
    assert found([], in_full, [one, two]) == [["http://h/v1#a"], ["http://h/v1#b"]]


def test_where_nothing_is_left_to_ask_no_server_is_needed() -> None:
    base, judge = (Asked(m.roles, m.sources, m.path, due=False) for m in (BASE, JUDGE))
    assert found([], [], [base, judge]) == [[], []]
    assert found(["http://host:8000"], [], [base, judge]) == [[HOST], [HOST]]
    assert said(["http://h"], [], [base, JUDGE]).startswith("--url is for one model")
    assert "no server is named for judge_model" in said([], ["base=http://h"], [base, JUDGE])


# -- models that only a server has -----------------------------------------------------------------


def test_a_served_name_is_asked_by_its_name_at_every_url() -> None:
    a, b = Asked(sources=("a",)), Asked(sources=("b",))
    assert found(["http://h", "http://i"], [], [a, b]) == [
        ["http://h/v1#a", "http://i/v1#a"],
        ["http://h/v1#b", "http://i/v1#b"],
    ]
    assert found(["http://h#a"], [], [a]) == [["http://h/v1#a"]]
    assert found([], ["a=http://h#other"], [a]) == [["http://h/v1#other"]]
    assert said(["http://h#x"], [], [a]) == (
        "--url http://h/v1#x names x, and a is asked. Leave #x out, or write "
        "--serve a=http://h/v1#x."
    )


def test_a_folder_beside_a_served_name_has_to_be_told_apart() -> None:
    folder, name = Asked(sources=("./m",), path="/w/m"), Asked(sources=("a",))
    assert said(["http://h"], [], [folder, name]) == (
        "--url is for one model, and ./m and a are asked. Say where each is: "
        "--serve ./m=http://h/v1#NAME --serve a=http://h/v1#NAME."
    )
    assert found(["http://h"], ["./m=http://h#m"], [folder, name]) == [
        ["http://h/v1#m"],
        ["http://h/v1#a"],
    ]
