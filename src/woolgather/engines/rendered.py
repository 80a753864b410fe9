"""What engines that hold a model's tokenizer have in common: prompts to token ids, new ids to an answer.

The one idea: template and tokens are ours, whatever computes. An engine here is given ids and gives ids
and log-probabilities of ids; where a prompt ends, where an answer ends and what does not fit into the
context is decided once, so that two such engines mean the same by the same request.
"""

from __future__ import annotations

import json
import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Literal

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, InputError
from woolgather.engines.base import (
    Completion,
    Engine,
    EngineOptions,
    LogProb,
    Request,
    Sampling,
    Tokens,
    settle,
)
from woolgather.prompting.messages import Prompt
from woolgather.prompting.reasoning import split_reasoning
from woolgather.prompting.renderer import Renderer

Pair = tuple[list[int], list[int]]
"""Token ids of a prompt, and of a text behind it."""


@dataclass(slots=True)
class Unfinished:
    """A request under way."""

    index: int
    prompt: list[int]
    sampling: Sampling
    limit: int
    """New tokens at most, within the model's context."""
    opened: bool = False
    """Whether the prompt ends within reasoning."""
    new: list[int] = field(default_factory=list)
    chance: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Makes the row as if it had never been begun."""
        self.new = []
        self.chance = random.Random(self.sampling.seed)

    @property
    def plain_greedy(self) -> bool:
        """Returns whether its next token is the likeliest by the model's own logits."""
        how = self.sampling
        return how.temperature <= 0 and how.repetition_penalty == 1.0 and not self.penalizes_runs

    @property
    def penalizes_runs(self) -> bool:
        """Returns whether runs of three or four tokens are penalized when they come again."""
        return bool(self.sampling.trigram_penalty or self.sampling.quadgram_penalty)


def ending(row: Unfinished, renderer: Renderer) -> Literal["stop", "length"] | None:
    """Returns why a row is finished after its latest token, or None when it goes on."""
    if row.new[-1] in renderer.end_ids:
        return "stop"
    if row.sampling.stop:
        # A token is at least a byte, so the stop text lies within this many of the last ones.
        reach = max(len(stop.encode()) for stop in row.sampling.stop) + 4
        tail = renderer.decode(row.new[-reach:])
        # Reasoning may hold a stop text: only the answer ends at one.
        if any(stop in tail for stop in row.sampling.stop) and _holds_stop(row, renderer):
            return "stop"
    return "length" if len(row.new) >= row.limit else None


def completion_of(
    row: Unfinished, reason: Literal["stop", "length"], renderer: Renderer
) -> Completion:
    """Returns a finished row's completion, without the end token and cut where the first stop text
    begins."""
    ids = row.new[:-1] if row.new and row.new[-1] in renderer.end_ids else row.new
    raw = Completion(renderer.continuation_text(ids), reason, len(row.prompt), len(row.new))
    return settle(raw, row.sampling.stop, opened=row.opened)


def _holds_stop(row: Unfinished, renderer: Renderer) -> bool:
    answer = split_reasoning(renderer.continuation_text(row.new), opened=row.opened).answer
    return any(stop in answer for stop in row.sampling.stop)


