"""Servers that load adapters: how they are asked, and adapters that come and go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError
from woolgather.engines import open_engine
from woolgather.engines.base import EngineOptions, Request, Sampling
from woolgather.engines.openai.adapters import find_at_servers, loads_adapters
from woolgather.engines.openai.engine import OpenAIEngine
from woolgather.engines.openai.serving import Endpoint, read_endpoint
from woolgather.engines.vllm.adapters import name_adapter
from woolgather.prompting.messages import Message
from woolgather.prompting.renderer import Renderer

from .token_server import TokenServer, logprob, serving

CHAT = (Message("user", "What is in the list?"),)
Opened = Callable[..., OpenAIEngine]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving() as found:
        yield found


@pytest.fixture
def opened(server: TokenServer, tiny_model: Path) -> Iterator[Opened]:
    made: list[OpenAIEngine] = []
    server.count = lambda text: len(Renderer(tiny_model).prompt_ids(text, "raw"))

    def make(url: str = "", **more: Any) -> OpenAIEngine:
        options = EngineOptions("openai", urls=(url or f"{server.url}#base",), **more)
        found = open_engine(Model(str(tiny_model), "m"), options)
        assert isinstance(found, OpenAIEngine)
        made.append(found)
        return found

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def adapter(tmp_path: Path, tiny_model: Path) -> Path:
    folder = tmp_path / "adapter"
    folder.mkdir()
    told = {"base_model_name_or_path": str(tiny_model), "r": 8}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    return folder


def test_log_probabilities_where_adapters_are_loaded_are_asked_token_by_token(
    server: TokenServer, opened: Opened, tiny_model: Path
) -> None:
    engine, renderer = opened(), Renderer(tiny_model)
    prompt = renderer.prompt_ids(CHAT)
    ids = renderer.continuation_ids("one two")
    (found,) = engine.sequence_logprobs([CHAT], ["one two"])
    assert found.tokens == len(ids)
    assert found.total == pytest.approx(
        sum(logprob(prompt + ids[:i], token) for i, token in enumerate(ids))
    )
    assert not any("echo" in body for body in server.asked)
    assert engine.served[0]["log_probabilities"] == "named"
    y, n = (renderer.continuation_ids(text)[0] for text in "YN")
    assert engine.option_logprobs([CHAT], ["N", "Y", "N"])[0] == pytest.approx(
        [logprob(prompt, n), logprob(prompt, y), logprob(prompt, n)]
    )


# -- adapters --------------------------------------------------------------------------------------


def test_an_adapter_is_loaded_under_its_contents_name_and_unloaded(
    server: TokenServer, opened: Opened, adapter: Path, tiny_model: Path
) -> None:
    name = name_adapter(str(adapter))
    engine = opened(adapter=str(adapter))
    assert server.adapters == {name: str(adapter)}
    list(engine.complete([Request(CHAT, Sampling(max_tokens=1))]))
    assert {body["model"] for body in server.asked} == {name}
    assert server.asked[-1]["prompt"] == Renderer(tiny_model).prompt_ids(CHAT)
    engine.close()
    engine.close()
    assert server.history == [f"+{name}", f"-{name}"]
    (adapter / "adapter_model.safetensors").write_bytes(b"other weights")
    assert name_adapter(str(adapter)) != name


def test_an_adapter_that_was_there_stays(
    server: TokenServer, opened: Opened, adapter: Path
) -> None:
    server.adapters[name_adapter(str(adapter))] = "elsewhere"
    opened(adapter=str(adapter)).close()
    assert server.history == []


def test_an_adapter_that_is_refused_is_told_with_the_servers_words(
    server: TokenServer, opened: Opened, adapter: Path
) -> None:
    server.refusal = "LoRA rank 64 is greater than max_lora_rank 16."
    with pytest.raises(CapabilityError, match=r"status 400: LoRA rank 64 is .*--max-lora-rank"):
        opened(adapter=str(adapter))
    with pytest.raises(CapabilityError, match=r"127.0.0.1:9/v1: does not load .*status 0"):
        opened("http://127.0.0.1:9#base", adapter=str(adapter))


def test_what_a_server_takes_up_while_it_runs(
    server: TokenServer, adapter: Path, tmp_path: Path
) -> None:
    options, at = EngineOptions("openai"), (read_endpoint(f"{server.url}#base"),)
    path = str(tmp_path / "merged")
    assert find_at_servers(path, "", at, options) is None
    found = find_at_servers(path, str(adapter), at, options)
    assert found == EngineOptions("openai", urls=(f"{server.url}/v1#base",), adapter=str(adapter))
    server.cards.append({"id": "there", "root": path})
    found = find_at_servers(path, str(adapter), at, options)
    assert found == EngineOptions("openai", urls=(f"{server.url}/v1#there",))
    (adapter / "adapter_config.json").write_text('{"r": 8, "use_dora": true}')
    with pytest.raises(CapabilityError, match="no adapter with DoRA"):
        find_at_servers(str(tmp_path), str(adapter), at, options)
    assert loads_adapters(at[0], options)
    server.loads = False
    assert not loads_adapters(at[0], options)
    assert not loads_adapters(Endpoint("http://127.0.0.1:9/v1"), options)
