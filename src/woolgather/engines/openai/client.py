"""Servers that speak OpenAI's protocol: posts JSON, as much at once as each bears, and tries again.

The one idea: a question goes to the least loaded server that is open, and all that it takes to answer
it is posted on that one *line*. A failure that may pass ends the line, and the question is asked again,
with exponential waits and jitter, a bounded number of times; a field that a server turns down and the
question can do without is left out at once.

Before its first question a server is asked what it serves, and shown what it takes (`introduce`). A name
that it does not list is an error then, and an answer by another model of its list is one later.

Everything here runs on one event loop. What is asked and how answers are read is engine.py's; what a
server bears is server.py's; which servers a model has is serving.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from typing import NoReturn, TypeVar

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from woolgather.core.errors import ConfigError, EngineError, WoolgatherError
from woolgather.core.rows import JSON
from woolgather.engines.base import EngineOptions
from woolgather.engines.openai.cards import Cards, choose_name, how_to_name, read_cards
from woolgather.engines.openai.refusals import (
    NEUTRAL,
    Attempt,
    Refusal,
    Refused,
    acceptable,
    describe,
    meaning,
    passes,
    read_refusal,
    read_told_error,
    to_take_back,
)
from woolgather.engines.openai.replies import Unreadable, error_in, read_model
from woolgather.engines.openai.server import FIRST_LIMIT, Patience, Server
from woolgather.engines.openai.serving import read_endpoint, redact_address

T = TypeVar("T")
log = logging.getLogger(__name__)
_STRANGE = 3
"""Attempts that may end in a whole answer of another shape: such a thing seldom passes."""


class Passing(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, what: str, status: int = 0) -> None:
        super().__init__(what)
        self.status = status
        """The server's, 0 where there was none."""


class _Strange(Passing):
    """An attempt ended in a whole answer that is not what was asked for."""


