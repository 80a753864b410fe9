"""KV cache with one shared prefix and a slot for each sequence, and attention over them.

The one idea: what rows share is kept, read and multiplied once. A `SharedPrefixCache` holds the keys
and values of one shared prefix and, behind it, a slot for each row; a row's j-th own token lies in
column j of its slot, so rows of any length go on together, a finished row's slot is refilled at once,
and no step copies the cache. Decoding multiplies all rows' queries with the prefix as one matrix.

It is plugged into transformers at two points made for that: the cache a model writes to, and the
registered attention function "woolgather". `supports_prefix_sharing` says for which models that is
right; others take PlainBatch (batch.py). Nothing here samples or schedules.

Shapes: n rows in a pass, t new tokens each, h key/value heads, g queries per head, d head size,
p prefix length, c columns. Keys are kept transposed ([slots, h, d, c]), which makes the product
with one query three times as fast on a CPU.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface
from transformers.cache_utils import Cache

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

NAME = "woolgather"
_GROW = 64
"""Columns made beyond those that are needed."""
_SCORES = 1 << 24
"""Attention scores worked on at once."""
_in_use = threading.local()
"""The cache that this thread's model calls attend with, as `.cache`."""


class _Layer:
    """Keys and values of one attention layer."""

    __slots__ = ("keys", "prefix_keys", "prefix_values", "values")

    def __init__(self) -> None:
        self.keys: Tensor | None = None  # [slots, h, d, c]
        self.values: Tensor | None = None  # [slots, h, c, d]
        self.prefix_keys: Tensor | None = None  # [h, d, p]
        self.prefix_values: Tensor | None = None  # [h, p, d]


