"""Any server that speaks OpenAI's protocol: vLLM, llama.cpp, TGI, the API itself; one URL or several.

The one idea: the caller's thread pulls requests lazily and yields answers as they come, while an
event loop in the background does the talking (client.py). After a lasting failure nothing more is
pulled, what is in flight is waited for and yielded, and only then is the failure raised.

A raw text goes to `/completions`, a conversation to `/chat/completions`, where the *server* renders
it with its own template and its own idea of today. A server counts `max_tokens` as part of what has
to fit into the context, so that "too_long" is said of prompts with less room than that. The key
comes from the environment, goes into the request's header, and nowhere else. This module starts no
server and remembers no answer.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import queue
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from typing import Literal, TypeVar

from pydantic import BaseModel, Field

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, EngineError, WoolgatherError
from woolgather.core.rows import JSON
from woolgather.engines.base import Completion, Engine, EngineOptions, LogProb, Request, Sampling
from woolgather.engines.openai.client import NO_LOGPROBS, Patience, Refused, Servers
from woolgather.prompting.messages import Prompt

T = TypeVar("T")
_EMBED_BATCH = 64
_FINISH: dict[str, Literal["stop", "length", "error"]] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "error",
    "error": "error",
}
"""Every other word (stop, eos_token, stop_sequence, ...) is a stop."""


class _Usage(BaseModel):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Message(BaseModel):
    content: str | None


class _Logprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]


class _Choice(BaseModel):
    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class _Reply(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Usage | None = None


class _Vector(BaseModel):
    index: int
    embedding: list[float]


class _Vectors(BaseModel):
    data: list[_Vector]


class OpenAIEngine(Engine):
    """Asks the servers at `options.urls`, which all hold `model` whatever they call it. Raises
    ConfigError for a URL or key that cannot be one."""

    def __init__(
        self, model: Model, options: EngineOptions, patience: Patience | None = None
    ) -> None:
        super().__init__(model)
        self._ahead = max(1, options.concurrency)
        self._servers = Servers(options, patience or Patience())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"OpenAIEngine({self._servers})"

    @property
    def served(self) -> list[JSON]:
        """Returns what is known of the servers that have answered (see Servers.served)."""
        return self._servers.served

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        """Yields one (index, Completion) per request, as the servers answer; at most `concurrency`
        requests are pulled ahead. Raises what Servers.post raises, after what was in flight."""
        return self._stream(self._complete(request) for request in requests)

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        """Returns one LogProb per pair. A token counts when it holds a character of the continuation;
        the server tokenizes prompt and continuation as one text.

        Raises CapabilityError for a temperature other than 1, for a conversation, and where the server
        gives no log-probabilities of a prompt.
        """
        if temperature != 1.0:
            raise CapabilityError(
                f"{self._servers}: servers give log-probabilities at temperature 1 only. "
                "Use engine=transformers."
            )
        raw = [p for p in prompts if isinstance(p, str)]
        if len(raw) < len(prompts):
            raise CapabilityError(
                f"{self._servers}: servers give log-probabilities after raw text, not after a "
                f"conversation. {NO_LOGPROBS}"
            )
        pairs = zip(raw, continuations, strict=True)
        return self._gather(self._logprob(p, c) for p, c in pairs)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Returns the vectors that the server's `/embeddings` gives, [texts][hidden size]; how it pools
        is its own affair."""
        batches = [list(texts[i : i + _EMBED_BATCH]) for i in range(0, len(texts), _EMBED_BATCH)]
        parts = self._gather(self._embed(batch) for batch in batches)
        return list(itertools.chain.from_iterable(parts))

    def close(self) -> None:
        """Cancels what is in flight. A closed engine stays closed."""
        self._closed = True
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def _stream(self, work: Iterable[Coroutine[None, None, T]]) -> Iterator[tuple[int, T]]:
        """Yields (index, result) as they arrive, at most `concurrency` of them pulled ahead."""
        loop = self._start()
        source = enumerate(work)
        done: queue.SimpleQueue[tuple[int, Future[T]]] = queue.SimpleQueue()
        waiting: dict[int, Future[T]] = {}
        failure: WoolgatherError | None = None
        more = True
        try:
            while True:
                while more and failure is None and len(waiting) < self._ahead:
                    pulled = next(source, None)
                    if pulled is None:
                        more = False
                        break
                    index, coroutine = pulled
                    waiting[index] = future = asyncio.run_coroutine_threadsafe(coroutine, loop)
                    future.add_done_callback(lambda f, i=index: done.put((i, f)))  # type: ignore[misc]
                if not waiting:
                    break
                index, future = done.get()
                del waiting[index]
                try:
                    result = future.result()
                except CancelledError:
                    failure = failure or EngineError(f"{self._servers}: the engine was closed.")
                except WoolgatherError as error:
                    failure = failure or error
                else:
                    yield index, result
        finally:
            for future in waiting.values():
                future.cancel()
        if failure is not None:
            raise failure

    def _gather(self, work: Iterable[Coroutine[None, None, T]]) -> list[T]:
        results = dict(self._stream(work))
        return [results[i] for i in range(len(results))]

    def _start(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise EngineError(f"{self._servers}: the engine was closed.")
        if self._loop is None:
            loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=loop.run_forever, name="openai", daemon=True)
            self._thread.start()
            self._loop = loop
            asyncio.run_coroutine_threadsafe(self._servers.connect(), loop).result()
        return self._loop

    async def _shut(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._servers.close()

    async def _complete(self, request: Request) -> Completion:
        body = _sampling(request.sampling)
        if isinstance(request.prompt, str):
            path = "/completions"
            body["prompt"] = request.prompt
        else:
            path = "/chat/completions"
            body["messages"] = [{"role": m.role, "content": m.content} for m in request.prompt]
            if request.prompt and request.prompt[-1].role == "assistant":
                body |= {"continue_final_message": True, "add_generation_prompt": False}
        try:
            return await self._servers.post(path, body, _completion)
        except Refused as refused:
            return Completion("", refused.reason)

    async def _logprob(self, prompt: str, continuation: str) -> LogProb:
        if not continuation:
            return LogProb(0.0, 0)
        text = prompt + continuation
        tokens, values = await self._echo(text)
        start = _token_at(tokens, text, len(prompt))
        if start is None:
            # Pieces of a character, or tokens shown without their spaces, cannot be laid along the
            # text: count the tokens of the prompt alone.
            start = len((await self._echo(prompt))[0]) if prompt else 0
        inside = [value for value in values[start:] if value is not None]
        if len(inside) < len(values[start:]):
            raise CapabilityError(
                f"{self._servers}: the first token of a text has no log-probability here. Give a "
                "prompt that is not empty, or use engine=transformers."
            )
        return LogProb(math.fsum(inside), len(inside))

    async def _echo(self, text: str) -> tuple[list[str], list[float | None]]:
        """Returns the tokens of `text`, as the server shows them, and the log-probability of each; the
        first has none."""
        # One new token, since some servers refuse to write none; it lies behind the text's own.
        body: dict[str, JSON] = {
            "prompt": text,
            "echo": True,
            "logprobs": 1,
            "max_tokens": 1,
            "temperature": 0.0,
        }
        try:
            reply = await self._servers.post("/completions", body, _Reply.model_validate)
        except Refused as refused:
            raise EngineError(
                f"{self._servers}: no log-probabilities for a text of {len(text)} characters "
                f"({refused}). Set long rows aside before, or serve a longer context."
            ) from None
        choice = reply.choices[0]
        given = choice.logprobs
        if (
            given is None
            or not (choice.text or "").startswith(text)
            or len(given.tokens) != len(given.token_logprobs)
        ):
            raise CapabilityError(
                f"{self._servers}: no log-probabilities of the prompt in the answer (echo with "
                f"logprobs). {NO_LOGPROBS}"
            )
        own = (reply.usage and reply.usage.prompt_tokens) or len(given.tokens) - 1
        return given.tokens[:own], given.token_logprobs[:own]

    async def _embed(self, batch: list[str]) -> list[list[float]]:
        def read(reply: object) -> list[list[float]]:
            data = sorted(_Vectors.model_validate(reply).data, key=lambda v: v.index)
            if [v.index for v in data] != list(range(len(batch))):
                raise ValueError(f"{len(data)} embeddings for {len(batch)} texts")
            return [v.embedding for v in data]

        try:
            return await self._servers.post("/embeddings", {"input": [*batch]}, read)
        except Refused as refused:
            raise EngineError(
                f"{self._servers}: no embedding for a text of up to {max(map(len, batch))} "
                f"characters ({refused}). Set long rows aside before."
            ) from None


def _sampling(sampling: Sampling) -> dict[str, JSON]:
    """Returns a request's fields of sampling; those beyond the protocol's core only where they change
    something. Raises CapabilityError for what no server has."""
    for name in ("trigram_penalty", "quadgram_penalty"):
        if getattr(sampling, name):
            raise CapabilityError(
                f"servers have no {name}. Leave it at 0, or use engine=transformers."
            )
    body: dict[str, JSON] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.stop:
        body["stop"] = [*sampling.stop]
    if sampling.seed:
        body["seed"] = sampling.seed
    if sampling.top_k:
        body["top_k"] = sampling.top_k
    if sampling.repetition_penalty != 1.0:
        body["repetition_penalty"] = sampling.repetition_penalty
    return body


def _completion(reply: object) -> Completion:
    read = _Reply.model_validate(reply)
    choice, usage = read.choices[0], read.usage or _Usage()
    if choice.text is None and choice.message is None:
        raise ValueError("a choice without text")
    text = (choice.text if choice.message is None else choice.message.content) or ""
    # JSON can spell half a character, which no file can hold.
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return Completion(
        text,
        _FINISH.get(choice.finish_reason or "", "stop"),
        usage.prompt_tokens or 0,
        usage.completion_tokens or 0,
    )


def _token_at(tokens: Sequence[str], text: str, at: int) -> int | None:
    """Returns the index of the token that holds character `at` of `text`, or None when the tokens do
    not spell it.

    A start token before the text is stepped over.
    """
    first = 0 if not tokens or text.startswith(tokens[0]) else 1
    if "".join(tokens[first:]) != text:
        return None
    ends = itertools.accumulate(map(len, tokens[first:]))
    return next((first + i for i, end in enumerate(ends) if end > at), None)
