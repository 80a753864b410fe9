"""Writes tasks once the gate is open, keeps the long ones and measures them, unless it is told 99."""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from woolgather import Example, Metrics, Model, Scope, op
from woolgather.core.errors import YieldError
from woolgather.core.intervals import mean_interval
from woolgather.core.options import Options
from woolgather.core.rows import set_aside
from woolgather.engines.base import Engine, Request, Sampling, ask


class Config(Options):
    base: str = "fake"
    above: float = 0
    gate: str = ""
    """A file: before it is there nothing is written."""


@op("write")
def write(engine: Engine, *, gate: str, seed: int = 0) -> Iterator[Example]:
    until = time.monotonic() + 120
    while not Path(gate).exists() and time.monotonic() < until:
        time.sleep(0.05)
    for completion in ask(
        engine, (Request(f"task {i}", Sampling(seed=seed + i)) for i in range(4))
    ):
        yield Example(instruction=completion.text)


@op("keep_long")
def keep_long(rows: Iterable[Example], *, above: float) -> Iterator[Example]:
    for row in rows:
        yield row if len(row.instruction) > above else set_aside(row, "short")


@op("count")
def count(rows: Iterable[Example], *, above: float) -> Metrics:
    if above == 99:
        raise YieldError("Nothing is left. Lower `above`.")
    lengths = [len(row.instruction) / 100 for row in rows]
    return Metrics(
        {"length": mean_interval(lengths).json() if lengths else None, "rows": len(lengths)}
    )


@op("tune")
def tune(rows: Iterable[Example], *, out: Path) -> Model:
    (out / "model").mkdir()
    (out / "model" / "weights").write_text(str(len(list(rows))))
    return Model(str(out / "model"))


def recipe(run: Scope, cfg: Config) -> Model:
    base = run.model("base", cfg.base)
    for t in range(2):
        it = run.scope(f"iter{t}")
        rows = it.step("write", write, it.engine(base), gate=cfg.gate)
        kept = it.step("keep", keep_long, rows, above=cfg.above)
        it.step("measure", count, kept, above=cfg.above)
    return run.step("result", tune, kept)
