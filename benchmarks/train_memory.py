"""How many cards a training takes, by the formula that `woolgather plan` goes by: the table in the docs.

python benchmarks/train_memory.py     (prints the table of docs/performance.md)
"""

from __future__ import annotations

from collections.abc import Iterator

from woolgather.training.job import DpoOptions, LoraOptions, SftOptions
from woolgather.training.layouts import Sharding
from woolgather.training.memory import TrainingSize
from woolgather.training.model_shape import ModelShape

CARDS = (24, 40, 80)
"""GB of a card."""
TOKENS = 2048
SHAPES = {
    "1B": ModelShape(16, 2048, 8192, 32, 8, 64, vocabulary=128256, tied=True),
    "7B": ModelShape(32, 4096, 11008, 32, 32, 128, vocabulary=32000),
    "13B": ModelShape(40, 5120, 13824, 40, 40, 128, vocabulary=32000),
    "70B": ModelShape(80, 8192, 28672, 64, 8, 128, vocabulary=32000),
}
FULL = SftOptions(lora=None, precision="bfloat16", batch_size=128)
METHODS: dict[str, tuple[SftOptions | DpoOptions, Sharding]] = {
    "all weights, AdamW, zero2": (FULL, "zero2"),
    "all weights, AdamW, zero3 or fsdp2": (FULL, "zero3"),
    "the same, adamw_8bit": (FULL.model_copy(update={"optimizer": "adamw_8bit"}), "zero3"),
    "SPIN, all weights, RMSprop, zero3": (
        DpoOptions(lora=None, precision="bfloat16", batch_size=128),
        "zero3",
    ),
    "adapter (r=16), ddp": (FULL.model_copy(update={"lora": LoraOptions(r=16)}), "ddp"),
    "adapter (r=16), zero3": (FULL.model_copy(update={"lora": LoraOptions(r=16)}), "zero3"),
    "adapter on 4 bits (QLoRA), ddp": (
        FULL.model_copy(update={"lora": LoraOptions(r=16, four_bit=True)}),
        "ddp",
    ),
}


def lines() -> Iterator[str]:
    """Yields the table, a row per method and model: GB on one card, and how many cards are enough."""
    yield f"| method | model | GB on one card | {' | '.join(f'{gb} GB cards' for gb in CARDS)} |"
    yield "| --- | --- | ---: |" + " ---: |" * len(CARDS)
    for method, (options, sharding) in METHODS.items():
        for model, shape in SHAPES.items():
            size = TrainingSize(
                shape,
                options.model_copy(update={"gradient_checkpointing": True}),
                "bfloat16",
                TOKENS,
                on_cpu=False,
                sharding=sharding,
                micro_batch_size=1,
            )
            cells = [f"{size.need(0).total / 1e9:.0f}", *(_cards(size, gb) for gb in CARDS)]
            yield f"| {method} | {model} | {' | '.join(cells)} |"


def _cards(size: TrainingSize, gigabytes: int) -> str:
    """The cards that are enough; where each holds everything, one or none."""
    found = size.devices_needed(int(gigabytes * 1e9), size.sharding)
    return str(found) if found else "-"


if __name__ == "__main__":
    print("\n".join(lines()))
