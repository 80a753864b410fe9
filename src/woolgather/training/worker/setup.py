"""What all training shares: the model in its precision, how many rows at once, TRL's settings, the end.

The one idea: what a job says is taken as it is; what a machine allows (rows at once, recomputed
activations) is found here and is told in the result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
import transformers

from woolgather.core.errors import ConfigError
from woolgather.core.rows import JSON
from woolgather.prompting.renderer import Renderer
from woolgather.training.batches import share_out
from woolgather.training.checkpoints import CHECKPOINTS, tidy_generation_config, write_curves
from woolgather.training.job import CURVES, MODEL, DpoOptions, SftOptions
from woolgather.training.job_file import WorkerJob
from woolgather.training.memory import TrainingSize
from woolgather.training.model_shape import shape_of
from woolgather.training.trackers import step_of
from woolgather.training.worker.adapter import UntrainedEnd, find_untrained_end
from woolgather.training.worker.devices.machine import Machine, find_machine
from woolgather.training.worker.devices.processes import (
    check_layout,
    check_same_rows,
    count_values,
    rank,
)
from woolgather.training.worker.dropout import set_dropout
from woolgather.training.worker.keeping import Keeper, save_model
from woolgather.training.worker.speed import faster_on_cpu
from woolgather.training.worker.stop_test import Answered, ask_to_stop
from woolgather.training.worker.told import Told, by_update
from woolgather.training.worker.weights.four_bits import in_four_bits, note_replies
from woolgather.training.worker.weights.places import Place, place_of

if TYPE_CHECKING:
    from datasets import Dataset

C = TypeVar("C", SftOptions, DpoOptions)


@dataclass(frozen=True)
class Setup(Generic[C]):
    """A training that is ready but for its trainer."""

    job: WorkerJob
    config: C
    machine: Machine
    model: transformers.PreTrainedModel
    renderer: Renderer
    args: transformers.TrainingArguments
    """TRL's config: the job's settings, those of its kind, and the user's `args` last."""
    recompute: bool
    """Whether activations are recomputed to save memory."""
    told: Told
    rows: int
    """Rows that are trained on."""
    began: float
    """`time.monotonic` before anything was loaded."""
    untrained_end: UntrainedEnd | None = None
    """The end token, where an adapter alone could not teach it."""
    own_dropout: Mapping[str, float] = field(default_factory=dict)
    """What the model's config had where `dropout` has set another value."""

    def finish_folder(self, folder: Path) -> None:
        """Write what belongs beside saved weights, and give a config its own dropout back."""
        self.renderer.save(folder)
        tidy_generation_config(folder)
        if self.own_dropout:
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            config.get_text_config().update(self.own_dropout)
            config.save_pretrained(folder)


AnySetup = Setup[SftOptions] | Setup[DpoOptions]


def prepare_training(
    job: WorkerJob,
    config: C,
    lengths: Sequence[int],
    make_args: Callable[[Mapping[str, object]], transformers.TrainingArguments],
    *,
    validated: bool,
) -> Setup[C]:
    """Make the settings of a training and load its model.

    `lengths` are the tokens of the longest sequence of each row, `make_args` makes TRL's config of the
    settings, `validated` says whether rows are held back. Raises ConfigError where the job cannot be
    carried out here: an adapter as start, too few devices, a batch that cannot be shared out, processes
    that were given different rows."""
    began = time.monotonic()
    # Before the first product: what a CPU's threads do with numbers below 1e-38 they take over from the
    # thread that starts them, and a product that holds many takes 100 times as long.
    torch.set_flush_denormal(True)
    machine = find_machine(job.execution, config)
    transformers.set_seed(job.seed)
    settings, own_dropout = _read_config(job.start.path, config)
    micro, scarce = _choose_rows(job, config, machine, settings, max(lengths))
    recompute = config.gradient_checkpointing
    if recompute is None:
        recompute = scarce or job.execution.recompute
    # Before the model: ZeRO-3 and FSDP share weights out while they are read, once this says so.
    args = make_args(
        {
            **_trl_settings(job, config, machine),
            "per_device_train_batch_size": micro,
            "per_device_eval_batch_size": micro,
            "gradient_accumulation_steps": config.batch_size // (micro * machine.processes),
            "gradient_checkpointing": recompute,
            "eval_strategy": ("steps" if config.validate_every else "epoch") if validated else "no",
            "eval_steps": config.validate_every,
            "eval_on_start": validated and not job.resume,
        }
    )
    check_same_rows(job.data, job.digest)
    model = _load_start(job.start.path, settings, machine, config)
    renderer = Renderer.of(job.start)
    if renderer.tokenizer.pad_token_id is None:
        renderer.tokenizer.pad_token = renderer.eos_token
    return Setup(
        job=job,
        config=config,
        machine=machine,
        model=model,
        renderer=renderer,
        args=args,
        recompute=recompute,
        told=Told(job.out, job.execution.checkpoint_every * 60, job.digest),
        rows=len(lengths),
        began=began,
        untrained_end=find_untrained_end(model, renderer) if config.lora else None,
        own_dropout=own_dropout,
    )


