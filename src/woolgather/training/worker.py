"""The launched program: trains or merges what a job file says, and leaves its result beside it.

The one idea: TRL does the training, and everything that decides what comes out arrives as data. Rows
come with token ids and labels, so nothing is rendered, tokenized or cut here; `batches.py` says
which rows make an update. On a CPU, where kernels leave much undone, equal computations are done
faster (`faster_on_cpu`).

    python -m woolgather.training.worker JOB.json      (launch.py writes the file and starts this)

Leaves in the job's `out`: model/, curves.parquet, and result.json last; or error.json. As it goes:
progress.jsonl, and checkpoints/, each marked complete by a file written last. Imported by nobody.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from woolgather.children import watch_parent

if __name__ == "__main__":
    watch_parent()  # before the imports below, which take seconds

import numpy as np
import peft
import psutil
import torch
import transformers
import trl
from peft.tuners.tuners_utils import BaseTunerLayer

from woolgather.errors import ConfigError, WoolgatherError, no_room
from woolgather.records import JSON
from woolgather.storage import write_json
from woolgather.tokens import Renderer
from woolgather.training import files
from woolgather.training.batches import ByUpdate, Shape, fit
from woolgather.training.job import CURVES, MODEL, RESULT, SftOptions


class StopRequested(Exception):
    """Asked to stop; a checkpoint has been written."""


def main(argv: Sequence[str]) -> int:
    """Carries out the job file named by the first argument; returns the exit code."""
    job = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    out = Path(job["out"])
    try:
        result = train(job, out) if job["kind"] == "sft" else merge(job, out)
    except StopRequested:
        return files.STOPPED
    except WoolgatherError as error:
        return _fail(out, "mistake", str(error))
    except Exception as error:  # whatever it is, the parent has to say it in a sentence
        kind = "disk" if no_room(error) else "memory" if _is_out_of_memory(error) else "error"
        with contextlib.suppress(OSError):  # the log may be on the disk that is full
            traceback.print_exc()
        return _fail(out, kind, (str(error).strip() or type(error).__name__).splitlines()[0])
    if _rank() == 0:
        write_json(out / RESULT, result)
    return 0


def train(job: Mapping[str, JSON], out: Path) -> dict[str, JSON]:
    """Supervised fine-tuning of the start model on the job's token ids; what result.json says."""
    began = time.monotonic()
    config = SftOptions.model_validate(job["config"])
    execution, seed = job["execution"], int(job["seed"])
    path, place = _place(job["start"])
    if (Path(path) / "adapter_config.json").is_file():
        raise ConfigError(
            f"{path} is an adapter, and training starts from full weights: merge it first."
        )
    on_cpu = bool(execution.get("cpu")) or not torch.cuda.is_available()
    device = "cpu" if on_cpu else torch.cuda.get_device_name()
    low = config.precision != "float32"
    # A weight that is trained needs float32 to take small steps; a frozen one does not.
    dtype = torch.bfloat16 if low and config.lora else torch.float32
    transformers.set_seed(seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype, **place)
    renderer = Renderer(job["start"])
    if renderer.tokenizer.pad_token_id is None:
        renderer.tokenizer.pad_token = renderer.eos_token
    rows, held = (_rows(Path(job["data"]) / f"{n}.parquet") for n in ("train", "validation"))
    lengths = [len(ids) for ids in rows["input_ids"]]
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world < int(execution.get("processes") or 1):
        raise ConfigError(
            f"{execution['processes']} processes were asked for, and there are devices for {world}. "
            "One process uses all cores of a CPU: set processes to 1."
        )
    micro, scarce = fit(
        config.batch_size,
        world,
        int(execution.get("micro_batch_size") or config.micro_batch_size),
        _shape(model, 2 if low else 4),
        max(lengths),
        psutil.virtual_memory().available / world if on_cpu else torch.cuda.mem_get_info()[0],
        on_cpu,
    )
    recompute = config.gradient_checkpointing
    recompute = scarce or bool(execution.get("recompute")) if recompute is None else recompute
    settings: dict[str, Any] = {
        "output_dir": str(out / files.CHECKPOINTS),
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": config.batch_size // (micro * world),
        "gradient_checkpointing": recompute,
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": config.warmup_updates,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_updates or -1,
        "weight_decay": config.weight_decay,
        "optim": config.optimizer,
        "max_length": config.max_length,
        "bf16": low,
        "use_cpu": on_cpu,
        "seed": seed,
        "dataset_kwargs": {"skip_prepare_dataset": not config.args.get("packing")},
        "eval_strategy": "no" if held is None else "epoch",
        "eval_on_start": held is not None and not job.get("resume"),
        "prediction_loss_only": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "save_total_limit": 2,  # the one before stays until the new one is marked complete
        "disable_tqdm": True,
        "report_to": "none",
        "dataloader_pin_memory": not on_cpu,
    }
    told = Told(out, float(execution.get("checkpoint_every", 2.0)) * 60, job["digest"])
    trainer = UpdateTrainer(
        model=model,
        args=trl.SFTConfig(**{**settings, **config.args}),
        train_dataset=rows,
        eval_dataset=held,
        processing_class=renderer.tokenizer,
        peft_config=_lora(config, place),
        callbacks=[told],
        rows_per_update=config.batch_size,
    )
    if on_cpu:
        faster_on_cpu(trainer.model, low and not recompute)
    told.tell(
        event="start", device=device, micro_batch_size=micro, gradient_checkpointing=recompute
    )
    trainer.train(resume_from_checkpoint=job.get("resume") or None)
    if config.lora is None and world == 1:
        trainer.model.to(_stored_dtype(path, place))
    trainer.save_model(str(out / MODEL))
    history = trainer.state.log_history
    if _rank() == 0:
        for name in ("training_args.bin", "README.md"):
            (out / MODEL / name).unlink(missing_ok=True)
        renderer.save(out / MODEL)
        files.tidy_generation_config(out / MODEL)
        files.write_curves(_by_update(history), out / CURVES)
    held_losses = {int(e["step"]): float(e["eval_loss"]) for e in history if "eval_loss" in e}
    return {
        "updates": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "rows": len(lengths),
        "tokens": round(sum(lengths) * (trainer.state.epoch or 0)),
        "loss": next((float(e["loss"]) for e in reversed(history) if "loss" in e), None),
        "validation_loss_before": held_losses.get(0),
        "validation_loss": held_losses[max(held_losses)] if held_losses else None,
        "trained_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "seconds": round(time.monotonic() - began, 2),
        "execution": {
            "device": device,
            "processes": world,
            "micro_batch_size": micro,
            "gradient_checkpointing": recompute,
            "resumed_from": told.resumed_from,
        },
    }


