"""The embedded engine against transformers' own `generate`: the same work, alternating, one process.

Two cases. `shared`: prompts with a long common beginning, as few-shot recipes ask them. `varied`:
prompts of different lengths without one, and a different limit of new tokens for each. Both sides
have the same weights, dtype, sampling and token limits, and end tokens are switched off, so that
both write exactly the same number of tokens. `generate` has a limit for a whole batch, not for a
row: each batch runs to its largest, and only wanted tokens count. Rows come to it as they do in life,
where nobody knows beforehand when an answer ends; and once more sorted by their limits (`foretold`),
which no program can do but which shows what is owed to eviction. It is given three batch sizes and
its best is compared. Both run in the environment that woolgather gives its engines.

    python benchmarks/engine.py [--quick] [--model DIR] [--rounds N] [--case shared|varied]

Prints seconds, for each case the ratio generate / engine, and what share of the machine's measured
limit the engine reaches: the least that the case takes is every token once through the weights, at
the rates of matrix products with many rows (prompts) and with 64 rows (new tokens), each measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import resources
from itertools import takewhile
from statistics import median
from typing import Any

import torch
from printer import print_machine, print_ratios

from woolgather.core.artifacts import Model
from woolgather.core.children import environment
from woolgather.engines.base import EngineOptions, Sampling
from woolgather.engines.local.engine import TransformersEngine
from woolgather.engines.rendered import Unfinished
from woolgather.models.embedded import embedded_model

Case = list[tuple[list[int], int]]
"""Prompt ids and new tokens of each request."""
TARGETS = {"shared": 3.0, "varied": 1.5}
SETTINGS = {"temperature": 0.8, "top_p": 0.95}


def passages(engine: TransformersEngine) -> Callable[[int], list[int]]:
    """A draw of n tokens of running text, made of our seed tasks in random order."""
    place = resources.files("woolgather").joinpath("seeds", "seeds.jsonl")
    rows = [json.loads(line) for line in place.read_text(encoding="utf-8").splitlines()]
    texts = [f"{r['instruction']}\n{r.get('input', '')}\n{r['response']}\n\n" for r in rows]
    chance = random.Random(1)

    def draw(n: int) -> list[int]:
        ids: list[int] = []
        while len(ids) < n:
            ids += engine.renderer.continuation_ids(chance.choice(texts))
        return ids[:n]

    return draw


def shared_case(
    draw: Callable[[int], list[int]], rows: int, shared: int, own: int, new: int
) -> Case:
    head = draw(shared)
    return [(head + draw(own), new) for _ in range(rows)]


def varied_case(draw: Callable[[int], list[int]], rows: int, low: int, high: int) -> Case:
    chance = random.Random(2)
    return [(draw(chance.randint(40, 300)), chance.randint(low, high)) for _ in range(rows)]


def by_engine(engine: TransformersEngine, case: Case) -> int:
    rows = (
        Unfinished(i, ids, Sampling(seed=i, max_tokens=new, **SETTINGS), new)
        for i, (ids, new) in enumerate(case)
    )
    return sum(len(row.new) for row, _ in engine._decode(rows))


def by_generate(net: Any, case: Case, batch: int, foretold: bool = False) -> int:
    ordered = sorted(case, key=lambda one: (one[1], len(one[0]))) if foretold else case
    wanted = 0
    for i in range(0, len(ordered), batch):
        some = ordered[i : i + batch]
        span, new = max(len(ids) for ids, _ in some), max(new for _, new in some)
        ids = torch.tensor([[0] * (span - len(ids)) + ids for ids, _ in some])
        mask = torch.tensor([[0] * (span - len(ids)) + [1] * len(ids) for ids, _ in some])
        with torch.inference_mode():
            out = net.generate(
                input_ids=ids.to(net.device),
                attention_mask=mask.to(net.device),
                do_sample=True,
                top_k=0,
                max_new_tokens=new,
                eos_token_id=None,
                pad_token_id=0,
                **SETTINGS,
            )
        assert out.shape[1] - span == new
        wanted += sum(n for _, n in some)
    return wanted


def timed(clock: Callable[[], float], work: Callable[[], int], expected: int) -> float:
    began = clock()
    assert work() == expected
    return clock() - began


def matrix_rate(dtype: torch.dtype, rows: int, clock: Callable[[], float]) -> float:
    """Returns operations per second of a linear layer with so many rows, the best of ten."""
    x, weight = torch.ones(rows, 1024, dtype=dtype), torch.ones(4096, 1024, dtype=dtype)
    least = 1e9
    with torch.inference_mode():
        for _ in range(10):
            began = clock()
            for _ in range(10):
                torch.nn.functional.linear(x, weight)
            least = min(least, (clock() - began) / 10)
    return 2 * rows * weight.numel() / least


def limit_of(net: Any, case: Case, shared: int, clock: Callable[[], float]) -> float:
    """Returns the seconds that the case takes at least: `shared` tokens of each prompt are fed once."""
    head = net.get_output_embeddings().weight.numel()
    body = net.num_parameters() - net.get_input_embeddings().weight.numel()
    body -= 0 if net.config.tie_word_embeddings else head
    read = shared + sum(len(ids) - shared for ids, _ in case)
    new = sum(n for _, n in case)
    many, few = (matrix_rate(net.dtype, rows, clock) for rows in (1024, 64))
    return 2 * body * read / many + 2 * (body + head) * new / few


def compare(
    name: str,
    engine: TransformersEngine,
    net: Any,
    case: Case,
    sizes: Sequence[int],
    rounds: int,
    clock: Callable[[], float],
) -> None:
    """Alternating measurements of each side; the medians are compared."""
    expected = sum(new for _, new in case)
    orders = (False, True) if len({new for _, new in case}) > 1 else (False,)
    ours: list[float] = []
    theirs: dict[tuple[bool, int], list[float]] = {(o, size): [] for o in orders for size in sizes}
    for _ in range(rounds):
        ours.append(timed(clock, lambda: by_engine(engine, case), expected))
        for (foretold, size), seconds in theirs.items():
            work = partial(by_generate, net, case, size, foretold)
            seconds.append(timed(clock, work, expected))
    for foretold in orders:
        how = "generate, limits foretold" if foretold else "generate"
        best = min(sizes, key=lambda size: median(theirs[foretold, size]))
        print_ratios(
            name,
            {"engine": ours, f"{how}, {best} rows": theirs[foretold, best]},
            target=0 if foretold else TARGETS[name],
        )
    columns = zip(*(ids for ids, _ in case), strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len({*column}) == 1, columns))
    limit = limit_of(net, case, shared, clock)
    print(
        f"  {expected / median(ours):.0f} new tokens per second; the least that the machine takes is "
        f"{limit:.1f} s, of which the engine reaches {limit / median(ours):.0%}",
        flush=True,
    )


def cases(
    draw: Callable[[int], list[int]], quick: bool
) -> Iterator[tuple[str, Case, tuple[int, ...]]]:
    if quick:
        yield "shared", shared_case(draw, 24, 400, 40, 24), (8, 24)
        yield "varied", varied_case(draw, 48, 4, 64), (16, 48)
    else:
        yield "shared", shared_case(draw, 64, 800, 40, 64), (16, 32, 64)
        yield "varied", varied_case(draw, 128, 16, 256), (16, 32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, some minutes")
    parser.add_argument("--model", help="a model directory; by default the embedded model")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, help="by default torch's choice")
    parser.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the process's own seconds; with --threads 1 fair on a machine that is busy",
    )
    parser.add_argument("--case", choices=["shared", "varied"], help="only this one")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    path = asked.model or str(embedded_model())
    engine = TransformersEngine(Model(path, "benchmark", "raw"), EngineOptions())
    engine.renderer.end_ids = ()
    from transformers import AutoModelForCausalLM

    net = AutoModelForCausalLM.from_pretrained(path, dtype=engine.dtype).to(engine.device).eval()
    clock = time.process_time if asked.cpu_time else time.perf_counter
    draw = passages(engine)
    print_machine("torch", "transformers")
    print(f"{path}, {engine.dtype}, {engine.device}, {torch.get_num_threads()} threads")
    warm = shared_case(draw, 4, 40, 10, 4)
    by_engine(engine, warm)
    by_generate(net, warm, 4)
    for name, case, sizes in cases(draw, asked.quick):
        if asked.case in (None, name):
            compare(name, engine, net, case, sizes, asked.rounds, clock)


if __name__ == "__main__":
    if environment().items() - dict(os.environ).items():
        os.execve(sys.executable, [sys.executable, *sys.argv], environment())
    main()
