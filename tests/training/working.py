"""Rows, options and calls that tests of the launched program share."""

import json
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.rows import Example
from woolgather.ops.train.sft import encode, write_tokens
from woolgather.training.checkpoints import ERROR, JOB, PROGRESS
from woolgather.training.job import RESULT, LoraOptions, SftOptions, TrainJob
from woolgather.training.job_file import Execution, write_job
from woolgather.training.worker import program

ROWS = [Example(instruction=f"say {n}", response="the lazy dog " * (1 + n % 4)) for n in range(12)]
OPTIONS = SftOptions(
    lora=LoraOptions(dropout=0), learning_rate=1e-2, warmup_updates=0, epochs=1, batch_size=4
)


def run(
    start: Path,
    out: Path,
    *,
    micro: int = 0,
    held: int | list[Example] = 0,
    resume: Path | None = None,
    **changes,
) -> int:
    (out / "data").mkdir(parents=True)
    rows = encode(ROWS, Model(str(start)))
    write_tokens(rows[held if isinstance(held, int) else 0 :], out / "data" / "train")
    if held:
        others = rows[:held] if isinstance(held, int) else encode(held, Model(str(start)))
        write_tokens(others, out / "data" / "validation")
    options = SftOptions.model_validate({**OPTIONS.model_dump(), **changes})
    write_job(
        out / JOB,
        TrainJob(options, Model(str(start)), out / "data", seed=1),
        digest="d",
        execution=Execution(cpu=True, micro_batch_size=micro, checkpoint_every=0),
        resume=str(resume) if resume else None,
    )
    return program.main([str(out / JOB)])


def losses(out: Path) -> list[float]:
    lines = (out / PROGRESS).read_text().splitlines()
    return [e["loss"] for e in map(json.loads, lines) if e["event"] == "update"]


def error(out: Path) -> dict:
    return json.loads((out / ERROR).read_text())


def told(out: Path) -> dict:
    return json.loads((out / RESULT).read_text())
