"""Tokens per second of our SFT and DPO against TRL's with its own defaults, on rows of many lengths.

Model, precision, adapter, rows and global batch are the same; each way runs in a process of its own. TRL
takes its own order, rows at once and loss; as its configs recompute activations by default, it also runs
without. The learning rate is next to nothing, so that both see the same model and their mean losses have
to agree. Prints tokens per second, ratios, machine and versions. Beside the ratio of seconds stands that
of the processor's time, which other programs on the machine disturb less (of no use with a GPU).

    python benchmarks/train_speed.py [--model embedded] [--rows 48] [--epochs 2] [--precision float32]
                                     [--kinds sft dpo] [--ways ours trl "trl, no recomputing"]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from woolgather.core import children
from woolgather.core.artifacts import Model
from woolgather.ops.train.sft import IGNORE, write_tokens
from woolgather.runs import provenance
from woolgather.training.checkpoints import JOB
from woolgather.training.job import CURVES, DpoOptions, LoraOptions, SftOptions, TrainJob
from woolgather.training.job_file import Execution, read_job, write_job

BATCH = 16
LORA = LoraOptions(r=8, alpha=16, dropout=0.0)
SLOW = 1e-9
"""Learning rate."""
WAYS = ("ours", "trl", "trl, no recomputing")
PAIRS = ("prompt_ids", "chosen_ids", "rejected_ids")


class Spent(NamedTuple):
    """What a training took."""

    seconds: float
    processor: float
    """Seconds of all its threads."""


NOTHING = Spent(0.0, 0.0)


def now(since: Spent = NOTHING) -> Spent:
    """Returns the time of both clocks, from `since` on."""
    return Spent(time.perf_counter() - since.seconds, time.process_time() - since.processor)


def make_rows(kind: str, asked: argparse.Namespace) -> list[tuple[list[int], ...]]:
    """Returns rows of random tokens: prompts of 10 to 200, and answers of 10 to 400, most of them
    short."""
    from transformers import AutoConfig

    rng = random.Random(7)
    vocabulary = AutoConfig.from_pretrained(asked.path).get_text_config().vocab_size

    def text(most: int) -> list[int]:
        return [
            rng.randrange(10, vocabulary)
            for _ in range(min(most, 10 + int(rng.expovariate(1 / 70))))
        ]

    rows: list[tuple[list[int], ...]] = []
    for _ in range(asked.rows):
        prompt, answer, other = text(200), text(400), text(400)
        if kind == "dpo":
            rows.append((prompt, answer, other))
        else:
            rows.append((prompt + answer, [IGNORE] * len(prompt) + answer))
    return rows


def tokens_of(kind: str, rows: list[tuple[list[int], ...]]) -> int:
    """Returns the tokens that an epoch trains on, padding left out."""
    if kind == "dpo":
        return sum(2 * len(p) + len(c) + len(r) for p, c, r in rows)
    return sum(len(ids) for ids, _ in rows)


def run_ours(kind: str, asked: argparse.Namespace, out: Path) -> tuple[Spent, float]:
    """Returns what our training takes, the opponent's part included, and its mean loss."""
    import pyarrow.parquet as pq

    from woolgather.training.worker import dpo, sft

    rows = make_rows(kind, asked)
    (out / "data").mkdir(parents=True)
    columns = PAIRS if kind == "dpo" else ("input_ids", "labels")
    write_tokens(rows, out / "data" / "train", columns)
    common = {"lora": LORA, "learning_rate": SLOW, "warmup_updates": 0, "epochs": asked.epochs}
    common |= {"batch_size": BATCH, "validation": 0.0, "precision": asked.precision}
    options = (
        DpoOptions(optimizer="adamw_torch", **common) if kind == "dpo" else SftOptions(**common)
    )
    start = Model(asked.path)
    reference = start if kind == "dpo" else None
    job = TrainJob(options, start, out / "data", 1, reference)
    write_job(out / JOB, job, digest="speed", execution=Execution(checkpoint_every=1e9))
    trainer = dpo.PairTrainer if kind == "dpo" else sft.UpdateTrainer
    spent = _timed(trainer)
    (dpo if kind == "dpo" else sft).train(read_job(out / JOB))
    losses = [row["loss"] for row in pq.read_table(out / CURVES).to_pylist()]
    return spent(), sum(losses) / len(losses)


def _timed(trainer: type) -> Callable[[], Spent]:
    """Lets a trainer's `train` be timed; returns what says the time."""
    train, spent = trainer.train, [NOTHING]

    def timed(self: object, *args: object, **kwargs: object) -> object:
        began = now()
        try:
            return train(self, *args, **kwargs)
        finally:
            spent[0] = now(began)

    trainer.train = timed  # type: ignore[attr-defined]
    return lambda: spent[0]


