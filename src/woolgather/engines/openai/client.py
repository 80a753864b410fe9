"""Servers that speak OpenAI's protocol: posts JSON, as much at once as each bears, and tries again.

The one idea: each server has a limit of its own on requests in flight. It grows by one with every
answer until the server first complains (429, 503, no answer in time), is then halved, and from
there grows by one for each full round of answers. A request goes to the least loaded server that is
open; one that asks for a rest (Retry-After) or cannot be reached is closed for a while. A failure
that may pass is tried again with exponential waits and jitter, a bounded number of times.

Before its first request a server is asked once what it serves: what it says of the model is kept, and
a name that it does not list is an error then, not an answer of another model.

Everything here runs on one event loop. What is asked and how answers are read is engine.py's; which
servers a model has is serving.py's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from json import JSONDecodeError
from typing import TYPE_CHECKING, NoReturn, TypeVar

from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from woolgather.core.errors import ConfigError, EngineError
from woolgather.core.rows import JSON
from woolgather.engines.base import EngineOptions
from woolgather.engines.openai.cards import Cards, choose_name, how_to_name, read_cards
from woolgather.engines.openai.refusals import (
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
from woolgather.engines.openai.replies import Unreadable, error_in
from woolgather.engines.openai.serving import read_endpoint, redact_address

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
log = logging.getLogger(__name__)
_FIRST_LIMIT = 8.0
_STRANGE = 3
"""Attempts that may end in a whole answer of another shape: such a thing seldom passes."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an answer is worth waiting for. Execution, never identity."""

    attempts: int = 8
    first_wait: float = 1.0
    """Seconds; the n-th wait is random, at most this times 2^(n-1)."""
    longest_wait: float = 60.0
    """Seconds; bounds a wait, and what a server asks for in Retry-After."""
    timeout: float = 600.0
    """Seconds until an attempt without a complete answer is given up."""


class _Again(Exception):
    """An attempt failed in a way that may pass."""


class _Strange(_Again):
    """An attempt ended in a whole answer that is not what was asked for."""


@dataclass(eq=False)
class _Server:
    """One server: its limit on requests in flight, and what was learned of it."""

    url: str
    client: AsyncOpenAI
    most: int
    """What the limit may grow to."""
    name: str
    """The model's name on this server; empty until asked."""
    limit: float
    """Requests in flight that it bears, as far as is known."""
    in_flight: int = 0
    cuts: int = 0
    """How many times the limit was halved."""
    failures: int = 0
    """Failures of the server itself since its last answer."""
    open_at: float = 0.0
    """Monotonic time before which nothing is sent."""
    refuses: set[str] = field(default_factory=set)
    """Fields of a request that it turned down."""
    listing: asyncio.Lock = field(default_factory=asyncio.Lock)
    listed: bool = False
    """Whether it has been asked what it serves."""
    card: Mapping[str, JSON] = field(default_factory=dict)
    """What it says of the model; empty where it gives no list."""
    answered: bool = False

    def grow(self) -> None:
        """Raises the limit after an answer: by one, and after the first cut by one per round."""
        self.failures = 0
        self.limit = min(self.most, self.limit + (1.0 / self.limit if self.cuts else 1.0))

    def cut(self, cuts_at_start: int) -> None:
        """Halves the limit, once for all the requests that met the same congestion."""
        if self.cuts == cuts_at_start:
            self.cuts += 1
            self.limit = max(1.0, self.limit / 2)


