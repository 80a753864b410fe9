"""A stand-in for vLLM: the part of its interface that is used, over a model that is a formula.

What a token's log-probability is after others, and what is written, follows from the ids alone, so that
a test can work it out. It misbehaves on demand: `VLLM_STUB` is "name[=argument]", the first time that a
request is in the engine, or at the start.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vllm.sampling_params import RequestOutputKind, SamplingParams

__all__ = ["LLM", "RequestOutputKind", "SamplingParams"]

ORDER, _, ARGUMENT = os.environ.get("VLLM_STUB", "").partition("=")


def odd_word() -> str | None:
    """How every request ends from now on; None as they do."""
    path = os.environ.get("VLLM_STUB_LOG", "") + ".odd"
    return Path(path).read_text() if Path(path).exists() else None


class EngineDeadError(Exception):
    pass


def first() -> bool:
    """Whether this is the first process that asks."""
    if Path(ARGUMENT).exists():
        return False
    Path(ARGUMENT).touch()
    return True


def logprob(ids: list[int], token: int, adapter: str = "") -> float:
    """One number for each text and token, between -6 and 0, no distribution."""
    return -(((31 * sum(ids[-3:]) + 17 * token + 7 * len(adapter)) % 600) / 100 + 0.01)


@dataclass
class Run:
    ids: list[int]
    params: SamplingParams
    adapter: str
    new: list[int] = field(default_factory=list)
    told: int = 0


class Engine:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings, self.running = settings, {}
        self.waiting: list[tuple[str, Run]] = []
        self.names: set[str] = set()

    def add_request(
        self,
        request_id: str,
        prompt: dict[str, list[int]],
        params: Any,
        *,
        lora_request: Any = None,
    ) -> str:
        assert request_id not in self.names, "a name that was given before"
        self.names.add(request_id)
        ids = prompt["prompt_token_ids"]
        if len(ids) >= self.settings["max_model_len"]:
            raise ValueError("longer than the maximum model length")
        log = os.environ.get("VLLM_STUB_LOG")
        if log:
            with open(log, "a", encoding="utf-8") as file:
                said = {**vars(params), "output_kind": params.output_kind.name, "ids": ids}
                file.write(json.dumps(said) + "\n")
        self.waiting.append((request_id, Run(ids, params, getattr(lora_request, "lora_name", ""))))
        return request_id

    def abort_request(self, request_ids: list[str]) -> None:
        self.waiting = [(name, run) for name, run in self.waiting if name not in request_ids]
        for name in request_ids:
            self.running.pop(name, None)

    def step(self) -> list[Any]:
        while self.waiting and len(self.running) < self.settings["max_num_seqs"]:
            name, run = self.waiting.pop(0)
            self.running[name] = run
        self.misbehave()
        outputs = [self.advance(name, run) for name, run in list(self.running.items())]
        return [output for output in outputs if output is not None]

    def misbehave(self) -> None:
        if ORDER == "kill" and any(run.new for run in self.running.values()) and first():
            os.kill(os.getpid(), signal.SIGKILL)
        if ORDER == "dead" and first():
            raise EngineDeadError("EngineCore encountered an issue")
        if ORDER == "memory" and self.settings["max_num_seqs"] > int(ARGUMENT):
            raise RuntimeError("CUDA error: out of memory")
        if ORDER == "crash":
            raise ZeroDivisionError("an error of its own")

    def advance(self, name: str, run: Run) -> Any:
        params, text = run.params, run.ids + run.new
        # Counts on from the last token of the prompt; printable bytes of the tests' tokenizer.
        run.new.append(20 + (text[-1] + 1 + (params.seed or 0)) % 60)
        limit = params.max_tokens
        reason = "length" if len(run.new) >= limit else None
        if params.stop_token_ids and len(run.new) == 40:
            run.new[-1], reason = params.stop_token_ids[0], "stop"
        odd = odd_word()
        if reason and odd is not None:
            reason = odd or None
        finished = len(run.new) >= limit or reason is not None
        if finished:
            del self.running[name]
        elif params.output_kind is RequestOutputKind.FINAL_ONLY:
            return None
        kind = params.output_kind
        tokens = run.new[run.told :] if kind is RequestOutputKind.DELTA else list(run.new)
        run.told = len(run.new)
        chosen = {t: self.value(run, run.ids, t) for t in params.logprob_token_ids or ()}
        output = SimpleNamespace(
            token_ids=tokens, finish_reason=reason, logprobs=[chosen] if chosen else None
        )
        scored = None
        if params.prompt_logprobs is not None:
            ids = run.ids
            each = [{t: self.value(run, ids[:i], t)} for i, t in enumerate(ids)]
            scored = [None, *each[1:]]
        return SimpleNamespace(
            request_id=name, outputs=[output], prompt_logprobs=scored, finished=finished
        )

    def value(self, run: Run, ids: list[int], token: int) -> Any:
        return SimpleNamespace(logprob=logprob(ids, token, run.adapter))


class LLM:
    def __init__(self, model: str, max_model_len: int = 512, **settings: Any) -> None:
        print(f"vLLM takes {json.dumps({'model': model, **settings})}", file=sys.stderr)
        if ORDER == "argument":
            raise TypeError("EngineArgs.__init__() got an unexpected keyword argument 'x'")
        if ORDER == "start":
            raise RuntimeError(ARGUMENT)
        if ORDER == "worker":
            made = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
            Path(ARGUMENT).write_text(str(made.pid))
        settings.setdefault("max_num_seqs", 256)
        self.llm_engine = Engine({"max_model_len": max_model_len, **settings})
        self.model_config = SimpleNamespace(max_model_len=max_model_len)
