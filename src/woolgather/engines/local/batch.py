"""One batch under way in a model: feed texts, go on a token, drop rows.

`SlabLane` is for models that a Slab serves: any row may enter while others go on. `PlainLane` is
for all others: a batch enters together, padded on the left, and uses the model's own cache. Both
compute logits only where they are wanted. Which rows, and what becomes of them, decode.py and
score.py decide.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from woolgather.engines.local.kv_cache import SharedPrefixCache, use_cache


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids to feed; logits are wanted at the last `wanted` of them."""

    ids: list[int]
    wanted: int = 1


@dataclass(frozen=True, slots=True)
class Bunch:
    """Texts with the same first `shared` tokens."""

    texts: tuple[Text, ...]
    shared: int


@dataclass(slots=True)
class PassLimits:
    """What one pass may hold; halved when memory runs out."""

    rows: int
    """Rows under way."""
    tokens: int
    """Rows times the columns of the longest."""
    pass_tokens: int
    """Tokens fed in one pass, padding included; one text may be longer."""
    logits: int
    """Positions whose logits are computed in one pass."""

    def halve(self) -> bool:
        """False when there is nothing left to halve."""
        if self.rows == 1 and self.pass_tokens <= 64:
            return False
        self.rows = max(1, self.rows // 2)
        self.tokens = max(1, self.tokens // 2)
        self.pass_tokens = max(64, self.pass_tokens // 2)
        self.logits = max(16, self.logits // 2)
        return True


class Batch(Protocol):
    refills: bool
    """Whether rows may enter while others are under way."""

    def begin(self, prefix: list[int]) -> None:
        """Starts empty; every text that enters begins with `prefix`."""

    def enter(self, bunches: Sequence[Bunch]) -> Iterator[tuple[list[int], Tensor]]:
        """Feeds texts, which take the next places in order. Yields (numbers of the texts, logits
        at their wanted positions, text after text); a number may come again with later positions."""

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Feeds one token to each row under way; logits, [n, vocabulary]."""

    def drop(self, places: Sequence[int]) -> None:
        """Removes rows; for each, from the highest down, the last row takes the place."""


class Tap:
    """Forward hook that computes logits only at chosen positions, to save memory; what a model does to
    logits behind its output layer stays as it is."""

    def __init__(self, model: Any) -> None:
        self._pick: tuple[Tensor, Tensor] | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._hook)

    def _hook(self, module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if self._pick is None:
            return None
        rows, columns = self._pick
        return (inputs[0][rows, columns][None], *inputs[1:])

    def __call__(
        self, model: Any, pick: tuple[Tensor, Tensor], **inputs: Any
    ) -> tuple[Tensor, Any]:
        """(logits at the picked (row, column)s, [picked, vocabulary]; the model's output)."""
        self._pick = pick
        try:
            out = model(**inputs)
        finally:
            self._pick = None
        return out.logits[0], out


class SharedPrefixBatch:
    refills = True

    def __init__(self, model: Any, tap: Tap, limits: PassLimits, pad: int) -> None:
        self._model, self._tap, self._limits, self._pad = model, tap, limits, pad
        self._device = model.device
        self.begin([])

    def begin(self, prefix: list[int]) -> None:
        self._slab = SharedPrefixCache(self._device)
        self._lengths: list[int] = []
        self._prefix = len(prefix)
        if prefix:
            positions = self._slab.announce([0], [0], len(prefix), prefix=True)
            self._run([prefix], positions, [(0, len(prefix) - 1)])

    def enter(self, bunches: Sequence[Bunch]) -> Iterator[tuple[list[int], Tensor]]:
        alone: list[tuple[int, Text]] = []
        several: list[tuple[int, Text]] = []
        leaders: list[tuple[int, Text]] = []
        copies: list[tuple[int, int, int]] = []
        number, base = 0, len(self._lengths)
        for bunch in bunches:
            own = bunch.shared - self._prefix
            if len(bunch.texts) > 1 and own > 0:
                leaders.append((number, Text(bunch.texts[0].ids[self._prefix : bunch.shared], 0)))
            for text in bunch.texts:
                cut = self._prefix
                if len(bunch.texts) > 1 and own > 0:
                    cut = bunch.shared
                    if number != leaders[-1][0]:
                        copies.append((leaders[-1][0], number, own))
                (alone if cut == self._prefix else several).append(
                    (number, Text(text.ids[cut:], text.wanted))
                )
                self._lengths.append(cut - self._prefix)
                number += 1
        self._slab.room = len(self._lengths)
        for _ in self._feed(leaders, base, [0] * len(leaders)):
            pass
        for source, target, length in copies:
            self._slab.copy(base + source, base + target, length)
        for jobs in (alone, several):
            starts = [self._lengths[base + i] for i, _ in jobs]
            yield from self._feed(jobs, base, starts)
            for (i, text), start in zip(jobs, starts, strict=True):
                self._lengths[base + i] = start + len(text.ids)

    def step(self, tokens: Sequence[int]) -> Tensor:
        positions = self._slab.announce(range(len(tokens)), self._lengths, 1)
        logits = self._run([[t] for t in tokens], positions, [(i, 0) for i in range(len(tokens))])
        self._lengths = [n + 1 for n in self._lengths]
        return logits

    def drop(self, places: Sequence[int]) -> None:
        for place in sorted(places, reverse=True):
            last = len(self._lengths) - 1
            if place != last:
                self._slab.copy(last, place, self._lengths[last])
                self._lengths[place] = self._lengths[last]
            self._lengths.pop()

    def _feed(
        self, jobs: list[tuple[int, Text]], base: int, starts: Sequence[int]
    ) -> Iterator[tuple[list[int], Tensor]]:
        at = 0
        while at < len(jobs):
            text = jobs[at][1]
            if text.wanted > self._limits.logits:
                yield from self._feed_long(*jobs[at], base, starts[at])
                at += 1
                continue
            end, span, wanted = at, 0, 0
            while end < len(jobs):
                text = jobs[end][1]
                span, wanted = max(span, len(text.ids)), wanted + max(1, text.wanted)
                n = end - at + 1
                if n > 1 and (n * span > self._limits.pass_tokens or wanted > self._limits.logits):
                    break
                end += 1
            some = jobs[at:end]
            span = max(len(text.ids) for _, text in some)
            slots = [base + i for i, _ in some]
            positions = self._slab.announce(slots, starts[at:end], span)
            picks = [
                (row, len(text.ids) - max(1, text.wanted) + k)
                for row, (_, text) in enumerate(some)
                for k in range(max(1, text.wanted))
            ]
            logits = self._run([text.ids for _, text in some], positions, picks)
            yield [i for i, _ in some], logits
            at = end

    def _feed_long(
        self, number: int, text: Text, base: int, start: int
    ) -> Iterator[tuple[list[int], Tensor]]:
        """One text with more wanted positions than a pass may have, piece by piece."""
        done, wanted = 0, text.wanted
        while wanted:
            take = min(wanted, self._limits.logits)
            wanted -= take
            piece = text.ids[done : len(text.ids) - wanted]
            positions = self._slab.announce([base + number], [start + done], len(piece))
            picks = [(0, len(piece) - take + k) for k in range(take)]
            yield [number], self._run([piece], positions, picks)
            done += len(piece)

    def _run(
        self, rows: list[list[int]], positions: Tensor, picks: list[tuple[int, int]]
    ) -> Tensor:
        span = positions.shape[1]
        ids = torch.tensor(
            [row + [self._pad] * (span - len(row)) for row in rows], device=self._device
        )
        pick = torch.tensor(picks, device=self._device).T
        with use_cache(self._slab):
            logits, _ = self._tap(
                self._model,
                (pick[0], pick[1]),
                input_ids=ids,
                position_ids=positions,
                past_key_values=self._slab,
                use_cache=True,
            )
        return logits


class PlainBatch:
    refills = False

    def __init__(self, model: Any, tap: Tap, limits: PassLimits, pad: int) -> None:
        self._model, self._tap, self._limits, self._pad = model, tap, limits, pad
        self._device = model.device
        takes = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in takes
        self.begin([])

    def begin(self, prefix: list[int]) -> None:
        self._cache: Any = None
        self._mask = torch.zeros(0, 0, dtype=torch.long)
        self._places: list[int] = []
        """Row of the batch at each place: dropped rows may stay in the batch, unheard."""

    def enter(self, bunches: Sequence[Bunch]) -> Iterator[tuple[list[int], Tensor]]:
        texts = [text for bunch in bunches for text in bunch.texts]
        last = len(texts) == sum(text.wanted == 1 for text in texts)
        at = 0
        while at < len(texts):
            end, span = at, 0
            while end < len(texts):
                span = max(span, len(texts[end].ids))
                wanted = sum(t.wanted for t in texts[at : end + 1])
                crowded = (end - at + 1) * span > self._limits.pass_tokens
                if end > at and not last and (crowded or wanted > self._limits.logits):
                    break
                end += 1
            yield list(range(at, end)), self._prefill(texts[at:end])
            at = end

    def step(self, tokens: Sequence[int]) -> Tensor:
        batch = self._mask.shape[0]
        ids = torch.full((batch, 1), self._pad, device=self._device)
        places = torch.tensor(self._places, device=self._device)
        ids[places, 0] = torch.tensor(list(tokens), device=self._device)
        self._mask = torch.cat([self._mask, self._mask.new_ones(batch, 1)], dim=1)
        positions = self._mask.sum(dim=1, keepdim=True) - 1
        return self._run(ids, positions, (places, torch.zeros_like(places)))

    def drop(self, places: Sequence[int]) -> None:
        for place in sorted(places, reverse=True):
            self._places[place] = self._places[-1]
            self._places.pop()
        select = getattr(self._cache, "batch_select_indices", None)
        if select is None or not self._places:
            return
        kept = torch.tensor(self._places, device=self._device)
        select(kept)
        self._mask = self._mask[kept]
        self._places = list(range(len(self._places)))

    def _prefill(self, texts: list[Text]) -> Tensor:
        span = max(len(text.ids) for text in texts)
        ids = torch.full((len(texts), span), self._pad)
        mask = torch.zeros(len(texts), span, dtype=torch.long)
        for i, text in enumerate(texts):
            ids[i, span - len(text.ids) :] = torch.tensor(text.ids)
            mask[i, span - len(text.ids) :] = 1
        self._cache, self._mask = None, mask.to(self._device)
        self._places = list(range(len(texts)))
        rows = [i for i, text in enumerate(texts) for _ in range(text.wanted)]
        columns = [span - text.wanted + k for text in texts for k in range(text.wanted)]
        pick = torch.tensor([rows, columns], device=self._device)
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)
        return self._run(ids.to(self._device), positions, (pick[0], pick[1]))

    def _run(self, ids: Tensor, positions: Tensor, pick: tuple[Tensor, Tensor]) -> Tensor:
        more: dict[str, Any] = {"position_ids": positions} if self._takes_positions else {}
        if self._cache is not None:
            more["past_key_values"] = self._cache
        logits, out = self._tap(
            self._model, pick, input_ids=ids, attention_mask=self._mask, use_cache=True, **more
        )
        self._cache = out.past_key_values
        return logits