class SharedPrefixCache(Cache):  # type: ignore[misc]
    """The KV cache that the module's docstring describes.

    A pass is announced with `begin_pass`, which returns the positions to call the model with; then
    the model is called inside `attend_with(cache)`.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(layers=[])
        self._device = device
        self._by_layer: dict[int, _Layer] = {}
        self.prefix = 0
        """Length of the shared prefix, in tokens."""
        self.slots_wanted = 0
        """Slots that will be needed soon: made at once, not one by one."""
        self.windows: set[int | None] = set()
        """Sliding windows that layers asked for; None is full attention."""
        # Of the pass under way, as `begin_pass` sets them:
        self._rows = torch.zeros(0, dtype=torch.long)  # [n], the slot of each row
        self._slots: slice | Tensor = slice(0, 0)  # the same, as a slice where they are in line
        self._top = 0  # slots that it needs: the highest and those below
        self._t = 0
        self._columns = torch.zeros(0, 0, dtype=torch.long)  # [n, t], where each token is written
        self._width = 0  # columns of a slot that it may see
        self._offset = 0  # positions before column 0: the prefix, or 0 while that is written
        self._from_zero = True  # every row writes from column 0
        self._alone = True  # and there is no prefix, so that tokens see only each other
        self._masks: dict[int | None, Tensor] = {}  # by sliding window

    def begin_pass(
        self, slots: Sequence[int], starts: Sequence[int], t: int, *, prefix: bool = False
    ) -> Tensor:
        """Announces a pass that writes `t` tokens for each of the slots, row i from column starts[i];
        with `prefix` it writes the shared prefix instead (one row, from 0).

        Returns the tokens' positions in their texts, [n, t].
        """
        lo, self._top, self._t = slots[0], max(slots) + 1, t
        self._rows = torch.tensor(list(slots), dtype=torch.long, device=self._device)
        in_line = list(slots) == list(range(lo, lo + len(slots)))
        self._slots = slice(lo, lo + len(slots)) if in_line else self._rows
        self._writes_prefix = prefix
        self._from_zero = not any(starts)
        self._alone = prefix or (self._from_zero and self.prefix == 0)
        self._width = max(starts) + t
        self._masks = {}
        first = torch.tensor(list(starts), dtype=torch.long, device=self._device)
        self._columns = first[:, None] + torch.arange(t, device=self._device)
        self._offset = 0 if prefix else self.prefix
        if prefix:
            self.prefix = t
        # Column j of a slot is position p + j of its text: slots begin behind the prefix.
        return self._offset + self._columns

    def update(
        self, keys: Tensor, values: Tensor, layer_idx: int, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Stores the new keys and values of a layer, [n, h, t, d] each, and returns them; called by
        the model."""
        layer = self._by_layer.setdefault(layer_idx, _Layer())
        if self._writes_prefix:
            layer.prefix_keys = keys[0].transpose(-1, -2).contiguous()
            layer.prefix_values = values[0].contiguous()
            return keys, values
        self._reserve(layer, keys)
        assert layer.keys is not None
        assert layer.values is not None
        if self._from_zero:
            layer.keys[self._slots, :, :, : self._t] = keys.transpose(-1, -2)
            layer.values[self._slots, :, : self._t] = values
        else:
            # Row i's token k goes to slot rows[i], column columns[i, k]. Two index tensors around
            # slices put their own dimensions first: the left sides are [n, t, h, d].
            rows = self._rows[:, None]
            layer.keys[rows, :, :, self._columns] = keys.transpose(1, 2)
            layer.values[rows, :, self._columns] = values.transpose(1, 2)
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Returns the positions that the longest row has come to, as transformers asks for them."""
        return self.prefix + self._width

    def copy(self, source: int, target: int, length: int) -> None:
        """Makes the first `length` columns of slot `target` a copy of those of slot `source`."""
        for layer in self._by_layer.values():
            if layer.keys is not None and layer.values is not None:
                self._grow(layer, target + 1, length)
                layer.keys[target, :, :, :length] = layer.keys[source, :, :, :length]
                layer.values[target, :, :length] = layer.values[source, :, :length]

    def _reserve(self, layer: _Layer, keys: Tensor) -> None:
        if layer.keys is None:
            _, h, _, d = keys.shape
            wide = self._width + _GROW
            slots = max(self._top, self.slots_wanted)
            layer.keys = keys.new_zeros(slots, h, d, wide)
            layer.values = keys.new_zeros(slots, h, wide, d)
        else:
            self._grow(layer, self._top, self._width)

    def _grow(self, layer: _Layer, slots: int, columns: int) -> None:
        assert layer.keys is not None
        assert layer.values is not None
        have, h, d, wide = layer.keys.shape
        if slots <= have and columns <= wide:
            return
        slots = max(slots, have, self.slots_wanted)
        wider = max(columns + _GROW, wide * 5 // 4) if columns > wide else wide
        keys, values = (
            layer.keys.new_zeros(slots, h, d, wider),
            layer.values.new_zeros(slots, h, wider, d),
        )
        keys[:have, :, :, :wide] = layer.keys
        values[:have, :, :wide] = layer.values
        layer.keys, layer.values = keys, values

    def build_mask(self, window: int | None) -> Tensor:
        """Returns which positions a query must *not* see, [n, 1, t, p + width] (p is 0 while the
        prefix itself is written); `window` is how many positions back it sees, None for all."""
        found = self._masks.get(window)
        if found is None:
            # Both in positions of the text: the prefix first, then the slot's columns.
            positions = torch.arange(self._offset + self._width, device=self._device)
            at = (self._offset + self._columns)[:, None, :, None]
            found = positions > at
            if window is not None:
                found = found | (at - positions >= window)
            self._masks[window] = found
        return found

    def attend(
        self,
        index: int,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        scale: float,
        window: int | None,
    ) -> Tensor:
        """Returns the attention of a layer's queries, [n, h * g, t, d], as [n, t, h * g, d]; `keys` and
        `values` are the new ones, which `update` has stored."""
        self.windows.add(window)
        layer = self._by_layer[index]
        n, heads, t, d = query.shape
        h = keys.shape[1]
        if self._alone:
            if window is None or t <= window:
                out = functional.scaled_dot_product_attention(
                    query, keys, values, is_causal=True, scale=scale, enable_gqa=heads != h
                )
            else:
                out = _dense(query, keys, values, self.build_mask(window), scale)
            return out.transpose(1, 2)
        assert layer.keys is not None
        assert layer.values is not None
        k = layer.keys[self._slots, :, :, : self._width]
        v = layer.values[self._slots, :, : self._width]
        blocked = self.build_mask(window)
        each = heads * t * blocked.shape[-1]
        if each > _SCORES:
            if layer.prefix_keys is not None and layer.prefix_values is not None:
                k = torch.cat([layer.prefix_keys.expand(n, -1, -1, -1), k], dim=-1)
                v = torch.cat([layer.prefix_values.expand(n, -1, -1, -1), v], dim=-2)
            # In order in memory, or the fast kernels refuse.
            k = k.transpose(-1, -2).contiguous()
            return _dense(query, k, v, blocked, scale).transpose(1, 2)
        # Queries of one key/value head together: [n, h * g, t, d] to [n, h, g * t, d].
        q = query.reshape(n, h, -1, d) * scale
        some = max(1, _SCORES // each)
        cuts = [slice(i, i + some) for i in range(0, n, some)]
        parts = [_attend_behind_prefix(q[c], k[c], v[c], layer, blocked[c]) for c in cuts]
        out = parts[0] if len(parts) == 1 else torch.cat(parts)
        return out.reshape(n, heads, t, d).transpose(1, 2)


def _attend_behind_prefix(
    q: Tensor, k: Tensor, v: Tensor, layer: _Layer, blocked: Tensor
) -> Tensor:
    """Returns the attention of scaled queries, [n, h, g * t, d], to the prefix and to k, v; the same
    shape.

    As in transformers' eager attention, scores are in the model's dtype and weights are computed in
    float32.
    """
    n, h, gt, d = q.shape
    p = 0
    scores = q @ k
    if layer.prefix_keys is not None:
        p = layer.prefix_keys.shape[-1]
        # All rows' queries as one matrix per head: the prefix is read once, not once per row.
        flat = q.transpose(0, 1).reshape(h, n * gt, d)
        shared = (flat @ layer.prefix_keys).view(h, n, gt, p).transpose(0, 1)
        scores = torch.cat([shared, scores], dim=-1)
    if blocked.shape[2] > 1:
        # A head's g * t queries lie query by query, each with its t tokens: the mask of the t tokens
        # comes g times. For one token it broadcasts by itself.
        blocked = blocked.repeat(1, 1, gt // blocked.shape[2], 1)
    scores = scores.masked_fill_(blocked, float("-inf"))
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32).to(v.dtype)
    out = weights[..., p:] @ v
    if layer.prefix_values is not None:
        flat = weights[..., :p].transpose(0, 1).reshape(h, n * gt, p)
        out = out + (flat @ layer.prefix_values).view(h, n, gt, d).transpose(0, 1)
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


class UnsupportedError(Exception):
    """The model's attention asks for something that a SharedPrefixCache does not do."""


