"""Replicas of an engine, on the cores or GPUs of one machine or on a cluster's, asked as one engine.

The one idea: requests are pulled a round at a time, a share for each replica, and dealt out in batches
(pool.py). Everything else is as it was: the caller's process alone pulls, remembers and writes, answers
carry the number of their request, and how many replicas there are changes none of them.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter

from woolgather.core.artifacts import Model
from woolgather.core.machine_speed import auto_precision
from woolgather.core.rows import JSON
from woolgather.engines import open_engine
from woolgather.engines.base import Completion, Engine, EngineOptions, LogProb, Request
from woolgather.engines.replicas.cluster import check_replicas, connect_ray, share_of
from woolgather.engines.replicas.pool import Pool, Portion
from woolgather.engines.replicas.replica import Answer, OpenEngine, Question, Requests
from woolgather.prompting.messages import Prompt

T = TypeVar("T")
BATCH = 512
"""Requests per batch, at most: what the decode loop takes at once."""
_NUMBERS = TypeAdapter(list[list[float]])
_LOGPROBS = TypeAdapter(list[LogProb])


class ReplicatedEngine(Engine):
    """Asks `options.replicas` replicas of the engine that `make` makes from the other options. They
    start with the first call.

    Raises ConfigError for options that cannot be used. A method raises what the engine in a replica
    raises, and EngineError when replicas die again and again."""

    def __init__(
        self, model: Model, options: EngineOptions, *, make: OpenEngine = open_engine
    ) -> None:
        super().__init__(model)
        check_replicas(options)
        self._options, self._make = options, make
        self._held = ExitStack()
        self._pool: Pool | None = None
        self._served: list[JSON] = []

    @property
    def width(self) -> int:
        return self._options.replicas

    @property
    def served(self) -> list[JSON]:
        """Returns who answered, of an engine that asks servers (see openai/client.py)."""
        return self._served

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        with closing(self._answers(self._rounds(enumerate(requests)))) as answers:
            for answer in answers:
                yield from answer.completions

    def option_logprobs(
        self, prompts: Sequence[Prompt], options: Sequence[str]
    ) -> list[list[float]]:
        parts = [(part, list(options)) for (part,) in self._split(prompts)]
        return self._ask("option_logprobs", parts, _NUMBERS)

    def sequence_logprobs(
        self, prompts: Sequence[Prompt], continuations: Sequence[str], temperature: float = 1.0
    ) -> list[LogProb]:
        parts = [(*both, temperature) for both in self._split(prompts, continuations)]
        return self._ask("sequence_logprobs", parts, _LOGPROBS)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return self._ask("embed", self._split(texts), _NUMBERS)

    def close(self) -> None:
        """Ends the replicas within seconds. A later call would start others."""
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()
        self._held.close()

    def _rounds(self, source: Iterator[tuple[int, Request]]) -> Iterator[Portion]:
        """Yields a batch per replica and round, all of the same size: where few requests are left, each
        replica gets as many."""
        while ahead := list(islice(source, BATCH * self.width)):
            size = math.ceil(len(ahead) / self.width)
            for start in range(0, len(ahead), size):
                yield Portion(Requests(ahead[start : start + size]))

    def _split(self, *columns: Sequence[object]) -> list[tuple[list[object], ...]]:
        """Returns the same part of each column, for one replica after another."""
        total = len(columns[0])
        size = min(BATCH, math.ceil(total / self.width))
        return [
            tuple(list(column[start : start + size]) for column in columns)
            for start in range(0, total, max(1, size))
        ]

    def _ask(
        self, method: str, parts: Sequence[tuple[object, ...]], reads: TypeAdapter[list[T]]
    ) -> list[T]:
        batches = (Portion(Question(at, method, part)) for at, part in enumerate(parts))
        found: dict[int, list[T]] = {}
        with closing(self._answers(batches)) as answers:
            for answer in answers:
                found[answer.at] = reads.validate_python(answer.value)
        return [value for at in range(len(parts)) for value in found[at]]

    def _answers(self, batches: Iterator[Portion]) -> Generator[Answer, None, None]:
        """Yields what the replicas answer. They are started for the first batch."""
        for first in batches:
            if self._pool is None:
                self._pool = self._open()
            with closing(self._pool.work_through(chain([first], batches))) as answers:
                for answer in answers:
                    self._served += [who for who in answer.served if who not in self._served]
                    yield answer

    def _open(self) -> Pool:
        self._held.enter_context(connect_ray(self._options))
        share = share_of(self._options)
        model, options = self._model, self._options
        if Path(model.path).is_dir():
            model = replace(model, path=str(Path(model.path).resolve()))
        if options.name == "transformers" and share.threads:
            # One measurement for all: replicas that measured beside each other might not agree.
            asked = auto_precision("cpu", "generation") if options.dtype == "auto" else None
            options = replace(options, dtype=asked or options.dtype)
        return Pool(self._make, model, options, share)
