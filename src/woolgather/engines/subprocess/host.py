"""The child's side: makes the engine, answers what the parent asks, and leaves with it.

The one idea: one thread listens and one computes. The listener never waits for the model, so that a
parent's write never blocks, a call that is given up is interrupted at once, and the process ends as
soon as the pipe closes, even in the middle of a pass.

Run as a program, with its end of the pipe as standard input.
"""

from __future__ import annotations

import importlib
import os
import queue
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter

from woolgather.core import children
from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, EngineError, WoolgatherError
from woolgather.engines.base import (
    Completion,
    EngineOptions,
    LogProb,
    Request,
    Sampling,
    Tokens,
)
from woolgather.engines.subprocess.messages import (
    MethodCall,
    Question,
    Start,
    ToChild,
    ToParent,
    receive_in_child,
    send,
    unpack,
)
from woolgather.prompting.messages import Prompt

_OPTIONS = TypeAdapter(EngineOptions)
_PACKAGE = Path(__file__).parents[2]
NO_MEMORY = 71
"""Exit code of a child whose memory ran out."""
_NO_MEMORY_WORDS = ("out of memory", "outofmemory", "can't allocate memory")
"""What torch says when memory runs out."""


class HostedEngine(Protocol):
    """What the child needs of the engine that it hosts: an Engine that can also be hurried."""

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]: ...

    def option_logprobs(
        self, prompts: Sequence[Prompt], options: Sequence[str]
    ) -> list[list[float]]: ...

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]: ...

    def embed(self, texts: Sequence[str]) -> list[list[float]]: ...

    def read_tokens(self, prompts: Sequence[Prompt]) -> Tokens: ...

    def reduce(self) -> None:
        """Works in batches of half the size from now on."""

    def interrupt(self) -> None:
        """Called by the listening thread: the `complete` under way ends soon."""


class _Host:
    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._messages: queue.SimpleQueue[ToChild] = queue.SimpleQueue()
        self._given_up = 0
        """Number of the latest call that was given up; all before it are, too."""
        self._current = 0
        """Number of the call under way; 0 for none."""
        self._path = ""
        """Where the engine's model is."""
        self._engine: HostedEngine

    def run(self) -> None:
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        while True:
            message = self._messages.get()
            if message["kind"] == "start":
                self._begin(message)
            elif message["kind"] == "call" and message["call"] > self._given_up:
                self._answer(message)

    def _begin(self, start: Start) -> None:
        """Makes the engine, in place of another one that was asked before. Ends where it cannot be."""
        self._path = start["path"]
        try:
            self._engine = _make_engine(start)
        except Exception as error:
            self._fail(None, error)
            os._exit(0)

    def _listen(self) -> None:
        while True:
            try:
                message = receive_in_child(self._pipe)
            except (EOFError, OSError):
                os._exit(0)
            if message["kind"] == "cancel":
                self._given_up = message["call"]
                if self._current and self._current <= self._given_up:
                    self._engine.interrupt()
            self._messages.put(message)

    def _answer(self, call: MethodCall) -> None:
        number = self._current = call["call"]
        asks = call["asks"]
        try:
            if asks["method"] == "complete":
                self._complete(number)
            else:
                self._send({"kind": "value", "call": number, "value": self._ask(asks)})
        except Exception as error:
            self._fail(number, error)
        self._current = 0

    def _complete(self, call: int) -> None:
        # The engine counts the requests it was given. After a death the parent sends only what is
        # unanswered, so the parent's number of each is kept here.
        numbers: list[int] = []
        for i, completion in self._engine.complete(self._requests(call, numbers)):
            if call <= self._given_up:
                return
            self._send(
                {
                    "kind": "completed",
                    "call": call,
                    "index": numbers[i],
                    "text": completion.text,
                    "finish_reason": completion.finish_reason,
                    "prompt_tokens": completion.prompt_tokens,
                    "completion_tokens": completion.completion_tokens,
                    "reasoning": completion.reasoning,
                }
            )

    def _requests(self, call: int, numbers: list[int]) -> Iterator[Request]:
        while call > self._given_up:
            message = self._messages.get()
            if message["kind"] != "request" or message["call"] != call:
                return
            numbers.append(message["index"])
            sampling = Sampling.model_validate(message["sampling"])
            yield Request(unpack(message["prompt"]), sampling)

    def _ask(self, asks: Question) -> object:
        if asks["method"] == "embed":
            return self._engine.embed(asks["texts"])
        prompts = [unpack(prompt) for prompt in asks["prompts"]]
        if asks["method"] == "read_tokens":
            return [asdict(self._engine.read_tokens(prompts))]
        if asks["method"] == "option_logprobs":
            return self._engine.option_logprobs(prompts, asks["options"])
        return self._engine.sequence_logprobs(prompts, asks["continuations"], asks["temperature"])

    def _fail(self, call: int | None, error: Exception) -> None:
        """Says why there is no answer. Ends the child where nobody foresaw the error: what it left of the
        engine is not to be trusted. Lack of memory is not told, but died of: the next child may have
        more."""
        if is_memory_error(error):
            raise error
        foreseen = isinstance(error, WoolgatherError)
        failed = f"the engine of {self._path} failed: {cause_of(error)}."
        if not foreseen:
            # Before it is told: the parent may then close the pipe, which ends us.
            traceback.print_exception(error)
        self._send(
            {
                "kind": "failed",
                "call": call,
                "error": type(error).__name__ if foreseen else EngineError.__name__,
                "text": str(error) if foreseen else failed,
                "crashed": not foreseen,
            }
        )
        if not foreseen:
            os._exit(1)

    def _send(self, message: ToParent) -> None:
        try:
            send(self._pipe, message)
        except OSError:
            os._exit(0)


def cause_of(error: Exception) -> str:
    """Returns what an exception says, with its type and where in our code it arose."""
    said = " ".join(str(error).split())
    told = f"{type(error).__name__}: {said}" if said else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_PACKAGE)]
    if not frames:
        return told
    last = (ours or frames)[-1]
    place = Path(last.filename)
    if ours:
        place = place.relative_to(_PACKAGE.parent)
    return f"{told} ({place}, line {last.lineno}, in {last.name})"


def is_memory_error(error: Exception) -> bool:
    """Returns whether memory ran out: the machine's, or a device's."""
    text = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(said in text for said in _NO_MEMORY_WORDS)


def _make_engine(start: Start) -> HostedEngine:
    module, _, name = start["host"].partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            f"the transformers engine needs a package that is missing ({error}). "
            "Install it with: pip install 'woolgather[local]'"
        ) from error
    model = Model(
        start["path"],
        start["fingerprint"],
        start["prompt_format"],
        chat_template=start["chat_template"],
        chat_template_kwargs=start["chat_template_kwargs"],
    )
    engine: HostedEngine = make(model, _OPTIONS.validate_python(start["options"]))
    for _ in range(start["halvings"]):
        engine.reduce()
    return engine


def main() -> None:
    """Answers until the parent is gone. Never returns: the process ends with code 0, or with NO_MEMORY
    or 1 and a traceback on standard error."""
    children.watch_parent()
    # A descriptor of our own, which what we start does not inherit: a grandchild that held the pipe
    # open would hide our death from the parent.
    pipe = Connection(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 0
    try:
        _Host(pipe).run()
    except BaseException as error:
        traceback.print_exc()
        lacking = isinstance(error, Exception) and is_memory_error(error)
        code = NO_MEMORY if lacking else 1
    # At once: the listening thread may be in the middle of a read.
    os._exit(code)


if __name__ == "__main__":
    main()
