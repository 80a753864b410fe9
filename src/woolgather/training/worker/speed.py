"""Equal computations at less cost on a CPU, where kernels leave much undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import trl
from peft.tuners.tuners_utils import BaseTunerLayer


def faster_on_cpu(model: torch.nn.Module, low: bool, recompute: bool) -> None:
    """Make a model compute the same at less cost.

    The loss head scores only positions that have a label, as TRL does on a GPU (elsewhere it scores
    all). Where nothing is recomputed, the dropout of adapters draws its masks in bulk (drawn one by
    one they took a tenth of a training), and with `low` (bfloat16) adapters take their input as it is
    instead of a float32 copy that autocast would round back at once.
    """
    if hasattr(trl.trainer.utils, "_use_triton"):
        labelled_only: Callable[[object], bool] = lambda device: True  # noqa: E731
        trl.trainer.utils._use_triton = labelled_only
    for module in model.modules() if not recompute else ():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = not low
            dropouts = getattr(module, "lora_dropout", {})
            for name, old in dropouts.items():
                if isinstance(old, torch.nn.Dropout):
                    dropouts[name] = Dropout(old.p)


class Dropout(torch.nn.Module):
    """Dropout with probability `p`, rounded to 1/65536. Masks come from numpy's SFC64, seeded by
    torch's generator, so that they follow from it; torch draws them one number at a time, on one
    core."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.threshold = round(p * 65536)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or not self.threshold:
            return x
        dropped: torch.Tensor = _Drop.apply(x, self.threshold)  # type: ignore[no-untyped-call]
        return dropped


class _Drop(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, threshold: int) -> torch.Tensor:
        seed = int(torch.randint(2**62, (1,)))
        drawn = np.random.Generator(np.random.SFC64(seed)).bytes(2 * x.numel())
        keep = torch.from_numpy(np.frombuffer(drawn, np.uint16) >= threshold).view(x.shape)
        ctx.save_for_backward(keep)
        ctx.scale = 65536 / (65536 - threshold)
        return torch.where(keep, x * ctx.scale, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (keep,) = ctx.saved_tensors
        return torch.where(keep, gradients[0] * ctx.scale, 0), None
