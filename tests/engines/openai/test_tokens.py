"""A server that is asked in token ids: what is sent, what is read, and adapters that come and go."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError
from woolgather.engines import open_engine
from woolgather.engines.base import EngineOptions, Request, Sampling, ask
from woolgather.engines.openai.adapters import find_at_servers, loads_adapters
from woolgather.engines.openai.serving import Endpoint, read_endpoint
from woolgather.engines.openai.tokens import TokenEngine
from woolgather.engines.vllm.adapters import name_adapter
from woolgather.prompting.messages import Message
from woolgather.prompting.renderer import Renderer

from .token_server import TokenServer, logprob, serving

CHAT = (Message("user", "What is in the list?"),)
Opened = Callable[..., TokenEngine]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving() as found:
        yield found


@pytest.fixture
def opened(server: TokenServer, tiny_model: Path) -> Iterator[Opened]:
    made: list[TokenEngine] = []

    def make(url: str = "", **more: Any) -> TokenEngine:
        template = more.pop("chat_template", "")
        options = EngineOptions(
            "openai", urls=(url or f"{server.url}#base",), token_ids=True, **more
        )
        found = open_engine(Model(str(tiny_model), "m", chat_template=template), options)
        assert isinstance(found, TokenEngine)
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


def test_prompts_tokens_ends_and_every_field_of_sampling_are_ours(
    server: TokenServer, opened: Opened, tiny_model: Path
) -> None:
    renderer = Renderer(tiny_model)
    server.text = [*renderer.continuation_ids("one two three"), 2]
    how = Sampling(temperature=0.5, max_tokens=9, stop=("three",), seed=7)
    (found,) = ask(opened(), [Request(CHAT, how)])
    assert (found.text, found.finish_reason) == ("one two ", "stop")
    assert found.prompt_tokens == len(renderer.prompt_ids(CHAT))
    assert server.asked == [
        {
            "model": "base",
            "prompt": renderer.prompt_ids(CHAT),
            "temperature": 0.5,
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "seed": 7,
            "max_tokens": 9,
            "stop": ["three"],
            "stop_token_ids": [*renderer.end_ids],
            "ignore_eos": True,
            "return_token_ids": True,
        }
    ]


def test_log_probabilities_behind_conversations(
    server: TokenServer, opened: Opened, tiny_model: Path
) -> None:
    engine, renderer = opened(), Renderer(tiny_model)
    prompt = renderer.prompt_ids(CHAT)
    y, n = (renderer.continuation_ids(text)[0] for text in "YN")
    assert engine.option_logprobs([CHAT, "a"], ["N", "Y", "N"])[0] == pytest.approx(
        [logprob(prompt, n), logprob(prompt, y), logprob(prompt, n)]
    )
    ids = renderer.continuation_ids("one two")
    (found,) = engine.sequence_logprobs([CHAT], ["one two"])
    assert found.tokens == len(ids)
    assert found.total == pytest.approx(
        sum(logprob(prompt + ids[:i], token) for i, token in enumerate(ids))
    )
    many = [chr(code) for code in range(65, 91)]
    assert engine.option_logprobs([CHAT], many)[0][:1] == pytest.approx(
        [logprob(prompt, renderer.continuation_ids("A")[0])]
    )
    with pytest.raises(CapabilityError, match="temperature 1 only"):
        engine.sequence_logprobs([CHAT], ["x"], temperature=2.0)


def test_a_template_that_was_chosen_is_used(server: TokenServer, opened: Opened) -> None:
    other = opened(chat_template="{% for m in messages %}{{ m['content'] }} !{% endfor %}")
    list(other.complete([Request(CHAT, Sampling(max_tokens=1))]))
    assert other.renderer.decode(server.asked[0]["prompt"]) == f"{CHAT[0].content} !"
    assert other.read_tokens([CHAT]).prompts == [server.asked[0]["prompt"]]


def test_a_server_of_words_alone_is_told_at_once(server: TokenServer, opened: Opened) -> None:
    server.gives_ids = False
    engine = opened()
    with pytest.raises(CapabilityError, match=r"no token ids of an answer.*Serve .* vLLM"):
        list(engine.complete([Request(CHAT, Sampling(max_tokens=1))]))
    with pytest.raises(
        CapabilityError, match=r"no log-probabilities of tokens that are named\. Serve .* vLLM"
    ):
        engine.sequence_logprobs([CHAT], ["x"])


# -- adapters --------------------------------------------------------------------------------------


def test_an_adapter_is_loaded_under_its_contents_name_and_unloaded(
    server: TokenServer, opened: Opened, adapter: Path
) -> None:
    name = name_adapter(str(adapter))
    engine = opened(adapter=str(adapter))
    assert server.adapters == {name: str(adapter)}
    list(engine.complete([Request(CHAT, Sampling(max_tokens=1))]))
    assert server.asked[0]["model"] == name
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
    assert found == EngineOptions(
        "openai", urls=(f"{server.url}/v1#base",), token_ids=True, adapter=str(adapter)
    )
    server.cards.append({"id": "there", "root": path})
    found = find_at_servers(path, str(adapter), at, options)
    assert found == EngineOptions("openai", urls=(f"{server.url}/v1#there",), token_ids=True)
    (adapter / "adapter_config.json").write_text('{"r": 8, "use_dora": true}')
    with pytest.raises(CapabilityError, match="no adapter with DoRA"):
        find_at_servers(str(tmp_path), str(adapter), at, options)
    assert loads_adapters(at[0], options)
    server.loads = False
    assert not loads_adapters(at[0], options)
    assert not loads_adapters(Endpoint("http://127.0.0.1:9/v1"), options)
