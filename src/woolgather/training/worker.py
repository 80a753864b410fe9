"""The launched program: trains or merges what a job file says, and leaves its result beside it.

The one idea: TRL does the training, and everything that decides what comes out arrives as data. Rows
come with token ids and labels, so nothing is rendered, tokenized or cut here. The rows of an update
are the same for any number of devices and any micro-batch: each epoch's order follows from the seed,
is cut into global batches, and only within one are rows sorted by length.

    python -m woolgather.training.worker JOB.json      (`launch.py` writes the file and starts this)

Leaves in the job's `out`: model/, curves.parquet, result.json (last), or error.json; progress.jsonl
as it goes; checkpoints/, each marked complete by a file written last. Started by name, imported by
nobody but tests.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from woolgather.children import watch_parent
from woolgather.errors import ConfigError, WoolgatherError
from woolgather.records import JSON
from woolgather.storage import write_json
from woolgather.training.job import CURVES, MODEL, RESULT, SftOptions

MARKER = "complete.json"
"""In a checkpoint, written last: its update and the digest of its job."""
PROGRESS, ERROR, STOP = "progress.jsonl", "error.json", "stop"
CHECKPOINTS = "checkpoints"
CPU_ROWS, GPU_ROWS = 4, 16
"""Rows at once, at most. On a CPU more rows leave its caches and only add padding: 16 rows of 150
tokens took 2.4 times as long at once as by fours."""
MEMORY_SHARE = 0.6
"""Of the free memory that activations may take."""


class StopRequested(Exception):
    """Asked to stop; a checkpoint has been written."""


def main(argv: Sequence[str]) -> int:
    watch_parent()
    job = json.loads(Path(argv[0]).read_text(encoding="utf-8"))
    out = Path(job["out"])
    try:
        result = train(job, out) if job["kind"] == "sft" else merge(job, out)
    except StopRequested:
        return _fail(out, "stopped", "stopped as asked; a checkpoint was written")
    except WoolgatherError as error:
        return _fail(out, "mistake", str(error))
    except Exception as error:  # whatever it is, the parent has to say it in a sentence
        traceback.print_exc()
        kind = "memory" if _is_out_of_memory(error) else "error"
        return _fail(out, kind, f"{type(error).__name__}: {error}".splitlines()[0])
    if _rank() == 0:
        write_json(out / RESULT, result)
    return 0


def train(job: dict[str, JSON], out: Path) -> dict[str, JSON]:
    """Supervised fine-tuning of the job's start model on its token ids."""
    import peft
    import torch
    import transformers
    from trl import SFTConfig

    from woolgather.tokens import Renderer
    from woolgather.training.sft_trainer import Told, UpdateTrainer, faster_on_cpu

    began = time.monotonic()
    config = SftOptions.model_validate(job["config"])
    execution, seed = job["execution"], int(job["seed"])
    path, place = _place(job["start"]["path"])
    if (Path(path) / "adapter_config.json").is_file():
        raise ConfigError(
            f"{path} is an adapter; training starts from full weights. Merge it first (ops.merge)."
        )
    on_cpu = bool(execution.get("cpu")) or not torch.cuda.is_available()
    low = config.precision != "float32"
    # A trained weight needs float32 to take small steps; a frozen one does not.
    dtype = torch.bfloat16 if low and config.lora else torch.float32
    transformers.set_seed(seed)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=dtype, **place)
    stored = _stored_dtype(model)
    renderer = Renderer(job["start"]["path"])
    tokenizer = renderer.tokenizer
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = renderer.eos_token
    rows, held = (_rows(Path(job["data"]) / f"{n}.parquet") for n in ("train", "validation"))
    assert rows is not None
    lengths = [len(ids) for ids in rows["input_ids"]]
    world = int(os.environ.get("WORLD_SIZE", "1"))
    micro, checkpointing = _fit(config, model, max(lengths), world, on_cpu, execution)
    settings: dict[str, Any] = {
        "output_dir": str(out / CHECKPOINTS),
        "per_device_train_batch_size": micro,
        "per_device_eval_batch_size": micro,
        "gradient_accumulation_steps": config.batch_size // (micro * world),
        "gradient_checkpointing": checkpointing,
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
        "eval_strategy": "epoch" if held is not None else "no",
        "eval_on_start": held is not None and not job.get("resume"),
        "prediction_loss_only": True,
        "logging_steps": 1,
        "save_strategy": "no",
        # The one before stays until the new one is marked complete.
        "save_total_limit": 2,
        "save_only_model": False,
        "disable_tqdm": True,
        "report_to": "none",
        "dataloader_pin_memory": not on_cpu,
    }
    lora = config.lora and peft.LoraConfig(
        r=config.lora.r,
        lora_alpha=config.lora.alpha,
        lora_dropout=config.lora.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        revision=place.get("revision"),
    )
    every = float(execution.get("checkpoint_every", 2.0))
    told = Told(out, every, job["digest"])
    trainer = UpdateTrainer(
        model=model,
        args=SFTConfig(**{**settings, **config.args}),
        train_dataset=rows,
        eval_dataset=held,
        processing_class=tokenizer,
        peft_config=lora or None,
        callbacks=[told],
        rows_per_update=config.batch_size,
    )
    if on_cpu:
        faster_on_cpu(trainer.model, low)
    told.start(micro, checkpointing, "cpu" if on_cpu else torch.cuda.get_device_name())
    trainer.train(resume_from_checkpoint=job.get("resume") or None)
    if lora is None and world == 1:
        trainer.model.to(stored)
    model_dir = out / MODEL
    trainer.save_model(str(model_dir))
    state = trainer.state
    if _rank() == 0:
        for name in ("training_args.bin", "README.md"):
            (model_dir / name).unlink(missing_ok=True)
        renderer.save(model_dir)
        tidy_generation_config(model_dir)
        _write_curves(state.log_history, out / CURVES)
    losses = [(e["step"], e["eval_loss"]) for e in state.log_history if "eval_loss" in e]
    return {
        "updates": state.global_step,
        "epochs": state.epoch,
        "rows": len(lengths),
        "tokens": round(sum(lengths) * (state.epoch or 0)),
        "loss": next((e["loss"] for e in reversed(state.log_history) if "loss" in e), None),
        "validation_loss": losses[-1][1] if losses else None,
        "validation_loss_before": losses[0][1] if losses and losses[0][0] == 0 else None,
        "trained_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        "seconds": round(time.monotonic() - began, 2),
        "execution": {
            "device": "cpu" if on_cpu else torch.cuda.get_device_name(),
            "processes": world,
            "micro_batch_size": micro,
            "gradient_checkpointing": checkpointing,
            "resumed_from": told.resumed_from,
        },
    }


