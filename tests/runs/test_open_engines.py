"""One model in memory at a time, any number at servers, and tuned models that vLLM has are held against
the trainer's."""

import json
from collections.abc import Sequence
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.engines.base import Engine, EngineOptions, LogProb, Tokens
from woolgather.engines.fake import FakeEngine
from woolgather.prompting.messages import Prompt
from woolgather.runs.execute import Backends
from woolgather.runs.models import RunModels
from woolgather.runs.open_engines import OpenEngines
from woolgather.runs.progress import Progress
from woolgather.training.fake import FakeTrainer

BASE, TUNED = Model("fake", "b"), Model("fake-tuned", "t")


class Noted(FakeEngine):
    """Notes when it is opened, asked and closed."""

    def __init__(self, model: Model, options: EngineOptions, notes: list[str]) -> None:
        super().__init__(model=model)
        self.name, self.notes = f"{options.name} {model.fingerprint}", notes

    def read_tokens(self, prompts: Sequence[Prompt]) -> Tokens:
        self.notes.append(f"read {self.name}")
        return Tokens([[1] for _ in prompts], [2], "")

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        return [LogProb(-1.0, 1) for _ in prompts]

    def close(self) -> None:
        self.notes.append(f"close {self.name}")


def open_both(folder: Path, name: str) -> list[str]:
    options, notes = EngineOptions(name=name), []

    def open_engine(model: Model, options: EngineOptions, log: Path) -> Engine:
        assert log == folder / "engine.log"
        return Noted(model, options, notes)

    models = RunModels(options)
    models.bring("base", "fake", BASE)
    models._made["t"] = "iter0/train"
    engines = OpenEngines(folder, Backends(open_engine, FakeTrainer()), models, Progress())
    for model in (BASE, BASE, TUNED):
        engines.open(model, options)
    engines.close(keep=TUNED)
    engines.close()
    return notes


def test_with_vllm_each_model_is_read_in_both_programs(tmp_path: Path) -> None:
    assert open_both(tmp_path, "vllm") == [
        *("read transformers b", "close transformers b", "read vllm b", "close vllm b"),
        "close vllm b",  # opened to see whether its gap is on record
        *("read transformers t", "close transformers t", "read vllm t", "close vllm t"),
    ]
    stored = json.loads((tmp_path / "hand-off.json").read_text())
    assert {entry["model"] for entry in stored.values()} == {"base", "iter0/train"}


def test_with_another_engine_nothing_is_compared(tmp_path: Path) -> None:
    assert open_both(tmp_path, "transformers") == ["close transformers b", "close transformers t"]
    assert not (tmp_path / "hand-off.json").exists()


def test_what_is_in_memory_is_taken_over_where_it_serves_the_next(tmp_path: Path) -> None:
    notes: list[str] = []

    class Taking(Noted):
        def take_over(self, other: Engine) -> bool:
            notes.append(f"{self.name} takes {other.model.fingerprint}")
            return True

    backends = Backends(lambda m, o, log: Taking(m, o, notes), FakeTrainer())
    options = EngineOptions()
    engines = OpenEngines(tmp_path, backends, RunModels(options), Progress())
    for model in (BASE, TUNED):
        engines.open(model, options)
    engines.close()
    assert notes == ["transformers t takes b", "close transformers t"]


def test_a_model_at_a_server_stays_open_beside_the_one_in_memory(tmp_path: Path) -> None:
    options, notes = EngineOptions(serve=("judge=http://host#j",)), []
    judge = Model("fake-judge", "j")
    models = RunModels(options)
    models.bring("judge", "fake-judge", judge)
    backends = Backends(lambda m, o, log: Noted(m, o, notes), FakeTrainer())
    engines = OpenEngines(tmp_path, backends, models, Progress())
    first = [engines.open(model, options) for model in (BASE, judge)]
    assert [engines.open(model, options) for model in (BASE, judge)] == first
    engines.open(TUNED, options)
    assert notes == ["close transformers b"]
    engines.close()
    assert sorted(notes[1:]) == ["close openai j", "close transformers t"]


def test_one_model_with_two_chat_templates_has_two_engines(tmp_path: Path) -> None:
    notes: list[str] = []
    backends = Backends(lambda m, o, log: Noted(m, o, notes), FakeTrainer())
    options = EngineOptions()
    engines = OpenEngines(tmp_path, backends, RunModels(options), Progress())
    other = BASE.with_template("{{ messages }}")
    first, second = engines.open(BASE, options), engines.open(other, options)
    assert (first.model, second.model) == (BASE, other)
    assert engines.open(other, options) is second
    assert notes == ["close transformers b"]
