"""KV cache with one shared prefix and a slot for each sequence, and attention over them.

The one idea: what rows share is kept, read and multiplied once. A `Slab` holds the keys and values
of one shared prefix and, behind it, a slot for each row; a row's j-th own token lies in column j of
its slot, so rows of any length go on together, a finished row's slot is refilled at once, and no
step copies the cache. Decoding multiplies all rows' queries with the prefix as one matrix.

It enters transformers through two doors made for that: the cache a model writes to, and the
registered attention function "woolgather". `serves` says for which models that is right; others
take the plain path of decode.py. Nothing here samples or schedules.

Shapes: n rows in a pass, t new tokens each, h key/value heads, g queries per head, d head size,
p prefix length, c columns. Keys are kept transposed ([slots, h, d, c]), which makes the product
with one query three times as fast on a CPU.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface
from transformers.cache_utils import Cache

NAME = "woolgather"
_GROW = 64
_SCORES = 1 << 24
"""Attention scores worked on at once."""
_here = threading.local()


class _Layer:
    """One attention layer's share."""

    __slots__ = ("keys", "prefix_keys", "prefix_values", "values")

    def __init__(self) -> None:
        self.keys: Tensor | None = None  # [slots, h, d, c]
        self.values: Tensor | None = None  # [slots, h, c, d]
        self.prefix_keys: Tensor | None = None  # [h, d, p]
        self.prefix_values: Tensor | None = None  # [h, p, d]


