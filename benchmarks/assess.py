"""Assessing rows by likelihoods against the two generated readings that the paper asks for.

    python benchmarks/assess.py [--rows 24] [--batch 8] [--rounds 1]

The paper's way: the judge writes a score and its reason, once for the quality of a row and once for how
it follows its task, by `generate` in fixed batches. Ours: one question with two options (yes_no), or the
likelihood of given texts (mutual_information, channel). The rows are the same, seeds of ours with their
responses, and so are model, precision and the room for an answer. Ways take turns. The generated readings
by our own engine stand beside them: what the choice of assessor alone is worth.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from printer import alternate, print_machine, print_ratios

from woolgather.core.artifacts import Model
from woolgather.core.children import environment
from woolgather.data import builtin_seeds, read_examples
from woolgather.engines.base import EngineOptions
from woolgather.engines.local.engine import TransformersEngine
from woolgather.models.embedded import embedded_model
from woolgather.ops.judge.assessors import Assessor, Candidate, Questionnaire, rate
from woolgather.ops.judge.rubrics import slot_prompt

TARGETS = {"yes_no": 20.0, "mutual_information": 5.0, "channel": 5.0}


def generate_in_batches(
    net: Any, prompts: Sequence[list[int]], new: int, batch: int, end: int, **how: Any
) -> int:
    """Answers by transformers' `generate` in batches of a fixed size, padded on the left; `how` says how
    tokens are drawn. Returns the tokens written."""
    written = 0
    for start in range(0, len(prompts), batch):
        some = prompts[start : start + batch]
        span = max(map(len, some))
        ids = torch.tensor([[end] * (span - len(row)) + row for row in some])
        mask = torch.tensor([[0] * (span - len(row)) + [1] * len(row) for row in some])
        with torch.inference_mode():
            out = net.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=new,
                eos_token_id=end,
                pad_token_id=end,
                **how,
            )
        written += int((out[:, span:] != end).sum())
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--batch", type=int, default=8, help="rows of a fixed batch")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true", help="the processor's time, one thread")
    asked = parser.parse_args()
    clock: Callable[[], float] = time.process_time if asked.cpu_time else time.perf_counter
    if asked.cpu_time:
        torch.set_num_threads(1)
    path = str(embedded_model())
    engine = TransformersEngine(Model(path, "benchmark", "chat"), EngineOptions())
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(path, dtype=engine.dtype).eval()
    rows = [row for row in read_examples(builtin_seeds()) if row.response][: asked.rows]
    questions = Questionnaire()
    prompts = [
        engine.renderer.prompt_ids(slot_prompt(rubric.template, row, "chat"))
        for rubric in questions.rubrics
        for row in rows
    ]
    print_machine("torch", "transformers")
    print(f"{len(rows)} rows, {len(prompts)} generated readings, {engine.dtype}", flush=True)
    new, end = questions.sampling.max_tokens, engine.renderer.eos_id

    def by(kind: Candidate) -> Callable[[], object]:
        return lambda: rate(rows, engine, Assessor(kind=kind), questions)

    def paper() -> object:
        return generate_in_batches(net, prompts, new, asked.batch, end, do_sample=False)

    generate_in_batches(net, prompts[:1], 2, 1, end, do_sample=False)
    for kind in TARGETS:
        rate(rows[:1], engine, Assessor(kind=kind), questions)
    kinds: dict[str, Callable[[], object]] = {kind: by(kind) for kind in TARGETS}
    seconds = alternate(
        {**kinds, "generated readings, our engine": by("rubric"), "generated readings": paper},
        asked.rounds,
        clock,
    )
    for kind, target in TARGETS.items():
        names = (kind, "generated readings", "generated readings, our engine")
        print_ratios(f"assess by {kind}", {name: seconds[name] for name in names}, target)
    engine.close()


if __name__ == "__main__":
    if environment().items() - dict(os.environ).items():
        os.execve(sys.executable, [sys.executable, *sys.argv], environment())
    main()
