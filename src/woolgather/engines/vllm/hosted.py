"""The engine `vllm`, the child's side: a `vllm.LLM` that is given token ids.

The one idea: vLLM computes, we decide. Prompts are rendered and tokenized here, every field of sampling
is sent, an answer ends at our end tokens and is cut at our stop texts; nothing is left to vLLM's
tokenizer, its chat template or a model's own defaults. It runs in the interpreter that has vLLM, inside
subprocess/host.py.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from math import fsum
from pathlib import Path

import psutil

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError, EngineError
from woolgather.core.rows import JSON
from woolgather.engines.base import Completion, EngineOptions, FinishReason, Request
from woolgather.engines.rendered import (
    Pair,
    RenderedEngine,
    Unfinished,
    completion_of,
    ending,
    find_adapter_base,
)
from woolgather.engines.subprocess.host import cause_of, is_memory_error
from woolgather.engines.vllm.adapters import Adapter, name_adapter, read_adapter
from woolgather.engines.vllm.loop import LLM, Loop, Params, RequestOutput, Task

AHEAD = 512
"""Requests that vLLM holds: twice what it computes at once, and half of what the parent sends ahead."""
_ROWS = 256
"""Texts that are computed at once, where memory is enough."""
_SCORED = 16
"""Texts whose every token is scored at once: each may hold a step's tokens times the vocabulary."""
_STEP_TOKENS = 2048
"""Tokens of a step on a GPU. With a vocabulary of 152,000 their logits in float32 are 1.2 GB."""
_CACHE_SHARE = 8
"""On a CPU the cache takes this part of the memory that is free, and at least 1 GiB."""
_MOST_OPTIONS = 128
"""Tokens whose log-probabilities vLLM gives after one prompt."""
_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class _Held:
    """The vLLM of this process, which may be asked for one model after another (see engine.py)."""

    llm: LLM | None = None
    adapts = False
    """Whether it has room for adapters."""


_HELD = _Held()


