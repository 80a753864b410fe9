"""An in-process engine in a child process: its memory comes back, and its death is survived.

The one idea: the parent holds nothing but a pipe. Requests go down a window at a time, answers come
back as they are ready (messages.py), and what is unanswered when the child dies (killed, out of memory,
at an end of a library's own) is asked again of a new one. An exception would come again, so that it is
passed on at once, with its place. The child (host.py) leaves as soon as its pipe closes or its parent
is gone. The parent never imports torch; nothing here knows what a model does.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from woolgather.core import children, errors
from woolgather.core.artifacts import Model
from woolgather.core.errors import EngineError
from woolgather.engines.base import Completion, Engine, EngineOptions, LogProb, Request, Tokens
from woolgather.engines.subprocess.host import NO_MEMORY
from woolgather.engines.subprocess.messages import (
    Complete,
    Completed,
    Question,
    ToChild,
    Value,
    pack,
    receive_in_parent,
    send,
)
from woolgather.prompting.messages import Prompt

log = logging.getLogger(__name__)
T = TypeVar("T")
HOST = "woolgather.engines.local.engine:TransformersEngine"
WINDOW = 1024
"""Requests sent ahead of their answers: twice what the decode loop takes at once."""
_CHUNK = 512
"""Log-probabilities and embeddings are asked in pieces of this many, each kept once answered."""
_DEATHS = 3
"""Restarts in a row without an answer between them."""
_NUMBERS = TypeAdapter(list[list[float]])
_LOGPROBS = TypeAdapter(list[LogProb])
_TOKENS = TypeAdapter(list[Tokens])


class _Died(Exception):
    """The child is gone, or its pipe is."""


class SubprocessEngine(Engine):
    """The parent's side. The child starts with the first call.

    `host` names what is made in the child, as module:callable taking (Model, EngineOptions) and
    returning a HostedEngine (see host.py). What the child prints is appended to `log`. A method
    raises what the engine in the child raises, and EngineError when the child dies again and again.
    """

    def __init__(
        self,
        model: Model,
        options: EngineOptions,
        log: Path | None = None,
        *,
        host: str = HOST,
    ) -> None:
        super().__init__(model)
        self._options, self._log, self._host = options, log, host
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: Connection | None = None
        self._calls = 0
        self._open_call = False
        self._killed = 0
        self._deaths = 0

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        source = iter(enumerate(requests))
        waiting: dict[int, Request] = {}
        ended = False
        self._begin()
        try:
            while True:
                try:
                    call = self._call({"method": "complete"})
                    for index, request in waiting.items():
                        self._send_request(call, index, request)
                    if ended:
                        self._send({"kind": "end", "call": call})
                    while True:
                        while not ended and len(waiting) < WINDOW:
                            pulled = next(source, None)
                            if pulled is None:
                                ended = True
                                self._send({"kind": "end", "call": call})
                            else:
                                waiting[pulled[0]] = pulled[1]
                                self._send_request(call, *pulled)
                        if not waiting:
                            return
                        answer = self._receive(call)
                        assert answer["kind"] == "completed"
                        del waiting[answer["index"]]
                        yield answer["index"], _completion(answer)
                except _Died as death:
                    self._survive(death, f"{len(waiting)} requests unanswered")
        finally:
            self._end()

    def option_logprobs(
        self, prompts: Sequence[Prompt], options: Sequence[str]
    ) -> list[list[float]]:
        found: list[list[float]] = []
        for i in range(0, len(prompts), _CHUNK):
            some = [pack(p) for p in prompts[i : i + _CHUNK]]
            found += self._ask(
                {"method": "option_logprobs", "prompts": some, "options": list(options)}, _NUMBERS
            )
        return found

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        found: list[LogProb] = []
        for i in range(0, len(prompts), _CHUNK):
            part = slice(i, i + _CHUNK)
            found += self._ask(
                {
                    "method": "sequence_logprobs",
                    "prompts": [pack(p) for p in prompts[part]],
                    "continuations": list(continuations[part]),
                    "temperature": temperature,
                },
                _LOGPROBS,
            )
        return found

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        found: list[list[float]] = []
        for i in range(0, len(texts), _CHUNK):
            found += self._ask({"method": "embed", "texts": list(texts[i : i + _CHUNK])}, _NUMBERS)
        return found

    def close(self) -> None:
        """Ends the child within seconds. A later call would start another."""
        if self._pipe is not None:
            self._pipe.close()
        self._stop_child(patience=2)

    def read_tokens(self, prompts: Sequence[Prompt]) -> Tokens:
        some = [pack(prompt) for prompt in prompts]
        (found,) = self._ask({"method": "read_tokens", "prompts": some}, _TOKENS)
        return found

    def _ask(self, question: Question, reads: TypeAdapter[list[T]]) -> list[T]:
        self._begin()
        try:
            while True:
                try:
                    answer = self._receive(self._call(question))
                    assert answer["kind"] == "value"
                    return reads.validate_python(answer["value"])
                except _Died as death:
                    self._survive(death, f"during {question['method']}")
        finally:
            self._end()

    def _begin(self) -> None:
        if self._open_call:
            raise EngineError(
                "this engine is still answering another call. Consume or close that one first."
            )
        self._open_call = True

    def _end(self) -> None:
        """Whatever the call has still under way in the child is not waited for."""
        self._open_call = False
        if self._child is not None:
            try:
                self._send({"kind": "cancel", "call": self._calls})
            except _Died:
                self.close()

    def _call(self, asks: Complete | Question) -> int:
        if self._child is None:
            self._start()
        self._calls += 1
        self._send({"kind": "call", "call": self._calls, "asks": asks})
        return self._calls

    def _start(self) -> None:
        self._pipe, theirs = Pipe()
        try:
            self._child = children.spawn(
                self._command(),
                log=self._log,
                stdin=theirs.fileno(),
                env=self._environment(),
            )
        finally:
            # Only the child may hold its end: when it dies, ours is at its end, too.
            theirs.close()
        self._send(
            {
                "kind": "start",
                "host": self._host,
                "path": self._model.path,
                "fingerprint": self._model.fingerprint,
                "prompt_format": self._model.prompt_format,
                "chat_template": self._model.chat_template,
                "chat_template_kwargs": dict(self._model.chat_template_kwargs),
                "options": asdict(self._options),
                "halvings": self._killed,
            }
        )

    def _command(self) -> list[str]:
        """The program that is the child."""
        return [sys.executable, "-m", "woolgather.engines.subprocess.host"]

    def _environment(self) -> dict[str, str]:
        """What is added to the child's environment."""
        return {}

    def _send_request(self, call: int, index: int, request: Request) -> None:
        self._send(
            {
                "kind": "request",
                "call": call,
                "index": index,
                "prompt": pack(request.prompt),
                "sampling": request.sampling.model_dump(mode="json"),
            }
        )

    def _send(self, message: ToChild) -> None:
        assert self._pipe is not None
        try:
            send(self._pipe, message)
        except OSError as error:
            raise _Died from error

    def _receive(self, call: int) -> Completed | Value:
        """Returns the next message of this call; those of calls given up are passed over."""
        assert self._pipe is not None
        while True:
            try:
                message = receive_in_parent(self._pipe)
            except (EOFError, OSError) as error:
                raise _Died from error
            if message["call"] not in (call, None):
                continue
            if message["kind"] == "failed":
                kind = getattr(errors, message["error"], EngineError)
                more = f" The whole traceback is in {self._log}." if self._log else ""
                raise kind(message["text"] + (more if message["crashed"] else ""))
            self._deaths = 0
            return message

    def _stop_child(self, patience: float) -> int | None:
        """Waits `patience` seconds for the child to end by itself, and then stops it. Returns its
        exit code, or None when there was no child."""
        child, self._child = self._child, None
        if child is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience)
        children.stop(child, grace=1)
        return child.returncode

    def _survive(self, death: _Died, lost: str) -> None:
        """Clears up after a death, and says so; raises EngineError when it is one too many."""
        code = self._stop_child(patience=5)
        if self._pipe is not None:
            self._pipe.close()
        if code in (-signal.SIGKILL, NO_MEMORY):
            # A kill is nearly always the kernel's, out of memory.
            self._killed += 1
        self._deaths += 1
        why = f"was killed by signal {-code}" if code and code < 0 else f"ended with code {code}"
        if self._deaths <= _DEATHS:
            log.warning(
                "the engine of %s %s and is started again (%s)", self._model.path, why, lost
            )
            return
        advice = (
            "Memory probably ran out: use a smaller engine.batch_tokens or a smaller model."
            if self._killed
            else "Run `woolgather doctor` to see what this machine offers."
        )
        last = children.tail(self._log)
        self._deaths = 0
        raise EngineError(
            f"the engine of {self._model.path} {why} {_DEATHS + 1} times in a row ({lost}). {advice}"
            + (f" Last lines of {self._log}:\n{last}" if last else "")
        ) from death


def _completion(answer: Completed) -> Completion:
    return Completion(
        answer["text"],
        answer["finish_reason"],
        answer["prompt_tokens"],
        answer["completion_tokens"],
        answer["reasoning"],
    )
