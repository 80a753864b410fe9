"""The decode loop: requests in, finished texts out, in whatever order they finish.

The one idea: a batch is always full of unfinished rows. Requests are taken a window at a time and
grouped by what they share (prefix_groups.py); in each group, rows enter as others leave, as many as
memory's limits allow. When memory runs out all the same, the rows under way begin again (their
chance with them) under halved limits.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from woolgather.engines.local.batch import Batch, Bunch, PassLimits, Text
from woolgather.engines.local.prefix_groups import Group, groups
from woolgather.engines.local.sample import Unfinished, choose, ending
from woolgather.prompting.renderer import Renderer

WINDOW = 512
Reason = Literal["stop", "length", "error"]
Finished = tuple[Unfinished, Reason]


def decode(
    rows: Iterable[Unfinished],
    lane: Callable[[], Batch],
    limits: PassLimits,
    renderer: Renderer,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Finished]:
    """Every row with the reason it ended; "error" when it does not fit into memory alone. Ends
    within a step, rows under way left behind, once `stopped`."""
    source = iter(rows)
    while window := list(islice(source, WINDOW)):
        for group in groups([row.prompt for row in window]):
            yield from _Batch(window, group, lane, limits, renderer).run(stopped)
            if stopped():
                return


class _Batch:
    """One group on its way."""

    def __init__(
        self,
        rows: list[Unfinished],
        group: Group,
        make: Callable[[], Batch],
        limits: PassLimits,
        renderer: Renderer,
    ) -> None:
        self._pending = deque(
            (tuple(rows[i] for i in unit.members), unit.shared) for unit in group.units
        )
        first = rows[group.units[0].members[0]]
        self._prefix = first.prompt[: group.prefix]
        self._make, self._limits, self._renderer = make, limits, renderer
        self._active: list[Unfinished] = []

    def run(self, stopped: Callable[[], bool]) -> Iterator[Finished]:
        lane: Batch | None = None
        while (self._pending or self._active) and not stopped():
            entering = self._admit(lane)
            try:
                if lane is None:
                    lane = self._make()
                    lane.begin(self._prefix)
                if entering:
                    yield from self._enter(lane, entering)
                else:
                    yield from self._step(lane)
                continue
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
            # Here the exception, and the tensors that its frames hold, are gone.
            lane = None
            yield from self._begin_again([row for rows, _ in entering for row in rows])

    def _begin_again(self, entering: list[Unfinished]) -> Iterator[Finished]:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        waiting = [*self._active, *entering]
        self._active = []
        if not self._limits.halve():
            yield waiting.pop(0), "error"
        for row in reversed(waiting):
            row.restart()
            self._pending.appendleft(((row,), len(self._prefix)))

    def _admit(self, lane: Batch | None) -> list[tuple[tuple[Unfinished, ...], int]]:
        """What enters now: nothing while too few places are free to be worth a pass."""
        limits, active = self._limits, len(self._active)
        free = limits.rows - active
        if active and (not (lane and lane.refills) or free < max(1, limits.rows // 8)):
            return []
        widest = max((self._columns(row) for row in self._active), default=1)
        taken: list[tuple[tuple[Unfinished, ...], int]] = []
        while self._pending and free > 0:
            rows, shared = self._pending[0]
            widest = max(widest, *(self._columns(row) for row in rows))
            room = min(free, limits.tokens // widest - (limits.rows - free))
            if room <= 0 and (active or taken):
                break
            some = rows[: max(1, room)]
            self._pending.popleft()
            if len(some) < len(rows):
                self._pending.appendleft((rows[len(some) :], shared))
            taken.append((some, shared))
            free -= len(some)
        return taken

    def _columns(self, row: Unfinished) -> int:
        return len(row.prompt) - len(self._prefix) + row.limit

    def _enter(
        self, lane: Batch, entering: list[tuple[tuple[Unfinished, ...], int]]
    ) -> Iterator[Finished]:
        rows = [row for some, _ in entering for row in some]
        bunches = [Bunch(tuple(Text(r.prompt) for r in some), shared) for some, shared in entering]
        for numbers, logits in lane.enter(bunches):
            self._take([rows[i] for i in numbers], logits)
        self._active += rows
        entering.clear()
        yield from self._leave(lane)

    def _step(self, lane: Batch) -> Iterator[Finished]:
        self._take(self._active, lane.step([row.new[-1] for row in self._active]))
        yield from self._leave(lane)

    def _take(self, rows: list[Unfinished], logits: Tensor) -> None:
        for row, token in zip(rows, choose(logits, rows), strict=True):
            row.new.append(token)

    def _leave(self, lane: Batch) -> Iterator[Finished]:
        ends = [(i, ending(row, self._renderer)) for i, row in enumerate(self._active)]
        leaving = [i for i, reason in ends if reason]
        if not leaving:
            return
        finished: list[Finished] = [(self._active[i], r) for i, r in ends if r]
        lane.drop(leaving)
        for i in reversed(leaving):
            self._active[i] = self._active[-1]
            self._active.pop()
        yield from finished


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception is a device's or the machine's memory running out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text
