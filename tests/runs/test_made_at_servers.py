"""Models that a run makes, asked at a server that loads their adapters or lists their directories."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError, EngineError
from woolgather.core.rows import Example
from woolgather.engines import open_engine
from woolgather.engines.base import Completion, Engine, EngineOptions, Request
from woolgather.engines.rendered import Pair, RenderedEngine
from woolgather.engines.vllm.adapters import name_adapter
from woolgather.runs.call import StepChoices
from woolgather.runs.folder import AskedRecipe
from woolgather.runs.progress import Progress
from woolgather.runs.run import Backends, Run
from woolgather.training.job import LoraOptions, SftOptions

from ..engines.openai.token_server import TokenServer, logprob, serving
from .asking import NoTrainer, records, states, write

LORA, FULL = SftOptions(lora=LoraOptions()), SftOptions(lora=None)


class Trains(RenderedEngine):
    """In place of the program that trains: says of a text what the server says."""

    context = 512

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        raise AssertionError("asked here, not at the server")

    def _score(self, pairs: Sequence[Pair], temperature: float) -> list[float]:
        return [
            sum(logprob(prompt + ids[:i], token) for i, token in enumerate(ids))
            for prompt, ids in pairs
        ]

    def _score_next(
        self, prompts: Sequence[list[int]], options: Sequence[int]
    ) -> list[list[float]]:
        raise AssertionError


def tune(rows: Iterable[Example], *, start: Model, config: SftOptions, out: Path) -> Model:
    list(rows)
    (out / "model").mkdir()
    told = {"base_model_name_or_path": start.path, "r": 8}
    if config.lora:
        (out / "model" / "adapter_config.json").write_text(json.dumps(told))
    else:
        shutil.copytree(start.path, out / "model", dirs_exist_ok=True)
    return Model(str(out / "model"))


def merge(model: Model, *, out: Path, scale: float = 1.0) -> Model:
    told = json.loads((Path(model.path) / "adapter_config.json").read_text())
    shutil.copytree(told["base_model_name_or_path"], out / "model")
    return Model(str(out / "model"))


class Told(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with serving() as found:
        yield found


Go = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def go(server: TokenServer, tiny_model: Path, folder: Path) -> Go:
    """Runs, or plans, one iteration; returns what was told."""

    def start(model: Model, options: EngineOptions, log: Path) -> Engine:
        here = options.name == "transformers"
        return Trains(model, options) if here else open_engine(model, options, log)

    def make(
        config: SftOptions = LORA,
        *,
        scale: float = 1.0,
        plan: bool = False,
        engine: str = "openai",
        serve: Sequence[str] = (),
        redo: Sequence[str] = (),
    ) -> str:
        at = (f"base={server.url}#base", *serve)
        backends = Backends(start, NoTrainer(), EngineOptions(engine, serve=at, dtype="float32"))
        choices, progress = StepChoices(redo=frozenset(redo)), Told()
        with Run(
            folder, AskedRecipe("made"), backends, choices, plan=plan, progress=progress
        ) as run:
            base = run.model("base", str(tiny_model))
            rows = run.step("write", write, run.engine(base))
            tuned = run.step("iter0/train", tune, rows, start=base, config=config)
            if config.lora:
                tuned = run.step("iter0/train-merge", merge, tuned, scale=scale)
            run.step("measure", write, run.engine(tuned), words=("six", "ten"))
        if plan:
            run.check_servers()
        return "\n".join(progress.notes)

    return make


def answering(server: TokenServer) -> list[str]:
    """The names that were asked for answers, in order; the check asks for single tokens."""
    return [body["model"] for body in server.asked if body["max_tokens"] > 1]


def made_in(folder: Path, step: str) -> str:
    (found,) = folder.glob(f"{step}-{12 * '[0-9a-f]'}/model")
    return str(found)


# -- adapters --------------------------------------------------------------------------------------


def test_a_merged_model_is_asked_as_its_adapter_on_the_servers_base(
    go: Go, server: TokenServer, folder: Path
) -> None:
    server.gap = 0.01
    go(plan=True)
    assert server.asked == []
    told = go()
    name = name_adapter(made_in(folder, "iter0/train"))
    assert server.history == [f"+{name}", f"-{name}"]
    assert answering(server) == ["base"] * 3 + [name] * 2
    assert "train-merge: the server is 0.0100 nats per token from transformers, 0.0200 are" in told
    assert len(json.loads((folder / "hand-off.json").read_text())) == 2
    (served,) = records(folder)["measure"].execution["engine"]["served"]
    assert (served["model"], served["name"]) == ("iter0/train-merge", name)
    server.asked.clear()
    assert go() == ""
    assert server.asked == []
    assert {state for state, _ in states(folder).values()} == {"remembered"}
    server.asked.clear()
    go(redo=("measure",))
    assert server.asked == []  # what was answered is in the journal
    assert {state for state, _ in states(folder).values()} == {"remembered", "ran"}


def test_an_answer_that_is_another_models_stops_the_run(go: Go, server: TokenServer) -> None:
    server.gap = 0.03
    with pytest.raises(
        EngineError, match=r"from the server .* by 0\.030 .* 0\.020 is allowed.*this name"
    ):
        go()
    assert answering(server) == ["base"] * 3
    assert server.adapters == {}


@pytest.mark.parametrize("how", ["server", "scale", "full"])
def test_what_no_server_will_have_is_refused_before_any_work(
    go: Go, server: TokenServer, folder: Path, how: str
) -> None:
    server.loads = how != "server"
    with pytest.raises(
        ConfigError, match=r"measure asks the model that iter0/train.* transformers"
    ):
        go(FULL if how == "full" else LORA, scale=0.5 if how == "scale" else 1.0, plan=True)
    assert server.asked == []
    assert not folder.exists()


def test_a_refused_adapter_ends_the_run_with_the_servers_words(go: Go, server: TokenServer) -> None:
    server.refusal = "rank 8 is greater than max_lora_rank 4"
    with pytest.raises(CapabilityError, match=r"does not load .*: rank 8 is greater"):
        go()


# -- directories -----------------------------------------------------------------------------------


def test_a_directory_is_asked_where_the_server_lists_it(
    go: Go, server: TokenServer, folder: Path
) -> None:
    with pytest.raises(ConfigError, match="measure asks the model that iter0/train makes"):
        go(FULL)  # trained by now, and refused
    server.cards.append({"id": "tuned", "root": made_in(folder, "iter0/train")})
    server.asked.clear()
    assert "iter0/train: the server is 0.0000 nats per token" in go(FULL)
    assert answering(server) == ["tuned"] * 2
    assert server.history == []


@pytest.mark.parametrize("engine", ["openai", "transformers"])
def test_a_step_that_serve_names_is_asked_there(go: Go, server: TokenServer, engine: str) -> None:
    server.cards.append({"id": "mine"})
    serve = (f"iter0/train={server.url}#mine",)
    go(FULL, engine=engine, serve=serve, plan=True)
    told = go(FULL, engine=engine, serve=serve)
    assert "iter0/train: the server is 0.0000 nats per token" in told
    assert answering(server) == ["base"] * 3 + ["mine"] * 2


def test_where_the_server_takes_words_alone_it_is_said_what_was_not_compared(
    go: Go, server: TokenServer, folder: Path
) -> None:
    server.gives_ids = False
    server.cards.append({"id": "mine"})
    told = go(FULL, serve=(f"iter0/train={server.url}#mine",))
    assert "iter0/train: not compared with what trains: " in told
    assert "no log-probabilities of the prompt in the answer" in told
    assert answering(server) == ["base"] * 3 + ["mine"] * 2
    assert not (folder / "hand-off.json").exists()
