"""Scripted or hashed answers: the test double, and a real engine for a dry run.

`FakeEngine(["Score: 5", ...])` answers with the script in order and then from its start again;
`FakeEngine(answer=f)` calls `f(prompt_text, sampling)`; `FakeEngine()` derives a short text from a
hash of the request, so equal requests have equal answers on every machine. It keeps to the form that
a prompt leaves open (a numbered list, a score, the labels of a worked example), so that a dry run
reads its answers as it would a model's. Log-probabilities and embeddings are hashed too.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile

from woolgather.core.artifacts import Model
from woolgather.engines.base import Completion, Engine, LogProb, Request, Sampling, settle
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
_OPEN_SCORE = re.compile(r"\n(?:assistant: )?Score:$")
_SCALE = re.compile(r"\bfrom (\d+) to (\d+)\b")
_LAST_LINE = re.compile(r"^(\w+): <(\d[^>\n]*)>$", re.M)
"""How a prompt shows the line that a reply is to end with: `Score: <1, 2 or 3>`."""
_HEADING = re.compile(r"^(?:assistant: )?(#+ [^\n]+)$", re.M)
_NAMED = re.compile(r"^\d+\. ([^:\n]+): ", re.M)
"""An item of a numbered list that has a name."""
_UNLIKELY = 8.0
"""Nats that a score has less than the one that would be written."""


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
        return [[_option_logprob(text, o) for o in options] for text in map(text_of, prompts)]

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
    """Returns a few words that follow from the request alone, in the form that the prompt asks for."""
    settings = sampling.model_dump_json(exclude=set(sampling.unused))
    rng = random.Random(hashlib.sha256(f"{prompt}\0{settings}".encode()).digest())
    if number := _OPEN_ITEM.search(prompt):
        return _continue_list(rng, int(number[1]))
    text = _some_words(rng)
    if _OPEN_SCORE.search(prompt):
        scale = _SCALE.search(prompt)
        low, high = sorted((int(scale[1]), int(scale[2]))) if scale else (1, 10)
        return f" {_choose_score(rng, range(low, high + 1))} - {text}"
    if line := _LAST_LINE.search(prompt):
        scores = [int(number) for number in re.findall(r"\d+", line[2])]
        return f"{text}.\n{line[1]}: {_choose_score(rng, scores)}"
    if labels := _labels_to_come(prompt):
        # Long enough for floors of some hundred characters.
        parts = [f"\n\n{label}\n{_some_words(rng, 24, 40)}" for label in labels]
        return "".join([text, _name_principles(rng, prompt), *parts])
    return text


def _some_words(rng: random.Random, least: int = 4, most: int = 24) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(least, most)))


def _continue_list(rng: random.Random, first: int) -> str:
    """A few short items, the first of which has its number in the prompt."""
    pairs = [f"{rng.choice(_WORDS)} {rng.choice(_WORDS)}" for _ in range(rng.randint(4, 10))]
    return "\n".join([pairs[0], *(f"{first + i}. {p}" for i, p in enumerate(pairs) if i)])


def _choose_score(rng: random.Random, scores: Sequence[int]) -> int:
    """Any score, half the time one of the best fifth: a dry run has something to keep."""
    return rng.choice(scores[-max(1, len(scores) // 5) :] if rng.random() < 0.5 else scores)


def _labels_to_come(prompt: str) -> list[str]:
    """Returns the headings that follow the open one in a worked example, up to its end; none where
    the prompt does not end in a heading that an example has."""
    headings = _HEADING.findall(prompt)
    if not headings or not prompt.rstrip().endswith(headings[-1]):
        return []
    *examples, is_open = headings
    later = examples[examples.index(is_open) + 1 :] if is_open in examples else []
    return list(takewhile(lambda heading: heading != headings[0], later))


def _name_principles(rng: random.Random, prompt: str) -> str:
    """The end of a thought: two of the names that are listed before the first heading."""
    names = _NAMED.findall(_HEADING.split(prompt, maxsplit=1)[0])
    return f". Principles: {', '.join(rng.sample(names, min(2, len(names))))}." if names else "."


def _option_logprob(prompt: str, option: str) -> float:
    """Hashed; where a score is open, high for the one that would be written."""
    log = -4 * _unit(prompt, option) - 0.01
    is_score = _OPEN_SCORE.search(prompt) is not None
    likely = not is_score or make_text(prompt, Sampling(temperature=0)).startswith(option)
    return log if likely else log - _UNLIKELY


def _cut(text: str, sampling: Sampling, prompt_words: int) -> Completion:
    whole = settle(Completion(text, "stop", prompt_words, len(text.split())), sampling.stop)
    if whole.reasoning:
        return whole
    words = whole.text.split(" ")
    if len(words) > sampling.max_tokens:
        return Completion(
            " ".join(words[: sampling.max_tokens]), "length", prompt_words, sampling.max_tokens
        )
    return Completion(whole.text, "stop", prompt_words, len(words))


def _unit(*parts: str) -> float:
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return int.from_bytes(digest[:6], "big") / float(1 << 48)
