"""The engine `vllm` over the stub in stub/, and over a real vLLM where there is one."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model, PromptFormat
from woolgather.core.errors import ConfigError
from woolgather.engines.base import EngineOptions, Request, Sampling
from woolgather.engines.vllm.engine import VllmEngine
from woolgather.engines.vllm.interpreter import Interpreter, ask_interpreter, find_interpreter

STUB = Path(__file__).with_name("stub")


@dataclass
class Asked:
    """The requests that a stub wrote down."""

    path: Path

    def forget(self) -> None:
        self.path.write_text("")

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Our own interpreter finds the stub under the name vllm, and our own package under no name."""
    monkeypatch.setenv("PYTHONPATH", str(STUB))
    ask_interpreter.cache_clear()
    yield
    ask_interpreter.cache_clear()


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """What the stub of `shared` was asked."""
    return Asked(tmp_path_factory.mktemp("shared") / "asked")


@pytest.fixture(scope="module")
def shared(asked: Asked, tiny_model: Path) -> Iterator[VllmEngine]:
    """An engine for the tests that leave it as it was: each start of a child takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(STUB))
        patch.setenv("VLLM_STUB_LOG", str(asked.path))
        ask_interpreter.cache_clear()
        options = EngineOptions(python=sys.executable, dtype="float32", args={"max_num_seqs": 100})
        engine = VllmEngine(Model(str(tiny_model), "print", "chat"), options)
        list(engine.complete([Request("a", Sampling(max_tokens=1))]))
    ask_interpreter.cache_clear()
    yield engine
    engine.close()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "engine.log"


@pytest.fixture
def open_stub(stubbed: None, log: Path) -> Iterator[Callable[..., VllmEngine]]:
    """(path of a model, options) -> an engine over the stub, which is closed in the end."""
    made: list[VllmEngine] = []

    def make(path: Path, form: PromptFormat = "raw", **options: Any) -> VllmEngine:
        settings = {"python": sys.executable, "dtype": "float32", **options}
        made.append(VllmEngine(Model(str(path), "print", form), EngineOptions(**settings), log))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@pytest.fixture(scope="session")
def real_vllm() -> Interpreter:
    """The interpreter that `make vllm-cpu` builds, or that WOOLGATHER_VLLM_PYTHON names. One that is
    named, or there, and does not work is a failure: only where there is none are the tests left out."""
    named = os.environ.get("WOOLGATHER_VLLM_PYTHON", "")
    try:
        found = find_interpreter(named)
    except ConfigError as error:
        if named or "vLLM is not here" not in str(error):
            raise
        pytest.skip(str(error))
    if "vllm-cpu" not in dict(found.packages):
        pytest.skip(f"{found.python} has no vllm-cpu, whose answers on a CPU these tests know")
    return found
