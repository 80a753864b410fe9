"""Any server that speaks OpenAI's protocol: vLLM, llama.cpp, TGI, the API itself; one URL or several.

The one idea: the caller's thread pulls requests lazily and yields answers as they come, while an
event loop in the background does the talking (client.py). After a lasting failure nothing more is
pulled, what is in flight is waited for and yielded, and only then is the failure raised.

A raw text goes to `/completions`, a conversation to `/chat/completions`, where the *server* renders
it with its own template and its own idea of today. A server counts `max_tokens` as part of what has
to fit into the context, so that "too_long" is said of prompts with less room than that; it is also said
of a prompt that the server, by its own count, read in part only (prompt_sizes.py). Reasoning is told
from the answer by the server, or by its tags. Where a template opens it and the server parses none, a
reply that is cut within its reasoning shows no tag: it is an unfinished answer like any other. The key
comes from the environment, goes into the request's header, and nowhere else. This module starts no
server and remembers no answer.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import queue
import re
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import closing
from typing import TypeVar

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, ConfigError, EngineError, WoolgatherError
from woolgather.core.rows import JSON
from woolgather.engines.base import Completion, Engine, EngineOptions, LogProb, Request, Sampling
from woolgather.engines.openai.client import Patience, Servers
from woolgather.engines.openai.prompt_sizes import PromptSizes
from woolgather.engines.openai.refusals import NO_LOGPROBS, Refused
from woolgather.engines.openai.replies import read_answer, read_echo, read_vectors
from woolgather.prompting.messages import Message, Prompt
from woolgather.prompting.reasoning import ends_opened
from woolgather.prompting.template_choice import OWN

T = TypeVar("T")
log = logging.getLogger(__name__)
_EMBED_BATCH = 64
_FIRST = 16
"""Requests; where a server refuses the first so many, and a greeting, it would refuse all."""


class OpenAIEngine(Engine):
    """Asks the servers at `options.urls`, which all hold `model` whatever they call it. Raises
    ConfigError for a URL or key that cannot be one, and for a chat model whose template was chosen."""

    def __init__(
        self, model: Model, options: EngineOptions, patience: Patience | None = None
    ) -> None:
        super().__init__(model)
        if model.prompt_format == "chat" and model.chat_template not in ("", OWN):
            raise ConfigError(
                "--engine openai: a server renders conversations with the template that it was started "
                "with, and chat_template names another one for this model. Leave chat_template out, or "
                "use --engine transformers."
            )
        self._ahead = max(1, options.concurrency)
        self._servers = Servers(options, patience or Patience())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._sizes = PromptSizes(model.path)
        self._warned: set[str] = set()

    def __repr__(self) -> str:
        return f"OpenAIEngine({self._servers})"

    @property
    def served(self) -> list[JSON]:
        """Returns what is known of the servers that have answered (see Servers.served)."""
        return self._servers.served

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        """Yields one (index, Completion) per request, as the servers answer; at most `concurrency`
        requests are pulled ahead. Raises what Servers.post raises, after what was in flight.

        A request that is refused alone is an "error" with the server's words; where a server refuses the
        first ones, and a greeting besides, EngineError is raised with them.
        """
        latest: list[Request] = []

        def work() -> Iterator[Coroutine[None, None, Completion | Refused]]:
            for request in requests:
                latest[:] = [request]
                yield self._complete(request)

        with closing(self._stream(work())) as results:
            yield from self._give_up_alone(results, lambda: self._answers_like(latest[0]))

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
                "Use --engine transformers."
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

    def _stream(
        self, work: Iterable[Coroutine[None, None, T]]
    ) -> Generator[tuple[int, T], None, None]:
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

    def _give_up_alone(
        self, results: Iterable[tuple[int, Completion | Refused]], answers: Callable[[], bool]
    ) -> Iterator[tuple[int, Completion]]:
        """Yields the completions, and for a refused request one that says so, once it is clear that not
        every request is refused: after the first answer, or where the first few were all refused and
        `answers` says that others would not be (those may be all that an earlier launch left).
        """
        first = min(_FIRST, self._ahead)
        early: dict[int, Refused] = {}
        settled = False
        for index, result in results:
            if isinstance(result, Completion):
                settled = settled or result.finish_reason in ("stop", "length")
                yield index, result
            else:
                early[index] = result
            if not settled and all(i in early for i in range(first)):
                self._check(answers, early)
                settled = True
            if settled:
                yield from ((i, self._give_up(refused)) for i, refused in early.items())
                early.clear()
        if early:
            self._check(answers, early)
            yield from ((i, self._give_up(refused)) for i, refused in early.items())

    def _check(self, answers: Callable[[], bool], refused: Mapping[int, Refused]) -> None:
        if not answers():
            raise EngineError(
                f"{refused[min(refused)].why}. The server does not take this request."
            )

    def _answers_like(self, request: Request) -> bool:
        """Returns whether the servers answer a greeting that is asked as `request` is."""
        chat = not isinstance(request.prompt, str)
        hello: Prompt = (Message("user", "Hello"),) if chat else "Hello"
        (result,) = self._gather([self._complete(Request(hello, request.sampling))])
        return isinstance(result, Completion)

    def _give_up(self, refused: Refused) -> Completion:
        self._warn(f"a request is set aside: {refused.why}")
        return Completion("", refused.reason, why=refused.why)

    def _warn(self, what: str) -> None:
        """Says it once, whatever the numbers in it."""
        kind = re.sub(r"\d+", "", what)
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning("%s", what)

    async def _complete(self, request: Request) -> Completion | Refused:
        body = _sampling(request.sampling)
        prompt, stop = request.prompt, request.sampling.stop
        begun = ""
        if isinstance(prompt, str):
            path, body["prompt"], begun = "/completions", prompt, prompt
        else:
            path = "/chat/completions"
            body["messages"] = [{"role": m.role, "content": m.content} for m in prompt]
            if prompt and prompt[-1].role == "assistant":
                begun = prompt[-1].content
                body |= {"continue_final_message": True, "add_generation_prompt": False}
            if self._model.chat_template_kwargs:
                body["chat_template_kwargs"] = dict(self._model.chat_template_kwargs)
        opened = ends_opened(begun)

        def read(reply: object) -> Completion:
            return read_answer(reply, stop, opened=opened)

        try:
            found = await self._servers.post(path, body, read)
        except Refused as refused:
            return Completion("", refused.reason, why=refused.why) if refused.known else refused
        if 0 < found.prompt_tokens < self._sizes.at_least(prompt):
            why = _cut(found.prompt_tokens)
            self._warn(f"{self._servers}: {why}")
            return Completion("", "too_long", found.prompt_tokens, why=why)
        return found

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
                "prompt that is not empty, or use --engine transformers."
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
            given = await self._servers.post("/completions", body, read_echo)
        except Refused as refused:
            raise EngineError(
                f"{self._servers}: no log-probabilities for a text of {len(text)} characters "
                f"({refused}: {refused.why}). Set long rows aside before, or serve a longer context."
            ) from None
        if given is None or not given.text.startswith(text):
            raise CapabilityError(
                f"{self._servers}: no log-probabilities of the prompt in the answer (echo with "
                f"logprobs). {NO_LOGPROBS}"
            )
        if 0 < given.prompt_tokens < self._sizes.at_least(text):
            raise EngineError(f"{self._servers}: {_cut(given.prompt_tokens)}")
        own = given.prompt_tokens or len(given.tokens) - 1
        return [*given.tokens[:own]], [*given.values[:own]]

    async def _embed(self, batch: list[str]) -> list[list[float]]:
        def read(reply: object) -> list[list[float]]:
            return read_vectors(reply, len(batch))

        try:
            return await self._servers.post("/embeddings", {"input": [*batch]}, read)
        except Refused as refused:
            raise EngineError(
                f"{self._servers}: no embeddings for texts of up to {max(map(len, batch))} "
                f"characters ({refused.why or refused}). Set long rows aside before, or use "
                "--engine transformers."
            ) from None


def _cut(told: int) -> str:
    """Returns what is said of a server that answers only a part of a prompt."""
    return (
        f"the server read {told} tokens of a prompt that has more: it cuts what does not fit into its "
        "context. Serve the model with a longer one (num_ctx, --ctx-size, --max-model-len)."
    )


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