def merge(job: dict[str, JSON], out: Path) -> dict[str, JSON]:
    """Base plus `scale` times the adapter, summed in float32 and stored in the base's dtype."""
    import peft
    import torch
    import transformers

    from woolgather.tokens import Renderer

    began = time.monotonic()
    source, place = _place(job["start"]["path"])
    config, target = job["config"], out / MODEL
    shutil.rmtree(target, ignore_errors=True)
    if (Path(source) / "adapter_config.json").is_file():
        adapter = peft.PeftConfig.from_pretrained(source)
        base, place = _place(str(adapter.base_model_name_or_path))
        if adapter.revision and not Path(base).is_dir():
            place["revision"] = adapter.revision
    else:
        adapter, base = None, source
    dtype: Any = torch.float32 if adapter else "auto"
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=dtype, **place)
    if adapter:
        stored = _stored_dtype(model)
        model = peft.PeftModel.from_pretrained(model, source)
        for module in model.modules():
            if isinstance(module, peft.tuners.lora.LoraLayer):
                module.scale_layer(float(config.get("scale", 1.0)))
        model = model.merge_and_unload(safe_merge=True).to(stored)
    model.generation_config = transformers.GenerationConfig()
    model.save_pretrained(str(target), max_shard_size=config.get("max_shard_size") or "4GB")
    Renderer(job["start"]["path"]).save(target)
    tidy_generation_config(target)
    if config.get("card"):
        (target / "README.md").write_text(str(config["card"]), encoding="utf-8")
    return {
        "updates": 0,
        "seconds": round(time.monotonic() - began, 2),
        "parameters": sum(p.numel() for p in model.parameters()),
        "dtype": str(next(model.parameters()).dtype).removeprefix("torch."),
    }


def tidy_generation_config(model_dir: Path) -> None:
    """Sampling defaults without `do_sample` only make transformers warn: they go."""
    path = model_dir / "generation_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings.pop("_from_model_config", None)
    settings.pop("output_attentions", None)
    if not settings.get("do_sample"):
        for name in ("temperature", "top_p", "top_k", "min_p", "typical_p"):
            settings.pop(name, None)
    write_json(path, settings)


class ByUpdate:
    """Sampler: a new order each epoch that follows from the seed, cut into updates, and the rows of
    an update sorted by length (longest first, so that memory runs out at once or never)."""

    def __init__(self, lengths: Sequence[int], rows_per_update: int, seed: int) -> None:
        self.lengths, self.rows_per_update, self.seed, self.epoch = (
            lengths,
            rows_per_update,
            seed,
            0,
        )

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self.lengths)))
        random.Random(f"{self.seed}:{self.epoch}").shuffle(order)
        for start in range(0, len(order), self.rows_per_update):
            update = order[start : start + self.rows_per_update]
            yield from sorted(update, key=lambda i: (-self.lengths[i], i))


