"""What all training shares: the model in its precision, how many rows at once, TRL's settings, the end.

The one idea: what a job says is taken as it is; what a machine allows (rows at once, recomputed
activations) is found here and is told in the result.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import peft
import psutil
import torch
import transformers

from woolgather.core.errors import ConfigError
from woolgather.core.machine_speed import auto_precision
from woolgather.core.rows import JSON
from woolgather.prompting.renderer import Renderer
from woolgather.training.batches import Shape, fit
from woolgather.training.checkpoints import CHECKPOINTS, tidy_generation_config, write_curves
from woolgather.training.job import CURVES, MODEL, DpoOptions, SftOptions
from woolgather.training.worker.speed import faster_on_cpu
from woolgather.training.worker.told import Told, by_update, rank

C = TypeVar("C", SftOptions, DpoOptions)


@dataclass
class Setup(Generic[C]):
    """A training that is ready but for its trainer."""

    job: Mapping[str, JSON]
    out: Path
    config: C
    model: Any
    renderer: Renderer
    settings: dict[str, Any]
    """Fields of TRL's config; a kind of training adds its own, and the user's `args` come last."""
    told: Told
    lengths: Sequence[int]
    """Tokens of the longest sequence of each row."""
    began: float
    device: str
    on_cpu: bool
    low: bool
    """Computes in bfloat16."""
    micro: int
    recompute: bool
    world: int
    plain: str | None
    """Why the base is not in 4 bits although it was asked for; "" when it is, None when not asked."""

    @property
    def dtype(self) -> torch.dtype:
        """Precision of weights in memory. A weight that is trained needs float32 to take small steps; a
        frozen one does not."""
        return torch.bfloat16 if self.low and self.config.lora else torch.float32


def prepare_training(
    job: Mapping[str, JSON],
    out: Path,
    config: C,
    lengths: Sequence[int],
    *,
    validated: bool,
    sequences: int = 1,
) -> Setup[C]:
    """The model loaded and the settings made; `sequences` is how many a row has."""
    began = time.monotonic()
    execution, seed = job["execution"], int(job["seed"])
    path, place = place_of(job["start"])
    if (Path(path) / "adapter_config.json").is_file():
        raise ConfigError(
            f"{path} is an adapter, and training starts from full weights: merge it first."
        )
    on_cpu = bool(execution.get("cpu")) or not torch.cuda.is_available()
    precision = config.precision
    if precision == "auto":  # a job of no run, which would have said what it is
        precision = auto_precision("cpu" if on_cpu else "cuda", "training") or "float32"
    low = precision == "bfloat16"
    dtype = torch.bfloat16 if low and config.lora else torch.float32
    transformers.set_seed(seed)
    plain = _why_not_four_bit(config, on_cpu)
    quantized = _four_bits() if plain == "" else {}
    model = transformers.AutoModelForCausalLM.from_pretrained(
        path, dtype=dtype, **quantized, **place
    )
    renderer = Renderer(job["start"])
    if renderer.tokenizer.pad_token_id is None:
        renderer.tokenizer.pad_token = renderer.eos_token
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
        sequences,
    )
    recompute = config.gradient_checkpointing
    recompute = scarce or bool(execution.get("recompute")) if recompute is None else recompute
    settings: dict[str, Any] = {
        "output_dir": str(out / CHECKPOINTS),
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
        "bf16": low,
        "use_cpu": on_cpu,
        "seed": seed,
        "eval_strategy": "epoch" if validated else "no",
        "eval_on_start": validated and not job.get("resume"),
        "prediction_loss_only": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "save_total_limit": 2,  # the one before stays until the new one is marked complete
        "disable_tqdm": True,
        "report_to": "none",
        "dataloader_pin_memory": not on_cpu,
    }
    told = Told(out, float(execution.get("checkpoint_every", 2.0)) * 60, job["digest"])
    device = "cpu" if on_cpu else torch.cuda.get_device_name()
    return Setup(
        job, out, config, model, renderer, settings, told, lengths, began, device, on_cpu, low,
        micro, recompute, world, plain,
    )  # fmt: skip


def carry_out(setup: Setup[Any], trainer: Any, tokens: int) -> dict[str, JSON]:
    """Trains and saves; what result.json says. `tokens` are those of an epoch."""
    config, out = setup.config, setup.out
    if setup.on_cpu:
        faster_on_cpu(trainer.model, setup.low, setup.recompute)
    setup.told.tell(
        event="start",
        device=setup.device,
        micro_batch_size=setup.micro,
        gradient_checkpointing=setup.recompute,
    )
    trainer.train(resume_from_checkpoint=setup.job.get("resume") or None)
    if config.lora is None and setup.world == 1:
        trainer.model.to(read_stored_dtype(*place_of(setup.job["start"])))
    trainer.save_model(str(out / MODEL))
    history = trainer.state.log_history
    if rank() == 0:
        for name in ("training_args.bin", "README.md"):
            (out / MODEL / name).unlink(missing_ok=True)
        setup.renderer.save(out / MODEL)
        tidy_generation_config(out / MODEL)
    held_losses = {int(e["step"]): float(e["eval_loss"]) for e in history if "eval_loss" in e}
    return {
        "updates": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "rows": len(setup.lengths),
        "tokens": round(tokens * (trainer.state.epoch or 0)),
        "loss": next((float(e["loss"]) for e in reversed(history) if "loss" in e), None),
        "validation_loss_before": held_losses.get(0),
        "validation_loss": held_losses[max(held_losses)] if held_losses else None,
        "trained_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "seconds": round(time.monotonic() - setup.began, 2),
        "execution": {
            "device": setup.device,
            "precision": "bfloat16" if setup.low else "float32",
            "processes": setup.world,
            "micro_batch_size": setup.micro,
            "gradient_checkpointing": setup.recompute,
            "resumed_from": setup.told.resumed_from,
            **({"not_in_four_bits": setup.plain} if setup.plain else {}),
            **({"base_bits": 4} if setup.plain == "" else {}),
        },
    }


def curves(
    trainer: Any, out: Path, more: Mapping[str, tuple[str, float]] | None = None
) -> list[dict[str, JSON]]:
    """The trainer's log by update, written to `out`. `more` are names in the log beyond the usual
    ones, with ours and a factor."""
    rows = by_update(trainer.state.log_history, more or {})
    if rank() == 0:
        write_curves(rows, out / CURVES, [ours for ours, _ in (more or {}).values()])
    return rows


def lora(config: SftOptions | DpoOptions, place: Mapping[str, Any]) -> Any:
    """The adapter to train; None where all weights are."""
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


def rows_of(job: Mapping[str, JSON], name: str, columns: Sequence[str]) -> Any:
    """A Parquet file of the job's as a `datasets.Dataset` in memory, no cache on disk; None when
    not there."""
    path = Path(job["data"]) / f"{name}.parquet"
    if not path.is_file():
        return None
    import pyarrow.parquet as pq
    from datasets import Dataset
    from datasets.table import InMemoryTable

    return Dataset(InMemoryTable(pq.read_table(path, columns=list(columns))))


def place_of(path: str) -> tuple[str, dict[str, Any]]:
    """How transformers is told where a model is: an absolute directory, or a name on the hub."""
    if Path(path).is_dir():
        return str(Path(path).resolve()), {"local_files_only": True}
    name, _, revision = path.partition("@")
    return name, {"revision": revision} if revision else {}


def read_stored_dtype(path: str, place: Mapping[str, Any]) -> torch.dtype:
    """What a model's weights are stored in, by its config; float32 where it does not say."""
    dtype = transformers.AutoConfig.from_pretrained(path, **place).dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def _why_not_four_bit(config: SftOptions | DpoOptions, on_cpu: bool) -> str | None:
    """Why the base is not in 4 bits although it was asked for; "" when it is, None when not asked."""
    if config.lora is None or not config.lora.four_bit:
        return None
    if on_cpu:
        return "4 bits are for GPUs, and this is none"
    if importlib.util.find_spec("bitsandbytes") is None:
        return "bitsandbytes is not installed"
    return ""


def _four_bits() -> dict[str, Any]:
    """How transformers is told to load a base as QLoRA does (arXiv 2305.14314)."""
    return {
        "quantization_config": transformers.BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
        "device_map": {"": int(os.environ.get("LOCAL_RANK", "0"))},
    }


def _shape(model: Any, bytes_per_value: int) -> Shape:
    text = model.config.get_text_config()
    hidden = int(text.hidden_size)
    inner = getattr(text, "intermediate_size", None) or 4 * hidden
    inner = max(inner) if isinstance(inner, list | tuple) else int(inner)
    heads = int(text.num_attention_heads)
    return Shape(int(text.num_hidden_layers), hidden, inner, heads, bytes_per_value)
