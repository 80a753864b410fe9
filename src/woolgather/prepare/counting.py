"""Rows through filters, counted.

The one idea: a filter is a function that says yes or no to a row; its name, and the first line of its
docstring as the reason, are the line that its counts stand on. Where rows are chosen by number
(`first`, `drawn`, `best`), memory holds the rows chosen and no more.
"""

from __future__ import annotations

import heapq
import inspect
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Lengths:
    """Characters of one side of the rows that were chosen."""

    what: str
    mean: float
    deviation: float
    paper: tuple[float, float] | None = None
    """Mean and deviation that were published."""


@dataclass
class Counted:
    """A line of the table."""

    source: str
    """The source that these rows come from; empty where there is only one."""
    filter: str
    why: str
    before: int = 0
    after: int = 0
    paper: int | None = None
    """Rows that the paper (or its unofficial implementation) had here; None where it does not say."""


class FilterCounts:
    """The lines of one preparation, in order; each is filled as rows pass."""

    def __init__(self) -> None:
        self.lines: list[Counted] = []
        self.lengths: list[Lengths] = []
        self.source = ""

    def line(self, name: str, why: str, paper: int | None = None) -> Counted:
        """Adds a line, and returns it to be filled."""
        self.lines.append(Counted(self.source, name, why, paper=paper))
        return self.lines[-1]

    def sift(self, rows: Iterable[T], *filters: Callable[[T], bool]) -> Iterator[T]:
        """Yields the rows that pass every filter."""
        for keep in filters:
            rows = _sift(rows, keep, self.line(name_of(keep), reason(keep)))
        return iter(rows)

    def first(self, rows: Iterable[T], number: int, paper: int) -> Iterator[T]:
        """Yields the first `number` rows; no more than these are read."""
        line = self.line(f"first {number:,}", "the number asked for", paper)
        if number == 0:
            return
        for row in rows:
            line.before += 1
            line.after += 1
            yield row
            if line.after == number:
                return

    def draw(self, rows: Iterable[T], number: int, seed: int, paper: int) -> Iterator[T]:
        """Yields `number` rows at random, in their order. Memory: these rows."""
        line = self.line(f"{number:,} at random", f"drawn with seed {seed}", paper)
        rng = random.Random(seed)
        keyed = ((rng.random(), -i, row) for i, row in enumerate(_count_seen(rows, line)))
        yield from self._choose(heapq.nsmallest(number, keyed, key=lambda k: k[:2]), line)

    def best(
        self, rows: Iterable[T], number: int, score: Callable[[T], float], paper: int
    ) -> Iterator[T]:
        """Yields the `number` rows of the highest score, best first. Memory: these rows."""
        line = self.line(f"best {number:,}", reason(score), paper)
        for row in heapq.nlargest(number, _count_seen(rows, line), key=score):
            line.after += 1
            yield row

    def draw_each(
        self,
        rows: Iterable[T],
        kind: Callable[[T], str],
        kinds: Sequence[str],
        number: int,
        seed: int,
        paper: int,
    ) -> Iterator[T]:
        """Yields `number` rows of each kind at random, in their order. Memory: these rows."""
        lines = {
            k: self.line(f"{number:,} of {k} at random", f"drawn with seed {seed}", paper)
            for k in kinds
        }
        rng = random.Random(seed)
        drawn: dict[str, list[tuple[float, int, T]]] = {k: [] for k in kinds}
        for i, row in enumerate(rows):
            heap = drawn[kind(row)]
            lines[kind(row)].before += 1
            # The largest key goes first, so keys are negative: those of the lowest numbers stay.
            entry = (-rng.random(), -i, row)
            if len(heap) < number:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
        chosen = [entry for heap in drawn.values() for entry in heap]
        for _, _, row in sorted(chosen, key=lambda entry: -entry[1]):
            lines[kind(row)].after += 1
            yield row

    def measure(
        self, rows: Iterable[T], what: Mapping[str, tuple[Callable[[T], str], tuple[float, float]]]
    ) -> Iterator[T]:
        """Yields all rows, and then knows the lengths of their texts: by name the text, and the mean
        and deviation that were published."""
        found: dict[str, list[int]] = {name: [] for name in what}
        for row in rows:
            for name, (text, _) in what.items():
                found[name].append(len(text(row)))
            yield row
        for name, (_, paper) in what.items():
            if counts := found[name]:
                spread = stdev(counts) if len(counts) > 1 else 0.0
                self.lengths.append(Lengths(name, fmean(counts), spread, paper))

    def _choose(self, keyed: list[tuple[float, int, T]], line: Counted) -> Iterator[T]:
        for _, _, row in sorted(keyed, key=lambda k: -k[1]):
            line.after += 1
            yield row


def name_of(function: Callable[..., object]) -> str:
    """Returns a function's name in words."""
    return function.__name__.strip("_").replace("_", " ")


def reason(function: Callable[..., object]) -> str:
    """Returns the first paragraph of a docstring, on one line."""
    text = (inspect.getdoc(function) or "").partition("\n\n")[0]
    return " ".join(text.split()).rstrip(".")


def _sift(rows: Iterable[T], keep: Callable[[T], bool], line: Counted) -> Iterator[T]:
    for row in _count_seen(rows, line):
        if keep(row):
            line.after += 1
            yield row


def _count_seen(rows: Iterable[T], line: Counted) -> Iterator[T]:
    for row in rows:
        line.before += 1
        yield row
