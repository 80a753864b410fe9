"""Texts by the million: do time and memory stay where they are when there are ten times as many?

    python benchmarks/texts.py [--documents 20000 200000] [--near-duplicate 0.8]

Each count goes, in a process of its own, from a JSONL file through three steps that each write Parquet
and read what the one before wrote: texts are cut, filtered and near-duplicates set aside; the rules of
responses; keep, by a threshold. Printed are the processor's seconds per million (of the whole process,
which other programs disturb less than the clock), and the most memory that the process had; what a
text costs in memory is the difference between two counts. `--near-duplicate 0` leaves that test out,
and with it what grows. A million takes a quarter of an hour on two cores.
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
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from printer import print_machine

from woolgather.core.rows import Example, Verdict
from woolgather.core.storage import read_rows, write_rows
from woolgather.ops.curate.keep import KeepRule, keep
from woolgather.ops.curate.response_rules import ResponseRules, apply_rules
from woolgather.ops.curate.texts import TextOptions, prepare_texts
from woolgather.ops.judge.assessors import Assessor
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


def used(folder: Path) -> Iterator[Example]:
    """Yields the rows in use of a step, in bounded memory."""
    return (row for row in read_rows(folder) if isinstance(row, Example) and not row.set_aside)


def rated(rows: Iterable[Example]) -> Iterator[Example]:
    """Yields rows with a verdict from 1 to 10 that follows from the text."""
    for row in rows:
        score = 1 + zlib.crc32(row.response.encode()) % 10
        yield replace(row, instruction="Write a text.", verdicts={"quality": Verdict(float(score))})


def carry_out(path: Path, threshold: float, folder: Path) -> None:
    """In a process of its own: prints what was kept, seconds, and the most memory it had."""
    options = TextOptions(near_duplicate=threshold or None, cut="whole", max_chars=2000)
    above = KeepRule(by="threshold", above=5, on=("quality",))
    began, processor = time.perf_counter(), time.process_time()
    steps = {
        "texts": lambda: prepare_texts(open_texts(str(path)), options=options),
        "rules": lambda: apply_rules(used(folder / "texts"), rules=ResponseRules()),
        "keep": lambda: keep(
            rated(used(folder / "rules")), rule=above, assessor=Assessor(kind="rubric")
        ),
    }
    kept = 0
    for name, rows in steps.items():
        (folder / name).mkdir(parents=True)
        kept = sum(row.set_aside is None for row in write_rows(rows(), folder / name, "example"))
    found = {
        "kept": kept,
        "seconds": time.perf_counter() - began,
        "processor": time.process_time() - processor,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(found))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--near-duplicate", type=float, default=0.8, help="0: without that test")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if args.one:
            carry_out(args.one, args.near_duplicate, Path(scratch))
            return 0
        print_machine("pyarrow", "rensa", "numpy")
        first = 0.0
        for count in args.documents:
            path = Path(scratch) / f"{count}.jsonl"
            written(path, count)
            how = ["--one", str(path), "--near-duplicate", str(args.near_duplicate)]
            done = subprocess.run(
                [sys.executable, __file__, *how], stdout=subprocess.PIPE, check=True
            )
            found = json.loads(done.stdout)
            each = found["processor"] / count * 1e6
            first = first or each
            print(
                f"{count} documents, {path.stat().st_size / 2**20:.0f} MiB: {found['kept']} kept, "
                f"{each:.0f} processor seconds per million ({each / first:.2f} times the first's), "
                f"{count / found['seconds']:.0f} a second, {found['peak_mib']:.0f} MiB at most",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
