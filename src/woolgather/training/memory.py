"""What a training needs of each device's memory, by a formula, before anything is loaded.

The one idea: bytes per parameter follow from who holds weights, gradients and optimizer states, and in
which precision; docs/performance.md says the same in words. What cannot fit is refused with what would.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace

from woolgather.core.expected import DeviceMemory
from woolgather.core.machine_speed import Precision
from woolgather.training.batches import CPU_ROWS, GPU_ROWS, fit
from woolgather.training.job import DpoOptions, LoraOptions, SftOptions
from woolgather.training.layouts import Sharding
from woolgather.training.model_shape import ModelShape

FLOAT32, BFLOAT16, FOUR_BITS = 4.0, 2.0, 0.516
"""Bytes per value. In 4 bits with double quantization a value takes 4.127 bits (arXiv 2305.14314)."""
STATES = {
    "rmsprop": 4.0,
    "adamw_8bit": 2.0,
    "paged_adamw_8bit": 0.0,  # in the host's memory, and on the device while they are used
    "adafactor": 0.0,  # a row and a column for each matrix
    "sgd": 0.0,
}
"""Bytes of optimizer states per trained parameter; two float32 values where nothing else is known."""
ADAM = 8.0
HEAD_TILE = (1024, 32768)
"""Positions and words of the vocabulary whose logits are in memory at once."""
MOST_DEVICES = 1024


@dataclass(frozen=True)
class TrainingSize:
    """A training, as far as its memory goes."""

    shape: ModelShape
    options: SftOptions | DpoOptions
    precision: Precision
    tokens: int
    """In the longest row."""
    on_cpu: bool
    sharding: Sharding = "ddp"
    devices: int = 1
    micro_batch_size: int = 0
    """Rows on a device at once; 0 chooses."""

    def fixed(self) -> DeviceMemory:
        """Returns the bytes per device that do not depend on the rows."""
        parameters, lora = float(self.shape.parameters), self.options.lora
        states = STATES.get(self.options.optimizer, ADAM)
        low = self.precision == "bfloat16"
        if lora is not None:
            trained = float(self.shape.adapter(lora.r, lora.target_modules))
            weights = self._base(lora) + trained * FLOAT32
            return self._shared(weights, trained * FLOAT32, trained * states)
        if low and self.sharding in ("zero2", "zero3"):  # float32 masters are the optimizer's
            both = parameters * BFLOAT16
            return self._shared(both, both, parameters * (FLOAT32 + states))
        weights = parameters * FLOAT32
        found = self._shared(weights, weights, parameters * states)
        # Autocast keeps a bfloat16 copy of each weight until the backward pass has used it.
        copies = int(parameters * BFLOAT16) if low and self.sharding == "ddp" else 0
        return replace(found, weights=found.weights + copies)

    def _base(self, lora: LoraOptions) -> float:
        """Bytes of the frozen weights below an adapter."""
        width = BFLOAT16 if self.precision == "bfloat16" else FLOAT32
        outside = float(self.shape.embeddings)
        inside = self.shape.parameters - outside
        four = lora.four_bit and not self.on_cpu
        return inside * (FOUR_BITS if four else width) + outside * (BFLOAT16 if four else width)

    def _shared(self, weights: float, gradients: float, states: float) -> DeviceMemory:
        """Divides among the devices what they share out; a layer is whole on each while it computes, and
        the next one is on its way."""
        n = self.devices
        if self.sharding in ("zero3", "fsdp2"):
            biggest = max(self.shape.layer, self.shape.vocabulary * self.shape.hidden)
            width = BFLOAT16 if self.precision == "bfloat16" else FLOAT32
            weights = weights / n + (2 * biggest * width if n > 1 else 0)
        share = 1 if self.sharding == "ddp" else n
        return DeviceMemory(int(weights), int(gradients / share), int(states / share), 0)

    @property
    def sequences(self) -> int:
        """Returns the sequences of a row: two for a pair."""
        return 2 if isinstance(self.options, DpoOptions) else 1

    def row_bytes(self, *, recompute: bool = False) -> int:
        """Returns the bytes of one row's activations, all its sequences."""
        width = 2 if self.precision == "bfloat16" else 4
        one = self.shape.activations(self.tokens, width, recompute=recompute)
        return one * self.sequences

    def rows_at_once(self, share: int, free_bytes: float) -> tuple[int, bool]:
        """Returns how many of the `share` rows that a device has in an update it takes at once where
        `free_bytes` are left for activations, and whether they must be recomputed."""
        usual = (CPU_ROWS if self.on_cpu else GPU_ROWS) // self.sequences
        wanted = self.micro_batch_size or self.options.micro_batch_size
        return fit(share, self.row_bytes(), free_bytes, usual=usual, wanted=wanted)

    def need(self, limit: int) -> DeviceMemory:
        """Returns the bytes per device where each has `limit` (0: not known), with activations for as
        many rows at once as would be taken there; and what would fit, where this does not."""
        found = self._taken(limit)
        return found if found.fits else replace(found, remedies=tuple(self._remedies(limit)))

    def _taken(self, limit: int) -> DeviceMemory:
        fixed = self.fixed()
        share = max(1, self.options.batch_size // self.devices)
        room = max(limit - fixed.total, 0) if limit else sys.maxsize
        rows, scarce = self.rows_at_once(share, room)
        asked = self.options.gradient_checkpointing
        recompute = scarce if asked is None else asked
        positions, words = HEAD_TILE
        tile = 8 * min(positions, rows * self.tokens) * min(words, self.shape.vocabulary)
        activations = rows * self.row_bytes(recompute=recompute) + tile
        return replace(fixed, activations=activations, limit=limit)

    def _remedies(self, limit: int) -> Iterator[str]:
        """Yields what would fit instead, as settings and options: each by itself, or, where none does,
        the first few of them together."""
        alone = [words for words, other in self._others() if other._taken(limit).fits]
        yield from alone
        count = None if self.on_cpu else self.devices_needed(limit, "zero3")
        if count:
            yield f"--accelerate zero3 --processes {count}"
        if not alone and not count:
            yield from self._together(limit)

    def _together(self, limit: int) -> Iterator[str]:
        done: list[str] = []
        size = self
        while following := next((o for o in size._others() if o[0] not in done), None):
            done.append(following[0])
            size = following[1]
            if size._taken(limit).fits:
                yield " with ".join(done)
                return

    def devices_needed(self, limit: int, sharding: Sharding) -> int | None:
        """Returns how many devices of `limit` bytes carry it out together, a power of two; None where
        none of them is enough."""
        counts = (1 << n for n in range(MOST_DEVICES.bit_length()))
        many = (replace(self, sharding=sharding, devices=count) for count in counts)
        return next((plan.devices for plan in many if plan._taken(limit).fits), None)

    def _others(self) -> Iterator[tuple[str, TrainingSize]]:
        options = self.options
        if self.micro_batch_size or options.micro_batch_size > 1:
            yield "micro_batch_size=1", replace(self._with(micro_batch_size=1), micro_batch_size=0)
        if options.gradient_checkpointing is False:
            yield "gradient_checkpointing=true", self._with(gradient_checkpointing=True)
        if not self.on_cpu and options.optimizer not in STATES:
            yield "optimizer=paged_adamw_8bit", self._with(optimizer="paged_adamw_8bit")
        if options.lora is None:
            yield "an adapter (lora.r=16)", self._with(lora=LoraOptions(r=16))
        if isinstance(options, SftOptions) and not self.on_cpu:
            lora = (options.lora or LoraOptions()).model_copy(update={"four_bit": True})
            yield "an adapter on a base in 4 bits (lora.four_bit=true)", self._with(lora=lora)
        yield "max_length=" + str(self.tokens // 2), replace(self, tokens=self.tokens // 2)

    def _with(self, **changes: object) -> TrainingSize:
        return replace(self, options=self.options.model_copy(update=changes))
