"""What a training tells while it goes: progress, checkpoints, and that it was asked to stop."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from woolgather.core.rows import JSON
from woolgather.training.checkpoints import PROGRESS, STOP, complete
from woolgather.training.worker.devices.processes import agree, rank, wait_for_all


class StopRequested(Exception):
    """Asked to stop; a checkpoint has been written."""


class Told(TrainerCallback):  # type: ignore[misc]
    """Callback that seeds each update, writes progress.jsonl, asks for a checkpoint every so many
    seconds (0: every update) and when told to stop, and marks each one complete."""

    def __init__(self, out: Path, seconds: float, digest: str) -> None:
        self.out, self.seconds, self.digest = out, seconds, digest
        self.resumed_from: int | None = None
        self._saved = self._clock = time.monotonic()
        self._tokens, self._stopping = 0.0, False

    def tell(self, **event: JSON) -> None:
        """Append an event to progress.jsonl; only the first process does."""
        if rank() == 0:
            with (self.out / PROGRESS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Tell what there is to do, and from where on."""
        self._saved = self._clock = time.monotonic()
        self.resumed_from = state.global_step or None
        self.tell(event="training", update=state.global_step, updates=state.max_steps)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Seed the update."""
        # An update's dropout follows from the seed and its number alone. The generators' saved state
        # would not do: at the end of an epoch it is taken before validation draws from it.
        torch.manual_seed((args.seed << 32) + (state.global_step << 8) + rank())

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float],
        **_: object,
    ) -> None:
        """Tell the losses of an update, or of a validation."""
        now = time.monotonic()
        event = {"update": state.global_step, "updates": state.max_steps, "epoch": state.epoch}
        if "loss" in logs:
            tokens = logs.get("num_tokens", self._tokens)
            rate = round((tokens - self._tokens) / max(now - self._clock, 1e-6), 1)
            self._tokens = tokens
            self.tell(
                event="update",
                **event,
                loss=logs["loss"],
                learning_rate=logs.get("learning_rate"),
                tokens_per_second=rate,
            )
        elif "eval_loss" in logs:
            self.tell(event="validation", **event, validation_loss=logs["eval_loss"])
        self._clock = now

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Ask for a checkpoint where one is due; at the end of an epoch only after its validation, so
        that none goes on behind a validation that it has not seen."""
        if state.epoch != int(state.epoch):
            self._ask_for_checkpoint(state, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """The same behind the last update of an epoch."""
        self._ask_for_checkpoint(state, control)

    def _ask_for_checkpoint(self, state: TrainerState, control: TrainerControl) -> None:
        due = time.monotonic() - self._saved >= self.seconds and state.global_step < state.max_steps
        # At the last update there is nothing to go on with: resumed there, one more would be made.
        wanted = (self.out / STOP).exists() and state.global_step < state.max_steps
        self._stopping, due = agree(wanted, due)
        control.should_save = control.should_save or self._stopping or due

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: object
    ) -> None:
        """Mark the checkpoint complete. Raises StopRequested when it was the last one wanted."""
        wait_for_all()  # the parts that other processes write belong to it
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            complete(folder, state.global_step, self.digest)
            self.tell(event="checkpoint", update=state.global_step, updates=state.max_steps)
        self._saved = self._clock = time.monotonic()
        if self._stopping:
            raise StopRequested


def by_update(
    history: Sequence[Mapping[str, float]], more: Mapping[str, tuple[str, float]]
) -> list[dict[str, float]]:
    """Returns the trainer's log, one row per update; `more` are names in it beyond the usual ones, with
    ours and a factor. A resumed run may have logged an update twice: the later one counts."""
    plain = {"epoch": "epoch", "loss": "loss", "learning_rate": "learning_rate"}
    plain["eval_loss"] = "validation_loss"
    names = {name: (ours, 1.0) for name, ours in plain.items()} | dict(more)
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        row = rows.setdefault(int(entry["step"]), {"update": int(entry["step"])})
        row.update({o: float(entry[name]) * f for name, (o, f) in names.items() if name in entry})
    return [row for _, row in sorted(rows.items())]
