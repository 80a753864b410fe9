"""The rows and texts that ship with woolgather, as files like a user's own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path


def builtin_seeds() -> Path:
    """The seed tasks that ship with woolgather."""
    return Path(str(resources.files("woolgather") / "seeds" / "seeds.jsonl"))


def builtin_heldout() -> Path:
    """The held-out tasks that ship with woolgather."""
    return Path(str(resources.files("woolgather") / "seeds" / "heldout.jsonl"))


def builtin_texts() -> Path:
    """The unlabelled texts that ship with woolgather."""
    return Path(str(resources.files("woolgather") / "seeds" / "texts.jsonl"))
