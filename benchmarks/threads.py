"""What threads that wait should do: spin on their core, or let another program have it.

Each policy of the OpenMP runtime trains and generates with the embedded model, alone and beside a
program that keeps one core busy, in rounds that alternate. Prints seconds, and ratios to the policy that
is fastest when alone. The policy that woolgather's children get (children.environment) is marked.

    python benchmarks/threads.py [--rounds 2] [--policies passive "spin 10,000"]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from statistics import median

from woolgather.core import children
from woolgather.runs import provenance

POLICIES: dict[str, dict[str, str]] = {
    "default": {},
    "active": {"OMP_WAIT_POLICY": "ACTIVE"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "spin 10,000": {"GOMP_SPINCOUNT": "10000"},
    "spin 30,000": {"GOMP_SPINCOUNT": "30000"},
    "spin 100,000": {"GOMP_SPINCOUNT": "100000"},
}
WORK = ("train", "generate")
CHILD = """
import json, time, torch
from transformers import AutoModelForCausalLM
from woolgather.models.embedded import embedded_model
from woolgather.engines.base import Request, Sampling
from woolgather.engines.local.engine import TransformersEngine
from woolgather.models.open import open_model
from woolgather.prompting.messages import Message

found = {}
net = AutoModelForCausalLM.from_pretrained(embedded_model(), dtype=torch.float32)
ids = torch.randint(10, 40000, (4, 100), generator=torch.Generator().manual_seed(0))
for turn in range(4):
    if turn == 1:
        began = time.perf_counter()
    net(input_ids=ids, labels=ids).loss.backward()
found["train"] = time.perf_counter() - began
del net
engine = TransformersEngine(open_model("embedded"))
sampling = Sampling(temperature=0.0, max_tokens=96)
requests = [
    Request((Message("user", f"Write a long story about the number {n}."),), sampling)
    for n in range(24)
]
list(engine.complete(requests[:2]))
began = time.perf_counter()
list(engine.complete(requests))
found["generate"] = time.perf_counter() - began
print(json.dumps(found))
"""


def once(policy: dict[str, str], busy: bool) -> dict[str, float]:
    """Seconds of each kind of work in a process of its own."""
    ours = {
        k: v
        for k, v in children.environment().items()
        if k not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    }
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if busy else None
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD],
            env={**ours, **policy},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        if neighbour:
            neighbour.kill()
            neighbour.wait()
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--policies", nargs="*", choices=POLICIES, default=list(POLICIES))
    asked = parser.parse_args()
    rounds, policies = asked.rounds, {name: POLICIES[name] for name in asked.policies}
    print(provenance.hardware()["processor"], "·", os.cpu_count(), "cores · torch",
          provenance.package_version("torch"), flush=True)  # fmt: skip
    seconds: dict[tuple[str, bool, str], list[float]] = {}
    for _ in range(rounds):
        for busy in (False, True):
            for name, policy in policies.items():
                found = once(policy, busy)
                shown = ", ".join(f"{work} {took:.2f} s" for work, took in found.items())
                print(f"{name}, {'beside one busy' if busy else 'alone'}: {shown}", file=sys.stderr)
                for work, took in found.items():
                    seconds.setdefault((name, busy, work), []).append(took)
    mine = children.environment()
    print(
        "| policy | "
        + " | ".join(f"{w}, {s}" for w in WORK for s in ("alone", "beside one busy"))
        + " |"
    )
    print("| --- |" + " ---: |" * 4)
    best = {w: min(median(seconds[n, False, w]) for n in policies) for w in WORK}
    for name, policy in policies.items():
        ours = bool(policy) and policy.items() <= mine.items()
        cells = []
        for work in WORK:
            for busy in (False, True):
                took = median(seconds[name, busy, work])
                cells.append(f"{took:.2f} s ({took / best[work]:.2f})")
        print(f"| {name}{' (ours)' if ours else ''} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
