"""What the benchmarks print alike: the machine and its ceilings, then medians and their ratio.

The one idea: a second on a machine that does other things says little, a ratio of two that took turns
says much. So ways alternate in one process or one run, the median of each counts, and beside it stands
what the machine could do at most: its copy bandwidth and its rates of matrix products.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median

from woolgather.core import children
from woolgather.core.machine_speed import DeviceSpeed
from woolgather.runs import provenance


def measure_ceilings() -> dict[str, DeviceSpeed]:
    """Returns what each device computes now, measured in a process of its own. Nothing is kept of it:
    beside other work it would be too low for the plans and precisions of later runs."""
    done = subprocess.run(
        [sys.executable, "-m", "woolgather.core.machine_speed"],
        env=children.environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return {device: DeviceSpeed(**speed) for device, speed in json.loads(done.stdout).items()}


def print_machine(*packages: str) -> DeviceSpeed:
    """Prints processor, cores, versions and the measured ceilings of each device; returns those of the
    device that engines take by themselves."""
    named = ("woolgather", *packages)
    versions = ", ".join(f"{name} {provenance.package_version(name)}" for name in named)
    hardware = provenance.hardware()
    print(f"{hardware['processor']} · {hardware['cores']} cores · {versions}", flush=True)
    speeds = measure_ceilings()
    for device, speed in speeds.items():
        many, few = (
            ", ".join(f"{name} {rate:.4g}" for name, rate in rates.items())
            for rates in (speed.product, speed.step)
        )
        print(
            f"ceilings of {device}: copy {speed.copy:.3g} GB/s; products in GFLOP/s: {many}; with 16 "
            f"rows: {few}",
            flush=True,
        )
    print(f"load when it began: {os.getloadavg()[0]:.1f}", flush=True)
    return speeds.get("cuda") or speeds["cpu"]


def alternate(
    ways: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Calls every way once per round, in order; returns the seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            began = clock()
            work()
            seconds[name].append(clock() - began)
    return seconds


def print_ratios(
    title: str, seconds: Mapping[str, list[float]], target: float = 0.0, unit: str = "s"
) -> float:
    """Prints the median of each way, and how many times longer it takes than the first, which is ours;
    returns that of the second."""
    mids = {name: median(took) for name, took in seconds.items()}
    ours, *others = mids.values()
    print(f"\n{title}" + (f" (target {target:g})" if target else ""))
    for name, mid in mids.items():
        runs = len(seconds[name])
        print(f"  {name:<44}{mid:>10.4g} {unit}{mid / ours:>9.2f}x   {runs} runs", flush=True)
    return others[0] / ours if others else 1.0
