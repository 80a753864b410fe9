"""Both answers of a pair behind one prompt: a row that is read once, where TRL reads the prompt twice.

The one idea: an answer's tokens may look at the prompt and at their own answer, and a mask says so. Pairs
of a batch are then padded to the longest sum of both answers instead of the longest answer, which leaves
less to compute. To the caller nothing changes: it gives chosen sequences above rejected ones, and gets
what the model says of each token in that form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from woolgather.prompting.renderer import IGNORE

if TYPE_CHECKING:
    import transformers
    from transformers.utils import ModelOutput

_PER_TOKEN = ("log_probs", "entropy", "mean_logits", "is_top1")
"""What TRL's output says of each token."""
ALLOWED = 0.05
"""Nats per token that both forms may differ by in a low precision. A model that does not take the mask is
several off."""


@dataclass(frozen=True)
class _Packed:
    """Pairs as rows: the prompt, the chosen answer, the prompt's last token again, the rejected answer.

    That token is there twice because each answer's first token is read off at it."""

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    """[pairs, 1, tokens, tokens]: whether a token (third) may look at another (fourth)."""
    labels: torch.Tensor
    """[pairs, tokens]: the token that is to be read off at each one, or IGNORE."""
    rejected: torch.Tensor
    """[pairs, tokens]: whether a token stands behind the chosen answer."""


class SharedPrompt:
    """A model that reads pairs so. It is called as TRL calls its own, with sequences of one pair half a
    batch apart."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def __call__(
        self,
        *,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        labels: torch.Tensor,
        **more: object,
    ) -> ModelOutput:
        packed = _pack(input_ids, attention_mask, labels)
        output = self.model(
            input_ids=packed.ids,
            position_ids=packed.positions,
            attention_mask=packed.mask,
            shift_labels=packed.labels,
            **more,
        )
        wanted = labels[:, 1:] != IGNORE
        for name in _PER_TOKEN:
            if output.get(name) is not None:
                output[name] = _unpack(output[name], packed, wanted)
        return output


def _pack(ids: torch.Tensor, attention: torch.Tensor, labels: torch.Tensor) -> _Packed:
    pairs = ids.size(0) // 2
    lengths, answers = attention.sum(1).tolist(), (labels != IGNORE).sum(1).tolist()
    prompts = [lengths[i] - answers[i] for i in range(pairs)]
    width = max(p + answers[i] + 1 + answers[i + pairs] for i, p in enumerate(prompts))
    packed = ids.new_zeros(pairs, width)
    positions = torch.zeros_like(packed)
    shifted = torch.full_like(packed, IGNORE)
    rejected = torch.zeros_like(packed, dtype=torch.bool)
    mask = torch.ones(width, width, dtype=torch.bool, device=ids.device).tril().repeat(pairs, 1, 1)
    for i, p in enumerate(prompts):
        chosen, other = answers[i], answers[i + pairs]
        again = p + chosen  # where the prompt's last token stands again
        end = again + 1 + other
        packed[i, :again] = ids[i, :again]
        packed[i, again:end] = ids[i + pairs, p - 1 : p + other]
        positions[i, :again] = torch.arange(again)
        positions[i, again:end] = torch.arange(p - 1, p + other)
        shifted[i, p - 1 : again - 1] = ids[i, p:again]
        shifted[i, again : end - 1] = ids[i + pairs, p : p + other]
        rejected[i, again:end] = True
        mask[i, again:end, p - 1 : again] = False
    return _Packed(packed, positions, mask.unsqueeze(1), shifted, rejected)


def _unpack(values: torch.Tensor, packed: _Packed, wanted: torch.Tensor) -> torch.Tensor:
    """Returns what was said of the answers' tokens where `wanted`, [chosen and rejected, tokens], has
    them, and 0 elsewhere."""
    labelled = packed.labels != IGNORE
    sides = (labelled & ~packed.rejected, labelled & packed.rejected)
    blank = values.new_zeros(wanted.size(0) // 2, wanted.size(1))
    return torch.cat(
        [
            blank.masked_scatter(place, values[side])
            for side, place in zip(sides, wanted.chunk(2), strict=True)
        ]
    )


def takes_masks(config: transformers.PretrainedConfig) -> bool:
    """Returns whether a model's layers all look at whatever a mask of ours lets them, by its config."""
    kinds = getattr(config, "layer_types", None)
    whole = (
        set(kinds) == {"full_attention"} if kinds else not getattr(config, "sliding_window", None)
    )
    return whole and config._attn_implementation == "sdpa"


@torch.no_grad()
def says_the_same(model: torch.nn.Module, batch: Mapping[str, torch.Tensor]) -> bool:
    """Returns whether a model says the same of pairs in both forms; `batch` is what TRL's collator makes
    of them. What a config does not tell shows here."""
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORE)
    ids, attention = batch["input_ids"], batch["attention_mask"]
    more = {"use_cache": False, "fused_lm_head": True}
    apart = model(input_ids=ids, attention_mask=attention, labels=labels, **more).log_probs
    try:
        shared = SharedPrompt(model)
        together = shared(input_ids=ids, attention_mask=attention, labels=labels, **more).log_probs
    except (RuntimeError, TypeError, ValueError):  # a forward pass that knows no such mask
        return False
    return bool((apart - together).abs().sum() <= ALLOWED * max(1, int((labels != IGNORE).sum())))
