"""One server: the requests in flight that it bears, and what was learned of it.

The one idea: a server's limit is found out and not configured. It grows by one with every answer until
the server first complains (429, 503, no answer in time), is then halved, and from there grows by one
for each full round of answers. A server that asks for a rest, or cannot be reached, is closed for a
while, and says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from woolgather.core.rows import JSON

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)
FIRST_LIMIT = 8.0
_WORTH_TELLING = 5.0
"""Seconds of rest."""
Scoring = Literal["echo", "forced", "likeliest", "none"]
"""How a server gives log-probabilities (see scoring.py)."""


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


@dataclass(eq=False)
class Server:
    """One server, as far as is known."""

    url: str
    shown: str
    """The address without what may be secret."""
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
    learning: asyncio.Lock = field(default_factory=asyncio.Lock)
    listed: frozenset[str] | None = None
    """The names of the models it serves; None until it has been asked."""
    introduced: bool = False
    """Whether it has been shown what it is to take."""
    card: Mapping[str, JSON] = field(default_factory=dict)
    """What it says of the model; empty where it gives no list."""
    takes_ids: bool | None = None
    """Whether a prompt may be token ids of the model's own tokenizer; None until that is found out."""
    scoring: Scoring | None = None
    """None until that is found out."""
    answered: bool = False
    answered_as: str = ""
    """The model's name in its answers, where that is another than it was asked for."""

    @property
    def is_llama(self) -> bool:
        """Returns whether it says that it is llama.cpp's, which has names of its own for some fields."""
        return self.card.get("owned_by") == "llamacpp"

    @property
    def context(self) -> int:
        """Returns the tokens that it says it reads and writes together; 0 where it does not say."""
        told = self.card.get("max_model_len") or self.card.get("n_ctx")
        return told if isinstance(told, int) else 0

    @property
    def described(self) -> JSON:
        """Returns who answered and how it was asked, for the record."""
        found: dict[str, JSON] = {"url": self.shown, "name": self.name, "card": dict(self.card)}
        if self.takes_ids is not None:
            found["prompts"] = "token ids" if self.takes_ids else "text"
        if self.scoring:
            found["log_probabilities"] = self.scoring
        if self.answered_as:
            found["answered_as"] = self.answered_as
        if self.refuses:
            found["without"] = sorted(self.refuses)
        return found

    def grow(self) -> None:
        """Raises the limit after an answer: by one, and after the first cut by one per round."""
        self.failures = 0
        self.limit = min(self.most, self.limit + (1.0 / self.limit if self.cuts else 1.0))

    def cut(self, cuts_at_start: int) -> None:
        """Halves the limit, once for all the requests that met the same congestion."""
        if self.cuts == cuts_at_start:
            self.cuts += 1
            self.limit = max(1.0, self.limit / 2)

    def rest(self, seconds: float | None, why: str, patience: Patience) -> None:
        """Closes the server for as long as it asks; unasked, for longer with each failure in a row
        (requests that fail while it is closed already met the same failure). A long rest is told."""
        now = time.monotonic()
        asked = seconds
        if seconds is None:
            if self.open_at > now:
                return
            seconds = patience.first_wait * 2.0**self.failures
            self.failures = min(self.failures + 1, 16)
        seconds = min(seconds, patience.longest_wait)
        before, self.open_at = self.open_at, max(self.open_at, now + seconds)
        if seconds >= _WORTH_TELLING and self.open_at > before + 1:
            wish = f" (it asks for {asked:.0f} s)" if asked and asked > seconds else ""
            log.warning("%s: nothing is sent there for %.0f s%s", why, seconds, wish)