class _TurnedDown(Exception):
    """A server refuses what was posted, and will again."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class Line:
    """One server, for as long as one question takes."""

    def __init__(self, servers: Servers, server: Server) -> None:
        self._servers = servers
        self.server = server

    async def post(self, path: str, body: Mapping[str, JSON], read: Callable[[object], T]) -> T:
        """Posts `body` and returns what `read` makes of the answer's JSON.

        Raises Passing where the question is to be asked again, also where `read` raises Unreadable;
        and as Servers.talk does.
        """
        return await self._servers.post_to(self.server, path, body, read)


async def _no_more(line: Line) -> None:
    """Introduces a server that is to be shown nothing."""


class Servers:
    """The servers at `options.urls`, which all serve the same model, as one. `introduce` is awaited once
    per server before its first question, and may post to it.

    Raises ConfigError where there is no URL, one is malformed, or the key cannot be one.
    """

    def __init__(
        self,
        options: EngineOptions,
        patience: Patience,
        introduce: Callable[[Line], Awaitable[None]] = _no_more,
    ) -> None:
        self._options = options
        self._patience = patience
        self._introduce = introduce
        self._endpoints = [read_endpoint(text) for text in options.urls]
        if not self._endpoints:
            raise ConfigError(
                "engine openai: no URL. Give the server's address, e.g. --url http://localhost:8000/v1."
            )
        self._key = os.environ.get(options.api_key_env, "").strip()
        if not re.fullmatch(r"[!-~]*", self._key):
            raise ConfigError(
                f"environment variable {options.api_key_env} does not hold a key: there are spaces, "
                "line breaks or other characters in it that a header cannot carry."
            )
        self._servers: list[Server] = []
        self._changed = asyncio.Event()
        self._turn = asyncio.Lock()

    def __str__(self) -> str:
        return ", ".join(redact_address(endpoint.url) for endpoint in self._endpoints)

    @property
    def served(self) -> list[JSON]:
        """Returns an object per server that has answered: its `url`, the model's `name` there, the
        `card`, which is what the server says of it, and how it was asked (see Server.described)."""
        return [server.described for server in self._servers if server.answered]

    async def connect(self) -> None:
        """Makes a client per server, on the running event loop; nothing is sent yet."""
        from openai import AsyncOpenAI, Timeout

        wait = self._patience.timeout
        most = max(1, self._options.concurrency)
        limit = min(FIRST_LIMIT, float(most))
        for endpoint in self._endpoints:
            client = AsyncOpenAI(
                base_url=endpoint.url,
                # Servers without a key ignore what is sent, but the client insists on some text.
                api_key=self._key or "none",
                timeout=Timeout(wait, connect=min(10.0, wait)),
                max_retries=0,
            )
            shown = redact_address(endpoint.url)
            self._servers.append(Server(endpoint.url, shown, client, most, endpoint.name, limit))

    async def close(self) -> None:
        """Closes the connections."""
        for server in self._servers:
            await server.client.close()

    async def post(self, path: str, body: Mapping[str, JSON], read: Callable[[object], T]) -> T:
        """Asks a question of one post, as `talk` does."""
        return await self.talk(lambda line: line.post(path, body, read))

    async def talk(self, question: Callable[[Line], Awaitable[T]]) -> T:
        """Returns what `question` finds out on a line to the least loaded server; where an answer is
        unreadable it is asked a few times more.

        Raises EngineError when the attempts are used up or the server says no, CapabilityError
        when it lacks what is asked, ConfigError for a key or a model's name it does not know, and
        Refused when it turns down this question alone.
        """
        wait = self._patience
        strange = 0
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(wait.attempts),
                wait=wait_random_exponential(multiplier=wait.first_wait, max=wait.longest_wait),
                retry=retry_if_exception_type(Passing),
                reraise=True,
            ):
                with attempt:
                    try:
                        return await self._attempt(question)
                    except _Strange as error:
                        strange += 1
                        if strange == _STRANGE:
                            raise Refused("error", str(error), known=False) from None
                        raise
        except Passing as last:
            raise EngineError(
                f"{last}; tried {wait.attempts} times. What was answered before is kept: when the "
                "server is well again, the same command continues."
            ) from None
        raise AssertionError("the last attempt returns or raises")

    async def post_to(
        self, server: Server, path: str, body: Mapping[str, JSON], read: Callable[[object], T]
    ) -> T:
        """Posts to one server, as Line.post does."""
        place = server.shown + path
        while True:
            sent = {"model": server.name, **acceptable(body, server.refuses)}
            try:
                return await self._exchange(server, path, sent, read)
            except _TurnedDown as error:
                name = to_take_back(error.refusal, sent)
                if name is None:
                    raise self._meaning(error.refusal, server, place, body) from None
            if name not in server.refuses:
                own = "; what it takes for it itself counts" if name in NEUTRAL else ""
                log.warning(
                    "%s: goes on without %s, which this server does not take%s", place, name, own
                )
                server.refuses.add(name)

    async def _attempt(self, question: Callable[[Line], Awaitable[T]]) -> T:
        server = await self._acquire()
        line = Line(self, server)
        try:
            async with server.learning:
                if server.listed is None:
                    await self._list(server)
                if not server.introduced:
                    await self._introduce(line)
                    server.introduced = True
            result = await question(line)
            server.grow()
            return result
        finally:
            server.in_flight -= 1
            self._wake()

    async def _exchange(
        self, server: Server, path: str, sent: Mapping[str, JSON], read: Callable[[object], T]
    ) -> T:
        place, cuts = server.shown + path, server.cuts
        reply: object = None
        with self._failures(server, place):
            try:
                # A time-out of the connection counts from byte to byte; this one is for the whole.
                async with asyncio.timeout(self._patience.timeout):
                    reply = await server.client.post(path, cast_to=object, body=sent)
                if told := error_in(reply):
                    self._refuse(server, place, cuts, read_told_error(told))
                self._check_model(server, place, reply)
                result = read(reply)
            except Unreadable as error:
                if isinstance(reply, str) and server.answered:  # a page instead, for the time being
                    raise self._again(f"{place}: a page of text instead of JSON") from None
                why = "a page of text, no JSON" if isinstance(reply, str) else str(error)
                raise self._again(
                    f"{place}: not an answer to what was asked ({why})", kind=_Strange
                ) from None
        server.answered = True
        return result

    @contextlib.contextmanager
    def _failures(self, server: Server, place: str) -> Iterator[None]:
        """Turns what goes wrong on the way to a server and back into Passing or _TurnedDown."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        cuts = server.cuts
        try:
            yield
        except (APITimeoutError, TimeoutError) as error:
            server.cut(cuts)
            what = f"{place}: no answer in {self._patience.timeout:g} s"
            if "Connect" in type(error.__cause__).__name__:
                server.rest(None, what, self._patience)
            raise self._again(what) from None
        except APIConnectionError as error:
            what = self._redact(f"{place}: no connection ({error.__cause__ or error})")
            server.rest(None, what, self._patience)
            raise self._again(what) from None
        except APIStatusError as error:
            rest = _retry_after(error.response.headers)
            refusal = read_refusal(error.status_code, error.body, str(error.code or ""), rest)
            self._refuse(server, place, cuts, refusal)
        except (Passing, _TurnedDown, WoolgatherError):
            raise
        except ValueError as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise self._again(f"{place}: an answer that cannot be read ({why})") from None

    def _refuse(self, server: Server, place: str, cuts: int, refusal: Refusal) -> NoReturn:
        """Raises what a refusal is: Passing, or _TurnedDown for what will not pass."""
        refusal = replace(refusal, said=self._redact(refusal.said))
        what = describe(refusal, place)
        if refusal.status in (429, 503) and refusal.code != "insufficient_quota":
            server.cut(cuts)
            server.rest(refusal.rest, what, self._patience)
        if passes(refusal):
            raise self._again(what, refusal.status) from None
        raise _TurnedDown(refusal) from None

    def _meaning(
        self, refusal: Refusal, server: Server, place: str, body: Mapping[str, JSON]
    ) -> Exception:
        held = "is not accepted" if self._key else "is not set"
        key = f"The key in environment variable {self._options.api_key_env} {held}."
        return meaning(refusal, Attempt(place, server.shown, body, server.answered, key))

    def _check_model(self, server: Server, place: str, reply: object) -> None:
        """Raises ConfigError for an answer of another model of the server's list; any other name than the
        one that was asked for, such as one with a date behind it, is told once."""
        told = read_model(reply)
        if told in ("", server.name, server.answered_as):
            return
        if told in (server.listed or ()):
            raise ConfigError(
                f"{place}: {told} answered, and {server.name} was asked. Ask the server that has "
                f"{server.name} itself. {how_to_name(server.shown)}"
            )
        server.answered_as = told
        if server.name not in told:
            log.warning("%s: answers to the name %s as %s", place, server.name, told)

    def _again(self, what: str, status: int = 0, kind: type[Passing] = Passing) -> Passing:
        what = self._redact(what)
        log.info("%s; trying again", what)
        return kind(what, status)

    def _redact(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    async def _list(self, server: Server) -> None:
        """Asks a server what it serves; a model that has a name is asked without a list, too."""
        place = server.shown + "/models"
        try:
            with self._failures(server, place):
                server.listed = await self._read_list(server)
        except _TurnedDown as error:
            raise self._meaning(error.refusal, server, place, {}) from None

    async def _read_list(self, server: Server) -> frozenset[str]:
        from openai import APIStatusError

        cards: Cards = {}
        try:
            async with asyncio.timeout(self._patience.timeout):
                reply = await server.client.get("/models", cast_to=object)
            cards = {} if server.name and isinstance(reply, str) else read_cards(reply)
        except (APIStatusError, JSONDecodeError) as error:
            passing = isinstance(error, APIStatusError) and error.status_code in (429, 503)
            if passing or not server.name:
                raise
        except ValueError as error:
            if not server.name:
                raise ConfigError(
                    f"{server.shown}/models: {error}, and something else came. Is it the address of a "
                    "server with OpenAI's protocol? It mostly ends in /v1. "
                    f"{how_to_name(server.shown)}"
                ) from None
        server.name = choose_name(cards, server.name, server.shown)
        server.card = cards.get(server.name, {})
        return frozenset(cards)

    async def _acquire(self) -> Server:
        """Waits for the least loaded server that is open and has room; whoever came first is first."""
        async with self._turn:
            while True:
                now = time.monotonic()
                opened = [s for s in self._servers if s.open_at <= now]
                ready = [s for s in opened if s.in_flight < int(s.limit)]
                if ready:
                    server = min(ready, key=lambda s: s.in_flight / s.limit)
                    server.in_flight += 1
                    return server
                closed = [s.open_at - now for s in self._servers if s.open_at > now]
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), min(closed) if closed else None)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or a date; None when the server asks for nothing readable."""
    value = headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None
