"""Is a long text nearly one we have? MinHash sketches in a table that stays small.

The one idea: of each text only what decides is kept. Its runs of five tokens are sketched by 128
minima (rensa); texts that agree in one of 16 bands of 8 minima are compared by the low byte of all
128, whose share of equal ones, less chance, estimates the Jaccard similarity to about .04. The
bands of a million texts lie in plain arrays, not in objects, and a band that very many texts share
(a form letter) stops collecting them. Short instructions are compared exactly, in rouge_l.py.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from woolgather.ops.text.words import ngrams, tokens

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
Minima = npt.NDArray[np.uint64]
MINIMA, BANDS = 128, 16
RUN = 5
"""Tokens in what is compared."""
BYTES_PER_TEXT = 800
"""Upper bound of the index per text: 128 to 256 of the sketch, 256 to 512 of the bands. A million
texts take 400 MB, whatever their length; while the tables double, the old ones are there as well."""
CROWD = 32
"""Texts remembered under one band's value."""
_EMPTY = np.uint32(0xFFFFFFFF)
_SLACK = 1024
"""Slots behind a table's end, so that looking for a free one needs no way round."""
_SEED = 20_230_811


class Sketch(NamedTuple):
    """What is kept of a text: 192 bytes, whatever its length."""

    low_bytes: Bytes
    """The low byte of each of the 128 minima."""
    band_keys: Words
    """32 bits of each of the 16 bands."""


class NearDuplicates:
    """Texts by their sketches. `add` answers whether a text is near one that was added before."""

    def __init__(self, threshold: float) -> None:
        """`threshold`: Jaccard similarity of runs of five tokens, in (0, 1]."""
        self._threshold = threshold
        self._count = 0
        self._sketches = np.zeros((1024, MINIMA), np.uint8)
        self._bits = 11
        self._keys, self._texts = _tables(self._bits)

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        """Returns the bytes that the index holds now."""
        return int(self._sketches.nbytes + self._keys.nbytes + self._texts.nbytes)

    def add(self, text: str) -> bool:
        """Remembers `text` unless it is near an earlier one; returns whether it is. A text without
        tokens is near to none."""
        sketch = sketch_of(text)
        return sketch is not None and self.add_sketch(sketch)

    def add_sketch(self, text: Sketch) -> bool:
        """Does as `add`, with the sketch of a text, which another process may have made."""
        sketch, keys = text
        near, free, crowded = self._look(sketch, keys)
        if near:
            return True
        if self._count == len(self._sketches):
            self._sketches = np.concatenate([self._sketches, np.zeros_like(self._sketches)])
        self._sketches[self._count] = sketch
        open_ = np.flatnonzero(~crowded)
        self._keys[open_, free[open_]] = keys[open_]
        self._texts[open_, free[open_]] = self._count
        self._count += 1
        full = int(free.max()) + 1 >= self._keys.shape[1]
        if full or 2 * self._count > 1 << self._bits:
            self._grow()
        return False

    def _look(self, sketch: Bytes, keys: Words) -> tuple[bool, Ints, npt.NDArray[np.bool]]:
        """Returns whether a text is near, the free slot of each band, which bands have enough texts."""
        at = (keys >> np.uint32(32 - self._bits)).astype(np.int64)
        same = np.zeros(BANDS, np.int64)
        bands, seen = np.arange(BANDS), set()
        while bands.size:
            slots = at[bands]
            texts = self._texts[bands, slots]
            taken = texts != _EMPTY
            alike = taken & (self._keys[bands, slots] == keys[bands])
            same[bands[alike]] += 1
            seen.update(texts[alike].tolist())
            bands = bands[taken]
            at[bands] += 1
        near = False
        if seen:
            equal = (self._sketches[list(seen)] == sketch).mean(axis=1)
            near = bool(((equal - 1 / 256) / (1 - 1 / 256)).max() >= self._threshold - 1e-9)
        return near, at, same >= CROWD

    def _grow(self) -> None:
        """Makes tables of twice the size. Sorted by where they belong, entries go to their place or right
        behind the one before: the same as putting them in one by one."""
        self._bits += 1
        keys, texts = _tables(self._bits)
        for band in range(BANDS):
            there = np.flatnonzero(self._texts[band] != _EMPTY)
            old, which = self._keys[band, there], self._texts[band, there]
            home = (old >> np.uint32(32 - self._bits)).astype(np.int64)
            order = np.argsort(home, kind="stable")
            steps = np.arange(len(order))
            place = np.maximum.accumulate(home[order] - steps) + steps
            keys[band, place], texts[band, place] = old[order], which[order]
        self._keys, self._texts = keys, texts


def _tables(bits: int) -> tuple[Words, Words]:
    shape = (BANDS, (1 << bits) + _SLACK)
    return np.zeros(shape, np.uint32), np.full(shape, _EMPTY, np.uint32)


def sketch_of(text: str) -> Sketch | None:
    """Returns the sketch of a text; None of one without tokens."""
    minima = _minima(text)
    if minima is None:
        return None
    return Sketch((minima & 0xFF).astype(np.uint8), _band_keys(minima))


def _minima(text: str) -> Minima | None:
    from rensa import RMinHash

    words = tokens(text)
    if not words:
        return None
    runs = [" ".join(run) for run in ngrams(words, RUN)] or [" ".join(words)]
    sketch = RMinHash(num_perm=MINIMA, seed=_SEED)
    sketch.update(runs)
    return np.array(sketch.digest(), np.uint64)


_MIX = (
    np.arange(1, MINIMA // BANDS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
) | np.uint64(1)


def _band_keys(minima: Minima) -> Words:
    """Returns 32 well mixed bits of each band's minima."""
    with np.errstate(over="ignore"):
        total: Minima = (minima.reshape(BANDS, -1) * _MIX).sum(axis=1, dtype=np.uint64)
        total ^= total >> np.uint64(29)
        total *= np.uint64(0xBF58476D1CE4E5B9)
    return (total >> np.uint64(32)).astype(np.uint32)
