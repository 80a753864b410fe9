"""One I-SHEEP iteration against the flow that its authors publish, re-enacted.

    python benchmarks/loop.py [--rows 24] [--batch 8]

Ours is `woolgather run isheep` for one iteration; the time of what the published flow does not have (the
audition, measuring, the report) is taken off. The flow has a process and a load of the model for each of
its stages, asks by `generate` in fixed batches, compares each new instruction with all by a plain ROUGE-L
loop, has two judgements written about each row, and trains by TRL as it comes. It does the work that
our run did: the same prompts, limits, rows and updates, model and precision. Prints the seconds of each
stage; with 200 rows it takes some half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from assess import generate_in_batches
from novelty import reference_rouge_l, reference_tokens
from printer import print_machine

from woolgather.api.launch import AskedSettings, Launch
from woolgather.core import children
from woolgather.core.errors import YieldError
from woolgather.core.machine_speed import auto_precision
from woolgather.core.rows import Example
from woolgather.core.storage import read_rows
from woolgather.data import builtin_seeds, read_examples
from woolgather.engines.base import Completion, Request
from woolgather.engines.fake import FAKE_MODEL, FakeEngine
from woolgather.models.embedded import embedded_model
from woolgather.models.open import open_model
from woolgather.ops.generate.synthesize import synthesize
from woolgather.ops.judge.assessors import Questionnaire
from woolgather.ops.judge.rubrics import slot_prompt
from woolgather.ops.train.sft import encoder
from woolgather.prompting.messages import Prompt
from woolgather.prompting.renderer import Renderer
from woolgather.prompting.turns import answer_prompt
from woolgather.runs.record import current_steps, read_run
from woolgather.training.job import CURVES

TARGET = 6.0
FLOW = ("synthesize", "respond", "rules", "assess", "keep", "mix", "train", "train-merge")
"""Steps of ours that the flow has as well."""


def run_ours(folder: Path, rows: int) -> float:
    """Returns the seconds of a run of one iteration, without the steps that the flow has not."""
    words = ["isheep", "--preset", "demo", "--dir", str(folder), "--no-report", "iterations=1"]
    words += [f"per_iteration={rows}", "controls=false", "measure.probes=22", "measure.tasks=1"]
    words += ["judge.candidates=[yes_no]", "synthesis.max_prompts=400"]
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "woolgather", "run", *words], stdout=subprocess.DEVNULL, check=True
    )
    seconds = time.perf_counter() - began
    for _, record in current_steps(folder):
        scope, _, name = record.step.rpartition("/")
        seconds -= 0 if scope and name in FLOW else record.seconds
    return seconds


def rows_of(folder: Path, step: str) -> list[Example]:
    """Returns all rows of a step of iteration 0, those that were set aside among them."""
    (entry,) = (entry for entry, record in current_steps(folder) if record.step == f"iter0/{step}")
    return [row for row in read_rows(folder / entry["path"]) if isinstance(row, Example)]


class Recorder(FakeEngine):
    """Remembers what it is asked; every answer is empty."""

    def __init__(self) -> None:
        super().__init__(answer=lambda *_: "", model=replace(FAKE_MODEL, prompt_format="chat"))
        self.prompts: list[Prompt] = []

    def complete(self, requests: Iterable[Request]) -> Iterator[tuple[int, Completion]]:
        def seen() -> Iterator[Request]:
            for request in requests:
                self.prompts.append(request.prompt)
                yield request

        return super().complete(seen())


def prompts_of(seeds: list[Example], count: int) -> list[Prompt]:
    """Returns so many prompts that ask for instructions, as a run of the demo asks them."""
    config: Any = Launch("isheep", AskedSettings("demo")).config
    how, recorder = config.synthesis.settled("chat"), Recorder()
    while len(recorder.prompts) < count:
        with suppress(YieldError):
            list(synthesize(seeds, recorder, n=200, how=how, seed=len(recorder.prompts)))
    return recorder.prompts[:count]


def write_work(folder: Path, place: Path) -> None:
    """Writes what the stages of the flow work on: that of our run in `folder`, as token ids."""
    seeds = list(read_examples(builtin_seeds()))
    renderer = Renderer(str(embedded_model()))
    calls = {r.step: r.calls for _, r in current_steps(folder)}
    tried, kept = rows_of(folder, "synthesize"), rows_of(folder, "mix")
    tasks = [row for row in tried if not row.set_aside]
    judged = [row for row in rows_of(folder, "rules") if not row.set_aside]
    rubrics = Questionnaire().rubrics
    texts = {
        "instruct": prompts_of(seeds, calls["iter0/synthesize"]["requests"]),
        "respond": [answer_prompt(row, "chat") for row in tasks],
        "judge": [slot_prompt(r.template, row, "chat") for r in rubrics for row in judged],
    }
    curves = next(folder.glob(f"iter0/train-*/{CURVES}"))
    encode = encoder(open_model("embedded"))
    work = {
        "ids": {name: [renderer.prompt_ids(p) for p in prompts] for name, prompts in texts.items()},
        "new": {"instruct": 192, "respond": 192, "judge": 48},
        "end": renderer.eos_id,
        "tried": [row.instruction for row in tried],
        "seeds": [row.instruction for row in seeds],
        "train": [encode(row) for row in kept if not row.set_aside],
        "updates": len(pq.read_table(curves)),
        "path": str(embedded_model()),
        "dtype": auto_precision("cpu", "generation"),
        "trained": read_run(folder)["precision"],
    }
    place.write_text(json.dumps(work), encoding="utf-8")


def ask_model(work: dict[str, Any], stage: str, batch: int) -> None:
    """A stage that asks: the model is loaded, and asked in fixed batches."""
    import torch
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(
        work["path"], dtype=getattr(torch, work["dtype"])
    ).eval()
    greedy = stage == "judge"
    how = {} if greedy else {"temperature": 0.7, "top_p": 0.95}
    generate_in_batches(
        net, work["ids"][stage], work["new"][stage], batch, work["end"], do_sample=not greedy, **how
    )


def compare_all(work: dict[str, Any]) -> None:
    """Each new instruction against the seeds and all that were accepted, a plain loop."""
    known = [reference_tokens(text) for text in work["seeds"]]
    for text in work["tried"]:
        words = reference_tokens(text)
        if all(reference_rouge_l(words, other) <= 0.7 for other in known):
            known.append(words)


def train(work: dict[str, Any], folder: Path) -> None:
    """TRL with its defaults but for what decides the result: adapter, batch, updates, learning rate."""
    import peft
    import torch
    import transformers
    import trl
    from datasets import Dataset

    data = Dataset.from_list(
        [{"input_ids": ids, "labels": labels} for ids, labels in work["train"]]
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(work["path"], dtype=torch.float32)
    config = trl.SFTConfig(
        output_dir=str(folder),
        use_cpu=not torch.cuda.is_available(),
        max_steps=work["updates"],
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
        learning_rate=5e-4,
        save_strategy="no",
        report_to="none",
        max_length=None,
        bf16=work["trained"] == "bfloat16",
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = trl.SFTTrainer(
        model=model,
        args=config,
        train_dataset=data,
        processing_class=transformers.AutoTokenizer.from_pretrained(work["path"]),
        peft_config=peft.LoraConfig(
            r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    trainer.train()
    trainer.model.merge_and_unload().save_pretrained(folder / "merged")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--batch", type=int, default=8, help="rows of a fixed batch")
    parser.add_argument("--stage", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stage:
        stage, place = asked.stage[0], Path(asked.stage[1])
        work = json.loads(place.read_text(encoding="utf-8"))
        if stage in work["ids"]:
            ask_model(work, stage, asked.batch)
        elif stage == "rouge":
            compare_all(work)
        else:
            train(work, place.parent / "trained")
        return
    print_machine("torch", "transformers", "trl")
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / "work.json"
        ours = run_ours(Path(scratch) / "run", asked.rows)
        print(f"{asked.rows} rows, fixed batches of {asked.batch}\nours {ours:.1f} s", flush=True)
        write_work(Path(scratch) / "run", place)
        total = 0.0
        for stage in ("instruct", "rouge", "respond", "judge", "train"):
            began = time.perf_counter()
            words = ["--stage", stage, str(place), "--batch", str(asked.batch)]
            subprocess.run(
                [sys.executable, __file__, *words],
                env=children.environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )
            total += (took := time.perf_counter() - began)
            print(f"  published, {stage}: {took:.1f} s", flush=True)
    print(f"published {total:.1f} s: ratio {total / ours:.1f} (target {TARGET:g})")


if __name__ == "__main__":
    main()
