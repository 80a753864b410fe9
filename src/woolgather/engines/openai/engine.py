"""Any server that speaks OpenAI's protocol: vLLM, llama.cpp, TGI, the API itself; one URL or several.

The one idea: the caller's thread pulls requests lazily and yields answers as they come, while an
event loop in the background does the talking (client.py). After a lasting failure nothing more is
pulled, what is in flight is waited for and yielded, and only then is the failure raised.

Where a server takes token ids (token_ids.py) a prompt is rendered and tokenized here. Elsewhere a text
goes to `/completions`, and so does a conversation that is spelt out as ChatML; any other goes to
`/chat/completions`, where the *server* renders it with its own template and its own idea of today.
"too_long" is said of a prompt that the server refuses for its length, and of one that it, by its own
count, read in part only (prompt_sizes.py); where a prompt fits and its answer may not, servers cut the
answer. Reasoning is told from the answer by the server, or by its tags. Where a template opens it and
the server parses none, a reply that is cut within its reasoning shows no tag: it is an unfinished
answer like any other. The key comes from the environment, goes into the request's header, and nowhere
else. This module starts no server and remembers no answer.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import re
import threading
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from woolgather.core.artifacts import Model
from woolgather.core.errors import CapabilityError, EngineError, WoolgatherError
from woolgather.core.rows import JSON
from woolgather.engines.base import Completion, Engine, EngineOptions, LogProb, Request, Tokens
from woolgather.engines.openai.client import Line, Servers
from woolgather.engines.openai.prompt_sizes import PromptSizes, say_cut
from woolgather.engines.openai.refusals import Refused
from woolgather.engines.openai.replies import read_vectors
from woolgather.engines.openai.scoring import AT_ONCE, Scorer
from woolgather.engines.openai.server import Patience
from woolgather.engines.openai.token_ids import SHOWN, load_renderer, takes_ids
from woolgather.engines.openai.wording import (
    Wording,
    ask_in_ids,
    ask_in_text,
    check_template,
    prompt_ids,
)
from woolgather.prompting.messages import Message, Prompt
from woolgather.prompting.renderer import Renderer

T = TypeVar("T")
log = logging.getLogger(__name__)
_EMBED_BATCH = 64
_FIRST = 16
"""Requests; where a server refuses the first so many, and a greeting, it would refuse all."""


class OpenAIEngine(Engine):
    """Asks the servers at `options.urls`, which all hold `model` whatever they call it. Raises
    ConfigError for a URL or key that cannot be one; and for a model whose chat template was chosen, where
    its folder is not here or, with the first conversation, where a server takes no token ids."""

    def __init__(
        self, model: Model, options: EngineOptions, patience: Patience | None = None
    ) -> None:
        super().__init__(model)
        if not Path(model.path).is_dir():
            check_template(model)
        self._options = options
        self._renderer: Renderer | None = None
        """Loaded with the first call."""
        self._scores: Scorer | None = None
        self._ahead = max(1, options.concurrency)
        self._servers = Servers(options, patience or Patience(), self._introduce)
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

        with closing(self._stream(work(), self._ahead)) as results:
            yield from self._give_up_alone(results, lambda: self._answers_like(latest[0]))

    def option_logprobs(
        self, prompts: Sequence[Prompt], options: Sequence[str]
    ) -> list[list[float]]:
        """Returns the natural log-probability of each option after each prompt, [prompts][options], in
        the best way that the servers know (scoring.py); NaN where a server that shows only the likeliest
        tokens shows none of the options. Raises CapabilityError where there is no way."""
        scorer = self._scorer()
        return self._gather((scorer.score_options(p, options) for p in prompts), AT_ONCE)

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        """Returns one LogProb per pair. Where the server tokenizes prompt and continuation as one text, a
        token counts when it holds a character of the continuation.

        Raises CapabilityError for a temperature other than 1, for a text that is too long, where the
        server gives no log-probabilities of a prompt, and for a conversation where it takes no token ids.
        """
        if temperature != 1.0:
            raise CapabilityError(
                f"{self._servers}: servers give log-probabilities at temperature 1 only. "
                "Use --engine transformers."
            )
        scorer = self._scorer()
        pairs = zip(prompts, continuations, strict=True)
        return self._gather((scorer.score(p, c) for p, c in pairs), AT_ONCE)

    def read_tokens(self, prompts: Sequence[Prompt]) -> Tokens:
        """Returns how prompts are rendered and tokenized for servers that take token ids. Raises
        CapabilityError where one does not."""

        async def is_in_ids(line: Line) -> bool:
            return bool(line.server.takes_ids)

        (in_ids,) = self._gather([self._servers.talk(is_in_ids)])
        if not in_ids or self._renderer is None:
            raise CapabilityError(self._cannot("token ids"))
        ids = [prompt_ids(prompt, self._model, self._renderer) for prompt in prompts]
        return Tokens(ids, [*self._renderer.end_ids], self._renderer.template)

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

    def _scorer(self) -> Scorer:
        self._start()
        if self._scores is None:
            self._scores = Scorer(self._servers, self._model, self._renderer, self._sizes)
        return self._scores

    def _stream(
        self, work: Iterable[Coroutine[None, None, T]], at_once: int
    ) -> Generator[tuple[int, T], None, None]:
        """Yields (index, result) as they arrive, at most `at_once` of them pulled ahead."""
        loop = self._start()
        source = enumerate(work)
        done: queue.SimpleQueue[tuple[int, Future[T]]] = queue.SimpleQueue()
        waiting: dict[int, Future[T]] = {}
        failure: WoolgatherError | None = None
        more = True
        try:
            while True:
                while more and failure is None and len(waiting) < at_once:
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

    def _gather(self, work: Iterable[Coroutine[None, None, T]], at_once: int = 0) -> list[T]:
        results = dict(self._stream(work, min(self._ahead, at_once or self._ahead)))
        return [results[i] for i in range(len(results))]

    def _start(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise EngineError(f"{self._servers}: the engine was closed.")
        if self._loop is None:
            self._renderer = load_renderer(self._model, self._options)
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

    async def _complete(self, asked: Request) -> Completion | Refused:
        request = asked.spell_out(self._model.prompt_format)

        async def ask(line: Line) -> Completion:
            wording = self._word(request, line)
            if isinstance(wording, Completion):
                return wording
            found = await line.post(
                wording.path, wording.body, lambda reply: wording.read(reply, request.sampling)
            )
            least = wording.tokens or self._sizes.at_least(request.prompt)
            if 0 < found.prompt_tokens < least:
                why = say_cut(found.prompt_tokens)
                self._warn(f"{line.server.shown}: {why}")
                return Completion("", "too_long", found.prompt_tokens, why=why)
            return found

        try:
            return await self._servers.talk(ask)
        except Refused as refused:
            return Completion("", refused.reason, why=refused.why) if refused.known else refused

    def _word(self, request: Request, line: Line) -> Wording | Completion:
        if line.server.takes_ids and self._renderer is not None:
            return ask_in_ids(request, self._model, self._renderer, line.server)
        return ask_in_text(request, self._model, line.server)

    async def _introduce(self, line: Line) -> None:
        if self._renderer is not None:
            ids = self._renderer.prompt_ids(SHOWN, "raw")
            line.server.takes_ids = await takes_ids(line, ids)

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
