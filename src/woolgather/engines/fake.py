"""Scripted or hashed answers: the test double, and a real engine for a dry run.

`FakeEngine(["Score: 5", ...])` answers with the script in order and then from its start again;
`FakeEngine(answer=f)` calls `f(prompt_text, sampling)`; `FakeEngine()` derives a short text from a
hash of the request, so equal requests have equal answers on every machine. Log-probabilities and
embeddings are hashed too.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from woolgather.core.artifacts import Model
from woolgather.engines.base import Completion, Engine, LogProb, Request, Sampling
from woolgather.prompting.messages import Prompt

FAKE_MODEL = Model(path="fake", fingerprint="fake", prompt_format="chat")
_WORDS = [
    "amber",
    "basin",
    "candle",
    "delta",
    "ember",
    "fable",
    "garden",
    "harbor",
    "island",
    "jigsaw",
    "kettle",
    "lantern",
    "meadow",
    "north",
    "orchard",
    "pebble",
    "quilt",
    "river",
    "saddle",
    "timber",
    "umbrella",
    "valley",
    "willow",
    "yonder",
    "zephyr",
    "apple",
    "bridge",
    "copper",
    "draft",
    "engine",
    "flour",
    "glass",
    "honey",
    "iron",
    "juice",
    "kitten",
    "lemon",
    "mirror",
    "needle",
    "olive",
    "paper",
]
_OPEN_ITEM = re.compile(r"(?:^|\n)(?:assistant: )?(\d+)\.$")


class FakeEngine(Engine):
    """The engine that the module's docstring describes. `calls` counts what it was asked."""

    def __init__(
        self,
        script: Sequence[str] = (),
        *,
        answer: Callable[[str, Sampling], str] | None = None,
        model: Model = FAKE_MODEL,
    ) -> None:
        super().__init__(model)
        self._script = list(script)
        self._answer = answer
        self.calls = 0

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        for index, request in enumerate(requests):
            prompt = text_of(request.prompt)
            if self._script:
                text = self._script[self.calls % len(self._script)]
            elif self._answer:
                text = self._answer(prompt, request.sampling)
            else:
                text = make_text(prompt, request.sampling)
            self.calls += 1
            yield index, _cut(text, request.sampling, len(prompt.split()))

    def option_logprobs(
        self, prompts: Sequence[Prompt], options: Sequence[str]
    ) -> list[list[float]]:
        return [[-4 * _unit(text_of(p), o) - 0.01 for o in options] for p in prompts]

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        out = []
        for prompt, text in zip(prompts, continuations, strict=True):
            n = max(1, len(text.split()))
            out.append(LogProb(-n * (1 + _unit(text_of(prompt), text)) / temperature, n))
        return out

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return [[_unit(t, str(i)) - 0.5 for i in range(8)] for t in texts]


def text_of(prompt: Prompt) -> str:
    """Returns a prompt as one text, with the role before each turn; for test doubles and for messages to
    people."""
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{m.role}: {m.content}" for m in prompt)


def make_text(prompt: str, sampling: Sampling) -> str:
    """Returns a few words that follow from the request alone; items where a list is open."""
    settings = sampling.model_dump_json(exclude=set(sampling.unused))
    rng = random.Random(hashlib.sha256(f"{prompt}\0{settings}".encode()).digest())
    if number := _OPEN_ITEM.search(prompt):
        # A list of short items is gone on with as one.
        first = int(number[1])
        pairs = [f"{rng.choice(_WORDS)} {rng.choice(_WORDS)}" for _ in range(rng.randint(4, 10))]
        return "\n".join([pairs[0], *(f"{first + i}. {p}" for i, p in enumerate(pairs) if i)])
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(4, 24)))


def _cut(text: str, sampling: Sampling, prompt_words: int) -> Completion:
    for stop in sampling.stop:
        text = text.split(stop, 1)[0]
    words = text.split(" ")
    if len(words) > sampling.max_tokens:
        return Completion(
            " ".join(words[: sampling.max_tokens]), "length", prompt_words, sampling.max_tokens
        )
    return Completion(text, "stop", prompt_words, len(words))


def _unit(*parts: str) -> float:
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:6], "big") / float(1 << 48)
