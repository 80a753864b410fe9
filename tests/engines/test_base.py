"""What an engine has without a line of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import pytest

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError
from woolgather.engines.base import Completion, Engine, LogProb, Request, Sampling
from woolgather.prompting.messages import Message, Prompt

MODEL = Model("m", "f00d", "raw")


class Plain(Engine):
    """Completes, and nothing else."""

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        for index, request in enumerate(requests):
            yield index, Completion(str(request.prompt), "stop")


class Scoring(Plain):
    """Scores sequences, and counts how often it is asked."""

    asked = 0

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        self.asked += 1
        pairs = zip(prompts, continuations, strict=True)
        return [LogProb(-len(p) - len(c) / 10, 1) for p, c in pairs]


def test_an_engine_must_complete() -> None:
    with pytest.raises(TypeError, match="complete"):
        Engine(MODEL)  # type: ignore[abstract]
    assert Plain(MODEL).model is MODEL
    Plain(MODEL).close()


def test_what_an_engine_cannot_it_says_and_names_the_remedy() -> None:
    engine = Plain(MODEL)
    with pytest.raises(
        CapabilityError, match=r"Plain gives no embeddings\. Use --engine transformers"
    ):
        engine.embed(["a"])
    with pytest.raises(
        CapabilityError, match=r"Plain gives no log-probabilities\. Use --engine transformers"
    ):
        engine.sequence_logprobs(["a"], ["b"])
    with pytest.raises(CapabilityError, match="log-probabilities"):
        engine.option_logprobs(["a"], ["b"])


def test_options_are_scored_as_sequences_in_one_call() -> None:
    engine = Scoring(MODEL)
    assert engine.option_logprobs(["a", "bb"], ["x", "yy", "zzz"]) == [
        [-1.1, -1.2, -1.3],
        [-2.1, -2.2, -2.3],
    ]
    assert engine.asked == 1
    assert engine.option_logprobs([], ["x"]) == []
    assert engine.option_logprobs(["a"], []) == [[]]


def test_a_conversation_in_chatml_is_sent_as_a_text_that_ends_where_a_turn_does() -> None:
    talk = Request((Message("user", "hi"),), Sampling(stop=("END",), max_tokens=3))
    sent = talk.spell_out("chatml")
    assert sent.prompt == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert sent.sampling == Sampling(stop=("END", "<|im_end|>"), max_tokens=3)
    again = Request(talk.prompt, sent.sampling).spell_out("chatml")
    assert again == sent, "a stop text that is there already is not added"
    text = Request("hi", Sampling())
    assert talk.spell_out("chat") is talk
    assert text.spell_out("chatml") is text
