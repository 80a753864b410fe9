"""vLLM's own loop, driven from outside: requests in as others end, outputs out as they come.

The one idea: vLLM batches whatever it holds, so it is always given a little more than it computes at
once, and nothing waits for the slowest of a batch as it does in `LLM.generate`. The classes are what we
use of vLLM, which is not installed where this is type-checked.
"""

from __future__ import annotations

import itertools
import os
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

Params = object
"""A `vllm.SamplingParams`."""
Adapter = object
"""A `vllm.lora.request.LoRARequest`."""

_NUMBERS = itertools.count()
"""Numbers the requests of this process: vLLM wants names that are not given twice."""


class Logprob(Protocol):
    """The log-probability of one token."""

    logprob: float


Candidates = Mapping[int, Logprob]
"""By token id, those that were asked for at one place, with the one that stands there."""


class Output(Protocol):
    """What a request has generated."""

    token_ids: Sequence[int]
    logprobs: Sequence[Candidates] | None
    finish_reason: str | None


class RequestOutput(Protocol):
    """A request's outputs so far, or since the last time, as its parameters say."""

    request_id: str
    outputs: Sequence[Output]
    prompt_logprobs: Sequence[Candidates | None] | None
    finished: bool


class LLMEngine(Protocol):
    """The `llm_engine` of a `vllm.LLM`."""

    def add_request(
        self,
        request_id: str,
        prompt: Mapping[str, list[int]],
        params: Params,
        *,
        lora_request: Adapter | None,
    ) -> object: ...

    def abort_request(self, request_ids: list[str]) -> None: ...

    def step(self) -> Sequence[RequestOutput]: ...


class ModelConfig(Protocol):
    """What vLLM knows of a model."""

    max_model_len: int


class LLM(Protocol):
    """A `vllm.LLM`."""

    llm_engine: LLMEngine
    model_config: ModelConfig


@dataclass(frozen=True, slots=True)
class Task:
    """Token ids, and what is to be computed of them."""

    ids: list[int]
    params: Params


class Loop:
    """Puts tasks through an engine, each with the same adapter."""

    def __init__(self, engine: LLMEngine, adapter: Adapter | None) -> None:
        self._engine, self._adapter = engine, adapter
        self._stopped = False

    def stop(self) -> None:
        """Called from another thread: the `run` under way ends within a step."""
        self._stopped = True

    def run(
        self,
        tasks: Iterator[Task],
        at_once: int,
        is_done: Callable[[int, RequestOutput], bool] = lambda index, output: output.finished,
    ) -> Iterator[int]:
        """Yields the number of each task, counted from 0, when `is_done` says so of an output of it. At
        most `at_once` tasks are in the engine; those that are left when this ends are given up.

        When a process of vLLM's dies, so does this one, since its parent knows how to begin again.
        """
        under_way: dict[str, int] = {}
        taken, ended = 0, False
        self._stopped = False
        try:
            while not self._stopped:
                while not ended and len(under_way) < at_once:
                    task = next(tasks, None)
                    if task is None:
                        ended = True
                        break
                    name = str(next(_NUMBERS))
                    self._engine.add_request(
                        name,
                        {"prompt_token_ids": task.ids},
                        task.params,
                        lora_request=self._adapter,
                    )
                    under_way[name] = taken
                    taken += 1
                if not under_way:
                    return
                for output in self._step():
                    index = under_way.get(output.request_id)
                    if index is None or not is_done(index, output):
                        continue
                    del under_way[output.request_id]
                    if not output.finished:
                        self._engine.abort_request([output.request_id])
                    yield index
        finally:
            if under_way:
                self._engine.abort_request(list(under_way))

    def _step(self) -> Sequence[RequestOutput]:
        try:
            return self._engine.step()
        except Exception as error:
            if type(error).__name__ == "EngineDeadError":
                traceback.print_exc()
                os._exit(1)
            raise
