"""docs/performance.md: its table of cards is what the formula says today."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_table_of_cards_is_current() -> None:
    path = ROOT / "benchmarks" / "train_memory.py"
    spec = importlib.util.spec_from_file_location("train_memory", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "\n".join(module.lines()) in page
