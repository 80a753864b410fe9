"""Each assessor beside the generated reading: on the same pairs, seconds and audition AUC.

    python benchmarks/assessors.py [--model FOLDER] [--format chat|raw] [--pairs 80] [--probes 40]

The pairs are those of an audition on the default seeds, the model's own samples among them; every
distinct text is rated once. Seconds are of rating alone, after one warm-up call, and `ratio` is the
generated reading's seconds over the assessor's. AUC is the mean over the kinds of pairs, across
prompts, .5 being chance. Without --model the embedded 135M model is taken. On a small model most
rows of this table are near .5: that is the finding, not a fault.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from woolgather.core.artifacts import Model
from woolgather.core.rows import Example
from woolgather.data import builtin_seeds, read_examples
from woolgather.engines import open_engine
from woolgather.engines.base import Engine, EngineOptions
from woolgather.models.embedded import embedded_model
from woolgather.ops.judge.assessors import (
    CANDIDATES,
    CONTROLS,
    Assessor,
    Questionnaire,
    rate,
)
from woolgather.ops.judge.audition_pairs import KINDS, Pair, build_pairs, sample_pairs
from woolgather.ops.judge.audition_scores import Stage


def pairs_of(
    seeds: list[Example], engine: Engine, count: int, probes: int, seed: int
) -> list[Pair]:
    per_kind = count // len(KINDS)
    shots = [s for s in seeds if len(s.response.split()) <= 40][:3]
    own = sample_pairs(engine, probes, limit=per_kind, shots=shots, seed=seed)
    return build_pairs(seeds, per_kind, seed) + own


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--format", choices=["chat", "raw"], default="chat")
    parser.add_argument("--pairs", type=int, default=80)
    parser.add_argument("--probes", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    path = args.model or embedded_model()
    engine = open_engine(Model(str(path), "benchmark", args.format), EngineOptions())
    try:
        seeds = list(read_examples(builtin_seeds()))
        pairs = pairs_of(seeds, engine, args.pairs, args.probes, args.seed)
        stage = Stage(pairs, engine, Questionnaire(), args.seed)
        print(f"{len(pairs)} pairs, {len(stage.rows)} texts, {path.name}, {args.format}\n")
        print(f"{'assessor':<20}{'seconds':>9}{'ratio':>8}  " + header(stage.kinds))
        written = 0.0
        for kind in (*CANDIDATES, *CONTROLS):
            rate(stage.rows[:1], engine, Assessor(kind=kind))
            start = time.perf_counter()
            act = stage.hear(Assessor(kind=kind))
            seconds = time.perf_counter() - start
            written = written or seconds
            found = act.overall["across"]
            cells = [f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"]
            cells += [f"{act.kinds[k]['across'].value:.2f}" for k in stage.kinds]
            cells += [f"{act.overall['within'].value:.2f}", f"{act.readable:.2f}"]
            cells += ["" if act.length is None else f"{act.length:+.2f}"]
            ratio = f"{written / seconds:>7.1f}x" if kind in CANDIDATES else f"{'':>8}"
            print(
                f"{kind:<20}{seconds:>9.1f}{ratio}  "
                f"{cells[0]:<20}" + "".join(f"{cell:>12}" for cell in cells[1:]),
                flush=True,
            )
    finally:
        engine.close()


def header(kinds: list[str]) -> str:
    columns = [*kinds, "within", "readable", "length"]
    return f"{'AUC, 95 %':<20}" + "".join(f"{column:>12}" for column in columns)


if __name__ == "__main__":
    main()
