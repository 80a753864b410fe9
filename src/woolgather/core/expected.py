"""The size of a step before it runs; `plan` adds these up."""

from __future__ import annotations

from dataclasses import dataclass

from woolgather.core.rows import JSON


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Bytes that a training takes on each device, by a formula; `total` is their sum."""

    weights: int
    gradients: int
    states: int
    """What the optimizer keeps."""
    activations: int
    limit: int = 0
    """Bytes that a device has; 0 where that is not known."""
    remedies: tuple[str, ...] = ()
    """Where it does not fit: settings and options that would, each by itself."""

    @property
    def total(self) -> int:
        """Returns the bytes of all four."""
        return self.weights + self.gradients + self.states + self.activations

    @property
    def fits(self) -> bool:
        """Returns whether a device holds it, as far as is known."""
        return not self.limit or self.total <= self.limit


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
    memory: DeviceMemory | None = None
    """What a training takes on each device; None where that is not known."""
    value: JSON = None
    """For a Choice: the answer that walks the longest path."""