class AttentionModule(Protocol):
    """What is used of an attention layer of transformers."""

    is_causal: bool
    layer_idx: int


_KNOWN_ARGUMENTS = frozenset({"position_ids", "use_cache", "is_causal", "output_attentions"})


def _attention(
    module: AttentionModule,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """The registered attention function; its parameters are those that transformers calls it with.
    Returns ([n, t, h * g, d], no weights). Raises UnsupportedError for what the cache does not do."""
    cache: SharedPrefixCache | None = getattr(_in_use, "cache", None)
    extra = [k for k, v in kwargs.items() if v is not None and k not in _KNOWN_ARGUMENTS]
    if cache is None or attention_mask is not None or extra or not module.is_causal:
        raise UnsupportedError(f"attention with {extra or 'a mask'}")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return cache.attend(module.layer_idx, query, key, value, scale, sliding_window), None


@contextmanager
def attend_with(cache: SharedPrefixCache) -> Iterator[None]:
    """Model calls inside attend with this cache (in this thread). Yields nothing."""
    _in_use.cache = cache
    try:
        yield
    finally:
        _in_use.cache = None


AttentionInterface.register(NAME, _attention)


def layer_kinds(config: PreTrainedConfig) -> set[str]:
    """Returns the kinds of attention that a model's layers have, as its config names them."""
    return set(getattr(config, "layer_types", None) or ["full_attention"])


@torch.inference_mode()
def supports_prefix_sharing(model: PreTrainedModel) -> bool:
    """Returns whether a SharedPrefixCache gives this model's own results, found by trying: a shared
    prefix, two rows of different lengths and a decoded token against one plain pass over each text.

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
        cache = SharedPrefixCache(model.device)
        with attend_with(cache):
            # Tokens 0 to 3 are the prefix, so that token i of a text lies in column i - 4. The first
            # text ends with token 9: what the second pass writes behind its column 4 is padding, and
            # its last token overwrites the first of it.
            _call(model, cache, ids[:1, :4], cache.begin_pass([0], [0], 4, prefix=True))
            _call(model, cache, ids[:, 4:13], cache.begin_pass([0, 1], [0, 0], 9))
            last = torch.stack([ids[0, 9], ids[1, 13]])[:, None]
            ours = _call(model, cache, last, cache.begin_pass([0, 1], [5, 9], 1))[:, -1].float()
        # A layer that slides but does not say so would go wrong in long texts only.
        told = any(window is not None for window in cache.windows)
        apart = float((ours - plain).abs().mean())
        # In bfloat16 two right ways differ by .05 to .11 of the logits' spread, by the processor; a
        # wrong last token makes .9.
        limit = 0.1 if model.dtype == torch.float32 else 0.2
        if apart < limit * float(plain.std()) and (told or "sliding_attention" not in kinds):
            return True
    except (UnsupportedError, AttributeError, TypeError, ValueError, KeyError, RuntimeError):
        pass
    model.set_attn_implementation(before)
    return False


def _call(
    model: PreTrainedModel, cache: SharedPrefixCache, ids: Tensor, positions: Tensor
) -> Tensor:
    logits: Tensor = model(
        input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True
    ).logits
    return logits
