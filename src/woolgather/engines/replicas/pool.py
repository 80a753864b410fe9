"""Batches go to replicas, one at a time each; those that died with theirs are started again.

The one idea: a replica gets work when it has said that it is open, so that one which Ray is still
placing holds nothing up. Each answer comes as a stream, of which everything that has arrived counts: of
a batch that is lost only the rest is asked again. Ray restarts a process; where it has given one up,
another takes its place, on whichever node has room.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from woolgather.core import errors
from woolgather.core.artifacts import Model
from woolgather.core.errors import EngineError
from woolgather.engines.base import EngineOptions
from woolgather.engines.replicas.cluster import Share, alive_nodes, import_ray
from woolgather.engines.replicas.replica import (
    Answer,
    EngineFailure,
    OpenEngine,
    Question,
    Replica,
    Requests,
)

log = logging.getLogger(__name__)
RESTARTS = 3
"""Times that Ray starts the process of a replica anew before we ask for another replica."""
_DEATHS = 3
"""Deaths in a row of a replica without an answer between them; and the same of a batch."""
_LOOK_SECONDS = 60
"""How long nothing may happen before we look whether anything can."""
_CLOSE_SECONDS = 10


class _Method(Protocol):
    def options(self, **options: object) -> _Method: ...

    def remote(self, *arguments: object) -> Iterator[object]: ...


class _Actor(Protocol):
    """What Ray gives for a Replica: the same methods, each with `remote`."""

    open: _Method
    answer: _Method
    give_up: _Method
    close: _Method


@dataclass(slots=True)
class Portion:
    """What one replica is asked at a time."""

    work: Requests | Question
    deaths: int = 0
    """Replicas that died while they had it, with no answer between."""

    def take(self, answer: Answer) -> None:
        """What is answered is not asked again."""
        self.deaths = 0
        if isinstance(self.work, Requests):
            done = {index for index, _ in answer.completions}
            self.work = Requests([r for r in self.work.numbered if r[0] not in done])

    def __str__(self) -> str:
        if isinstance(self.work, Requests):
            return f"{len(self.work.numbered)} requests"
        return self.work.method


class _Member:
    """A replica as the pool sees it."""

    def __init__(self, start: Callable[[], _Actor]) -> None:
        self._start = start
        self.actor = start()
        self.deaths = 0
        self.opened = False
        """Whether it has answered since it was started."""
        self.number = 0
        """Number of the batch that it has."""
        self.batch: Portion | None = None
        self.stream: Iterator[object] | None = None
        """What is awaited from it; None while it has nothing to do."""
        self.open()

    def open(self, *, anew: bool = False) -> None:
        if anew:
            self.actor = self._start()
        # Asked again by Ray until the process is there: a death meanwhile is not ours to count.
        again = self.actor.open.options(num_returns="streaming", max_task_retries=-1)
        self.batch, self.stream, self.opened = None, again.remote(), False

    def ask(self, number: int, batch: Portion) -> None:
        self.number, self.batch = number, batch
        self.stream = self.actor.answer.options(num_returns="streaming").remote(number, batch.work)

    def rest(self) -> None:
        self.batch = self.stream = None


class Pool:
    """The replicas of one model, started at once. Ray must be connected."""

    def __init__(
        self, make: OpenEngine, model: Model, options: EngineOptions, share: Share
    ) -> None:
        self._ray = import_ray()
        self._share, self._model = share, model
        self._number = 0
        inner = replace(options, replicas=0, ray="")
        kind = self._ray.remote(Replica).options(
            num_cpus=share.cpus,
            num_gpus=share.gpus,
            max_restarts=RESTARTS,
            max_concurrency=2,
            scheduling_strategy="SPREAD",
        )

        def start() -> _Actor:
            actor: _Actor = kind.remote(make, model, inner, share.threads)
            return actor

        self._members = [_Member(start) for _ in range(options.replicas)]

    def work_through(self, batches: Iterator[Portion]) -> Generator[Answer, None, None]:
        """Yields answers as they arrive, in no order; a batch is pulled when a replica is free.

        Raises what the engine in a replica raises, and EngineError when replicas die again and again or
        no node has room for one."""
        due: deque[Portion] = deque()
        try:
            while True:
                for member in self._members:
                    if member.stream is None:
                        due.extend([] if due else islice(batches, 1))
                        if not due:
                            break
                        self._number += 1
                        member.ask(self._number, due.popleft())
                if not due and not any(member.batch for member in self._members):
                    due.extend(islice(batches, 1))
                    if not due:
                        return
                yield from self._next_answer(due)
        finally:
            for member in self._members:
                if member.batch is not None:
                    member.actor.give_up.remote(member.number)
                    member.rest()

    def close(self) -> None:
        """Ends the replicas, once their engines have freed what they held: seconds, at most."""
        closing = [member.actor.close.remote() for member in self._members if member.opened]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=_CLOSE_SECONDS)
        for member in self._members:
            if member.stream is not None and not member.opened:
                # A call that Ray still holds would be tried again, and told of.
                self._ray.cancel(member.stream)
            self._ray.kill(member.actor)
        self._members = []

    def _next_answer(self, due: deque[Portion]) -> Iterator[Answer]:
        """Waits for something to arrive, and yields it where it is an answer to a batch."""
        awaited = [member.stream for member in self._members if member.stream is not None]
        ready, _ = self._ray.wait(awaited, timeout=_LOOK_SECONDS)
        if not ready:
            self._look()
            return
        member = next(m for m in self._members if m.stream is ready[0])
        try:
            arrived = self._ray.get(next(ready[0]))
        except StopIteration:
            member.rest()
        except self._ray.exceptions.RayTaskError as error:
            raise EngineError(
                f"Ray cannot run a replica of {self._model.path}: {_last_line(error)}. Every node needs "
                "the same version of woolgather and of what its engine needs."
            ) from error
        except self._ray.exceptions.RayError as error:
            self._survive(member, error, due)
        else:
            if isinstance(arrived, EngineFailure):
                raise getattr(errors, arrived.error, EngineError)(arrived.text)
            member.deaths, member.opened = 0, True
            if member.batch is not None:
                member.batch.take(arrived)
                yield arrived

    def _survive(self, member: _Member, error: Exception, due: deque[Portion]) -> None:
        """A replica died: what it had is due again, and it opens anew. Raises EngineError when that
        has happened too often."""
        lost, member.batch = member.batch, None
        member.deaths += 1
        if lost is not None:
            lost.deaths += 1
            due.appendleft(lost)
        member.open(anew=isinstance(error, self._ray.exceptions.ActorDiedError))
        if max(member.deaths, lost.deaths if lost else 0) > _DEATHS:
            member.deaths = 0
            what = f" with the same {lost}" if lost else ""
            raise EngineError(
                f"replicas of {self._model.path} died {_DEATHS + 1} times in a row{what} "
                f"({_last_line(error)}). Memory probably ran out on a node: use fewer "
                "--engine-replicas or a smaller model."
            ) from error
        log.warning("a replica of %s died and is started again", self._model.path)

    def _look(self) -> None:
        """Nothing has arrived for long. Raises EngineError where nothing can, because every node that
        had room for a replica is gone."""
        if any(member.batch for member in self._members):
            return
        if not any(map(self._share.fits, alive_nodes())):
            raise EngineError(
                f"no node of the Ray cluster has room for a replica of {self._model.path} any more "
                f"({self._share.cpus} cores and {self._share.gpus} GPUs). What is finished is kept: give "
                "the same command again when there are nodes."
            )
        log.warning("Ray has had no room for a replica of %s so far", self._model.path)


def _last_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip()