def _choose_rows(
    job: WorkerJob,
    config: SftOptions | DpoOptions,
    machine: Machine,
    settings: transformers.PretrainedConfig,
    tokens: int,
) -> tuple[int, bool]:
    """Returns how many rows a device takes at once, and whether memory is too scarce to keep their
    activations."""
    wanted = job.execution.micro_batch_size or config.micro_batch_size
    share = share_out(config.batch_size, machine.processes, wanted)
    shape = shape_of(settings.get_text_config().to_dict())
    if shape is None:  # an architecture with names of its own
        return wanted or 1, False
    size = TrainingSize(
        shape,
        config,
        machine.precision,
        tokens,
        on_cpu=machine.on_cpu,
        sharding=machine.sharding,
        devices=machine.processes,
        micro_batch_size=wanted,
    )
    return size.rows_at_once(share, machine.free_bytes - size.fixed().total)


def weights_dtype(machine: Machine, config: SftOptions | DpoOptions) -> torch.dtype:
    """Returns the precision of weights in memory. A weight that is trained needs float32 to take small
    steps; a frozen one does not, nor one of which DeepSpeed's optimizer has a float32 master."""
    masters = machine.sharding in ("zero2", "zero3")
    return torch.bfloat16 if machine.low and (config.lora or masters) else torch.float32


def carry_out(
    setup: AnySetup, trainer: transformers.Trainer, rows: Sequence[Answered], tokens: int
) -> dict[str, JSON]:
    """Train, save, and ask what was made whether it stops; `rows` are prompts with their replies, some
    of which are asked, and `tokens` those of an epoch. Returns what result.json says."""
    job, machine = setup.job, setup.machine
    check_layout(job.execution, trainer.accelerator)
    keeper = Keeper(setup, trainer)
    trainer.add_callback(keeper)
    if machine.on_cpu:
        faster_on_cpu(trainer.model, machine.low, setup.recompute)
    here: dict[str, JSON] = {
        "device": machine.device,
        "micro_batch_size": setup.args.per_device_train_batch_size,
        "gradient_checkpointing": setup.recompute,
    }
    trained = sum(map(count_values, filter(lambda p: p.requires_grad, trainer.model.parameters())))
    setup.told.tell(event="start", **here)
    trainer.train(resume_from_checkpoint=job.resume)
    kept_update = keeper.take_best()
    save_model(setup, trainer, job.out / MODEL)
    whole = rank() == 0 and machine.sharding == "ddp"
    if whole and machine.quantized:
        note_replies(trainer.model, rows, job.out / MODEL)
    stops = ask_to_stop(setup, trainer.model, rows) if whole else {}
    history = trainer.state.log_history
    held_losses = {int(e["step"]): float(e["eval_loss"]) for e in history if "eval_loss" in e}
    last_update = kept_update or max(held_losses, default=0)
    execution = {
        **here,
        "precision": machine.precision,
        "processes": machine.processes,
        "sharding": machine.sharding,
        "resumed_from": setup.told.resumed_from,
    }
    if machine.quantized:
        execution["base_bits"] = 4
    if machine.not_quantized_because:
        execution["not_in_four_bits"] = machine.not_quantized_because
    end = setup.untrained_end
    return {
        "updates": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "rows": setup.rows,
        "tokens": round(tokens * (trainer.state.epoch or 0)),
        "loss": next((float(e["loss"]) for e in reversed(history) if "loss" in e), None),
        "validation_loss_before": held_losses.get(0),
        "validation_loss": held_losses.get(last_update),
        "kept_update": kept_update,
        "stops": stops,
        "chat_template": setup.renderer.about,
        "trained_parameters": trained,
        "untrained_end": end.to_json() if end else None,
        "seconds": round(time.monotonic() - setup.began, 2),
        "execution": execution,
    }