class Servers:
    """The servers at `options.urls`, which all serve the same model, as one.

    Raises ConfigError where there is no URL, one is malformed, or the key cannot be one.
    """

    def __init__(self, options: EngineOptions, patience: Patience) -> None:
        self._options = options
        self._patience = patience
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
        self._servers: list[_Server] = []
        self._changed = asyncio.Event()

    def __str__(self) -> str:
        return ", ".join(redact_address(endpoint.url) for endpoint in self._endpoints)

    @property
    def served(self) -> list[JSON]:
        """Returns an object per server that has answered: its `url`, the model's `name` there, and the
        `card`, which is what the server says of it."""
        return [
            {"url": redact_address(s.url), "name": s.name, "card": dict(s.card)}
            for s in self._servers
            if s.answered
        ]

    async def connect(self) -> None:
        """Makes a client per server, on the running event loop; nothing is sent yet."""
        from openai import AsyncOpenAI, Timeout

        wait = self._patience.timeout
        most = max(1, self._options.concurrency)
        limit = min(_FIRST_LIMIT, float(most))
        for endpoint in self._endpoints:
            client = AsyncOpenAI(
                base_url=endpoint.url,
                # Servers without a key ignore what is sent, but the client insists on some text.
                api_key=self._key or "none",
                timeout=Timeout(wait, connect=min(10.0, wait)),
                max_retries=0,
            )
            self._servers.append(_Server(endpoint.url, client, most, endpoint.name, limit))

    async def close(self) -> None:
        """Closes the connections."""
        for server in self._servers:
            await server.client.close()

    async def post(self, path: str, body: Mapping[str, JSON], read: Callable[[object], T]) -> T:
        """Posts `body` to the least loaded server and returns what `read` makes of the answer's JSON;
        where `read` raises Unreadable, the answer is asked for a few times more.

        Raises EngineError when the attempts are used up or the server says no, CapabilityError
        when it lacks what is asked, ConfigError for a key or a model's name it does not know, and
        Refused when it turns down this request alone.
        """
        wait = self._patience
        strange = 0
        try:
            async for attempt in AsyncRetrying(
                stop=stop_after_attempt(wait.attempts),
                wait=wait_random_exponential(multiplier=wait.first_wait, max=wait.longest_wait),
                retry=retry_if_exception_type(_Again),
                reraise=True,
            ):
                with attempt:
                    try:
                        return await self._attempt(path, body, read)
                    except _Strange as error:
                        strange += 1
                        if strange == _STRANGE:
                            raise Refused("error", str(error), known=False) from None
                        raise
        except _Again as last:
            raise EngineError(
                f"{last}; tried {wait.attempts} times. What was answered before is kept: when the "
                "server is well again, the same command continues."
            ) from None
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(self, path: str, body: Mapping[str, JSON], read: Callable[[object], T]) -> T:
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        server = await self._acquire()
        cuts = server.cuts
        sent: dict[str, JSON] = {}
        reply: object = None
        place = redact_address(server.url) + path
        try:
            # A time-out of the connection counts from byte to byte; this one is for the whole.
            async with asyncio.timeout(self._patience.timeout):
                if not server.listed:
                    place = redact_address(server.url) + "/models"
                    await self._list(server)
                    place = redact_address(server.url) + path
                sent = {"model": server.name, **acceptable(body, server.refuses)}
                reply = await server.client.post(path, cast_to=object, body=sent)
            if told := error_in(reply):
                self._judge(server, place, body, sent, cuts, read_told_error(told))
            result = read(reply)
        except (APITimeoutError, TimeoutError) as error:
            server.cut(cuts)
            if "Connect" in type(error.__cause__).__name__:
                self._rest(server, None)
            raise self._again(f"{place}: no answer in {self._patience.timeout:g} s") from None
        except APIConnectionError as error:
            self._rest(server, None)
            raise self._again(f"{place}: no connection ({error.__cause__ or error})") from None
        except APIStatusError as error:
            rest = _retry_after(error.response.headers)
            refusal = read_refusal(error.status_code, error.body, str(error.code or ""), rest)
            self._judge(server, place, body, sent, cuts, refusal)
        except Unreadable as error:
            if isinstance(reply, str) and server.answered:  # a page instead, for the time being
                raise self._again(f"{place}: a page of text instead of JSON") from None
            why = "a page of text, no JSON" if isinstance(reply, str) else str(error)
            raise self._again(
                f"{place}: not an answer to what was asked ({why})", _Strange
            ) from None
        except ValueError as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            raise self._again(f"{place}: an answer that cannot be read ({why})") from None
        else:
            server.grow()
            server.answered = True
            return result
        finally:
            server.in_flight -= 1
            self._wake()

    def _judge(
        self,
        server: _Server,
        place: str,
        body: Mapping[str, JSON],
        sent: Mapping[str, JSON],
        cuts: int,
        refusal: Refusal,
    ) -> NoReturn:
        """What a refusal of `body`, of which `sent` was sent, means: try again, a setting to mend, or the
        end of this request."""
        refusal = replace(refusal, said=self._redact(refusal.said))
        if refusal.status in (429, 503) and refusal.code != "insufficient_quota":
            server.cut(cuts)
            self._rest(server, refusal.rest)
        if passes(refusal):
            raise self._again(describe(refusal, place)) from None
        if name := to_take_back(refusal, sent):
            if name not in server.refuses:
                log.warning("%s: goes on without %s, which this server does not take", place, name)
                server.refuses.add(name)
            raise self._again(describe(refusal, place)) from None
        held = "is not accepted" if self._key else "is not set"
        key = f"The key in environment variable {self._options.api_key_env} {held}."
        url = redact_address(server.url)
        raise meaning(refusal, Attempt(place, url, body, server.answered, key)) from None

    def _again(self, what: str, kind: type[_Again] = _Again) -> _Again:
        what = self._redact(what)
        log.info("%s; trying again", what)
        return kind(what)

    def _redact(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    async def _list(self, server: _Server) -> None:
        """Asks a server, once, what it serves; a model that has a name is asked without a list, too."""
        from openai import APIStatusError

        async with server.listing:
            if server.listed:
                return
            cards: Cards = {}
            url = redact_address(server.url)
            try:
                reply = await server.client.get("/models", cast_to=object)
                cards = {} if server.name and isinstance(reply, str) else read_cards(reply)
            except (APIStatusError, JSONDecodeError) as error:
                passing = isinstance(error, APIStatusError) and error.status_code in (429, 503)
                if passing or not server.name:
                    raise
            except ValueError as error:
                if not server.name:
                    raise ConfigError(
                        f"{url}/models: {error}, and something else came. Is it the address of a server "
                        f"with OpenAI's protocol? It mostly ends in /v1. {how_to_name(url)}"
                    ) from None
            server.name = choose_name(cards, server.name, url)
            server.card = cards.get(server.name, {})
            server.listed = True

    async def _acquire(self) -> _Server:
        """Waits for the least loaded server that is open and has room."""
        while True:
            now = time.monotonic()
            ready = [s for s in self._servers if s.open_at <= now and s.in_flight < int(s.limit)]
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

    def _rest(self, server: _Server, seconds: float | None) -> None:
        """Closes a server for as long as it asks; unasked, for longer with each failure in a row
        (requests that fail while it is closed already met the same failure)."""
        now = time.monotonic()
        if seconds is None:
            if server.open_at > now:
                return
            seconds = self._patience.first_wait * 2.0**server.failures
            server.failures = min(server.failures + 1, 16)
        server.open_at = max(server.open_at, now + min(seconds, self._patience.longest_wait))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or a date; None when the server asks for nothing readable."""
    value = headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(value))
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    return None
