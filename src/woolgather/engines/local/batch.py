"""One batch under way in a model: feed texts, decode a token per row, remove rows.

`SharedPrefixBatch` is for models that a SharedPrefixCache serves: rows may be added while others go
on. `PlainBatch` is for all others: rows are added together, padded on the left, and use the model's
own cache. Both compute logits only where they are wanted. Which rows, and what becomes of them,
decode.py and score.py decide.

Rows of a batch are numbered from 0 without a gap, in the order in which they were added, until
`remove` moves the last ones. Such a number is called a slot.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from woolgather.engines.local.kv_cache import SharedPrefixCache, attend_with

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.cache_utils import Cache
    from transformers.modeling_outputs import CausalLMOutputWithPast


@dataclass(frozen=True, slots=True)
class Text:
    """Token ids to feed; logits are wanted at the last `wanted` of them."""

    ids: list[int]
    wanted: int = 1


@dataclass(frozen=True, slots=True)
class UnitTexts:
    """The texts of one unit (see prefix_groups.py): all begin with the same `shared` tokens."""

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
        """Halves every limit. Returns False when there is nothing left to halve."""
        if self.rows == 1 and self.pass_tokens <= 64:
            return False
        self.rows = max(1, self.rows // 2)
        self.tokens = max(1, self.tokens // 2)
        self.pass_tokens = max(64, self.pass_tokens // 2)
        self.logits = max(16, self.logits // 2)
        return True


class Batch(Protocol):
    """What decode.py and score.py need of a batch. Each method that feeds a model raises
    RuntimeError or MemoryError when memory runs out; the batch is of no use then."""

    refills: bool
    """Whether rows may be added while others are under way."""

    def begin(self, prefix: list[int]) -> None:
        """Starts empty; every text that is added begins with the tokens `prefix`."""

    def add(self, units: Sequence[UnitTexts]) -> Iterator[tuple[list[int], Tensor]]:
        """Feeds texts, which take the next slots in order.

        Yields (numbers, logits): `numbers` count the texts given in this call, from 0 and across
        units; `logits` are those at the wanted positions of these texts, text after text, [wanted,
        vocabulary]. A text with many wanted positions comes several times, alone, the earlier
        positions first.
        """

    def step(self, tokens: Sequence[int]) -> Tensor:
        """Feeds one token to each row, in the order of slots. Returns logits, [rows, vocabulary]."""

    def remove(self, slots: Sequence[int]) -> None:
        """Removes rows, from the highest slot down; the last row moves into each slot set free."""


class Tap:
    """Forward hook that computes logits only at chosen positions, to save memory; what a model does to
    logits behind its output layer stays as it is."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._pick: tuple[Tensor, Tensor] | None = None
        model.get_output_embeddings().register_forward_pre_hook(self._hook)

    def _hook(
        self, module: torch.nn.Module, inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...] | None:
        if self._pick is None:
            return None
        # From [rows, columns, hidden] to [1, picked, hidden]: one row of picked positions.
        rows, columns = self._pick
        return (inputs[0][rows, columns][None], *inputs[1:])

    def __call__(
        self, model: PreTrainedModel, pick: tuple[Tensor, Tensor], **inputs: object
    ) -> tuple[Tensor, CausalLMOutputWithPast]:
        """Calls the model. Returns (logits at the picked (row, column)s, [picked, vocabulary]; the
        model's output)."""
        self._pick = pick
        try:
            out = model(**inputs)
        finally:
            self._pick = None
        return out.logits[0], out


@dataclass(frozen=True, slots=True)
class _Feed:
    """Tokens for one slot: ids[k] is written into column start + k."""

    slot: int
    start: int
    ids: list[int]
    wanted: int
    """Logits are wanted at the last so many of them."""


