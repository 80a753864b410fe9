"""What an op says of its work before it runs; `plan` adds these up.

    def _expected(tasks, engine, *, sampling, n=1, **_):
        return Expected(rows=len(tasks), calls=len(tasks) * n, new_tokens=...)

    @expects(_expected)
    def respond(tasks, engine, *, sampling, n=1): ...

The function receives the op's bound arguments. A Dataset among them may be a placeholder: its
`count` is then the expected one and it must not be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Expected:
    """The size of a step, at most."""

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
    value: Any = None
    """For a Choice: the answer that walks the longest path."""


def expects(function: Callable[..., Expected]) -> Callable[[F], F]:
    """Attach `function` to an op."""

    def attach(op: F) -> F:
        op.__expects__ = function  # type: ignore[attr-defined]
        return op

    return attach