def merge(job: Mapping[str, JSON], out: Path) -> dict[str, JSON]:
    """Base plus `scale` times the adapter, summed in float32 and stored in the base's dtype."""
    began = time.monotonic()
    source, place = _place(job["start"])
    config, adapter, base = job["config"], None, source
    if (Path(source) / "adapter_config.json").is_file():
        adapter = peft.PeftConfig.from_pretrained(source)
        base, place = _place(str(adapter.base_model_name_or_path))
        if adapter.revision and not Path(base).is_dir():
            place["revision"] = adapter.revision
    dtype: Any = torch.float32 if adapter else "auto"
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=dtype, **place)
    if adapter:
        model = peft.PeftModel.from_pretrained(model, source)
        for module in model.modules():
            if isinstance(module, peft.tuners.lora.LoraLayer):
                module.scale_layer(float(config.get("scale", 1.0)))
        model = model.merge_and_unload(safe_merge=True).to(_stored_dtype(base, place))
    shutil.rmtree(out / MODEL, ignore_errors=True)
    # The base's may hold what transformers refuses to save; ours is written below.
    model.generation_config = transformers.GenerationConfig()
    model.save_pretrained(str(out / MODEL), max_shard_size=config.get("max_shard_size") or "4GB")
    Renderer(job["start"]).save(out / MODEL)
    files.tidy_generation_config(out / MODEL)
    if config.get("card"):
        (out / MODEL / "README.md").write_text(str(config["card"]), encoding="utf-8")
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
        "seconds": round(time.monotonic() - began, 2),
    }


class UpdateTrainer(trl.SFTTrainer):  # type: ignore[misc]
    """TRL's, with our order of rows and no model card in checkpoints. `rows_per_update` is the
    global batch."""

    def __init__(self, *args: Any, rows_per_update: int, **kwargs: Any) -> None:
        self._rows_per_update = rows_per_update
        super().__init__(*args, **kwargs)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(ids) for ids in rows["input_ids"]]
        return ByUpdate(lengths, self._rows_per_update, self.args.seed)

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """None: a checkpoint is not a model to publish."""


