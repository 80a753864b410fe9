"""The demo by two source trees, the later one against the earlier: the same rows in less time?

    python benchmarks/demo.py EARLIER/src LATER/src [--rounds 1] [-- isheep --preset demo]

Each tree runs the demo in a directory of its own, with this interpreter, in turns. Printed are the
seconds of each (target: two thirds of the earlier one's), and whether the rows that both kept are the
same, step by step. To have an earlier tree: `git worktree add EARLIER COMMIT`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from printer import alternate, print_machine, print_ratios

from woolgather.core.rows import Example
from woolgather.core.storage import read_rows
from woolgather.runs.record import current_steps

TARGET = 1.5
"""Times as fast."""


def run(source: Path, folder: Path, words: list[str]) -> None:
    """Runs the demo by the package in `source`, in a new directory within `folder`."""
    place = folder / str(len(list(folder.iterdir())))
    subprocess.run(
        [sys.executable, "-m", "woolgather", "run", *words, "--dir", str(place)],
        env={**os.environ, "PYTHONPATH": str(source.absolute())},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def rows_of(folder: Path) -> dict[str, list[tuple[str, str]]]:
    """Returns task and response of the rows in use, by step, of the first run in `folder`."""
    run_dir = folder / "0"
    return {
        record.step: [
            (row.instruction, row.response)
            for row in read_rows(run_dir / entry["path"])
            if isinstance(row, Example) and not row.set_aside
        ]
        for entry, record in current_steps(run_dir)
        if record.kind == "dataset"
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("earlier", type=Path)
    parser.add_argument("later", type=Path)
    parser.add_argument("words", nargs="*", default=["isheep", "--preset", "demo"])
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    print_machine("torch", "transformers", "trl")
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(scratch) / name for name in ("later", "earlier")}
        for folder in folders.values():
            folder.mkdir()
        sources = {"later": asked.later, "earlier": asked.earlier}
        ways = {name: partial(run, sources[name], folders[name], asked.words) for name in folders}
        print_ratios("the demo", alternate(ways, asked.rounds), TARGET)
        later, earlier = (rows_of(folder) for folder in folders.values())
        differ = [step for step in later.keys() & earlier.keys() if later[step] != earlier[step]]
    print(f"steps with other rows: {', '.join(sorted(differ)) or 'none'}")


if __name__ == "__main__":
    main()
