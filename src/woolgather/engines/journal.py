"""An engine around any engine: answers are remembered as they arrive.

The one idea: a call is known by what was asked, not by when. Its key is the kind of call, the
model's fingerprint and prompt format, the prompt, the sampling, and a counter: the n-th identical
call within this step. A killed run therefore asks again only what was in flight, and a changed setting
that leaves some requests as they were leaves their answers in use. SQLite in WAL mode, one commit per
answer: it survives a kill of the process; after a loss of power the last moments may be missing,
never half there. Only the run's own process writes it, and those of runs beside it, on this machine,
that share their answers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import threading
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from woolgather.core.artifacts import Model
from woolgather.core.rows import JSON
from woolgather.engines.base import (
    Completion,
    Engine,
    FinishReason,
    LogProb,
    Request,
    settle,
)
from woolgather.prompting.messages import Prompt

T = TypeVar("T")
_COMPLETION = TypeAdapter(
    tuple[str, FinishReason, int, int] | tuple[str, FinishReason, int, int, str]
)
"""Text, finish reason, tokens of prompt and completion, and the reasoning where there was any."""
_LOGPROB = TypeAdapter(LogProb)
_LOGPROBS = TypeAdapter(list[float])
_BUSY_SECONDS = 60.0
"""How long a commit waits for those of other processes, which take milliseconds each."""
CHUNK = 32
"""Log-probability and embedding calls are asked, and remembered, this many at a time per engine."""


class Journal:
    """The store of answers, a SQLite file. Threads may share it."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(
            str(path), timeout=_BUSY_SECONDS, check_same_thread=False, isolation_level=None
        )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("CREATE TABLE IF NOT EXISTS calls (key BLOB PRIMARY KEY, answer TEXT)")

    def get(self, key: bytes) -> JSON | None:
        """Returns the answer to a call, or None when it is not known."""
        with self._lock:
            found = self._db.execute("SELECT answer FROM calls WHERE key = ?", (key,)).fetchone()
        return json.loads(found[0]) if found else None

    def put(self, key: bytes, answer: JSON) -> None:
        """Stores the answer to a call; once it returns, a kill of the process does not lose it."""
        text = json.dumps(answer, ensure_ascii=False)
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO calls VALUES (?, ?)", (key, text))

    def __len__(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM calls").fetchone()[0])

    def close(self) -> None:
        """Closes the file. Nothing can be read or stored after it."""
        self._db.close()


@dataclass
class Calls:
    """What was asked so far."""

    requests: int = 0
    """Calls in all."""
    remembered: int = 0
    """Calls that the journal answered."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


class JournaledEngine(Engine):
    """The engine an op sees during one step. `open_inner` is called at the first unknown request,
    so a step whose every answer is remembered loads no model; the run closes what it opens. A `salt`
    leaves older answers of the model out of use."""

    def __init__(
        self,
        model: Model,
        journal: Journal,
        open_inner: Callable[[], Engine],
        on_call: Callable[[Calls], None] = lambda calls: None,
        salt: str = "",
    ) -> None:
        super().__init__(model)
        self._journal = journal
        self._open = open_inner
        self._on_call = on_call
        self._salt = salt
        self._asked: list[Engine] = []
        self._seen: dict[bytes, int] = {}
        self.calls = Calls()

    @property
    def served(self) -> list[JSON]:
        """Returns who answered, of an engine that asks servers (see openai/client.py); what was
        remembered is not counted."""
        return [note for engine in self._asked for note in getattr(engine, "served", ())]

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        source = enumerate(requests)
        ready: deque[tuple[int, Completion]] = deque()
        asked: list[tuple[int, bytes]] = []

        def remembered(index: int, request: Request) -> bytes | None:
            key = self._key("complete", _prompt(request.prompt), request.sampling.__canonical__())
            answer = self._journal.get(key)
            if answer is None:
                return key
            ready.append((index, _load_completion(answer, request.sampling.stop)))
            self._count(1, ready[-1][1])
            return None

        for index, request in source:
            key = remembered(index, request)
            if key is not None:
                break
            yield ready.popleft()
        else:
            return

        def unknown() -> Iterator[Request]:
            asked.append((index, key))
            yield request
            for i, r in source:
                k = remembered(i, r)
                if k is not None:
                    asked.append((i, k))
                    yield r

        for inner, completion in self._inner().complete(unknown()):
            outer, key_of = asked[inner]
            if completion.finish_reason != "error":
                self._journal.put(key_of, _dump_completion(completion))
            self._count(0, completion)
            yield outer, completion
            while ready:
                yield ready.popleft()
        yield from ready

    def option_logprobs(
        self, prompts: Sequence[Prompt], options: Sequence[str]
    ) -> list[list[float]]:
        keys = [self._key("options", _prompt(p), list(options)) for p in prompts]
        return self._many(
            keys,
            lambda at: self._inner().option_logprobs([prompts[i] for i in at], options),
            _LOGPROBS.validate_python,
            lambda value: [*value],
        )

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        pairs = list(zip(prompts, continuations, strict=True))
        keys = [self._key("sequence", _prompt(p), c, temperature) for p, c in pairs]
        return self._many(
            keys,
            lambda at: self._inner().sequence_logprobs(
                [pairs[i][0] for i in at], [pairs[i][1] for i in at], temperature
            ),
            _LOGPROB.validate_python,
            lambda value: [value.total, value.tokens],
        )

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        keys = [self._key("embed", t) for t in texts]
        return self._many(
            keys,
            lambda at: self._inner().embed([texts[i] for i in at]),
            lambda answer: array("f", base64.b64decode(str(answer))).tolist(),
            lambda value: base64.b64encode(array("f", value).tobytes()).decode(),
        )

    def _inner(self) -> Engine:
        engine = self._open()
        if engine not in self._asked:
            self._asked.append(engine)
        return engine

    def _many(
        self,
        keys: Sequence[bytes],
        ask: Callable[[list[int]], Sequence[T]],
        load: Callable[[JSON], T],
        dump: Callable[[T], JSON],
    ) -> list[T]:
        """Returns one answer per key, those that are not remembered asked by their indices."""
        answers = [self._journal.get(key) for key in keys]
        missing = [i for i, answer in enumerate(answers) if answer is None]
        self.calls.requests += len(keys) - len(missing)
        self.calls.remembered += len(keys) - len(missing)
        chunk = CHUNK * self._inner().width if missing else CHUNK
        for start in range(0, len(missing), chunk):
            at = missing[start : start + chunk]
            for i, value in zip(at, ask(at), strict=True):
                answers[i] = dump(value)
                self._journal.put(keys[i], answers[i])
            self.calls.requests += len(at)
            self._on_call(self.calls)
        return [load(answer) for answer in answers]

    def _key(self, *parts: JSON) -> bytes:
        text = json.dumps(
            [self._model.fingerprint, self._model.prompt_format, *parts], ensure_ascii=False
        )
        base = hashlib.sha256((self._salt + text).encode()).digest()[:16]
        occurrence = self._seen.get(base, 0)
        self._seen[base] = occurrence + 1
        return base + occurrence.to_bytes(4, "big")

    def _count(self, remembered: int, completion: Completion) -> None:
        self.calls.requests += 1
        self.calls.remembered += remembered
        if not remembered:
            self.calls.prompt_tokens += completion.prompt_tokens
            self.calls.completion_tokens += completion.completion_tokens
        self._on_call(self.calls)


def _dump_completion(c: Completion) -> JSON:
    thought = [c.reasoning] if c.reasoning else []
    return [c.text, c.finish_reason, c.prompt_tokens, c.completion_tokens, *thought]


def _load_completion(answer: JSON, stop: tuple[str, ...]) -> Completion:
    """Earlier versions stored reasoning, and stop texts that a server had left, within the text."""
    text, reason, prompt_tokens, completion_tokens, *more = _COMPLETION.validate_python(answer)
    if more:
        return Completion(text, reason, prompt_tokens, completion_tokens, more[0])
    return settle(Completion(text, reason, prompt_tokens, completion_tokens), stop)


def _prompt(prompt: Prompt) -> JSON:
    return prompt if isinstance(prompt, str) else [list(message) for message in prompt]