def run_trl(
    kind: str, asked: argparse.Namespace, out: Path, *, recompute: bool
) -> tuple[Spent, float]:
    """Returns what TRL's training takes, and its mean loss."""
    import peft
    import torch
    import transformers
    import trl
    from datasets import Dataset

    rows = make_rows(kind, asked)
    names = PAIRS if kind == "dpo" else ("input_ids", "labels")
    data = Dataset.from_list([dict(zip(names, row, strict=True)) for row in rows])
    low = asked.precision == "bfloat16"
    common = {
        "output_dir": str(out),
        "learning_rate": SLOW,
        "num_train_epochs": asked.epochs,
        "bf16": low,
        "use_cpu": not torch.cuda.is_available(),
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "max_length": None,
    }
    common |= {} if recompute else {"gradient_checkpointing": False}
    make = trl.DPOConfig if kind == "dpo" else trl.SFTConfig
    at_once = make(output_dir=str(out), use_cpu=True, bf16=False).per_device_train_batch_size
    common["gradient_accumulation_steps"] = BATCH // at_once
    model = transformers.AutoModelForCausalLM.from_pretrained(
        asked.path, dtype=torch.bfloat16 if low else torch.float32
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(asked.path)
    own = {} if kind == "dpo" else {"dataset_kwargs": {"skip_prepare_dataset": True}}
    trainer_class = trl.DPOTrainer if kind == "dpo" else trl.SFTTrainer
    if kind == "dpo":  # rows are tokens already
        trainer_class._prepare_dataset = lambda self, dataset, *args, **kwargs: dataset
    trainer = trainer_class(
        model=model,
        args=make(**common, **own),
        train_dataset=data,
        processing_class=tokenizer,
        peft_config=peft.LoraConfig(
            r=LORA.r, lora_alpha=LORA.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    began = now()
    trainer.train()
    spent = now(began)
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return spent, sum(losses) / len(losses)


def run_one(kind: str, way: str, asked: argparse.Namespace) -> None:
    """Runs one way in this process and prints what it took, as the last line."""
    with tempfile.TemporaryDirectory() as folder:
        if way == "ours":
            spent, loss = run_ours(kind, asked, Path(folder) / "out")
        else:
            spent, loss = run_trl(kind, asked, Path(folder), recompute=way == "trl")
    print(json.dumps({**spent._asdict(), "loss": loss}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--kinds", nargs="*", default=["sft", "dpo"])
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=WAYS)
    parser.add_argument("--only", nargs=2, metavar=("KIND", "WAY"), help="one of them, here")
    asked = parser.parse_args()
    asked.path = asked.model
    if asked.model == "embedded":
        from woolgather.models.embedded import embedded_model

        asked.path = str(embedded_model())
    if asked.only:
        run_one(*asked.only, asked)
        return
    packages = ("torch", "transformers", "trl", "peft")
    versions = ", ".join(f"{name} {provenance.package_version(name)}" for name in packages)
    print(provenance.hardware()["processor"], "·", os.cpu_count(), "cores ·", versions, flush=True)
    print(f"{asked.rows} rows, {asked.epochs} epochs, batch {BATCH}, {asked.precision}", flush=True)
    for kind in asked.kinds:
        total = tokens_of(kind, make_rows(kind, asked)) * asked.epochs
        found = {}
        for way in asked.ways:
            argv = [sys.executable, __file__, "--only", kind, way, "--model", asked.path]
            argv += ["--rows", str(asked.rows), "--epochs", str(asked.epochs)]
            argv += ["--precision", asked.precision]
            environment = children.environment()
            done = subprocess.run(
                argv, env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            found[way] = json.loads(done.stdout.splitlines()[-1])
            speed = total / found[way]["seconds"]
            ours = found.get("ours", found[way])
            by_clock, by_processor = (found[way][c] / ours[c] for c in Spent._fields)
            print(
                f"{kind}, {way}: {speed:.1f} tokens/s, mean loss {found[way]['loss']:.4f}; ours is "
                f"{by_clock:.2f} times as fast, {by_processor:.2f} times by processor time",
                flush=True,
            )
            gap = abs(found[way]["loss"] - ours["loss"]) / ours["loss"]
            if gap > 0.02:
                raise SystemExit(f"the losses differ by {gap:.1%}: they do not train the same")


if __name__ == "__main__":
    main()
