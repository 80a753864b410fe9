"""A server that is asked in token ids and answers in them, as vLLM's does.

The one idea: for a model that a run makes, the words of a conversation are not enough. The server would
put them through the template, and stop at the end tokens, of the model that it was started with. So the
prompt is rendered and tokenized here, as it was in training, every field of sampling is sent, and what
comes back is read as ids. A server that takes no ids is told by its first answer: CapabilityError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import fsum
from typing import TypeVar

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, EngineError
from woolgather.core.rows import JSON
from woolgather.engines.base import Completion, EngineOptions, Request, Sampling
from woolgather.engines.openai.adapters import load_adapter, unload_adapter
from woolgather.engines.openai.engine import OpenAIEngine
from woolgather.engines.openai.refusals import Refused
from woolgather.engines.openai.replies import Unreadable
from woolgather.engines.openai.server import Patience
from woolgather.engines.openai.serving import Endpoint, read_endpoint
from woolgather.engines.rendered import Pair, RenderedEngine, Unfinished, completion_of
from woolgather.engines.vllm.adapters import name_adapter

T = TypeVar("T")
_Choice = Mapping[str, JSON]
"""The one answer in a reply."""
_GREEDY: Mapping[str, JSON] = {"max_tokens": 1, "temperature": 0.0}
_MOST_OPTIONS = 20
"""Tokens whose log-probabilities vLLM's server gives after one prompt, unless it was told otherwise."""


class TokenEngine(RenderedEngine, OpenAIEngine):
    """Renders as the first of its parents does, and talks as the second.

    With `options.adapter` the servers hold the model's base, and load that adapter, under a name that is
    its content, until the engine is closed. Raises CapabilityError where a server does not load it.
    """

    def __init__(
        self, model: Model, options: EngineOptions, patience: Patience | None = None
    ) -> None:
        self._options = options
        self._loaded: list[Endpoint] = []
        if options.adapter:
            options = self._load(options)
        # The template is ours, whichever it is: a server never sees it.
        OpenAIEngine.__init__(self, replace(model, chat_template=""), options, patience)
        RenderedEngine.__init__(self, model, options)

    @property
    def context(self) -> int:
        """Returns more than any model has: it is the server that says what is too long."""
        return 1 << 40

    def close(self) -> None:
        """Cancels what is in flight, and has the servers unload the adapter."""
        OpenAIEngine.close(self)
        while self._loaded:
            unload_adapter(self._loaded.pop(), self._options)

    def _load(self, options: EngineOptions) -> EngineOptions:
        """The options with the adapter's name behind each address. One that another program had loaded
        stays loaded in the end."""
        name = name_adapter(options.adapter)
        endpoints = [replace(read_endpoint(url), name=name) for url in options.urls]
        for endpoint in endpoints:
            if load_adapter(endpoint, options):
                self._loaded.append(endpoint)
        return replace(options, urls=tuple(endpoint.text for endpoint in endpoints))

    async def _complete(self, asked: Request) -> Completion | Refused:
        row = self._start_row(0, asked)
        if isinstance(row, Completion):
            return row
        body = {"prompt": row.prompt, **_sampling(row.sampling)}
        body |= {"stop_token_ids": [*self.renderer.end_ids], "ignore_eos": True}
        try:
            return await self._post(body, lambda choice: self._finish(row, choice))
        except Refused as refused:
            return Completion("", refused.reason, why=refused.why) if refused.known else refused

    def _finish(self, row: Unfinished, choice: _Choice) -> Completion:
        ids, reason = choice.get("token_ids"), choice.get("finish_reason")
        if not isinstance(ids, list):
            raise CapabilityError(self._without("token ids of an answer (return_token_ids)"))
        row.new = [int(token) for token in ids]
        if reason == "stop" or reason == "length":
            return completion_of(row, reason, self.renderer)
        return Completion("", "error", len(row.prompt), why=f"finish_reason {reason}")

    def _score_next(
        self, prompts: Sequence[list[int]], options: Sequence[int]
    ) -> list[list[float]]:
        wanted = sorted(set(options))
        if len(wanted) > _MOST_OPTIONS:
            totals = self._score([(p, [o]) for p in prompts for o in options], 1.0)
            n = len(options)
            return [totals[i * n : (i + 1) * n] for i in range(len(prompts))]

        found = self._gather(self._behind(ids, wanted) for ids in prompts)
        return [[told[token] for token in options] for told in found]

    def _score(self, pairs: Sequence[Pair], temperature: float) -> list[float]:
        if temperature != 1.0:
            raise CapabilityError(
                f"{self._servers}: servers give log-probabilities at temperature 1 only. "
                "Use --engine transformers."
            )
        # One request per token, most of each from the server's prefix cache: a vLLM that has adapters
        # enabled dies of a request for the log-probabilities of a whole prompt.
        steps = ((p + ids[:i], [ids[i]]) for p, ids in pairs for i in range(len(ids)))
        found = iter(self._gather(self._behind(*step) for step in steps))
        return [fsum(next(found)[token] for token in ids) for _, ids in pairs]

    async def _behind(self, prompt: list[int], wanted: Sequence[int]) -> dict[int, float]:
        """The log-probability of each token of `wanted` right behind a prompt."""

        def read(choice: _Choice) -> dict[int, float]:
            told = (choice.get("logprobs") or {}).get("top_logprobs") or [{}]
            if any(f"token_id:{token}" not in told[0] for token in wanted):
                raise CapabilityError(self._without("log-probabilities of tokens that are named"))
            return {token: float(told[0][f"token_id:{token}"]) for token in wanted}

        how = {"logprobs": len(wanted), "logprob_token_ids": [*wanted]}
        body = {**_GREEDY, **how, "return_tokens_as_token_ids": True, "prompt": prompt}
        return await self._scored(body, read)

    async def _scored(self, body: Mapping[str, JSON], read: Callable[[_Choice], T]) -> T:
        try:
            return await self._post(body, read)
        except Refused as refused:
            failure = CapabilityError if refused.reason == "too_long" else EngineError
            raise failure(
                f"{self._servers}: no log-probabilities for a text of {len(body['prompt'])} tokens "
                f"({refused}: {refused.why}). Set long rows aside before, or serve a longer context."
            ) from None

    async def _post(self, body: Mapping[str, JSON], read: Callable[[_Choice], T]) -> T:
        body = {**body, "return_token_ids": True}
        return await self._servers.post("/completions", body, lambda reply: read(_choice(reply)))

    def _without(self, what: str) -> str:
        return f"{self._servers}: this server gives no {what}. Serve the model with vLLM."


def _sampling(how: Sampling) -> dict[str, JSON]:
    """Every field that a request means: a server fills gaps with what its model's folder recommends.
    Raises CapabilityError for what no server has."""
    for name in how.added:
        if getattr(how, name):
            raise CapabilityError(f"servers have no {name}. Leave it at 0, or use another engine.")
    return {
        "temperature": how.temperature,
        "top_p": how.top_p,
        "top_k": how.top_k,
        "min_p": 0.0,
        "repetition_penalty": how.repetition_penalty,
        "seed": how.seed,
        "max_tokens": how.max_tokens,
        "stop": [*how.stop],
    }


def _choice(reply: object) -> _Choice:
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise Unreadable("no `choices`")
    return choices[0]