def write_log(
    setup: Setup[C],
    trainer: transformers.Trainer,
    more: Mapping[str, tuple[str, float]] | None = None,
) -> list[dict[str, float]]:
    """Write the trainer's log by update. `more` are names in the log beyond the usual ones, with ours
    and a factor. Returns its rows."""
    rows = by_update(trainer.state.log_history, more or {})
    if rank() == 0:
        names = [ours for ours, _ in (more or {}).values()]
        write_curves(rows, setup.job.out / CURVES, names)
    return rows


def read_data(job: WorkerJob, columns: Sequence[str]) -> tuple[Dataset, Dataset | None]:
    """Returns the rows to train on and those held back (None without any), in memory, no cache on
    disk."""
    import pyarrow.parquet as pq
    from datasets import Dataset
    from datasets.table import InMemoryTable

    def read(name: str) -> Dataset:
        table = pq.read_table(job.data / f"{name}.parquet", columns=list(columns))
        return Dataset(InMemoryTable(table))

    held = (job.data / "validation.parquet").is_file()
    return read("train"), read("validation") if held else None


def _read_config(
    name: str, config: SftOptions | DpoOptions
) -> tuple[transformers.PretrainedConfig, Mapping[str, float]]:
    """Returns the config of the model to train, and what its own dropout was where the job sets another
    one."""
    path, place = place_of(name)
    if (Path(path) / "adapter_config.json").is_file():
        raise ConfigError(
            f"{path} is an adapter, and training starts from full weights: merge it first."
        )
    settings, own = transformers.AutoConfig.from_pretrained(path, **place), dict[str, float]()
    if isinstance(config, SftOptions) and config.dropout is not None:
        own = set_dropout(settings.get_text_config(), config.dropout)
    return settings, own


def _load_start(
    name: str,
    settings: transformers.PretrainedConfig,
    machine: Machine,
    config: SftOptions | DpoOptions,
) -> transformers.PreTrainedModel:
    path, place = place_of(name)
    how: Place = {**place, **(in_four_bits() if machine.quantized else {})}
    load = transformers.AutoModelForCausalLM.from_pretrained
    return load(path, config=settings, dtype=weights_dtype(machine, config), **how)


def _tracker_settings(job: WorkerJob) -> dict[str, object]:
    """Who is told the curves besides us, and under which name."""
    if not job.execution.report_to:
        return {"report_to": "none"}
    return {
        "report_to": job.execution.report_to,
        "run_name": step_of(job.out),
        "project": job.execution.project,
    }


def _trl_settings(
    job: WorkerJob, config: SftOptions | DpoOptions, machine: Machine
) -> dict[str, object]:
    """Fields of TRL's config that follow from the job alone."""
    return {
        "output_dir": str(job.out / CHECKPOINTS),
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": config.warmup_updates,
        "num_train_epochs": config.epochs,
        "max_steps": config.max_updates or -1,
        "weight_decay": config.weight_decay,
        "optim": config.optimizer,
        "bf16": machine.low,
        "use_cpu": machine.on_cpu,
        "seed": job.seed,
        "prediction_loss_only": True,
        "logging_steps": 1,
        "save_strategy": "no",
        "save_total_limit": 2,  # the one before stays until the new one is marked complete
        "disable_tqdm": True,
        **_tracker_settings(job),
        "dataloader_pin_memory": not machine.on_cpu,
    }
