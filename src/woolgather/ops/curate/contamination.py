"""Which training rows say what models are measured on: by runs of words they share, and by ROUGE-L.

The one idea: two looks at the same rows. A run of 13 tokens that a row has in common with a measured task
and its reference is hardly chance, wherever it stands (Brown et al., arXiv 2005.14165); a short task has
no such run, and is recognized by the ROUGE-L of the two questions, as novelty is. Rows are counted, or
set aside with the reason; a paraphrase passes both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar, NamedTuple

from pydantic import Field

from woolgather.core.artifacts import Metrics
from woolgather.core.expected import Expected
from woolgather.core.op import op
from woolgather.core.options import Options
from woolgather.core.rows import Example, PreferencePair, question, set_aside, turns_of
from woolgather.core.views import View, alarm, funnel, table
from woolgather.ops.curate.rouge_l import LIKE_MEASURED, NoveltyIndex
from woolgather.ops.text.words import ngrams, tokens

SHARES_NGRAM = "shares_ngram"
"""The reason of a row that has a run of words in common with what is measured."""
BATCH = 512
"""Rows compared at once."""
Measured = Mapping[str, Iterable[Example]]
"""What models are measured on, by what it is called."""


class Contamination(Options):
    """Comparing training rows with what models are measured on."""

    execution: ClassVar[frozenset[str]] = frozenset({"against", "remove"})

    against: str | tuple[str, ...] = ""
    """Files, folders or data sets of the hub that training rows are compared with, beside the held-out
    tasks, the probes and the questions of `measure.guard`: the prompts of a benchmark, say."""
    remove: bool = False
    """Set overlapping rows aside before training; otherwise they are counted only."""
    ngram: int = Field(default=13, ge=2)
    """Tokens of a run that a row must not share with a measured task or its reference."""
    rouge_l: float | None = Field(default=0.7, gt=0, le=1)
    """A question above this ROUGE-L F of a measured one overlaps with it; None compares no questions."""


class Overlap(NamedTuple):
    """What a row has in common with what is measured: names of sources, empty where nothing."""

    ngram: str = ""
    rouge_l: str = ""

    @property
    def reason(self) -> str | None:
        """Returns why the row is set aside; None where it need not be."""
        return SHARES_NGRAM if self.ngram else LIKE_MEASURED if self.rouge_l else None


class OverlapIndex:
    """What models are measured on, to look rows up in. Memory: about 150 bytes per run of words."""

    def __init__(self, against: Measured, how: Contamination) -> None:
        self._how = how
        self._runs: dict[tuple[str, ...], str] = {}
        self._questions = NoveltyIndex()
        self._sources: list[str] = []
        self.sizes = dict.fromkeys(against, 0)
        """Measured tasks by source."""
        for source, rows in against.items():
            for row in rows:
                self.sizes[source] += 1
                self._sources.append(source)
                self._questions.add(question(row))
                for text in (question(row), row.response):
                    for run in ngrams(tokens(text), how.ngram):
                        self._runs.setdefault(run, source)

    def look_up(
        self, rows: Iterable[Example | PreferencePair]
    ) -> Iterator[tuple[Example | PreferencePair, Overlap]]:
        """Yields each row with what it has in common with what is measured."""
        due = iter(rows)
        while batch := list(islice(due, BATCH)):
            likest = [""] * len(batch)
            if self._how.rouge_l is not None:
                asked = [_texts_of(row)[0] for row in batch]
                near = self._questions.nearest_of_each(asked, self._how.rouge_l)
                likest = [self._sources[each.at] if each else "" for each in near]
            for row, like in zip(batch, likest, strict=True):
                yield row, Overlap(self._shared(_texts_of(row)), like)

    def _shared(self, texts: Iterable[str]) -> str:
        runs = (run for text in texts for run in ngrams(tokens(text), self._how.ngram))
        return next((self._runs[run] for run in runs if run in self._runs), "")


@dataclass
class _OverlapCounts:
    """Overlapping rows by source, of each look; a row with both counts once among the overlapping."""

    rows: int = 0
    overlapping: int = 0
    ngram: Counter[str] = field(default_factory=Counter)
    rouge_l: Counter[str] = field(default_factory=Counter)

    def add(self, found: Overlap) -> None:
        self.rows += 1
        self.overlapping += found.reason is not None
        self.ngram.update(filter(None, [found.ngram]))
        self.rouge_l.update(filter(None, [found.rouge_l]))

    def told(self) -> str:
        return f"{self.overlapping} of {self.rows} training rows overlap with what is measured"

    def table(self, index: OverlapIndex, how: Contamination) -> View:
        rows = [
            [source, size, self.ngram[source], self.rouge_l[source]]
            for source, size in index.sizes.items()
        ]
        columns = [
            "measured",
            "tasks",
            f"rows that share {how.ngram} tokens",
            "rows alike by ROUGE-L",
        ]
        return table("Training rows that overlap with what is measured", columns, rows)


def _work(rows: object, **_: object) -> Expected:
    return Expected(rows=len(rows) if isinstance(rows, Sized) else 0)


def _no_rows(*_: object, **__: object) -> Expected:
    return Expected()


@op("count_overlap", expects=_no_rows)
def count_overlap(
    rows: Iterable[Example] | Iterable[PreferencePair],
    *,
    against: Measured,
    how: Contamination,
) -> Metrics:
    """Returns how many training rows overlap with what models are measured on, by source; an alarm
    shows where any does."""
    index, counts = OverlapIndex(against, how), _OverlapCounts()
    for _, found in index.look_up(rows):
        counts.add(found)
    views = [counts.table(index, how)]
    if counts.overlapping:
        text = f"{counts.told()}. Set them aside with contamination.remove=true."
        views.append(alarm("Contaminated rows", text))
    values = {
        "rows": counts.rows,
        "overlapping": counts.overlapping,
        "shared runs": {source: counts.ngram[source] for source in index.sizes},
        "alike": {source: counts.rouge_l[source] for source in index.sizes},
    }
    return Metrics(values, views=tuple(views), headline=counts.told())


@op("set_overlap_aside", expects=_work)
def set_overlap_aside(
    rows: Iterable[Example], *, against: Measured, how: Contamination
) -> Generator[Example, None, list[View]]:
    """Yields every row, those that overlap with what models are measured on set aside: `shares_ngram`,
    `like_measured`."""
    index, counts, reasons = OverlapIndex(against, how), _OverlapCounts(), Counter[str]()
    for row, found in index.look_up(rows):
        assert isinstance(row, Example)
        counts.add(found)
        if reason := found.reason:
            reasons[reason] += 1
        yield set_aside(row, reason) if reason else row
    stages = [
        ("training rows", counts.rows),
        ("unlike what is measured", counts.rows - reasons.total()),
    ]
    return [funnel("Contamination", stages, reasons), counts.table(index, how)]


def _texts_of(row: Example | PreferencePair) -> tuple[str, ...]:
    """The question, what is answered to it, and what follows."""
    if isinstance(row, PreferencePair):
        return row.instruction, row.chosen, row.rejected
    return tuple(text for _, text in turns_of(row))