class VllmHost(RenderedEngine):
    """A model held by vLLM in this process. vLLM starts with the first call; a call raises EngineError
    when it does not, and CapabilityError for what vLLM cannot compute."""

    def __init__(self, model: Model, options: EngineOptions) -> None:
        super().__init__(model, options)
        self._options = options
        self._halvings = 0
        self._started: tuple[int, Loop] | None = None

    def reduce(self) -> None:
        """Works with half the rows, and on a CPU half the cache, from the start of vLLM on."""
        self._halvings += 1

    def interrupt(self) -> None:
        """Called from another thread: the `complete` under way ends within a step, without the rest of
        its results."""
        if self._started is not None:
            self._started[1].stop()

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        rows: dict[int, Unfinished] = {}
        ready: list[tuple[int, Completion]] = []
        ends: dict[int, FinishReason] = {}

        def tasks() -> Iterator[Task]:
            number = 0  # of the tasks: requests without room are none
            for index, request in enumerate(requests):
                row = self._start_row(index, request)
                if isinstance(row, Completion):
                    ready.append((index, row))
                    continue
                rows[number] = row
                number += 1
                yield Task(row.prompt, self._sampling(row))

        def is_done(number: int, output: RequestOutput) -> bool:
            reason = self._take(rows[number], output)
            if reason is not None:
                ends[number] = reason
            return reason is not None

        for number in self._loop().run(tasks(), AHEAD, is_done):
            yield from ready
            ready.clear()
            row, reason = rows.pop(number), ends.pop(number)
            if reason == "stop" or reason == "length":
                yield row.index, completion_of(row, reason, self.renderer)
            else:
                yield row.index, Completion("", "error", len(row.prompt))
        yield from ready

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Raises CapabilityError: a model that generates gives no hidden states in vLLM."""
        raise CapabilityError(self._cannot("embeddings"))

    def _take(self, row: Unfinished, output: RequestOutput) -> FinishReason | None:
        """Adds what is new to a row; returns why it is finished, None when it goes on."""
        found = output.outputs[0]
        for token in found.token_ids:
            row.new.append(int(token))
            if row.sampling.stop and ending(row, self.renderer) == "stop":
                return "stop"
        if not output.finished:
            return None
        reason = _REASONS.get(found.finish_reason or "")
        if reason is None:
            print(f"vLLM ended a request with {found.finish_reason!r}", file=sys.stderr)
        return reason or "error"

    def _score_next(
        self, prompts: Sequence[list[int]], options: Sequence[int]
    ) -> list[list[float]]:
        wanted = sorted(set(options))
        if len(wanted) > _MOST_OPTIONS:
            totals = self._score([(p, [o]) for p in prompts for o in options], 1.0)
            n = len(options)
            return [totals[i * n : (i + 1) * n] for i in range(len(prompts))]
        params = _params(max_tokens=1, logprobs=len(wanted), logprob_token_ids=wanted)
        found: list[list[float]] = [[] for _ in prompts]
        for i, output in self._computed((Task(ids, params) for ids in prompts), AHEAD):
            (there,) = output.outputs[0].logprobs or ({},)
            found[i] = [float(there[token].logprob) for token in options]
        return found

    def _score(self, pairs: Sequence[Pair], temperature: float) -> list[float]:
        if temperature != 1.0:
            raise CapabilityError(
                "vLLM gives log-probabilities of a prompt at temperature 1 only. "
                "Use --engine transformers."
            )
        self._start()
        if _HELD.adapts:
            return self._score_by_tokens(pairs)
        # vLLM has to write a token all the same. It is not looked at.
        params = _params(max_tokens=1, prompt_logprobs=0)
        found = [0.0] * len(pairs)
        tasks = (Task(prompt + ids, params) for prompt, ids in pairs)
        for i, output in self._computed(tasks, _SCORED):
            prompt, ids = pairs[i]
            places = (output.prompt_logprobs or [])[len(prompt) :]
            found[i] = fsum(
                float((there or {})[token].logprob)
                for there, token in zip(places, ids, strict=True)
            )
        return found

    def _score_by_tokens(self, pairs: Sequence[Pair]) -> list[float]:
        """The same, one request per token, most of each from the prefix cache: with adapters enabled
        vLLM dies of a request for the log-probabilities of a whole prompt."""
        wanted = [
            (number, prompt + ids[:i], ids[i])
            for number, (prompt, ids) in enumerate(pairs)
            for i in range(len(ids))
        ]
        tasks = (
            Task(before, _params(max_tokens=1, logprobs=1, logprob_token_ids=[token]))
            for _, before, token in wanted
        )
        found: list[list[float]] = [[] for _ in pairs]
        for i, output in self._computed(tasks, AHEAD):
            number, _, token = wanted[i]
            (there,) = output.outputs[0].logprobs or ({},)
            found[number].append(float(there[token].logprob))
        return [fsum(values) for values in found]

    def _computed(self, tasks: Iterator[Task], at_once: int) -> Iterator[tuple[int, RequestOutput]]:
        """Yields each task's number and its finished output."""
        last: dict[int, RequestOutput] = {}

        def is_done(number: int, output: RequestOutput) -> bool:
            if not output.finished:
                return False
            reason = output.outputs[0].finish_reason
            if reason not in _REASONS:
                raise EngineError(
                    f"vLLM gave no log-probabilities for {self._model.path}: it ended the request with "
                    f"{reason!r}."
                )
            last[number] = output
            return True

        for number in self._loop().run(tasks, at_once, is_done):
            yield number, last.pop(number)

    def _sampling(self, row: Unfinished) -> Params:
        """Every field that a request means. vLLM stops at our end tokens; stop texts are looked for as
        the tokens come."""
        from vllm.sampling_params import RequestOutputKind

        how = row.sampling
        for name in how.added:
            if getattr(how, name):
                raise CapabilityError(
                    f"vLLM has no {name}. Leave it at 0, or use --engine transformers."
                )
        return _params(
            temperature=how.temperature,
            top_p=how.top_p,
            top_k=how.top_k,
            repetition_penalty=how.repetition_penalty,
            seed=how.seed,
            max_tokens=row.limit,
            stop_token_ids=[*self.renderer.end_ids],
            output_kind=RequestOutputKind.DELTA if how.stop else RequestOutputKind.FINAL_ONLY,
        )

    @property
    def context(self) -> int:
        return self._start()[0]

    def _loop(self) -> Loop:
        return self._start()[1]

    def _fitting(self, prompt: list[int], more: int) -> list[int]:
        # Behind what is scored vLLM has to write a token.
        return super()._fitting(prompt, more + 1)

    def _start(self) -> tuple[int, Loop]:
        """The context's length and the loop, of the vLLM that is started by the first call."""
        if self._started is None:
            path = self._model.path
            base = find_adapter_base(path)
            adapter = read_adapter(path) if base else None
            if _HELD.llm is None:
                _HELD.llm = _load(base or path, adapter, self._options, self._halvings)
                _HELD.adapts = adapter is not None
            llm = _HELD.llm
            loop = Loop(llm.llm_engine, _lora(adapter))
            self._started = int(llm.model_config.max_model_len), loop
        return self._started


