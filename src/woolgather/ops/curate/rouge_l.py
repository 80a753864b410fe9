"""Is a text unlike everything we already have? Exact ROUGE-L, fast enough to ask of every pair.

The one idea: ROUGE-L F1 of two texts is 2 LCS / (m + n) over their tokens, and the longest common
subsequence of token strings is what rapidfuzz computes, a machine word at a time. So a text becomes
a string with one character per token, and comparing is exact: no sketch, no sample. Similarity is
one correctly rounded division of whole numbers, so a text at the threshold is decided the same way
everywhere. Meaning is not compared: a paraphrase is novel here.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from woolgather.core.errors import InputError
from woolgather.core.options import Options
from woolgather.core.rows import Example, question
from woolgather.ops.text.words import tokens

_QUERIES = 64
"""Texts compared at once: rapidfuzz then fills SIMD lanes, five times faster than one by one."""


class NoveltyOptions(Options):
    """When a new instruction is too close to one that is already there."""

    threshold: float = 0.7
    """Dropped above this ROUGE-L F, in [0, 1]; 1 drops nothing, exact duplicates included."""
    of: Literal["instruction", "question"] = "instruction"
    """What is compared: the instruction alone, or the instruction with its input."""

    def text(self, row: Example) -> str:
        return row.instruction if self.of == "instruction" else question(row)


class Nearest(NamedTuple):
    """The most similar of the texts there are."""

    similarity: float
    """ROUGE-L F, in [0, 1]."""
    at: int
    """Index of the text, in order of `add`; the first of equals."""


LIKE_MEASURED = "like_measured"
"""The reason of a text that is too close to a task that models are measured on."""
NOT_NOVEL = "not_novel"
"""The reason of a text that is too close to any other."""
NOTHING = Nearest(0.0, -1)
"""The nearest of a text that is like none."""


class NoveltyIndex:
    """Texts by their tokens, and the nearest of them to another text.

    Memory: 190 bytes per row, measured on 100,000 texts of 6 to 35 tokens (a string of 2 bytes per
    token, 4 once there are more than 65,000 different tokens, its place in the list and in the
    dictionary of exact duplicates), and 110 bytes a distinct token, once.
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._codes: dict[str, int] = {}
        self._rows: list[str] = []
        self._lengths = array("I")
        self._first: dict[str, int] = {}
        for text in texts:
            self.add(text)

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, text: str) -> int:
        """Remembers a text; returns its index."""
        row = self._encode(text)
        self._first.setdefault(row, len(self._rows))
        self._rows.append(row)
        self._lengths.append(len(row))
        return len(self._rows) - 1

    def nearest(self, text: str, cutoff: float = 0.0, since: int = 0) -> Nearest | None:
        """Returns the most similar text above `cutoff`, among those from index `since` on.

        None when there is none. A text without tokens is similar to nothing, as in the reference.
        """
        return self.nearest_of_each([text], cutoff, since)[0]

    def nearest_of_each(
        self, texts: Sequence[str], cutoff: float = 0.0, since: int = 0
    ) -> list[Nearest | None]:
        """Returns `nearest` of many texts: much faster than one at a time. None of them is added."""
        found: list[Nearest | None] = [None] * len(texts)
        rows = [self._encode(text) for text in texts]
        open_: list[int] = []
        for i, row in enumerate(rows):
            first = self._first.get(row)
            if row and first is not None and first >= since:
                found[i] = Nearest(1.0, first) if cutoff < 1.0 else None
            elif row:
                open_.append(i)
        others = self._rows[since:] if since else self._rows
        lengths = np.frombuffer(self._lengths, dtype=np.uint32)[since:] if others else None
        if lengths is None or cutoff >= 1.0:
            return found
        for start in range(0, len(open_), _QUERIES):
            part = open_[start : start + _QUERIES]
            queries = [rows[i] for i in part]
            common = process.cdist(queries, others, scorer=LCSseq.similarity, dtype=np.uint32)
            for i, lcs in zip(part, common, strict=True):
                scores = 2.0 * lcs / (len(rows[i]) + lengths.astype(np.float64))
                best = int(scores.argmax())
                if scores[best] > cutoff:
                    found[i] = Nearest(float(scores[best]), best + since)
        return found

    def _encode(self, text: str) -> str:
        """Returns one character per token. Raises InputError past Unicode's 1.1 million characters."""
        codes = self._codes
        try:
            return "".join(chr(codes.setdefault(t, len(codes))) for t in tokens(text))
        except ValueError:
            raise InputError(
                f"novelty: more than {sys.maxunicode:,} different words to compare with; give "
                "fewer data sets to compare with, or set novelty.threshold to 1."
            ) from None


def why_not_novel(nearest: Nearest, measured: int) -> str:
    """Returns the reason of a text with this nearest one, where the first `measured` texts of the index
    are those that models are measured on."""
    return LIKE_MEASURED if nearest.at < measured else NOT_NOVEL


def is_novel(nearest: Nearest | None, options: NoveltyOptions) -> bool:
    """Returns whether a text with this nearest one may be accepted; the threshold itself still is."""
    return nearest is None or nearest.similarity <= options.threshold
