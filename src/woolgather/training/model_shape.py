"""The sizes of a model, read from its config.json: what its weights and activations take.

The one idea: a language model is layers of one shape between two matrices of its vocabulary, so seven
numbers tell its parameters within a percent, and nothing has to be loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from woolgather.core.model_limits import read_config, read_size
from woolgather.core.rows import JSON

_GATED = ("silu", "swish", "gelu_pytorch_tanh")
"""Activations of the architectures whose inner layer has three matrices instead of two."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a model. For a mixture of experts, `inner` is that of one expert."""

    layers: int
    hidden: int
    inner: int
    heads: int
    """0 for recurrent models, which have none."""
    kv_heads: int
    head_size: int
    vocabulary: int
    tied: bool = False
    """Whether one matrix both embeds tokens and makes the logits."""
    gated: bool = True
    experts: int = 1

    @property
    def embeddings(self) -> int:
        """Returns the parameters of the vocabulary's matrices."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def layer(self) -> int:
        """Returns the parameters of one layer."""
        sizes = self._linear().values()
        return sum(into * out * count for into, out, count in sizes) + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """Returns the parameters of the model; biases are left out."""
        return self.embeddings + self.layers * self.layer + self.hidden

    def adapter(self, r: int, targets: Collection[str] = ()) -> int:
        """Returns the parameters of a low-rank adapter of rank `r` on the layers that `targets` names;
        on all linear ones where it names none that is known here."""
        linear = self._linear()
        chosen = [linear[name] for name in targets if name in linear] or list(linear.values())
        return self.layers * sum(r * (into + out) * count for into, out, count in chosen)

    def activations(self, tokens: int, width: int, *, recompute: bool = False) -> int:
        """Returns the bytes kept for the backward pass of a row, with values of `width` bytes: all of
        them, or each layer's input and one layer's inside. Rough on purpose: a guess that is too high
        costs little, and one that is too low is halved when memory runs out."""
        inside = width * tokens * (20 * self.hidden + 6 * self.inner + self.heads * tokens * 2)
        return (
            inside + self.layers * width * tokens * self.hidden
            if recompute
            else inside * self.layers
        )

    def _linear(self) -> dict[str, tuple[int, int, int]]:
        """By the usual names of a layer's matrices: inputs, outputs, and how many there are."""
        queries, keys = self.heads * self.head_size, self.kv_heads * self.head_size
        found = {
            "q_proj": (self.hidden, queries, 1),
            "k_proj": (self.hidden, keys, 1),
            "v_proj": (self.hidden, keys, 1),
            "o_proj": (queries, self.hidden, 1),
            "up_proj": (self.hidden, self.inner, self.experts),
            "down_proj": (self.inner, self.hidden, self.experts),
        }
        return found | (
            {"gate_proj": (self.hidden, self.inner, self.experts)} if self.gated else {}
        )


def read_shape(folder: Path) -> ModelShape | None:
    """Returns the shape of the model in a directory; None where its config does not tell it."""
    return shape_of(read_config(folder))


def shape_of(config: Mapping[str, JSON]) -> ModelShape | None:
    """Returns the shape that a config describes; None where an entry is missing."""
    told = dict(config)
    hidden = read_size(told, "hidden_size", "n_embd", "d_model")
    layers = read_size(told, "num_hidden_layers", "n_layer", "num_layers")
    vocabulary = read_size(told, "vocab_size")
    if hidden is None or layers is None or vocabulary is None:
        return None
    sizes = told.get("intermediate_size")  # a list where layers differ
    widest = {"intermediate_size": max(sizes)} if isinstance(sizes, list) and sizes else {}
    inner = read_size(
        {**told, **widest}, "moe_intermediate_size", "intermediate_size", "n_inner", "ffn_dim"
    )
    heads = read_size(told, "num_attention_heads", "n_head") or 0
    return ModelShape(
        layers=layers,
        hidden=hidden,
        inner=inner or 4 * hidden,
        heads=heads,
        kv_heads=read_size(told, "num_key_value_heads") or heads,
        head_size=read_size(told, "head_dim") or hidden // max(heads, 1),
        vocabulary=vocabulary,
        tied=told.get("tie_word_embeddings") is not False,
        gated=(told.get("hidden_act") or told.get("hidden_activation")) in _GATED,
        experts=read_size(told, "num_experts", "num_local_experts", "n_routed_experts") or 1,
    )
