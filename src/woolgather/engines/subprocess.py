"""An in-process engine in a child process: its memory comes back, and its death is survived.

The one idea: the parent holds nothing but a pipe. Messages are JSON behind a length of four bytes
(no pickle); requests go down a window at a time, answers come back as they are ready, and what is
unanswered when the child dies is asked again of a new one. The child leaves as soon as its pipe
closes or its parent is gone. The parent never imports torch; nothing here knows what a model does.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from woolgather.core import children, errors
from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, EngineError, WoolgatherError
from woolgather.engines.base import Completion, Engine, EngineOptions, LogProb, Request, Sampling
from woolgather.prompting.messages import Message, Prompt

HOST = "woolgather.engines.local.engine:TransformersEngine"
WINDOW = 1024
"""Requests sent ahead of their answers: twice what the decode loop takes at once."""
_CHUNK = 512
"""Log-probabilities and embeddings are asked in pieces of this many, each kept once answered."""
_DEATHS = 3
"""Restarts in a row without an answer between them."""


class _Died(Exception):
    """The child is gone, or its pipe is."""


class WorkerEngine(Engine):
    """The parent's side. The child starts with the first call.

    `host` names what is made in the child, as module:callable taking (Model, EngineOptions).
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
        self._answers: IO[bytes] | None = None
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
                    call = self._call("complete")
                    for index, request in waiting.items():
                        self._send_request(call, index, request)
                    if ended:
                        self._send({"call": call, "end": True})
                    while True:
                        while not ended and len(waiting) < WINDOW:
                            pulled = next(source, None)
                            if pulled is None:
                                ended = True
                                self._send({"call": call, "end": True})
                            else:
                                waiting[pulled[0]] = pulled[1]
                                self._send_request(call, *pulled)
                        if not waiting:
                            return
                        answer = self._receive(call)
                        index = answer["at"]
                        del waiting[index]
                        yield index, Completion(**answer["completion"])
                except _Died as death:
                    self._survive(death, f"{len(waiting)} requests unanswered")
        finally:
            self._end()

    def option_logprobs(
        self, prompts: Sequence[Prompt], options: Sequence[str]
    ) -> list[list[float]]:
        found: list[list[float]] = []
        for i in range(0, len(prompts), _CHUNK):
            some = [_pack(p) for p in prompts[i : i + _CHUNK]]
            found += self._ask("option_logprobs", prompts=some, options=list(options))
        return found

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        found: list[LogProb] = []
        for i in range(0, len(prompts), _CHUNK):
            part = slice(i, i + _CHUNK)
            answers = self._ask(
                "sequence_logprobs",
                prompts=[_pack(p) for p in prompts[part]],
                continuations=list(continuations[part]),
                temperature=temperature,
            )
            found += [LogProb(total, tokens) for total, tokens in answers]
        return found

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        found: list[list[float]] = []
        for i in range(0, len(texts), _CHUNK):
            found += self._ask("embed", texts=list(texts[i : i + _CHUNK]))
        return found

    def close(self) -> None:
        """Ends the child within seconds. A later call would start another."""
        child, self._child = self._child, None
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(2)
        children.stop(child, grace=1)

    def _ask(self, method: str, **arguments: Any) -> Any:
        self._begin()
        try:
            while True:
                try:
                    return self._receive(self._call(method, arguments))["value"]
                except _Died as death:
                    self._survive(death, f"during {method}")
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
                self._send({"cancel": self._calls})
            except _Died:
                self.close()

    def _call(self, method: str, arguments: dict[str, Any] | None = None) -> int:
        if self._child is None:
            self._start()
        self._calls += 1
        self._send({"call": self._calls, "method": method, "arguments": arguments or {}})
        return self._calls

    def _start(self) -> None:
        self._child = children.spawn(
            [sys.executable, "-m", "woolgather.engines.subprocess"],
            log=self._log,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._child.stdout is not None
        raw: Any = self._child.stdout
        self._answers = io.BufferedReader(raw, 1 << 16)
        self._send(
            {
                "host": self._host,
                "model": [self._model.path, self._model.fingerprint, self._model.prompt_format],
                "options": asdict(self._options),
                "halvings": self._killed,
            }
        )

    def _send_request(self, call: int, index: int, request: Request) -> None:
        sampling = request.sampling.model_dump(mode="json")
        self._send(
            {"call": call, "at": index, "prompt": _pack(request.prompt), "sampling": sampling}
        )

    def _send(self, message: dict[str, Any]) -> None:
        assert self._child is not None
        assert self._child.stdin is not None
        try:
            _write(self._child.stdin, message)
        except (OSError, ValueError) as error:
            raise _Died from error

    def _receive(self, call: int) -> dict[str, Any]:
        """The next message of this call; those of calls given up are passed over."""
        assert self._answers is not None
        while True:
            try:
                message = _read(self._answers)
            except (OSError, ValueError) as error:
                raise _Died from error
            if message is None:
                raise _Died
            if message.get("call") not in (call, None):
                continue
            if "error" in message:
                kind = getattr(errors, message["error"], EngineError)
                raise kind(message["text"])
            self._deaths = 0
            return message

    def _survive(self, death: _Died, lost: str) -> None:
        """Clears up after a death; raises EngineError when it is one too many."""
        child = self._child
        self._child = None
        if child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
            children.stop(child, grace=1)
        code = child.returncode if child is not None else None
        if code == -signal.SIGKILL:
            # Nearly always the kernel, out of memory.
            self._killed += 1
        self._deaths += 1
        if self._deaths <= _DEATHS:
            return
        why = f"was killed by signal {-code}" if code and code < 0 else f"ended with code {code}"
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


def _pack(prompt: Prompt) -> Any:
    return prompt if isinstance(prompt, str) else [[m.role, m.content] for m in prompt]


def _unpack(prompt: Any) -> Prompt:
    return prompt if isinstance(prompt, str) else tuple(Message(*m) for m in prompt)


def _write(pipe: IO[bytes], message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    rest = memoryview(len(data).to_bytes(4, "big") + data)
    while rest:
        rest = rest[pipe.write(rest) :]


def _read(pipe: IO[bytes]) -> dict[str, Any] | None:
    """None at the end of the pipe."""
    head = pipe.read(4)
    if len(head) < 4:
        return None
    size = int.from_bytes(head, "big")
    data = pipe.read(size)
    return None if len(data) < size else dict(json.loads(data))


class _Host:
    """The child's side."""

    def __init__(self, inlet: IO[bytes], outlet: IO[bytes]) -> None:
        self._inlet, self._outlet = inlet, outlet
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._given_up = 0
        self._current = 0
        self._engine: Any = None

    def run(self) -> None:
        threading.Thread(target=self._listen, name="listen", daemon=True).start()
        first = self._messages.get()
        try:
            self._engine = _build_engine(first)
        except WoolgatherError as error:
            self._fail(None, error)
            return
        while True:
            message = self._messages.get()
            if "method" in message and message["call"] > self._given_up:
                self._answer(message)

    def _listen(self) -> None:
        while (message := _read(self._inlet)) is not None:
            if "cancel" in message:
                self._given_up = message["cancel"]
                if self._current and self._current <= self._given_up:
                    getattr(self._engine, "interrupt", lambda: None)()
            self._messages.put(message)
        os._exit(0)

    def _answer(self, message: dict[str, Any]) -> None:
        self._current = call = message["call"]
        try:
            if message["method"] == "complete":
                numbers: list[int] = []
                for i, completion in self._engine.complete(self._requests(call, numbers)):
                    if call <= self._given_up:
                        break
                    self._send({"call": call, "at": numbers[i], "completion": asdict(completion)})
            else:
                arguments = message["arguments"]
                if "prompts" in arguments:
                    arguments["prompts"] = [_unpack(p) for p in arguments["prompts"]]
                value = getattr(self._engine, message["method"])(**arguments)
                self._send({"call": call, "value": value})
        except WoolgatherError as error:
            self._fail(call, error)
        self._current = 0

    def _requests(self, call: int, numbers: list[int]) -> Iterator[Request]:
        while call > self._given_up:
            message = self._messages.get()
            if message.get("call") != call or "end" in message:
                return
            numbers.append(message["at"])
            yield Request(_unpack(message["prompt"]), Sampling(**message["sampling"]))

    def _fail(self, call: int | None, error: WoolgatherError) -> None:
        self._send({"call": call, "error": type(error).__name__, "text": str(error)})

    def _send(self, message: dict[str, Any]) -> None:
        try:
            _write(self._outlet, message)
        except OSError:
            os._exit(0)


def _build_engine(message: dict[str, Any]) -> Any:
    module, _, name = message["host"].partition(":")
    try:
        make = getattr(importlib.import_module(module), name)
    except ImportError as error:
        raise ConfigError(
            f"the transformers engine needs a package that is missing ({error}). "
            "Install it with: pip install 'woolgather[local]'"
        ) from error
    path, fingerprint, prompt_format = message["model"]
    settings: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in message["options"].items()
    }
    engine = make(Model(path, fingerprint, prompt_format), EngineOptions(**settings))
    for _ in range(message["halvings"]):
        engine.reduce()
    return engine


def main() -> None:
    children.watch_parent()
    inlet, outlet = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    # What libraries print belongs in the log, not between messages.
    os.dup2(2, 1)
    code = 0
    try:
        _Host(inlet, outlet).run()
    except BaseException:
        traceback.print_exc()
        code = 1
    # At once: the listening thread may be in the middle of a read.
    os._exit(code)


if __name__ == "__main__":
    main()