class Told(transformers.TrainerCallback):  # type: ignore[misc]
    """Writes progress.jsonl, asks for a checkpoint every so many seconds (0: every update) and when
    told to stop, and marks each one complete."""

    def __init__(self, out: Path, seconds: float, digest: str) -> None:
        self.out, self.seconds, self.digest = out, seconds, digest
        self.resumed_from: int | None = None
        self._saved = self._clock = time.monotonic()
        self._tokens, self._stopping = 0.0, False

    def tell(self, **event: JSON) -> None:
        if _rank() == 0:
            with (self.out / files.PROGRESS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._saved = self._clock = time.monotonic()
        self.resumed_from = state.global_step or None
        self.tell(event="training", update=state.global_step, updates=state.max_steps)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs, now = kwargs.get("logs") or {}, time.monotonic()
        event = {"update": state.global_step, "updates": state.max_steps, "epoch": state.epoch}
        if "loss" in logs:
            tokens = float(logs.get("num_tokens", self._tokens))
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

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        due = time.monotonic() - self._saved >= self.seconds and state.global_step < state.max_steps
        self._stopping, due = _agreed((self.out / files.STOP).exists(), due)
        control.should_save = control.should_save or self._stopping or due

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            files.complete(folder, state.global_step, self.digest)
            self.tell(event="checkpoint", update=state.global_step, updates=state.max_steps)
        self._saved = self._clock = time.monotonic()
        if self._stopping:
            raise StopRequested


def faster_on_cpu(model: Any, low: bool) -> None:
    """Equal computations at less cost.

    The loss head scores only positions that have a label, as TRL does on a GPU (elsewhere it scores
    all). With `low` (bfloat16, nothing recomputed), adapters take their input as it is instead of a
    float32 copy that autocast would round back at once, and their dropout draws its masks in bulk.
    """
    if hasattr(trl.trainer.utils, "_use_triton"):
        labelled_only: Callable[[Any], bool] = lambda device: True  # noqa: E731
        trl.trainer.utils._use_triton = labelled_only
    for module in model.modules() if low else ():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = False
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


def _lora(config: SftOptions, place: Mapping[str, Any]) -> Any:
    if config.lora is None:
        return None
    return peft.LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        revision=place.get("revision"),
    )


def _shape(model: Any, bytes_per_value: int) -> Shape:
    text = model.config.get_text_config()
    hidden = int(text.hidden_size)
    inner = getattr(text, "intermediate_size", None) or 4 * hidden
    inner = max(inner) if isinstance(inner, list | tuple) else int(inner)
    heads = int(text.num_attention_heads)
    return Shape(int(text.num_hidden_layers), hidden, inner, heads, bytes_per_value)


def _rows(path: Path) -> Any:
    """A Parquet file as a `datasets.Dataset` in memory, no cache on disk; None when not there."""
    if not path.is_file():
        return None
    import pyarrow.parquet as pq
    from datasets import Dataset
    from datasets.table import InMemoryTable

    return Dataset(InMemoryTable(pq.read_table(path, columns=["input_ids", "labels"])))


def _by_update(history: Sequence[Mapping[str, Any]]) -> list[dict[str, JSON]]:
    """The trainer's log, one row an update. A resumed run may have logged an update twice: the
    later one counts."""
    names = {"epoch": "epoch", "loss": "loss", "learning_rate": "learning_rate"}
    names["eval_loss"] = "validation_loss"
    rows: dict[int, dict[str, JSON]] = {}
    for entry in history:
        row = rows.setdefault(int(entry["step"]), {"update": int(entry["step"])})
        row.update({ours: float(entry[name]) for name, ours in names.items() if name in entry})
    return [row for _, row in sorted(rows.items())]


def _place(path: str) -> tuple[str, dict[str, Any]]:
    """How transformers is told where a model is: an absolute directory, or a name on the hub."""
    if Path(path).is_dir():
        return str(Path(path).resolve()), {"local_files_only": True}
    name, _, revision = path.partition("@")
    return name, {"revision": revision} if revision else {}


def _stored_dtype(path: str, place: Mapping[str, Any]) -> torch.dtype:
    """What a model's weights are stored in, by its config; float32 where it does not say."""
    dtype = transformers.AutoConfig.from_pretrained(path, **place).dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def _agreed(*flags: bool) -> tuple[bool, ...]:
    """What the first process sees: saving is collective, so all must do it at the same update."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return flags
    from accelerate.utils import broadcast_object_list

    return tuple(broadcast_object_list(list(flags)))


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or "not enough memory" in text
        or "out of memory" in text
        or "can't allocate memory" in text
    )


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _fail(out: Path, kind: str, message: str) -> int:
    with contextlib.suppress(OSError):  # no room for it either: the parent looks at the disk
        if not (out / files.ERROR).exists():
            write_json(out / files.ERROR, {"kind": kind, "message": message})
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
