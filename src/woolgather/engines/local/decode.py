"""The decode loop: requests in, finished texts out, in whatever order they finish.

The one idea: a batch is always full of unfinished rows. Requests are taken a window at a time and
grouped by what they share (prefix_groups.py); in each group, rows are added as others end, as many as
memory's limits allow. When memory runs out all the same, the rows under way begin again (their
random numbers with them) under halved limits.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from woolgather.engines.local.batch import Batch, PassLimits, Text, UnitTexts
from woolgather.engines.local.prefix_groups import Group, groups
from woolgather.engines.local.sample import choose
from woolgather.engines.rendered import Unfinished, ending
from woolgather.prompting.renderer import Renderer

WINDOW = 512
"""Requests taken at once, so that those that share a prefix meet."""
Reason = Literal["stop", "length", "error"]
Finished = tuple[Unfinished, Reason]
Admitted = list[tuple[tuple[Unfinished, ...], int]]
"""Units to add to the batch: rows, and how many of their first tokens they share."""


def decode(
    rows: Iterable[Unfinished],
    make_batch: Callable[[], Batch],
    limits: PassLimits,
    renderer: Renderer,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Finished]:
    """Yields every row with the reason it ended, as each ends; "error" when it does not fit into
    memory alone. Ends within a step, rows under way left behind, once `stopped()`."""
    source = iter(rows)
    while window := list(islice(source, WINDOW)):
        for group in groups([row.prompt for row in window]):
            yield from _GroupDecoder(window, group, make_batch, limits, renderer).run(stopped)
            if stopped():
                return


class _GroupDecoder:
    """Decodes the rows of one group, which share a prefix."""

    def __init__(
        self,
        rows: list[Unfinished],
        group: Group,
        make_batch: Callable[[], Batch],
        limits: PassLimits,
        renderer: Renderer,
    ) -> None:
        # A unit's members are indices into the window's rows; from here on rows are passed themselves.
        self._pending = deque(
            (tuple(rows[i] for i in unit.members), unit.shared) for unit in group.units
        )
        first = rows[group.units[0].members[0]]
        self._prefix = first.prompt[: group.prefix]
        self._make_batch, self._limits, self._renderer = make_batch, limits, renderer
        self._active: list[Unfinished] = []
        """Rows under way, by their slot in the batch."""

    def run(self, stopped: Callable[[], bool]) -> Iterator[Finished]:
        batch: Batch | None = None
        while (self._pending or self._active) and not stopped():
            admitted = self._admit(batch)
            try:
                if batch is None:
                    batch = self._make_batch()
                    batch.begin(self._prefix)
                if admitted:
                    yield from self._add(batch, admitted)
                else:
                    yield from self._step(batch)
                continue
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
            # Here the exception, and the tensors that its frames hold, are gone.
            batch = None
            yield from self._restart([row for rows, _ in admitted for row in rows])

    def _restart(self, admitted: list[Unfinished]) -> Iterator[Finished]:
        """Halves the limits and puts back what was under way; yields the first row as an error when
        nothing is left to halve."""
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        waiting = [*self._active, *admitted]
        self._active = []
        if not self._limits.halve():
            yield waiting.pop(0), "error"
        for row in reversed(waiting):
            row.restart()
            self._pending.appendleft(((row,), len(self._prefix)))

    def _admit(self, batch: Batch | None) -> Admitted:
        """Returns what is added now: nothing while too few slots are free to be worth a pass."""
        limits, active = self._limits, len(self._active)
        free = limits.rows - active
        if active and (not (batch and batch.refills) or free < max(1, limits.rows // 8)):
            return []
        widest = max((self._columns(row) for row in self._active), default=1)
        taken: Admitted = []
        while self._pending and free > 0:
            rows, shared = self._pending[0]
            widest = max(widest, *(self._columns(row) for row in rows))
            # Every slot is as wide as the widest: so many more rows fit beside those that are there.
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
        """Returns the columns that a row may come to need: its own prompt and all its new tokens."""
        return len(row.prompt) - len(self._prefix) + row.limit

    def _add(self, batch: Batch, admitted: Admitted) -> Iterator[Finished]:
        rows = [row for some, _ in admitted for row in some]
        units = [UnitTexts(tuple(Text(r.prompt) for r in some), n) for some, n in admitted]
        # A number counts the rows that are added now; their slots are behind those of `_active`.
        for numbers, logits in batch.add(units):
            self._take([rows[i] for i in numbers], logits)
        self._active += rows
        admitted.clear()
        yield from self._remove_ended(batch)

    def _step(self, batch: Batch) -> Iterator[Finished]:
        self._take(self._active, batch.step([row.new[-1] for row in self._active]))
        yield from self._remove_ended(batch)

    def _take(self, rows: list[Unfinished], logits: Tensor) -> None:
        for row, token in zip(rows, choose(logits, rows), strict=True):
            row.new.append(token)

    def _remove_ended(self, batch: Batch) -> Iterator[Finished]:
        ends = [(slot, ending(row, self._renderer)) for slot, row in enumerate(self._active)]
        leaving = [slot for slot, reason in ends if reason]
        if not leaving:
            return
        finished: list[Finished] = [(self._active[slot], r) for slot, r in ends if r]
        batch.remove(leaving)
        # As the batch does: from the highest slot down, the last row moves into the slot set free.
        for slot in reversed(leaving):
            self._active[slot] = self._active[-1]
            self._active.pop()
        yield from finished


def out_of_memory(error: BaseException) -> bool:
    """Returns whether an exception means that a device's or the machine's memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text
