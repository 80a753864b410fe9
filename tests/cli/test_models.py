"""`eval` measures models side by side, `chat` talks with them: on the fake engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from woolgather import engines
from woolgather.api.named_models import resolve_models
from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, InputError
from woolgather.engines.base import Completion, EngineOptions, Request
from woolgather.engines.fake import FakeEngine, text_of

Call = Callable[..., Any]
HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;owned\x07[bold]x[/]"


class Scripted(FakeEngine):
    """Says what it was asked, and notes how it was asked and closed."""

    def __init__(self, model: Model, log: list[Any], ends: str = "stop") -> None:
        super().__init__(model=model)
        self.log = log
        self.ends = ends

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        for index, request in enumerate(requests):
            self.log.append(request)
            text = text_of(request.prompt).splitlines()[-1]
            yield index, Completion(f"heard {text} {HOSTILE}", self.ends)  # type: ignore[arg-type]

    def close(self) -> None:
        self.log.append("closed")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    kept: list[Any] = []
    monkeypatch.setattr(
        engines, "open_engine", lambda model, options, log=None: Scripted(model, kept)
    )
    return kept


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    lines = [
        {
            "instruction": f"Say {i}.",
            "input": "",
            "response": str(i),
            "check": {"kind": "contains", "any": [str(i)]},
        }
        for i in range(4)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


# -- eval ----------------------------------------------------------------------------------------


def test_eval_measures_with_nulls_and_intervals(told: Call, tasks: Path) -> None:
    [found] = told("eval", "any", "--engine", "fake", "--tasks", tasks, "--probes", 40)
    assert found["model"] == "any"
    assert found["probes"]["count"] == 40
    assert found["probes"]["low"] <= found["probes"]["value"] <= found["probes"]["high"]
    assert 0 < found["null"]["rate"] < 1
    assert found["above_null"]["value"] == pytest.approx(
        found["probes"]["value"] - found["null"]["rate"]
    )
    assert found["heldout"]["count"] == 4
    assert "against_first" not in found


def test_eval_takes_our_tasks_without_a_file_and_no_probes(told: Call) -> None:
    [found] = told("eval", "any", "--engine", "fake", "--probes", 0)
    assert found["heldout"]["count"] >= 60
    assert found["probes"] is None


def test_eval_compares_several_models_with_the_first(
    call: Call, told: Call, tasks: Path, log: list[Any]
) -> None:
    words = ["eval", "a", "b", "--engine", "fake", "--tasks", tasks, "--probes", 20]
    first, second = told(*words)
    assert second["against_first"]["heldout"]["value"] == 0
    assert second["against_first"]["heldout"]["count"] == 4
    assert first["heldout"]["value"] == 1.0
    assert log.count("closed") == 2
    text = call(*words).stdout
    assert "heldout against a" in text
    assert "probes above the best null answer" in text
    assert "not measured" not in text.split("heldout against a")[1]


def test_eval_with_another_seed_draws_other_probes(call: Call, tasks: Path, log: list[Any]) -> None:
    words = ["eval", "any", "--engine", "fake", "--tasks", tasks, "--probes", 20]
    asked = []
    for seed in (5, 5, 6):
        log.clear()
        call(*words, "--seed", seed)
        asked.append([str(each.prompt) for each in log if hasattr(each, "prompt")])
    assert len(asked[0]) >= 20
    assert asked[0] == asked[1]
    assert asked[0] != asked[2]


def test_eval_asks_as_told(call: Call, tasks: Path, log: list[Any]) -> None:
    words = ["eval", "any", "--engine", "fake", "--tasks", tasks, "--probes", 0]
    call(*words, "--prompt-format", "raw")
    assert isinstance(log[0].prompt, str)
    log.clear()
    call(*words, "--prompt-format", "chat")
    assert log[0].prompt[-1].role == "user"


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["eval", "x", "--engine", "sglang"], ConfigError, "transformers, vllm, openai or fake"),
        (["chat", "x", "--engine", "sglang"], ConfigError, "transformers, vllm, openai or fake"),
        (["eval", "./nowhere"], InputError, r"^\./nowhere: no such folder"),
        (["eval", "x", "--prompt-format", "icl"], ConfigError, "auto, chat or raw"),
        (["eval", "x", "--engine", "fake", "--tasks", "no.jsonl"], InputError, "no.jsonl"),
    ],
)
def test_mistakes_are_said(
    call: Call, words: list[str], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(*words)


def test_a_run_stands_for_its_result(a_run: Path) -> None:
    model = resolve_models([str(a_run)], EngineOptions())[0].model
    assert Path(model.path).name == "model"
    assert model.prompt_format == "raw"
    told = resolve_models([str(a_run)], EngineOptions(), "chat")[0].model
    assert told.prompt_format == "chat"


def test_a_run_without_a_result_says_how_to_get_one(a_run: Path) -> None:
    for path in a_run.glob("result-*/record.json"):
        path.unlink()
    with pytest.raises(InputError, match="no result yet"):
        resolve_models([str(a_run)], EngineOptions())


def test_auto_takes_the_format_that_references_speak_for(
    monkeypatch: pytest.MonkeyPatch, a_run: Path, tasks: Path
) -> None:
    from woolgather.data import read_examples
    from woolgather.engines.base import LogProb

    closed: list[Any] = []

    class Prefers(Scripted):
        def sequence_logprobs(self, prompts: Any, texts: Any, temperature: float = 1.0) -> Any:
            return [LogProb(-1.0 if isinstance(p, str) else -9.0, 1) for p in prompts]

    monkeypatch.setattr(engines, "open_engine", lambda model, options: Prefers(model, closed))
    folder = next(a_run.glob("result-*")) / "model"
    rows = list(read_examples(tasks))
    model = resolve_models([str(folder)], EngineOptions(), "auto", rows)[0].model
    assert model.prompt_format == "raw"
    assert closed == ["closed", "closed"]


def test_a_server_is_asked_by_the_models_name() -> None:
    options = EngineOptions("openai", urls=("http://localhost:1",))
    [named] = resolve_models(["org/name"], options)
    assert named.options.urls == ("http://localhost:1/v1#org/name",)
    assert (named.model.path, named.model.prompt_format) == ("org/name", "chat")


# -- chat ----------------------------------------------------------------------------------------


def test_chat_answers_line_by_line_and_remembers(call: Call, log: list[Any]) -> None:
    result = call(
        "chat", "any", "--engine", "fake", "--system", "Be kind.", input="hello\n\nagain\n"
    )
    assert result.exit_code == 0
    assert "heard user: hello red [bold]x[/]" in result.stdout
    assert "\x1b" not in result.stdout
    second = log[1].prompt
    assert [m.role for m in second] == ["system", "user", "assistant", "user"]
    assert second[0].content == "Be kind."
    assert second[1].content == "hello"
    assert log[0].sampling.seed != log[1].sampling.seed
    assert log[-1] == "closed"


def test_chat_resets_and_exits(call: Call, log: list[Any]) -> None:
    result = call("chat", "any", "--engine", "fake", input="one\n/reset\ntwo\n/exit\nthree\n")
    requests = log[:-1]
    assert [len(r.prompt) for r in requests] == [1, 1]
    assert "a new conversation" in result.stdout
    assert "three" not in result.stdout


def test_chat_with_two_models_keeps_their_pasts_apart(call: Call, log: list[Any]) -> None:
    result = call("chat", "mine", "--against", "theirs", "--engine", "fake", input="one\ntwo\n")
    assert "mine" in result.stdout
    assert "theirs" in result.stdout
    assert result.stdout.count("heard user: two") == 2
    assert len(log) == 4 + 2


def test_chat_with_a_raw_model_writes_blocks(call: Call, log: list[Any]) -> None:
    call("chat", "any", "--engine", "fake", "--prompt-format", "raw", input="one\ntwo\n")
    assert log[0].prompt == "one\n"
    assert log[1].prompt.endswith("### Task\ntwo\n\n### Answer\n")
    assert log[1].sampling.stop


@pytest.mark.parametrize(
    ("ends", "note"), [("too_long", "/reset"), ("length", "--max-tokens 7"), ("error", "again")]
)
def test_chat_says_when_an_answer_did_not_end(
    call: Call, monkeypatch: pytest.MonkeyPatch, ends: str, note: str
) -> None:
    monkeypatch.setattr(engines, "open_engine", lambda model, options: Scripted(model, [], ends))
    result = call("chat", "any", "--engine", "fake", "--max-tokens", 7, input="hello\n")
    assert note in result.stdout
