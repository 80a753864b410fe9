"""Is a text unlike everything we already have? Exact ROUGE-L, fast enough to ask of every pair.

The one idea: ROUGE-L F1 of two texts is 2 LCS / (m + n) over their tokens, and the longest common
subsequence of token strings is what rapidfuzz computes, a machine word at a time. So a text becomes
a string with one character per token, and comparing is exact: no sketch, no sample. How many tokens
two texts have in common, in whatever order, is no less than that and far cheaper: texts that it rules
out are passed over. Similarity is one correctly rounded division of whole numbers, so a text at the
threshold is decided the same way everywhere. Meaning is not compared: a paraphrase is novel here.
"""

from __future__ import annotations

import sys
from array import array
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from woolgather.core.errors import InputError
from woolgather.core.options import Options
from woolgather.core.rows import Example, question
from woolgather.ops.text.words import tokens

_QUERIES = 64
"""Texts compared at once: rapidfuzz then fills SIMD lanes, three times faster than one by one."""
_MANY = 1000
"""Texts from which it pays to count common tokens before comparing."""
_FIRST = 32
"""Likeliest texts that are compared before the others: what they reach rules out more."""
_SHARE = 0.2
"""Share of all texts that may be left to compare one by one; where it is more, all are compared."""
_Whole = npt.NDArray[np.unsignedinteger]


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

    Memory: 280 bytes per row, measured on 100,000 texts of 6 to 35 tokens (a string of 2 bytes per
    token, 4 once there are more than 65,000 different tokens, its place in the list and in the
    dictionary of exact duplicates, 4 bytes per token for where it occurs), and 320 bytes a distinct
    token, once.
    """

    def __init__(self, texts: Sequence[str] = ()) -> None:
        self._codes: dict[str, int] = {}
        self._rows: list[str] = []
        self._lengths = array("I")
        self._first: dict[str, int] = {}
        self._having: defaultdict[str, array[int]] = defaultdict(partial(array, "I"))
        """By token: the indices of the texts that have it, ascending."""
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
        for token in set(row):
            self._having[token].append(len(self._rows) - 1)
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
        many = len(self) - since >= _MANY
        for i, row in enumerate(rows):
            first = self._first.get(row)
            if not row or cutoff >= 1.0:
                continue
            if first is not None and first >= since:
                found[i] = Nearest(1.0, first)
                continue
            settled, found[i] = (
                self._by_common_tokens(row, cutoff, since) if many else (False, None)
            )
            if not settled:
                open_.append(i)
        others = self._rows[since:] if since else self._rows
        if not others:
            return found
        lengths = np.frombuffer(self._lengths, dtype=np.uint32)[since:]
        for start in range(0, len(open_), _QUERIES):
            part = open_[start : start + _QUERIES]
            for i, lcs in zip(part, _lcs([rows[i] for i in part], others), strict=True):
                if best := _best(len(rows[i]), lcs, lengths, cutoff):
                    found[i] = Nearest(best.similarity, best.at + since)
        return found

    def _by_common_tokens(self, row: str, cutoff: float, since: int) -> tuple[bool, Nearest | None]:
        """Returns whether the tokens in common leave few enough texts to compare, and the nearest."""
        size = len(row)
        counted = [self._having[token] for token in row if token in self._having]
        if not counted:
            return True, None
        places = np.concatenate([np.frombuffer(one, dtype=np.uint32) for one in counted])
        lengths = np.frombuffer(self._lengths, dtype=np.uint32)
        common = np.bincount(places, minlength=len(self))
        # The same division as of a similarity, so that rounding cannot put it below one.
        most = 2.0 * common / (size + lengths)
        most[:since] = 0.0
        at = np.flatnonzero(most > cutoff)
        if len(at) > 2 * _FIRST:
            likely = at[np.argpartition(most[at], -_FIRST)[-_FIRST:]]
            reached = self._compare(row, np.sort(likely), cutoff)
            # An earlier text may reach the same: the first of equals is the nearest.
            at = at[most[at] >= (reached.similarity if reached else cutoff)]
        if len(at) > _SHARE * (len(self) - since):
            return False, None
        return True, self._compare(row, at, cutoff)

    def _compare(self, row: str, at: npt.NDArray[np.intp], cutoff: float) -> Nearest | None:
        """Returns the nearest of the texts with these indices, which ascend."""
        others = [self._rows[i] for i in at.tolist()]
        if not others:
            return None
        lengths = np.frombuffer(self._lengths, dtype=np.uint32)[at]
        best = _best(len(row), _lcs(others, [row])[:, 0], lengths, cutoff)
        return Nearest(best.similarity, int(at[best.at])) if best else None

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


def _lcs(rows: Sequence[str], others: Sequence[str]) -> _Whole:
    """Returns the length of the longest common subsequence of each pair, [rows][others]."""
    found: _Whole = process.cdist(rows, others, scorer=LCSseq.similarity, dtype=np.uint32)
    return found


def _best(size: int, lcs: _Whole, lengths: _Whole, cutoff: float) -> Nearest | None:
    """Returns the most similar above `cutoff`, `at` counting within `lcs`; the first of equals."""
    scores = 2.0 * lcs / (size + lengths.astype(np.float64))
    best = int(scores.argmax())
    return Nearest(float(scores[best]), best) if scores[best] > cutoff else None


def why_not_novel(nearest: Nearest, measured: int) -> str:
    """Returns the reason of a text with this nearest one, where the first `measured` texts of the index
    are those that models are measured on."""
    return LIKE_MEASURED if nearest.at < measured else NOT_NOVEL


def is_novel(nearest: Nearest | None, options: NoveltyOptions) -> bool:
    """Returns whether a text with this nearest one may be accepted; the threshold itself still is."""
    return nearest is None or nearest.similarity <= options.threshold