def _fit(
    config: SftOptions, model: Any, longest: int, world: int, on_cpu: bool, execution: JSON
) -> tuple[int, bool]:
    """Rows on a device at once, and whether activations are recomputed: what memory allows."""
    if config.batch_size % world:
        raise ConfigError(
            f"batch_size {config.batch_size} cannot be shared by {world} processes: "
            "choose a multiple."
        )
    share = config.batch_size // world
    wanted = int(execution.get("micro_batch_size") or config.micro_batch_size)
    if wanted and share % wanted:
        raise ConfigError(
            f"micro_batch_size {wanted} does not divide the {share} rows a device has in an update."
        )
    text = model.config.get_text_config()
    hidden = int(text.hidden_size)
    inner = int(getattr(text, "intermediate_size", None) or 4 * hidden)
    # Bytes of bfloat16 activations kept for the backward pass, adapters' inputs included; attention
    # may keep its scores. Rough on purpose: a wrong guess is halved when memory runs out.
    per_token = int(text.num_hidden_layers) * 2 * (20 * hidden + 6 * inner)
    scores = int(text.num_hidden_layers) * int(text.num_attention_heads) * longest * 4
    row = longest * (per_token + scores) * (1 if config.precision != "float32" else 2)
    room = MEMORY_SHARE * _free_memory(on_cpu) / max(1, world if on_cpu else 1)
    fitting = max(1, int(room / row))
    micro = wanted or max(
        m
        for m in range(1, min(share, CPU_ROWS if on_cpu else GPU_ROWS) + 1)
        if share % m == 0 and (m <= fitting or m == 1)
    )
    forced = execution.get("gradient_checkpointing")
    chosen = config.gradient_checkpointing if forced is None else forced
    return micro, row * micro > room if chosen is None else bool(chosen)


def _free_memory(on_cpu: bool) -> float:
    if on_cpu:
        import psutil

        return float(psutil.virtual_memory().available)
    import torch

    return float(torch.cuda.mem_get_info()[0])


def _rows(path: Path) -> Any:
    """A Parquet file as a `datasets.Dataset` in memory, no cache on disk; None when not there."""
    if not path.is_file():
        return None
    import pyarrow.parquet as pq
    from datasets import Dataset
    from datasets.table import InMemoryTable

    return Dataset(InMemoryTable(pq.read_table(path, columns=["input_ids", "labels"])))


def _write_curves(history: Sequence[dict[str, Any]], path: Path) -> None:
    by_update: dict[int, dict[str, float]] = {}
    for entry in history:
        found = by_update.setdefault(int(entry["step"]), {})
        for name, ours in (
            ("epoch", "epoch"),
            ("loss", "loss"),
            ("learning_rate", "learning_rate"),
            ("eval_loss", "validation_loss"),
        ):
            if name in entry:
                found[ours] = float(entry[name])
    write_curves([{"update": update, **row} for update, row in sorted(by_update.items())], path)


def write_curves(rows: Sequence[dict[str, JSON]], path: Path) -> None:
    """Rows by update with the columns that `CURVES` names; what a row lacks is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = ["epoch", "loss", "learning_rate", "validation_loss"]
    shape = pa.schema([("update", pa.int64()), *((n, pa.float64()) for n in numbers)])
    pq.write_table(pa.Table.from_pylist(list(rows), schema=shape), path, compression="zstd")


def _place(path: str) -> tuple[str, dict[str, Any]]:
    """How transformers is told where a model is: an absolute directory, or a name on the hub."""
    if Path(path).is_dir():
        return str(Path(path).resolve()), {"local_files_only": True}
    name, _, revision = path.partition("@")
    return name, {"revision": revision} if revision else {}


def _stored_dtype(model: Any) -> Any:
    """The dtype its weights are stored in on disk, whatever they were loaded as."""
    from transformers import AutoConfig

    source = model.config._name_or_path
    config = AutoConfig.from_pretrained(
        source, revision=getattr(model.config, "_commit_hash", None)
    )
    return config.dtype or model.dtype


def _is_out_of_memory(error: BaseException) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "not enough memory" in text
        or "out of memory" in text
    )


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _fail(out: Path, kind: str, message: str) -> int:
    if not (out / ERROR).exists():
        write_json(out / ERROR, {"kind": kind, "message": message})
    return 75 if kind == "stopped" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
