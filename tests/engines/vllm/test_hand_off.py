"""A model in two programs: what is compared, what is allowed, and what is kept."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, EngineError
from woolgather.engines.base import Completion, Engine, EngineOptions, LogProb, Request, Tokens
from woolgather.engines.vllm.hand_off import ALLOWED, FILE, PROMPTS, REPLIES, HandOff
from woolgather.prompting.messages import Prompt

BASE, TUNED, JUDGE = Model("base", "b"), Model("tuned", "t"), Model("judge", "j")
VLLM = EngineOptions(name="vllm", python="p", args={"a": 1})


@dataclass
class Asked:
    """What the two programs say, and which were asked."""

    gaps: dict[str, float]
    """By model, what vLLM adds to each token's log-probability."""
    theirs: dict[str, Any] = field(default_factory=dict)
    """Fields of vLLM's Tokens that are other than ours."""
    opened: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    loaded: int = 0
    without_torch: bool = False

    def open(self, model: Model, options: EngineOptions) -> Engine:
        return Program(model, options, self)


class Program(Engine):
    def __init__(self, model: Model, options: EngineOptions, asked: Asked) -> None:
        super().__init__(model)
        self.options, self.asked, self.loads = options, asked, False
        self.served = [{"vllm": "0.32.0"}]

    def load(self) -> None:
        if self.loads:
            return
        assert self.asked.loaded == 0, "two models in memory"
        if self.asked.without_torch and self.options.name == "transformers":
            raise ConfigError("needs a package that is missing")
        self.loads = True
        self.asked.loaded += 1
        self.asked.opened.append(f"{self.options.name} {self.model.path}")

    def close(self) -> None:
        self.asked.loaded -= self.loads
        self.loads = False

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        raise AssertionError("a hand-off check generates nothing")

    def read_tokens(self, prompts: Sequence[Prompt]) -> Tokens:
        self.load()
        told = {"prompts": [[len(str(p))] for p in prompts], "end_ids": [2], "template": "{{ x }}"}
        return Tokens(**{**told, **(self.asked.theirs if self.options.name == "vllm" else {})})

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        self.load()
        gap = self.asked.gaps[self.model.path] if self.options.name == "vllm" else 0.0
        # Half of the texts are likelier there, half less.
        return [
            LogProb(-3.0 * len(text) + gap * len(text) * (-1) ** i, len(text))
            for i, text in enumerate(continuations)
        ]


def check(hand_off: HandOff, asked: Asked, model: Model, made: bool = True) -> None:
    engine = asked.open(model, VLLM)
    try:
        hand_off.check(engine, VLLM, f"the {model.path}", made=made)
    finally:
        engine.close()


def hand_off_of(folder: Path, asked: Asked) -> HandOff:
    return HandOff(folder, asked.open, asked.told.append, BASE)


def test_there_are_sixteen() -> None:
    assert len(PROMPTS) == len(REPLIES) == len(set(REPLIES)) == 16


def test_a_tuned_model_is_measured_by_its_base_and_once(tmp_path: Path) -> None:
    asked = Asked({"base": 0.01, "tuned": 0.025})
    hand_off = hand_off_of(tmp_path, asked)
    check(hand_off, asked, TUNED)
    assert asked.opened == ["transformers base", "vllm base", "transformers tuned", "vllm tuned"]
    stored = json.loads((tmp_path / FILE).read_text())
    assert stored["b"]["gap"] == pytest.approx(0.01)
    assert "allowed" not in stored["b"]
    assert (stored["t"]["model"], stored["t"]["gap"]) == ("the tuned", pytest.approx(0.025))
    assert stored["t"]["allowed"] == pytest.approx(0.01 + ALLOWED)
    assert stored["t"]["how"] == {
        "programs": [{"vllm": "0.32.0"}],
        "dtype": "auto",
        "args": {"a": 1},
    }
    assert asked.told == [
        "base: vllm is 0.0100 nats per token from transformers",
        "the tuned: vllm is 0.0250 nats per token from transformers, 0.0300 are allowed",
    ]
    asked.opened.clear()
    check(hand_off_of(tmp_path, asked), asked, TUNED)
    check(hand_off, asked, BASE, made=False)
    assert asked.opened == []


def test_a_base_that_is_on_record_is_not_asked_again(tmp_path: Path) -> None:
    asked = Asked({"base": 0.0, "tuned": 0.0})
    hand_off = hand_off_of(tmp_path, asked)
    check(hand_off, asked, BASE, made=False)
    check(hand_off, asked, TUNED)
    assert asked.opened == ["transformers base", "vllm base", "transformers tuned", "vllm tuned"]


def test_another_precision_is_measured_anew(tmp_path: Path) -> None:
    asked = Asked({"base": 0.0})
    hand_off = hand_off_of(tmp_path, asked)
    check(hand_off, asked, BASE, made=False)
    engine = asked.open(BASE, VLLM)
    hand_off.check(engine, EngineOptions(name="vllm", dtype="float32"), "base", made=False)
    assert asked.opened == ["transformers base", "vllm base"] * 2


def test_what_the_run_has_not_made_is_not_compared(tmp_path: Path) -> None:
    asked = Asked({"judge": 5.0})
    check(hand_off_of(tmp_path, asked), asked, JUDGE, made=False)
    assert asked.opened == []


@pytest.mark.parametrize("gap", [0.031, float("nan")])
def test_beyond_the_bound_the_run_stops_and_nothing_is_kept(tmp_path: Path, gap: float) -> None:
    asked = Asked({"base": 0.01, "tuned": gap})
    for _ in range(2):
        with pytest.raises(EngineError, match=r"the tuned: .*0.030 is allowed.*suspect what vLLM"):
            check(hand_off_of(tmp_path, asked), asked, TUNED)
    assert [*json.loads((tmp_path / FILE).read_text())] == ["b"]


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        ({"prompts": [[1]] * 16}, "make other tokens of 'What is the largest planet"),
        ({"end_ids": [2, 3]}, r"ends at the tokens \[2, 3\] in one"),
        ({"template": "{{ y }}"}, "two chat templates"),
    ],
)
def test_other_tokens_stop_the_run_at_the_base_already(
    tmp_path: Path, theirs: dict[str, Any], told: str
) -> None:
    asked = Asked({"base": 0.0}, theirs)
    with pytest.raises(EngineError, match=rf"the base: .*{told}.*[Ss]uspect the versions"):
        check(hand_off_of(tmp_path, asked), asked, BASE, made=False)
    assert not (tmp_path / FILE).exists()


def test_a_base_can_be_asked_where_nothing_could_train_it(tmp_path: Path) -> None:
    asked = Asked({"base": 0.0}, without_torch=True)
    check(hand_off_of(tmp_path, asked), asked, BASE, made=False)
    assert "not compared" in asked.told[0]
    with pytest.raises(ConfigError, match="missing"):
        check(hand_off_of(tmp_path, asked), asked, TUNED)


def test_a_run_without_a_base_allows_the_bound_alone(tmp_path: Path) -> None:
    asked = Asked({"tuned": 0.019})
    hand_off = hand_off_of(tmp_path, asked)
    hand_off.base = None
    check(hand_off, asked, TUNED)
    assert asked.opened == ["transformers tuned", "vllm tuned"]
