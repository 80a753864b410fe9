"""A base in 4 bits (QLoRA): how it is loaded, and whether the merged model is still the one that trained.

The one idea: an adapter that learned on a base in 4 bits is added to the base as it is stored, which is
another model. So what trained says of a few replies, with its adapter and without, is noted before it is
let go; the merged model may be as far from it as the base is from its 4 bits, and a little more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import peft
import torch
import transformers

from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON
from woolgather.core.storage import write_json
from woolgather.training.worker.weights.places import Place

FILE = "four-bits.json"
"""In an adapter's directory: what was noted."""
ASKED = 16
ALLOWED = 0.02
"""Nats per token beyond the gap that the base has by itself."""


def in_four_bits() -> Place:
    """Returns how transformers is told to load a base as QLoRA does (arXiv 2305.14314)."""
    return {
        "quantization_config": transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
        "device_map": {"": int(os.environ.get("LOCAL_RANK", "0"))},
    }


def note_replies(
    model: peft.PeftModel, rows: Sequence[tuple[list[int], list[int]]], folder: Path
) -> None:
    """Write beside an adapter what it, and its base without it, say of the replies to some prompts."""
    answered = [row for row in rows if row[0] and row[1]]
    some = answered[:: max(1, len(answered) // ASKED)][:ASKED]
    with model.disable_adapter():
        base = read_replies(model, some)
    told = {"rows": some, "base": base, "trained": read_replies(model, some)}
    write_json(folder / FILE, told)


def check_merged(adapter: Path, merged: Path, base: str, place: Place) -> dict[str, JSON]:
    """Returns how far a merged model is from the one that trained, in nats per token, and how far it may
    be; nothing where the base was not in 4 bits. Raises ConfigError where it is too far."""
    if not (adapter / FILE).is_file():
        return {}
    told = json.loads((adapter / FILE).read_text(encoding="utf-8"))
    load = transformers.AutoModelForCausalLM.from_pretrained
    # One after the other: each may fill the memory.
    gap = _gap(told["trained"], read_replies(load(merged, dtype="auto"), told["rows"]))
    allowed = ALLOWED + _gap(
        told["base"], read_replies(load(base, dtype="auto", **place), told["rows"])
    )
    if not gap <= allowed:
        raise ConfigError(
            f"the merged model is {gap:.3f} nats per token from what trained on a base in 4 bits, and "
            f"{allowed:.3f} are allowed: the adapter leans on what 4 bits have made of the base. "
            "Train with a lower learning_rate, or on the base as it is (lora.four_bit=false)."
        )
    return {"four_bits_gap": gap, "four_bits_allowed": allowed}


@torch.inference_mode()
def read_replies(
    model: torch.nn.Module, rows: Sequence[tuple[list[int], list[int]]]
) -> list[float]:
    """Returns the mean log-probability of a reply's tokens, per row of token ids."""
    model.eval()
    device = next(model.parameters()).device
    found = []
    for prompt, reply in rows:
        ids = torch.tensor([prompt + reply], device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type != "cpu"):
            logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1]
        scores = torch.log_softmax(logits.float(), dim=-1)
        found.append(float(scores.gather(1, ids[0, len(prompt) :, None]).mean()))
    return found


def _gap(ones: Sequence[float], others: Sequence[float]) -> float:
    """Returns the mean over the rows of the difference."""
    return sum(abs(a - b) for a, b in zip(ones, others, strict=True)) / max(1, len(ones))
