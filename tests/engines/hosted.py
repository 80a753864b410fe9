"""Engines that a test hosts in a worker's child: they answer, fail and die on demand.

A prompt is an order: "die once PATH", "die", "kill once PATH", "slow", "refuse", "orphan PATH"; any
other text is answered by itself, reversed; "think A B" is answered by B after the reasoning A.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, InputError
from woolgather.engines.base import Completion, EngineOptions, LogProb, Request
from woolgather.prompting.messages import Prompt


class Obedient:
    def __init__(self, model: Model, options: EngineOptions) -> None:
        if model.path == "missing":
            raise InputError("missing: the model cannot be loaded")
        self.model, self.options, self.reductions = model, options, 0
        self.stop = threading.Event()

    def reduce(self) -> None:
        self.reductions += 1

    def interrupt(self) -> None:
        self.stop.set()

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        self.stop.clear()
        for i, request in enumerate(requests):
            prompt = request.prompt
            text = prompt if isinstance(prompt, str) else "|".join(f"{r}:{c}" for r, c in prompt)
            if text.startswith("think "):
                _, thought, answer = text.split()
                yield i, Completion(answer, "stop", len(text), 1, thought)
                continue
            yield i, Completion(self.obey(text), "stop", len(text), request.sampling.seed)

    def obey(self, text: str) -> str:
        order, _, rest = text.partition(" ")
        match order:
            case "die" if not rest or self.first(rest):
                print("it hurts here", file=sys.stderr, flush=True)
                os._exit(3)
            case "orphan" if self.first(rest):
                # What is left behind must not hold the pipe open: the death would go unnoticed.
                subprocess.Popen(["sleep", "15"], stdout=subprocess.DEVNULL)
                os._exit(3)
            case "kill" if self.first(rest):
                os.kill(os.getpid(), signal.SIGKILL)
            case "starve" if self.first(rest):
                raise MemoryError
            case "variables":
                return str(self.model.chat_template_kwargs)
            case "crash":
                raise ZeroDivisionError("an error of the engine's own")
            case "slow":
                self.stop.wait(60)
            case "refuse":
                raise CapabilityError("this engine cannot")
            case "print":
                print("loud library")
            case "reductions":
                return f"{self.reductions} {self.options.batch_tokens} {self.options.urls}"
        return text[::-1]

    @staticmethod
    def first(path: str) -> bool:
        if Path(path).exists():
            return False
        Path(path).touch()
        return True

    def option_logprobs(
        self, prompts: Sequence[Prompt], options: Sequence[str]
    ) -> list[list[float]]:
        return [[float(len(p) - len(o)) for o in options] for p in prompts]

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        for prompt in prompts:
            if isinstance(prompt, str):
                self.obey(prompt)
        return [LogProb(-temperature * len(c), len(c)) for c in continuations]

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        for text in texts:
            self.obey(text)
        return [[float(len(t)), 0.1 + 0.2] for t in texts]


def breaks_while_loading(model: Model, options: EngineOptions) -> Any:
    raise KeyError("num_heads")


def slow_to_load(model: Model, options: EngineOptions) -> Any:
    time.sleep(30)
    return Obedient(model, options)