class SharedPrefixBatch:
    """Rows in the slots of a SharedPrefixCache: what they share is computed once."""

    refills = True

    def __init__(self, model: PreTrainedModel, tap: Tap, limits: PassLimits, pad: int) -> None:
        self._model, self._tap, self._limits, self._pad = model, tap, limits, pad
        self._device = model.device
        self.begin([])

    def begin(self, prefix: list[int]) -> None:
        self._cache = SharedPrefixCache(self._device)
        self._lengths: list[int] = []
        """By slot: how many of its columns are written (tokens behind the prefix)."""
        self._prefix = len(prefix)
        if prefix:
            positions = self._cache.begin_pass([0], [0], len(prefix), prefix=True)
            self._run([prefix], positions, [])

    def add(self, units: Sequence[UnitTexts]) -> Iterator[tuple[list[int], Tensor]]:
        # Four ways to count meet here. A text's number counts the texts of this call; its slot is
        # `base` later, behind the rows that are here already. A token's position counts from the
        # beginning of its text; its column in the slot is `self._prefix` less.
        base = len(self._lengths)
        heads: list[_Feed] = []  # what a unit shares behind the prefix, fed to its first slot only
        copies: list[tuple[int, int, int]] = []  # from there: (first slot, slot, columns)
        whole: list[_Feed] = []  # texts that share nothing more: all behind the prefix
        rests: list[_Feed] = []  # the other texts: what lies behind their unit's shared part
        for unit in units:
            first = len(self._lengths)
            columns = unit.shared - self._prefix if len(unit.texts) > 1 else 0
            begins = self._prefix + columns  # position of the first token that is a text's own
            if columns:
                heads.append(_Feed(first, 0, unit.texts[0].ids[self._prefix : begins], 0))
            for text in unit.texts:
                slot = len(self._lengths)
                if columns and slot != first:
                    copies.append((first, slot, columns))
                own = _Feed(slot, columns, text.ids[begins:], text.wanted)
                (rests if columns else whole).append(own)
                self._lengths.append(len(text.ids) - self._prefix)
        self._cache.slots_wanted = len(self._lengths)
        for _ in self._feed(heads):
            pass
        for source, target, columns in copies:
            self._cache.copy(source, target, columns)
        # Apart: a pass whose rows all begin in column 0 is cheaper for the cache.
        for feeds in (whole, rests):
            for slots, logits in self._feed(feeds):
                yield [slot - base for slot in slots], logits

    def step(self, tokens: Sequence[int]) -> Tensor:
        # Row i of the pass is slot i, and its token goes into the first column not yet written.
        positions = self._cache.begin_pass(range(len(tokens)), self._lengths, 1)
        logits = self._run([[t] for t in tokens], positions, [(i, 0) for i in range(len(tokens))])
        self._lengths = [n + 1 for n in self._lengths]
        return logits

    def remove(self, slots: Sequence[int]) -> None:
        for slot in sorted(slots, reverse=True):
            last = len(self._lengths) - 1
            if slot != last:
                self._cache.copy(last, slot, self._lengths[last])
                self._lengths[slot] = self._lengths[last]
            self._lengths.pop()

    def _feed(self, feeds: list[_Feed]) -> Iterator[tuple[list[int], Tensor]]:
        """Yields (slots, logits at their wanted positions), as many slots at once as a pass takes."""
        at = 0
        while at < len(feeds):
            if feeds[at].wanted > self._limits.logits:
                yield from self._feed_long(feeds[at])
                at += 1
                continue
            end, span, picked = at, 0, 0
            while end < len(feeds):
                span, picked = max(span, len(feeds[end].ids)), picked + feeds[end].wanted
                n = end - at + 1
                if n > 1 and (n * span > self._limits.pass_tokens or picked > self._limits.logits):
                    break
                end += 1
            some = feeds[at:end]
            span = max(len(feed.ids) for feed in some)
            slots = [feed.slot for feed in some]
            positions = self._cache.begin_pass(slots, [feed.start for feed in some], span)
            # Here a row is one of the pass, not a slot, and a column one of its input, not of a slot:
            # rows are padded on the right, so that a text's last token is in column len(ids) - 1.
            picks = [
                (row, len(feed.ids) - feed.wanted + k)
                for row, feed in enumerate(some)
                for k in range(feed.wanted)
            ]
            yield slots, self._run([feed.ids for feed in some], positions, picks)
            at = end

    def _feed_long(self, feed: _Feed) -> Iterator[tuple[list[int], Tensor]]:
        """One text with more wanted positions than a pass may have, piece by piece."""
        done, wanted = 0, feed.wanted
        while wanted:
            take = min(wanted, self._limits.logits)
            wanted -= take
            piece = feed.ids[done : len(feed.ids) - wanted]
            positions = self._cache.begin_pass([feed.slot], [feed.start + done], len(piece))
            picks = [(0, len(piece) - take + k) for k in range(take)]
            yield [feed.slot], self._run([piece], positions, picks)
            done += len(piece)

    def _run(
        self, rows: list[list[int]], positions: Tensor, picks: list[tuple[int, int]]
    ) -> Tensor:
        span = positions.shape[1]
        ids = torch.tensor(
            [row + [self._pad] * (span - len(row)) for row in rows], device=self._device
        )
        pick = torch.tensor(picks, dtype=torch.long, device=self._device).reshape(-1, 2).T
        with attend_with(self._cache):
            logits, _ = self._tap(
                self._model,
                (pick[0], pick[1]),
                input_ids=ids,
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
            )
        return logits


