"""Texts by the million: does memory stay where it is when there are ten times as many?

    python benchmarks/texts.py [--documents 100000 1000000] [--near-duplicate 0.8]

Each count is prepared in a process of its own, from a JSONL file to the rows of a step: read, cut,
filtered by our rules, near-duplicates set aside, written as Parquet. Printed are documents a second
and the most memory that the process had; what a text costs in memory is the difference between two
counts. `--near-duplicate 0` leaves that test out, and with it what grows.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from woolgather.core.storage import write_rows
from woolgather.ops.curate.texts import TextOptions, prepare_texts
from woolgather.runs.inputs import open_texts


def written(path: Path, count: int, seed: int = 0) -> None:
    """Documents of some 500 characters; every tenth is an earlier one with a word exchanged."""
    rng = random.Random(seed)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(5000)]
    earlier: list[list[str]] = []
    with path.open("w", encoding="utf-8") as file:
        for i in range(count):
            if i % 10 == 9:
                text = rng.choice(earlier)[:]
                text[rng.randrange(len(text))] = rng.choice(words)
            else:
                text = rng.choices(words, k=80)
                if len(earlier) < 1000:
                    earlier.append(text)
            lines = (" ".join(text[j : j + 16]).capitalize() + "." for j in range(0, 80, 16))
            file.write(json.dumps({"text": "\n".join(lines)}) + "\n")


def prepare(path: Path, threshold: float, folder: Path) -> None:
    """In a process of its own: prints what was kept, seconds, and the most memory it had."""
    options = TextOptions(near_duplicate=threshold or None, cut="whole", max_chars=2000)
    start = time.perf_counter()
    rows = prepare_texts(open_texts(str(path), **options.where), options=options)
    kept = sum(row.set_aside is None for row in write_rows(rows, folder, "example"))
    took = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"kept": kept, "seconds": took, "peak_mib": peak}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--near-duplicate", type=float, default=0.8, help="0: without that test")
    parser.add_argument("--prepare", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if args.prepare:
            prepare(args.prepare, args.near_duplicate, Path(scratch) / "rows")
            return 0
        for count in args.documents:
            path = Path(scratch) / f"{count}.jsonl"
            written(path, count)
            how = ["--prepare", str(path), "--near-duplicate", str(args.near_duplicate)]
            done = subprocess.run(
                [sys.executable, __file__, *how], stdout=subprocess.PIPE, check=True
            )
            found = json.loads(done.stdout)
            print(
                f"{count} documents, {path.stat().st_size / 2**20:.0f} MiB: {found['kept']} kept, "
                f"{count / found['seconds']:.0f} a second, {found['peak_mib']:.0f} MiB at most",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
