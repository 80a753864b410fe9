"""The side of a replica: an engine of ours in a process that Ray started, which answers batches.

The one idea: what the engine raises is an answer, too (`EngineFailure`). An error of Ray's is always
the death of a process or a node, after which the batch is asked of another; an exception would come
again, so that it is passed on at once. Two threads of Ray's come in here: one asks the engine, the
other may say meanwhile that the answer is not wanted any more. Nothing here imports Ray.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.errors import ConfigError, EngineError, WoolgatherError
from woolgather.core.rows import JSON
from woolgather.engines.base import Completion, Engine, EngineOptions, Request
from woolgather.engines.subprocess.host import cause_of

OpenEngine = Callable[[Model, EngineOptions, Path | None], Engine]
"""Makes an engine for a model; the path is that of its log."""
_FLUSH_SECONDS = 0.5
"""Completions that become ready within this time travel together: a message costs more than a text."""
_CLOSE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Requests:
    """Part of a `complete`: each request with the number that the caller knows it by."""

    numbered: Sequence[tuple[int, Request]]


@dataclass(frozen=True, slots=True)
class Question:
    """Part of a call of a method that returns one value per element."""

    at: int
    """Its place among the parts."""
    method: str
    arguments: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a batch so far."""

    completions: Sequence[tuple[int, Completion]] = ()
    value: object = None
    """What a Question's method returned."""
    at: int = 0
    """The Question's place."""
    served: Sequence[JSON] = ()
    """Who answered, of an engine that asks servers."""


@dataclass(frozen=True, slots=True)
class EngineFailure:
    """An exception in the replica, which any other replica would meet as well."""

    error: str
    """Name of a class in core/errors.py."""
    text: str


class Replica:
    """What Ray holds: made again, from the same arguments, whenever its process has died."""

    def __init__(
        self, make: OpenEngine, model: Model, options: EngineOptions, threads: int
    ) -> None:
        """`threads` are those that a model on a CPU computes with; 0 leaves it to Ray."""
        self._make, self._model, self._options = make, model, options
        self._engine: Engine | None = None
        self._asking = threading.Lock()
        self._given_up = 0
        """Number of the latest batch that was given up; all before it are, too."""
        self._scratch = Path(tempfile.gettempdir(), f"woolgather-replica-{uuid.uuid4().hex}")
        """Folder of the log of an engine that writes any, on this node."""
        if threads:
            # Read by torch when it is loaded, in this process or in a child of it.
            os.environ["OMP_NUM_THREADS"] = str(threads)

    def open(self) -> Iterator[Answer | EngineFailure]:
        """Yields once: an empty answer when the engine is made, else why it cannot be."""
        with self._asking:
            try:
                self._open_engine()
            except Exception as error:
                yield self._failed(error)
            else:
                yield Answer()

    def answer(self, number: int, batch: Requests | Question) -> Iterator[Answer | EngineFailure]:
        """Yields what the engine says, completions as they become ready, until all is said or the batch
        of this `number` is given up."""
        with self._asking:
            try:
                if isinstance(batch, Requests):
                    yield from self._complete(number, batch.numbered)
                elif number > self._given_up:
                    engine = self._open_engine()
                    value = getattr(engine, batch.method)(*batch.arguments)
                    yield Answer(value=value, at=batch.at, served=_read_served(engine))
            except Exception as error:
                yield self._failed(error)

    def give_up(self, number: int) -> None:
        """The answers to this batch and to all before it are not wanted any more."""
        self._given_up = max(number, self._given_up)

    def close(self) -> None:
        """Frees what the engine holds. It waits a few seconds, at most, for what is asked now."""
        if self._asking.acquire(timeout=_CLOSE_SECONDS):
            with contextlib.suppress(Exception):
                if self._engine is not None:
                    self._engine.close()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _complete(
        self, number: int, numbered: Sequence[tuple[int, Request]]
    ) -> Iterator[Answer | EngineFailure]:
        engine = self._open_engine()
        ready: list[tuple[int, Completion]] = []
        sent = time.monotonic()
        # The engine counts the requests of this batch from 0; the caller's number stands beside each.
        for index, completion in engine.complete(request for _, request in numbered):
            if number <= self._given_up:
                return
            ready.append((numbered[index][0], completion))
            if time.monotonic() - sent >= _FLUSH_SECONDS:
                yield Answer(ready, served=_read_served(engine))
                ready, sent = [], time.monotonic()
        yield Answer(ready, served=_read_served(engine))

    def _open_engine(self) -> Engine:
        if self._engine is None:
            path = Path(self._model.path)
            # The caller has made the path of a folder absolute; a name on the hub is not.
            if path.is_absolute() and not path.exists():
                raise ConfigError(
                    f"{path} is not found on node {platform.node()}. Every node reads a model from the "
                    "same path: put it, and the run directory (--dir), on a disk that all nodes share."
                )
            self._engine = self._make(self._model, self._options, self._scratch / "engine.log")
        return self._engine

    def _failed(self, error: Exception) -> EngineFailure:
        if isinstance(error, WoolgatherError):
            return EngineFailure(type(error).__name__, str(error))
        return EngineFailure(
            EngineError.__name__,
            f"the engine of {self._model.path} failed on node {platform.node()}: {cause_of(error)}.",
        )


def _read_served(engine: Engine) -> list[JSON]:
    return list(getattr(engine, "served", ()))