class PlainBatch:
    """Rows padded on the left, in the model's own cache: for models of any attention."""

    refills = False

    def __init__(self, model: PreTrainedModel, tap: Tap, limits: PassLimits, pad: int) -> None:
        self._model, self._tap, self._limits, self._pad = model, tap, limits, pad
        self._device = model.device
        takes = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in takes
        self.begin([])

    def begin(self, prefix: list[int]) -> None:
        self._cache: Cache | None = None
        self._mask = torch.zeros(
            0, 0, dtype=torch.long
        )  # [rows of the cache, columns], 1 for a token
        self._row_of: list[int] = []
        """By slot: its row in the cache. A cache that cannot be cut keeps the rows of removed slots;
        they are fed padding, and what the model makes of it is not looked at."""

    def add(self, units: Sequence[UnitTexts]) -> Iterator[tuple[list[int], Tensor]]:
        texts = [text for unit in units for text in unit.texts]
        goes_on = all(text.wanted == 1 for text in texts)  # then it is one batch, and is decoded
        at = 0
        while at < len(texts):
            end, span = at, 0
            while end < len(texts):
                span = max(span, len(texts[end].ids))
                wanted = sum(t.wanted for t in texts[at : end + 1])
                crowded = (end - at + 1) * span > self._limits.pass_tokens
                if end > at and not goes_on and (crowded or wanted > self._limits.logits):
                    break
                end += 1
            yield list(range(at, end)), self._prefill(texts[at:end])
            at = end

    def step(self, tokens: Sequence[int]) -> Tensor:
        batch = self._mask.shape[0]
        ids = torch.full((batch, 1), self._pad, device=self._device)
        # From the order of slots, in which tokens come and logits go, to rows of the cache.
        rows = torch.tensor(self._row_of, device=self._device)
        ids[rows, 0] = torch.tensor(list(tokens), device=self._device)
        self._mask = torch.cat([self._mask, self._mask.new_ones(batch, 1)], dim=1)
        positions = self._mask.sum(dim=1, keepdim=True) - 1
        return self._run(ids, positions, (rows, torch.zeros_like(rows)))

    def remove(self, slots: Sequence[int]) -> None:
        for slot in sorted(slots, reverse=True):
            self._row_of[slot] = self._row_of[-1]
            self._row_of.pop()
        select = getattr(self._cache, "batch_select_indices", None)
        if select is None or not self._row_of:
            return
        kept = torch.tensor(self._row_of, device=self._device)
        select(kept)
        self._mask = self._mask[kept]
        self._row_of = list(range(len(self._row_of)))

    def _prefill(self, texts: list[Text]) -> Tensor:
        span = max(len(text.ids) for text in texts)
        ids = torch.full((len(texts), span), self._pad)
        mask = torch.zeros(len(texts), span, dtype=torch.long)
        for i, text in enumerate(texts):
            ids[i, span - len(text.ids) :] = torch.tensor(text.ids)
            mask[i, span - len(text.ids) :] = 1
        self._cache, self._mask = None, mask.to(self._device)
        self._row_of = list(range(len(texts)))
        # Padded on the left, every text ends in the last column.
        rows = [i for i, text in enumerate(texts) for _ in range(text.wanted)]
        columns = [span - text.wanted + k for text in texts for k in range(text.wanted)]
        pick = torch.tensor([rows, columns], device=self._device)
        # A position counts the tokens of the text, without the padding in front of them.
        positions = (self._mask.cumsum(dim=1) - 1).clamp(min=0)
        return self._run(ids.to(self._device), positions, (pick[0], pick[1]))

    def _run(self, ids: Tensor, positions: Tensor, pick: tuple[Tensor, Tensor]) -> Tensor:
        more: dict[str, object] = {"position_ids": positions} if self._takes_positions else {}
        if self._cache is not None:
            more["past_key_values"] = self._cache
        logits, out = self._tap(
            self._model, pick, input_ids=ids, attention_mask=self._mask, use_cache=True, **more
        )
        self._cache = out.past_key_values
        return logits
