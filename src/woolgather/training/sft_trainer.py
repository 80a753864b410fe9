"""TRL's SFT trainer with our order of rows, our progress and checkpoints, and a faster CPU.

Imported by worker.py only. Three thin changes: the sampler (`ByUpdate`), no model card in
checkpoints, and a callback that writes progress and marks a checkpoint complete, last. On a CPU,
where PyTorch's kernels leave much undone, two equal computations are done faster (`faster_on_cpu`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trl.trainer.utils
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import TrainerCallback
from trl import SFTTrainer

from woolgather.storage import write_json
from woolgather.training.worker import MARKER, PROGRESS, STOP, ByUpdate, StopRequested


class UpdateTrainer(SFTTrainer):  # type: ignore[misc]
    """`rows_per_update` is the global batch."""

    def __init__(self, *args: Any, rows_per_update: int, **kwargs: Any) -> None:
        self._rows_per_update = rows_per_update
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(ids) for ids in rows["input_ids"]]
        return ByUpdate(lengths, self._rows_per_update, self.args.seed)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: a checkpoint is not a model to publish."""


class Told(TrainerCallback):  # type: ignore[misc]
    """Writes progress.jsonl, asks for a checkpoint every `minutes` (0: every update) and when told
    to stop, and marks each one complete once all its bytes are on disk."""

    def __init__(self, out: Path, minutes: float, digest: str) -> None:
        self.out, self.seconds, self.digest = out, minutes * 60, digest
        self.saved_at = time.monotonic()
        self.resumed_from: int | None = None
        self._tokens, self._clock = 0.0, time.monotonic()
        self._stopping = False

    def start(self, micro: int, checkpointing: bool, device: str) -> None:
        self._write(
            event="start",
            micro_batch_size=micro,
            gradient_checkpointing=checkpointing,
            device=device,
        )

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.saved_at = self._clock = time.monotonic()
        self.resumed_from = state.global_step or None
        self._write(event="training", update=state.global_step, updates=state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        logs = logs or {}
        if "loss" not in logs and "eval_loss" not in logs:
            return
        event: dict[str, Any] = {
            "event": "update" if "loss" in logs else "validation",
            "update": state.global_step,
            "updates": state.max_steps,
            "epoch": state.epoch,
            "loss": logs.get("loss"),
            "learning_rate": logs.get("learning_rate"),
            "validation_loss": logs.get("eval_loss"),
        }
        if "loss" in logs and "num_tokens" in logs:
            now = time.monotonic()
            rate = (logs["num_tokens"] - self._tokens) / max(now - self._clock, 1e-6)
            self._tokens, self._clock = logs["num_tokens"], now
            event["tokens_per_second"] = round(rate, 1)
        self._write(**event)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        due = time.monotonic() - self.saved_at >= self.seconds
        self._stopping, due = _agreed((self.out / STOP).exists(), due)
        if self._stopping or (due and state.global_step < state.max_steps):
            control.should_save = True

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._clock = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero:
            for file in [p for p in folder.rglob("*") if p.is_file()]:
                descriptor = os.open(file, os.O_RDONLY)
                os.fsync(descriptor)
                os.close(descriptor)
            write_json(folder / MARKER, {"update": state.global_step, "job": self.digest})
            self._write(event="checkpoint", update=state.global_step, updates=state.max_steps)
        self.saved_at = self._clock = time.monotonic()
        if self._stopping:
            raise StopRequested

    def _write(self, **event: Any) -> None:
        if os.environ.get("RANK", "0") == "0":
            with (self.out / PROGRESS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")


def _agreed(*flags: bool) -> tuple[bool, ...]:
    """What the first process sees: saving is collective, so that all must do it at one update."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return flags
    from accelerate.utils import broadcast_object_list

    return tuple(broadcast_object_list(list(flags)))


def faster_on_cpu(model: Any, low: bool) -> None:
    """Equal computations at less cost.

    The loss head scores only positions with a label (as TRL does on a GPU; elsewhere it scores
    all). In bfloat16, adapters get their input as it is instead of as a float32 copy, which
    autocast would round back at once. Adapter dropout draws its masks from numpy's SFC64, seeded by
    torch's generator: PyTorch draws them one number at a time on one core.
    """
    if hasattr(trl.trainer.utils, "_use_triton"):
        select_labelled: Callable[[Any], bool] = lambda device: True  # noqa: E731
        trl.trainer.utils._use_triton = select_labelled
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            if low:
                module.cast_input_dtype_enabled = False
            dropouts = getattr(module, "lora_dropout", {})
            for name, old in dropouts.items():
                if isinstance(old, torch.nn.Dropout):
                    dropouts[name] = Dropout(old.p)


class Dropout(torch.nn.Module):
    """Dropout of share `p`, rounded to 1/65536; reproducible from torch's generator."""

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