class SharedPrefixCache(Cache):  # type: ignore[misc]
    """See the module's docstring. A pass is announced with `announce`, then the model is called."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(layers=[])
        self._device = device
        self._shares: dict[int, _Layer] = {}
        self.prefix = 0
        """Length of the shared prefix."""
        self.room = 0
        """Slots that will be wanted soon: made at once, not one by one."""
        self.windows: set[int | None] = set()
        """Sliding windows that layers asked for; None is full attention."""
        self._slots: slice | Tensor = slice(0, 0)
        self._rows = torch.zeros(0, dtype=torch.long)
        self._top = self._t = 0
        self._columns = torch.zeros(0, 0, dtype=torch.long)
        self._at_start = self._first = True
        self._width = self._behind = 0
        self._blocked: dict[int | None, Tensor] = {}

    def announce(
        self, slots: Sequence[int], starts: Sequence[int], t: int, *, prefix: bool = False
    ) -> Tensor:
        """The next pass writes `t` tokens for each of the slots, row i from column starts[i]; with
        `prefix` it writes the shared prefix instead (one row). Returns the tokens' positions,
        [n, t]."""
        lo, self._top, self._t = slots[0], max(slots) + 1, t
        self._rows = torch.tensor(list(slots), dtype=torch.long, device=self._device)
        in_line = list(slots) == list(range(lo, lo + len(slots)))
        self._slots = slice(lo, lo + len(slots)) if in_line else self._rows
        self._writes_prefix = prefix
        self._at_start = not any(starts)
        self._first = prefix or (self._at_start and self.prefix == 0)
        self._width = max(starts) + t
        self._blocked = {}
        if prefix:
            self.prefix = 0
        first = torch.tensor(list(starts), dtype=torch.long, device=self._device)
        self._columns = first[:, None] + torch.arange(t, device=self._device)
        self._behind = self.prefix
        if prefix:
            self.prefix = t
        return self._behind + self._columns

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Takes in [n, h, t, d] each; called by the model."""
        share = self._shares.setdefault(layer_idx, _Layer())
        if self._writes_prefix:
            share.prefix_keys = keys[0].transpose(-1, -2).contiguous()
            share.prefix_values = values[0].contiguous()
            return keys, values
        self._reserve(share, keys)
        assert share.keys is not None
        assert share.values is not None
        if self._at_start:
            share.keys[self._slots, :, :, : self._t] = keys.transpose(-1, -2)
            share.values[self._slots, :, : self._t] = values
        else:
            rows = self._rows[:, None]
            share.keys[rows, :, :, self._columns] = keys.transpose(1, 2)
            share.values[rows, :, self._columns] = values.transpose(1, 2)
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.prefix + self._width

    def copy(self, source: int, target: int, length: int) -> None:
        """Slot `target` becomes a copy of the first `length` columns of `source`."""
        for share in self._shares.values():
            if share.keys is not None and share.values is not None:
                self._grow(share, target + 1, length)
                share.keys[target, :, :, :length] = share.keys[source, :, :, :length]
                share.values[target, :, :length] = share.values[source, :, :length]

    def _reserve(self, share: _Layer, keys: Tensor) -> None:
        if share.keys is None:
            _, h, _, d = keys.shape
            wide = self._width + _GROW
            slots = max(self._top, self.room)
            share.keys = keys.new_zeros(slots, h, d, wide)
            share.values = keys.new_zeros(slots, h, wide, d)
        else:
            self._grow(share, self._top, self._width)

    def _grow(self, share: _Layer, slots: int, columns: int) -> None:
        assert share.keys is not None
        assert share.values is not None
        have, h, d, wide = share.keys.shape
        if slots <= have and columns <= wide:
            return
        rows = max(slots, have, self.room)
        room = max(columns + _GROW, wide * 5 // 4) if columns > wide else wide
        keys, values = (
            share.keys.new_zeros(rows, h, d, room),
            share.values.new_zeros(rows, h, room, d),
        )
        keys[:have, :, :, :wide] = share.keys
        values[:have, :, :wide] = share.values
        share.keys, share.values = keys, values

    def build_mask(self, window: int | None) -> Tensor:
        """[n, 1, t, p + width]: which columns a query must not see; p is 0 for the prefix itself."""
        found = self._blocked.get(window)
        if found is None:
            columns = torch.arange(self._behind + self._width, device=self._device)
            at = (self._behind + self._columns)[:, None, :, None]
            found = columns > at
            if window is not None:
                found = found | (at - columns >= window)
            self._blocked[window] = found
        return found

    def attend(
        self, index: int, query: Tensor, keys: Tensor, values: Tensor, scale: float, window: Any
    ) -> Tensor:
        """Attention of [n, h * g, t, d] queries; returns [n, t, h * g, d]."""
        self.windows.add(window)
        share = self._shares[index]
        n, heads, t, d = query.shape
        h = keys.shape[1]
        if self._first:
            if window is None or t <= window:
                out = functional.scaled_dot_product_attention(
                    query, keys, values, is_causal=True, scale=scale, enable_gqa=heads != h
                )
            else:
                out = _dense(query, keys, values, self.build_mask(window), scale)
            return out.transpose(1, 2)
        assert share.keys is not None
        assert share.values is not None
        k = share.keys[self._slots, :, :, : self._width]
        v = share.values[self._slots, :, : self._width]
        blocked = self.build_mask(window)
        each = heads * t * blocked.shape[-1]
        if each > _SCORES:
            if share.prefix_keys is not None and share.prefix_values is not None:
                k = torch.cat([share.prefix_keys.expand(n, -1, -1, -1), k], dim=-1)
                v = torch.cat([share.prefix_values.expand(n, -1, -1, -1), v], dim=-2)
            # In order in memory, or the fast kernels refuse.
            k = k.transpose(-1, -2).contiguous()
            return _dense(query, k, v, blocked, scale).transpose(1, 2)
        q = query.reshape(n, h, -1, d) * scale
        some = max(1, _SCORES // each)
        cuts = [slice(i, i + some) for i in range(0, n, some)]
        parts = [_behind_prefix(q[c], k[c], v[c], share, blocked[c]) for c in cuts]
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        return out.reshape(n, heads, t, d).transpose(1, 2)


def _behind_prefix(q: Tensor, k: Tensor, v: Tensor, share: _Layer, blocked: Tensor) -> Tensor:
    """Attention of scaled queries [n, h, g * t, d] to the prefix and to k, v; the same shape.

    As in transformers' eager attention, scores are in the model's dtype and weights are computed in
    float32.
    """
    n, h, gt, d = q.shape
    p = 0
    scores = q @ k
    if share.prefix_keys is not None:
        p = share.prefix_keys.shape[-1]
        flat = q.transpose(0, 1).reshape(h, n * gt, d)
        shared = (flat @ share.prefix_keys).view(h, n, gt, p).transpose(0, 1)
        scores = torch.cat([shared, scores], dim=-1)
    if blocked.shape[2] > 1:
        blocked = blocked.repeat(1, 1, gt // blocked.shape[2], 1)
    scores = scores.masked_fill_(blocked, float("-inf"))
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype)
    out = weights[..., p:] @ v
    if share.prefix_values is not None:
        flat = weights[..., :p].transpose(0, 1).reshape(h, n * gt, p)
        out = out + (flat @ share.prefix_values).view(h, n, gt, d).transpose(0, 1)
    return out


def _dense(query: Tensor, keys: Tensor, values: Tensor, blocked: Tensor, scale: float) -> Tensor:
    return functional.scaled_dot_product_attention(
        query,
        keys,
        values,
        attn_mask=~blocked,
        scale=scale,
        enable_gqa=query.shape[1] != keys.shape[1],
    )


class UnservedError(Exception):
    """The model's attention asks for something that a Slab does not do."""


_KNOWN_ARGUMENTS = frozenset({"position_ids", "use_cache", "is_causal", "output_attentions"})


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    slab: SharedPrefixCache | None = getattr(_here, "slab", None)
    extra = [k for k, v in kwargs.items() if v is not None and k not in _KNOWN_ARGUMENTS]
    if slab is None or attention_mask is not None or extra or not module.is_causal:
        raise UnservedError(f"attention with {extra or 'a mask'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return slab.attend(module.layer_idx, query, key, value, scale, sliding_window), None


@contextmanager
def use_cache(slab: SharedPrefixCache) -> Iterator[None]:
    """Model calls inside use this slab (in this thread)."""
    _here.slab = slab
    try:
        yield
    finally:
        _here.slab = None


AttentionInterface.register(NAME, _attention)


def layer_kinds(config: Any) -> set[str]:
    """Kinds of attention a model's layers have, as its config names them."""
    return set(getattr(config, "layer_types", None) or ["full_attention"])


@torch.inference_mode()
def serves(model: Any) -> bool:
    """Whether a Slab gives this model's own results, found by trying: a shared prefix, two rows of
    different lengths and a decoded token against one plain pass over each text.

    Leaves the model set to the attention that it should be used with.
    """
    config = model.config.get_text_config()
    before = config._attn_implementation
    kinds = layer_kinds(config)
    if not kinds <= {"full_attention", "sliding_attention"}:
        return False
    generator = torch.Generator().manual_seed(0)
    top = min(int(config.vocab_size), int(model.get_input_embeddings().weight.shape[0]))
    ids = torch.randint(0, top, (2, 14), generator=generator).to(model.device)
    ids[1, :4] = ids[0, :4]
    plain = torch.stack([model(row[None]).logits[0, -1] for row in (ids[0, :10], ids[1])]).float()
    try:
        model.set_attn_implementation(NAME)
        slab = SharedPrefixCache(model.device)
        with use_cache(slab):
            _call(model, slab, ids[:1, :4], slab.announce([0], [0], 4, prefix=True))
            _call(model, slab, ids[:, 4:13], slab.announce([0, 1], [0, 0], 9))
            last = torch.stack([ids[0, 9], ids[1, 13]])[:, None]
            ours = _call(model, slab, last, slab.announce([0, 1], [5, 9], 1))[:, -1].float()
        # A layer that slides but does not say so would go wrong in long texts only.
        told = any(window is not None for window in slab.windows)
        apart = float((ours - plain).abs().mean())
        # In bfloat16 two right ways differ by .05 to .11 of the logits' spread, by the processor; a
        # wrong last token makes .9.
        limit = 0.1 if model.dtype == torch.float32 else 0.2
        if apart < limit * float(plain.std()) and (told or "sliding_attention" not in kinds):
            return True
    except (UnservedError, AttributeError, TypeError, ValueError, KeyError, RuntimeError):
        pass
    model.set_attn_implementation(before)
    return False


def _call(model: Any, slab: SharedPrefixCache, ids: Tensor, positions: Tensor) -> Tensor:
    logits: Tensor = model(
        input_ids=ids, position_ids=positions, past_key_values=slab, use_cache=True
    ).logits
    return logits
