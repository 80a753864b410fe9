"""Servers and engines that tests of several files ask."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.engines.base import EngineOptions
from woolgather.engines.openai.engine import OpenAIEngine
from woolgather.engines.openai.server import Patience

from .serving import MODEL, QUICK, Told
from .tiny import make


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

    def make(
        *urls: str, patience: Patience = QUICK, model: Model = MODEL, **options: Any
    ) -> OpenAIEngine:
        engine = OpenAIEngine(model, EngineOptions(name="openai", urls=urls, **options), patience)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


@pytest.fixture
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tiny models gain nothing from more threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if "smollm2" in request.fixturenames else 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> Any:
    return make(tiny_model)


@pytest.fixture(params=["shared", "plain"])
def either(request: pytest.FixtureRequest, tiny_model: Path) -> Any:
    """The engine on both of its ways through a model."""
    made = make(tiny_model)
    if request.param == "plain":
        made._net.set_attn_implementation("sdpa")
        made.shares = False
    else:
        assert made.shares
    return made
