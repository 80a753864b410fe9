"""docs/python.md and docs/sweep.md: their examples run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def run_example(page: str, folder: Path) -> str:
    """What the page's example prints."""
    text = (DOCS / page).read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_from_python(tmp_path: Path) -> None:
    said = run_example("python.md", tmp_path)
    assert "Result: " in said
    assert " -> " in said
    assert (tmp_path / "runs" / "from-python" / "report.html").is_file()


def test_a_sweep_from_python(tmp_path: Path) -> None:
    said = run_example("sweep.md", tmp_path)
    assert "{'keep.above': '8'} finished" in said
    assert said.endswith("runs/thresholds/figures/measure.svg\n")
