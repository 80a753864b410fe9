"""Nothing left to do: a finished run again, and `woolgather --help`, beside the interpreter's own start.

    python benchmarks/start_up.py [--run DIRECTORY -- ARGUMENTS OF RUN] [--rounds 5]

Without --run a demo on the fake engine is made first and then asked for again: everything is
remembered, so that what is left is starting, looking up and telling. Rounds alternate, medians count.
Beside the clock stands the processor's time, which other programs on the machine disturb less.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

from printer import alternate, print_machine

TARGETS = {"help": 0.3, "again": 1.0}


def call(*words: str) -> None:
    """Runs Python with these words; what it prints is dropped."""
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)


def processor_of_children() -> float:
    """Returns the processor's seconds of all processes that were waited for."""
    spent = os.times()
    return spent.children_user + spent.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--run", type=Path, help="a finished run, asked for as the words after -- say"
    )
    parser.add_argument("words", nargs="*", help="arguments of `run` that made it")
    asked = parser.parse_args()
    print_machine("pydantic", "typer", "rich")
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.run or Path(scratch) / "run"
        words = asked.words or ["isheep", "--preset", "demo", "--engine", "fake"]
        again = ("-m", "woolgather", "run", *words, "--dir", str(folder))
        call(*again)
        ways = {
            "interpreter": partial(call, "-c", "pass"),
            "help": partial(call, "-m", "woolgather", "--help"),
            "again": partial(call, *again),
        }
        by_clock = alternate(ways, asked.rounds)
        by_processor = alternate(ways, asked.rounds, processor_of_children)
    for name, what in (("help", "woolgather --help"), ("again", "a finished run again")):
        beyond = name == "help"
        clock, processor = (
            median(found[name]) - (median(found["interpreter"]) if beyond else 0)
            for found in (by_clock, by_processor)
        )
        print(
            f"{what}: {clock:.3f} s{' beyond the interpreter' if beyond else ''} (target "
            f"{TARGETS[name]:g}), {processor:.3f} s of the processor"
        )


if __name__ == "__main__":
    main()