def _load(model: str, adapter: Adapter | None, options: EngineOptions, halvings: int) -> LLM:
    """Starts vLLM. Raises ConfigError for an argument that it does not know, and EngineError when it
    does not start; lack of memory is raised as it came."""
    settings = _settings(model, adapter, options, halvings)
    if settings.get("enforce_eager"):
        # Else a helper of the sampler is compiled all the same, for half a minute.
        os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")
    try:
        import vllm

        llm: LLM = vllm.LLM(**settings)
    except Exception as error:
        if is_memory_error(error):
            raise
        traceback.print_exc()
        if isinstance(error, TypeError) and "unexpected keyword" in str(error):
            raise ConfigError(f"--engine-args: vLLM takes no such argument ({error}).") from error
        raise EngineError(
            f"vLLM does not start with {model}: {cause_of(error)}. {_advise(str(error))}"
        ) from error
    return llm


def _settings(
    model: str, adapter: Adapter | None, options: EngineOptions, halvings: int
) -> dict[str, JSON]:
    """Arguments of `vllm.LLM`; those that the user gave win."""
    import torch

    on_cpu = not torch.cuda.is_available()
    name, _, revision = (model, "", "") if Path(model).is_dir() else model.partition("@")
    settings: dict[str, JSON] = {
        "model": name,
        "revision": revision or None,
        "trust_remote_code": options.trust_remote_code,
        "dtype": "float32" if options.dtype == "auto" and on_cpu else options.dtype,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",  # and not the model's own defaults of sampling
        "enable_prefix_caching": True,
        "max_num_seqs": max(1, _ROWS >> halvings),
    }
    if adapter is not None:
        settings |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": adapter.max_rank}
    if on_cpu:
        # Compiled it writes three times as fast, and takes minutes to start, every time.
        settings["enforce_eager"] = True
        # A prompt in two pieces ends in an error where a seed is given: "CPU Generator does not use
        # offset". Whole, the longest prompt sets the tokens of a step.
        settings["enable_chunked_prefill"] = False
        if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
            free = psutil.virtual_memory().available // _CACHE_SHARE >> halvings
            settings["kv_cache_memory_bytes"] = max(1 << 30, free)
    else:
        settings["max_num_batched_tokens"] = _STEP_TOKENS
        settings["gpu_memory_utilization"] = max(0.3, 0.9 - 0.1 * halvings)
    return {**settings, **options.args}


def _advise(said: str) -> str:
    """What can be done about a start that failed, by what vLLM said."""
    if "max_model_len" in said or "max seq len" in said:
        return (
            "Give it a shorter context, e.g. --engine-args '{\"max_model_len\": 4096}', or more memory "
            "(gpu_memory_utilization, kv_cache_memory_bytes)."
        )
    return "--engine-args gives it other arguments; --engine transformers does without it."


def _lora(adapter: Adapter | None) -> object | None:
    """The request for an adapter, under a name and a number that no other content has."""
    if adapter is None:
        return None
    from vllm.lora.request import LoRARequest

    name = name_adapter(adapter.path)
    number = 1 + int(name[-7:], 16)  # positive, in 32 bits
    request: object = LoRARequest(name, number, adapter.path)
    return request


def _params(**settings: object) -> Params:
    """A `vllm.SamplingParams` that leaves texts and end tokens to us; greedy unless told otherwise."""
    from vllm import SamplingParams

    made: Params = SamplingParams(
        **{"temperature": 0.0, "ignore_eos": True, "detokenize": False, **settings}
    )
    return made