class RenderedEngine(Engine):
    """An engine of one model that renders and tokenizes its prompts itself, with the model's Renderer.

    Raises InputError when the model has no usable tokenizer.
    """

    def __init__(self, model: Model, options: EngineOptions) -> None:
        Engine.__init__(self, model)
        self.renderer = Renderer(
            find_tokenizer(model.path),
            template=model.chat_template,
            date=options.date,
            variables=model.chat_template_kwargs,
            trust_remote_code=options.trust_remote_code,
        )

    def option_logprobs(
        self, prompts: Sequence[Prompt], options: Sequence[str]
    ) -> list[list[float]]:
        """Returns the natural log-probability of each option after each prompt, [prompts][options];
        options of one token each cost one pass per prompt together.

        Raises InputError for an option without text, and CapabilityError for a prompt that is too
        long for the model's context together with an option.
        """
        tokens = [self.renderer.continuation_ids(option) for option in options]
        if not all(tokens):
            raise InputError("an option without text has no log-probability")
        asked = [self._fitting(self._answer_ids(p), max(map(len, tokens))) for p in prompts]
        if all(len(t) == 1 for t in tokens):
            return self._score_next(asked, [t[0] for t in tokens])
        totals = self._score(list(product(asked, tokens)), 1.0)
        n = len(options)
        return [totals[i * n : (i + 1) * n] for i in range(len(prompts))]

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        """Returns one LogProb per pair; that of an empty continuation is 0.

        Raises CapabilityError for a pair that is too long for the model's context, and where the engine
        has none at this temperature.
        """
        tokens = [self.renderer.continuation_ids(text) for text in continuations]
        some = [i for i, ids in enumerate(tokens) if ids]
        pairs = [
            (self._fitting(self._answer_ids(prompts[i]), len(tokens[i])), tokens[i]) for i in some
        ]
        found = [LogProb(0.0, 0)] * len(tokens)
        for i, total in zip(some, self._score(pairs, temperature), strict=True):
            found[i] = LogProb(total, len(tokens[i]))
        return found

    def read_tokens(self, prompts: Sequence[Prompt]) -> Tokens:
        """Returns how this engine renders and tokenizes."""
        ids = [self._prompt_ids(prompt) for prompt in prompts]
        return Tokens(ids, [*self.renderer.end_ids], self.renderer.template)

    @property
    @abstractmethod
    def context(self) -> int:
        """Returns how many tokens the model reads and writes together, at most."""

    @abstractmethod
    def _score_next(
        self, prompts: Sequence[list[int]], options: Sequence[int]
    ) -> list[list[float]]:
        """Returns the natural log-probability of each token id of `options` right behind each prompt,
        [prompts][options]."""

    @abstractmethod
    def _score(self, pairs: Sequence[Pair], temperature: float) -> list[float]:
        """Returns the summed log-probability of each second list of ids behind its first."""

    def _start_row(self, index: int, request: Request) -> Unfinished | Completion:
        """Returns what there is to generate for a request, or at once its completion where the prompt
        leaves no room in the context."""
        form = self._model.prompt_format
        request = request.spell_out(form)
        prompt = self._prompt_ids(request.prompt)
        room = self.context - len(prompt)
        if room < 1:
            return Completion("", "too_long", len(prompt))
        limit = max(1, min(request.sampling.max_tokens, room))
        opened = self.renderer.begins_in_reasoning(request.prompt, form)
        return Unfinished(index, prompt, request.sampling, limit, opened)

    def _prompt_ids(self, prompt: Prompt) -> list[int]:
        # A model needs something to go on from; the end of a text before is the neutral choice.
        ids = self.renderer.prompt_ids(prompt, self._model.prompt_format)
        return ids or [self.renderer.eos_id]

    def _answer_ids(self, prompt: Prompt) -> list[int]:
        """The same, up to where an answer begins, behind reasoning that the prompt opens."""
        form = self._model.prompt_format
        begun = isinstance(prompt, str) or form != "chat" or prompt[-1].role == "assistant"
        return self._prompt_ids(prompt) + ([] if begun else self.renderer.answer_lead)

    def _fitting(self, prompt: list[int], more: int) -> list[int]:
        if len(prompt) + more > self.context:
            raise CapabilityError(
                f"a text of {len(prompt) + more} tokens is longer than the {self.context} that "
                f"{self._model.path} reads. Set such rows aside before they are scored."
            )
        return prompt


def find_adapter_base(path: str) -> str | None:
    """Returns the directory or hub name of the model that a PEFT adapter at `path` is for; None for
    full weights. Raises InputError when the adapter names none."""
    place = Path(path) / "adapter_config.json"
    if not place.is_file():
        return None
    config = dict(json.loads(place.read_text(encoding="utf-8")))
    base = str(config.get("base_model_name_or_path") or "")
    if not base:
        raise InputError(f"{place}: base_model_name_or_path is missing, so its base is unknown")
    beside = Path(path) / base
    return str(beside) if not Path(base).is_dir() and beside.is_dir() else base


def find_tokenizer(path: str) -> str:
    """Returns where the tokenizer of the model at `path` is: there, or with an adapter's base. Raises
    InputError when an adapter without a tokenizer names no base."""
    base = find_adapter_base(path)
    own = (Path(path) / "tokenizer_config.json").is_file()
    return path if base is None or own else base
