"""Replicas of an engine: how much sooner are the same requests answered by several than by one?

    python benchmarks/replicas.py [--only fake|model] [--requests 160] [--latency 0.1]

First the fake engine with a fixed latency, alone and as 1, 4 and 16 replicas: what Ray itself costs.
Then the embedded model on this machine's cores: two replicas, each with half of the threads, against one
engine with all of them. Replicas are open before the clock starts. Rounds alternate, the median counts;
ratios above 1 are faster than the first row of their table.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from woolgather.core.artifacts import Model
from woolgather.engines import open_engine
from woolgather.engines.base import Engine, EngineOptions, Request, Sampling
from woolgather.engines.fake import FAKE_MODEL, FakeEngine, make_text
from woolgather.engines.replicas.cluster import connect_ray
from woolgather.engines.replicas.engine import ReplicatedEngine
from woolgather.engines.replicas.replica import OpenEngine
from woolgather.models.open import open_model
from woolgather.prompting.messages import Message
from woolgather.runs import provenance


def slow(seconds: float) -> OpenEngine:
    """Returns what makes fake engines that take `seconds` for each request, one after another."""

    def make(model: Model, options: EngineOptions, log: Path | None) -> Engine:
        def answer(prompt: str, sampling: Sampling) -> str:
            time.sleep(seconds)
            return make_text(prompt, sampling)

        return FakeEngine(answer=answer, model=model)

    return make


def compare(title: str, engines: dict[str, Engine], requests: list[Request], rounds: int) -> None:
    """Print seconds, requests per second and the ratio to the first engine, for each."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for engine in engines.values():
        # As many as make every replica do something: none is to be started within the time.
        list(engine.complete(requests))
    for _ in range(rounds):
        for name, engine in engines.items():
            began = time.perf_counter()
            answered = sum(1 for _ in engine.complete(requests))
            seconds[name].append(time.perf_counter() - began)
            assert answered == len(requests)
    first = median(next(iter(seconds.values())))
    print(
        f"\n{title}\n\n| engine | seconds | requests a second | ratio |\n| --- | ---: | ---: | ---: |"
    )
    for name, took in seconds.items():
        mid = median(took)
        print(f"| {name} | {mid:.2f} | {len(requests) / mid:.1f} | {first / mid:.2f} |", flush=True)


def fake(stack: ExitStack, requests: int, latency: float, rounds: int) -> None:
    engines: dict[str, Engine] = {"without Ray": slow(latency)(FAKE_MODEL, EngineOptions(), None)}
    for n in (1, 4, 16):
        made = ReplicatedEngine(FAKE_MODEL, EngineOptions("fake", replicas=n), make=slow(latency))
        stack.callback(made.close)
        engines[f"{n} replica{'s' * (n > 1)}"] = made
    asked = [Request(f"task {i}", Sampling(seed=i)) for i in range(requests)]
    compare(f"{requests} requests of {latency:g} s each", engines, asked, rounds)


def embedded(stack: ExitStack, prompts: int, rounds: int) -> None:
    model = open_model("embedded")
    asked = [
        Request(
            (Message("user", f"Write a story about the number {i}."),),
            Sampling(seed=i, max_tokens=64),
        )
        for i in range(prompts)
    ]
    engines = {
        "one engine, all threads": open_engine(model, EngineOptions()),
        "2 replicas, half of the threads each": open_engine(model, EngineOptions(replicas=2)),
    }
    for engine in engines.values():
        stack.callback(engine.close)
    compare(f"SmolLM2-135M, {prompts} prompts, 64 new tokens at most", engines, asked, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=160)
    parser.add_argument("--latency", type=float, default=0.1, help="Seconds per request.")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--prompts", type=int, default=64, help="For the embedded model.")
    parser.add_argument("--only", choices=["fake", "model"])
    args = parser.parse_args()
    versions = {name: provenance.package_version(name) for name in ("ray", "torch")}
    print(f"{provenance.hardware()['processor']}, {os.cpu_count()} cores, {versions}", flush=True)
    with connect_ray(EngineOptions("fake", replicas=1)):
        if args.only != "model":
            with ExitStack() as stack:
                fake(stack, args.requests, args.latency, args.rounds)
        if args.only != "fake":
            with ExitStack() as stack:
                embedded(stack, args.prompts, args.rounds)


if __name__ == "__main__":
    main()
