"""The size of a step before it runs; `plan` adds these up."""

from __future__ import annotations

from dataclasses import dataclass

from woolgather.core.rows import JSON


@dataclass(frozen=True, slots=True)
class Expected:
    """The size of a step, as an upper bound."""

    rows: int = 0
    """Rows in use that come out."""
    calls: int = 0
    """Requests to a model."""
    prompt_tokens: int = 0
    new_tokens: int = 0
    updates: int = 0
    """Optimizer steps."""
    train_tokens: int = 0
    disk_bytes: int = 0
    value: JSON = None
    """For a Choice: the answer that walks the longest path."""
